//! The consumptions: each is what a device signed and is answered in its account's feed, none takes more than there was,
//! and what is counted of a feed follows from it.

use std::collections::{BTreeMap, BTreeSet};

use super::AuditReport;
use super::accounts::AccountAudit;
use crate::protocol::consumption::{ConsumptionReason, ConsumptionReceipt, ConsumptionStatus, FeedReceipt};
use crate::protocol::{
    ConsumptionId, GameId, ItemId, OrderId, PublicKey, Receipt, ReceiptId, Sha256, Token, TrustedKeys,
};
use crate::server::ledger::consumption::Inventory;
use crate::server::ledger::membership::used_before;
use crate::server::ledger::{
    ConsumptionNumbers, ConsumptionRow, DeviceRow, InventoryRow, LedgerError, MoveRow, ReceiptRow, VerifiedConsumption,
};

pub(super) struct ConsumptionAudit<'a> {
    keys: &'a dyn TrustedKeys,
    game: &'a GameId,
    devices: BTreeMap<String, Device>,
    decided: BTreeMap<ConsumptionId, Decided>,
    counted: BTreeMap<String, InventoryRow>,
    /// The accounts of which everything has moved to another one, and by which move.
    closed: BTreeMap<String, MoveRow>,
    /// What was used up before such moves, by the account that it has come to: as it should be told, and as it is.
    expected: BTreeSet<Before>,
    told: BTreeSet<Before>,
    /// The account whose feed is being read.
    account: String,
    /// Its items so far; none where a receipt could not be read.
    inventory: Option<Inventory>,
    /// The receipts that answered its orders first.
    first: BTreeMap<OrderId, Receipt>,
}

/// How many of an item were used up before everything has moved to an account, as a receipt says it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Before {
    account: String,
    consumption: (ConsumptionId, [u8; 32]),
    device: String,
    item: ItemId,
    quantity: u64,
    is_consumed: bool,
    at: i64,
}

struct Device {
    key: Option<PublicKey>,
    numbers: ConsumptionNumbers,
    /// How many consumptions of it there are, and the highest number of them.
    found: u64,
    highest: u64,
}

/// What receipts are compared with.
struct Decided {
    row: ConsumptionRow,
    sha256: Sha256,
    answered: bool,
}

impl<'a> ConsumptionAudit<'a> {
    pub(super) fn new(keys: &'a dyn TrustedKeys, game: &'a GameId) -> Self {
        let (devices, decided, counted, account, inventory, first) = Default::default();
        let (closed, expected, told) = Default::default();
        Self { keys, game, devices, decided, counted, closed, expected, told, account, inventory, first }
    }

    pub(super) fn device(&mut self, row: &DeviceRow) {
        let key = <[u8; 32]>::try_from(&row.public_key[..]).ok().and_then(|bytes| PublicKey::new(&bytes).ok());
        let numbers = ConsumptionNumbers {
            last: row.consumed_sequence.cast_unsigned(),
            repeated: row.consumed_repeated.cast_unsigned(),
            missing: row.consumed_missing.cast_unsigned(),
        };
        self.devices.insert(row.id.clone(), Device { key, numbers, found: 0, highest: 0 });
    }

    pub(super) fn consumption(&mut self, row: ConsumptionRow, accounts: &AccountAudit, report: &mut AuditReport) {
        let id = ConsumptionId(row.id);
        let token = Token::from_text(&row.token);
        let sha256 = token.sha256();
        if row.sha256 != sha256.0 {
            report.differs(format_args!("consumption {id}: its digest is not that of its token"));
        }
        if let Err(what) = self.verify(&row, token, accounts) {
            report.differs(format_args!("consumption {id}: {what}"));
        }
        if let Some(device) = self.devices.get_mut(&row.device) {
            device.found += 1;
            device.highest = device.highest.max(row.sequence.cast_unsigned());
        }
        self.decided.insert(id, Decided { row, sha256, answered: false });
    }

    fn verify(&self, row: &ConsumptionRow, token: Token, accounts: &AccountAudit) -> Result<(), String> {
        let device = self.devices.get(&row.device).ok_or("its device is missing")?;
        let key = device.key.ok_or("its device has no key")?;
        let account = row.account.parse().map_err(|_| "its account is none")?;
        let verified =
            VerifiedConsumption::verify(token, key, &account, self.game).map_err(|error| error.to_string())?;
        let signed = verified.consumption();
        if !accounts.has_belonged(signed.device, &signed.account, None) {
            return Err("its device has never belonged to its account".to_owned());
        }
        let same = signed.id == ConsumptionId(row.id)
            && signed.sequence.cast_signed() == row.sequence
            && signed.item == *row.item.as_str()
            && signed.quantity.cast_signed() == row.quantity;
        if same { Ok(()) } else { Err("it is not the one that was signed".to_owned()) }
    }

    pub(super) fn moved(&mut self, row: &MoveRow) {
        if row.closing {
            self.closed.insert(row.source.clone(), row.clone());
        }
    }

    /// Remembers what was used up in the account whose feed was read, if everything has moved from it.
    fn end_feed(&mut self) {
        let (Some(closing), Some(inventory)) = (self.closed.get(&self.account), &self.inventory) else { return };
        for (item, quantity) in inventory.used().into_iter().filter(|(_, quantity)| *quantity > 0) {
            let (id, sha256) = used_before(&closing.device, closing.number, &item);
            self.expected.insert(Before {
                account: closing.target.clone(),
                consumption: (id, sha256.0),
                device: closing.device.clone(),
                item,
                quantity,
                is_consumed: true,
                at: closing.moved_at,
            });
        }
    }

