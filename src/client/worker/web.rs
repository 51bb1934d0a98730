//! A client on the event loop of a page, woken by what the browser tells of the network and of the page.

use std::io;

use js_sys::{Function, Reflect};
use tokio::sync::mpsc::{Sender, WeakSender};
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::EventTarget;

use crate::client::machine::Input;

/// A client that runs, and what wakes it.
#[derive(Debug)]
pub(super) struct Running;

impl Running {
    /// Has the event loop run the client.
    ///
    /// # Errors
    /// None.
    pub(super) fn start<F: Future<Output = ()> + 'static>(
        commands: &Sender<Input>,
        client: impl FnOnce() -> F,
    ) -> io::Result<Self> {
        wasm_bindgen_futures::spawn_local(client());
        wake(commands.downgrade());
        Ok(Self)
    }

    /// Nothing can be waited for here: the client ends by itself.
    pub(super) fn end(&self) {}
}

/// Has the server asked at once when the network is back, and when the player looks at the page again, whose timers the
/// browser let rest.
fn wake(commands: WeakSender<Input>) {
    let global = js_sys::global();
    let document = Reflect::get(&global, &"document".into()).unwrap_or_default();
    let ask = move || {
        if let Some(commands) = commands.upgrade() {
            // Where it is full, the client is awake.
            let _ = commands.try_send(Input::SyncNow);
        }
    };
    let (page, ask_of_page) = (document.clone(), ask.clone());
    let is_hidden = move || Reflect::get(&page, &"hidden".into()).is_ok_and(|hidden| hidden.is_truthy());
    listen(&global.into(), "online", ask);
    listen(&document, "visibilitychange", move || {
        if !is_hidden() {
            ask_of_page();
        }
    });
}

/// Has a function called at each of these events, for as long as the page lives.
fn listen(target: &JsValue, event: &str, heard: impl Fn() + 'static) {
    let heard = Closure::<dyn Fn()>::new(heard).into_js_value();
    if let (Some(target), Some(heard)) = (target.dyn_ref::<EventTarget>(), heard.dyn_ref::<Function>())
        && target.add_event_listener_with_callback(event, heard).is_err()
    {
        tracing::debug!("`{event}` is not heard in this browser");
    }
}
