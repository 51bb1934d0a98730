use super::*;
use crate::protocol::sync::{SyncRequest, SyncResponse};
use crate::protocol::{Order, OrderId, ReceiptId};

fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32])
}

fn allowance() -> Allowance {
    let device = key(2).id();
    Allowance {
        id: AllowanceId([7; 16]),
        server: key(1).id(),
        game: "arcade".parse().expect("a name"),
        account: device.guest_account(),
        issued_at: 1_000,
        device,
        total: "1.00EUR".parse().expect("money"),
        per_order: "0.50".parse().expect("an amount"),
        orders: 100,
        catalog: Sha256::of("catalog"),
        expires_at: 2_000,
        settle_by: 3_000,
        policy: "standard".parse().expect("a name"),
    }
}

fn verified(claims: &serde_json::Value) -> Result<Allowance, AllowanceError> {
    let token = signed::<Allowance>(claims, &key(1));
    let Allowance { game, account, device, .. } = allowance();
    Allowance::verify(&token, &[key(1).public()], &game, &account, device)
}

/// Any claims under the `typ` of `C`.
fn signed<C: Claims>(claims: &serde_json::Value, key: &SecretKey) -> Token {
    let header = serde_json::json!({ "alg": "EdDSA", "typ": C::TYPE, "kid": key.id() });
    let part = |value: &serde_json::Value| crate::protocol::base64url::encode(value.to_string().as_bytes());
    let text = format!("{}.{}", part(&header), part(claims));
    let signature = crate::protocol::base64url::encode(&key.sign(text.as_bytes()));
    Token::from_text(&format!("{text}.{signature}"))
}

fn with(claims: impl Serialize, member: &str, value: serde_json::Value) -> serde_json::Value {
    let mut claims = serde_json::to_value(claims).expect("serialises");
    claims[member] = value;
    claims
}

#[test]
fn allowance_is_for_one_device_of_one_account_and_game() {
    let allowance = allowance();
    let token = allowance.sign(&key(1)).expect("signs");
    let Allowance { game, account, device, .. } = allowance.clone();
    let keys = [key(1).public()];
    assert_eq!(Allowance::verify(&token, &keys, &game, &account, device), Ok(allowance));
    let chess = "chess".parse().expect("a name");
    let other = key(3).id();
    let error = |game: &GameId, account: &AccountId, device| {
        Allowance::verify(&token, &keys, game, account, device).expect_err("it is another's")
    };
    assert!(matches!(error(&chess, &account, device), AllowanceError::WrongAudience { .. }));
    assert!(matches!(error(&game, &other.guest_account(), device), AllowanceError::WrongAccount { .. }));
    assert!(matches!(error(&game, &account, other), AllowanceError::WrongDevice { .. }));
    let by_another = Allowance::verify(&token, &[key(3).public()], &game, &account, device);
    assert!(matches!(by_another, Err(AllowanceError::Envelope(EnvelopeError::UnknownKey(_)))));
    let for_another = with(self::allowance(), "iss", serde_json::json!(other));
    assert!(matches!(verified(&for_another), Err(AllowanceError::WrongIssuer { .. })));
}

#[test]
fn allowance_that_is_out_of_range_is_refused() {
    use serde_json::json;
    assert!(verified(&serde_json::to_value(allowance()).expect("serialises")).is_ok());
    for (member, value) in [
        ("total", json!({ "micros": 0, "currency": "EUR" })),
        ("total", json!({ "micros": -1, "currency": "EUR" })),
        ("total", json!({ "micros": 1, "currency": "eur" })),
        ("total", json!(1)),
        ("per_order", json!(0)),
        ("per_order", json!(-5)),
        ("per_order", json!(1.5)),
        ("orders", json!(0)),
        ("orders", json!(1_u64 << 63)),
        ("exp", json!("soon")),
        ("settle_by", json!(null)),
        ("policy", json!("")),
        ("policy", json!("Standard rules")),
        ("jti", json!("07")),
        ("device", json!("me")),
    ] {
        let error = verified(&with(allowance(), member, value.clone()));
        assert!(
            matches!(error, Err(AllowanceError::Envelope(EnvelopeError::Claims(_)))),
            "{member} {value}: {error:?}"
        );
    }
    for (member, value) in [("exp", 999), ("settle_by", 1_999)] {
        assert_eq!(verified(&with(allowance(), member, json!(value))), Err(AllowanceError::Times), "{member}");
    }
}

