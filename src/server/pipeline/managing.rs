//! What a player asks about an account, one question at a time.

use super::{Managed, Reply, Writer};
use crate::server::ledger::{AccountWish, ManageError};
use crate::server::problem::Refusal;

impl Writer {
    /// Sees to a question, and tells those who wait for news if that has changed anything.
    pub(super) fn manage(&mut self, wish: &AccountWish, reply: Reply<Managed>) {
        let at = self.clock.now();
        let done = self.ledger.manage(wish, &self.accounts, &mut self.signer, at);
        if done.as_ref().is_ok_and(|membership| membership.changed) {
            self.watch.changed_somewhere();
        }
        let done = done.map(|membership| Managed { membership, key: self.signer.key().clone(), at });
        // Whoever asked may have gone; what was done stays done.
        let _ = reply.send(done.map_err(|error| {
            if let ManageError::Ledger(error) = &error {
                tracing::error!("the device `{}` could not be seen to: `{error}`", wish.device);
            }
            Refusal::of_account(&error)
        }));
    }
}
