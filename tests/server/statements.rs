//! The operator's commands that move money, and statements: their totals are those of the books.

use bevy_iap::protocol::Money;
use bevy_iap::server::clock::{Clock as _, SystemClock};
use bevy_iap::server::date::Date;
use bevy_iap::server::ledger::{BookReader, Ledger, SqliteLedger};
use bevy_iap::server::{cli, statement};
use rusqlite::Connection;

use crate::support::{Device, Shop, game};

/// What a command exited with, what it printed, and its errors.
fn run(shop: &Shop, arguments: &[&str]) -> (u8, String, String) {
    let data = shop.folder.path().to_str().expect("UTF-8");
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let place = ["--data", data];
    let all = ["iap-server"].iter().chain(arguments).chain(&place);
    let code = cli::run(all, &mut out, &mut err);
    (code, String::from_utf8(out).expect("text"), String::from_utf8(err).expect("text"))
}

fn works(shop: &Shop, arguments: &[&str]) -> String {
    let (code, out, err) = run(shop, arguments);
    // The id that was chosen is told before anything is done.
    assert!(code == cli::SUCCESS && (err.is_empty() || err.starts_with("id  ")), "{arguments:?}: {err}");
    out
}

fn fails(shop: &Shop, arguments: &[&str]) -> String {
    let (code, out, err) = run(shop, arguments);
    assert_eq!((code, out.as_str()), (cli::FAILURE, ""), "{arguments:?}: {err}");
    err
}

/// An operation id of one digit.
fn id(digit: &str) -> String {
    digit.repeat(32)
}

/// A shop in which skins were bought, some were refunded, and a creator was paid.
fn busy_shop() -> (Shop, Device) {
    let shop = Shop::open();
    let mut device = shop.device();
    let claims = device.claims("skin", 4);
    let order = device.sign(&claims);
    device.sync(&shop, 0, &[order]);
    works(&shop, &["refund", &claims.id.to_string(), "--quantity", "1", "--id", &id("1")]);
    works(&shop, &["payout", "ann", "0.1", "EUR", "--source", "bank", "--id", &id("2")]);
    (shop, device)
}

