//! The model's books as rows.

use std::collections::BTreeMap;

use super::super::{AccountRow, BookReader, DeviceRow, OrderRow, ReceiptRow, TransferRow, books};
use super::ModelLedger;
use super::accounts::Account;

impl ModelLedger {
    pub(super) fn read_rows(&self, reader: &mut dyn BookReader) {
        let numbers: BTreeMap<&Account, i64> = self.accounts.accounts.keys().zip(1..).collect();
        let number = |account: &Account| numbers.get(account).copied().unwrap_or_default();
        for (account, sums) in &self.accounts.accounts {
            reader.account(AccountRow {
                id: number(account),
                kind: account.kind.as_str().to_owned(),
                owner: account.owner.clone(),
                currency: account.currency.code().to_owned(),
                debits_posted: sums.debits,
                credits_posted: sums.credits,
                debits_pending: 0,
                credits_pending: 0,
            });
        }
        for (id, transfer) in &self.accounts.transfers {
            reader.transfer(TransferRow {
                id: id.0,
                debit_account: number(&transfer.debit),
                credit_account: number(&transfer.credit),
                amount: transfer.amount.value(),
                kind: transfer.kind.as_str().to_owned(),
                order: transfer.order.map(|order| order.0),
            });
        }
        for (id, device) in &self.devices {
            reader.device(DeviceRow {
                id: id.to_string(),
                account: device.account.to_string(),
                public_key: device.key.to_bytes().to_vec(),
                sequence: device.chain.map_or(0, |chain| chain.sequence.cast_signed()),
                chain_head: device.chain.map(|chain| chain.order_sha256.0.to_vec()),
            });
        }
        for record in self.settled.iter().filter_map(|id| self.orders.get(id)) {
            let order = record.verified.order();
            reader.order(OrderRow {
                id: order.id.0,
                account: order.account.to_string(),
                device: order.device.to_string(),
                sequence: record.chained.then_some(order.sequence.cast_signed()),
                product: order.product.to_string(),
                quantity: i64::from(order.quantity),
                token: record.verified.token().to_string(),
                sha256: record.verified.sha256().0.to_vec(),
                status: books::status_text(record.status).to_owned(),
                amount: record.amount.micros.value(),
                currency: record.amount.currency.code().to_owned(),
            });
        }
        for (account, feed) in &self.feeds {
            for record in feed {
                reader.receipt(ReceiptRow {
                    account: account.to_string(),
                    feed: record.entry.feed.cast_signed(),
                    id: record.id.0,
                    order: record.order.0,
                    token: record.entry.token.to_string(),
                });
            }
        }
    }
}
