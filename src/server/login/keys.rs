//! The login's keys: where they are, when they are fetched, and for how long they are good.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jsonwebtoken::Algorithm;
use jsonwebtoken::crypto::aws_lc;
use jsonwebtoken::jwk::JwkSet;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;

use super::token::LoginKey;
use super::{LoginConfig, LoginError};
use crate::server::problem::Refusal;

/// How long after keys were asked for they are asked for again, at the earliest.
const PAUSE: Duration = Duration::from_secs(60);
/// How old keys may be before newer ones are asked for.
const FRESH: Duration = Duration::from_secs(3_600);
/// How old keys may be where no newer ones can be had.
const STALE: Duration = Duration::from_secs(86_400);
/// How long asking for them may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest document that is read.
const MOST_BYTES: usize = 256 * 1024;

/// Where keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// Where the issuer says.
    Issuer(String),
    Url(String),
    File(String),
}

/// The login's keys, as far as they are known.
#[derive(Debug)]
pub(super) struct LoginKeys {
    place: Place,
    client: reqwest::Client,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    keys: Arc<Vec<LoginKey>>,
    /// When these were fetched.
    fetched: Option<Instant>,
    /// When they were last asked for, whatever came of it.
    asked: Option<Instant>,
}

impl Known {
    fn is_younger(&self, age: Duration) -> bool {
        self.fetched.is_some_and(|fetched| fetched.elapsed() < age)
    }

    /// The key of this id, or where a token names none, the only one that there is.
    fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Option<LoginKey> {
        let mut found = self.keys.iter().filter(|key| key.algorithm == algorithm);
        match id {
            Some(id) => found.find(|key| key.id.as_deref() == Some(id)).cloned(),
            None => found.next().filter(|_| found.next().is_none()).cloned(),
        }
    }
}

