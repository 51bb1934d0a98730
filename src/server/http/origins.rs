//! Which web pages may use the store from a browser (CORS).

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use axum::http::{HeaderValue, Method, header};
use thiserror::Error;
use tower_http::cors::{AllowOrigin, CorsLayer};

/// How long a browser may remember what it was told.
const REMEMBERED: Duration = Duration::from_secs(86_400);

/// The origins of web pages that may use the store, as browsers name them: `https://games.example`. None unless set.
///
/// As text, as on the command line: origins with commas between them, or `*` for every page there is. Nothing in the
/// store is opened to a page that another program could not do: a device's key signs what it sends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedOrigins(Vec<HeaderValue>);

/// Why a text names no origins.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is not the origin of a web page; write it as https://games.example, without a path, or * for all")]
pub struct OriginError(String);

impl AllowedOrigins {
    pub(super) fn layer(&self) -> CorsLayer {
        let origins = match self.0.iter().any(|origin| origin == "*") {
            true => AllowOrigin::any(),
            false => AllowOrigin::list(self.0.clone()),
        };
        CorsLayer::new()
            .allow_origin(origins)
            .allow_methods([Method::GET, Method::POST])
            // Not `Authorization`: no page has the administrator's token.
            .allow_headers([header::CONTENT_TYPE, header::IF_NONE_MATCH])
            .expose_headers([header::ETAG, header::RETRY_AFTER])
            .max_age(REMEMBERED)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromStr for AllowedOrigins {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        let origin = |text: &str| {
            let error = || OriginError(text.to_owned());
            let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or_default();
            let is_origin = !rest.is_empty() && !rest.contains(|c: char| c == '/' || c == '*' || c.is_whitespace());
            match is_origin || text == "*" {
                true => HeaderValue::from_str(text).map_err(|_| error()),
                false => Err(error()),
            }
        };
        text.split(',').map(str::trim).filter(|text| !text.is_empty()).map(origin).collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for AllowedOrigins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<_> = self.0.iter().filter_map(|origin| origin.to_str().ok()).collect();
        f.write_str(&texts.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origin_is_written_as_browsers_write_it() {
        let origins: AllowedOrigins = "https://games.example, http://localhost:8080".parse().expect("origins");
        assert_eq!(origins.to_string(), "https://games.example,http://localhost:8080");
        assert!("".parse::<AllowedOrigins>().is_ok_and(|origins| origins.is_empty()));
        for text in
            ["games.example", "https://games.example/", "https://", "https://*.example", "ftp://x", "https://a b"]
        {
            assert!(text.parse::<AllowedOrigins>().is_err(), "{text}");
        }
    }
}
