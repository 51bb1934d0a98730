//! Answers changed on the way, and receipts that are shown where they do not belong: each refused with its own error.

use std::sync::{Arc, Mutex};

use base64ct::{Base64UrlUnpadded, Encoding};
use bevy_iap::client::transport::http::HttpTransport;
use bevy_iap::client::transport::{Pending, Request, Transport};
use bevy_iap::client::{Connection, OrderState};
use bevy_iap::plugin::IapPlugin;
use bevy_iap::protocol::{EnvelopeError, GameId, Receipt, ReceiptError, SecretKey, Token};

use crate::shop::Shop;

/// Real HTTP with somebody in the middle, who changes the answers to syncs while a test lets them.
#[derive(Clone)]
struct Middle {
    http: HttpTransport,
    change: Arc<Mutex<Option<Change>>>,
    last_answer: Arc<Mutex<String>>,
}

type Change = Box<dyn Fn(&str) -> String + Send>;

impl std::fmt::Debug for Middle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Middle")
    }
}

impl Middle {
    fn new(shop: &Shop) -> Self {
        let http = HttpTransport::new(&shop.address.url).expect("a transport");
        Self { http, change: Arc::default(), last_answer: Arc::default() }
    }

    fn let_through(&self) {
        *self.change.lock().expect("not poisoned") = None;
    }

    fn change(&self, change: impl Fn(&str) -> String + Send + 'static) {
        *self.change.lock().expect("not poisoned") = Some(Box::new(change));
    }
}

impl Transport for Middle {
    fn send(&self, request: Request) -> Pending {
        let (answer, middle) = (self.http.send(request.clone()), self.clone());
        Box::pin(async move {
            let mut answer = answer.await?;
            if request.path == "/v1/sync" && answer.status == 200 {
                let text = String::from_utf8(answer.body).expect("text");
                let changed = middle.change.lock().expect("not poisoned").as_ref().map(|change| change(&text));
                answer.body = changed.unwrap_or_else(|| text.clone()).into_bytes();
                *middle.last_answer.lock().expect("not poisoned") = text;
            }
            Ok(answer)
        })
    }
}

/// The token with its header changed.
fn with_header(token: &str, from: &str, to: &str) -> String {
    let (header, rest) = token.split_once('.').expect("three parts");
    let header = String::from_utf8(Base64UrlUnpadded::decode_vec(header).expect("base64url")).expect("text");
    assert!(header.contains(from), "{header}");
    format!("{}.{rest}", Base64UrlUnpadded::encode_string(header.replace(from, to).as_bytes()))
}

/// The token with its claims changed.
fn with_claims(token: &str, from: &str, to: &str) -> String {
    let parts: Vec<_> = token.split('.').collect();
    let claims = String::from_utf8(Base64UrlUnpadded::decode_vec(parts[1]).expect("base64url")).expect("text");
    assert!(claims.contains(from), "{claims}");
    let claims = Base64UrlUnpadded::encode_string(claims.replace(from, to).as_bytes());
    format!("{}.{claims}.{}", parts[0], parts[2])
}

