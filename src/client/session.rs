//! A machine and its storage together: what the worker runs on its thread, and a test without one.

use std::sync::Arc;

use super::clock::Tick;
use super::machine::{Input, Machine, Output, Settings};
use super::record::Record;
use super::seeded::{Bug, seeded};
use super::storage::{Persistence, Storage, StorageError};
use super::transport::Request;
use super::view::{Snapshot, Update};
use crate::protocol::{SecretKey, ServerKeys};

/// A machine, and the storage that makes durable what it says.
#[derive(Debug)]
pub struct Session {
    machine: Machine,
    storage: Box<dyn Storage>,
    /// Whether the next start would tell again what was damaged.
    is_report_open: bool,
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

/// What the machine wants of the storage.
#[derive(Debug)]
enum Job {
    Append(Arc<[Record]>),
    Compact,
    MakeNextKey,
    TakeNextKey,
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
    /// [`Session::open`] for any storage: waits until it can be read, and until what opening it wrote is durable.
    ///
    /// # Errors
    /// As [`Session::open`].
    pub async fn open_settled(
        settings: Settings,
        mut storage: Box<dyn Storage>,
        tick: Tick,
    ) -> Result<(Self, Snapshot), NotOpened> {
        let prepared = match storage.prepare() {
            Some(preparing) => preparing.await,
            None => Ok(()),
        };
        if let Err(error) = prepared {
            return Err(NotOpened::by(&error, storage));
        }
        let (mut session, snapshot) = Self::open(settings, storage, tick)?;
        let settled = match session.storage.settle() {
            Some(settling) => settling.await,
            None => Ok(()),
        };
        match settled {
            Ok(()) => Ok((session, snapshot)),
            Err(error) => Err(NotOpened::by(&error, session.storage)),
        }
    }

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
        let is_damaged = opened.is_damaged;
        if taken.is_some()
            && may_write
            && let Err(error) = storage.take_next_key()
        {
            return Err(NotOpened::by(&error, storage));
        }
        let (machine, snapshot, first) = match opening.finish(opened, tick) {
            Ok(finished) => finished,
            // A copy that may write mends what is damaged, and then it may be another's no more.
            Err(trouble) => return Err(NotOpened { trouble, try_again: !may_write, storage }),
        };
        if may_write
            && !first.is_empty()
            && let Err(error) = storage.append(&first)
        {
            return Err(NotOpened::by(&error, storage));
        }
        let is_report_open = may_write && is_damaged;
        if is_report_open && seeded(Bug::ForgetReportUntold) {
            storage.reported();
        }
        Ok((Self { machine, storage, is_report_open }, snapshot))
    }

    /// The game has heard everything that it was told: what was damaged, and which orders came to nothing, need not be told
    /// again.
    pub fn told(&mut self) {
        self.machine.told();
        if std::mem::take(&mut self.is_report_open) {
            self.storage.reported();
        }
    }

    /// The machine.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Whether opening the storage again may give more than it gave the last time. A quick look.
    pub fn is_worth_reopening(&mut self) -> bool {
        self.storage.is_worth_reopening()
    }

    /// Whether another copy of the game has taken over, so that the storage is to be opened again. A quick look.
    pub fn is_overtaken(&self) -> bool {
        self.storage.is_overtaken()
    }

    /// How long what is kept stays. A quick look.
    pub fn persistence(&self) -> Persistence {
        self.storage.persistence()
    }

    /// Gives the storage back.
    pub fn close(self) -> Box<dyn Storage> {
        self.storage
    }

    /// Puts inputs into the machine, and does with the storage what comes of them until nothing is left to do. `tick`
    /// gives the present moment. For a storage whose calls have nothing left to do when they return.
    pub fn step(&mut self, mut inputs: Vec<Input>, mut tick: impl FnMut() -> Tick) -> Step {
        let mut step = Step::default();
        while !inputs.is_empty() {
            let now = tick();
            for job in self.take(&mut inputs, now, &mut step) {
                let done = self.begin(&job, now);
                inputs.push(outcome(&job, done));
            }
        }
        step
    }

