//! What is on a disk: what is live, what is durable, and what has changed in between.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;

use base64ct::{Base64UrlUnpadded, Encoding};

use crate::protocol::SecretKey;

/// What is on the disk, live and durable.
#[derive(Clone, Debug, Default)]
pub(in crate::simulation) struct Content {
    pub(super) files: Vec<Contents>,
    pub(super) names: BTreeMap<String, usize>,
    pub(super) durable_names: BTreeMap<String, usize>,
    /// The changes since then, in their order. Those that are durable wait for those before them that were forgotten: a
    /// crash may leave these or not.
    pub(super) changed_names: Vec<NameChange>,
}

/// A file.
#[derive(Clone, Debug, Default)]
pub(super) struct Contents {
    pub(super) live: Vec<u8>,
    pub(super) durable: Vec<u8>,
    pub(super) changes: Vec<Change>,
    /// What of it cannot be read.
    pub(super) unreadable: Range<usize>,
}

/// A change of a file that is not durable.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Length(usize),
}

/// A change of the folder.
#[derive(Clone, Debug)]
pub(super) struct NameChange {
    naming: Naming,
    pub(super) standing: Standing,
}

#[derive(Clone, Debug)]
enum Naming {
    Made(String, usize),
    Renamed(String, String, usize),
    Removed(String),
}

/// How far a change of the folder has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is in the cache, which knows that the disk does not have it.
    Pending,
    /// Making it durable failed, and the cache takes it for durable: nothing writes it again, unless by chance.
    Forgotten,
    Durable,
}

impl Contents {
    pub(super) fn change(&mut self, change: Change) {
        change.make(&mut self.live);
        self.changes.push(change);
    }

    /// Whether it has become longer than what is durable of it.
    pub(super) fn is_longer(&self) -> bool {
        self.live.len() > self.durable.len()
    }

    pub(super) fn sync(&mut self) {
        for change in std::mem::take(&mut self.changes) {
            change.make(&mut self.durable);
        }
    }
}

impl Change {
    pub(super) fn make(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write { offset, bytes: written } => {
                bytes.resize(bytes.len().max(offset + written.len()), 0);
                bytes[*offset..offset + written.len()].copy_from_slice(written);
            }
            Self::Length(length) => bytes.resize(*length, 0),
        }
    }
}

impl NameChange {
    pub(super) fn make(&self, names: &mut BTreeMap<String, usize>) {
        match &self.naming {
            Naming::Made(name, file) => drop(names.insert(name.clone(), *file)),
            Naming::Renamed(from, to, file) => {
                names.remove(from);
                names.insert(to.clone(), *file);
            }
            Naming::Removed(name) => drop(names.remove(name)),
        }
    }

    /// The names that it is about.
    fn names(&self) -> impl Iterator<Item = &String> {
        let (first, second) = match &self.naming {
            Naming::Made(name, _) | Naming::Removed(name) => (name, None),
            Naming::Renamed(from, to, _) => (from, Some(to)),
        };
        [first].into_iter().chain(second)
    }

    /// The file that it gives a name.
    pub(super) fn file(&self) -> Option<usize> {
        match &self.naming {
            Naming::Made(_, file) | Naming::Renamed(_, _, file) => Some(*file),
            Naming::Removed(_) => None,
        }
    }
}

impl Content {
    /// A folder in which there is a device's key, and nothing else.
    pub(in crate::simulation) fn with_key(key: &SecretKey) -> Self {
        let mut content = Self::default();
        let line = format!("{}\n", Base64UrlUnpadded::encode_string(key.seed()));
        content.make_with("device.key", line.as_bytes());
        content
    }

    /// The files as another program reads and copies them.
    pub(in crate::simulation) fn copied(&self) -> Self {
        let mut copy = Self::default();
        for (name, &file) in &self.names {
            copy.make_with(name, &self.files[file].live);
        }
        copy
    }

    /// The bytes of a file.
    pub(in crate::simulation) fn file(&self, name: &str) -> Option<&[u8]> {
        self.names.get(name).map(|&file| &self.files[file].live[..])
    }

    /// What was written to a file is in the cache, taken for durable there, and will never reach the disk.
    pub(in crate::simulation) fn forget_changes(&mut self, name: &str) {
        self.files[self.names[name]].changes.clear();
    }

    /// Makes an empty file, durably.
    pub(in crate::simulation) fn make(&mut self, name: &str) {
        self.make_with(name, &[]);
    }

    /// Makes a file, durably.
    pub(in crate::simulation) fn make_with(&mut self, name: &str, bytes: &[u8]) {
        self.names.insert(name.to_owned(), self.files.len());
        self.durable_names.insert(name.to_owned(), self.files.len());
        self.files.push(Contents { live: bytes.to_vec(), durable: bytes.to_vec(), ..Contents::default() });
    }

    /// Changes the bytes of a file where they lie, as rot and other programs do.
    pub(in crate::simulation) fn rot(&mut self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let file = &mut self.files[self.names[name]];
        change(&mut file.live);
        file.durable = file.live.clone();
    }

    /// From now on the disk cannot read this part of a file.
    pub(in crate::simulation) fn lose(&mut self, name: &str, part: Range<usize>) {
        self.files[self.names[name]].unreadable = part;
    }

    pub(in crate::simulation) fn is_unreadable(&self, name: &str) -> bool {
        !self.files[self.names[name]].unreadable.is_empty()
    }

    /// Makes an empty file, in place of one of that name.
    pub(super) fn create(&mut self, name: &str) -> usize {
        if let Some(&file) = self.names.get(name) {
            self.files[file].change(Change::Length(0));
            return file;
        }
        let file = self.files.len();
        self.files.push(Contents::default());
        self.change_names(Naming::Made(name.to_owned(), file));
        file
    }

    pub(super) fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let &file = self.names.get(from).ok_or(io::ErrorKind::NotFound)?;
        self.change_names(Naming::Renamed(from.to_owned(), to.to_owned(), file));
        Ok(())
    }

    pub(super) fn remove(&mut self, name: &str) -> io::Result<()> {
        self.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        self.change_names(Naming::Removed(name.to_owned()));
        Ok(())
    }

    fn change_names(&mut self, naming: Naming) {
        let change = NameChange { naming, standing: Standing::Pending };
        change.make(&mut self.names);
        self.changed_names.push(change);
    }

    /// Every pending change of the folder comes to this.
    fn settle_names(&mut self, standing: Standing) {
        let pending = self.changed_names.iter_mut().filter(|change| change.standing == Standing::Pending);
        pending.for_each(|change| change.standing = standing);
    }

    /// The pending changes of the folder are in the cache, taken for durable there, and will never reach the disk by
    /// themselves.
    pub(super) fn forget_names(&mut self) {
        self.settle_names(Standing::Forgotten);
    }

    pub(super) fn sync_names(&mut self) {
        self.settle_names(Standing::Durable);
        let changes = std::mem::take(&mut self.changed_names);
        let is_overwritten = |at: usize| {
            let later = || changes[at + 1..].iter().filter(|change| change.standing == Standing::Durable);
            changes[at].names().all(|name| later().any(|change| change.names().any(|other| other == name)))
        };
        // What was forgotten makes no difference once something durable is about the same names.
        let kept: Vec<bool> =
            (0..changes.len()).map(|at| changes[at].standing == Standing::Durable || !is_overwritten(at)).collect();
        for (change, _) in changes.into_iter().zip(kept).filter(|(_, kept)| *kept) {
            match change.standing {
                Standing::Durable if self.changed_names.is_empty() => change.make(&mut self.durable_names),
                _ => self.changed_names.push(change),
            }
        }
    }
}
