//! Which web pages may use the store from a browser (CORS).

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use axum::http::{HeaderValue, Method, header};
use thiserror::Error;
use tower_http::cors::{AllowOrigin, CorsLayer};

/// How long a browser may remember what it was told.
const REMEMBERED: Duration = Duration::from_secs(86_400);

/// The origins of web pages that may use the store, as browsers name them: `https://games.example`. Unless it is set, those
/// that this machine serves itself (`http://localhost`, `http://127.0.0.1` and `http://[::1]`, on any port), so that a
/// game can be tried in a browser without a word about it.
///
/// As text, as on the command line: origins with commas between them, or `*` for every page there is. Nothing in the
/// store is opened to a page that another program could not do: a device's key signs what it sends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedOrigins(Option<Vec<HeaderValue>>);

/// Why a text names no origins.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is not the origin of a web page; write it as https://games.example, without a path, or * for all")]
pub struct OriginError(String);

impl AllowedOrigins {
    pub(super) fn layer(&self) -> CorsLayer {
        let origins = match &self.0 {
            None => AllowOrigin::predicate(|origin, _| is_of_this_machine(origin)),
            Some(origins) if origins.iter().any(|origin| origin == "*") => AllowOrigin::any(),
            Some(origins) => AllowOrigin::list(origins.clone()),
        };
        CorsLayer::new()
            .allow_origin(origins)
            .allow_methods([Method::GET, Method::POST])
            // Not `Authorization`: no page has the administrator's token.
            .allow_headers([header::CONTENT_TYPE, header::IF_NONE_MATCH])
            .expose_headers([header::ETAG, header::RETRY_AFTER])
            .max_age(REMEMBERED)
    }

    /// Whether no page may use the store.
    pub(super) fn is_none(&self) -> bool {
        self.0.as_ref().is_some_and(Vec::is_empty)
    }
}

/// Whether a page was loaded from the machine that its browser runs on.
fn is_of_this_machine(origin: &HeaderValue) -> bool {
    let origin = origin.to_str().unwrap_or_default();
    let host = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://")).unwrap_or_default();
    ["localhost", "127.0.0.1", "[::1]"].into_iter().any(|name| {
        let port = host.strip_prefix(name);
        port.is_some_and(|port| {
            port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok())
        })
    })
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
        text.split(',')
            .map(str::trim)
            .filter(|text| !text.is_empty())
            .map(origin)
            .collect::<Result<_, _>>()
            .map(Some)
            .map(Self)
    }
}

impl fmt::Display for AllowedOrigins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(origins) = &self.0 else { return f.write_str("those of this machine") };
        let texts: Vec<_> = origins.iter().filter_map(|origin| origin.to_str().ok()).collect();
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
        assert!("".parse::<AllowedOrigins>().is_ok_and(|origins| origins.is_none()));
        for text in
            ["games.example", "https://games.example/", "https://", "https://*.example", "ftp://x", "https://a b"]
        {
            assert!(text.parse::<AllowedOrigins>().is_err(), "{text}");
        }
    }

    #[test]
    fn pages_of_this_machine_are_told_from_others() {
        let is_ours = |origin| is_of_this_machine(&HeaderValue::from_static(origin));
        for origin in ["http://localhost", "http://127.0.0.1:8080", "https://[::1]:1", "https://localhost:65535"] {
            assert!(is_ours(origin), "{origin}");
        }
        for origin in [
            "http://localhost.example",
            "http://127.0.0.1.example:80",
            "http://localhost:80.example",
            "http://games.example",
            "http://localhost@games.example",
            "null",
            "file://localhost",
            "http://127.0.0.10",
        ] {
            assert!(!is_ours(origin), "{origin}");
        }
    }
}
