//! The model's books as rows.

use super::super::{
    AccountKind, AccountRow, AllowanceRow, BookReader, ConsumptionRow, DeviceRow, ForkRow, HoldRow, LoginRow, LotRow,
    MoveRow, OperationRow, OrderRow, ReceiptRow, TransferRow, WalletRow, books,
};
use super::ModelLedger;
use super::accounts::Sums;

impl ModelLedger {
    pub(super) fn read_rows(&self, reader: &mut dyn BookReader) {
        for one in &self.members.moves {
            reader.moved(MoveRow {
                device: one.device.to_string(),
                number: one.number,
                source: one.from.to_string(),
                target: one.to.to_string(),
                place: one.place,
                sequence: one.sequence.cast_signed(),
                closing: one.closing,
                code: one.code.map(|code| code.0.to_vec()),
                moved_at: one.at,
            });
        }
        for (login, (account, bound_at)) in &self.members.logins {
            let (sha256, account) = (login.0.0.to_vec(), account.to_string());
            reader.login(LoginRow { sha256, account, bound_at: *bound_at });
        }
        self.read_accounts(reader);
        for (account, currency) in self.accounts.wallets.keys() {
            reader.wallet(WalletRow { account: account.to_string(), currency: currency.code().to_owned() });
        }
        for (id, transfer) in &self.accounts.transfers {
            reader.transfer(TransferRow {
                id: id.0,
                debit_account: transfer.debit.0,
                credit_account: transfer.credit.0,
                amount: transfer.amount,
                kind: transfer.kind.as_str().to_owned(),
                order: transfer.order.map(|order| order.0),
                hold: transfer.hold.map(|hold| hold.0),
                created_at: transfer.at,
            });
        }
        if reader.ends_after_transfers() {
            return;
        }
        for (id, device) in &self.devices {
            let numbers = self.consumptions.numbers.get(id).copied().unwrap_or_default();
            let Some(known) = self.members.devices.get(id) else { continue };
            reader.device(DeviceRow {
                id: id.to_string(),
                account: device.account.to_string(),
                public_key: device.key.to_bytes().to_vec(),
                sequence: device.chain.map_or(0, |chain| chain.sequence.cast_signed()),
                chain_head: device.chain.map(|chain| chain.order_sha256.0.to_vec()),
                feed: None,
                frozen_at: self.frozen.get(id).copied(),
                consumed_sequence: numbers.last.cast_signed(),
                consumed_repeated: numbers.repeated.cast_signed(),
                consumed_missing: numbers.missing.cast_signed(),
                enrolled_at: known.enrolled_at,
                place: known.place,
                name: known.name.as_ref().map(ToString::to_string),
                revoked_at: known.revoked_at,
                replaced_by: known.replaced_by.map(|id| id.to_string()),
            });
        }
        for record in self.settled.iter().filter_map(|id| self.orders.get(id)) {
            let order = record.verified.order();
            reader.order(OrderRow {
                id: order.id.0,
                account: record.account.to_string(),
                feed: record.feed.cast_signed(),
                device: order.device.to_string(),
                sequence: record.chained.then_some(order.sequence.cast_signed()),
                product: order.product.to_string(),
                quantity: i64::from(order.quantity),
                token: record.verified.token().to_string(),
                sha256: record.verified.sha256().0.to_vec(),
                status: books::status_text(record.status).to_owned(),
                amount: record.amount.micros.value(),
                currency: record.amount.currency.code().to_owned(),
                owned: record.owned,
                until: record.until,
                refunded_quantity: i64::from(record.refunded_quantity),
                refunded_amount: record.refunded_amount,
                settled_at: record.settled_at,
            });
        }
        for (id, record) in &self.consumptions.decided {
            let consumption = record.verified.consumption();
            reader.consumption(ConsumptionRow {
                id: id.0,
                account: consumption.account.to_string(),
                feed: record.feed.cast_signed(),
                device: consumption.device.to_string(),
                sequence: consumption.sequence.cast_signed(),
                item: consumption.item.to_string(),
                quantity: consumption.quantity.cast_signed(),
                token: record.verified.token().to_string(),
                sha256: record.verified.sha256().0.to_vec(),
                consumed: record.consumed,
                settled_at: record.settled_at,
            });
        }
        for (account, feed) in &self.feeds {
            for record in feed {
                reader.receipt(ReceiptRow {
                    account: account.to_string(),
                    feed: record.entry.feed.cast_signed(),
                    id: record.id.0,
                    answers: record.answers,
                    token: record.entry.token.to_string(),
                });
            }
        }
        for (id, terms) in &self.allowances {
            reader.allowance(AllowanceRow {
                id: id.0,
                device: terms.device.to_string(),
                number: terms.number,
                issued_at: terms.issued_at,
                expires_at: terms.expires_at,
                per_order: terms.per_order,
                most_orders: terms.most_orders,
                catalog: terms.catalog.0.to_vec(),
                token: terms.token.to_string(),
                spent: terms.spent,
                orders: terms.orders,
            });
        }
        for fork in &self.forks {
            reader.fork(ForkRow {
                device: fork.device.to_string(),
                sequence: fork.sequence.cast_signed(),
                first: fork.first.0,
                second: fork.second.0,
                created_at: fork.at,
            });
        }
        for hold in self.holds.values() {
            reader.hold(HoldRow {
                id: hold.id.0,
                account: hold.account.to_string(),
                currency: hold.currency.code().to_owned(),
                amount: hold.amount,
                expires_at: hold.expires_at,
                status: hold.status.as_str().to_owned(),
                posted: hold.posted,
                resolved_at: hold.resolved_at,
            });
        }
        for operation in self.operations.values() {
            reader.operation(OperationRow {
                id: operation.id.0,
                action: operation.name.clone(),
                sha256: operation.sha256.0.to_vec(),
                done: operation.decision.is_ok(),
                answer: operation.decision_text(),
                created_at: operation.at,
            });
        }
    }

    fn read_accounts(&self, reader: &mut dyn BookReader) {
        let row = |id: [u8; 16], kind: AccountKind, owner: &str, currency: &str, sums: Sums, lot| AccountRow {
            id,
            kind: kind.as_str().to_owned(),
            owner: owner.to_owned(),
            currency: currency.to_owned(),
            debits_posted: sums.debits,
            credits_posted: sums.credits,
            debits_pending: sums.debits_pending,
            credits_pending: sums.credits_pending,
            lot,
        };
        for (number, house) in &self.accounts.houses {
            let sums = self.accounts.sums.get(number).copied().unwrap_or_default();
            reader.account(row(number.0, house.kind, &house.owner, house.currency.code(), sums, None));
        }
        for lot in self.accounts.lots() {
            let sums = self.accounts.sums.get(&lot.number()).copied().unwrap_or_default();
            let remembered = LotRow {
                origin: lot.origin.as_str().to_owned(),
                source: lot.source.to_string(),
                opened_at: lot.opened_at,
                refundable_until: lot.refundable_until,
                opened_with: lot.opened_with,
                refunded: lot.refunded,
                open: lot.balance != 0 || lot.held != 0,
            };
            let owner = lot.account.as_str();
            reader.account(row(lot.id.0, AccountKind::Wallet, owner, lot.currency.code(), sums, Some(remembered)));
        }
    }
}
