//! What a crash may leave of a disk: any of what is not durable kept, any other lost, and writes torn.

use std::collections::BTreeSet;

use super::content::{Change, Content, Contents, Standing};
use crate::client::journal::without_zeroes;
use crate::simulation::random::Random;

/// How much of what a crash may leave is tried.
#[derive(Clone, Copy, Debug)]
pub(in crate::simulation) struct Thoroughness {
    /// A write that is torn is torn at every so-many-th byte.
    pub(in crate::simulation) tear_every: usize,
    /// How many states at random, besides those in which everything is kept, lost or torn.
    pub(in crate::simulation) at_random: usize,
}

impl Content {
    /// Every state, each once, that a crash now may leave, as far as `thoroughness` goes.
    pub(in crate::simulation) fn after_crash(&self, thoroughness: Thoroughness, random: &mut Random) -> Vec<Content> {
        let mut left = Vec::new();
        let names: Vec<Vec<bool>> = subsets(self.doubtful_names());
        // A file that lost its name long ago is of no interest.
        let settled = self.changed_names.iter().filter(|change| change.standing != Standing::Pending);
        let settled: Vec<usize> = settled.filter_map(|change| change.file()).collect();
        let named = |file: &usize| {
            self.names.values().chain(self.durable_names.values()).chain(&settled).any(|named| named == file)
        };
        let dirty = (0..self.files.len()).filter(|&file| !self.files[file].changes.is_empty());
        let dirty: Vec<usize> = dirty.filter(named).collect();
        let everything: Vec<Vec<Fate>> = self.files.iter().map(|file| vec![Fate::Kept; file.changes.len()]).collect();
        for names in &names {
            left.push(self.left(names, &everything));
            // Each file's changes, kept or lost in every way, while those of the others are kept.
            for &file in &dirty {
                for kept in subsets(self.files[file].changes.len()) {
                    let mut fates = everything.clone();
                    fates[file] = kept.iter().map(|&kept| if kept { Fate::Kept } else { Fate::Lost }).collect();
                    left.push(self.left(names, &fates));
                }
            }
        }
        let all_names = vec![true; self.doubtful_names()];
        for &file in &dirty {
            let last = self.files[file].changes.len() - 1;
            let Change::Write { bytes, .. } = &self.files[file].changes[last] else { continue };
            for fate in [Fate::LengthZeroes, Fate::LengthGarbage(random.next())] {
                let mut fates = everything.clone();
                fates[file][last] = fate;
                left.push(self.left(&all_names, &fates));
            }
            // Zeroes that are allocated are as good torn here as there.
            let few = if bytes.len() > 8_192 { bytes.len() / 16 } else { 1 };
            for at in (1..bytes.len()).step_by(thoroughness.tear_every.max(few)) {
                for tail in [Tail::Old, Tail::Zeroes, Tail::Garbage(random.next())] {
                    let mut fates = everything.clone();
                    fates[file][last] = Fate::Torn { at, tail };
                    left.push(self.left(&all_names, &fates));
                }
            }
        }
        left.extend((0..thoroughness.at_random).map(|_| self.any_after_crash(random)));
        let mut seen = BTreeSet::new();
        left.retain(|content| seen.insert(content.digest()));
        left
    }

    /// One of the states that a crash now may leave.
    pub(in crate::simulation) fn any_after_crash(&self, random: &mut Random) -> Content {
        let fates: Vec<Vec<Fate>> =
            self.files.iter().map(|file| file.changes.iter().map(|it| it.any_fate(random)).collect()).collect();
        let names: Vec<bool> = (0..self.doubtful_names()).map(|_| random.is_one_in(2)).collect();
        self.left(&names, &fates)
    }

    /// How many changes of the folder a crash may keep or lose.
    fn doubtful_names(&self) -> usize {
        self.changed_names.iter().filter(|change| change.standing != Standing::Durable).count()
    }

