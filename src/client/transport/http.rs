//! HTTP through reqwest and rustls, with a time limit on everything.

use std::error::Error;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};

use super::{Pending, Request, Response, Transport, TransportError};
use crate::protocol::envelope::Claims;
use crate::protocol::sync::SyncResponse;

/// How long connecting may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How long a request may take in all, whose answer the server does not hold.
pub(crate) const REQUEST_LIMIT: Duration = Duration::from_secs(20);

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
        let client = reqwest::Client::builder()
            .connect_timeout(CONNECT_LIMIT)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| TransportError::SetUp(words(&error)))?;
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
            let mut response = sent.await.map_err(not_reached)?;
            let header = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
            let retry_after = header.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
            let status = response.status().as_u16();
            let mut body = Vec::new();
            while let Some(chunk) = response.chunk().await.map_err(not_reached)? {
                if body.len() + chunk.len() > SyncResponse::MAX_LENGTH {
                    return Err(TransportError::TooLong(SyncResponse::MAX_LENGTH));
                }
                body.extend_from_slice(&chunk);
            }
            Ok(Response { status, retry_after, body })
        })
    }
}

/// The innermost cause, which is the one that tells: `connection refused`.
fn words(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
