//! What the sandbox does in the server's books, on a thread that may wait for them.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use super::{DAY, SandboxOutcome, State};
use crate::client::clock::random_bits;
use crate::dev::network::{LastSpeaker, Speaker};
use crate::protocol::sync::Balance;
use crate::protocol::{KeyId, Micros, Money, OrderId, UnixSeconds};
use crate::server::LocalServer;
use crate::server::clock::{Clock, SystemClock};
use crate::server::ledger::operation::{FreezeDevice, Hold, ThawDevice, Void};
use crate::server::ledger::{Action, Answer, Operation, OperationId};

/// Something to be done in the books.
#[derive(Clone, Copy, Debug)]
pub(super) enum Job {
    Refund(OrderId),
    Decline(bool),
    Credit(Money),
    Hold(bool),
}

/// Does what the sandbox is asked for, in the name of the store's operator.
#[derive(Debug)]
pub(super) struct Operator {
    server: Arc<LocalServer>,
    state: Arc<State>,
    speaker: LastSpeaker,
    frozen: Option<KeyId>,
    holds: Vec<OperationId>,
}

impl Operator {
    pub(super) fn new(server: Arc<LocalServer>, state: Arc<State>, speaker: LastSpeaker) -> Self {
        Self { server, state, speaker, frozen: None, holds: Vec::new() }
    }

    pub(super) fn obey(&mut self, job: Job) {
        let outcome = match job {
            Job::Refund(order) => self.refund(order),
            Job::Decline(true) => self.freeze(),
            Job::Decline(false) => self.thaw(),
            Job::Credit(amount) => self.credit(amount),
            Job::Hold(true) => self.hold(),
            Job::Hold(false) => self.free(),
        };
        self.state.declines_orders.store(self.frozen.is_some(), Ordering::Relaxed);
        self.state.holds_wallet.store(!self.holds.is_empty(), Ordering::Relaxed);
        let is_done = outcome.is_ok();
        let (Ok(words) | Err(words)) = outcome;
        self.state.tell(SandboxOutcome { words, is_done });
    }

    fn refund(&self, order: OrderId) -> Result<String, String> {
        let receipt = self.server.refund(order).map_err(words)?;
        Ok(format!("refunded {} of {:?}, order {order}", receipt.amount, receipt.product.as_str()))
    }

    fn freeze(&mut self) -> Result<String, String> {
        if let Some(device) = self.frozen {
            return Ok(format!("the orders of the device {device} are declined already"));
        }
        let device = self.speaker()?.device;
        self.operate(FreezeDevice { device })?;
        self.frozen = Some(device);
        Ok(format!("the orders of the device {device} are declined from now on: it is frozen"))
    }

    fn thaw(&mut self) -> Result<String, String> {
        // An earlier start in the same folder may have frozen it.
        let device = self.frozen.map_or_else(|| self.speaker().map(|speaker| speaker.device), Ok)?;
        self.operate(ThawDevice { device })?;
        self.frozen = None;
        Ok(format!("the orders of the device {device} are settled again"))
    }

    fn credit(&self, amount: Money) -> Result<String, String> {
        let Balance { currency, available, .. } =
            self.server.credit(&self.speaker()?.account, amount).map_err(words)?;
        Ok(format!("credited {amount}: {} can be spent", Money::new(available, currency)))
    }

    fn hold(&mut self) -> Result<String, String> {
        let account = self.speaker()?.account;
        let wallet = self.server.show(&account).map_err(words)?.wallet;
        let expires_at: UnixSeconds = SystemClock.now().saturating_add(DAY);
        let mut held = Vec::new();
        for balance in wallet.iter().filter(|balance| balance.available > Micros::ZERO) {
            let money = Money::new(balance.available, balance.currency);
            let (id, _) = self.operate(Hold { account: account.clone(), money, expires_at })?;
            self.holds.push(id);
            held.push(money.to_string());
        }
        match held.is_empty() {
            true => Err("there is nothing in the wallet to set aside".to_owned()),
            false => Ok(format!("set aside {}: nothing can be spent", held.join(", "))),
        }
    }

    fn free(&mut self) -> Result<String, String> {
        let mut freed = Vec::new();
        while let Some(&hold) = self.holds.last() {
            let done = self.operate(Void { hold });
            // One that the books refuse to free has ended by itself.
            self.holds.pop();
            if let (_, Answer::Wallet { money, .. }) = done? {
                freed.push(money.to_string());
            }
        }
        match freed.is_empty() {
            true => Ok("nothing was set aside".to_owned()),
            false => Ok(format!("freed {}", freed.join(", "))),
        }
    }

    /// Does something under an id of its own.
    fn operate(&self, action: impl Into<Action>) -> Result<(OperationId, Answer), String> {
        let id = random_bits().map(OperationId).ok_or("the system's random source failed; try again")?;
        self.server.operate(Operation::new(id, action)).map(|answer| (id, answer)).map_err(words)
    }

    /// The game's device and account.
    fn speaker(&self) -> Result<Speaker, String> {
        let speaker = self.speaker.lock().unwrap_or_else(PoisonError::into_inner).clone();
        speaker.ok_or_else(|| "no game has asked this server for anything yet; go online first".to_owned())
    }
}

fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}
