//! The books of a world read row by row, and what they must come to whatever has happened: each order paid for once and
//! split without a rest, and no more spent than came in.

use std::collections::{BTreeMap, BTreeSet};

use super::goods::catalog;
use super::store::Operator;
use crate::protocol::envelope::claims_of_stored;
use crate::protocol::{
    AccountId, ConsumptionId, ConsumptionStatus, Currency, EntitlementId, FeedReceipt, Grant, ItemId, KeyId, Micros,
    Money, Order, OrderId, Receipt, Status, Token, UnixSeconds,
};
use crate::server::ledger::{
    AccountRow, AllowanceRow, BookReader, ConsumptionRow, DeviceRow, ForkRow, HoldRow, Ledger, OperationRow, OrderRow,
    ReceiptRow, TransferRow,
};

/// The books.
#[derive(Debug, Default)]
pub(super) struct Books {
    accounts: BTreeMap<[u8; 16], AccountRow>,
    transfers: Vec<TransferRow>,
    pub(super) orders: BTreeMap<OrderId, BookedOrder>,
    receipts: BTreeMap<String, Vec<FeedReceipt>>,
    pub(super) consumptions: BTreeSet<ConsumptionId>,
    forked: BTreeSet<String>,
    holds: Vec<HoldRow>,
    /// The hold that has paid for an order.
    paid_by: BTreeMap<OrderId, [u8; 16]>,
    /// The device of each allowance.
    allowances: BTreeMap<[u8; 16], String>,
    frozen_at: BTreeMap<String, UnixSeconds>,
    unreadable: Option<String>,
}

/// An order in the books.
#[derive(Debug)]
pub(super) struct BookedOrder {
    pub(super) account: String,
    pub(super) product: String,
    pub(super) status: String,
    pub(super) settled_at: UnixSeconds,
    /// The allowance that it was made within.
    pub(super) within: Option<[u8; 16]>,
    pub(super) device: String,
    /// Its place in the device's chain, and whether the chain holds it there.
    sequence: u64,
    chained: bool,
    price: Money,
    quantity: u32,
    owned: bool,
    amount: i64,
    refunded: i64,
}

/// What receipts have given an account.
#[derive(Debug, Default)]
pub(super) struct Given {
    pub(super) rights: BTreeSet<EntitlementId>,
    /// Rights that end about now, which clocks need not agree on.
    pub(super) ending: BTreeSet<EntitlementId>,
}

impl Books {
    pub(super) fn read(ledger: &mut dyn Ledger) -> Result<Self, String> {
        let mut books = Self::default();
        ledger.read(&mut books).map_err(|error| error.to_string())?;
        books.unreadable.take().map_or(Ok(books), Err)
    }

    /// What the feed of an account says, in its order.
    pub(super) fn said_of(&self, account: &AccountId) -> impl Iterator<Item = &Receipt> {
        self.receipts.get(account.as_str()).into_iter().flatten().filter_map(|receipt| match receipt {
            FeedReceipt::Order(claims) => Some(claims),
            FeedReceipt::Consumption(_) => None,
        })
    }