#[test]
fn order_says_what_it_spends_of_an_allowance_or_nothing_at_all() {
    use serde_json::json;
    let device = key(2);
    let account = device.id().guest_account();
    let order = Order {
        id: OrderId([1; 16]),
        device: device.id(),
        account: account.clone(),
        game: "arcade".parse().expect("a name"),
        issued_at: 0,
        sequence: 1,
        previous: None,
        product: "shield".parse().expect("a name"),
        quantity: 1,
        price: "0.005EUR".parse().expect("a price"),
        catalog: Sha256::of("catalog"),
        allowance: None,
    };
    let verify = |claims: &serde_json::Value| {
        Order::verify(&signed::<Order>(claims, &device), device.public(), &account, &order.game)
    };
    let plain = serde_json::to_value(&order).expect("serialises");
    assert_eq!(plain.get("allowance"), None);
    assert_eq!(verify(&plain), Ok(order.clone()));
    let id = AllowanceId([7; 16]).to_string();
    let within = with(&order, "allowance", json!({ "id": id, "spent": 5_000, "orders": 1 }));
    let claim = AllowanceUse { id: AllowanceId([7; 16]), spent: Micros::new(5_000).expect("in range"), orders: 1 };
    assert_eq!(verify(&within), Ok(Order { allowance: Some(claim), ..order.clone() }));
    for malformed in [
        json!(null),
        json!({}),
        json!({ "id": id, "spent": -1, "orders": 1 }),
        json!({ "id": id, "spent": 5_000, "orders": 0 }),
        json!({ "id": id, "spent": "5000", "orders": 1 }),
        json!({ "id": id.to_uppercase() + "0", "spent": 5_000, "orders": 1 }),
        json!([id, 5_000, 1]),
    ] {
        assert!(verify(&with(&order, "allowance", malformed.clone())).is_err(), "{malformed}");
    }
}

#[test]
fn sync_says_what_allowance_is_wanted_and_given_or_nothing_at_all() {
    use serde_json::json;
    let (device, server) = (key(2), key(1));
    let account = device.id().guest_account();
    let game: GameId = "arcade".parse().expect("a name");
    let request = SyncRequest {
        device: device.id(),
        account: account.clone(),
        game: game.clone(),
        issued_at: 0,
        id: ReceiptId([1; 16]),
        cursor: 0,
        orders: Vec::new(),
        keys: 0,
        allowance: None,
        consumptions: Vec::new(),
        wait: None,
    };
    let verify = |claims: &serde_json::Value| {
        SyncRequest::verify(&signed::<SyncRequest>(claims, &device), device.public(), &account, &game)
    };
    let plain = serde_json::to_value(&request).expect("serialises");
    assert_eq!(plain.get("allowance"), None);
    assert_eq!(verify(&plain), Ok(request.clone()));
    let first = AllowanceRequest { current: None, currency: Currency::EUR };
    let wanted = with(&request, "allowance", json!({ "currency": "EUR" }));
    assert_eq!(verify(&wanted), Ok(SyncRequest { allowance: Some(first), ..request.clone() }));
    for malformed in [
        json!(null),
        json!({}),
        json!({ "currency": "euro" }),
        json!({ "currency": "EUR", "current": null }),
        json!({ "currency": "EUR", "current": "7" }),
        json!(["EUR"]),
    ] {
        assert!(verify(&with(&request, "allowance", malformed.clone())).is_err(), "{malformed}");
    }
    let sent = signed::<SyncRequest>(&plain, &device);
    let response = SyncResponse {
        server: server.id(),
        account: account.clone(),
        game: game.clone(),
        issued_at: 0,
        request_sha256: sent.sha256(),
        receipts: Vec::new(),
        cursor: 0,
        more: false,
        wallet: Vec::new(),
        chain: None,
        catalog: Sha256::of("catalog"),
        allowances: Vec::new(),
        consumed_sequence: 0,
    };
    assert_eq!(serde_json::to_value(&response).expect("serialises").get("allowances"), None);
    let token = allowance().sign(&server).expect("signs");
    let given = SyncResponse { allowances: vec![token], ..response };
    let answer = given.sign(&server).expect("signs");
    assert_eq!(SyncResponse::verify(&answer, &[server.public()], &account, &game, &sent), Ok(given));
}
