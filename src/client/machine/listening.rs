//! Waiting for news at the server: an idle poll whose answer the server holds until there is something to tell.
//!
//! Whatever is to be sent does not wait for that answer: the request is given up, and its answer is never applied. A
//! server that does not hold answers, or brings news all the time, is asked more and more slowly.

use std::time::Duration;

use super::syncing::{Link, Sync, jitter};
use super::{Machine, Output, Tick};
use crate::protocol::sync::Wait;

/// How long an answer may be held. Networks forget connections on which nothing happens for half a minute.
const HOLD: Duration = Duration::from_secs(25);
/// The shortest time from one request that waits to the next.
const SHORTEST: Duration = Duration::from_secs(1);

impl Machine {
    /// What the next sync says about waiting, if it is an idle one.
    pub(super) fn wait_for_news(&self) -> Option<Wait> {
        let is_idle = self.settings.listen && !self.sync_wanted && self.is_everything_answered();
        is_idle.then(|| Wait { seconds: HOLD.as_secs(), wallet: self.wallet.clone() })
    }

    /// How long the server may hold the answer to a sync.
    pub(super) fn hold(waits: bool) -> Duration {
        if waits { HOLD } else { Duration::ZERO }
    }

    /// Gives up a request that waits for news, if something else is to be sent.
    pub(super) fn give_up_waiting(&mut self, tick: Tick) {
        // While it waits, only what was used up meanwhile makes the next poll due.
        let is_due = self.sync_wanted || self.is_question_ready(tick) || tick.elapsed >= self.next_poll;
        if self.is_waiting_for_news() && is_due {
            self.link = Link::Idle;
            self.sync_wanted = true;
        }
    }

    /// Gives up a request that waits for news, since nothing is to be asked any more.
    pub(super) fn stop_waiting(&mut self, outputs: &mut Vec<Output>) {
        if self.is_waiting_for_news() {
            self.link = Link::Idle;
            outputs.push(Output::Abandon);
        }
    }

    pub(super) fn is_waiting_for_news(&self) -> bool {
        matches!(&self.link, Link::Syncing(sync) if sync.waits)
    }

    /// When to ask for news again, after `sync` was answered.
    pub(super) fn next_poll_after(&mut self, sync: &Sync, is_news: bool, tick: Tick) -> Duration {
        if !self.settings.listen {
            return tick.elapsed.saturating_add(self.settings.poll);
        }
        let took = tick.elapsed.saturating_sub(sync.sent_at);
        // What was sent and not answered would be sent again at once, for as long as the server cannot decide it.
        let is_undecided = !sync.waits && !self.is_everything_answered();
        if is_news || took >= HOLD / 2 || !(sync.waits || is_undecided) {
            self.unheld = 0;
            return if sync.waits { tick.elapsed.max(sync.sent_at + SHORTEST) } else { tick.elapsed };
        }
        // It stops, perhaps, or does not know of waiting.
        let longest = SHORTEST.saturating_mul(2u32.saturating_pow(self.unheld.min(16))).min(self.settings.poll);
        self.unheld = self.unheld.saturating_add(1);
        tick.elapsed + longest / 2 + jitter(longest / 2, tick.random)
    }
}
