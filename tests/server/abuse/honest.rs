//! Players who buy now and then, and how long each waits for an answer.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bevy_iap::protocol::sync::Enrolment;
use tokio::runtime::Handle;
use tokio::sync::Mutex;
use tokio::time::{Instant, interval, timeout};

use super::{address, wire};
use crate::support::{Device, game};

/// How many there are, and how often each buys: 80 requests a second together.
pub const PLAYERS: usize = 16;
pub const EVERY: Duration = Duration::from_millis(200);
/// When a request has failed, at the latest.
const PATIENCE: Duration = Duration::from_secs(10);

/// Somebody who buys, from where, and how many receipts they have: an answer holds what is new, and not all of them again.
pub struct Buyer {
    device: Device,
    from: IpAddr,
    receipts: u64,
}

pub type Player = Arc<Mutex<Buyer>>;

/// What honest players felt.
#[derive(Debug)]
pub struct Figures {
    pub answered: usize,
    pub failed: usize,
    pub median: Duration,
    pub slowest_hundredth: Duration,
}

/// Players who have joined, each at an address of their own.
pub async fn players(server: SocketAddr) -> Vec<Player> {
    let mut players = Vec::new();
    for number in 0..PLAYERS {
        let (device, from) = (Device::new(), address(1, number));
        enrol(&device, from, server).await;
        players.push(Arc::new(Mutex::new(Buyer { device, from, receipts: 0 })));
    }
    players
}

pub async fn enrol(device: &Device, from: IpAddr, server: SocketAddr) {
    let enrolment = Enrolment::sign(&device.key, &game(), 0).expect("signs");
    let body = serde_json::to_vec(&enrolment).expect("serialises");
    let status = wire::ask(from, server, &wire::post("/v1/devices", "application/json", &body)).await;
    assert_eq!(status.expect("an answer"), 201);
}

/// Lets all of them buy for a time, on a runtime of their own.
pub async fn measure(on: &Handle, players: &[Player], server: SocketAddr, time: Duration) -> Figures {
    let until = Instant::now() + time;
    let buying: Vec<_> = players.iter().map(|player| on.spawn(buy(Arc::clone(player), server, until))).collect();
    let (mut times, mut failed) = (Vec::new(), 0);
    for buying in buying {
        let (answered, refused) = buying.await.expect("ends");
        times.extend(answered);
        failed += refused;
    }
    times.sort();
    let at = |share: usize| times.get(times.len() * share / 100).copied().unwrap_or(PATIENCE);
    Figures { answered: times.len(), failed, median: at(50), slowest_hundredth: at(99) }
}

async fn buy(player: Player, server: SocketAddr, until: Instant) -> (Vec<Duration>, usize) {
    let mut player = player.lock().await;
    let (mut times, mut failed) = (Vec::new(), 0);
    let mut now_and_then = interval(EVERY);
    while Instant::now() < until {
        now_and_then.tick().await;
        let Buyer { device, from, receipts } = &mut *player;
        let order = device.order("gift", 1);
        let request = device.request(*receipts, &[order]).sign(&device.key).expect("signs");
        let request = wire::post("/v1/sync", "application/jose", request.as_str().as_bytes());
        let started = Instant::now();
        match timeout(PATIENCE, wire::ask(*from, server, &request)).await {
            Ok(Ok(200)) => {
                times.push(started.elapsed());
                *receipts += 1;
            }
            _ => failed += 1,
        }
    }
    (times, failed)
}
