//! Allowances: what one device may spend while it is offline, backed by a hold, and when it gets another one.
//!
//! What is here is decided from plain data, so every engine decides it alike.

use super::hold::{HoldRecord, HoldStatus};
use super::{Context, LedgerError, OperationId, TransferId};
use crate::protocol::money::MICROS_PER_UNIT;
use crate::protocol::{
    AccountId, Allowance, AllowanceId, AllowanceRequest, Currency, KeyId, Micros, Money, Order, PolicyId, Sha256,
    Token, UnixSeconds,
};
use crate::server::limits::LimitError;
use crate::server::seeded::{Bug, seeded};

/// The rules that allowances are given by, as an allowance names them.
const POLICY: &str = "standard";

/// How many allowances of one device and currency back something at the same time: the one that it makes orders within,
/// the one that follows, and one of a save that was lost.
const MOST_OPEN: usize = 3;

const DAY: i64 = 86_400;

/// How much devices may spend offline, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AllowanceRules {
    /// How much of what is available in a wallet is set aside for a device, in per cent, from 0 to 100. 20 unless it is
    /// set; with 0 nothing is.
    pub percent: u32,
    /// The most that is set aside, in each currency; above zero. Five units unless it is set.
    pub most: Micros,
    /// For how many days orders may be made within it, from 1 to 365. Seven unless it is set.
    pub days: u32,
    /// For how many days after that orders which were made within it are honoured, from 0 to 365. Seven unless it is
    /// set.
    pub grace_days: u32,
    /// How many orders may be made within it, from 1 to a million. A hundred unless it is set.
    pub orders: u32,
}

impl Default for AllowanceRules {
    fn default() -> Self {
        let most = Micros::new(5 * MICROS_PER_UNIT).unwrap_or(Micros::MAX);
        Self { percent: 20, most, days: 7, grace_days: 7, orders: 100 }
    }
}

impl AllowanceRules {
    /// The most days.
    pub(crate) const MOST_DAYS: u32 = 365;
    /// The most orders.
    pub(crate) const MOST_ORDERS: u32 = 1_000_000;

    /// The same rules, if a server can keep all of them.
    pub(crate) fn checked(self) -> Result<Self, LimitError> {
        let Self { percent, most, days, grace_days, orders } = self;
        LimitError::check("allowance_percent", percent <= 100, percent, "0 to 100")?;
        LimitError::check("allowance_most", most > Micros::ZERO, most, format_args!("more than 0"))?;
        for (name, value, range) in [
            ("allowance_days", days, 1..=Self::MOST_DAYS),
            ("allowance_grace_days", grace_days, 0..=Self::MOST_DAYS),
            ("allowance_orders", orders, 1..=Self::MOST_ORDERS),
        ] {
            let told = format_args!("{} to {}", range.start(), range.end());
            LimitError::check(name, range.contains(&value), value, told)?;
        }
        Ok(self)
    }

    /// How much to set aside of a wallet in which so much is `available`, while so much is left of the allowances that
    /// another one is to follow.
    pub(crate) fn amount(&self, available: i64, left: i64) -> i64 {
        let whole = i128::from(available.saturating_add(left));
        let part = whole.saturating_mul(i128::from(self.percent)) / 100;
        let part = i64::try_from(part).unwrap_or(i64::MAX);
        part.min(self.most.value()).min(available).max(0)
    }
}

/// A device that wants an allowance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowanceWish {
    /// The device.
    pub device: KeyId,
    /// Its account.
    pub account: AccountId,
    /// What it has, and wants.
    pub request: AllowanceRequest,
}

/// What an allowance allows, and what was made of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowanceTerms {
    /// The device that may spend it.
    pub device: KeyId,
    /// Its number among those that the device has in its currency: a later one has a higher one.
    pub number: i64,
    /// When it was signed.
    pub issued_at: UnixSeconds,
    /// From when on no order may be made within it.
    pub expires_at: UnixSeconds,
    /// What one order may cost at most, in micros.
    pub per_order: i64,
    /// How many orders may be made.
    pub most_orders: i64,
    /// The catalogue that it is for.
    pub catalog: Sha256,
    /// What was signed.
    pub token: Token,
    /// What the last order that was granted within it says to be spent of it, in micros.
    pub spent: i64,
    /// How many orders that one says to be made.
    pub orders: i64,
}

