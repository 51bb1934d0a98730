//! Documents that must not drift from the code.

mod threat_model;
mod worked_examples;

/// The README's quick start is the example, word for word.
#[test]
fn the_readmes_quick_start_is_the_minimal_example() {
    let (readme, example) = (include_str!("../../README.md"), include_str!("../../examples/minimal.rs"));
    assert!(readme.contains(&format!("```rust,no_run\n{example}```\n")));
    assert!(example.lines().count() < 60);
}

#[test]
fn the_readmes_catalogue_is_the_minimal_examples() {
    assert!(include_str!("../../README.md").contains(include_str!("../../assets/minimal.catalog.ron")));
}

/// Every catalogue that is shipped is a good one.
#[test]
fn every_catalogue_in_assets_is_read() {
    let mut read = 0;
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/assets")).expect("the folder") {
        let path = entry.expect("an entry").path();
        if path.to_string_lossy().ends_with(".catalog.ron") {
            let text = std::fs::read_to_string(&path).expect("read");
            bevy_iap::protocol::Catalog::parse(&path.display().to_string(), &text).expect("a good catalogue");
            read += 1;
        }
    }
    assert!(read >= 2, "{read} catalogues");
}
