//! The examples: they come to a good end, stay short, and are all in the README.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bevy_iap::ui::{Contrast, Theme};

/// How long an example may run.
const LONGEST_RUN: Duration = Duration::from_secs(60);
/// How many lines an example may have.
const MOST_LINES: usize = 80;
/// The same for a whole shop.
const MOST_LINES_OF_A_SHOP: usize = 150;

fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where Cargo puts an example: beside the folder with this test.
fn built(example: &str) -> PathBuf {
    let test = std::env::current_exe().expect("this test's file");
    let profile = test.parent().and_then(Path::parent).expect("target/debug/deps");
    profile.join("examples").join(format!("{example}{}", std::env::consts::EXE_SUFFIX))
}

/// Runs an example to its end, and returns the last line that it printed.
fn last_line(example: &str) -> String {
    let file = built(example);
    let mut command = Command::new(&file);
    command.current_dir(package()).env("BEVY_ASSET_ROOT", package());
    let mut running = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap_or_else(|error| {
        panic!("{}: {error}; `cargo test` builds it, and so does `cargo build --examples`", file.display())
    });
    let begun = Instant::now();
    while running.try_wait().expect("its state").is_none() {
        if begun.elapsed() > LONGEST_RUN {
            running.kill().expect("it is stopped");
            panic!("`{example}` runs for more than {LONGEST_RUN:?}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let output = running.wait_with_output().expect("its output");
    let (said, logged) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "`{example}` failed:\n{said}\n{logged}");
    said.lines().next_back().unwrap_or_default().to_owned()
}

#[test]
fn what_is_bought_offline_is_given_at_once_and_paid_for_later() {
    assert_eq!(last_line("offline"), "online again: the double jump is paid for, with 2 receipts in all");
}

#[test]
fn a_pass_ends_and_the_game_is_told() {
    assert_eq!(last_line("entitlements"), "lost: day_pass");
}

#[test]
fn of_what_was_used_up_the_server_refuses_what_was_not_there() {
    assert_eq!(last_line("consumables"), "online again: there are 2");
}

#[test]
fn observers_alone_hear_a_purchase_from_beginning_to_end() {
    assert_eq!(last_line("observer_style"), "ended: Success");
}

#[test]
fn a_receipt_verifies_elsewhere_and_the_books_are_right() {
    let said = last_line("headless_server_and_client");
    let parts = ["audit: ", " 1 orders, ", " 1 receipts, ", ": no differences"];
    assert!(parts.iter().all(|part| said.contains(part)), "{said}");
}

/// The names of the examples: `minimal` for `minimal.rs`, and `arcade` for a folder with a `main.rs`.
fn examples() -> Vec<(String, PathBuf)> {
    let entries = fs::read_dir(package().join("examples")).expect("the folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let paths = paths.filter(|path| path.is_file() || path.join("main.rs").is_file());
    let named = paths.map(|path| (path.file_stem().expect("a name").to_string_lossy().into_owned(), path));
    named.collect()
}

#[test]
fn an_example_is_read_in_a_minute() {
    for (name, path) in examples().into_iter().filter(|(_, path)| path.is_file()) {
        let lines = fs::read_to_string(path).expect("read").lines().count();
        let most = if name == "custom_shop" { MOST_LINES_OF_A_SHOP } else { MOST_LINES };
        assert!(lines < most, "`{name}` has {lines} lines; keep it under {most}");
    }
}

#[test]
fn the_readme_lists_every_example() {
    let readme = fs::read_to_string(package().join("README.md")).expect("the README");
    let section = readme.split("\n## ").find(|section| section.starts_with("Examples\n")).expect("a section");
    let all = examples();
    for (name, path) in &all {
        let link = format!("| [`{name}`](examples/{name}{}) |", if path.is_dir() { "/main.rs" } else { ".rs" });
        assert!(section.contains(&link), "the README's examples lack {link}");
    }
    assert_eq!(section.matches("\n| [`").count(), all.len(), "the README lists an example that there is not");
}

#[test]
fn every_text_of_the_market_stall_can_be_read_on_its_ground() {
    let text = fs::read_to_string(package().join("assets/custom_shop.theme.ron")).expect("read");
    let theme: Theme = ron::from_str(&text).expect("a theme");
    for Contrast { colors, ratio } in theme.contrasts() {
        assert!(ratio >= 4.5, "{colors}: {ratio}");
    }
}
