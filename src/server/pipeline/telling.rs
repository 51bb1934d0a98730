//! What a device is told: the receipts of what it has sent, and the feed from where it has not heard it.

use std::collections::BTreeSet;

use super::Reply;
use crate::protocol::Token;
use crate::protocol::problem::ProblemType;
use crate::server::ledger::{FeedEntry, LedgerError, Outcome, Place};
use crate::server::problem::Refusal;
use crate::server::seeded::{Bug, seeded};

/// The place from which a device still has to hear, once it has heard what became of its orders: mostly these are all
/// that is new, and nobody need read them again.
pub(super) fn after(place: &Place, outcomes: &[Outcome]) -> Place {
    let told = |outcome: &Outcome| match outcome {
        Outcome::Settled { entry, .. } | Outcome::Replayed(entry) => Some(entry.feed),
        Outcome::Conflict | Outcome::Failed | Outcome::WrongAccount | Outcome::DeviceRevoked => None,
    };
    let told: BTreeSet<u64> = outcomes.iter().filter_map(told).collect();
    let news = told.range(place.cursor.saturating_add(1)..);
    let is_next = |(feed, next): &(&u64, u64)| *feed == next || seeded(Bug::SkipUnheard);
    let heard = news.zip(place.cursor.saturating_add(1)..).take_while(is_next).last();
    Place { cursor: heard.map_or(place.cursor, |(feed, _)| *feed), ..place.clone() }
}

/// The receipts of the orders that were sent, in their order, then the page; each once.
pub(super) fn receipts(outcomes: Vec<Outcome>, page: Vec<FeedEntry>) -> Result<Vec<Token>, Refusal> {
    let mut listed = BTreeSet::new();
    let mut tokens = Vec::with_capacity(outcomes.len() + page.len());
    let mut list = |entry: FeedEntry| {
        if listed.insert(entry.feed) {
            tokens.push(entry.token);
        }
    };
    for (index, outcome) in outcomes.into_iter().enumerate() {
        match outcome {
            Outcome::Settled { entry, .. } | Outcome::Replayed(entry) => list(entry),
            Outcome::Conflict => {
                let detail = format!("order {index}: its id was used before for another order; give each its own id");
                return Err(Refusal::new(ProblemType::OrderConflict, detail));
            }
            Outcome::Failed => return Err(Refusal::internal()),
            Outcome::WrongAccount => {
                let detail = format!("order {index}: the device belongs to another account now; ask which");
                return Err(Refusal::new(ProblemType::WrongAccount, detail));
            }
            Outcome::DeviceRevoked => {
                let detail = format!("order {index}: the device was revoked, so nothing is sold to it");
                return Err(Refusal::new(ProblemType::DeviceRevoked, detail));
            }
        }
    }
    page.into_iter().for_each(&mut list);
    Ok(tokens)
}

/// Tells all who wait that the books failed.
pub(super) fn fail<T>(replies: Vec<Reply<T>>, error: &LedgerError) {
    match error {
        // Whoever asked has caused it.
        LedgerError::WrongAccount { .. } | LedgerError::DeviceRevoked(_) => tracing::debug!("not answered: `{error}`"),
        _ => tracing::error!("a batch of `{}` requests failed: `{error}`", replies.len()),
    }
    for reply in replies {
        let _ = reply.send(Err(Refusal::of_ledger(error)));
    }
}
