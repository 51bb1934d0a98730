//! An idempotency storm: every order is sent ten times over 64 connections at once, in any order that its chain permits,
//! each time together with others, and half of the answers are lost because the connection is cut. In between, other
//! orders are sent under the same ids. Each order is charged once, and has one receipt.
//!
//! With `BEVY_IAP_FULL=1` in the environment there are 10,000 orders. `BEVY_IAP_SEED` changes what is sent when; the
//! figures that the tests print (see them with `--nocapture`) name the seed.

mod connection;
mod orders;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::Range;
use std::slice;
use std::sync::{Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use bevy_iap::protocol::problem::{Problem, ProblemType};
use bevy_iap::protocol::sync::Enrolment;
use bevy_iap::protocol::{OrderId, PublicKey, Receipt, Status, Token};
use serde_json::json;

use self::connection::Connection;
use self::orders::{CHAIN, Customer, Next, Pool, Sending, TIMES, customers};
use crate::crashes::database::{Booked, Place};
use crate::process::Process;
use crate::random::{Random, how_many};
use crate::support::{Answer, CATALOG, game, get};

/// How many connections there are at once.
const CONNECTIONS: u64 = 64;
/// How long nothing may be answered before the test gives up.
const PATIENCE: Duration = Duration::from_secs(60);
/// What an account gets when it is opened, in micros.
const WELCOME: i64 = 1_000_000;

#[test]
fn order_is_charged_once_however_often_it_is_sent_and_has_one_receipt() {
    println!("{}", play(&Place::sqlite()));
}

#[cfg(all(unix, feature = "postgres"))]
#[test]
fn order_is_charged_once_however_often_it_is_sent_and_has_one_receipt_with_postgresql() {
    let Some(place) = Place::postgres() else { return };
    println!("{}", play(&place));
}

fn play(place: &Place) -> serde_json::Value {
    let (folder, seed) = (tempfile::tempdir().expect("a temporary folder"), Random::seed());
    let catalog = folder.path().join("catalog.ron");
    fs::write(&catalog, CATALOG).expect("writes");
    let data = folder.path().join("store");
    let arguments: Vec<&str> = place.arguments.iter().map(String::as_str).collect();
    let mut process = Process::serve(&catalog, &data, &arguments);
    let mut random = Random::new(seed);
    let customers = customers(how_many(500, 10_000) / CHAIN, &mut random);
    let server = process.printed.split('"').nth(3).and_then(|key| key.parse().ok()).expect("a key");
    let storm = Storm { process: &process, server, customers: &customers };
    storm.enrol();
    let pool = (Mutex::new(Pool::new(customers.len(), random)), Condvar::new());
    let started = Instant::now();
    let mut tally = Tally::default();
    thread::scope(|scope| {
        let (storm, pool) = (&storm, &pool);
        let connections: Vec<_> =
            (1..=CONNECTIONS).map(|number| scope.spawn(move || storm.send(pool, Random::new(seed + number)))).collect();
        for connection in connections {
            tally.add(connection.join().expect("ends"));
        }
    });
    let taken = started.elapsed();
    let left = pool.0.into_inner().expect("nobody failed").left();
    if left > 0 {
        tally.troubles.push(format!("{left} requests were never sent, because what comes before was not settled"));
    }
    let reached = storm.reached();
    let wallets = storm.read_feeds(&mut tally);
    process.signal("-TERM");
    assert!(process.child.wait().expect("ends").success());
    let books = place.read(&data);
    let mut differences = compare(&customers, &tally, &wallets, &books);
    differences.extend(place.audit(&data));
    let figures = json!({
        "database": place.name,
        "orders": customers.len() * CHAIN,
        "sent": tally.sent.values().sum::<usize>(),
        "reached_the_books": reached,
        "requests": tally.requests,
        "answers_lost": tally.lost,
        "of_these_in_the_middle": tally.lost_half_way,
        "receipts_compared": tally.receipts,
        "other_orders_under_known_ids": tally.others,
        "of_these_refused": tally.refused,
        "charges": books.values().map(|booked| booked.charges).sum::<usize>(),
        "differences": differences.len(),
        "seconds": taken.as_secs_f64(),
        "seed": seed,
    });
    differences.truncate(10);
    assert!(differences.is_empty(), "{figures}\n{}", differences.join("\n"));
    assert!(tally.lost * 2 >= tally.requests, "too few answers were lost: {figures}");
    assert!(reached > customers.len() * CHAIN * TIMES / 2, "too little came through to prove anything: {figures}");
    figures
}

/// A storm on a server.
struct Storm<'a> {
    process: &'a Process,
    server: PublicKey,
    customers: &'a [Customer],
}

