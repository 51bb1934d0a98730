//! What a player can do about their account: see its devices, bring another one in, join another account, and have a
//! device that was lost buy nothing more.
//!
//! Each question is asked at once and answered later, by [`AccountUpdated`](crate::plugin::AccountUpdated).

use thiserror::Error;

use super::{PurchaseError, Store, not_taken};
use crate::client::machine::Input;
use crate::client::{AccountTrouble, AccountView, AccountWish, Asked};
use crate::protocol::account::{DeviceNameError, IssuedLinkCode, LinkCodeError, MAX_ID_TOKEN};
use crate::protocol::{DeviceEntry, DeviceName, KeyId};

/// Why nothing was asked about the account. Nothing is changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AccountError {
    // The player's doing.
    /// What was typed cannot be a code.
    #[error(transparent)]
    LinkCode(#[from] LinkCodeError),
    /// What was typed cannot be a device's name.
    #[error(transparent)]
    DeviceName(#[from] DeviceNameError),

    // The game's doing.
    /// The ID token is too long to be one.
    #[error("the ID token has {length} bytes, and may have {MAX_ID_TOKEN}")]
    IdTokenTooLong {
        /// Its length.
        length: usize,
    },
    /// No server is set.
    #[error("this game has no store to ask")]
    NoServer,

    // The state of things.
    /// The answer to the last question is not there yet.
    #[error("something else is being asked about the account; wait for its answer")]
    AlreadyAsking,
    /// The game is offline.
    #[error("the game is offline")]
    Offline,
    /// This device was revoked.
    #[error("this device was removed from its account")]
    DeviceRevoked,
    /// The store is not open, or cannot write.
    #[error(transparent)]
    Store(PurchaseError),
}

impl Store {
    /// Asks which devices belong to the account. [`Store::account_devices`] has them afterwards.
    ///
    /// # Errors
    /// Why nothing was asked.
    pub fn request_devices(&mut self) -> Result<(), AccountError> {
        self.ask(AccountWish::Devices)
    }

    /// Asks for a code with which another device can join this account. [`Store::link_code`] has it afterwards, for ten
    /// minutes; it can be used once, and takes the place of the last one.
    ///
    /// # Errors
    /// Why nothing was asked.
    pub fn request_link_code(&mut self) -> Result<(), AccountError> {
        self.ask(AccountWish::LinkCode)
    }

    /// Joins the account that made a code. What was bought on this device as a guest moves along.
    ///
    /// What is ordered before the answer waits for it, and is then ordered for the account of which the answer is.
    ///
    /// # Errors
    /// Why nothing was asked; among others that this cannot be a code.
    pub fn join_by_code(&mut self, code: &str) -> Result<(), AccountError> {
        self.ask(AccountWish::JoinByCode(code.parse()?))
    }

    /// Signs in as the player whom an ID token names, as the game's own login gave it: an OpenID Connect ID token, whose
    /// `nonce` is this device's id. The account is that player's from then on, on every device that signs in so; what was
    /// bought on this device as a guest moves along.
    ///
    /// What is ordered before the answer waits for it, and is then ordered for the account of which the answer is.
    ///
    /// # Errors
    /// Why nothing was asked.
    pub fn sign_in(&mut self, id_token: &str) -> Result<(), AccountError> {
        match id_token.len() {
            length if length > MAX_ID_TOKEN => Err(AccountError::IdTokenTooLong { length }),
            _ => self.ask(AccountWish::SignIn(id_token.to_owned())),
        }
    }

    /// Calls a device of the account by a name; by none, if it is empty.
    ///
    /// # Errors
    /// Why nothing was asked; among others that this cannot be a name.
    pub fn name_device(&mut self, device: KeyId, name: &str) -> Result<(), AccountError> {
        let name = if name.trim().is_empty() { None } else { Some(DeviceName::new(name)?) };
        self.ask(AccountWish::NameDevice { device, name })
    }

    /// Has a device of the account buy nothing and hear nothing any more, for ever: one that was lost, or this one.
    ///
    /// # Errors
    /// Why nothing was asked.
    pub fn revoke_device(&mut self, device: KeyId) -> Result<(), AccountError> {
        self.ask(AccountWish::RevokeDevice(device))
    }

    /// Goes on with a new key, and has the old one revoked: for a save that somebody else may have a copy of. The device
    /// has another id afterwards.
    ///
    /// What is ordered before the answer waits for it.
    ///
    /// # Errors
    /// Why nothing was asked.
    pub fn replace_key(&mut self) -> Result<(), AccountError> {
        self.ask(AccountWish::ReplaceKey)
    }

    /// Whether something was asked about the account, and the answer is not there yet.
    pub fn is_asking(&self) -> bool {
        self.asking
    }

    /// The devices of the account, in the order in which they joined it, as the server last said; none before it was
    /// asked.
    pub fn account_devices(&self) -> &[DeviceEntry] {
        self.membership.as_ref().map_or(&[], |view| &view.devices)
    }

    /// The code with which another device can join this account, and when it ends, while it is good.
    pub fn link_code(&self) -> Option<IssuedLinkCode> {
        let tick = self.clock.tick();
        let now = self.server_clock.map_or(tick.unix, |clock| clock.now(tick));
        self.membership.as_ref()?.link_code.filter(|code| now < code.expires_at)
    }

    /// Whether the account belongs to a player whom the game's login knows, as the server last said.
    pub fn is_signed_in(&self) -> bool {
        self.membership.as_ref().is_some_and(|view| view.signed_in)
    }

    /// Whether the server said that this device was revoked: nothing can be bought with it any more.
    pub fn is_revoked(&self) -> bool {
        self.membership.as_ref().is_some_and(|view| view.revoked)
    }

    fn ask(&mut self, wish: AccountWish) -> Result<(), AccountError> {
        let client = self.client_for_writing().map_err(AccountError::Store)?;
        if !self.has_server {
            return Err(AccountError::NoServer);
        }
        if self.asking {
            return Err(AccountError::AlreadyAsking);
        }
        if self.offline {
            return Err(AccountError::Offline);
        }
        if self.is_revoked() && wish != AccountWish::Devices {
            return Err(AccountError::DeviceRevoked);
        }
        client.command(Input::Account(wish)).map_err(|error| AccountError::Store(not_taken(error)))?;
        self.asking = true;
        Ok(())
    }

    /// Why nothing can be bought with this device, if it was revoked.
    pub(super) fn check_not_revoked(&self) -> Result<(), PurchaseError> {
        if self.is_revoked() { Err(PurchaseError::DeviceRevoked) } else { Ok(()) }
    }

    /// The account is as it was found when the journal was opened.
    pub(super) fn open_account(&mut self, membership: AccountView) {
        self.membership = Some(membership);
        self.asking = false;
    }

    /// What was asked has come about, or not.
    pub(in crate::plugin) fn take_account(&mut self, asked: Asked, outcome: &Result<AccountView, AccountTrouble>) {
        if asked != Asked::Nothing && !matches!(outcome, Err(AccountTrouble::AskedAgain { .. })) {
            self.asking = false;
        }
        let Ok(view) = outcome else { return };
        if self.account() != Some(&view.account) {
            // What is true of the account of now is told after this.
            self.orders.clear();
            self.history.clear();
            self.standing.clear();
            self.receipts.clear();
        }
        self.belong_to(view.device, view.account.clone());
        self.membership = Some(view.clone());
    }
}
