//! Sync requests that are refused, each with its own type.

use bevy_iap::protocol::envelope::{self, Claims};
use bevy_iap::protocol::sync::{ChainHead, SyncRequest};
use bevy_iap::protocol::{AllowanceId, AllowanceUse, GameId, Micros, Order, Token};
use serde::{Deserialize, Serialize};

use crate::support::{Device, Shop, post, send_sync};

const BAD_TOKEN: &str = "/problems/bad-token";

/// A token whose header says what `change` makes of a right one. Its signature is over the right one.
fn with_header(token: &Token, change: impl Fn(&str) -> String) -> Token {
    use base64ct::{Base64UrlUnpadded, Encoding};
    let (header, rest) = token.as_str().split_once('.').expect("a compact JWS");
    let header = String::from_utf8(Base64UrlUnpadded::decode_vec(header).expect("base64url")).expect("text");
    Token::from_text(&format!("{}.{rest}", Base64UrlUnpadded::encode_string(change(&header).as_bytes())))
}

fn signed(device: &Device, change: impl Fn(&mut SyncRequest)) -> Token {
    let mut request = device.request(0, &[]);
    change(&mut request);
    request.sign(&device.key).expect("signs")
}

#[test]
fn request_with_a_bad_signature_is_refused() {
    let shop = Shop::open();
    let device = shop.device();
    let good = signed(&device, |_| {});
    let other = signed(&device, |_| {});
    let (start, _) = good.as_str().rsplit_once('.').expect("a compact JWS");
    let (_, signature) = other.as_str().rsplit_once('.').expect("a compact JWS");
    let answer = send_sync(shop.address(), &Token::from_text(&format!("{start}.{signature}")));
    assert!(answer.assert_refused(BAD_TOKEN, 400).detail.contains("does not verify"));
}

#[test]
fn request_of_another_type_or_algorithm_is_refused_by_name() {
    let shop = Shop::open();
    let device = shop.device();
    let good = signed(&device, |_| {});
    for (from, to, told) in [
        ("iap-sync+jwt", "iap-order+jwt", "`typ`"),
        ("EdDSA", "none", "`alg`"),
        ("EdDSA", "HS256", "`alg`"),
        ("\"kid\"", "\"jku\":\"x\",\"kid\"", "\"jku\""),
    ] {
        let token = with_header(&good, |header| header.replace(from, to));
        let problem = send_sync(shop.address(), &token).assert_refused(BAD_TOKEN, 400);
        assert!(problem.detail.contains(told), "{problem:?}");
    }
}

#[test]
fn unknown_device_is_told_to_enrol() {
    let shop = Shop::open();
    let stranger = Device::new();
    let answer = send_sync(shop.address(), &signed(&stranger, |_| {}));
    let problem = answer.assert_refused("/problems/unknown-device", 404);
    assert!(problem.detail.contains("/v1/devices"), "{problem:?}");
}

#[test]
fn request_for_another_game_or_account_is_refused() {
    let shop = Shop::open();
    let (device, other) = (shop.device(), shop.device());
    let elsewhere: GameId = "chess".parse().expect("a good name");
    let token = signed(&device, |request| request.game = elsewhere.clone());
    send_sync(shop.address(), &token).assert_refused("/problems/wrong-audience", 422);
    let token = signed(&device, |request| request.account = other.account());
    send_sync(shop.address(), &token).assert_refused("/problems/wrong-account", 422);
    let token = signed(&device, |request| request.device = other.id());
    send_sync(shop.address(), &token).assert_refused(BAD_TOKEN, 400);
}

#[test]
fn one_bad_order_refuses_the_whole_request_and_says_which() {
    let shop = Shop::open();
    let mut device = shop.device();
    let mut other = shop.device();
    let good = device.order("shield", 1);
    let mut for_other = device.claims("shield", 1);
    for_other.account = other.account();
    let mut for_elsewhere = device.claims("shield", 1);
    for_elsewhere.game = "chess".parse().expect("a good name");
    let not_an_order = signed(&device, |_| {});
    for (bad, kind, status) in [
        (other.order("shield", 1), BAD_TOKEN, 400),
        (not_an_order, BAD_TOKEN, 400),
        (Token::from_text("nonsense"), BAD_TOKEN, 400),
        (for_other.sign(&device.key).expect("signs"), "/problems/wrong-account", 422),
        (for_elsewhere.sign(&device.key).expect("signs"), "/problems/wrong-audience", 422),
    ] {
        let token = signed(&device, |request| request.orders = vec![good.clone(), bad.clone()]);
        let problem = send_sync(shop.address(), &token).assert_refused(kind, status);
        assert!(problem.detail.starts_with("order 1: "), "{problem:?}");
    }
    assert_eq!((device.euros(&shop), other.euros(&shop)), (1_000_000, 1_000_000));
    assert_eq!(shop.server.show(&device.account()).expect("is there").receipts, 0);
}