#[test]
fn an_answer_changed_on_the_way_is_believed_in_nothing_and_told_by_name() {
    let shop = Shop::open("1.00EUR");
    let middle = Middle::new(&shop);
    let mut other = shop.play_with(IapPlugin { transport: Some(Arc::new(middle.clone())), ..shop.plugin("other") });
    other.buy_until("double_jump", OrderState::Granted);
    let others_answer = middle.last_answer.lock().expect("not poisoned").clone();
    drop(other);

    let other_key = SecretKey::from_seed(&[9; 32]).id().to_string();
    let key = shop.address.keys[0].id().to_string();
    let cases: Vec<(&str, Change)> = vec![
        ("signature does not verify", Box::new(|text| with_claims(text, "\"more\":false", "\"more\":true"))),
        ("`typ` is", Box::new(|text| with_header(text, "iap-sync-response+jwt", "iap-receipt+jwt"))),
        ("`alg` is \"none\"", Box::new(|text| with_header(text, "EdDSA", "none"))),
        ("which is not trusted here", Box::new(move |text| with_header(text, &key, &other_key))),
        ("has a member \"jku\"", Box::new(|text| with_header(text, "{", "{\"jku\":\"https://example.com\","))),
        ("is for the account", Box::new(move |_| others_answer.clone())),
        ("not a compact JWS", Box::new(|_| "{\"status\":\"granted\"}".to_owned())),
    ];
    for (number, (told, change)) in cases.into_iter().enumerate() {
        let mut game = shop.play_with(IapPlugin {
            transport: Some(Arc::new(middle.clone())),
            ..shop.plugin(&format!("save-{number}"))
        });
        game.until("it is online", |store| *store.connection() == Connection::Online);
        middle.change(change);
        let order = game.buy_until("shield", OrderState::Sent);
        game.until(
            told,
            |store| matches!(store.connection(), Connection::Retrying { trouble } if trouble.contains(told)),
        );
        assert_eq!((game.store().quantity("shield"), game.store().receipts().len()), (0, 0), "{told}");
        middle.let_through();
        game.store().sync_now();
        game.wait_for(order, OrderState::Granted);
        assert_eq!(game.available(), "0.995", "{told}: charged once");
    }
    shop.audit();
}

#[test]
fn an_answer_of_yesterday_played_again_is_refused() {
    let shop = Shop::open("1.00EUR");
    let middle = Middle::new(&shop);
    let mut game = shop.play_with(IapPlugin { transport: Some(Arc::new(middle.clone())), ..shop.plugin("save") });
    game.until("it is online", |store| *store.connection() == Connection::Online);
    game.buy_until("shield", OrderState::Granted);
    let old = middle.last_answer.lock().expect("not poisoned").clone();
    middle.change(move |_| old.clone());
    let order = game.buy_until("shield", OrderState::Sent);
    game.until("it is refused", |store| {
        matches!(store.connection(), Connection::Retrying { trouble } if trouble.contains("answers another request"))
    });
    middle.let_through();
    game.store().sync_now();
    game.wait_for(order, OrderState::Granted);
}

#[test]
fn a_receipt_that_was_bought_is_refused_wherever_it_does_not_belong() {
    let shop = Shop::open("1.00EUR");
    let mut game = shop.play("save");
    game.buy_until("double_jump", OrderState::Granted);
    let text = game.store().receipts()[0].token.to_string();
    let account = game.store().account().expect("open").clone();
    let keys = &shop.address.keys;
    let arcade = GameId::new("test_game").expect("a name");
    let verify = |text: &str| Receipt::verify_for(&Token::from_text(text), keys, &arcade, &account).map(|_| ());
    assert_eq!(verify(&text), Ok(()));

    let envelope = |text: &str| match verify(text) {
        Err(ReceiptError::Envelope(error)) => error,
        other => panic!("{other:?}"),
    };
    assert_eq!(envelope(&with_claims(&text, "granted", "refunded")), EnvelopeError::BadSignature);
    assert!(matches!(envelope(&with_header(&text, "iap-receipt+jwt", "JWT")), EnvelopeError::WrongType { .. }));
    assert!(matches!(envelope(&with_header(&text, "EdDSA", "none")), EnvelopeError::WrongAlgorithm(_)));
    let (own, other) = (keys[0].id().to_string(), SecretKey::from_seed(&[9; 32]).id().to_string());
    assert!(matches!(envelope(&with_header(&text, &own, &other)), EnvelopeError::UnknownKey(_)));

    let token = Token::from_text(&text);
    let elsewhere = GameId::new("other_game").expect("a name");
    assert!(matches!(Receipt::verify(&token, keys, &elsewhere), Err(ReceiptError::WrongAudience { .. })));
    let somebody = "somebody".parse().expect("an account");
    assert!(matches!(Receipt::verify_for(&token, keys, &arcade, &somebody), Err(ReceiptError::WrongAccount { .. })));
}
