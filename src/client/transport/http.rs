//! HTTP through reqwest, with a time limit on everything: over rustls, and in a browser by its `fetch`.

use std::error::Error;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};

use super::{Pending, Request, Response, Transport, TransportError};
use crate::protocol::envelope::Claims;
use crate::protocol::sync::SyncResponse;

/// How long connecting may take; a browser decides that by itself.
#[cfg(not(target_family = "wasm"))]
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How long a request may take in all, whose answer the server does not hold.
pub(crate) const REQUEST_LIMIT: Duration = Duration::from_secs(20);
/// The longest body, in bytes.
const LONGEST: usize = SyncResponse::MAX_LENGTH;

/// A transport over HTTP or HTTPS.
#[derive(Clone, Debug)]
pub struct HttpTransport {
    client: reqwest::Client,
    url: String,
}

impl HttpTransport {
    /// A transport to the server at `url`.
    ///
    /// # Errors
    /// [`TransportError::SetUp`]: the system's certificates cannot be loaded, for example.
    pub fn new(url: &str) -> Result<Self, TransportError> {
        let client = reqwest::Client::builder();
        #[cfg(not(target_family = "wasm"))]
        let client = client.connect_timeout(CONNECT_LIMIT).redirect(reqwest::redirect::Policy::none());
        let client = client.build().map_err(|error| TransportError::SetUp(words(&error)))?;
        Ok(Self { client, url: url.trim_end_matches('/').to_owned() })
    }
}

impl Transport for HttpTransport {
    fn send(&self, request: Request) -> Pending {
        let sent = self
            .client
            .post(format!("{}{}", self.url, request.path))
            .header(CONTENT_TYPE, request.content_type)
            .timeout(REQUEST_LIMIT + request.hold)
            .body(request.body.to_vec())
            .send();
        let url = self.url.clone();
        Box::pin(async move {
            let not_reached = |error: reqwest::Error| match error.is_timeout() {
                true => TransportError::TimedOut,
                false => TransportError::NotReached { url: url.clone(), cause: words(&error) },
            };
            let response = sent.await.map_err(not_reached)?;
            let header = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
            let retry_after = header.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
            let status = response.status().as_u16();
            let body = body(response).await.map_err(not_reached)?.ok_or(TransportError::TooLong(LONGEST))?;
            Ok(Response { status, retry_after, body })
        })
    }
}

/// The body, read as it comes; none if it is longer than any answer may be.
#[cfg(not(target_family = "wasm"))]
async fn body(mut response: reqwest::Response) -> reqwest::Result<Option<Vec<u8>>> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > LONGEST {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}

/// The body, which a browser gives as a whole; none if it is longer than any answer may be.
#[cfg(target_family = "wasm")]
async fn body(response: reqwest::Response) -> reqwest::Result<Option<Vec<u8>>> {
    if response.content_length().is_some_and(|length| length > LONGEST as u64) {
        return Ok(None);
    }
    let body = Vec::from(response.bytes().await?);
    Ok((body.len() <= LONGEST).then_some(body))
}

/// The innermost cause, which is the one that tells: `connection refused`.
#[cfg(not(target_family = "wasm"))]
fn words(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// What can be said of a request that failed: a browser tells no page why, so that none finds out what is on a network.
#[cfg(target_family = "wasm")]
fn words(_: &dyn Error) -> String {
    let navigator = js_sys::Reflect::get(&js_sys::global(), &"navigator".into()).unwrap_or_default();
    let is_online = js_sys::Reflect::get(&navigator, &"onLine".into()).ok().and_then(|online| online.as_bool());
    match is_online {
        Some(false) => "this device has no network".to_owned(),
        _ => {
            "the browser does not say why; the server may not run, or not allow this page (`--allow-origin`)".to_owned()
        }
    }
}