impl LoginKeys {
    pub(super) fn new(config: &LoginConfig) -> Result<Self, LoginError> {
        // Another part of the process may have chosen another one, which is as good.
        let _ = aws_lc::DEFAULT_PROVIDER.install_default();
        let place = match &config.keys {
            None => Place::Issuer(config.issuer.clone()),
            Some(url) if url.starts_with("http://") || url.starts_with("https://") => Place::Url(url.clone()),
            Some(path) => Place::File(path.clone()),
        };
        if let Place::Issuer(url) | Place::Url(url) = &place
            && !is_safe(url)
        {
            return Err(LoginError::NotSafe(url.clone()));
        }
        if let Place::File(path) = &place {
            let problem = |problem| LoginError::File { path: path.clone(), problem };
            let text = std::fs::read(path).map_err(|error| problem(error.to_string()))?;
            parse(&text).map_err(problem)?;
        }
        let client = reqwest::Client::builder()
            .timeout(PATIENCE)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("bevy_iap/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| LoginError::NoClient(error.to_string()))?;
        Ok(Self { place, client, known: Mutex::default() })
    }

    /// The key of this id, from memory or from the login. None, if the login has no such key.
    ///
    /// # Errors
    /// The login cannot be asked now.
    pub(super) async fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Result<Option<LoginKey>, Refusal> {
        // Whoever comes second waits here for what the first one fetches.
        let mut known = self.known.lock().await;
        let found = known.find(id, algorithm).filter(|_| known.is_younger(STALE));
        if found.is_some() && known.is_younger(FRESH) {
            return Ok(found);
        }
        if known.asked.is_some_and(|asked| asked.elapsed() < PAUSE) {
            // Where the last answer said that there is no such key, there is none; where there was none, nobody knows.
            let answered = known.fetched.is_some() && known.fetched >= known.asked;
            return if found.is_some() || answered { Ok(found) } else { Err(away()) };
        }
        known.asked = Some(Instant::now());
        match self.fetch().await {
            Ok(keys) => {
                known.keys = Arc::new(keys);
                known.fetched = Some(Instant::now());
                Ok(known.find(id, algorithm))
            }
            Err(problem) => {
                tracing::error!("the login's keys cannot be had: `{problem}`");
                found.map(Some).ok_or_else(away)
            }
        }
    }

    async fn fetch(&self) -> Result<Vec<LoginKey>, String> {
        #[derive(Deserialize)]
        struct Discovery {
            issuer: String,
            jwks_uri: String,
        }
        let url = match &self.place {
            Place::File(path) => {
                let text = tokio::fs::read(path).await.map_err(|error| format!("{path}: {error}"))?;
                return parse(&text);
            }
            Place::Url(url) => url.clone(),
            Place::Issuer(issuer) => {
                let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
                let found: Discovery = from_json(&self.get(&url).await?)?;
                if found.issuer != *issuer || !is_safe(&found.jwks_uri) {
                    return Err(format!(
                        "{url} is of the issuer {:?}, with keys at {:?}",
                        found.issuer, found.jwks_uri
                    ));
                }
                found.jwks_uri
            }
        };
        parse(&self.get(&url).await?)
    }

    async fn get(&self, url: &str) -> Result<Vec<u8>, String> {
        let told = |error: reqwest::Error| format!("{url}: {error}");
        let mut answer = self.client.get(url).send().await.map_err(told)?;
        if answer.status() != reqwest::StatusCode::OK {
            return Err(format!("{url}: it answers {}", answer.status()));
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(told)? {
            if bytes.len() + chunk.len() > MOST_BYTES {
                return Err(format!("{url}: it is longer than {MOST_BYTES} bytes"));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }
}

fn away() -> Refusal {
    let detail = "the game's login does not answer; sign in again later";
    Refusal { detail: detail.to_owned(), retry_after: Some(PAUSE.as_secs()), ..Refusal::unavailable() }
}

/// Whether nobody on the way can put other keys in the place of what is there.
fn is_safe(url: &str) -> bool {
    let here = ["http://127.0.0.1", "http://[::1]", "http://localhost"];
    let is_of =
        |prefix: &&str| url.strip_prefix(*prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '/']));
    url.strip_prefix("https://").is_some_and(|rest| !rest.is_empty()) || here.iter().any(is_of)
}

fn from_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    serde_json::from_slice(bytes).map_err(|error| format!("it is not as it should be: {error}"))
}

/// The keys of a JWK set that are good for ID tokens; others are passed over.
fn parse(bytes: &[u8]) -> Result<Vec<LoginKey>, String> {
    let set: JwkSet = from_json(bytes)?;
    let keys: Vec<LoginKey> = set.keys.iter().filter_map(LoginKey::new).collect();
    if keys.is_empty() { Err("there is no key in it that signs ID tokens".to_owned()) } else { Ok(keys) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_over_a_way_on_which_nobody_changes_them() {
        for url in ["https://login.example/keys", "http://127.0.0.1:5000/keys", "http://localhost/a", "http://[::1]"] {
            assert!(is_safe(url), "{url}");
        }
        for url in ["http://login.example/keys", "https://", "http://127.0.0.1.evil.example/", "http://localhosts/"] {
            assert!(!is_safe(url), "{url}");
        }
    }

    /// A set with one key, called `id`.
    fn set(id: &str) -> String {
        let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
        format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","x":"{x}","kid":"{id}"}}]}}"#)
    }

    async fn found(keys: &LoginKeys, id: &str) -> Result<bool, Refusal> {
        Ok(keys.find(Some(id), Algorithm::EdDSA).await?.is_some())
    }

    /// Lets time pass for what is known.
    async fn later(keys: &LoginKeys, time: Duration) {
        let mut known = keys.known.lock().await;
        let earlier = |at: Instant| at.checked_sub(time).expect("the computer has run for longer");
        known.fetched = known.fetched.map(earlier);
        known.asked = known.asked.map(earlier);
    }

    #[tokio::test]
    async fn unknown_key_is_asked_for_once_a_minute_and_a_known_one_is_good_for_a_while_without_the_login() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("keys.json");
        std::fs::write(&path, set("old")).expect("writes");
        let mut config = LoginConfig::new("https://login.example", "arcade-game");
        config.keys = Some(path.display().to_string());
        let keys = LoginKeys::new(&config).expect("good keys");
        assert_eq!(found(&keys, "old").await, Ok(true));
        std::fs::write(&path, set("new")).expect("writes");
        assert_eq!(found(&keys, "new").await, Ok(false), "it was asked a moment ago");
        later(&keys, PAUSE).await;
        assert_eq!(found(&keys, "new").await, Ok(true));
        assert_eq!(found(&keys, "old").await, Ok(false), "the login has it no longer");
        // Without the login, what is known is good for some hours, and what is not known is nobody's fault.
        std::fs::remove_file(&path).expect("removes");
        later(&keys, PAUSE).await;
        assert_eq!(found(&keys, "other").await, Err(away()));
        assert_eq!(found(&keys, "other").await, Err(away()), "nobody knows until it answers");
        for _ in 0..2 {
            later(&keys, FRESH).await;
            assert_eq!(found(&keys, "new").await, Ok(true));
        }
        later(&keys, STALE).await;
        assert_eq!(found(&keys, "new").await, Err(away()));
    }
}