/// An allowance in the books: the hold behind it, and its terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowanceRecord {
    /// The hold. It ends when nothing is honoured any more.
    pub hold: HoldRecord,
    /// The terms.
    pub terms: AllowanceTerms,
}

impl AllowanceRecord {
    /// Its id.
    pub fn id(&self) -> AllowanceId {
        AllowanceId(self.hold.id.0)
    }

    /// What may still be spent of it, in micros.
    pub fn left(&self) -> i64 {
        self.hold.amount.saturating_sub(self.terms.spent)
    }

    /// Whether it still backs anything.
    pub(crate) fn is_open(&self, now: UnixSeconds) -> bool {
        self.hold.status == HoldStatus::Pending && !self.hold.is_due(now)
    }

    /// Whether it pays `amount` for an order, whatever else the wallet holds.
    ///
    /// The order's running totals may be ahead of what was granted: an order between was declined. They are never
    /// behind, so what was spent once is not spent again.
    pub(crate) fn covers(&self, order: &Order, amount: Money, now: UnixSeconds) -> bool {
        let (Some(claim), micros) = (order.allowance, amount.micros.value()) else { return false };
        let (spent, orders) = (claim.spent.value(), super::values::stored_count(claim.orders));
        self.is_open(now)
            && self.terms.device == order.device
            && self.hold.account == order.account
            && self.hold.currency == amount.currency
            && (1..=self.terms.per_order).contains(&micros)
            && (spent >= self.terms.spent.saturating_add(micros) || seeded(Bug::AllowancePaysTwice))
            && (spent <= self.hold.amount || seeded(Bug::AllowancePaysMore))
            && (orders > self.terms.orders || seeded(Bug::AllowancePaysTwice))
            && orders <= self.terms.most_orders
    }

    /// The same allowance, after an order that it has paid `amount` for.
    pub(crate) fn after(mut self, order: &Order, amount: Money) -> Self {
        if let Some(claim) = order.allowance {
            self.terms.spent = claim.spent.value();
            self.terms.orders = super::values::stored_count(claim.orders);
        }
        self.hold.posted = self.hold.posted.saturating_add(amount.micros.value());
        self
    }

    /// The same allowance, closed.
    pub(crate) fn closed(mut self, now: UnixSeconds) -> Self {
        self.hold.status = HoldStatus::Voided;
        self.hold.resolved_at = Some(now);
        self
    }

    /// Whether orders can be made within it.
    fn is_usable(&self, catalog: Sha256, now: UnixSeconds) -> bool {
        self.terms.catalog == catalog && now < self.terms.expires_at && self.terms.orders < self.terms.most_orders
    }

    /// Whether half of it is left, of its money, its orders and its time.
    fn is_plenty(&self, catalog: Sha256, now: UnixSeconds) -> bool {
        let AllowanceTerms { issued_at, expires_at, most_orders, orders, .. } = self.terms;
        self.is_usable(catalog, now)
            && self.has_half()
            && half(most_orders.saturating_sub(orders), most_orders)
            && half(expires_at.saturating_sub(now), expires_at.saturating_sub(issued_at))
    }

    /// Whether half of its money is left.
    fn has_half(&self) -> bool {
        half(self.left(), self.hold.amount)
    }

    fn is_signed_by(&self, server: KeyId) -> bool {
        let claims = crate::protocol::envelope::claims_of_stored::<Allowance>(&self.terms.token);
        claims.is_ok_and(|claims| claims.server == server)
    }
}

/// Whether half of something is left.
fn half(left: i64, whole: i64) -> bool {
    left.saturating_mul(2) >= whole
}

