//! Every seed of each target, and thousands of changes of them, without a fuzzer: who changes the crate sees at once that
//! a target no longer fits it, or finds something that is not far away.

mod changes;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use bevy_iap_fuzz::targets;
use changes::Changes;

fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The seeds of a target with their names, in the order of these.
fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = folder().join("seeds").join(target);
    let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut seeds: Vec<_> = files
        .map(|file| {
            let path = file.expect("a folder can be listed").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            (name, fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
        })
        .collect();
    assert!(!seeds.is_empty(), "there are no seeds in {}", folder.display());
    seeds.sort();
    seeds
}

/// The words of a dictionary, which are in quotes and may have escapes of bytes in them.
fn words(dictionary: &str) -> Vec<Vec<u8>> {
    let path = folder().join("dictionaries").join(dictionary);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let words: Vec<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix('"')?.strip_suffix('"'))
        .map(|word| {
            let (mut bytes, mut rest) = (Vec::new(), word.as_bytes());
            while let Some((&first, after)) = rest.split_first() {
                let escaped = after.get(..3).filter(|it| first == b'\\' && it[0] == b'x');
                let byte = escaped.and_then(|it| u8::from_str_radix(std::str::from_utf8(&it[1..]).ok()?, 16).ok());
                rest = match byte {
                    Some(_) => &after[3..],
                    None if first == b'\\' => after.get(1..).unwrap_or_default(),
                    None => after,
                };
                bytes.push(byte.unwrap_or(if first == b'\\' { *after.first().unwrap_or(&first) } else { first }));
            }
            bytes
        })
        .collect();
    assert!(!words.is_empty(), "there are no words in {}", path.display());
    words
}

/// Tries each seed, and then so many changes of them.
fn try_all(target: &str, run: fn(&[u8]), dictionary: &str, count: usize) {
    let seeds = seeds(target);
    let mut broken = Vec::new();
    let mut attempt = |what: String, input: &[u8]| {
        if catch_unwind(AssertUnwindSafe(|| run(input))).is_err() {
            broken.push(format!("{what}: b\"{}\"", input.escape_ascii()));
        }
        // The first few tell what is wrong.
        broken.len() < 5
    };
    let mut changes = Changes::new(seeds.iter().map(|(_, seed)| &seed[..]), words(dictionary));
    let changed = (0..count).map(|number| {
        let (name, seed) = &seeds[number % seeds.len()];
        (format!("change {number}, of the seed {name}"), changes.of(seed))
    });
    let unchanged = seeds.iter().map(|(name, seed)| (format!("the seed {name}"), seed.clone()));
    unchanged.chain(changed).all(|(what, input)| attempt(what, &input));
    assert!(broken.is_empty(), "{target} breaks a promise with\n{}", broken.join("\n"));
}

#[test]
fn catalogues_are_read_whole_or_refused_whatever_was_made_of_a_seed() {
    try_all("catalog", targets::catalog::run, "catalog.dict", 10_000);
}

#[test]
fn tokens_are_accepted_exactly_where_the_protocol_says_so_whatever_was_made_of_a_seed() {
    try_all("envelope", targets::envelope::run, "protocol.dict", 6_000);
}

#[test]
fn clients_believe_nothing_that_was_not_signed_whatever_was_made_of_a_seed() {
    try_all("sync", targets::sync::run, "protocol.dict", 2_000);
}

#[test]
fn journals_are_read_as_their_document_says_whatever_was_made_of_a_seed() {
    try_all("journal", targets::journal::run, "journal.dict", 6_000);
}
