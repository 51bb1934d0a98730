//! Lots: what a player holds, in pieces that each remember where they came from.

use super::TransferId;
use super::account::{AccountNumber, House, Origin};
use crate::protocol::{AccountId, Currency, Micros, SourceId, UnixSeconds};

/// Money that came into a wallet at once, and what is left of it. Amounts are micros.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lot {
    /// The transfer that opened it.
    pub id: TransferId,
    /// The player's account.
    pub account: AccountId,
    /// The currency.
    pub currency: Currency,
    /// Whether somebody has paid for it.
    pub origin: Origin,
    /// Where it came from.
    pub source: SourceId,
    /// When it was opened.
    pub opened_at: UnixSeconds,
    /// When it can no longer be given back to its source, unless it must be.
    pub refundable_until: Option<UnixSeconds>,
    /// What it was opened with.
    pub opened_with: i64,
    /// What of that was given back to its source.
    pub refunded: i64,
    /// What is in it, held or not; below zero if more was given back than was left.
    pub balance: i64,
    /// What of that is set aside by holds.
    pub held: i64,
}

impl Lot {
    /// Its account in the ledger.
    pub fn number(&self) -> AccountNumber {
        AccountNumber::of_lot(self.id)
    }

    /// The account that its money came from.
    pub fn house(&self) -> House {
        House::origin(self.origin, &self.source, self.currency)
    }

    /// What can be spent of it; below zero if it is owed.
    pub fn available(&self) -> i64 {
        self.balance.saturating_sub(self.held)
    }

    /// Promotional money is spent before what was paid for, then the oldest first, then by id.
    fn turn(&self) -> (bool, UnixSeconds, TransferId) {
        (self.origin == Origin::Paid, self.opened_at, self.id)
    }
}

/// What can be spent of all `lots` together, in micros. A lot that is owed takes from the others.
pub fn available(lots: &[Lot]) -> i64 {
    lots.iter().fold(0, |sum, lot| sum.saturating_add(lot.available()))
}

/// What is set aside of all `lots` together, in micros.
pub fn held(lots: &[Lot]) -> i64 {
    lots.iter().fold(0, |sum, lot| sum.saturating_add(lot.held))
}

/// What is in all `lots` together, held or not, if what can be spent and what is set aside can both be an amount, and so
/// can their sum.
pub(crate) fn total(lots: &[Lot]) -> Option<Micros> {
    let (available, held) = (Micros::new(available(lots)).ok()?, Micros::new(held(lots)).ok()?);
    available.checked_add(held)
}

/// Which lots pay `amount`, and how much each, in the order of spending; none if all together hold less. What is free
/// takes nothing, also from who owes.
pub fn draw(lots: &[Lot], amount: i64) -> Option<Vec<(TransferId, i64)>> {
    if amount > 0 && available(lots) < amount {
        return None;
    }
    let mut in_turn: Vec<&Lot> = lots.iter().filter(|lot| lot.available() > 0).collect();
    in_turn.sort_by_key(|lot| lot.turn());
    let mut left = amount;
    let mut drawn = Vec::new();
    for lot in in_turn {
        if left <= 0 {
            break;
        }
        let part = lot.available().min(left);
        left -= part;
        drawn.push((lot.id, part));
    }
    Some(drawn)
}

/// Joins what comes from `sources` with what goes to `destinations`, in their orders, into as few parts as that takes:
/// fewer than there are of both together. Both must add up to the same; what is zero is left out.
pub fn pair<S: Copy, D: Copy>(sources: &[(S, i64)], destinations: &[(D, i64)]) -> Vec<(S, D, i64)> {
    let mut sources = sources.iter().copied().filter(|(_, amount)| *amount > 0);
    let mut pairs = Vec::new();
    let mut source = sources.next();
    for (destination, mut wanted) in destinations.iter().copied() {
        while let Some((from, there)) = source.filter(|_| wanted > 0) {
            let part = there.min(wanted);
            wanted -= part;
            pairs.push((from, destination, part));
            source = if there > part { Some((from, there - part)) } else { sources.next() };
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lot(number: u8, origin: Origin, opened_at: UnixSeconds, balance: i64, held: i64) -> Lot {
        Lot {
            id: TransferId([number; 16]),
            account: "player".parse().expect("an account"),
            currency: Currency::EUR,
            origin,
            source: "card".parse().expect("a source"),
            opened_at,
            refundable_until: None,
            opened_with: balance,
            refunded: 0,
            balance,
            held,
        }
    }

    #[test]
    fn promotional_money_is_spent_first_and_then_the_oldest() {
        let lots = [
            lot(1, Origin::Paid, 5, 10, 0),
            lot(2, Origin::Promotional, 9, 3, 1),
            lot(4, Origin::Paid, 2, 10, 0),
            lot(3, Origin::Paid, 2, 10, 0),
        ];
        let drawn = |amount| {
            let drawn = draw(&lots, amount).expect("enough");
            drawn.into_iter().map(|(id, part)| (id.0[0], part)).collect::<Vec<_>>()
        };
        assert_eq!(drawn(1), [(2, 1)]);
        assert_eq!(drawn(15), [(2, 2), (3, 10), (4, 3)]);
        assert_eq!(drawn(32), [(2, 2), (3, 10), (4, 10), (1, 10)]);
        assert_eq!(draw(&lots, 33), None);
    }

    #[test]
    fn lot_that_is_owed_must_be_covered_before_anything_is_spent() {
        let lots = [lot(1, Origin::Paid, 1, -5, 0), lot(2, Origin::Paid, 2, 7, 0)];
        assert_eq!(available(&lots), 2);
        assert_eq!(draw(&lots, 3), None);
        assert_eq!(draw(&lots, 2), Some(vec![(TransferId([2; 16]), 2)]));
    }

    proptest! {
        #[test]
        fn pairs_keep_every_sum_and_are_few(
            sources in prop::collection::vec(0..50i64, 0..6),
            cuts in prop::collection::vec(0..100i64, 0..6),
        ) {
            let mut left: i64 = sources.iter().sum();
            let mut destinations: Vec<(usize, i64)> = Vec::new();
            for (place, cut) in cuts.iter().enumerate() {
                let part = (*cut).min(left);
                left -= part;
                destinations.push((place, part));
            }
            destinations.push((cuts.len(), left));
            let sources: Vec<(usize, i64)> = sources.into_iter().enumerate().collect();
            let pairs = pair(&sources, &destinations);
            prop_assert!(pairs.iter().all(|(_, _, amount)| *amount > 0));
            prop_assert!(pairs.is_empty() || pairs.len() < sources.len() + destinations.len());
            for (source, amount) in &sources {
                let paid: i64 = pairs.iter().filter(|pair| pair.0 == *source).map(|pair| pair.2).sum();
                prop_assert_eq!(paid, *amount);
            }
            for (destination, amount) in &destinations {
                let got: i64 = pairs.iter().filter(|pair| pair.1 == *destination).map(|pair| pair.2).sum();
                prop_assert_eq!(got, *amount);
            }
        }
    }
}
