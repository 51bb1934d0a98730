//! What others hear while the books are damaged for one, or have lost one.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use bevy_iap::protocol::Token;
use rusqlite::Connection;

use crate::support::{Answer, Device, Shop, get, send_sync};

/// A shop, and a way to its books behind its back.
struct Spoiled {
    shop: Shop,
    /// The place in the database; none if the books are in the folder.
    schema: Option<String>,
}

impl Spoiled {
    fn in_a_file() -> Self {
        Self { shop: Shop::with(|config| config.welcome = None), schema: None }
    }

    #[cfg(all(unix, feature = "postgres"))]
    fn in_a_database() -> Option<Self> {
        let cluster = crate::cluster::shared()?;
        let (_, schema) = cluster.fresh_books();
        let shop = Shop::with(|config| {
            config.welcome = None;
            config.database = cluster.text_url(&schema).parse().expect("a URL");
        });
        Some(Self { shop, schema: Some(schema) })
    }

    /// Has the books do something.
    fn does(&self, statements: &str) {
        match &self.schema {
            None => self.file().execute_batch(statements).expect("the file does it"),
            #[cfg(all(unix, feature = "postgres"))]
            Some(schema) => drop(crate::cluster::shared().expect("is here").admin_at(schema, statements)),
            #[cfg(not(all(unix, feature = "postgres")))]
            Some(_) => unreachable!("there is no database"),
        }
    }

    fn file(&self) -> Connection {
        let file = Connection::open(self.shop.folder.path().join("store.sqlite")).expect("opens");
        file.pragma_update(None, "foreign_keys", "off").expect("is set");
        file
    }

    /// Does something while nobody can write orders, which takes two seconds.
    fn while_locked<T>(&self, act: impl FnOnce() -> T) -> T {
        if self.schema.is_none() {
            let file = self.file();
            file.execute_batch("BEGIN IMMEDIATE").expect("locks");
            let done = act();
            file.execute_batch("COMMIT").expect("unlocks");
            return done;
        }
        thread::scope(|scope| {
            let lock = "BEGIN; LOCK TABLE orders IN EXCLUSIVE MODE; SELECT pg_sleep(2); COMMIT";
            scope.spawn(move || self.does(lock));
            thread::sleep(Duration::from_millis(200));
            act()
        })
    }

    /// What is answered to requests, with so many orders in each, that are settled as one batch.
    fn together(&self, requests: Vec<Token>, orders: usize) -> Vec<Answer> {
        let address = self.shop.address();
        let mut busy = self.shop.device();
        let order = busy.order("gift", 1);
        let first = busy.request(0, &[order]).sign(&busy.key).expect("signs");
        let (told, answers) = mpsc::channel();
        let count = requests.len();
        self.while_locked(|| {
            thread::spawn(move || send_sync(address, &first));
            thread::sleep(Duration::from_millis(200));
            for (number, request) in requests.into_iter().enumerate() {
                let told = told.clone();
                thread::spawn(move || told.send((number, send_sync(address, &request))));
            }
            let queued = format!("\niap_queued_orders {}\n", count * (orders + 1));
            let end = Instant::now() + Duration::from_secs(5);
            while !get(address, "/metrics").text().contains(&queued) {
                assert!(Instant::now() < end, "all of them wait");
                thread::sleep(Duration::from_millis(10));
            }
        });
        let mut answers: Vec<_> = answers.iter().take(count).collect();
        answers.sort_by_key(|(number, _)| *number);
        answers.into_iter().map(|(_, answer)| answer).collect()
    }

    /// Devices that the server has seen.
    fn seen<const COUNT: usize>(&self) -> [Device; COUNT] {
        let devices = [(); COUNT].map(|()| self.shop.device());
        devices.iter().for_each(|device| drop(device.sync(&self.shop, 0, &[])));
        devices
    }

    fn lose(&self, device: &Device) {
        self.does(&format!("DELETE FROM devices WHERE id = '{}'", device.id()));
    }
}

fn news(device: &Device) -> Token {
    device.request(0, &[]).sign(&device.key).expect("signs")
}

fn damaged_account_is_refused_alone(spoiled: &Spoiled) {
    let devices: [Device; 5] = spoiled.seen();
    let account = devices[2].account();
    spoiled.does(&format!("INSERT INTO wallets (account, currency) VALUES ('{account}', 'none')"));
    let answers = spoiled.together(devices.iter().map(news).collect(), 0);
    for (number, answer) in answers.iter().enumerate() {
        match number {
            2 => drop(answer.assert_refused("/problems/internal", 500)),
            _ => assert_eq!(answer.status, 200, "{number}: {}", answer.text()),
        }
    }
    spoiled.does(&format!("DELETE FROM wallets WHERE account = '{account}'"));
    assert!(devices[2].sync(&spoiled.shop, 0, &[]).receipts.is_empty());
}

