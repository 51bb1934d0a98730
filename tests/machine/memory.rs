//! How much memory a game needs for what its player has bought.

use allocation_counter::AllocationInfo;
use bevy_iap::client::record::{Identity, Synced};
use bevy_iap::client::storage::Opened;
use bevy_iap::client::{Access, Machine, Record, Settings, Signed, Tick};
use bevy_iap::protocol::{
    Currency, Grant, Micros, Money, OrderId, Receipt, ReceiptId, SecretKey, Sha256, Status, Token,
};

use crate::world::{SERVER_TIME, game};

/// Of what is kept for each receipt alone; what grows as a vector does has the room that it has with a million.
#[test]
fn a_million_receipts_take_at_most_96_bytes_of_memory_each_also_while_the_game_starts() {
    const FEW: u64 = 1_000;
    const MORE: u64 = 1_000_000 / 32;
    let (few, many) = (memory_of_a_start(FEW), memory_of_a_start(FEW + MORE));
    let more = i64::try_from(MORE).expect("it fits");
    let kept = (many.bytes_current - few.bytes_current) / more;
    let at_most = (i64::try_from(many.bytes_max - few.bytes_max).expect("it fits")) / more;
    // Less than an order's id and the digest of its receipt would say that nothing was measured.
    assert!((32..=96).contains(&kept) && (kept..=96).contains(&at_most), "{kept} bytes kept, {at_most} while starting");
}

fn memory_of_a_start(receipts: u64) -> AllocationInfo {
    let (key, server) = (SecretKey::from_seed(&[1; 32]), SecretKey::from_seed(&[2; 32]));
    let tokens: Vec<Token> = (1..=receipts).map(|feed| receipt(feed, &key, &server)).collect();
    let mut started = None;
    let used = allocation_counter::measure(|| {
        let mut opening = Machine::opening(Settings::new(game(), vec![server.public()]), key.clone());
        let account = key.id().guest_account();
        opening.replay(Record::Identity(Identity { game: game(), device: key.id(), account }));
        for token in &tokens {
            opening.replay(Record::Receipt(Signed::from(token.clone())));
        }
        let (wallet, server_time) = (Vec::new(), SERVER_TIME);
        let synced = Synced { cursor: receipts, wallet, server_time, follow: None, consumed_sequence: None };
        opening.replay(Record::Synced(synced));
        let opened = Opened { key: key.clone(), access: Access::ReadWrite, is_damaged: false, troubles: Vec::new() };
        let tick = Tick { elapsed: std::time::Duration::ZERO, unix: SERVER_TIME, random: [1; 16] };
        started = Some(opening.finish(opened, tick).expect("opens"));
    });
    let (_, snapshot, _) = started.expect("it was started");
    let items: u64 = snapshot.holdings.items.values().map(|item| item.left).sum();
    assert_eq!(items, receipts - receipts / 100, "each of them counts");
    used
}

/// One in a hundred is for a pass, the others for an item of twenty kinds.
fn receipt(feed: u64, device: &SecretKey, server: &SecretKey) -> Token {
    let random = |what: &str| *Sha256::of(format!("{what} {feed}")).0.first_chunk().expect("it has 32 bytes");
    let product = if feed.is_multiple_of(100) { "pass".to_owned() } else { format!("item_{}", feed % 20) };
    let grant = match product.as_str() {
        "pass" => Grant::Entitlement { entitlement: "pass".parse().expect("a name"), until: Some(SERVER_TIME + 60) },
        item => Grant::Item { item: item.parse().expect("a name"), quantity: 1 },
    };
    let receipt = Receipt {
        id: ReceiptId(random("receipt")),
        server: server.id(),
        game: game(),
        account: device.id().guest_account(),
        issued_at: SERVER_TIME,
        feed,
        order: OrderId(random("order")),
        order_sha256: Sha256::of(format!("the text of the order {feed}")),
        status: Status::Granted,
        reason: None,
        product: product.parse().expect("a name"),
        quantity: 1,
        amount: Money::new(Micros::new(5_000).expect("in range"), Currency::EUR),
        grants: vec![grant],
    };
    receipt.sign(server).expect("signs")
}