#[test]
fn too_many_orders_are_refused() {
    let shop = Shop::open();
    let mut device = shop.device();
    let order = device.order("gift", 1);
    let many = signed(&device, |request| request.orders = vec![order.clone(); 257]);
    send_sync(shop.address(), &many).assert_refused("/problems/too-many-orders", 422);
    let far_too_many = signed(&device, |request| request.orders = vec![order.clone(); 10_000]);
    send_sync(shop.address(), &far_too_many).assert_refused("/problems/body-too-large", 413);
    let most = signed(&device, |request| request.orders = vec![order.clone(); 256]);
    assert_eq!(send_sync(shop.address(), &most).status, 200);
}

#[test]
fn request_with_a_member_twice_is_refused() {
    /// Claims that serialise to an object with two members of one name.
    #[derive(Deserialize)]
    struct Twice {
        #[serde(skip)]
        text: String,
    }
    impl Serialize for Twice {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            use serde::ser::SerializeMap as _;
            let mut map = serializer.serialize_map(None)?;
            map.serialize_entry("iss", &self.text)?;
            map.serialize_entry("iss", &self.text)?;
            map.end()
        }
    }
    impl Claims for Twice {
        const TYPE: &'static str = SyncRequest::TYPE;
    }
    let shop = Shop::open();
    let device = shop.device();
    let token = envelope::sign(&Twice { text: device.id().to_string() }, &device.key).expect("signs");
    let problem = send_sync(shop.address(), &token).assert_refused(BAD_TOKEN, 400);
    assert!(problem.detail.contains("twice"), "{problem:?}");
}

#[test]
fn text_that_is_no_token_is_refused() {
    let shop = Shop::open();
    for body in [&b""[..], b".", b"..", b"a.b.c.d", b"\xff\xfe", b"{}", "é.é.é".as_bytes()] {
        let answer = post(shop.address(), "/v1/sync", "application/jose", body);
        assert_eq!(answer.status, 400, "{body:?}: {}", answer.text());
    }
}

/// An order with a claim that nobody knows.
#[derive(Serialize, Deserialize)]
struct Padded {
    #[serde(flatten)]
    order: Order,
    padding: String,
}

impl Claims for Padded {
    const TYPE: &'static str = Order::TYPE;
}

#[test]
fn order_is_long_enough_for_claims_to_come_and_no_longer() {
    let shop = Shop::open();
    let mut device = shop.device();
    let padded = |device: &Device, length| {
        let (order, padding) = (device.claims("gift", 1), "x".repeat(length));
        envelope::sign(&Padded { order, padding }, &device.key).expect("signs")
    };
    let long = padded(&device, 1_000);
    assert!((1_900..=2_048).contains(&long.as_str().len()), "{}", long.as_str().len());
    device.chain = Some(ChainHead { sequence: 1, order_sha256: long.sha256() });
    assert_eq!(device.sync(&shop, 0, &[long]).receipts.len(), 1);
    let too_long = padded(&device, 1_200);
    let request = device.request(1, &[too_long]).sign(&device.key).expect("signs");
    let problem = send_sync(shop.address(), &request).assert_refused(BAD_TOKEN, 400);
    assert!(problem.detail.contains("order 0: ") && problem.detail.contains("2048"), "{problem:?}");
    assert_eq!(shop.server.show(&device.account()).expect("is there").receipts, 1, "nothing is kept of it");

    let name = |first: char| format!("{first}{}", "n".repeat(63));
    let longest = Order {
        account: name('A').parse().expect("an account"),
        game: name('g').parse().expect("a game"),
        product: name('p').parse().expect("a product"),
        issued_at: i64::MAX,
        sequence: i64::MAX.unsigned_abs(),
        quantity: u32::MAX,
        price: "9007199254.740991EUR".parse().expect("money"),
        ..device.claims("gift", 1)
    };
    let length = |order: &Order| order.sign(&device.key).expect("signs").as_str().len();
    assert!(length(&longest) <= 1_024, "{}", length(&longest));
    let claim = AllowanceUse { id: AllowanceId([255; 16]), spent: Micros::MAX, orders: i64::MAX.unsigned_abs() };
    let within = Order { allowance: Some(claim), ..longest };
    assert!(length(&within) <= 1_536, "{}", length(&within));
}
