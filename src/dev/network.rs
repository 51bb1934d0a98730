//! A network that can be bad: real HTTP, with the sandbox in between.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::watch;

use super::SandboxControl;
use crate::client::transport::http::{HttpTransport, REQUEST_LIMIT};
use crate::client::transport::{Pending, Request, Transport, TransportError};
use crate::protocol::{AccountId, KeyId, base64url};

/// How the network between the game and its server is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Network {
    /// As it is.
    #[default]
    Normal,
    /// Every request takes so much longer to arrive. One that takes longer than the client waits, 20 seconds, never does.
    Slow(Duration),
    /// Requests go out and nothing ever comes back, until the client's time limit. They do not arrive.
    NeverAnswers,
    /// There is none: every request fails at once, also those under way.
    Cut,
    /// Requests arrive, and the server does what they ask for; its answers do not arrive.
    LosesAnswers,
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Normal => f.write_str("normal"),
            Self::Slow(by) => write!(f, "slow by {} s", by.as_secs_f32()),
            Self::NeverAnswers => f.write_str("never answers"),
            Self::Cut => f.write_str("cut"),
            Self::LosesAnswers => f.write_str("loses answers"),
        }
    }
}

/// Who spoke to the server last.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Speaker {
    #[serde(rename = "iss")]
    pub(super) device: KeyId,
    #[serde(rename = "sub")]
    pub(super) account: AccountId,
}

impl Speaker {
    /// Whoever signs this request, if it is a sync. It is the game's own word, so it need not be verified.
    fn of(request: &Request) -> Option<Self> {
        let text = std::str::from_utf8(&request.body).ok().filter(|_| request.path == "/v1/sync")?;
        serde_json::from_slice(&base64url::decode(text.split('.').nth(1)?)?).ok()
    }
}

/// The game's last speaker, which the control asks for.
pub(super) type LastSpeaker = Arc<Mutex<Option<Speaker>>>;

/// HTTP over a network that is as the sandbox says.
#[derive(Debug)]
pub(super) struct SandboxTransport {
    http: HttpTransport,
    url: String,
    network: watch::Receiver<Network>,
    speaker: LastSpeaker,
}

impl SandboxTransport {
    pub(super) fn new(http: HttpTransport, url: &str, control: &SandboxControl) -> Self {
        Self { http, url: url.to_owned(), network: control.network_watch(), speaker: control.speaker() }
    }
}

impl Transport for SandboxTransport {
    fn send(&self, request: Request) -> Pending {
        if let Some(speaker) = Speaker::of(&request) {
            *self.speaker.lock().unwrap_or_else(PoisonError::into_inner) = Some(speaker);
        }
        let (http, url) = (self.http.clone(), self.url.clone());
        let mut network = self.network.clone();
        Box::pin(async move {
            let began = *network.borrow_and_update();
            let sent = carry(began, &http, request, network.clone());
            tokio::select! {
                biased;
                () = breaks(began, &mut network) => {
                    let cause = match *network.borrow() {
                        Network::Cut => "the sandbox has cut the network",
                        _ => "the sandbox has changed the network",
                    };
                    Err(TransportError::NotReached { url, cause: cause.to_owned() })
                }
                answer = sent => answer,
            }
        })
    }
}

/// Carries a request and its answer.
async fn carry(
    began: Network,
    http: &HttpTransport,
    request: Request,
    network: watch::Receiver<Network>,
) -> <Pending as Future>::Output {
    let limit = REQUEST_LIMIT + request.hold;
    let late = match began {
        Network::Slow(by) => by.min(limit),
        Network::NeverAnswers => limit,
        Network::Normal | Network::Cut | Network::LosesAnswers => Duration::ZERO,
    };
    tokio::time::sleep(late).await;
    if late == limit {
        return Err(TransportError::TimedOut);
    }
    let answer = http.send(request).await?;
    // What the network is now: an answer may have been long in coming.
    match *network.borrow() {
        Network::LosesAnswers => Err(TransportError::TimedOut),
        _ => Ok(answer),
    }
}

/// Ends when the network breaks what is under way: it is cut, or no longer the one that never answers.
async fn breaks(began: Network, network: &mut watch::Receiver<Network>) {
    let broken = |now: &Network| *now == Network::Cut || began == Network::NeverAnswers && *now != began;
    if network.wait_for(broken).await.is_err() {
        // The sandbox is gone, and changes nothing any more.
        std::future::pending::<()>().await;
    }
}
