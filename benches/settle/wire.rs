//! Purchases over HTTP, many to a request; and the same again, as a client sends them that has lost the answers.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Instant;

use bevy_iap::protocol::sync::{Enrolment, MAX_ORDERS, SyncResponse};
use bevy_iap::protocol::{PublicKey, Receipt, Status, Token};
use bevy_iap::server::{Database, Limits, LocalServer, Rate, ServerConfig};
use rayon::prelude::*;
use tempfile::TempDir;

use crate::shop::{self, Device};
use crate::{crypto, table};

/// So many that the server never waits for its clients.
const CONNECTIONS: usize = 16;
const ROUNDS: usize = 5;
/// Devices that buy in each round, with one full request each.
const DEVICES: usize = 128;

/// A server with its books in a folder of its own, which limits nobody.
pub struct Shop {
    pub server: LocalServer,
    /// Goes when the server has stopped.
    _folder: TempDir,
}

impl Shop {
    pub fn open(database: Database) -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        Self { server: start(folder.path(), database), _folder: folder }
    }

    /// Enrols devices.
    pub fn enrol(&self, devices: &[Device]) {
        let bodies = devices.par_iter().map(|device| {
            let enrolment = Enrolment::sign(&device.key, &shop::game(), shop::NOW).expect("signs");
            serde_json::to_vec(&enrolment).expect("serialises")
        });
        let mut connection = Connection::open(self.server.address());
        for body in bodies.collect::<Vec<_>>() {
            assert_eq!(connection.post("/v1/devices", "application/json", &body).0, 201);
        }
    }

    /// A number that the server tells of itself.
    pub fn metric(&self, name: &str) -> u64 {
        let text = Connection::open(self.server.address()).get("/metrics");
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
        value.expect("it tells")
    }
}

/// A server that limits nobody.
pub fn start(folder: &Path, database: Database) -> LocalServer {
    let mut config = ServerConfig::new(folder, shop::catalog());
    config.database = database;
    config.welcome = shop::welcome();
    let endless = Rate::new(u32::MAX, u32::MAX);
    config.limits = Limits { orders_per_device: endless, queue: 65_536, ..Limits::default() };
    LocalServer::start(config).expect("the server starts")
}

/// A request, and the device that signed it.
pub struct Request<'a> {
    pub device: &'a Device,
    pub token: Token,
    /// Whether one of its orders has a bad signature, so that it is refused.
    pub forged: bool,
}

impl<'a> Request<'a> {
    pub fn good((device, token): (&'a Device, &Token)) -> Self {
        Self { device, token: token.clone(), forged: false }
    }
}

/// An answer, not verified yet.
pub struct Answer<'a> {
    pub request: Request<'a>,
    pub status: u16,
    pub body: Vec<u8>,
}

impl Answer<'_> {
    /// How many granted receipts it holds that verify, and belong to the device's account.
    fn granted(&self, server: PublicKey) -> usize {
        let Request { device, token, forged } = &self.request;
        if *forged {
            assert_eq!(self.status, 400, "a forged order is refused");
            return 0;
        }
        assert_eq!(self.status, 200, "{}", String::from_utf8_lossy(&self.body));
        let text = std::str::from_utf8(&self.body).expect("text");
        let (keys, game) = ([server], shop::game());
        let response = SyncResponse::verify(&Token::from_text(text), &keys, &device.account, &game, token);
        let receipts = response.expect("the answer verifies").receipts;
        let granted = |receipt: &&Token| {
            let receipt = Receipt::verify_for(receipt, &keys, &game, &device.account).expect("the receipt verifies");
            receipt.status == Status::Granted
        };
        receipts.iter().filter(granted).count()
    }
}

