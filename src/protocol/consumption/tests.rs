use super::*;
use crate::protocol::sync::{MAX_ORDERS, SyncRequest};

fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32])
}

fn consumption() -> Consumption {
    let device = key(2).id();
    Consumption {
        id: ConsumptionId([7; 16]),
        device,
        account: device.guest_account(),
        game: "arcade".parse().expect("a name"),
        issued_at: 1_000,
        sequence: 1,
        item: "shield".parse().expect("a name"),
        quantity: 2,
    }
}

fn receipt() -> ConsumptionReceipt {
    let consumption = consumption();
    ConsumptionReceipt {
        id: ReceiptId([8; 16]),
        server: key(1).id(),
        game: consumption.game.clone(),
        account: consumption.account.clone(),
        issued_at: 2_000,
        feed: 5,
        consumption: consumption.id,
        consumption_sha256: consumption.sign(&key(2)).expect("signs").sha256(),
        device: consumption.device,
        item: consumption.item,
        quantity: consumption.quantity,
        status: ConsumptionStatus::Refused,
        reason: Some(ConsumptionReason::NotEnough),
    }
}

#[test]
fn consumption_is_one_devices_for_its_own_account_and_game() {
    let consumption = consumption();
    let token = consumption.sign(&key(2)).expect("signs");
    let Consumption { account, game, .. } = consumption.clone();
    assert_eq!(Consumption::verify(&token, key(2).public(), &account, &game), Ok(consumption.clone()));
    let chess = "chess".parse().expect("a name");
    let error = |device: u8, account: &AccountId, game: &GameId| {
        Consumption::verify(&token, key(device).public(), account, game).expect_err("it is another's")
    };
    assert!(matches!(error(2, &account, &chess), SyncError::WrongAudience { .. }));
    assert!(matches!(error(2, &key(3).id().guest_account(), &game), SyncError::WrongAccount { .. }));
    assert!(matches!(error(3, &account, &game), SyncError::Envelope(EnvelopeError::UnknownKey(_))));
    let in_anothers_name = Consumption { device: key(3).id(), ..consumption }.sign(&key(2)).expect("signs");
    let found = Consumption::verify(&in_anothers_name, key(2).public(), &account, &game);
    assert!(matches!(found, Err(SyncError::WrongIssuer { .. })), "{found:?}");
}

#[test]
fn consumption_uses_up_something_and_has_a_number() {
    assert!(Consumption { quantity: 0, ..consumption() }.sign(&key(2)).is_err());
    assert!(Consumption { sequence: 0, ..consumption() }.sign(&key(2)).is_err());
    assert!(Consumption { quantity: u64::MAX, ..consumption() }.sign(&key(2)).is_err());
}

#[test]
fn receipt_is_of_a_trusted_server_for_one_account_and_game() {
    let receipt = receipt();
    let token = receipt.sign(&key(1)).expect("signs");
    let ConsumptionReceipt { account, game, .. } = receipt.clone();
    let keys = [key(1).public()];
    assert_eq!(ConsumptionReceipt::verify_for(&token, &keys, &game, &account), Ok(receipt.clone()));
    let strangers = [key(3).public()];
    assert!(ConsumptionReceipt::verify_for(&token, &strangers, &game, &account).is_err());
    let other = key(3).id().guest_account();
    let found = ConsumptionReceipt::verify_for(&token, &keys, &game, &other);
    assert!(matches!(found, Err(SyncError::WrongAccount { .. })), "{found:?}");
    let chess = "chess".parse().expect("a name");
    let found = ConsumptionReceipt::verify_for(&token, &keys, &chess, &account);
    assert!(matches!(found, Err(SyncError::WrongAudience { .. })), "{found:?}");
    // A device's own word is no answer to it, whatever key a server trusts.
    let own = consumption().sign(&key(2)).expect("signs");
    assert!(ConsumptionReceipt::verify_for(&own, &[key(2).public()], &game, &account).is_err());
}

#[test]
fn status_and_reason_of_a_later_version_are_read_and_take_nothing() {
    let mut claims = serde_json::to_value(receipt()).expect("serialises");
    claims["status"] = "postponed".into();
    claims["reason"] = "weather".into();
    let read: ConsumptionReceipt = serde_json::from_value(claims).expect("reads");
    assert_eq!((read.status, read.reason), (ConsumptionStatus::Other, Some(ConsumptionReason::Other)));
}

#[test]
fn a_feed_holds_receipts_of_both_kinds_and_nothing_else() {
    let receipt = receipt();
    let (account, game, keys) = (receipt.account.clone(), receipt.game.clone(), [key(1).public()]);
    let token = receipt.sign(&key(1)).expect("signs");
    let read = FeedReceipt::verify_for(&token, &keys, &game, &account);
    assert_eq!(read, Ok(FeedReceipt::Consumption(receipt)));
    let other = consumption().sign(&key(1)).expect("signs");
    let read = FeedReceipt::verify_for(&other, &keys, &game, &account);
    assert!(matches!(read, Err(FeedReceiptError::Order(_))), "{read:?}");
}

fn full_request(consumptions: usize) -> Token {
    let longest = |length| "a".repeat(length);
    let consumption = Consumption {
        game: longest(64).parse().expect("a name"),
        account: longest(64).parse().expect("an account"),
        issued_at: i64::MIN,
        sequence: u64::MAX / 2,
        item: longest(64).parse().expect("a name"),
        quantity: u64::MAX / 2,
        ..consumption()
    };
    let token = consumption.sign(&key(2)).expect("signs");
    assert!(token.as_str().len() < 800, "{}", token.as_str().len());
    let request = SyncRequest {
        device: consumption.device,
        account: consumption.account,
        game: consumption.game,
        issued_at: i64::MIN,
        id: ReceiptId([1; 16]),
        cursor: u64::MAX,
        // As long as orders are with the longest names.
        orders: vec![Token::from_text(&"o".repeat(1_536)); MAX_ORDERS],
        keys: u64::MAX,
        allowance: None,
        consumptions: vec![token; consumptions],
        wait: None,
    };
    request.sign(&key(2)).expect("signs")
}

#[test]
fn the_fullest_request_fits_and_one_consumption_more_is_refused() {
    let longest = "a".repeat(64);
    let (account, game) = (longest.parse().expect("an account"), longest.parse().expect("a name"));
    let verify = |token: &Token| SyncRequest::verify(token, key(2).public(), &account, &game);
    let full = full_request(MAX_CONSUMPTIONS);
    assert!(full.as_str().len() < SyncRequest::MAX_LENGTH, "{}", full.as_str().len());
    assert!(verify(&full).is_ok());
    let too_full = full_request(MAX_CONSUMPTIONS + 1);
    assert_eq!(verify(&too_full), Err(SyncError::TooManyConsumptions(MAX_CONSUMPTIONS + 1)));
}
