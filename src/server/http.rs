//! The HTTP face: which path does what, and what all of them share.

mod admin;
mod body;
mod device;
mod listener;
mod operations;
mod public;
mod sync;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::{MethodRouter, get, post};
use tokio::sync::oneshot;

pub(crate) use self::admin::AdminToken;
pub(crate) use self::listener::serve;
use super::known_devices::{KnownDevice, KnownDevices};
use super::ledger::Ledger;
use super::metrics::Metrics;
use super::operator::Books;
use super::pipeline::Pipeline;
use super::problem::Refusal;
use crate::protocol::problem::ProblemType;
use crate::protocol::{Catalog, KeyId, PublicKey};

/// The path of every route, its method, and who answers it.
fn routes() -> [(&'static str, &'static str, MethodRouter<Arc<App>>); 14] {
    [
        ("/v1/devices", "post", post(device::enrol)),
        ("/v1/sync", "post", post(sync::sync)),
        ("/v1/catalog", "get", get(public::catalog)),
        ("/.well-known/jwks.json", "get", get(public::keys)),
        ("/healthz", "get", get(public::health)),
        ("/metrics", "get", get(public::metrics)),
        ("/openapi.json", "get", get(public::description)),
        ("/v1/admin/credit", "post", post(operations::credit)),
        ("/v1/admin/refund", "post", post(operations::refund)),
        ("/v1/admin/refund-credit", "post", post(operations::refund_credit)),
        ("/v1/admin/hold", "post", post(operations::hold)),
        ("/v1/admin/post", "post", post(operations::post)),
        ("/v1/admin/void", "post", post(operations::void)),
        ("/v1/admin/payout", "post", post(operations::payout)),
    ]
}

/// Everything that answers requests.
pub(crate) fn router(app: Arc<App>) -> Router {
    let router = routes().into_iter().fold(Router::new(), |router, (path, _, route)| router.route(path, route));
    router.fallback(not_found).method_not_allowed_fallback(method_not_allowed).with_state(app)
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
    pub(crate) key: PublicKey,
    pub(crate) pipeline: Pipeline,
    pub(crate) books: Books,
    /// A second pair of eyes on the books, for looking up devices without waiting for the writer.
    pub(crate) reader: Mutex<Box<dyn Ledger>>,
    pub(crate) devices: KnownDevices,
    pub(crate) workers: Arc<rayon::ThreadPool>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) admin_token: Option<AdminToken>,
    pub(crate) time_limit: Duration,
    pub(crate) stopping: AtomicBool,
}

impl App {
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
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

    fn device(&self, id: KeyId) -> Result<Option<KnownDevice>, Refusal> {
        let look_up = || {
            // A panic elsewhere leaves nothing half done in a reader.
            let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
            let device = reader.device(id)?;
            Ok(device.map(|device| KnownDevice { account: device.account, key: device.key }))
        };
        self.devices.find(id, look_up).map_err(|error| {
            tracing::error!("the device `{id}` could not be looked up: `{error}`");
            Refusal::of_ledger(&error)
        })
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
    fn every_route_is_described_and_nothing_else_is() {
        let description: serde_json::Value = serde_json::from_str(public::OPENAPI).expect("openapi.json is JSON");
        let paths = description["paths"].as_object().expect("`paths` is an object");
        let mut described: Vec<(String, String)> = Vec::new();
        for (path, methods) in paths {
            for method in methods.as_object().expect("a path is an object").keys() {
                described.push((path.clone(), method.clone()));
            }
        }
        let mut served: Vec<(String, String)> =
            routes().into_iter().map(|(path, method, _)| (path.to_owned(), method.to_owned())).collect();
        described.sort();
        served.sort();
        assert_eq!(described, served);
    }

    #[test]
    fn every_problem_is_described() {
        for kind in ProblemType::ALL {
            assert!(public::OPENAPI.contains(&format!("\"{kind}\"")), "{kind}");
        }
    }
}