/// Sends requests over so many connections at once, and says how many purchases a second were answered with receipts
/// that verify.
pub fn sent<'a>(shop: &Shop, requests: Vec<Vec<Request<'a>>>) -> f64 {
    let address = shop.server.address();
    let started = Instant::now();
    let answers: Vec<Answer<'a>> = std::thread::scope(|scope| {
        let send = |requests: Vec<Request<'a>>| {
            let mut connection = Connection::open(address);
            let answer = |request: Request<'a>| {
                let (status, body) = connection.post("/v1/sync", "application/jose", request.token.as_str().as_bytes());
                Answer { request, status, body }
            };
            requests.into_iter().map(answer).collect::<Vec<_>>()
        };
        let threads: Vec<_> = requests.into_iter().map(|own| scope.spawn(move || send(own))).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("it does not panic")).collect()
    });
    let elapsed = started.elapsed();
    let key = shop.server.public_key();
    let granted = answers.par_iter().map(|answer| answer.granted(key)).sum();
    table::rate(granted, elapsed)
}

/// Hands out requests to connections.
pub fn dealt<T>(requests: Vec<T>, connections: usize) -> Vec<Vec<T>> {
    let mut hands: Vec<Vec<T>> = (0..connections).map(|_| Vec::new()).collect();
    for (number, request) in requests.into_iter().enumerate() {
        hands[number % connections].push(request);
    }
    hands
}

pub fn run() {
    let shop = Shop::open(Database::Folder);
    let mut devices = shop::devices(1, DEVICES);
    shop.enrol(&devices);
    let (mut fresh, mut again) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS as u64 {
        let cursor = round * MAX_ORDERS as u64;
        let tokens: Vec<Token> = devices
            .par_iter_mut()
            .map(|device| {
                let orders = device.orders("shield", MAX_ORDERS);
                device.request(cursor, orders)
            })
            .collect();
        let requests = || dealt(devices.iter().zip(&tokens).map(Request::good).collect(), CONNECTIONS);
        let before = crypto::ceiling(10_000);
        let first = sent(&shop, requests());
        let second = sent(&shop, requests());
        let ceiling = (before + crypto::ceiling(10_000)) / 2.0;
        fresh.push((first, ceiling));
        again.push((second, first));
    }
    table::compared(
        "purchases over HTTP, 256 a request, on SQLite; floor: verify and sign, all cores",
        &fresh,
        Some(0.5),
    );
    table::compared("the same purchases sent again; floor: sent for the first time", &again, Some(2.0));
}

/// A connection that is kept.
pub struct Connection {
    stream: TcpStream,
    address: SocketAddr,
    read: Vec<u8>,
}

impl Connection {
    pub fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("connects");
        stream.set_nodelay(true).expect("set");
        Self { stream, address, read: Vec::new() }
    }

    /// Sends a body and waits for the answer: its status and body.
    pub fn post(&mut self, path: &str, content_type: &str, body: &[u8]) -> (u16, Vec<u8>) {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {}\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        self.ask(&[head.as_bytes(), body].concat())
    }

    fn get(&mut self, path: &str) -> String {
        let (status, body) = self.ask(format!("GET {path} HTTP/1.1\r\nhost: {}\r\n\r\n", self.address).as_bytes());
        assert_eq!(status, 200);
        String::from_utf8(body).expect("text")
    }

    fn ask(&mut self, request: &[u8]) -> (u16, Vec<u8>) {
        self.stream.write_all(request).expect("sent");
        let head = loop {
            match self.read.windows(4).position(|window| window == b"\r\n\r\n") {
                Some(end) => break self.read.drain(..end + 4).collect::<Vec<u8>>(),
                None => self.more(),
            }
        };
        let head = String::from_utf8(head).expect("text").to_ascii_lowercase();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
        let length: usize = length.trim().parse().expect("a number");
        while self.read.len() < length {
            self.more();
        }
        (status, self.read.drain(..length).collect())
    }

    fn more(&mut self) {
        let mut bytes = [0; 65_536];
        let count = self.stream.read(&mut bytes).expect("the server answers");
        assert!(count > 0, "the server closed the connection");
        self.read.extend_from_slice(&bytes[..count]);
    }
}