fn lost_device_is_told_to_enrol_and_harms_nobody(spoiled: &Spoiled) {
    let devices: [Device; 5] = spoiled.seen();
    spoiled.lose(&devices[2]);
    let answers = spoiled.together(devices.iter().map(news).collect(), 0);
    for (number, answer) in answers.iter().enumerate() {
        match number {
            2 => drop(answer.assert_refused("/problems/unknown-device", 404)),
            _ => assert_eq!(answer.status, 200, "{number}: {}", answer.text()),
        }
    }
    assert_eq!(devices[2].enrol(spoiled.shop.address()).status, 201);
    assert!(devices[2].sync(&spoiled.shop, 0, &[]).receipts.is_empty());
    // One that brings an order is told the same, and the order is settled afterwards.
    let [mut buyer] = spoiled.seen();
    spoiled.lose(&buyer);
    let order = buyer.order("gift", 1);
    let request = buyer.request(0, std::slice::from_ref(&order)).sign(&buyer.key).expect("signs");
    send_sync(spoiled.shop.address(), &request).assert_refused("/problems/unknown-device", 404);
    assert_eq!(buyer.enrol(spoiled.shop.address()).status, 201);
    assert_eq!(buyer.sync(&spoiled.shop, 0, &[order]).receipts.len(), 1);
    // One that enrols again before it was refused is enrolled in truth.
    let [early] = spoiled.seen();
    spoiled.lose(&early);
    assert_eq!(early.enrol(spoiled.shop.address()).status, 201);
    assert_eq!(early.enrol(spoiled.shop.address()).status, 200);
    assert!(early.sync(&spoiled.shop, 0, &[]).receipts.is_empty());
}

#[test]
fn damaged_account_is_refused_alone_in_a_file() {
    damaged_account_is_refused_alone(&Spoiled::in_a_file());
}

#[test]
fn device_that_the_books_have_lost_is_told_to_enrol_in_a_file() {
    lost_device_is_told_to_enrol_and_harms_nobody(&Spoiled::in_a_file());
}

#[cfg(all(unix, feature = "postgres"))]
mod postgres {
    use super::*;
    use crate::support::post;

    #[test]
    fn damaged_account_is_refused_alone_in_a_database() {
        Spoiled::in_a_database().iter().for_each(damaged_account_is_refused_alone);
    }

    #[test]
    fn device_that_the_books_have_lost_is_told_to_enrol_in_a_database() {
        Spoiled::in_a_database().iter().for_each(lost_device_is_told_to_enrol_and_harms_nobody);
    }

    #[test]
    fn account_whose_rows_are_in_the_way_fails_its_own_orders_alone() {
        let Some(spoiled) = Spoiled::in_a_database() else { return };
        let mut devices: [Device; 5] = spoiled.seen();
        let first = devices[2].order("gift", 1);
        devices[2].sync(&spoiled.shop, 0, &[first]);
        let set_feed = |device: &Device, feed: u8| {
            spoiled.does(&format!("UPDATE devices SET feed = {feed} WHERE id = '{}'", device.id()));
        };
        set_feed(&devices[2], 0);
        let mut orders = Vec::new();
        let requests = devices.iter_mut().map(|device| {
            let order = device.order("gift", 1);
            orders.push(order.clone());
            device.request(0, &[order]).sign(&device.key).expect("signs")
        });
        let requests = requests.collect();
        for (number, answer) in spoiled.together(requests, 1).iter().enumerate() {
            match number {
                2 => drop(answer.assert_refused("/problems/internal", 500)),
                _ => assert_eq!(answer.status, 200, "{number}: {}", answer.text()),
            }
        }
        set_feed(&devices[2], 1);
        assert_eq!(devices[2].sync(&spoiled.shop, 1, &orders[2..3]).receipts.len(), 1);
    }

    #[test]
    fn strangers_whose_look_up_takes_long_keep_nobody_else_waiting() {
        let Some(spoiled) = Spoiled::in_a_database() else { return };
        let address = spoiled.shop.address();
        let [known] = spoiled.seen();
        let forged = format!("{}AA", news(&known));
        thread::scope(|scope| {
            let lock = "BEGIN; LOCK TABLE devices IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(4); COMMIT";
            scope.spawn(|| spoiled.does(lock));
            thread::sleep(Duration::from_millis(200));
            let strangers: Vec<_> =
                (0..16).map(|_| scope.spawn(|| send_sync(address, &news(&Device::new())))).collect();
            thread::sleep(Duration::from_millis(300));
            let started = Instant::now();
            let answer = post(address, "/v1/sync", "application/jose", forged.as_bytes());
            assert_eq!(answer.status, 400, "{}", answer.text());
            assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
            for stranger in strangers {
                let status = stranger.join().expect("ends").status;
                assert!([404, 503].contains(&status), "{status}");
            }
        });
    }
}
