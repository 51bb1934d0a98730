//! Everything that the processes of one player said, and what must follow from it.

use std::collections::{BTreeMap, BTreeSet};

use bevy_iap::protocol::OrderId;

use crate::books::{Booked, Books};

/// What was said.
#[derive(Debug, Default)]
pub struct Heard {
    /// Orders that were about to be placed, and how many each was for.
    asked: BTreeMap<OrderId, i64>,
    /// Orders that were acknowledged: said to be safe.
    pub queued: BTreeSet<OrderId>,
    granted: BTreeSet<OrderId>,
    /// Orders that were said to be gone.
    refused: BTreeSet<OrderId>,
    /// How many shields were about to be used up.
    using: u64,
    /// How many were said to be used up.
    pub used: u64,
    /// Whatever should not have been said.
    pub troubles: Vec<String>,
    end: End,
}

/// How things stood in the end.
#[derive(Debug, Default)]
struct End {
    account: String,
    granted: BTreeSet<OrderId>,
    left: i64,
    wallet: i64,
}

impl Heard {
    /// Takes what a process said before it was killed.
    pub fn take(&mut self, line: &str) {
        let mut words = line.split(' ');
        let (word, noun) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let order = || noun.parse::<OrderId>().expect("an order");
        let number = || noun.parse::<u64>().expect("a number");
        match word {
            "opened" | "read-only" => {}
            "asked" => {
                let quantity = words.next().expect("a quantity");
                self.asked.insert(order(), quantity.parse().expect("a number"));
            }
            "queued" => _ = self.queued.insert(order()),
            "granted" => _ = self.granted.insert(order()),
            "refused" => _ = self.refused.insert(order()),
            "using" => self.using += number(),
            "used" => self.used += number(),
            _ => self.troubles.push(line.to_owned()),
        }
    }

    /// Takes what the last process said, which waited until everything was answered.
    pub fn settled(&mut self, lines: Vec<String>) {
        for line in lines {
            match line.split_once(' ') {
                Some(("account", account)) => account.clone_into(&mut self.end.account),
                Some(("owned", order)) => _ = self.end.granted.insert(order.parse().expect("an order")),
                Some(("left", left)) => self.end.left = left.parse().expect("a number"),
                Some(("wallet", micros)) => self.end.wallet = micros.parse().expect("a number"),
                _ => self.take(&line),
            }
        }
    }

    /// How many of the acknowledged orders are granted in the books.
    pub fn settled_count(&self, books: &Books) -> usize {
        let settled = |order: &&OrderId| self.booked(books).get(*order).is_some_and(|booked| booked.granted);
        self.queued.iter().filter(settled).count()
    }

    /// How many of them are not.
    pub fn lost_count(&self, books: &Books) -> usize {
        self.queued.len() - self.settled_count(books)
    }

    /// How many orders were charged or answered more than once.
    pub fn doubled_count(&self, books: &Books) -> usize {
        let doubled = |booked: &&Booked| booked.charges > 1 || booked.receipts > 1;
        self.booked(books).values().filter(doubled).count()
    }

    fn booked<'a>(&self, books: &'a Books) -> &'a BTreeMap<OrderId, Booked> {
        static NONE: BTreeMap<OrderId, Booked> = BTreeMap::new();
        books.accounts.get(&self.end.account).unwrap_or(&NONE)
    }

    /// Everything that is not as it must be, a sentence each.
    pub fn compare(&self, books: &Books, welcome: i64) -> Vec<String> {
        let mut differences = self.troubles.clone();
        let mut check = |right: bool, sentence: String| {
            if !right {
                differences.push(sentence);
            }
        };
        let booked = self.booked(books);
        for order in self.queued.union(&self.granted) {
            check(booked.contains_key(order), format!("the order {order} was acknowledged and is not in the books"));
        }
        for (id, order) in booked {
            check(order.granted, format!("the order {id} is in the books and not granted"));
            check(order.charges == 1, format!("the order {id} was charged {} times", order.charges));
            check(order.receipts == 1, format!("the order {id} has {} receipts", order.receipts));
            check(!self.refused.contains(id), format!("the order {id} was said to be gone and is in the books"));
            let asked = self.asked.get(id);
            check(asked == Some(&order.quantity), format!("the order {id} was asked for as {asked:?}: {order:?}"));
        }
        let granted: BTreeSet<_> = booked.keys().copied().collect();
        check(self.end.granted == granted, "the last process and the books know different orders".to_owned());
        let charged: i64 = booked.values().map(|order| order.amount).sum();
        let wallet = self.end.wallet;
        check(wallet + charged == welcome, format!("{wallet} left and {charged} charged are not {welcome}"));
        let given: i64 = booked.values().map(|order| order.quantity).sum();
        let used = given - self.end.left;
        let (least, most) = (i64::try_from(self.used).expect("few"), i64::try_from(self.using).expect("few"));
        check((least..=most).contains(&used), format!("{used} shields are used, which is not {least} to {most}"));
        differences
    }
}
