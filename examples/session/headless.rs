//! The same game without a window: a session that buys online and offline, is killed, and comes back.
//!
//! The store's server runs in this process; the game is a process of its own, this program again with `--client`,
//! which is told by lines what to do and answers in lines what happened. So it can be killed for real.

mod client;
mod kills;
mod player;
pub mod server;

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bevy_iap::protocol::{GameId, Jwk, JwkSet, PublicKey, Receipt, Status, Token};
use client::Client;
use player::{Player, Standing};
use serde::Serialize;
use server::{ASSETS, CATALOG, WELCOME};

/// Runs the session that the arguments ask for, if they do; without a display they always do.
pub fn asked_for(arguments: &[String]) -> Option<ExitCode> {
    let behind = |name: &str| arguments.iter().position(|word| word == name).map(|at| &arguments[at + 1..]);
    if let Some(words) = behind("--client") {
        let [save, url, key, connection, ..] = words else {
            return Some(misused("--client needs a save folder, a URL, a key, and online or offline"));
        };
        let (url, key) = (url.clone(), key.clone());
        return Some(client::run(&Client { save: save.into(), url, key, offline: connection == "offline" }));
    }
    if let Some(words) = behind("--kills") {
        let count = words.first().and_then(|count| count.parse().ok());
        return Some(count.map_or_else(|| misused("--kills needs a number"), kills::run));
    }
    if behind("--headless").is_none() {
        if has_display() {
            return None;
        }
        println!("There is no display here, so the demo plays without a window.");
    }
    Some(play())
}

fn has_display() -> bool {
    !cfg!(target_os = "linux") || ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|name| std::env::var_os(name).is_some())
}

fn misused(mistake: &str) -> ExitCode {
    eprintln!("{mistake}");
    ExitCode::from(2)
}

/// The last line of a session.
#[derive(Serialize)]
struct Summary {
    orders: usize,
    granted: usize,
    declined: usize,
    receipts_verified: usize,
    wallet: String,
    provisional_left: usize,
}

/// Plays the session and says whether everything ended as it must.
pub fn play() -> ExitCode {
    match session() {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => {
            eprintln!("the session failed: {trouble}");
            ExitCode::FAILURE
        }
    }
}

/// The catalogue's file.
fn catalog() -> PathBuf {
    Path::new(ASSETS).join(CATALOG)
}

fn session() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let server = server::start(&folder.path().join("server"), &catalog(), WELCOME)?;
    println!("the store's server runs at {} with the key {}", server.url(), server.public_key());
    let save = folder.path().join("save");

    let mut player = Player::start(&save, &server)?;
    println!("the game runs without a window; its player got {WELCOME} to begin with");
    for product in ["double_jump", "shield", "shield"] {
        player.buy_until(product, "Granted")?;
    }
    player.buy_until("mansion", "Declined")?;

    player.tell("offline")?;
    for product in ["skin", "shield"] {
        player.buy_until(product, "Queued")?;
    }
    let before = player.standing()?;
    println!("offline, {} orders are queued and {} grants are provisional", before.queued, before.provisional.len());
    player.kill()?;
    println!("the game's process was killed (SIGKILL)");

    let mut player = Player::start_offline(&save, &server)?;
    let after = player.standing()?;
    println!("it runs again, still offline: {} orders are queued, nothing was lost", after.queued);
    if after != before {
        return Err(format!("before the kill there was {before:?}, and after it {after:?}").into());
    }
    player.tell("online")?;
    player.until("everything is answered", |standing| standing.queued == 0)?;
    println!("online again: every order is answered");
    player.buy_until("day_pass", "Granted")?;
    player.tell("consume shield")?;
    player.until("a shield is used up", |standing| standing.shields == 2)?;

    let standing = player.standing()?;
    let receipts = player.receipts()?;
    player.kill()?;
    let verified = verify(&receipts, server.public_key(), &standing)?;
    keep_for_looking(&receipts, server.public_key())?;
    let audit = server.audit()?;
    println!("the server's audit: {audit}");
    let summary = Summary {
        orders: standing.orders,
        granted: standing.granted,
        declined: standing.declined,
        receipts_verified: verified,
        wallet: standing.wallet,
        provisional_left: standing.provisional.len(),
    };
    println!("{}", serde_json::to_string(&summary)?);
    let expected = summary.orders == 7 && summary.granted == 6 && summary.declined == 1 && verified == summary.orders;
    match expected && summary.provisional_left == 0 && audit.is_clean() {
        true => Ok(()),
        false => Err("it did not end as it must: see the summary above".into()),
    }
}

/// Verifies every receipt once more, as somebody who only has the server's key would.
fn verify(receipts: &[Token], key: PublicKey, standing: &Standing) -> Result<usize, Box<dyn Error>> {
    let game = GameId::new("arcade")?;
    let mut granted = 0;
    for token in receipts {
        let receipt = Receipt::verify(token, &[key], &game)?;
        granted += usize::from(receipt.status == Status::Granted);
        println!("receipt {} verified: {} is {:?}, {}", receipt.id, receipt.product, receipt.status, receipt.amount);
    }
    match granted == standing.granted {
        true => Ok(receipts.len()),
        false => Err(format!("{granted} receipts grant, but {} orders are granted", standing.granted).into()),
    }
}

/// Leaves a receipt and the keys in `target/arcade`, for the example `verify_receipt`.
fn keep_for_looking(receipts: &[Token], key: PublicKey) -> Result<(), Box<dyn Error>> {
    let folder = Path::new("target/arcade");
    fs::create_dir_all(folder)?;
    let (keys, receipt) = (folder.join("keys.json"), folder.join("receipt.jws"));
    fs::write(&keys, serde_json::to_string(&JwkSet { keys: vec![Jwk::from(key)] })?)?;
    fs::write(&receipt, receipts.last().map_or("", Token::as_str))?;
    println!(
        "verify the last receipt yourself: cargo run --example verify_receipt -- {} {} arcade",
        keys.display(),
        receipt.display()
    );
    Ok(())
}
