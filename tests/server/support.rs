//! A shop with a server in a temporary folder, devices that buy in it, and an HTTP client that sends what it is told to.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bevy_iap::protocol::problem::Problem;
use bevy_iap::protocol::sync::{ChainHead, Enrolment, SyncRequest, SyncResponse};
use bevy_iap::protocol::{
    AccountId, Catalog, Consumption, ConsumptionId, GameId, KeyId, Order, OrderId, PublicKey, Receipt, ReceiptId,
    SecretKey, Token,
};
use bevy_iap::server::{LocalServer, ServerConfig};
use tempfile::TempDir;

pub const CATALOG: &str = r#"Catalog(
    game: "arcade",
    products: {
        "double_jump": Unlock(title: "Double jump", prices: { "EUR": "0.05", "USD": "0.06" }),
        "shield": Consumable(title: "Shield", prices: { "EUR": "0.005" }),
        "gift": Consumable(title: "Gift", prices: { "EUR": "0" }),
        "day_pass": Pass(title: "Day pass", hours: 24, prices: { "EUR": "0.01" }),
        "charm": Consumable(
            title: "Charm",
            prices: { "EUR": "0.000001" },
            shares: { "ann": "33.3333", "zoe": "33.3333" },
        ),
        "skin": Consumable(
            title: "Skin",
            prices: { "EUR": "0.07" },
            grants: [Item("skin", 3)],
            shares: { "zoe": "12.5", "ann": "70" },
        ),
        "palace": Unlock(title: "Palace", prices: { "EUR": "1000" }),
    },
)"#;

pub fn catalog() -> Catalog {
    static READ: LazyLock<Catalog> =
        LazyLock::new(|| Catalog::parse("catalog.ron", CATALOG).expect("a good catalogue"));
    READ.clone()
}

pub fn game() -> GameId {
    GameId::new("arcade").expect("a good name")
}

/// An id that no other call gives.
pub fn fresh_id() -> [u8; 16] {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let mut id = [0xa5; 16];
    id[8..].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    id
}

/// A server in a folder of its own.
pub struct Shop {
    pub server: LocalServer,
    pub folder: TempDir,
}

impl Shop {
    pub fn open() -> Self {
        Self::with(|_| {})
    }

    /// A shop that gives every new account one euro, and whatever else `configure` says.
    pub fn with(configure: impl FnOnce(&mut ServerConfig)) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut config = ServerConfig::new(folder.path(), catalog());
        config.welcome = Some("1EUR".parse().expect("one euro"));
        configure(&mut config);
        Self { server: LocalServer::start(config).expect("the server starts"), folder }
    }

    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// A new device, enrolled.
    pub fn device(&self) -> Device {
        let device = Device::new();
        assert_eq!(device.enrol(self.address()).status, 201);
        device
    }
}

/// A device that signs orders, as the client would.
#[derive(Clone)]
pub struct Device {
    pub key: SecretKey,
    pub chain: Option<ChainHead>,
    /// The account that it has joined, if it has left its own.
    pub joined: Option<AccountId>,
}

impl Device {
    pub fn new() -> Self {
        let mut seed = [7; 32];
        seed[..16].copy_from_slice(&fresh_id());
        Self { key: SecretKey::from_seed(&seed), chain: None, joined: None }
    }

    pub fn id(&self) -> KeyId {
        self.key.id()
    }

    pub fn account(&self) -> AccountId {
        self.joined.clone().unwrap_or_else(|| self.id().guest_account())
    }

    pub fn enrol(&self, address: SocketAddr) -> Answer {
        let enrolment = Enrolment::sign(&self.key, &game(), 0).expect("signs");
        let body = serde_json::to_vec(&enrolment).expect("serialises");
        post(address, "/v1/devices", "application/json", &body)
    }

    /// The claims of an order that follows the chain, priced by the catalogue.
    pub fn claims(&self, product: &str, quantity: u32) -> Order {
        let catalog = catalog();
        let price = catalog.product(product).and_then(|(_, product)| product.price("EUR".parse().ok()?));
        Order {
            id: OrderId(fresh_id()),
            device: self.id(),
            account: self.account(),
            game: game(),
            issued_at: 0,
            sequence: self.chain.map_or(0, |chain| chain.sequence) + 1,
            previous: self.chain.map(|chain| chain.order_sha256),
            product: product.parse().expect("a good name"),
            quantity,
            price: price.unwrap_or("0.01EUR".parse().expect("one cent")),
            catalog: catalog.digest(),
            allowance: None,
        }
    }

    /// Signs an order, which becomes the head of the chain.
    pub fn sign(&mut self, order: &Order) -> Token {
        let token = order.sign(&self.key).expect("signs");
        self.chain = Some(ChainHead { sequence: order.sequence, order_sha256: token.sha256() });
        token
    }