    /// How many of each item an account has left: what the last receipt of each of its orders gives, less what is used up.
    /// What is used of something that is taken back is no debt on what comes later.
    pub(super) fn left(&self, account: &AccountId) -> BTreeMap<ItemId, u64> {
        let (mut last, mut used) = (BTreeMap::<OrderId, BTreeMap<ItemId, u64>>::new(), BTreeMap::<ItemId, u64>::new());
        let given = |last: &BTreeMap<OrderId, BTreeMap<ItemId, u64>>, item: &ItemId| {
            last.values().filter_map(|items| items.get(item)).sum::<u64>()
        };
        for receipt in self.receipts.get(account.as_str()).into_iter().flatten() {
            match receipt {
                FeedReceipt::Order(claims) => {
                    let mut items = BTreeMap::new();
                    for grant in claims.grants.iter().filter(|_| claims.status == Status::Granted) {
                        if let Grant::Item { item, quantity } = grant {
                            *items.entry(item.clone()).or_default() += quantity;
                        }
                    }
                    last.insert(claims.order, items);
                    for (item, used) in &mut used {
                        *used = (*used).min(given(&last, item));
                    }
                }
                FeedReceipt::Consumption(claims) if claims.status == ConsumptionStatus::Consumed => {
                    *used.entry(claims.item.clone()).or_default() += claims.quantity;
                }
                FeedReceipt::Consumption(_) => {}
            }
        }
        let items: BTreeSet<_> = last.values().flat_map(BTreeMap::keys).collect();
        let left = |item: &ItemId| given(&last, item) - used.get(item).copied().unwrap_or_default();
        items.into_iter().map(|item| (item.clone(), left(item))).filter(|(_, left)| *left > 0).collect()
    }

    /// Which rights an account has by the last receipt of each of its orders.
    pub(super) fn given(&self, account: &AccountId, now: UnixSeconds) -> Given {
        const ABOUT: UnixSeconds = 7_200;
        let last: BTreeMap<OrderId, &Receipt> = self.said_of(account).map(|claims| (claims.order, claims)).collect();
        let mut given = Given::default();
        for claims in last.values().filter(|claims| claims.status == Status::Granted) {
            for grant in &claims.grants {
                let Grant::Entitlement { entitlement, until } = grant else { continue };
                if until.is_some_and(|until| (until - now).abs() < ABOUT) {
                    given.ending.insert(entitlement.clone());
                }
                if until.is_none_or(|until| until > now) {
                    given.rights.insert(entitlement.clone());
                }
            }
        }
        given
    }

    /// Checks the sums of all money that ever moved.
    pub(super) fn check_money(&self, operator: &Operator) -> Result<(), String> {
        let mut paid: BTreeMap<OrderId, BTreeMap<(&str, &str), i64>> = BTreeMap::new();
        let mut sums: BTreeMap<[u8; 16], i64> = BTreeMap::new();
        for row in self.transfers.iter().filter(|row| row.kind != "hold") {
            *sums.entry(row.debit_account).or_default() -= row.amount;
            *sums.entry(row.credit_account).or_default() += row.amount;
            if let ("purchase", Some(order)) = (row.kind.as_str(), row.order) {
                let to = self.accounts.get(&row.credit_account).ok_or("a transfer to no account")?;
                let parts = paid.entry(OrderId(order)).or_default();
                *parts.entry((to.kind.as_str(), to.owner.as_str())).or_default() += row.amount;
            }
        }
        if sums.values().sum::<i64>() != 0 {
            return Err("debits are not credits".to_owned());
        }
        self.check_splits(&paid)?;
        let mut wallets: BTreeMap<&str, i64> = BTreeMap::new();
        for (id, row) in self.accounts.iter().filter(|(_, row)| row.kind == "wallet") {
            *wallets.entry(row.owner.as_str()).or_default() += sums.get(id).copied().unwrap_or_default();
        }
        for (account, paid_in) in &operator.paid_in {
            let own = self.orders.values().filter(|order| order.account == account.as_str());
            let spent: i64 = own.map(|order| order.amount - order.refunded).sum();
            let posted = operator.posted.get(account).copied().unwrap_or_default();
            let wallet = wallets.get(account.as_str()).copied().unwrap_or_default();
            if wallet != paid_in - spent - posted {
                return Err(format!("{account} holds {wallet}, and {paid_in} came in, {spent} and {posted} went"));
            }
            if wallet < 0 && !operator.charged_back.contains(account) {
                return Err(format!("{account} owes {wallet} without any charge-back"));
            }
        }
        Ok(())
    }

    /// Whether nothing is sold to a device.
    pub(super) fn is_frozen(&self, device: KeyId) -> bool {
        self.frozen_at.contains_key(&device.to_string())
    }

