//! The rules of selling: what becomes of an order, given what the books say. Nothing here reads or writes them.
//!
//! An order that does not follow its device's chain is declined and leaves the chain where it is. Every other new order
//! moves the chain on, then is checked against whether its device is frozen, the catalogue, what is owned, and the
//! allowance that it names or the wallet, in that order; the first check that fails is the reason it is declined, for
//! ever.

use crate::protocol::sync::ChainHead;
use crate::protocol::{
    AccountId, Catalog, CreatorId, Currency, Grant, KeyId, Micros, Money, Order, ProductId, ProductKind, Reason,
    Receipt, Status, UnixSeconds,
};

use super::ledger::{LedgerError, VerifiedOrder};
use super::seeded::{Bug, seeded};
use super::signing::Signer;

/// What the rules ask the books.
pub(crate) trait Facts {
    /// The last order that the device's chain holds.
    fn chain(&mut self, device: KeyId) -> Result<Option<ChainHead>, LedgerError>;

    /// Whether nothing is sold to the device.
    fn is_frozen(&mut self, device: KeyId) -> Result<bool, LedgerError>;

    /// Whether the account has the product, by an order that is granted and not refunded, and was of no consumable.
    fn owns(&mut self, account: &AccountId, product: &ProductId) -> Result<bool, LedgerError>;

    /// Whether the account has the product as a pass that ends after `now`.
    fn runs(&mut self, account: &AccountId, product: &ProductId, now: UnixSeconds) -> Result<bool, LedgerError>;

    /// Whether an allowance that the order names pays `amount` for it.
    fn covers(&mut self, order: &Order, amount: Money) -> Result<bool, LedgerError>;

    /// What the account can spend in a currency.
    fn available(&mut self, account: &AccountId, currency: Currency) -> Result<Micros, LedgerError>;
}

/// What becomes of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decision {
    /// Whether the order follows its device's chain, and is now its head.
    pub(crate) chained: bool,
    /// Granted or declined.
    pub(crate) verdict: Verdict,
}

/// Granted or declined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The account is charged `amount` and gets `grants`.
    Granted {
        /// What is charged.
        amount: Money,
        /// What the account gets.
        grants: Vec<Grant>,
        /// Whether the account has the product from then on: it is not consumed.
        owned: bool,
        /// When it ends, for a pass.
        until: Option<UnixSeconds>,
        /// What each creator gets of the amount.
        shares: Vec<(CreatorId, Micros)>,
        /// What the game keeps of it.
        kept: Micros,
        /// Whether the allowance pays that the order names, and not what else is in the wallet.
        within: bool,
    },
    /// The account is not charged, and never will be.
    Declined(Reason),
}

/// Decides what becomes of a new order.
pub(crate) fn decide(
    order: &Order,
    catalog: &Catalog,
    now: UnixSeconds,
    facts: &mut impl Facts,
) -> Result<Decision, LedgerError> {
    if !follows(order, facts.chain(order.device)?) && !seeded(Bug::IgnoreChain) {
        return Ok(Decision { chained: false, verdict: Verdict::Declined(Reason::ChainBroken) });
    }
    let verdict = match facts.is_frozen(order.device)? && !seeded(Bug::SellToFrozen) {
        true => Verdict::Declined(Reason::DeviceFrozen),
        false => verdict(order, catalog, now, facts)?,
    };
    Ok(Decision { chained: true, verdict })
}

fn follows(order: &Order, head: Option<ChainHead>) -> bool {
    match head {
        None => order.sequence == 1 && order.previous.is_none(),
        Some(head) => head.sequence.checked_add(1) == Some(order.sequence) && order.previous == Some(head.order_sha256),
    }
}

fn verdict(order: &Order, catalog: &Catalog, now: UnixSeconds, facts: &mut impl Facts) -> Result<Verdict, LedgerError> {
    let declined = |reason| Ok(Verdict::Declined(reason));
    let Some((_, product)) = catalog.product(order.product.as_str()) else {
        return declined(Reason::UnknownProduct);
    };
    if product.price(order.price.currency) != Some(order.price) && !seeded(Bug::AnyPrice) {
        let same_catalog = order.catalog == catalog.digest();
        return declined(if same_catalog { Reason::PriceMismatch } else { Reason::StaleCatalog });
    }
    let amount = order.price.checked_mul(order.quantity);
    let in_range = (1..=product.max_quantity()).contains(&order.quantity);
    let (Some(amount), true) = (amount, in_range) else {
        return declined(Reason::QuantityOutOfRange);
    };
    let owned = match product.kind {
        ProductKind::Unlock => facts.owns(&order.account, &order.product)?,
        ProductKind::Pass { .. } => facts.runs(&order.account, &order.product, now)?,
        ProductKind::Consumable => false,
    };
    if owned && !seeded(Bug::SellTwice) {
        return declined(Reason::AlreadyOwned);
    }
    // What is free is given whatever the wallet holds.
    let within = order.allowance.is_some() && amount.micros > Micros::ZERO && facts.covers(order, amount)?;
    let costs = amount.micros > Micros::ZERO && !within;
    let enough = !costs || facts.available(&order.account, amount.currency)? >= amount.micros;
    if !enough && !seeded(Bug::IgnoreFunds) {
        return declined(Reason::InsufficientFunds);
    }
    let until = match product.kind {
        ProductKind::Pass { hours } => Some(now.saturating_add(i64::from(hours) * 3_600)),
        ProductKind::Unlock | ProductKind::Consumable => None,
    };
    // The catalogue's shares are the whole at most, so they can be split.
    let (shares, kept) = product.split(amount.micros).unwrap_or_else(|| (Vec::new(), amount.micros));
    let (grants, owned) = (product.grants(order.quantity, now), product.kind != ProductKind::Consumable);
    Ok(Verdict::Granted { amount, grants, owned, until, shares, kept, within })
}

/// The receipt, not yet signed, that tells a decision.
pub(crate) fn receipt(
    verified: &VerifiedOrder,
    verdict: &Verdict,
    feed: u64,
    signer: &mut Signer,
    now: UnixSeconds,
) -> Result<Receipt, LedgerError> {
    let order = verified.order();
    let (status, reason, amount, grants) = match verdict {
        Verdict::Granted { amount, grants, .. } => (Status::Granted, None, *amount, grants.clone()),
        Verdict::Declined(reason) => {
            (Status::Declined, Some(*reason), Money::new(Micros::ZERO, order.price.currency), Vec::new())
        }
    };
    Ok(Receipt {
        id: signer.next_id()?,
        server: signer.server(),
        game: signer.game.clone(),
        account: order.account.clone(),
        issued_at: now,
        feed,
        order: order.id,
        order_sha256: verified.sha256(),
        status,
        reason,
        product: order.product.clone(),
        quantity: order.quantity,
        amount,
        grants,
    })
}
