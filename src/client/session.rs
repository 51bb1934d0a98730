//! A machine and its storage together: what the worker runs on its thread, and a test without one.

use super::clock::Tick;
use super::machine::{Input, Machine, Output, Settings};
use super::record::Record;
use super::seeded::{Bug, seeded};
use super::storage::{Storage, StorageError};
use super::transport::Request;
use super::view::{Snapshot, Update};
use crate::protocol::{SecretKey, ServerKeys};

/// A machine, and the storage that makes durable what it says.
#[derive(Debug)]
pub struct Session {
    machine: Machine,
    storage: Box<dyn Storage>,
}

/// What came of inputs.
#[derive(Debug, Default)]
pub struct Step {
    /// The request to send.
    pub request: Option<Request>,
    /// Whether to let go of the request under way; before sending another.
    pub abandon: bool,
    /// What to tell the game, in order.
    pub news: Vec<Update>,
}

/// Why a session could not be opened.
#[derive(Debug)]
pub struct NotOpened {
    /// What is wrong and what to do, in words.
    pub trouble: String,
    /// Whether it may be otherwise in a while: the disk failed, rather than what is on it.
    pub try_again: bool,
    /// The storage, for another try.
    pub storage: Box<dyn Storage>,
}

impl Session {
    /// Opens a storage and reads it.
    ///
    /// # Errors
    /// The storage cannot be opened, or belongs to another game or device.
    pub fn open(settings: Settings, mut storage: Box<dyn Storage>, tick: Tick) -> Result<(Self, Snapshot), NotOpened> {
        let mut keys = ServerKeys::pinned(settings.server_keys.iter().copied());
        // The next key, once the journal was found to be of its device: a crash came before it took its place.
        let mut taken: Option<SecretKey> = None;
        // What the first pass found and mended, a later one does not find any more.
        let (mut troubles, mut is_damaged) = (Vec::new(), false);
        let (opening, mut opened) = loop {
            let mut opening = None;
            let begin = |key: &SecretKey| {
                let key = taken.as_ref().unwrap_or(key).clone();
                Machine::opening_with(settings.clone(), key, keys.clone())
            };
            let opened = storage.open(&mut |key, record| opening.get_or_insert_with(|| begin(key)).replay(record));
            let mut opened = match opened {
                Ok(opened) => opened,
                Err(error) => return Err(NotOpened::by(&error, storage)),
            };
            is_damaged |= opened.is_damaged;
            let found = std::mem::take(&mut opened.troubles).into_iter();
            let new: Vec<_> = found.filter(|trouble| !troubles.contains(trouble)).collect();
            troubles.extend(new);
            let mut opening = opening.unwrap_or_else(|| begin(&opened.key));
            match storage.next_key() {
                Ok(Some(next)) if opening.other_device() == Some(next.id()) && !seeded(Bug::ForgetNextKey) => {
                    taken = Some(next);
                    continue;
                }
                Ok(next) => next.into_iter().filter(|_| taken.is_none()).for_each(|next| opening.next_key(next)),
                Err(error) => return Err(NotOpened::by(&error, storage)),
            }
            match opening.keys_to_read_it_with().filter(|better| *better != keys) {
                Some(better) => keys = better,
                None => break (opening, opened),
            }
        };
        (opened.troubles, opened.is_damaged) = (troubles, is_damaged);
        let may_write = opened.access.may_write();
        if taken.is_some()
            && may_write
            && let Err(error) = storage.take_next_key()
        {
            return Err(NotOpened::by(&error, storage));
        }
        let (machine, snapshot, first) = match opening.finish(opened, tick) {
            Ok(finished) => finished,
            Err(trouble) => return Err(NotOpened { trouble, try_again: false, storage }),
        };
        if may_write
            && !first.is_empty()
            && let Err(error) = storage.append(&first)
        {
            return Err(NotOpened::by(&error, storage));
        }
        Ok((Self { machine, storage }, snapshot))
    }

    /// The machine.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Whether opening the storage again may give more than it gave the last time. A quick look.
    pub fn is_worth_reopening(&mut self) -> bool {
        self.storage.is_worth_reopening()
    }

    /// Gives the storage back.
    pub fn close(self) -> Box<dyn Storage> {
        self.storage
    }

    /// Puts inputs into the machine, and does with the storage what comes of them until nothing is left to do. `tick`
    /// gives the present moment.
    pub fn step(&mut self, mut inputs: Vec<Input>, mut tick: impl FnMut() -> Tick) -> Step {
        let mut step = Step::default();
        while !inputs.is_empty() {
            let now = tick();
            let outputs = self.machine.handle_all(std::mem::take(&mut inputs), now);
            step.news.reserve(outputs.len());
            for output in outputs {
                match output {
                    Output::Append(records) => inputs.push(self.append(&records)),
                    Output::Compact => inputs.push(self.compact(now)),
                    Output::MakeNextKey => {
                        let made = self.storage.make_next_key().map_err(|error| error.to_string());
                        inputs.push(Input::NextKeyMade(made));
                    }
                    Output::TakeNextKey => {
                        let taken = self.storage.take_next_key().map_err(|error| error.to_string());
                        inputs.push(Input::NextKeyTaken(taken));
                    }
                    Output::Abandon => {
                        step.abandon = true;
                        step.request = None;
                    }
                    Output::Send(request) => step.request = Some(request),
                    Output::Tell(update) => step.news.push(update),
                }
            }
        }
        step
    }

    /// Has the journal written anew at the next step, however little there is to leave out.
    #[cfg(test)]
    pub(crate) fn compact_next(&mut self) {
        self.machine.compaction_wanted = true;
    }

    fn append(&mut self, records: &[Record]) -> Input {
        match self.storage.append(records) {
            Ok(()) => Input::Appended,
            Err(error) => {
                tracing::warn!("{error}");
                let trouble = error.to_string();
                match error {
                    StorageError::Uncertain(_) => Input::AppendUncertain(trouble),
                    _ => Input::AppendFailed(trouble),
                }
            }
        }
    }

    fn compact(&mut self, tick: Tick) -> Input {
        let machine = &self.machine;
        match self.storage.compact(&mut |record| machine.keep(record), &machine.closing_records(tick)) {
            Ok(()) => Input::Compacted,
            Err(error) => Input::CompactionFailed(error.to_string()),
        }
    }
}

impl NotOpened {
    fn by(error: &StorageError, storage: Box<dyn Storage>) -> Self {
        let try_again = matches!(
            error,
            StorageError::Io { .. }
                | StorageError::Uncertain(_)
                | StorageError::NoRandomness
                | StorageError::Keychain { .. }
        );
        Self { trouble: error.to_string(), try_again, storage }
    }
}
