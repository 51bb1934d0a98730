//! How long the rest waits for what the player asked, and that for the rest.

use std::mem;
use std::time::Duration;

use super::{Asking, Question, Stage};
use crate::client::account::{AccountTrouble, Asked};
use crate::client::clock::Tick;
use crate::client::machine::Machine;
use crate::client::machine::appending::Waiting;
use crate::client::machine::syncing::{Link, wait_after};

const OFFLINE: &str = "the game is offline";

/// How a try of a question failed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Failure {
    /// Whether a server was reached, which cannot answer it now.
    pub(super) is_reached: bool,
    /// How long it wants to be left alone.
    pub(super) retry_after: Option<Duration>,
}

impl Failure {
    /// No answer came, or none to believe.
    pub(super) const NO_ANSWER: Self = Self { is_reached: false, retry_after: None };
}

impl Machine {
    /// Whether what is ordered waits for an answer: until the first try has failed. Should it come about all the same, the
    /// server refuses what was signed since, and the device asks where it belongs.
    pub(super) fn are_purchases_held(&self) -> bool {
        let asking = self.membership.asking.as_ref();
        asking.is_some_and(|asking| !asking.is_told && asking.wish.holds_purchases(self.device))
    }

    /// Whether nothing is to be signed, since it would be lost with an account that the device is not of.
    pub(in crate::client::machine) fn is_account_unknown(&self) -> bool {
        self.membership.is_place_unknown && !self.settings.server_keys.is_empty()
    }

    /// How many of the first things that wait may become durable now. What changes whom orders are signed for does so
    /// alone.
    pub(in crate::client::machine) fn count_to_append(&mut self) -> usize {
        if matches!(self.waiting.front(), Some(Waiting::Account(_))) {
            return 1;
        }
        if !self.are_purchases_held() {
            return self.waiting.len();
        }
        let (held, free): (Vec<_>, Vec<_>) = self.waiting.drain(..).partition(is_unsigned);
        let count = free.len();
        self.waiting.extend(free);
        self.waiting.extend(held);
        count
    }

    /// Whether everything that was signed is answered, and nothing is on its way to the disk.
    pub(super) fn is_all_answered(&self) -> bool {
        self.appending.is_none() && self.waiting.iter().all(is_unsigned) && self.is_everything_answered()
    }

    /// Whether no order and no consumption is to be sent.
    pub(in crate::client::machine) fn is_everything_answered(&self) -> bool {
        self.orders.unanswered().next().is_none() && self.consumptions.len() == 0
    }

    /// A sync was answered, and what it brought is durable.
    pub(in crate::client::machine) fn synced(&mut self) {
        self.membership.is_told_unknown = false;
        self.membership.is_place_unknown = false;
        if let Some(Asking { stage: Stage::Syncing(is_answered), .. }) = &mut self.membership.asking {
            *is_answered = true;
        }
    }

    /// A sync was answered with nothing new. Says what is wrong with that, if anything waits for more.
    pub(in crate::client::machine) fn synced_without_news(&mut self) {
        self.synced();
        self.forget_former_orders();
        let waits = matches!(self.membership.asking, Some(Asking { stage: Stage::Syncing(_), .. }));
        if waits && !self.is_everything_answered() && !self.sync_wanted {
            let trouble = "the store did not answer everything".to_owned();
            self.end_asking(AccountTrouble::NoConnection { trouble });
        }
    }

    /// Whether something that the player asked is to be sent.
    pub(in crate::client::machine) fn is_question_ready(&self, tick: Tick) -> bool {
        self.membership.asking.as_ref().is_some_and(|asking| match asking.stage {
            Stage::Ready => true,
            Stage::Sent(_) => tick.elapsed >= asking.retry_at,
            Stage::Syncing(_) | Stage::MakingKey => false,
        })
    }

    /// When what the player asked is to be asked again.
    pub(in crate::client::machine) fn next_question(&self) -> Option<Duration> {
        let sent = self.membership.asking.as_ref().filter(|asking| matches!(asking.stage, Stage::Sent(_)));
        sent.map(|asking| asking.retry_at)
    }

    /// A sync was sent: it had its turn between two tries of a question.
    pub(in crate::client::machine) fn sync_sent(&mut self) {
        if let Some(asking) = &mut self.membership.asking {
            asking.is_synced = true;
        }
    }

    /// A try of a question failed. What the player asked is asked again, ever more slowly whatever else is answered; what
    /// the machine asks by itself belongs to a sync, and is tried again with it. A server that was reached can be sent
    /// something else at once.
    pub(super) fn question_failed(&mut self, question: Question, trouble: &str, failure: Failure, tick: Tick) {
        if question.asked != Asked::Nothing {
            self.asking_failed(trouble);
            if let Some(asking) = &mut self.membership.asking {
                let wait = wait_after(asking.failures, &self.settings, failure.retry_after, tick);
                asking.failures = asking.failures.saturating_add(1);
                asking.retry_at = tick.elapsed + wait;
                let (until, trouble) = (asking.retry_at, trouble.to_owned());
                self.link = match failure.is_reached {
                    true => Link::Idle,
                    false => Link::Waiting { until, again: None, trouble },
                };
                return;
            }
        }
        self.link = Link::Asking(question);
        self.failed(trouble, failure.retry_after, tick);
    }

    /// A request failed, and will be tried again: what the player asked ends if nothing can have come of it.
    pub(in crate::client::machine) fn asking_failed(&mut self, trouble: &str) {
        if self.membership.doubt.is_some() {
            return;
        }
        let Some(asking) = &mut self.membership.asking else { return };
        match asking.stage {
            Stage::MakingKey => {}
            Stage::Sent(_) if asking.wish.holds_purchases(self.device) => {
                if !mem::replace(&mut asking.is_told, true) {
                    let (asked, trouble) = (asking.wish.asked(), trouble.to_owned());
                    self.tell_outcome(asked, Err(AccountTrouble::AskedAgain { trouble }));
                }
            }
            _ => self.end_asking(AccountTrouble::NoConnection { trouble: trouble.to_owned() }),
        }
    }

    /// The game went offline, or ends: what was not sent yet is not any more, and nothing waits for what was.
    pub(in crate::client::machine) fn asking_offline(&mut self) {
        let is_kept = |asking: &Asking| matches!(asking.stage, Stage::Sent(_));
        match &self.membership.asking {
            Some(asking) if is_kept(asking) && !asking.wish.holds_purchases(self.device) => {}
            Some(asking) if is_kept(asking) => self.asking_failed(OFFLINE),
            _ => self.end_asking(AccountTrouble::NoConnection { trouble: OFFLINE.to_owned() }),
        }
    }
}

/// Whether something waits to be signed for whichever account this device belongs to then.
fn is_unsigned(waiting: &Waiting) -> bool {
    matches!(waiting, Waiting::Purchase(_) | Waiting::Consume { .. })
}
