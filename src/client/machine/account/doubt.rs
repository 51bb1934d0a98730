//! Where this device belongs, which the machine asks by itself when the server refuses it.

use std::time::Duration;

use super::{Doubt, Question};
use crate::client::account::Asked;
use crate::client::clock::Tick;
use crate::client::machine::Machine;
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
}
