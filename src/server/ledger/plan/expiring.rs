//! Planning the end of holds that are due.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::super::account::House;
use super::super::hold::HoldRecord;
use super::super::{LedgerError, TransferId};
use super::{Facts, Plan};
use crate::protocol::{AccountId, Currency};
use crate::server::seeded::{Bug, seeded};

impl<F: Facts> Plan<'_, F> {
    /// Gives free what is due of these accounts, and says how many holds there were. Where the books are damaged for one
    /// of them, its holds stay as they are.
    pub(crate) fn sweep(&mut self, accounts: impl IntoIterator<Item = AccountId>) -> Result<u64, LedgerError> {
        for account in accounts {
            match self.touch(&account) {
                Err(LedgerError::Damaged(what)) => {
                    tracing::error!("holds of `{account}` that are due stay: the books are damaged: `{what}`");
                }
                touched => touched?,
            }
        }
        Ok(self.changes.resolved.len() as u64)
    }

    /// Before anything is decided about an account: gives free what its due holds have set aside.
    pub(super) fn touch(&mut self, account: &AccountId) -> Result<(), LedgerError> {
        if self.touched.contains(account) {
            return Ok(());
        }
        let mut due = self.facts.due_holds(account, self.now)?;
        due.retain(|_| !seeded(Bug::NeverExpire));
        self.check_held(account, &due)?;
        self.touched.insert(account.clone());
        for hold in due {
            for (lot, amount) in hold.rest() {
                let released = self.released.entry(lot).or_default();
                *released = released.saturating_add(amount);
            }
            let revenue = self.changes.house(House::revenue(self.game, hold.currency));
            self.changes.resolve(&hold, hold.clone().expired(), revenue);
        }
        Ok(())
    }

    /// Checks that the lots of an account hold what its holds have set aside: what is planned must be such that it can be
    /// written, since a write that fails would fail for all who are in the same transaction.
    fn check_held(&mut self, account: &AccountId, holds: &[HoldRecord]) -> Result<(), LedgerError> {
        let mut wallets: HashMap<Currency, HashMap<TransferId, i64>> = HashMap::new();
        for hold in holds {
            let lots = match wallets.entry(hold.currency) {
                Entry::Occupied(lots) => lots.into_mut(),
                Entry::Vacant(none) => {
                    let lots = self.facts.lots(account, hold.currency)?;
                    none.insert(lots.into_iter().map(|lot| (lot.id, lot.held)).collect())
                }
            };
            for (lot, amount) in hold.rest() {
                let left = lots.get(&lot).and_then(|held| held.checked_sub(amount)).filter(|left| *left >= 0);
                let Some(left) = left else {
                    let what = format_args!("the lot {lot} does not hold what the hold {} has set aside", hold.id);
                    return Err(LedgerError::damaged(what));
                };
                lots.insert(lot, left);
            }
        }
        Ok(())
    }
}
