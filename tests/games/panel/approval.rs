//! A store that asks somebody else first: it signs that an order is pending, and later what came of it.
//!
//! `iap-server` answers at once and has no such orders; what a game does with one that a store signs is promised all the
//! same.

use std::sync::{Arc, Mutex};

use bevy::prelude::*;
use bevy_iap::client::transport::memory::MemoryTransport;
use bevy_iap::client::{OrderState, Request, Response, ServerAddress};
use bevy_iap::plugin::{IapPlugin, Store};
use bevy_iap::protocol::sync::{Enrolment, SyncRequest, SyncResponse};
use bevy_iap::protocol::{
    GameId, Grant, Order, OrderId, PublicKey, Reason, Receipt, ReceiptId, SecretKey, Sha256, Status, Token,
};
use bevy_iap::ui::{ShopCommand, Spinner};

use super::screen::Screen;
use crate::shop::Shop;

/// The store's books.
struct Parent {
    key: SecretKey,
    game: GameId,
    device: Option<PublicKey>,
    order: Option<(Order, Token)>,
    /// What the parent said.
    said: Option<Status>,
    feed: Vec<Token>,
}

impl Parent {
    fn answer(&mut self, request: &Request) -> Response {
        if request.path == "/v1/devices" {
            let enrolment: Enrolment = serde_json::from_slice(&request.body).expect("an enrolment");
            self.device = Some(enrolment.verify(&self.game).expect("verifies").0);
            return Response { status: 201, ..Response::default() };
        }
        let device = self.device.expect("it is enrolled");
        let token = Token::from_text(std::str::from_utf8(&request.body).expect("text"));
        let account = device.id().guest_account();
        let asked = SyncRequest::verify(&token, device, &account, &self.game).expect("verifies");
        for order in &asked.orders {
            let verified = Order::verify(order, device, &account, &self.game).expect("verifies");
            if self.order.is_none() {
                self.order = Some((verified, order.clone()));
                self.decide(Status::Pending);
            }
        }
        if let Some(said) = self.said.take() {
            self.decide(said);
        }
        let new = usize::try_from(asked.cursor).expect("small");
        let answer = SyncResponse {
            server: self.key.id(),
            account,
            game: self.game.clone(),
            issued_at: asked.issued_at,
            request_sha256: token.sha256(),
            receipts: self.feed[new..].to_vec(),
            cursor: self.feed.len() as u64,
            more: false,
            wallet: Vec::new(),
            chain: None,
            catalog: self.order.as_ref().map_or_else(|| Sha256::of(""), |(order, _)| order.catalog),
            allowances: Vec::new(),
            consumed_sequence: 0,
        };
        let body = answer.sign(&self.key).expect("signs").as_str().as_bytes().to_vec();
        Response { status: 200, retry_after: None, body }
    }

    fn decide(&mut self, status: Status) {
        let (order, token) = self.order.as_ref().expect("an order");
        let grant = Grant::Entitlement { entitlement: "double_jump".parse().expect("a name"), until: None };
        let receipt = Receipt {
            id: ReceiptId([self.feed.len() as u8 + 1; 16]),
            server: self.key.id(),
            game: self.game.clone(),
            account: order.account.clone(),
            issued_at: order.issued_at,
            feed: self.feed.len() as u64 + 1,
            order: order.id,
            order_sha256: token.sha256(),
            status,
            reason: (status == Status::Declined).then_some(Reason::Operator),
            product: order.product.clone(),
            quantity: order.quantity,
            amount: order.price,
            grants: if status == Status::Granted { vec![grant] } else { Vec::new() },
        };
        self.feed.push(receipt.sign(&self.key).expect("signs"));
    }
}

fn turning(screen: &mut Screen) -> usize {
    let world = screen.world();
    let mut spinners = world.query_filtered::<&Node, With<Spinner>>();
    spinners.iter(world).filter(|node| node.display != Display::None).count()
}

/// A game whose player has bought something that somebody must approve.
fn asked() -> (Shop, Screen, Arc<Mutex<Parent>>, OrderId) {
    let shop = Shop::open("1.00EUR");
    let game: GameId = "test_game".parse().expect("a name");
    let key = SecretKey::from_seed(&[7; 32]);
    let parent = Parent { key, game, device: None, order: None, said: None, feed: Vec::new() };
    let server = ServerAddress { url: "http://parent".to_owned(), keys: vec![parent.key.public()] };
    let parent = Arc::new(Mutex::new(parent));
    let books = parent.clone();
    let transport = MemoryTransport::new(move |request| Ok(books.lock().expect("not poisoned").answer(&request)));
    let plugin =
        IapPlugin { server: Some(server), transport: Some(Arc::new(transport)), listen: false, ..shop.plugin("save") };
    let mut screen = Screen::open(&shop, plugin);
    screen.command(ShopCommand::Show("double_jump".parse().expect("a name")));
    let order = screen.world().resource_mut::<Store>().purchase("double_jump").expect("ordered");
    screen.until("it is pending", |store| store.order(order).is_some_and(|it| it.state == OrderState::Pending));
    (shop, screen, parent, order)
}

fn say(screen: &mut Screen, parent: &Mutex<Parent>, status: Status) {
    parent.lock().expect("not poisoned").said = Some(status);
    screen.world().resource::<Store>().sync_now();
}

#[test]
fn pp07_a_purchase_that_waits_for_somebody_says_so_turns_nothing_and_is_owned_when_it_is_approved() {
    let (_shop, mut screen, parent, order) = asked();
    screen.assert_shows("Somebody has to approve this");
    assert_eq!(turning(&mut screen), 0, "nobody waits before a spinner for a parent");
    assert!(!screen.world().resource::<Store>().owns("double_jump"));
    say(&mut screen, &parent, Status::Granted);
    screen.until("it is granted", |store| store.order(order).is_some_and(|it| it.state == OrderState::Granted));
    assert!(screen.world().resource::<Store>().owns("double_jump"));
    screen.frames(3);
    screen.assert_shows("Yours");
    assert!(!screen.shows("Somebody has to approve this"));
}

#[test]
fn pp07_a_purchase_that_somebody_refuses_says_so_and_can_be_asked_for_again() {
    let (_shop, mut screen, parent, order) = asked();
    say(&mut screen, &parent, Status::Declined);
    screen.until("it is declined", |store| store.order(order).is_some_and(|it| it.state == OrderState::Declined));
    assert!(!screen.world().resource::<Store>().owns("double_jump"));
    let again = screen.world().resource_mut::<Store>().purchase("double_jump");
    assert!(again.is_ok(), "{again:?}");
}
