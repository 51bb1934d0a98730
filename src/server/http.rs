//! The HTTP face: which path does what, and what all of them share.

mod account;
mod admin;
mod body;
mod caller;
mod description;
mod device;
mod devices;
mod draining;
mod gate;
mod listener;
mod operations;
mod origins;
mod public;
mod rate_limits;
mod room;
mod schemas;
mod sync;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::Request;
use axum::middleware::from_fn_with_state;
use axum::response::Response;
use tokio::sync::oneshot;
use utoipa::OpenApi as _;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) use self::admin::AdminToken;
pub(crate) use self::caller::Callers;
use self::caller::{Caller, Peer};
use self::description::Description;
pub(crate) use self::listener::{listen, serve};
pub use self::origins::AllowedOrigins;
pub(crate) use self::rate_limits::RateLimits;
use super::Limits;
use super::known_devices::KnownDevices;
use super::login::Logins;
use super::memory::Memory;
use super::metrics::Metrics;
use super::operator::Books;
use super::pipeline::Pipeline;
use super::problem::Refusal;
use super::signing_keys::CurrentKeys;
use super::totals::Totals;
use super::verified_orders::VerifiedOrders;
use super::watcher::Watch;
use crate::protocol::problem::ProblemType;
use crate::protocol::{Catalog, PublicKey};

/// Every route, with its description: a handler is served and described by the same line.
fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(device::enrol))
        .routes(routes!(sync::sync))
        .routes(routes!(account::account))
        .routes(routes!(public::catalog))
        .routes(routes!(public::keys))
        .routes(routes!(public::health))
        .routes(routes!(public::metrics))
        .routes(routes!(description::description))
        .routes(routes!(operations::credit))
        .routes(routes!(operations::refund))
        .routes(routes!(operations::refund_credit))
        .routes(routes!(operations::hold))
        .routes(routes!(operations::post))
        .routes(routes!(operations::void))
        .routes(routes!(operations::payout))
        .routes(routes!(devices::freeze))
        .routes(routes!(devices::thaw))
        .routes(routes!(devices::revoke))
        .routes(routes!(devices::name))
}

/// Everything that answers requests.
pub(crate) fn router(app: Arc<App>, origins: &AllowedOrigins) -> Router {
    let (router, _) = routes().split_for_parts();
    let router = router.fallback(not_found).method_not_allowed_fallback(method_not_allowed);
    let mut router = router.layer(from_fn_with_state(Arc::clone(&app), gate::limit));
    if !origins.is_none() {
        // Around the limit, so that a page can read its refusals too.
        router = router.layer(origins.layer());
    }
    router.layer(from_fn_with_state(Arc::clone(&app), gate::count)).with_state(app)
}

async fn not_found(request: Request) -> Refusal {
    Refusal::new(ProblemType::NotFound, format!("there is no {}; see /openapi.json", request.uri().path()))
}

async fn method_not_allowed(request: Request) -> Refusal {
    let detail = format!("{} does not take {}; `Allow` says what it takes", request.uri().path(), request.method());
    Refusal::new(ProblemType::MethodNotAllowed, detail)
}

/// What the handlers share.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) keys: Arc<CurrentKeys>,
    pub(crate) pipeline: Pipeline,
    pub(crate) books: Books,
    /// With a second pair of eyes on the books, for looking up devices without waiting for the writer.
    pub(crate) devices: KnownDevices,
    pub(crate) verified: VerifiedOrders,
    pub(crate) workers: Arc<rayon::ThreadPool>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) memory: Memory,
    pub(crate) totals: Totals,
    pub(crate) rates: RateLimits,
    /// Whom players sign in with, if with anybody.
    pub(crate) login: Option<Logins>,
    pub(crate) callers: Callers,
    pub(crate) limits: Limits,
    pub(crate) watch: Watch,
    pub(crate) admin_token: Option<AdminToken>,
    pub(crate) stopping: AtomicBool,
}

impl App {
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        self.watch.stop();
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// The key for games to pin.
    pub(crate) fn root(&self) -> PublicKey {
        self.keys.root()
    }

    /// Whom a request is counted for.
    fn caller(&self, request: &Request) -> Caller {
        // The listener puts it into every request.
        let peer = request.extensions().get::<Peer>();
        peer.map_or(Caller::Unlimited, |peer| self.callers.of_request(peer.0, request.headers()))
    }

    /// Does something that is work for the processor, off the threads that move bytes.
    async fn work<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let (done, result) = oneshot::channel();
        let app = Arc::clone(self);
        self.workers.spawn(move || {
            // Whoever asked may have gone.
            let _ = done.send(work(&app));
        });
        // Nothing is sent only if the work panicked.
        result.await.unwrap_or_else(|_| Err(Refusal::internal()))
    }
}

/// A response with a body of a type.
fn answer(content_type: &'static str, body: impl Into<axum::body::Body>) -> Response {
    let mut response = Response::new(body.into());
    let value = axum::http::HeaderValue::from_static(content_type);
    response.headers_mut().insert(axum::http::header::CONTENT_TYPE, value);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn description_is_made_from_the_routes_and_names_nothing_that_it_does_not_hold() {
        let text = description::OPENAPI.as_str();
        let description: serde_json::Value = serde_json::from_str(text).expect("it is JSON");
        assert_eq!(description["openapi"], "3.1.0");
        let paths = description["paths"].as_object().expect("`paths` is an object");
        assert!(paths.len() >= 9 && paths["/v1/sync"]["post"]["requestBody"].is_object(), "{paths:?}");
        for part in text.split("\"$ref\":\"#").skip(1) {
            let (pointer, _) = part.split_once('"').expect("a text");
            assert!(description.pointer(pointer).is_some(), "{pointer} is not there");
        }
    }

    #[test]
    fn every_problem_is_described() {
        for kind in ProblemType::ALL {
            assert!(description::OPENAPI.contains(&format!("\"{kind}\"")), "{kind}");
        }
    }

    #[test]
    fn no_schema_is_only_any_object() {
        let empty = r#""schema":{"type":"object"}"#;
        assert!(!description::OPENAPI.contains(empty), "a schema did not read");
        let description: serde_json::Value = serde_json::from_str(&description::OPENAPI).expect("it is JSON");
        for (name, schema) in description["components"]["schemas"].as_object().expect("an object") {
            assert!(["type", "oneOf", "allOf"].iter().any(|member| schema.get(member).is_some()), "{name}: {schema}");
        }
    }
}
