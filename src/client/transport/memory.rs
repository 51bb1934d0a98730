//! A transport that is a function: for tests without a network.

use std::fmt;
use std::sync::Arc;

use super::{Pending, Request, Response, Transport, TransportError};

type Answer = dyn Fn(Request) -> Result<Response, TransportError> + Send + Sync;

/// A server in a function.
#[derive(Clone)]
pub struct MemoryTransport {
    answer: Arc<Answer>,
}

impl MemoryTransport {
    /// A transport that answers with what `answer` returns.
    pub fn new(answer: impl Fn(Request) -> Result<Response, TransportError> + Send + Sync + 'static) -> Self {
        Self { answer: Arc::new(answer) }
    }
}

impl fmt::Debug for MemoryTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryTransport")
    }
}

impl Transport for MemoryTransport {
    fn send(&self, request: Request) -> Pending {
        let answer = self.answer.clone();
        Box::pin(async move { answer(request) })
    }
}