impl Storm<'_> {
    fn enrol(&self) {
        let mut connection = Connection::new(self.process.address);
        for customer in self.customers {
            let enrolment = Enrolment::sign(&customer.device.key, &game(), 0).expect("signs");
            let body = serde_json::to_vec(&enrolment).expect("serialises");
            assert_eq!(connection.ask("/v1/devices", "application/json", &body).status, 201);
        }
    }

    /// Sends on one connection after the other until there is nothing left.
    fn send(&self, (pool, changed): &(Mutex<Pool>, Condvar), mut random: Random) -> Tally {
        let (mut connection, mut tally) = (Connection::new(self.process.address), Tally::default());
        loop {
            let mut pool_now = pool.lock().expect("nobody failed");
            let (sending, known) = match pool_now.take() {
                Next::Send(sending) => {
                    let known = pool_now.settled(sending.customer());
                    (sending, known)
                }
                Next::Wait => {
                    let waited = changed.wait_timeout(pool_now, PATIENCE).expect("nobody failed");
                    assert!(!waited.1.timed_out(), "nothing was answered for a long time");
                    continue;
                }
                Next::End => break,
            };
            drop(pool_now);
            let settled = match sending {
                Sending::Run { customer, first, end, lost } => {
                    // Mostly nothing of the feed, and now and then some of what was told before.
                    let known = u64::try_from(known).expect("few");
                    let cursor = if random.below(8) == 0 { random.below(known + 1) } else { known };
                    self.send_run(
                        &mut connection,
                        customer,
                        first..end,
                        cursor,
                        lost.then_some(&mut random),
                        &mut tally,
                    )
                }
                Sending::Other { customer, place } => {
                    self.send_other(&mut connection, customer, place, &mut tally);
                    0
                }
            };
            pool.lock().expect("nobody failed").sent(sending.customer(), settled);
            changed.notify_all();
        }
        tally
    }

    /// Sends orders of a customer, and gives how many of its orders are settled by what was heard.
    fn send_run(
        &self,
        connection: &mut Connection,
        customer: usize,
        run: Range<usize>,
        cursor: u64,
        lost: Option<&mut Random>,
        tally: &mut Tally,
    ) -> usize {
        let Customer { device, orders } = &self.customers[customer];
        let tokens: Vec<Token> = orders[run.clone()].iter().map(|order| order.token.clone()).collect();
        let request = device.request(cursor, &tokens).sign(&device.key).expect("signs");
        tally.requests += 1;
        for order in &orders[run.clone()] {
            *tally.sent.entry(order.id).or_default() += 1;
        }
        if let Some(random) = lost {
            tally.lost += 1;
            tally.lost_half_way += usize::from(connection.sync_and_cut(&request, random));
            return 0;
        }
        let answer = connection.sync(&request);
        if answer.status != 200 {
            tally.troubles.push(format!("orders of {} got {}: {}", device.account(), answer.status, answer.text()));
            return 0;
        }
        let (told, _) = self.hear(customer, &request, &answer, tally);
        for order in &orders[run.clone()] {
            if !told.contains(&order.id) {
                tally.troubles.push(format!("the order {} was sent, and not answered", order.id));
            }
        }
        run.end
    }

    /// Sends another order under the id of one that is settled.
    fn send_other(&self, connection: &mut Connection, customer: usize, place: usize, tally: &mut Tally) {
        let order = &self.customers[customer].orders[place];
        let device = &self.customers[order.other_by].device;
        let request = device.request(0, slice::from_ref(&order.other)).sign(&device.key).expect("signs");
        let answer = connection.sync(&request);
        tally.others += 1;
        let problem: Option<Problem> = serde_json::from_slice(&answer.body).ok();
        match problem {
            Some(problem) if problem.kind == ProblemType::OrderConflict.as_str() && answer.status == 422 => {
                tally.refused += 1
            }
            _ => tally.troubles.push(format!("another order under the id {} got {}", order.id, answer.status)),
        }
    }

    /// The orders that the receipts in an answer are for, and what the wallet holds by it.
    fn hear(&self, customer: usize, request: &Token, answer: &Answer, tally: &mut Tally) -> (BTreeSet<OrderId>, i64) {
        let device = &self.customers[customer].device;
        let response = device.read(self.server, request, answer);
        let hear = |token: &Token| {
            tally.receipts += 1;
            let verify = || {
                Receipt::verify_for(token, &[self.server], &game(), &device.account()).expect("the receipt verifies")
            };
            tally.heard.entry(token.to_string()).or_insert_with(verify).order
        };
        let orders = response.receipts.iter().map(hear).collect();
        let euros = response.wallet.iter().find(|balance| balance.currency.code() == "EUR");
        (orders, euros.map_or(0, |balance| balance.available.value()))
    }

    /// How many of the orders that were sent came as far as the books, by the server's own count.
    fn reached(&self) -> usize {
        let metrics = get(self.process.address, "/metrics");
        let counts = metrics.text().lines().filter(|line| {
            line.starts_with("iap_orders_total{") && !line.contains("\"conflict\"") && !line.contains("\"failed\"")
        });
        counts.map(|line| line.rsplit(' ').next().and_then(|count| count.parse::<usize>().ok()).expect("a count")).sum()
    }

    /// Every customer's feed from its beginning, and what the wallets hold.
    fn read_feeds(&self, tally: &mut Tally) -> Vec<i64> {
        let mut connection = Connection::new(self.process.address);
        let read = |customer: usize| {
            let device = &self.customers[customer].device;
            let request = device.request(0, &[]).sign(&device.key).expect("signs");
            let answer = connection.sync(&request);
            assert_eq!(answer.status, 200, "{}", answer.text());
            let (orders, euros) = self.hear(customer, &request, &answer, tally);
            if orders.len() != CHAIN {
                tally.troubles.push(format!("the feed of {} tells of {} orders", device.account(), orders.len()));
            }
            euros
        };
        (0..self.customers.len()).map(read).collect()
    }
}

