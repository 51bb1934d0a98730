//! What thieves, proxies and cheats put in the place of what a client or a server has said.

use std::sync::Arc;
use std::time::Duration;

use super::goods::game;
use super::plan::Lie;
use super::run::{Sent, World};
use super::store::{answer_in, pick};
use crate::client::Response;
use crate::client::seeded::{Bug, with};
use crate::protocol::envelope::claims_of_stored;
use crate::protocol::sync::{SyncRequest, SyncResponse};
use crate::protocol::{Grant, Order, OrderId, Receipt, ReceiptId, SecretKey, Sha256, Status, Token};
use crate::server::simulated::Arrived;

/// What a shield costs, about, in micros.
const SHIELD: i64 = 5_000;

impl World {
    /// What somebody answers in the place of the server.
    pub(super) fn lie(&mut self, lie: Lie, sent: &Sent, honest: Response) -> Response {
        let is_sync = sent.arrived.path == "/v1/sync" && honest.status == 200;
        let half = honest.body.len() / 2;
        let (what, lied) = match lie {
            Lie::Cut => ("answers cut short", Some(Response { body: honest.body[..half].to_vec(), ..honest.clone() })),
            Lie::OtherKey => ("answers signed by a stranger", self.signed_again(&honest).filter(|_| is_sync)),
            Lie::Thief => ("answers signed with a revoked key", self.stolen_answer(sent).filter(|_| is_sync)),
            proxy => return self.proxy_answer(proxy),
        };
        self.coverage.add(what, u64::from(lied.is_some()));
        lied.unwrap_or(honest)
    }

    /// What a proxy answers, whether it has passed the request on or not.
    pub(super) fn proxy_answer(&mut self, lie: Lie) -> Response {
        let problem = |kind: &str, status: u16| {
            let body = format!(r#"{{"type":"/problems/{kind}","title":"x","status":{status},"detail":"x"}}"#);
            Response { status, retry_after: None, body: body.into_bytes() }
        };
        let (what, response) = match lie {
            Lie::ServerError => ("answers of a proxy that fails", problem("internal", 500)),
            Lie::Forbidden => ("answers of a proxy that forbids", problem("forbidden", 403)),
            Lie::UnknownDevice => ("answers that a device is unknown", problem("unknown-device", 404)),
            Lie::Declined => ("answers that a payment is required", problem("insufficient-funds", 402)),
            Lie::ComeBackLater => {
                let later = Some(Duration::from_secs(3_000));
                ("answers to come back later", Response { retry_after: later, ..problem("too-many-requests", 429) })
            }
            _ => ("answers of garbage", Response { status: 200, retry_after: None, body: b"hello".to_vec() }),
        };
        self.coverage.count(what);
        response
    }

    /// A game that was rewritten spends more of an allowance than there is.
    pub(super) fn overspend(&mut self, client: u8) {
        let number = usize::from(client) % self.clients.len();
        let client = &mut self.clients[number];
        // Nothing is promised to a cheat.
        self.devices[client.device].copied = true;
        self.coverage.count("orders of a game that was rewritten");
        let version = client.version.catalog;
        // Each fits, and all together do not.
        let left = client.view.allowance.map_or(0, |allowance| allowance.left.micros.value());
        let quantity = u8::try_from(left * 6 / 10 / SHIELD).unwrap_or(u8::MAX);
        let terms = [0; 3].map(|product| super::goods::terms(version, product, quantity, &mut client.random));
        let (now, said) = (self.now, &self.store.said);
        let request = with(Bug::SpendMore, || client.buy(terms.to_vec(), now, said));
        self.send(number, request);
    }

    fn signed_again(&self, honest: &Response) -> Option<Response> {
        let claims: SyncResponse = claims_of_stored(&answer_in(&honest.body)?).ok()?;
        let stranger = SecretKey::from_seed(&[99; 32]);
        let claims = SyncResponse { server: stranger.id(), ..claims };
        let token = claims.sign(&stranger).ok()?;
        Some(Response { status: 200, retry_after: None, body: token.as_str().as_bytes().to_vec() })
    }

    /// An answer that grants a thousand shields, signed with a key that was revoked, if the client knows that it was.
    fn stolen_answer(&self, sent: &Sent) -> Option<Response> {
        let (key, number) = self.store.stolen.as_ref()?;
        let request = Token::from_text(std::str::from_utf8(&sent.arrived.body).ok()?);
        let claims: SyncRequest = claims_of_stored(&request).ok()?;
        if claims.keys < *number {
            return None;
        }
        let order: Option<Order> = claims.orders.first().and_then(|order| claims_of_stored(order).ok());
        let product = "shield".parse().ok()?;
        let receipt = Receipt {
            id: ReceiptId([9; 16]),
            server: key.id(),
            game: game(),
            account: claims.account.clone(),
            issued_at: self.store.now(),
            feed: claims.cursor + 1,
            order: order.as_ref().map_or(OrderId([9; 16]), |order| order.id),
            order_sha256: claims.orders.first().map_or(Sha256([9; 32]), Token::sha256),
            status: Status::Granted,
            reason: None,
            product,
            quantity: 1_000,
            amount: super::store::euros(0),
            grants: vec![Grant::Item { item: "shield".parse().ok()?, quantity: 1_000 }],
        };
        let response = SyncResponse {
            server: key.id(),
            account: claims.account,
            game: game(),
            issued_at: self.store.now(),
            request_sha256: request.sha256(),
            receipts: vec![receipt.sign(key).ok()?],
            cursor: claims.cursor + 1,
            more: false,
            wallet: Vec::new(),
            chain: None,
            catalog: Sha256([9; 32]),
            allowances: Vec::new(),
            consumed_sequence: 0,
        };
        let token = response.sign(key).ok()?;
        Some(Response { status: 200, retry_after: None, body: token.as_str().as_bytes().to_vec() })
    }

    /// A cheat sends another order under the id of one that is settled: it is refused, and changes nothing.
    pub(super) fn other_order(&mut self, client: u8, nth: u16) -> Result<(), String> {
        let client = &self.clients[usize::from(client) % self.clients.len()];
        let device = self.devices[client.device].clone();
        let Some(id) = pick(self.store.said.granted(), nth) else { return Ok(()) };
        if !self.store.is_up() {
            return Ok(());
        }
        let terms = super::goods::terms(client.version.catalog, 0, 2, &mut client.random.clone());
        let order = Order {
            id,
            device: device.key.id(),
            account: device.account.clone(),
            game: game(),
            issued_at: 7,
            sequence: 1,
            previous: None,
            product: terms.product,
            quantity: 77,
            price: terms.price,
            catalog: terms.catalog,
            allowance: None,
        };
        let request = SyncRequest {
            device: device.key.id(),
            account: device.account.clone(),
            game: game(),
            issued_at: 7,
            id: ReceiptId(id.0),
            cursor: 0,
            orders: vec![order.sign(&device.key).map_err(|error| error.to_string())?],
            keys: 0,
            allowance: None,
            consumptions: Vec::new(),
            wait: None,
        };
        let token = request.sign(&device.key).map_err(|error| error.to_string())?;
        let arrived = Arrived { path: "/v1/sync", body: Arc::from(token.as_str().as_bytes()) };
        let answered = self.store.answer(&[arrived])?;
        self.coverage.count("orders sent under the id of another");
        match answered.first().map(|answered| answered.status) {
            Some(422 | 404) => Ok(()),
            status => Err(format!("another order under the id {id} was answered with status {status:?}")),
        }
    }
}
