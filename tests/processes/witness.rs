//! Who had a folder when, by what the processes said, and what must be in its journal.

use std::collections::BTreeSet;

/// Hears the lines of all processes on one folder, in order.
#[derive(Debug, Default)]
pub struct Witness {
    holder: Option<String>,
    /// Processes that were about to be killed: what they had may be another's.
    killed: BTreeSet<String>,
    announced: BTreeSet<String>,
    acknowledged: Vec<String>,
    /// How often somebody got the folder.
    pub had: usize,
    /// How often somebody was only allowed to look.
    pub looked: usize,
    /// Everything that must not be, a sentence each.
    pub violations: Vec<String>,
}

impl Witness {
    /// Hears one line.
    pub fn hear(&mut self, line: &str) {
        let words: Vec<_> = line.split(' ').collect();
        match words[..] {
            [_, "ready"] => {}
            [_, "looks"] => self.looked += 1,
            [name, "have", count] => self.have(name, count.parse().expect("a number")),
            [name, "writing", record] => {
                self.must_hold(name, line);
                self.announced.insert(record.to_owned());
            }
            [name, "wrote", record] => {
                self.must_hold(name, line);
                self.acknowledged.push(record.to_owned());
            }
            [name, "leaving"] => {
                self.must_hold(name, line);
                self.holder = None;
            }
            [name, "killing"] => _ = self.killed.insert(name.to_owned()),
            _ => self.violations.push(line.to_owned()),
        }
    }

    fn have(&mut self, name: &str, count: usize) {
        self.had += 1;
        if let Some(holder) = self.holder.replace(name.to_owned())
            && !self.killed.contains(&holder)
        {
            self.violations.push(format!("{name} got the folder while {holder} had it"));
        }
        let acknowledged = self.acknowledged.len();
        if count < acknowledged {
            self.violations.push(format!("{name} found {count} records where {acknowledged} were acknowledged"));
        }
    }

    fn must_hold(&mut self, name: &str, line: &str) {
        if self.holder.as_deref() != Some(name) {
            self.violations.push(format!("{name} did not have the folder and said {line:?}"));
        }
    }

    /// How many records were acknowledged.
    pub fn acknowledged(&self) -> usize {
        self.acknowledged.len()
    }

    /// Compares the journal with what was said.
    pub fn compare(&mut self, journal: &[String]) {
        let different: BTreeSet<_> = journal.iter().collect();
        if different.len() < journal.len() {
            self.violations.push("a record is in the journal twice".to_owned());
        }
        self.violations.extend(
            journal
                .iter()
                .filter(|it| !self.announced.contains(*it))
                .map(|it| format!("nobody was about to write {it}")),
        );
        let acknowledged: BTreeSet<_> = self.acknowledged.iter().collect();
        let kept: Vec<_> = journal.iter().filter(|it| acknowledged.contains(it)).collect();
        if !kept.iter().copied().eq(&self.acknowledged) {
            let lost = self.acknowledged.iter().filter(|it| !different.contains(it)).collect::<Vec<_>>();
            self.violations.push(format!("the journal is not what was acknowledged, in its order; lost: {lost:?}"));
        }
    }
}