/// What was sent, and what was heard.
#[derive(Default)]
struct Tally {
    requests: usize,
    lost: usize,
    lost_half_way: usize,
    others: usize,
    refused: usize,
    receipts: usize,
    /// How often each order was sent.
    sent: BTreeMap<OrderId, usize>,
    /// Every text of a receipt that was heard, and what it says.
    heard: BTreeMap<String, Receipt>,
    /// Whatever should not have been answered, a sentence each.
    troubles: Vec<String>,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.lost += other.lost;
        self.lost_half_way += other.lost_half_way;
        self.others += other.others;
        self.refused += other.refused;
        self.receipts += other.receipts;
        for (order, times) in other.sent {
            *self.sent.entry(order).or_default() += times;
        }
        self.heard.extend(other.heard);
        self.troubles.extend(other.troubles);
    }
}

/// Everything that is not as it must be, a sentence each.
fn compare(customers: &[Customer], tally: &Tally, wallets: &[i64], books: &BTreeMap<OrderId, Booked>) -> Vec<String> {
    let mut differences = tally.troubles.clone();
    let mut check = |right: bool, sentence: &dyn Fn() -> String| {
        if !right {
            differences.push(sentence());
        }
    };
    let mut texts: BTreeMap<OrderId, Vec<&str>> = BTreeMap::new();
    for (text, receipt) in &tally.heard {
        texts.entry(receipt.order).or_default().push(text);
        let granted = receipt.status == Status::Granted;
        check(granted, &|| format!("the order {} was not granted: {:?}", receipt.order, receipt.reason));
    }
    for (customer, wallet) in customers.iter().zip(wallets) {
        let price: i64 = customer.orders.iter().map(|order| order.micros).sum();
        let account = customer.device.account();
        check(wallet + price == WELCOME, &|| format!("{account} has {wallet} left, and {price} were to be charged"));
        for order in &customer.orders {
            let id = order.id;
            let sent = tally.sent.get(&id).copied().unwrap_or_default();
            check(sent == TIMES, &|| format!("the order {id} was sent {sent} times"));
            let heard = texts.remove(&id).unwrap_or_default();
            check(heard.len() == 1, &|| format!("the order {id} has {} receipts that differ", heard.len()));
            let booked = books.get(&id).cloned().unwrap_or_default();
            check(booked.charges == 1, &|| format!("the order {id} was charged {} times", booked.charges));
            check(booked.order == order.token.as_str(), &|| format!("the order {id} in the books is another one"));
            check(booked.receipts == heard, &|| format!("the order {id} has other receipts in the books"));
        }
    }
    check(texts.is_empty(), &|| format!("{} receipts are for orders that nobody sent", texts.len()));
    let orders = customers.len() * CHAIN;
    check(books.len() == orders, &|| format!("the books have {} orders, and {orders} were sent", books.len()));
    differences
}
