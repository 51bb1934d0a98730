//! The browser's locks (Web Locks API).
//!
//! A lock is held for as long as the promise that was returned for it is open, and is let go of when the page is closed
//! or crashes.

use std::cell::RefCell;
use std::rc::Rc;

use js_sys::{Function, Object, Promise, Reflect};
use tokio::sync::oneshot;
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;

use super::Locking;

/// The lock of one save.
#[derive(Debug)]
pub(super) struct Locks {
    name: String,
    /// What lets go of the lock, while it is held.
    held: Rc<RefCell<Option<Function>>>,
    /// Whether this page waits in the queue for it.
    waits: bool,
}

impl Locks {
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), held: Rc::default(), waits: false }
    }

    pub(super) fn has_come(&self) -> bool {
        self.held.borrow().is_some()
    }

    /// Takes the lock if it is free, and waits in the queue for it otherwise.
    pub(super) async fn take(&mut self) -> Locking {
        if self.has_come() {
            return Locking::Held;
        }
        if self.waits {
            return Locking::Elsewhere;
        }
        match self.request(true).await {
            Ok(true) => Locking::Held,
            Ok(false) => {
                self.waits = true;
                // It is answered when the lock is free, which may be never.
                drop(self.request(false));
                Locking::Elsewhere
            }
            Err(trouble) => Locking::Impossible(words(&trouble)),
        }
    }

    /// Lets go of the lock, and waits in the queue for it.
    pub(super) fn give_up(&mut self) {
        self.release();
        self.waits = true;
        // It is answered when the lock is free, which may be never.
        drop(self.request(false));
    }

    fn release(&self) {
        if let Some(release) = self.held.borrow_mut().take() {
            // It takes no arguments and returns nothing.
            let _ = release.call0(&JsValue::UNDEFINED);
        }
    }

    /// Asks for the lock; says whether it was given.
    fn request(&self, only_if_free: bool) -> impl Future<Output = Result<bool, JsValue>> + use<> {
        let (tell, told) = oneshot::channel();
        let held = self.held.clone();
        let given = Closure::once_into_js(move |lock: JsValue| -> JsValue {
            // Whoever waited for it may be gone, and nobody would ever let go of it.
            let is_wanted = Rc::strong_count(&held) > 1;
            let is_given = is_wanted && !lock.is_null() && !lock.is_undefined();
            let promise = Promise::new(&mut |release, _| {
                if is_given {
                    *held.borrow_mut() = Some(release);
                } else {
                    // Nothing is held, so nothing is let go of later.
                    let _ = release.call0(&JsValue::UNDEFINED);
                }
            });
            // Whoever queues does not listen.
            let _ = tell.send(is_given);
            promise.into()
        });
        let requested = self.call(only_if_free, &given);
        async move {
            let promise = requested?;
            tokio::select! {
                biased;
                given = told => Ok(given.unwrap_or(false)),
                // It ends before it is answered only if it is refused.
                refused = JsFuture::from(promise) => Err(refused.err().unwrap_or_default()),
            }
        }
    }

    fn call(&self, only_if_free: bool, given: &JsValue) -> Result<Promise, JsValue> {
        let locks = Reflect::get(&navigator()?, &"locks".into())?;
        if locks.is_undefined() {
            return Err("this page was not loaded over HTTPS, or the browser is old".into());
        }
        let request: Function = Reflect::get(&locks, &"request".into())?.dyn_into()?;
        let options = Object::new();
        Reflect::set(&options, &"ifAvailable".into(), &only_if_free.into())?;
        request.call3(&locks, &self.name.as_str().into(), &options, given)?.dyn_into()
    }
}

impl Drop for Locks {
    fn drop(&mut self) {
        self.release();
    }
}

/// What a page knows of its browser.
pub(super) fn navigator() -> Result<JsValue, JsValue> {
    Reflect::get(&js_sys::global(), &"navigator".into())
}

fn words(trouble: &JsValue) -> String {
    let message = Reflect::get(trouble, &"message".into()).ok().and_then(|message| message.as_string());
    message.or_else(|| trouble.as_string()).unwrap_or_else(|| "the browser does not say why".to_owned())
}