    /// The same for any storage: waits until what was written is durable.
    pub async fn step_settled(&mut self, mut inputs: Vec<Input>, mut tick: impl FnMut() -> Tick) -> Step {
        let mut step = Step::default();
        while !inputs.is_empty() {
            let now = tick();
            for job in self.take(&mut inputs, now, &mut step) {
                let done = match (self.begin(&job, now), self.storage.settle()) {
                    (Ok(done), Some(settling)) => settling.await.map(|()| done),
                    (done, _) => done,
                };
                inputs.push(outcome(&job, done));
            }
        }
        step
    }

    /// Puts the inputs into the machine. What the storage has to do is returned; the rest is noted in `step`.
    fn take(&mut self, inputs: &mut Vec<Input>, tick: Tick, step: &mut Step) -> Vec<Job> {
        let outputs = self.machine.handle_all(std::mem::take(inputs), tick);
        step.news.reserve(outputs.len());
        let mut jobs = Vec::new();
        for output in outputs {
            match output {
                Output::Append(records) => jobs.push(Job::Append(records)),
                Output::Compact => jobs.push(Job::Compact),
                Output::MakeNextKey => jobs.push(Job::MakeNextKey),
                Output::TakeNextKey => jobs.push(Job::TakeNextKey),
                Output::Abandon => {
                    step.abandon = true;
                    step.request = None;
                }
                Output::Send(request) => step.request = Some(request),
                Output::Tell(update) => step.news.push(update),
            }
        }
        jobs
    }

    /// Has the storage do something; gives the key that it made, if that was it.
    fn begin(&mut self, job: &Job, tick: Tick) -> Result<Option<SecretKey>, StorageError> {
        match job {
            Job::Append(records) => self.storage.append(records).map(|()| None),
            Job::Compact => {
                let machine = &self.machine;
                self.storage.compact(&mut machine.keeping(), &machine.closing_records(tick)).map(|()| None)
            }
            Job::MakeNextKey => self.storage.make_next_key().map(Some),
            Job::TakeNextKey => self.storage.take_next_key().map(|()| None),
        }
    }

    /// Has the journal written anew at the next step, however little there is to leave out.
    #[cfg(test)]
    pub(crate) fn compact_next(&mut self) {
        self.machine.compaction_wanted = true;
    }
}

/// What the machine hears of what the storage did.
fn outcome(job: &Job, done: Result<Option<SecretKey>, StorageError>) -> Input {
    match (job, done) {
        (Job::Append(_), Ok(_)) => Input::Appended,
        (Job::Append(_), Err(error)) => {
            tracing::warn!("{error}");
            let trouble = error.to_string();
            match error {
                StorageError::Uncertain(_) => Input::AppendUncertain(trouble),
                _ => Input::AppendFailed(trouble),
            }
        }
        (Job::Compact, Ok(_)) => Input::Compacted,
        (Job::Compact, Err(error)) => Input::CompactionFailed(error.to_string()),
        (Job::MakeNextKey, Ok(Some(key))) => Input::NextKeyMade(Ok(key)),
        (Job::MakeNextKey, Ok(None)) => Input::NextKeyMade(Err("no key was made".to_owned())),
        (Job::MakeNextKey, Err(error)) => Input::NextKeyMade(Err(error.to_string())),
        (Job::TakeNextKey, done) => Input::NextKeyTaken(done.map(drop).map_err(|error| error.to_string())),
    }
}

impl NotOpened {
    fn by(error: &StorageError, storage: Box<dyn Storage>) -> Self {
        let try_again = matches!(
            error,
            StorageError::Io { .. }
                | StorageError::Uncertain(_)
                | StorageError::Browser { .. }
                | StorageError::NoRandomness
                | StorageError::Keychain { .. }
                | StorageError::ReadOnly(_)
        );
        Self { trouble: error.to_string(), try_again, storage }
    }
}
