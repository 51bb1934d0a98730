//! The worked examples of the documents are what the code signs and writes.

use std::time::Duration;

use bevy_iap::client::journal::{self, FrameWriter};
use bevy_iap::client::record::{Consumed, Identity, Provisional, Record, Synced};
use bevy_iap::client::storage::Opened;
use bevy_iap::client::{Access, Machine, OfflineGrants, Settings, Tick};
use bevy_iap::protocol::problem::ProblemType;
use bevy_iap::protocol::sync::{Balance, ChainHead, Enrolment, SyncRequest, SyncResponse};
use bevy_iap::protocol::{
    Catalog, Consumption, ConsumptionReceipt, ConsumptionStatus, Currency, Micros, Order, Receipt, SecretKey, Status,
    Token,
};

const PROTOCOL: &str = include_str!("../../docs/protocol.md");

/// What `docs/protocol.md` shows: the order, its receipt, and the wallet in the response.
struct Example {
    order: (Order, Token),
    receipt: (Receipt, Token),
    wallet: Vec<Balance>,
    consumption: Token,
}

/// Checks that the document shows `text` as a block of its own.
fn shown(document: &str, text: &str) {
    assert!(document.contains(&format!("\n{text}\n```\n")), "not in the document:\n{text}");
}

fn example() -> Example {
    let ron = PROTOCOL.split("```ron\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a catalogue");
    let catalog = Catalog::parse("protocol.md", ron).expect("a good catalogue");
    shown(PROTOCOL, catalog.canonical_json());
    shown(PROTOCOL, &catalog.digest().to_string());
    let (device, server) = (SecretKey::from_seed(&[1; 32]), SecretKey::from_seed(&[2; 32]));
    for key in [&device, &server] {
        shown(PROTOCOL, &format!("{}\n{}", key.public(), key.id()));
    }
    let (game, account, now) = (catalog.game.clone(), device.id().guest_account(), 1_767_225_600);
    let enrolment = Enrolment::sign(&device, &game, now).expect("signs");
    shown(PROTOCOL, &serde_json::to_string(&enrolment).expect("serialises"));

    let order = Order {
        id: "00112233445566778899aabbccddeeff".parse().expect("an id"),
        device: device.id(),
        account: account.clone(),
        game: game.clone(),
        issued_at: now,
        sequence: 1,
        previous: None,
        product: "shield".parse().expect("a name"),
        quantity: 2,
        price: "0.005 EUR".parse().expect("an amount"),
        catalog: catalog.digest(),
        allowance: None,
    };
    let order_token = order.sign(&device).expect("signs");
    shown(PROTOCOL, &serde_json::to_string(&order).expect("serialises"));
    shown(PROTOCOL, order_token.as_str());
    shown(PROTOCOL, &order_token.sha256().to_string());
    let request = SyncRequest {
        device: device.id(),
        account: account.clone(),
        game: game.clone(),
        issued_at: now,
        id: "0f1e2d3c4b5a69788796a5b4c3d2e1f0".parse().expect("an id"),
        cursor: 0,
        orders: vec![order_token.clone()],
        keys: 0,
        allowance: None,
        consumptions: Vec::new(),
        wait: None,
    };
    let request = request.sign(&device).expect("signs");
    shown(PROTOCOL, request.as_str());
    shown(PROTOCOL, &request.sha256().to_string());

    let (_, shield) = catalog.product("shield").expect("it is sold");
    let receipt = Receipt {
        id: "ffeeddccbbaa99887766554433221100".parse().expect("an id"),
        server: server.id(),
        game: game.clone(),
        account: account.clone(),
        issued_at: now + 1,
        feed: 1,
        order: order.id,
        order_sha256: order_token.sha256(),
        status: Status::Granted,
        reason: None,
        product: order.product.clone(),
        quantity: order.quantity,
        amount: order.price.checked_mul(order.quantity).expect("in range"),
        grants: shield.grants(order.quantity, now + 1),
    };
    let receipt_token = receipt.sign(&server).expect("signs");
    shown(PROTOCOL, &serde_json::to_string(&receipt).expect("serialises"));
    shown(PROTOCOL, receipt_token.as_str());
    let available = Micros::new(990_000).expect("in range");
    let wallet = vec![Balance { currency: Currency::EUR, available, held: Micros::ZERO }];
    let response = SyncResponse {
        server: server.id(),
        account,
        game,
        issued_at: now + 1,
        request_sha256: request.sha256(),
        receipts: vec![receipt_token.clone()],
        cursor: 1,
        more: false,
        wallet: wallet.clone(),
        chain: Some(ChainHead { sequence: 1, order_sha256: order_token.sha256() }),
        catalog: catalog.digest(),
        allowances: Vec::new(),
        consumed_sequence: 0,
    };
    let claims = serde_json::to_string(&response).expect("serialises");
    shown(PROTOCOL, &claims.replace(receipt_token.as_str(), "eyJhbGci…"));
    shown(PROTOCOL, response.sign(&server).expect("signs").as_str());
    let consumption = consumption(&device, &server, &order);
    Example { order: (order, order_token), receipt: (receipt, receipt_token), wallet, consumption }
}