    /// Whether an order was made within an allowance that has not paid for it, though it cost something.
    pub(super) fn is_not_honoured(&self, id: OrderId) -> bool {
        let order = self.orders.get(&id).filter(|order| order.price.micros > Micros::ZERO);
        order.is_some_and(|order| order.within.is_some() && self.paid_by.get(&id) != order.within.as_ref())
    }

    /// How many devices were found to have been copied to spend twice.
    pub(super) fn forks(&self) -> u64 {
        self.forked.len() as u64
    }

    /// Checks that everything was sold at the price of its time, once if it is kept for ever, and to nobody who is frozen.
    pub(super) fn check_sales(&self, sold: &[(UnixSeconds, u8)]) -> Result<(), String> {
        let mut kept = BTreeSet::new();
        for (id, order) in self.orders.iter().filter(|(_, order)| order.status == "granted") {
            let from = sold.iter().rposition(|(since, _)| *since < order.settled_at).unwrap_or_default();
            let versions = sold[from..].iter().take_while(|(since, _)| *since <= order.settled_at);
            let mut prices = versions.filter_map(|(_, version)| {
                catalog(*version).product(&order.product).and_then(|(_, product)| product.price(Currency::EUR))
            });
            if !prices.any(|price| price == order.price) {
                return Err(format!("the order {id} was granted at the price {}", order.price));
            }
            let cost = order.price.checked_mul(order.quantity).map(|cost| cost.micros.value());
            if cost != Some(order.amount) {
                return Err(format!("the order {id} of {} at {} cost {}", order.quantity, order.price, order.amount));
            }
            let is_unlock = order.owned && order.product != "day_pass";
            if is_unlock && !kept.insert((&order.account, &order.product)) {
                return Err(format!("{} was sold twice to {}", order.product, order.account));
            }
            if self.frozen_at.get(&order.device).is_some_and(|at| *at < order.settled_at) {
                return Err(format!("the order {id} was granted to a frozen device"));
            }
        }
        let places = self.orders.values().filter(|order| order.chained).map(|order| (&order.device, order.sequence));
        let (count, places) = places.fold((0, BTreeSet::new()), |(count, mut places), place| {
            places.insert(place);
            (count + 1, places)
        });
        if count != places.len() { Err("two orders are in one place of a chain".to_owned()) } else { Ok(()) }
    }

    /// Checks that allowances are few, end, and freeze whoever was copied to spend one twice.
    pub(super) fn check_allowances(&self, operator: &Operator, now: UnixSeconds) -> Result<(), String> {
        const MOST: usize = 3;
        let mut open: BTreeMap<&str, usize> = BTreeMap::new();
        for hold in self.holds.iter().filter(|hold| hold.status == "pending") {
            if hold.expires_at < now - 2 {
                return Err(format!("a hold of {} is over and was not given free", hold.account));
            }
            if let Some(device) = self.allowances.get(&hold.id) {
                *open.entry(device).or_default() += 1;
            }
        }
        if let Some((device, count)) = open.iter().find(|(_, count)| **count > MOST) {
            return Err(format!("the device {device} has {count} open allowances"));
        }
        let thawed: BTreeSet<String> = operator.froze.iter().map(ToString::to_string).collect();
        let chained: BTreeMap<_, _> = self
            .orders
            .values()
            .filter(|order| order.chained)
            .map(|order| ((order.device.as_str(), order.sequence), order.settled_at))
            .collect();
        for (id, order) in self.orders.iter().filter(|(_, order)| !order.chained) {
            let own = order.within.and_then(|id| self.allowances.get(&id)) == Some(&order.device);
            let there = chained.get(&(order.device.as_str(), order.sequence));
            let twice = there.is_some_and(|at| *at < order.settled_at);
            if own && twice && !self.forked.contains(&order.device) && !thawed.contains(&order.device) {
                return Err(format!("the order {id} spends an allowance twice, and its device was not found out"));
            }
        }
        Ok(())
    }

