//! Kills the game's process at random moments while it buys, and compares what it said with the server's books.
//!
//! An order is acknowledged when the game says `Queued`. The player can pay for all of them, so every acknowledged
//! order must end granted, with one receipt, and the game must end with as many shields as the books say.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use super::player::Player;
use super::server;
use bevy_iap::protocol::{GameId, OrderId, Receipt, Status, Token};
use bevy_iap::server::DataFolder;
use bevy_iap::server::ledger::{
    AccountRow, BookReader, DeviceRow, HoldRow, OperationRow, OrderRow, ReceiptRow, TransferRow,
};

/// Kills the game `count` times, and says whether anything was lost or doubled.
pub fn run(count: u32) -> ExitCode {
    match kill(count) {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => {
            eprintln!("the kills failed: {trouble}");
            ExitCode::FAILURE
        }
    }
}

fn kill(count: u32) -> Result<(), Box<dyn Error>> {
    let started = Instant::now();
    let folder = tempfile::tempdir()?;
    let server = server::start(&folder.path().join("server"), &super::catalog(), "1000EUR")?;
    let save = folder.path().join("save");
    let mut acknowledged = Vec::new();
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..count {
        let mut player = Player::start(&save, &server)?;
        // Somewhere in a burst of orders: from before the first byte is written to after the last receipt.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let moment = Instant::now() + Duration::from_micros(random % 40_000);
        let mut lines = Vec::new();
        while Instant::now() < moment {
            player.tell("buy shield")?;
            lines.extend(player.line(Duration::from_micros(500)));
        }
        lines.extend(player.kill_and_hear()?);
        acknowledged.extend(lines.iter().filter_map(|line| queued(line)));
    }

    let mut player = Player::start(&save, &server)?;
    player.until("everything is answered", |standing| standing.queued == 0)?;
    let standing = player.standing()?;
    player.kill()?;
    // The game is shown its latest receipts alone, so all of them are read from the books.
    let mut receipts = Receipts::default();
    DataFolder::open(&folder.path().join("server"))?.books()?.read(&mut receipts)?;

    let mut answered: BTreeMap<OrderId, usize> = BTreeMap::new();
    let mut granted = BTreeSet::new();
    for token in &receipts.0 {
        let receipt = Receipt::verify(token, &[server.public_key()], &GameId::new("arcade")?)?;
        *answered.entry(receipt.order).or_default() += 1;
        if receipt.status == Status::Granted {
            granted.insert(receipt.order);
        }
    }
    acknowledged.sort_unstable();
    acknowledged.dedup();
    let lost = acknowledged.iter().filter(|order| !granted.contains(*order)).count();
    let doubled = answered.values().filter(|&&receipts| receipts > 1).count();
    let audit = server.audit()?;
    println!("the server's audit: {audit}");
    println!(
        "{{\"kills\":{count},\"acknowledged\":{},\"answered\":{},\"granted\":{},\"shields\":{},\"lost\":{lost},\
         \"doubled\":{doubled},\"seconds\":{}}}",
        acknowledged.len(),
        answered.len(),
        granted.len(),
        standing.shields,
        started.elapsed().as_secs()
    );
    let right =
        lost == 0 && doubled == 0 && u64::try_from(granted.len())? == standing.shields && !acknowledged.is_empty();
    match right && audit.is_clean() && u64::try_from(answered.len())? == audit.orders {
        true => Ok(()),
        false => Err("something was lost or doubled: see the line above".into()),
    }
}

/// The receipts in the server's books.
#[derive(Default)]
struct Receipts(Vec<Token>);

impl BookReader for Receipts {
    fn account(&mut self, _: AccountRow) {}

    fn transfer(&mut self, _: TransferRow) {}

    fn device(&mut self, _: DeviceRow) {}

    fn order(&mut self, _: OrderRow) {}

    fn receipt(&mut self, row: ReceiptRow) {
        self.0.push(Token::from_text(&row.token));
    }

    fn hold(&mut self, _: HoldRow) {}

    fn operation(&mut self, _: OperationRow) {}
}

fn queued(line: &str) -> Option<OrderId> {
    let mut words = line.strip_prefix("order ")?.split(' ');
    let order = words.next()?.parse().ok()?;
    (words.nth(1)? == "Queued").then_some(order)
}
