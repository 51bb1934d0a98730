//! Where this device belongs, which the machine asks by itself when the server refuses it.

use std::mem;
use std::time::Duration;

use super::{Doubt, Learned, Question};
use crate::client::account::{AccountTrouble, Asked};
use crate::client::clock::Tick;
use crate::client::machine::syncing::{Link, wait_after};
use crate::client::machine::{Machine, Output};
use crate::client::view::Update;
use crate::protocol::problem::Problem;
use crate::protocol::{AccountAsk, ProblemType};

impl Machine {
    /// The server refused a sync. If that is because this device is another account's now, or revoked, it is asked: a
    /// refusal is unsigned.
    pub(in crate::client::machine) fn sync_refused(&mut self, problem: Option<&Problem>) {
        let is = |kind: ProblemType| problem.is_some_and(|problem| problem.kind == kind.as_str());
        if is(ProblemType::DeviceRevoked) && self.membership.next_key.is_some() {
            self.membership.doubt = Some(Doubt::NextKey);
        } else if is(ProblemType::DeviceRevoked) || is(ProblemType::WrongAccount) {
            self.membership.doubt = Some(Doubt::ThisKey);
        }
    }

    /// The server does not know this device: it is to be enrolled again, which does no harm, so an unsigned word is enough
    /// for it. Not so where it has joined an account, or taken another device's place: it would open an account of its
    /// own, and lose sight of what it has. Says whether it is enrolled again.
    pub(in crate::client::machine) fn enrol_again(&mut self) -> bool {
        let is_guest = self.account == self.device.guest_account();
        self.enrolled &= !is_guest;
        if !is_guest && !mem::replace(&mut self.membership.is_told_unknown, true) {
            let trouble = format!(
                "the store does not know the device {} of the account {} any more: its books were perhaps put back from \
                 an older copy; what is owned stays here, and the store is asked again by itself; ask its operator",
                self.device, self.account
            );
            self.membership.news.push(Output::Tell(Update::Trouble(trouble)));
        }
        is_guest
    }

    /// The question that settles a doubt; `resume` says how the failed sync is to be tried again.
    pub(super) fn question_of(
        &self,
        doubt: Doubt,
        resume: Option<(Duration, String)>,
        tick: Tick,
    ) -> Result<Option<Question>, String> {
        let next = self.membership.next_key.as_ref().filter(|_| doubt == Doubt::NextKey);
        let token = self.sign_question(AccountAsk::Show, next.unwrap_or(&self.key), tick)?;
        Ok(Some(Question { token, asked: Asked::Nothing, by_next_key: next.is_some(), resume }))
    }

    /// Whether the next key has the place of a device that was revoked. Nothing else is sent before that is answered, so
    /// it is asked as slowly as a sync that fails.
    pub(super) fn question_of_the_next_key(&mut self, tick: Tick) -> Result<Option<Question>, String> {
        let wait = wait_after(self.failures, &self.settings, None, tick);
        self.failures = self.failures.saturating_add(1);
        self.question_of(Doubt::NextKey, Some((tick.elapsed + wait, String::new())), tick)
    }

    /// Whether that the asker was revoked may only mean that another key has its place, which was not asked yet.
    pub(super) fn is_next_key_to_be_asked_first(&self, question: &Question) -> bool {
        !question.by_next_key && self.membership.is_next_key_in_question()
    }

    /// Saves nothing of an answer that the old key was given, and asks by the next one.
    pub(super) fn ask_the_next_key_first(&mut self, learned: Learned, tick: Tick) {
        let (until, trouble) = learned.resume.unwrap_or((tick.elapsed, String::new()));
        self.link = Link::Waiting { until, again: None, trouble };
        self.sync_wanted = true;
        self.membership.doubt = Some(Doubt::NextKey);
        if learned.asked != Asked::Nothing {
            self.end_asking(AccountTrouble::Busy);
        }
    }
}