    /// Every order was paid for once, and what it cost is split as the catalogue says, without a rest.
    fn check_splits(&self, paid: &BTreeMap<OrderId, BTreeMap<(&str, &str), i64>>) -> Result<(), String> {
        let nothing = BTreeMap::new();
        for (id, order) in &self.orders {
            let parts = paid.get(id).unwrap_or(&nothing);
            let sum: i64 = parts.values().sum();
            if sum != order.amount || (order.status == "declined" && sum != 0) {
                return Err(format!("{sum} was paid for the order {id}, which cost {}", order.amount));
            }
            if order.status == "declined" {
                continue;
            }
            let catalog = catalog(0);
            let (_, product) = catalog.product(&order.product).ok_or("something else was sold")?;
            let amount = crate::protocol::Micros::new(order.amount).map_err(|error| error.to_string())?;
            let Some((shares, kept)) = product.split(amount) else { continue };
            let shares = shares.iter().map(|(creator, part)| (("payable", creator.as_str()), part.value()));
            let split = shares.chain([(("revenue", catalog.game.as_str()), kept.value())]);
            let split: BTreeMap<_, _> = split.filter(|(_, part)| *part > 0).collect();
            if split != *parts {
                return Err(format!("the order {id} was split into {parts:?}, and not into {split:?}"));
            }
        }
        match paid.keys().find(|id| !self.orders.contains_key(id)) {
            Some(id) => Err(format!("the order {id} was paid for, and is not there")),
            None => Ok(()),
        }
    }

    fn read_token<T: crate::protocol::envelope::Claims>(&mut self, token: &str) -> Option<T> {
        let claims = claims_of_stored(&Token::from_text(token));
        claims.map_err(|error| self.unreadable = Some(error.to_string())).ok()
    }
}

impl BookReader for Books {
    fn account(&mut self, row: AccountRow) {
        self.accounts.insert(row.id, row);
    }

    fn transfer(&mut self, row: TransferRow) {
        if let ("purchase", Some(order), Some(hold)) = (row.kind.as_str(), row.order, row.hold) {
            self.paid_by.insert(OrderId(order), hold);
        }
        self.transfers.push(row);
    }

    fn device(&mut self, row: DeviceRow) {
        self.frozen_at.extend(row.frozen_at.map(|at| (row.id, at)));
    }

    fn order(&mut self, row: OrderRow) {
        let Some(signed) = self.read_token::<Order>(&row.token) else { return };
        let order = BookedOrder {
            within: signed.allowance.map(|claim| claim.id.0),
            device: row.device,
            sequence: signed.sequence,
            chained: row.sequence.is_some(),
            price: signed.price,
            quantity: signed.quantity,
            owned: row.owned,
            account: row.account,
            product: row.product,
            status: row.status,
            settled_at: row.settled_at,
            amount: row.amount,
            refunded: row.refunded_amount,
        };
        self.orders.insert(OrderId(row.id), order);
    }

    fn receipt(&mut self, row: ReceiptRow) {
        match FeedReceipt::stored(&Token::from_text(&row.token)) {
            Ok(receipt) => self.receipts.entry(row.account).or_default().push(receipt),
            Err(error) => self.unreadable = Some(error.to_string()),
        }
    }

    fn consumption(&mut self, row: ConsumptionRow) {
        self.consumptions.insert(ConsumptionId(row.id));
    }

    fn allowance(&mut self, row: AllowanceRow) {
        self.allowances.insert(row.id, row.device);
    }

    fn fork(&mut self, row: ForkRow) {
        self.forked.insert(row.device);
    }

    fn hold(&mut self, row: HoldRow) {
        self.holds.push(row);
    }

    fn operation(&mut self, _: OperationRow) {}
}
