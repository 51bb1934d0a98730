//! What waits for the writer thread, and what of it is done together.

use std::collections::VecDeque;

use tokio::sync::OwnedSemaphorePermit;

use super::{Answer, Managed, Operation, Reply, SyncJob};
use crate::protocol::PublicKey;
use crate::server::ledger::{AccountWish, Enrolled};

/// How many questions about accounts are seen to in one batch: each is a transaction of its own, and purchases wait for it.
const MOST_WISHES: usize = 8;

pub(super) enum Job {
    Sync(SyncJob, Reply<Answer>),
    Enrol(PublicKey, Reply<Enrolled>),
    Manage(AccountWish, Reply<Managed>),
    Operate(Operation),
    Wake,
    Stop,
}

impl Job {
    /// How much work it is: that of its orders and consumptions, and that of the answer.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Sync(job, _) => job.orders.len() + job.consumptions.len() + 1,
            Self::Enrol(..) | Self::Manage(..) | Self::Operate(_) => 1,
            Self::Wake | Self::Stop => 0,
        }
    }
}

/// A job, and its room in the queue.
pub(super) struct Queued {
    pub(super) job: Job,
    pub(super) room: Option<OwnedSemaphorePermit>,
}

/// A question about an account, who waits for its answer, and its room in the queue.
pub(crate) type Wish = (AccountWish, Reply<Managed>, Option<OwnedSemaphorePermit>);

/// What was waiting.
#[derive(Default)]
pub(crate) struct Batch {
    pub(crate) syncs: Vec<(SyncJob, Reply<Answer>)>,
    pub(crate) enrolments: Vec<(PublicKey, Reply<Enrolled>)>,
    /// In the order in which they were asked. They keep their room in the queue until it is their turn.
    pub(crate) wishes: VecDeque<Wish>,
    pub(crate) operations: Vec<Operation>,
    /// How much work it is, but for the wishes.
    pub(super) weight: usize,
    pub(super) stop: bool,
}

impl Batch {
    /// Takes a job out of the queue, in which there is room for another one then.
    pub(super) fn add(&mut self, Queued { job, room }: Queued) {
        let weight = job.weight();
        match job {
            // However many there are, they leave room for everything else.
            Job::Manage(wish, reply) => return self.wishes.push_back((wish, reply, room)),
            Job::Sync(job, reply) => self.syncs.push((job, reply)),
            Job::Enrol(key, reply) => self.enrolments.push((key, reply)),
            Job::Operate(operation) => self.operations.push(operation),
            Job::Wake => {}
            Job::Stop => self.stop = true,
        }
        self.weight += weight;
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.wishes.is_empty() && self.syncs.is_empty() && self.enrolments.is_empty() && self.operations.is_empty()
    }

    /// The questions that are seen to now.
    pub(super) fn next_wishes(&mut self) -> Vec<Wish> {
        self.wishes.drain(..self.wishes.len().min(MOST_WISHES)).collect()
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;
    use crate::protocol::{SecretKey, Sha256};
    use crate::server::ledger::AccountChange;

    #[test]
    fn questions_about_accounts_take_turns_and_hold_up_nothing_else() {
        let key = SecretKey::from_seed(&[1; 32]).public();
        let mut batch = Batch::default();
        for number in 0..20_u8 {
            let wish =
                AccountWish { device: key.id(), question: Sha256::of([number]), change: AccountChange::LinkCode };
            batch.add(Queued { job: Job::Manage(wish, oneshot::channel().0), room: None });
        }
        batch.add(Queued { job: Job::Enrol(key, oneshot::channel().0), room: None });
        assert_eq!((batch.enrolments.len(), batch.weight), (1, 1));
        let mut turns = Vec::new();
        while !batch.wishes.is_empty() {
            turns.push(batch.next_wishes().iter().map(|(wish, ..)| wish.question).collect::<Vec<_>>());
        }
        let all: Vec<Sha256> = (0..20_u8).map(|number| Sha256::of([number])).collect();
        assert_eq!(turns.iter().map(Vec::len).collect::<Vec<_>>(), [8, 8, 4]);
        assert_eq!(turns.concat(), all);
    }
}
