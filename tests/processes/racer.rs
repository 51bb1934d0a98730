//! A process that wants a folder for itself: it opens it, writes some records if it may, and lets go of it.
//!
//! Both processes of a race write to one pipe. A write to a pipe is whole and in its place, so the order of the lines is
//! an order of events: who says `have` after another said `leaving` had the folder after the other.

use std::path::{Path, PathBuf};

use bevy_iap::client::storage::file::FileStorage;
use bevy_iap::client::storage::{Opened, Storage};
use bevy_iap::client::{Access, Record};
use bevy_iap::protocol::Token;
use serde::{Deserialize, Serialize};

use crate::child::say;

/// One process of a race.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Racer {
    pub name: String,
    pub folder: PathBuf,
    /// How many records to write.
    pub records: usize,
    /// Whether to keep the folder until it is told to leave.
    pub stays: bool,
}

impl Racer {
    pub fn run(self) {
        let Self { name, .. } = &self;
        say(&format!("{name} ready"));
        wait_to_be_told();
        let mut storage = FileStorage::new(&self.folder);
        let (opened, texts) = open(&mut storage);
        if opened.access != Access::ReadWrite {
            return say(&format!("{name} looks"));
        }
        say(&format!("{name} have {}", texts.len()));
        for number in 1..=self.records {
            say(&format!("{name} writing {name}.{number}"));
            append(&mut storage, &format!("{name}.{number}"));
            say(&format!("{name} wrote {name}.{number}"));
        }
        if self.stays {
            wait_to_be_told();
        }
        say(&format!("{name} leaving"));
    }
}

/// What is in a folder that nobody else has; none if somebody seems to.
pub fn read(folder: &Path) -> Option<Vec<String>> {
    let (opened, texts) = open(&mut FileStorage::new(folder));
    assert!(opened.troubles.is_empty(), "{:?}", opened.troubles);
    (opened.access == Access::ReadWrite).then_some(texts)
}

fn append(storage: &mut FileStorage, text: &str) {
    storage.append(&[Record::Order(Token::from_text(text).into())]).expect("appends");
}

fn open(storage: &mut FileStorage) -> (Opened, Vec<String>) {
    let mut texts = Vec::new();
    let mut replay = |record| match record {
        Record::Order(signed) => texts.push(signed.token().to_string()),
        other => panic!("nobody wrote {other:?}"),
    };
    let opened = storage.open(&mut |_, record| replay(record)).expect("opens");
    (opened, texts)
}

/// Waits for a line, or for the test to let go of the pipe.
fn wait_to_be_told() {
    std::io::stdin().read_line(&mut String::new()).expect("the pipe is read");
}