    /// What is left when a crash does this with what is not durable.
    fn left(&self, names: &[bool], fates: &[Vec<Fate>]) -> Content {
        let mut durable_names = self.durable_names.clone();
        let mut names = names.iter();
        for change in &self.changed_names {
            if change.standing == Standing::Durable || names.next() == Some(&true) {
                change.make(&mut durable_names);
            }
        }
        let mut left = Content::default();
        for (name, file) in durable_names {
            let mut bytes = self.files[file].durable.clone();
            for (change, fate) in self.files[file].changes.iter().zip(&fates[file]) {
                fate.meet(change, &mut bytes);
            }
            left.names.insert(name.clone(), left.files.len());
            left.durable_names.insert(name, left.files.len());
            left.files.push(Contents {
                live: bytes.clone(),
                durable: bytes,
                unreadable: self.files[file].unreadable.clone(),
                changes: Vec::new(),
            });
        }
        left
    }

    fn digest(&self) -> [u8; 32] {
        let mut bytes = Vec::new();
        for (name, &file) in &self.names {
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(&self.files[file].live.len().to_le_bytes());
            bytes.extend_from_slice(without_zeroes(&self.files[file].live));
        }
        crate::protocol::Sha256::of(bytes).0
    }
}

/// What a crash does with a change.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Kept,
    Lost,
    /// The file is as long as the write would have made it, but what was written is not there.
    LengthZeroes,
    LengthGarbage(u64),
    Torn {
        at: usize,
        tail: Tail,
    },
    /// Some of its sectors of 512 bytes are there.
    Sectors(u64),
}

/// What follows the place where a write is torn.
#[derive(Clone, Copy, Debug)]
enum Tail {
    Old,
    Zeroes,
    Garbage(u64),
}

impl Fate {
    fn meet(self, change: &Change, bytes: &mut Vec<u8>) {
        let Change::Write { offset, bytes: written } = change else {
            if !matches!(self, Self::Lost) {
                change.make(bytes);
            }
            return;
        };
        let end = offset + written.len();
        match self {
            Self::Kept => change.make(bytes),
            Self::Lost => {}
            Self::LengthZeroes => bytes.resize(bytes.len().max(end), 0),
            Self::LengthGarbage(seed) => {
                let old = bytes.len();
                bytes.resize(old.max(end), 0);
                Random::new(seed).fill(&mut bytes[old.max(*offset)..]);
            }
            Self::Torn { at, tail } => {
                match tail {
                    Tail::Old => bytes.resize(bytes.len().max(offset + at), 0),
                    Tail::Zeroes | Tail::Garbage(_) => bytes.resize(bytes.len().max(end), 0),
                }
                bytes[*offset..offset + at].copy_from_slice(&written[..at]);
                match tail {
                    Tail::Old => {}
                    Tail::Zeroes => bytes[offset + at..end].fill(0),
                    Tail::Garbage(seed) => Random::new(seed).fill(&mut bytes[offset + at..end]),
                }
            }
            Self::Sectors(seed) => {
                let mut random = Random::new(seed);
                bytes.resize(bytes.len().max(end), 0);
                let mut at = *offset;
                while at < end {
                    let next = (at / 512 * 512 + 512).min(end);
                    if random.is_one_in(2) {
                        bytes[at..next].copy_from_slice(&written[at - offset..next - offset]);
                    }
                    at = next;
                }
            }
        }
    }
}

impl Change {
    fn any_fate(&self, random: &mut Random) -> Fate {
        let length = match self {
            Self::Write { bytes, .. } => bytes.len(),
            Self::Length(_) => 0,
        };
        let tail = match random.below(3) {
            0 => Tail::Old,
            1 => Tail::Zeroes,
            _ => Tail::Garbage(random.next()),
        };
        match random.below(6) {
            0 => Fate::Kept,
            1 => Fate::Lost,
            2 => Fate::LengthZeroes,
            3 => Fate::LengthGarbage(random.next()),
            4 if length > 1 => Fate::Torn { at: 1 + random.below(length as u64 - 1) as usize, tail },
            _ => Fate::Sectors(random.next()),
        }
    }
}

/// Every choice of some of `count` things; of more than four, the first so many, or all but one of the last.
fn subsets(count: usize) -> Vec<Vec<bool>> {
    if count <= 4 {
        return (0..1u32 << count).map(|bits| (0..count).map(|at| bits >> at & 1 == 1).collect()).collect();
    }
    let first = (count - 4..=count).chain([0]).map(|kept| (0..count).map(|at| at < kept).collect());
    let without_one = (count - 4..count).map(|gone| (0..count).map(|at| at != gone).collect());
    first.chain(without_one).collect()
}
