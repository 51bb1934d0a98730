//! Those who want the server to fail, each from several addresses unless it says otherwise.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;
use tokio::time::{interval, sleep, timeout};

use super::honest::{EVERY, PLAYERS, enrol};
use super::{address, wire};
use crate::support::Device;

/// How many connections are silent, and how many slow.
const CONNECTIONS: usize = 5_000;
/// From how many addresses, so that none has more than it may.
const ADDRESSES: usize = 40;
/// How long a slow client waits before its next byte.
const SLOWNESS: Duration = Duration::from_secs(1);

#[derive(Clone, Copy)]
pub enum Attack {
    /// Ten times the honest load in requests whose signature is wrong.
    BadSignatures,
    /// The same, from one address.
    BadSignaturesOfOne,
    /// Connections that send nothing, opened again whenever they are closed.
    Silent,
    /// Connections that send a byte now and then, half of them of the head and half of the body.
    Slow,
    /// Bodies of ten megabytes, told and untold.
    Oversized,
}

/// Attacks that go on.
pub struct UnderWay(JoinSet<()>);

impl UnderWay {
    pub async fn end(mut self) {
        self.0.shutdown().await;
        // Until the server has seen that they are gone.
        sleep(Duration::from_secs(1)).await;
    }
}

pub async fn begin(attacks: &[Attack], server: SocketAddr) -> UnderWay {
    let mut under_way = JoinSet::new();
    for attack in attacks {
        match attack {
            Attack::BadSignatures => bad_signatures(&mut under_way, server, ADDRESSES).await,
            Attack::BadSignaturesOfOne => bad_signatures(&mut under_way, server, 1).await,
            Attack::Silent => {
                for number in 0..CONNECTIONS {
                    under_way.spawn(silent(address(3, number % ADDRESSES), server));
                }
            }
            Attack::Slow => {
                for number in 0..CONNECTIONS {
                    under_way.spawn(slow(address(4, number % ADDRESSES), server, number % 2 == 0));
                }
            }
            Attack::Oversized => {
                for number in 0..ADDRESSES {
                    under_way.spawn(oversized(address(5, number), server, number % 2 == 0));
                }
            }
        }
    }
    UnderWay(under_way)
}

async fn bad_signatures(under_way: &mut JoinSet<()>, server: SocketAddr, addresses: usize) {
    // Of a device that is enrolled: for others, no signature is verified at all.
    let mut device = Device::new();
    enrol(&device, address(2, 200), server).await;
    let orders: Vec<_> = (0..10).map(|_| device.order("gift", 1)).collect();
    let good = device.request(0, &orders).sign(&device.key).expect("signs");
    let other = device.request(1, &orders).sign(&device.key).expect("signs");
    let (start, _) = good.as_str().rsplit_once('.').expect("a compact JWS");
    let (_, signature) = other.as_str().rsplit_once('.').expect("a compact JWS");
    let request = wire::post("/v1/sync", "application/jose", format!("{start}.{signature}").as_bytes());
    for number in 0..ADDRESSES {
        let (request, from) = (request.clone(), address(2, number % addresses));
        under_way.spawn(async move {
            // Ten times as many requests as all players send.
            let every = EVERY * u32::try_from(ADDRESSES).expect("few") / u32::try_from(PLAYERS * 10).expect("few");
            let mut often = interval(every);
            loop {
                often.tick().await;
                let _ = timeout(Duration::from_secs(5), wire::ask(from, server, &request)).await;
            }
        });
    }
}

async fn silent(from: IpAddr, server: SocketAddr) {
    loop {
        if let Ok(mut stream) = wire::connect(from, server).await {
            let _ = stream.read(&mut [0; 64]).await;
        }
        sleep(SLOWNESS).await;
    }
}

async fn slow(from: IpAddr, server: SocketAddr, in_body: bool) {
    let head = b"POST /v1/sync HTTP/1.1\r\nhost: x\r\ncontent-type: application/jose\r\ncontent-length: 100000\r\n";
    loop {
        if let Ok(mut stream) = wire::connect(from, server).await {
            let begun = stream.write_all(head).await.is_ok() && (!in_body || stream.write_all(b"\r\n").await.is_ok());
            while begun && stream.write_all(b"a").await.is_ok() {
                sleep(SLOWNESS).await;
            }
        }
        sleep(SLOWNESS).await;
    }
}

async fn oversized(from: IpAddr, server: SocketAddr, told: bool) {
    let head = "POST /v1/sync HTTP/1.1\r\nhost: x\r\ncontent-type: application/jose\r\n";
    let head = match told {
        true => format!("{head}content-length: 10485760\r\n\r\n"),
        false => format!("{head}transfer-encoding: chunked\r\n\r\n"),
    };
    let chunk = format!("10000\r\n{}\r\n", "a".repeat(65_536));
    loop {
        if let Ok(mut stream) = wire::connect(from, server).await
            && stream.write_all(head.as_bytes()).await.is_ok()
        {
            while stream.write_all(chunk.as_bytes()).await.is_ok() {}
        }
        sleep(Duration::from_millis(50)).await;
    }
}
