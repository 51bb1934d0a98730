//! Everything that the processes of one player said, and what must follow from it.

use std::collections::{BTreeMap, BTreeSet};

use bevy_iap::client::RECENT;
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
            // Killed between the making of its key and of its journal: nothing was acknowledged yet.
            _ if line.contains("there was no journal beside") && self.queued.is_empty() => {}
            // Killed while it wrote: what was in that write was not acknowledged either, or it is missed below.
            _ if line.contains("the last write to the journal was cut short") => {}
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
        // A game is shown all of them, or the latest; what all of them gave is in the items left.
        let known = self.end.granted.is_subset(&granted) && self.end.granted.len() >= granted.len().min(RECENT);
        check(known, "the last process and the books know different orders".to_owned());
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

/// The differences between what was said of one order of two shields, of which one was used up, and the books; with
/// one line said otherwise, and the books changed.
fn differences(from: &str, to: &str, change: impl FnOnce(&mut Booked)) -> Vec<String> {
    let order = OrderId([1; 16]);
    let said = format!("opened\nasked {order} 2\nqueued {order}\ngranted {order}\nusing 1\nused 1");
    let ended = format!("opened\nowned {order}\nleft 1\nwallet 990000\naccount a");
    let mut heard = Heard::default();
    said.replace(from, to).lines().for_each(|line| heard.take(line));
    heard.settled(ended.replace(from, to).lines().map(str::to_owned).collect());
    let mut booked = Booked { granted: true, quantity: 2, amount: 10_000, charges: 1, receipts: 1 };
    change(&mut booked);
    let mut books = Books::default();
    books.accounts.insert("a".to_owned(), BTreeMap::from([(order, booked)]));
    heard.compare(&books, 1_000_000)
}

#[test]
fn every_kind_of_difference_is_noticed() {
    let unchanged = |_: &mut Booked| {};
    assert_eq!(differences("", "", unchanged), [""; 0]);
    let noticed = |differences: Vec<String>, told: &str| {
        assert!(differences.iter().any(|it| it.contains(told)), "{told}: {differences:?}");
    };
    let other = OrderId([2; 16]);
    noticed(
        differences("used 1", &format!("used 1\nqueued {other}"), unchanged),
        "acknowledged and is not in the books",
    );
    noticed(
        differences("used 1", &format!("used 1\ngranted {other}"), unchanged),
        "acknowledged and is not in the books",
    );
    noticed(differences("", "", |order| order.granted = false), "not granted");
    noticed(differences("", "", |order| order.charges = 2), "was charged 2 times");
    noticed(differences("", "", |order| order.receipts = 2), "has 2 receipts");
    noticed(differences("queued", "refused", unchanged), "said to be gone");
    noticed(differences("", "", |order| order.quantity = 3), "was asked for as");
    noticed(differences("asked", "granted", unchanged), "was asked for as None");
    noticed(differences("owned", "granted", unchanged), "know different orders");
    noticed(differences("990000", "980000", unchanged), "are not 1000000");
    noticed(differences("left 1", "left 2", unchanged), "0 shields are used");
    noticed(differences("left 1", "left 0", unchanged), "2 shields are used");
    noticed(differences("used 1", "trouble with the disk", unchanged), "trouble with the disk");
}
