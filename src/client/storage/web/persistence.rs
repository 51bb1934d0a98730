//! The browser's promise not to throw away what is kept (Storage Standard, "persistent storage").

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use js_sys::{Function, Promise, Reflect};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;

use super::lock::navigator;
use crate::client::sleep::sleep;

/// How long the browser may take to say whether it was given.
const PATIENCE: Duration = Duration::from_secs(1);

/// What is known of the promise.
#[derive(Debug, Default)]
pub(super) struct Promised {
    is_given: Rc<Cell<bool>>,
    has_asked: bool,
}

impl Promised {
    pub(super) fn is_given(&self) -> bool {
        self.is_given.get()
    }

    /// Looks whether it was given already. Nothing waits long for what is only good to know.
    pub(super) async fn look(&self) {
        let Ok(answer) = call("persisted") else { return };
        tokio::select! {
            given = is_yes(answer) => self.is_given.set(given),
            () = sleep(Some(PATIENCE)) => {}
        }
    }

    /// Asks for it, once for each time that the page is loaded. Some browsers ask the player; none is waited for.
    pub(super) fn ask(&mut self) {
        if self.has_asked || self.is_given() {
            return;
        }
        self.has_asked = true;
        let Ok(answer) = call("persist") else {
            return tracing::debug!("this browser cannot be asked to keep what is kept");
        };
        let is_given = self.is_given.clone();
        wasm_bindgen_futures::spawn_local(async move { is_given.set(is_yes(answer).await) });
    }
}

async fn is_yes(answer: Promise) -> bool {
    JsFuture::from(answer).await.is_ok_and(|answer| answer.is_truthy())
}

/// Calls a method of the browser's `StorageManager`.
fn call(method: &str) -> Result<Promise, JsValue> {
    let storage = Reflect::get(&navigator()?, &"storage".into())?;
    let method: Function = Reflect::get(&storage, &method.into())?.dyn_into()?;
    method.call0(&storage)?.dyn_into()
}