    pub(super) fn inventory(&mut self, row: InventoryRow) {
        self.counted.insert(row.account.clone(), row);
    }

    /// Reads the next receipt of a feed, of an order or of a consumption.
    pub(super) fn receipt(&mut self, row: &ReceiptRow, report: &mut AuditReport) {
        if self.account != row.account {
            self.end_feed();
            row.account.clone_into(&mut self.account);
            self.inventory = Some(Inventory::default());
            self.first.clear();
        }
        let token = Token::from_text(&row.token);
        let receipt = FeedReceipt::stored(&token);
        let answered = match &receipt {
            Ok(FeedReceipt::Consumption(claims)) => {
                self.check_count(row, claims, report);
                self.answer(row, &token, claims)
            }
            Err(error) if is_consumption(&token) => Err(error.to_string()),
            // The receipts of orders are looked at elsewhere.
            Ok(FeedReceipt::Order(_)) | Err(_) => Ok(()),
        };
        if let Err(what) = answered {
            report.differs(format_args!("receipt {} of {}: {what}", row.feed, row.account));
        }
        let Some(inventory) = &mut self.inventory else { return };
        if let Ok(FeedReceipt::Order(claims)) = &receipt {
            self.first.entry(claims.order).or_insert_with(|| claims.clone());
        }
        let first = |order: OrderId| {
            self.first.get(&order).cloned().ok_or_else(|| LedgerError::damaged("an order has no first receipt"))
        };
        if receipt.map_err(LedgerError::damaged).and_then(|receipt| inventory.count(&receipt, first)).is_err() {
            // What is wrong with the receipt itself is told elsewhere.
            self.inventory = None;
            return;
        }
        if let Some(counted) = self.counted.remove(&row.account) {
            if counted.feed > row.feed {
                self.counted.insert(row.account.clone(), counted);
            } else if Inventory::parse(counted.feed.cast_unsigned(), &counted.counts).ok().as_ref() != Some(inventory) {
                report
                    .differs(format_args!("account {}: what is counted of its items is not in its feed", row.account));
            }
        }
    }

    fn answer(&mut self, row: &ReceiptRow, token: &Token, claims: &ConsumptionReceipt) -> Result<(), String> {
        let account = row.account.parse().map_err(|_| "its account is none")?;
        ConsumptionReceipt::verify_for(token, self.keys, self.game, &account).map_err(|error| error.to_string())?;
        let same_place = i64::try_from(claims.feed) == Ok(row.feed)
            && claims.id == ReceiptId(row.id)
            && claims.consumption == ConsumptionId(row.answers);
        if !same_place {
            return Err("it is not the one that was signed".to_owned());
        }
        if claims.reason == Some(ConsumptionReason::Moved) {
            self.told.insert(Before {
                account: row.account.clone(),
                consumption: (claims.consumption, claims.consumption_sha256.0),
                device: claims.device.to_string(),
                item: claims.item.clone(),
                quantity: claims.quantity,
                is_consumed: claims.status == ConsumptionStatus::Consumed,
                at: claims.issued_at,
            });
            return Ok(());
        }
        let decided = self.decided.get_mut(&claims.consumption).ok_or("its consumption is missing")?;
        let Decided { row: stored, sha256, answered } = decided;
        let same = stored.account == row.account
            && stored.feed == row.feed
            && claims.consumption_sha256 == *sha256
            && claims.device.to_string() == stored.device
            && claims.item == *stored.item.as_str()
            && claims.quantity.cast_signed() == stored.quantity
            && (claims.status == ConsumptionStatus::Consumed) == stored.consumed
            && claims.issued_at == stored.settled_at;
        *answered = same;
        if same { Ok(()) } else { Err("it does not say what became of its consumption".to_owned()) }
    }

    /// Whether there was as much as was used up, and too little where nothing was.
    fn check_count(&self, row: &ReceiptRow, claims: &ConsumptionReceipt, report: &mut AuditReport) {
        let Some(inventory) = &self.inventory else { return };
        let enough = inventory.left(&claims.item) >= claims.quantity;
        if enough != (claims.status == ConsumptionStatus::Consumed) {
            let (left, item, quantity) = (inventory.left(&claims.item), &claims.item, claims.quantity);
            let (feed, account) = (row.feed, &row.account);
            report.differs(format_args!(
                "receipt {feed} of {account}: {quantity} of {item} were to be used up, and {left} were left"
            ));
        }
    }

    pub(super) fn finish(mut self, report: &mut AuditReport) {
        self.end_feed();
        for Before { account, item, quantity, .. } in self.expected.symmetric_difference(&self.told) {
            report.differs(format_args!(
                "account {account}: {quantity} of {item} were used up before they came here, and its feed says otherwise"
            ));
        }
        for (id, decided) in &self.decided {
            if !decided.answered {
                report.differs(format_args!("consumption {id}: no receipt answers it where it says"));
            }
        }
        for account in self.counted.keys() {
            report.differs(format_args!("account {account}: more is counted of its items than is in its feed"));
        }
        for (id, device) in &self.devices {
            let Device { numbers, found, highest, .. } = device;
            if (numbers.decided(), numbers.last) != (*found, *highest) {
                report.differs(format_args!(
                    "device {id}: it has {found} consumptions up to number {highest}, and says {numbers} up to {}",
                    numbers.last
                ));
            }
        }
    }
}

/// Whether a row of the feed is the receipt of a consumption.
pub(super) fn is_consumption(token: &Token) -> bool {
    crate::protocol::envelope::is_of::<ConsumptionReceipt>(token)
}
