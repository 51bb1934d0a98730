//! The threat model names tests, and each of them is there; and every attack that is tested is in it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const DOCUMENT: &str = include_str!("../../docs/threat-model.md");
/// Where a test is whose folder the document does not name.
const ATTACKS: &str = "tests/server/attacks";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The files and tests that the document names.
fn named() -> BTreeSet<(PathBuf, &'static str)> {
    let tests = DOCUMENT.split('`').skip(1).step_by(2).filter_map(|code| code.split_once(".rs::"));
    let place = |file: &str| match file.contains('/') {
        true => root().join(format!("{file}.rs")),
        false => root().join(ATTACKS).join(format!("{file}.rs")),
    };
    tests.map(|(file, test)| (place(file), test)).collect()
}

#[test]
fn every_test_that_the_threat_model_names_is_there() {
    let named = named();
    for (path, test) in &named {
        let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(text.contains(&format!("fn {test}(")), "{} has no {test}", path.display());
    }
    assert!(named.len() > 100, "{} tests", named.len());
}

#[test]
fn every_attack_that_is_tested_is_in_the_threat_model() {
    let named = named();
    for entry in fs::read_dir(root().join(ATTACKS)).expect("the folder") {
        let path = entry.expect("an entry").path();
        let text = fs::read_to_string(&path).expect("text");
        let tests = text.split("#[test]\nfn ").skip(1).filter_map(|rest| rest.split('(').next());
        for test in tests.filter(|test| !test.starts_with("honest_")) {
            let is_named = named.iter().any(|(file, name)| *file == path && *name == test);
            assert!(is_named, "the threat model says nothing of {test} in {}", path.display());
        }
    }
}

#[test]
fn every_section_of_the_threat_model_says_what_is_left() {
    let sections: Vec<&str> = DOCUMENT.split("\n## ").filter(|section| section.contains("| they try |")).collect();
    assert!(sections.len() >= 10, "{}", sections.len());
    for section in sections {
        assert!(section.contains("**What is left to them.**"), "{}", section.lines().next().unwrap_or_default());
    }
}