/// The balance of a kind of account, by the stored sums.
struct Sum(&'static str, i64);

impl BookReader for Sum {
    fn account(&mut self, row: bevy_iap::server::ledger::AccountRow) {
        let paid = row.lot.as_ref().is_none_or(|lot| lot.origin == "paid");
        if row.kind == self.0 && paid {
            self.1 += row.credits_posted - row.debits_posted;
        }
    }

    fn transfer(&mut self, _: bevy_iap::server::ledger::TransferRow) {}
    fn device(&mut self, _: bevy_iap::server::ledger::DeviceRow) {}
    fn order(&mut self, _: bevy_iap::server::ledger::OrderRow) {}
    fn receipt(&mut self, _: bevy_iap::server::ledger::ReceiptRow) {}
    fn hold(&mut self, _: bevy_iap::server::ledger::HoldRow) {}
    fn operation(&mut self, _: bevy_iap::server::ledger::OperationRow) {}
}

fn stored(shop: &Shop, kind: &'static str) -> i64 {
    let mut ledger = SqliteLedger::open(&shop.folder.path().join("store.sqlite"), &game()).expect("opens");
    let mut sum = Sum(kind, 0);
    ledger.read(&mut sum).expect("reads");
    sum.1
}

#[test]
fn creators_statement_adds_up_to_what_the_books_say_is_payable() {
    let (shop, _) = busy_shop();
    let csv = works(&shop, &["statement", "creator", "ann"]);
    let rows: Vec<Vec<&str>> = csv.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(rows[0], ["creator", "currency", "at", "kind", "transfer", "order", "amount", "balance", "origin"]);
    let lines: Vec<_> = rows[1..].iter().map(|row| (row[3], row[6], row[7])).collect();
    // 70 % of four skins, less one of them, less what was paid.
    assert_eq!((lines[0], lines[1]), (("opening", "", "0"), ("purchase", "0.196", "0.196")));
    assert_eq!(lines[2..4], [("refund", "-0.049", "0.147"), ("payout", "-0.1", "0.047")]);
    assert_eq!(lines[4], ("closing", "", "0.047"));
    let zoe = works(&shop, &["statement", "creator", "zoe", "--format", "json"]);
    let zoe: serde_json::Value = serde_json::from_str(&zoe).expect("JSON");
    assert_eq!(zoe[0]["closing"]["micros"], 26_250);
    assert_eq!(stored(&shop, "payable"), 47_000 + 26_250);
}

#[test]
fn sales_for_money_that_nobody_paid_are_told_apart_in_a_creators_statement() {
    let shop = Shop::open();
    let mut device = shop.device();
    let account = device.account();
    works(&shop, &["credit", account.as_str(), "2", "EUR", "--source", "card", "--id", &id("1")]);
    // The first order takes all of the welcome credit and 0.05 of the card's money, the second the card's alone.
    let (first, second) = (device.claims("skin", 15), device.claims("skin", 1));
    let one = device.sign(&first);
    let mut second = second;
    (second.sequence, second.previous) = (2, Some(one.sha256()));
    let two = device.sign(&second);
    device.sync(&shop, 0, &[one, two]);
    works(&shop, &["refund", &first.id.to_string()]);
    works(&shop, &["payout", "ann", "0.049", "EUR", "--source", "bank", "--id", &id("2")]);
    let csv = works(&shop, &["statement", "creator", "ann"]);
    let rows = csv.lines().skip(1).map(|line| line.split(',').collect::<Vec<_>>());
    let mut sums = std::collections::BTreeMap::new();
    for row in rows {
        let amount = format!("{}EUR", row[6]).parse().map_or(0, |amount: Money| amount.micros.value());
        *sums.entry((row[3].to_owned(), row[8].to_owned())).or_insert(0) += amount;
    }
    let sum = |kind: &str, origin: &str| sums.get(&(kind.to_owned(), origin.to_owned())).copied().unwrap_or_default();
    assert_eq!(sum("purchase", "promotional") + sum("purchase", "paid"), 784_000);
    assert_eq!(sum("refund", "promotional"), -sum("purchase", "promotional"));
    // What was bought for paid money alone is what is left of it, and was paid out.
    assert_eq!((sum("purchase", "paid") + sum("refund", "paid"), sum("payout", "")), (49_000, -49_000));
    assert!(sum("purchase", "promotional") > 0 && csv.contains("closing,,,,0,\n"), "{csv}");
}

#[test]
fn creators_statement_has_what_was_before_it_in_its_opening_balance() {
    let (shop, _) = busy_shop();
    let later = works(&shop, &["statement", "creator", "ann", "--from", "9000-01-01"]);
    assert_eq!(later.lines().count(), 3);
    assert!(later.contains("9000-01-01T00:00:00Z,opening,,,,0.047"), "{later}");
    let earlier = works(&shop, &["statement", "creator", "ann", "--until", "1970-01-02"]);
    assert!(earlier.contains("1970-01-02T00:00:00Z,closing,,,,0"), "{earlier}");
    assert_eq!(works(&shop, &["statement", "creator", "nobody"]).lines().count(), 1);
    assert_eq!(run(&shop, &["statement", "creator", "ann", "--from", "31.1.2026"]).0, cli::USAGE);
}

#[test]
fn unused_paid_balance_is_what_the_paid_lots_hold() {
    let (shop, mut device) = busy_shop();
    let account = device.account();
    works(&shop, &["credit", account.as_str(), "2", "EUR", "--source", "card", "--fee", "0.3", "--id", &id("3")]);
    works(&shop, &["credit", account.as_str(), "5", "EUR", "--promotional", "--source", "gift"]);
    let order = device.order("shield", 1_000);
    device.sync(&shop, 2, &[order]);
    let order = device.order("shield", 300);
    device.sync(&shop, 2, &[order]);
    let csv = works(&shop, &["statement", "unused"]);
    // 5.00 of welcome and gift less than what both orders cost was paid by the card's lot.
    let unused = stored(&shop, "wallet");
    assert_eq!(unused, 2_000_000 - (6_500_000 - 5_000_000 - (1_000_000 - 210_000)));
    let sum = csv.lines().find(|line| line.starts_with("unused,")).expect("a sum");
    assert_eq!(sum, "unused,,EUR,,,,,1.29");
    assert!(csv.contains(",card,") && !csv.contains("gift"), "{csv}");
    assert!(!works(&shop, &["statement", "unused", "--at", "1970-01-02"]).contains("\nlot,"));

    let told = works(&shop, &["refund-credit", &id("3"), "--amount", "2"]);
    assert!(told.starts_with(&format!("gave back 2.00 EUR; {account} now owes 0.71 EUR\nid  ")), "{told}");
    assert!(works(&shop, &["show", account.as_str()]).contains("wallet    owes 0.71 EUR"));
    let json: serde_json::Value =
        serde_json::from_str(&works(&shop, &["statement", "unused", "--format", "json"])).expect("JSON");
    assert_eq!((&json["unused"][0]["micros"], &json["owed"][0]["micros"]), (&0.into(), &710_000.into()));
    assert!(works(&shop, &["audit"]).ends_with("no differences\n"));
}

#[test]
fn holds_are_made_taken_and_given_free_on_the_command_line() {
    let shop = Shop::open();
    let device = shop.device();
    let account = device.account();
    let hold = |digit: &str| {
        let until = ["--expires-at", "9000-01-01"];
        works(&shop, &["hold", account.as_str(), "0.4", "EUR", until[0], until[1], "--id", &id(digit)])
    };
    assert!(hold("1").contains("now holds 0.60 EUR, and 0.40 EUR is set aside"));
    hold("2");
    assert_eq!(hold("2"), hold("2"), "once");
    assert!(works(&shop, &["post", &id("1"), "--amount", "0.1"]).contains("took 0.10 EUR"));
    assert!(works(&shop, &["void", &id("2")]).contains("now holds 0.90 EUR\n"));
    assert!(fails(&shop, &["void", &id("1")]).contains("was posted before; a hold is resolved once"));
    assert!(fails(&shop, &["post", &id("3")]).contains("there is no hold"));
    let past = ["hold", account.as_str(), "0.4", "EUR", "--expires-at", "2020-01-01"];
    assert!(fails(&shop, &past).contains("write a later time"));
    assert_eq!(device.euros(&shop), 900_000);
}

#[test]
fn refused_operation_is_told_alike_under_its_id_for_ever() {
    let (shop, device) = busy_shop();
    let account = device.account();
    let payout = ["payout", "ann", "5", "EUR", "--source", "bank", "--id", &id("8")];
    let told = fails(&shop, &payout);
    assert!(told.contains("5.00 EUR cannot be paid out; 0.047 EUR is payable"), "{told}");
    assert_eq!(fails(&shop, &payout), told);
    let other = fails(&shop, &["credit", account.as_str(), "1", "EUR", "--id", &id("8")]);
    assert!(other.contains("was used for another operation; use each id for one"), "{other}");
}

#[test]
fn statement_keeps_in_memory_what_it_tells_and_nothing_else() {
    let (shop, _) = busy_shop();
    let path = shop.folder.path().join("store.sqlite");
    let others = "WITH RECURSIVE numbers (number) AS (VALUES (1) UNION ALL SELECT number + 1 FROM numbers LIMIT 20000)
        INSERT INTO transfers SELECT randomblob(16), zeroblob(16), zeroblob(16), 1, 'purchase', zeroblob(16), NULL, 1
        FROM numbers";
    let books = Connection::open(&path).expect("opens");
    assert_eq!(books.execute(others, []).expect("they are written"), 20_000);
    let mut ledger = SqliteLedger::open(&path, &game()).expect("opens");
    let (ann, now) = ("ann".parse().expect("a creator"), i64::MAX);
    let used = allocation_counter::measure(|| {
        let statement = statement::creator(&mut ledger, &ann, 0, now).expect("reads");
        assert_eq!(statement[0].lines.len(), 3);
    });
    assert!(used.bytes_max < 50_000, "{used:?}");
    let used = allocation_counter::measure(|| assert!(statement::unused(&mut ledger, now).is_ok()));
    assert!(used.bytes_max < 50_000, "{used:?}");
}

#[test]
fn statement_that_may_still_change_is_refused() {
    let (shop, _) = busy_shop();
    let ago = |seconds: i64| Date(SystemClock.now() - seconds).to_string();
    let refused = "transfers of before it may still be written";
    for at in [ago(20), "9000-01-01".to_owned()] {
        let told = fails(&shop, &["statement", "creator", "ann", "--until", &at]);
        assert!(told.contains(refused) && told.contains("leave --until out"), "{told}");
        let told = fails(&shop, &["statement", "unused", "--at", &at]);
        assert!(told.contains(refused) && told.contains("leave --at out"), "{told}");
    }
    works(&shop, &["statement", "creator", "ann", "--until", &ago(70)]);
    works(&shop, &["statement", "unused", "--at", &ago(70)]);
    let csv = works(&shop, &["statement", "creator", "ann"]);
    assert!(csv.contains("closing,,,,0.047"), "{csv}");
}
