//! What one device was answered, and what must follow from it.

use std::collections::{BTreeMap, BTreeSet};

use bevy_iap::protocol::{Micros, OrderId, Reason, Receipt, Status, Token};

use super::database::Booked;

/// What a device gets when it joins, in micros.
pub const WELCOME: i64 = 1_000_000;

/// Everything that a device has sent and was answered.
#[derive(Debug, Default)]
pub struct Answered {
    pub account: String,
    /// Every order that was ever sent.
    sent: BTreeMap<OrderId, Token>,
    /// The orders that an allowance covers.
    covered: BTreeSet<OrderId>,
    /// The receipt of every order that was answered.
    receipts: BTreeMap<OrderId, (Token, Receipt)>,
    /// What the wallet held by the last answer, and what was set aside in it, in micros.
    pub wallet: i64,
    /// How often a request was sent again because no answer came.
    pub asked_again: usize,
    /// How many orders were sent again after they were answered.
    pub replayed: usize,
    /// Whatever should not have been answered, a sentence each.
    pub troubles: Vec<String>,
}

impl Answered {
    pub fn of(account: String) -> Self {
        Self { account, ..Self::default() }
    }

    pub fn sends(&mut self, order: OrderId, token: &Token) {
        self.sent.insert(order, token.clone());
    }

    pub fn is_covered(&mut self, order: OrderId) {
        self.covered.insert(order);
    }

    pub fn hears(&mut self, receipt: Receipt, token: &Token) {
        if receipt.reason == Some(Reason::InsufficientFunds) && self.covered.contains(&receipt.order) {
            self.troubles.push(format!("the order {} was within an allowance, and is not paid", receipt.order));
        }
        match self.receipts.get(&receipt.order) {
            Some((known, _)) if known == token => {}
            Some(_) => self.troubles.push(format!("the order {} was answered in two ways", receipt.order)),
            None => _ = self.receipts.insert(receipt.order, (token.clone(), receipt)),
        }
    }

    pub fn orders(&self) -> usize {
        self.receipts.len()
    }

    pub fn granted(&self) -> usize {
        self.receipts.values().filter(|(_, receipt)| receipt.status == Status::Granted).count()
    }

    /// Everything that is not as it must be, a sentence each.
    pub fn compare(&self, books: &BTreeMap<OrderId, Booked>) -> Vec<String> {
        let mut differences = self.troubles.clone();
        let mut check = |right: bool, sentence: String| {
            if !right {
                differences.push(sentence);
            }
        };
        for (id, (token, receipt)) in &self.receipts {
            let Some(booked) = books.get(id) else {
                check(false, format!("the order {id} was answered and is not in the books"));
                continue;
            };
            check(booked.receipts == [token.as_str()], format!("the order {id} has other receipts in the books"));
            let charged = receipt.status == Status::Granted && receipt.amount.micros > Micros::ZERO;
            check(
                booked.charges == usize::from(charged),
                format!("the order {id} was charged {} times", booked.charges),
            );
        }
        for (id, booked) in books.iter().filter(|(_, booked)| booked.account == self.account) {
            let sent = self.sent.get(id).map(Token::as_str);
            check(sent == Some(booked.order.as_str()), format!("the order {id} in the books was never sent so"));
            check(self.receipts.contains_key(id), format!("the order {id} is in the books and was never answered"));
        }
        let granted = self.receipts.values().filter(|(_, receipt)| receipt.status == Status::Granted);
        let charged: i64 = granted.map(|(_, receipt)| receipt.amount.micros.value()).sum();
        let wallet = self.wallet;
        check(wallet + charged == WELCOME, format!("{wallet} left and {charged} charged are not {WELCOME}"));
        differences
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::{Device, Shop};

    /// The differences after one order was bought, with what was heard and what is booked changed.
    fn differences(change: impl FnOnce(&mut Answered, &mut BTreeMap<OrderId, Booked>)) -> Vec<String> {
        let shop = Shop::open();
        let mut device: Device = shop.device();
        let claims = device.claims("shield", 1);
        let order = device.sign(&claims);
        let response = device.sync(&shop, 0, std::slice::from_ref(&order));
        let token = response.receipts.first().expect("a receipt").clone();
        let keys = [shop.server.public_key()];
        let receipt = Receipt::verify_for(&token, &keys, &crate::support::game(), &device.account()).expect("verifies");
        let mut answered = Answered::of(device.account().to_string());
        answered.wallet = 995_000;
        answered.sends(claims.id, &order);
        answered.hears(receipt, &token);
        let booked = Booked {
            account: device.account().to_string(),
            order: order.to_string(),
            receipts: vec![token.to_string()],
            charges: 1,
        };
        let mut books = BTreeMap::from([(claims.id, booked)]);
        change(&mut answered, &mut books);
        answered.compare(&books)
    }

    fn booked(books: &mut BTreeMap<OrderId, Booked>) -> &mut Booked {
        books.values_mut().next().expect("an order")
    }

    #[test]
    fn every_kind_of_loss_is_noticed() {
        assert_eq!(differences(|_, _| {}), [""; 0]);
        let noticed = |differences: Vec<String>, told: &str| {
            assert!(differences.iter().any(|it| it.contains(told)), "{told}: {differences:?}");
        };
        noticed(differences(|_, books| books.clear()), "was answered and is not in the books");
        noticed(differences(|_, books| booked(books).receipts.clear()), "other receipts");
        noticed(differences(|_, books| booked(books).receipts.push("other".to_owned())), "other receipts");
        noticed(differences(|_, books| booked(books).charges = 2), "charged 2 times");
        noticed(differences(|_, books| booked(books).charges = 0), "charged 0 times");
        noticed(differences(|_, books| booked(books).order.push('x')), "never sent so");
        noticed(differences(|answered, _| answered.receipts.clear()), "was never answered");
        noticed(differences(|answered, _| answered.wallet = 1), "are not 1000000");
        noticed(
            differences(|answered, _| {
                let (_, receipt) = answered.receipts.values().next().expect("one").clone();
                answered.hears(receipt, &Token::from_text("other"));
            }),
            "answered in two ways",
        );
    }
}