/// What is to become of a device's allowances.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Renewal {
    /// Those that are closed: the device names a later one.
    pub(crate) close: Vec<AllowanceRecord>,
    pub(crate) then: Then,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// It goes on with what it has.
    Keep,
    /// It has not heard of the latest one yet.
    Again(Token),
    /// It gets another one, of this number, if that is `above` what it has.
    New { number: i64, above: i64 },
}

/// Decides what is to become of the `open` allowances that a device has in the currency that it asks for.
pub(crate) fn renewal(
    mut open: Vec<AllowanceRecord>,
    request: &AllowanceRequest,
    catalog: Sha256,
    server: KeyId,
    now: UnixSeconds,
) -> Renewal {
    open.sort_by_key(|allowance| allowance.terms.number);
    let current = open.iter().find(|allowance| request.current == Some(allowance.id()));
    let current = current.map_or(i64::MIN, |allowance| allowance.terms.number);
    let current_too = i64::from(seeded(Bug::CloseCurrent));
    let is_over = |one: &AllowanceRecord| one.terms.number < current.saturating_add(current_too);
    let (close, open): (Vec<_>, Vec<_>) = open.into_iter().partition(is_over);
    let number = open.last().map_or(1, |latest| latest.terms.number.saturating_add(1));
    let then = match open.last() {
        Some(latest) if latest.terms.number == current && latest.is_plenty(catalog, now) => Then::Keep,
        Some(latest)
            if latest.terms.number != current
                && latest.terms.orders == 0
                && latest.is_plenty(catalog, now)
                && latest.is_signed_by(server) =>
        {
            Then::Again(latest.terms.token.clone())
        }
        Some(_) if open.len() >= MOST_OPEN => Then::Keep,
        Some(latest) if latest.terms.number == current && latest.is_usable(catalog, now) => {
            // Where its time or its orders run out, a smaller one is worth it too.
            let above = if latest.has_half() { latest.left() / 2 } else { latest.left() };
            Then::New { number, above }
        }
        _ => Then::New { number, above: 0 },
    };
    Renewal { close, then }
}

/// Signs another allowance of `amount` for a device, which `legs` have set aside.
pub(crate) fn signed(
    wish: &AllowanceWish,
    (number, amount): (i64, i64),
    legs: Vec<(TransferId, i64)>,
    rules: &AllowanceRules,
    context: &mut Context<'_>,
) -> Result<AllowanceRecord, LedgerError> {
    let currency: Currency = wish.request.currency;
    let micros = Micros::new(amount).map_err(LedgerError::damaged)?;
    let expires_at = context.now.saturating_add(i64::from(rules.days).saturating_mul(DAY));
    let settle_by = expires_at.saturating_add(i64::from(rules.grace_days).saturating_mul(DAY));
    let id = AllowanceId(context.signer.next_id()?.0);
    let allowance = Allowance {
        id,
        server: context.signer.server(),
        game: context.signer.game.clone(),
        account: wish.account.clone(),
        issued_at: context.now,
        device: wish.device,
        total: Money::new(micros, currency),
        per_order: micros,
        orders: u64::from(rules.orders),
        catalog: context.catalog.digest(),
        expires_at,
        settle_by,
        policy: PolicyId::new(POLICY).map_err(LedgerError::damaged)?,
    };
    let hold = HoldRecord {
        id: OperationId(id.0),
        account: wish.account.clone(),
        currency,
        amount,
        expires_at: settle_by,
        status: HoldStatus::Pending,
        posted: 0,
        resolved_at: None,
        legs,
    };
    let terms = AllowanceTerms {
        device: wish.device,
        number,
        issued_at: context.now,
        expires_at,
        per_order: amount,
        most_orders: i64::from(rules.orders),
        catalog: allowance.catalog,
        token: context.signer.sign_allowance(&allowance)?,
        spent: 0,
        orders: 0,
    };
    Ok(AllowanceRecord { hold, terms })
}