/// One of the shields is used up, and the server says so.
fn consumption(device: &SecretKey, server: &SecretKey, order: &Order) -> Token {
    let consumption = Consumption {
        id: "8899aabbccddeeff0011223344556677".parse().expect("an id"),
        device: device.id(),
        account: order.account.clone(),
        game: order.game.clone(),
        issued_at: order.issued_at + 100,
        sequence: 1,
        item: "shield".parse().expect("a name"),
        quantity: 1,
    };
    let token = consumption.sign(device).expect("signs");
    shown(PROTOCOL, &serde_json::to_string(&consumption).expect("serialises"));
    shown(PROTOCOL, token.as_str());
    let receipt = ConsumptionReceipt {
        id: "76543210fedcba9876543210fedcba98".parse().expect("an id"),
        server: server.id(),
        game: consumption.game,
        account: consumption.account,
        issued_at: consumption.issued_at + 1,
        feed: 2,
        consumption: consumption.id,
        consumption_sha256: token.sha256(),
        device: consumption.device,
        item: consumption.item,
        quantity: 1,
        status: ConsumptionStatus::Consumed,
        reason: None,
    };
    shown(PROTOCOL, &serde_json::to_string(&receipt).expect("serialises"));
    shown(PROTOCOL, receipt.sign(server).expect("signs").as_str());
    token
}

/// Whoever writes a client in another language checks it against this example.
#[test]
fn the_protocols_worked_example_is_what_the_code_signs() {
    example();
}

#[test]
fn the_journals_dump_is_what_the_code_writes() {
    let document = include_str!("../../docs/journal.md");
    let Example { order: (order, order_token), receipt: (receipt, receipt_token), wallet, consumption } = example();
    let mut settings = Settings::new(order.game.clone(), vec![SecretKey::from_seed(&[2; 32]).public()]);
    settings.offline_grants = OfflineGrants::Provisional;
    let key = SecretKey::from_seed(&[1; 32]);
    let opened = Opened { key: key.clone(), access: Access::ReadWrite, is_damaged: false, troubles: Vec::new() };
    let tick = Tick { elapsed: Duration::ZERO, unix: 0, random: [0; 16] };
    let mut opening = Machine::opening(settings, key);
    opening.replay(Record::Order(order_token.clone().into()));
    let (machine, ..) = opening.finish(opened, tick).expect("opens");
    // While the order is not answered it is kept, and sealed with it.
    let mut keep = machine.keeping();
    let mut seal = |record| keep(record).expect("it is kept");
    let records = [
        Record::Identity(Identity { game: order.game, device: order.device, account: order.account }),
        seal(Record::Order(order_token.into())),
        Record::Provisional(Provisional { order: order.id, grants: receipt.grants, allowance: None }),
        seal(Record::Receipt(receipt_token.into())),
        Record::Synced(Synced {
            cursor: 1,
            wallet,
            server_time: receipt.issued_at,
            follow: None,
            consumed_sequence: None,
        }),
        Record::Consumed(Consumed { item: "shield".parse().expect("a name"), quantity: 1, at: 1_767_225_700 }),
        Record::Consumption(consumption),
    ];
    let mut bytes = journal::header().to_vec();
    let mut frames = FrameWriter::default();
    for append in [&records[..1], &records[1..3], &records[3..5], &records[5..6], &records[6..]] {
        frames.append(append, &mut bytes);
    }
    assert!(document.contains(&format!("The last frame ends at offset {}.", bytes.len())));
    let mut lines = 0;
    for line in document.lines().filter(|line| line.ends_with('|') && line.starts_with('0')) {
        let offset = usize::from_str_radix(&line[..8], 16).expect("an offset");
        let dump: Vec<u8> =
            line[8..58].split_whitespace().map(|byte| u8::from_str_radix(byte, 16).expect("a byte")).collect();
        let written: Vec<u8> = (offset..offset + 16).map(|at| bytes.get(at).copied().unwrap_or_default()).collect();
        assert_eq!(dump, written, "{line}");
        lines += 1;
    }
    assert!(lines > 30, "{lines} lines");
}

#[test]
fn every_problem_is_in_the_documents_with_its_status() {
    for document in [PROTOCOL, include_str!("../../docs/errors.md")] {
        for kind in ProblemType::ALL {
            assert!(document.contains(&format!("| `{kind}` | {} |", kind.status())), "{kind}");
        }
    }
}

/// The tests that the document names are there.
#[test]
fn every_test_that_the_errors_name_is_there() {
    let document = include_str!("../../docs/errors.md");
    let mut named = 0;
    for (file, test) in document.split('`').filter_map(|part| part.strip_prefix("tests/")?.split_once("::")) {
        let path = format!("{}/tests/{file}", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        assert!(text.contains(&format!("fn {test}(")), "{file} has no {test}");
        named += 1;
    }
    assert!(named > 20, "{named} tests");
}