    pub fn order(&mut self, product: &str, quantity: u32) -> Token {
        let claims = self.claims(product, quantity);
        self.sign(&claims)
    }

    pub fn consumption(&self, sequence: u64, item: &str, quantity: u64) -> Consumption {
        Consumption {
            id: ConsumptionId(fresh_id()),
            device: self.id(),
            account: self.account(),
            game: game(),
            issued_at: 0,
            sequence,
            item: item.parse().expect("a good name"),
            quantity,
        }
    }

    pub fn request(&self, cursor: u64, orders: &[Token]) -> SyncRequest {
        SyncRequest {
            device: self.id(),
            account: self.account(),
            game: game(),
            issued_at: 0,
            id: ReceiptId(fresh_id()),
            cursor,
            orders: orders.to_vec(),
            keys: 0,
            allowance: None,
            consumptions: Vec::new(),
            wait: None,
        }
    }

    /// Syncs, and checks the answer as a client does.
    pub fn sync(&self, shop: &Shop, cursor: u64, orders: &[Token]) -> SyncResponse {
        let request = self.request(cursor, orders).sign(&self.key).expect("signs");
        let answer = send_sync(shop.address(), &request);
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.header("content-type"), Some("application/jose"));
        self.read(shop.server.public_key(), &request, &answer)
    }

    pub fn read(&self, server: PublicKey, request: &Token, answer: &Answer) -> SyncResponse {
        let token = Token::from_text(answer.text());
        SyncResponse::verify(&token, &[server], &self.account(), &game(), request).expect("the answer verifies")
    }

    /// Syncs and reads the receipts in the answer.
    pub fn receipts(&self, shop: &Shop, cursor: u64, orders: &[Token]) -> Vec<Receipt> {
        let response = self.sync(shop, cursor, orders);
        let verify = |token: &Token| {
            Receipt::verify_for(token, &[shop.server.public_key()], &game(), &self.account()).expect("verifies")
        };
        response.receipts.iter().map(verify).collect()
    }

    /// What the wallet holds, in micros of a euro.
    pub fn euros(&self, shop: &Shop) -> i64 {
        let wallet = shop.server.show(&self.account()).expect("the account is there").wallet;
        wallet.iter().find(|balance| balance.currency.code() == "EUR").map_or(0, |balance| balance.available.value())
    }
}

/// What a server answered.
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is text")
    }

    /// Checks that this is a refusal of a kind, told as RFC 9457 says.
    pub fn assert_refused(&self, kind: &str, status: u16) -> Problem {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{}", self.text());
        let problem: Problem = serde_json::from_slice(&self.body).expect("a problem");
        assert_eq!((problem.kind.as_str(), problem.status, self.status), (kind, status, status), "{problem:?}");
        problem
    }
}

pub fn send_sync(address: SocketAddr, request: &Token) -> Answer {
    post(address, "/v1/sync", "application/jose", request.as_str().as_bytes())
}

pub fn post(address: SocketAddr, path: &str, content_type: &str, body: &[u8]) -> Answer {
    send(address, "POST", path, &[("content-type", content_type)], body)
}

pub fn get(address: SocketAddr, path: &str) -> Answer {
    send(address, "GET", path, &[], b"")
}

pub fn send(address: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    try_send(address, method, path, headers, body).expect("the server answers")
}

/// Sends one request on a connection of its own; nothing if no whole answer came.
pub fn try_send(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Option<Answer> {
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if method == "POST" {
        head.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    head.push_str("\r\n");
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(60))).ok()?;
    stream.write_all(head.as_bytes()).ok()?;
    // A server that has seen enough answers before it has read the body.
    let _ = stream.write_all(body);
    read_answer(&mut stream)
}

pub fn read_answer(stream: &mut TcpStream) -> Option<Answer> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 65536];
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => bytes.extend_from_slice(&chunk[..count]),
            Err(_) if !bytes.is_empty() => break,
            Err(_) => return None,
        }
    }
    whole_answer(&bytes)
}

/// The answer that these bytes are; none if it was cut off.
pub fn whole_answer(bytes: &[u8]) -> Option<Answer> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8(bytes[..end].to_vec()).ok()?;
    let mut lines = head.lines();
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let split = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned()));
    let headers: Vec<(String, String)> = lines.filter_map(split).collect();
    let answer = Answer { status, headers, body: bytes[end + 4..].to_vec() };
    let length = answer.header("content-length").map_or(0, |length| length.parse().unwrap_or(usize::MAX));
    (length == answer.body.len() || answer.status == 304).then_some(answer)
}
