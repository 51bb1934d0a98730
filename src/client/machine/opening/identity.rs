//! Whose journal it is: the device's that began it, or one's that took its place.

use super::Opening;
use crate::client::record::{Identity, Record};
use crate::protocol::{AccountResponse, KeyId, Token, envelope};

impl Opening {
    /// Whose journal it is. A later record of another device is written where what said that it took the place of the one
    /// before is lost.
    pub(super) fn replay_identity(&mut self, identity: Identity) {
        let machine = &mut self.machine;
        if identity.device != machine.device {
            match machine.records {
                1 => {
                    machine.device = identity.device;
                    machine.account = identity.device.guest_account();
                }
                _ => {
                    machine.change_device(identity.device);
                    machine.enrolled = true;
                    machine.membership.is_place_unknown = true;
                }
            }
            machine.renew_sealer();
        }
        self.identity.get_or_insert(identity);
    }

    pub(super) fn replay_account(&mut self, token: &Token) {
        let machine = &mut self.machine;
        match AccountResponse::verify_kept(token, &machine.keys.vouched(), &machine.settings.game) {
            Ok(claims) => {
                let was_doubted = self.account_trouble.take().is_some();
                if claims.account != machine.account {
                    self.recent.clear();
                    self.not_believed = None;
                    self.broken_seals = 0;
                }
                self.elsewhere = None;
                machine.enter(&claims, token);
                if was_doubted {
                    // It may have been there before, so that what comes before this has not come again.
                    machine.membership.joined = None;
                }
            }
            Err(error) => {
                self.is_doubted = true;
                let claims = envelope::claims_of_stored::<AccountResponse>(token).ok();
                self.named_device = claims.map(|claims| claims.device).or(self.named_device);
                self.account_trouble = Some(format!("in the journal, what the store said of the account: {error}"));
            }
        }
    }

    /// Goes on as the device of the key, where the journal is another's and what said that this one took its place is
    /// damaged, or is not believed: the server knows, and is asked. Gives the record that says so at the next start.
    pub(super) fn take_the_place_that_is_lost(&mut self, is_damaged: bool) -> Option<Record> {
        let (found, device) = (self.machine.device, self.machine.key.id());
        if found == device || !(is_damaged || self.named_device == Some(device)) {
            return None;
        }
        let machine = &mut self.machine;
        machine.change_device(device);
        machine.renew_sealer();
        machine.enrolled = true;
        machine.membership.is_place_unknown = true;
        self.troubles.push(format!(
            "the journal was the device {found}'s, and nothing in it that is believed says that the key in `device.key`, \
             {device}, took its place; the store is asked, and what the one before had ordered and not sent is not sent"
        ));
        let game = machine.settings.game.clone();
        Some(Record::Identity(Identity { game, device, account: device.guest_account() }))
    }

    /// The record that says whose the journal is, if it is missing: damage can take it, and the others are each
    /// verified by themselves.
    pub(super) fn identity(&self) -> Result<Option<Record>, String> {
        let machine = &self.machine;
        let (game, device) = (machine.settings.game.clone(), machine.key.id());
        match &self.identity {
            Some(found) if found.game != game => Err(format!(
                "the journal belongs to the game {}, and this is {game}; choose another folder for one of them",
                found.game
            )),
            Some(found) if !machine.was_this_device(found.device) => Err(of_another_device(found.device, device)),
            _ if self.is_of_former_device() => Err(of_another_device(machine.device, device)),
            None => Ok(Some(Record::Identity(Identity { game, device, account: device.guest_account() }))),
            Some(_) => Ok(None),
        }
    }
}

fn of_another_device(found: KeyId, device: KeyId) -> String {
    format!(
        "the journal belongs to the device {found}, and the key in `device.key` is {device}; put the right key back, or \
         move the journal away to start as a new player"
    )
}
