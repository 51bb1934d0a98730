//! What devices ask about their accounts, at random.

use bevy_iap::protocol::Sha256;
use bevy_iap::protocol::account::{DeviceName, LinkCode};
use bevy_iap::server::AccountRules;
use bevy_iap::server::ledger::{AccountChange, AccountWish, Login, ManageError};

use super::*;

impl Life {
    /// A device asks something about its account: mostly what can be done.
    pub(super) fn manage(&mut self) {
        if self.enrolled == 0 {
            return self.enrol();
        }
        if self.random.one_in(8) {
            return self.ask_again();
        }
        let number = self.random.below(self.enrolled as u64) as usize;
        let mut successor = None;
        let change = match self.random.below(16) {
            0 => AccountChange::Show,
            1..=4 => AccountChange::LinkCode,
            5..=8 => AccountChange::JoinByCode(self.codes.last().copied().unwrap_or(LinkCode::new([1; 5]))),
            9 => AccountChange::JoinByCode(self.random.pick(&self.codes).copied().unwrap_or(LinkCode::new([2; 5]))),
            10..=11 => {
                let subject = ["ann", "zoe", "eve"][self.random.below(3) as usize];
                AccountChange::SignIn(Login::new("https://login.example", subject))
            }
            12 => AccountChange::NameDevice(self.some_player(), DeviceName::new("a device").ok()),
            13 if self.random.one_in(2) => AccountChange::RevokeDevice(self.some_player()),
            13 | 14 => {
                let device = player(self.random.next(), number);
                let account = self.players[number].account();
                let key = device.key.public();
                successor = Some(device);
                AccountChange::ReplaceKey { key, account }
            }
            _ => AccountChange::RevokeDevice(self.players[number].id()),
        };
        // Whoever has revoked itself would do nothing any more.
        let revokes = matches!(change, AccountChange::RevokeDevice(_));
        if revokes && !self.random.one_in(3) {
            return;
        }
        let rules = AccountRules { devices: 1 + self.random.below(4) as u32 };
        let wish = AccountWish { device: self.players[number].id(), question: self.question(), change };
        self.asked.push(wish.clone());
        let what = format!("{wish:?}");
        let told = self.each(&what, |desk| match desk.ledger.manage(&wish, &rules, &mut desk.signer, desk.now) {
            Ok(told) => Ok(told),
            Err(ManageError::Denied(denied)) => Err(denied),
            Err(error) => panic!("{error}"),
        });
        let Ok(told) = told else { return };
        self.codes.extend(told.link_code.map(|made| made.code));
        if let Some(successor) = successor.filter(|successor| successor.id() == told.device) {
            self.players[number] = successor;
            self.purses[number].clear();
        }
        let player = &mut self.players[number];
        if player.account() != told.account {
            self.heard[number] = 0;
        }
        player.joined = Some(told.account);
        if revokes {
            self.replace_revoked(number);
        }
    }

    fn question(&mut self) -> Sha256 {
        Sha256::of(self.random.next().to_be_bytes())
    }

    /// Somebody sends again what a device has asked before.
    fn ask_again(&mut self) {
        let Some(wish) = self.random.pick(&self.asked).cloned() else { return };
        let rules = AccountRules { devices: 4 };
        let told = self.each(&format!("again {wish:?}"), |desk| {
            match desk.ledger.manage(&wish, &rules, &mut desk.signer, desk.now) {
                Ok(told) => Ok(told),
                Err(ManageError::Denied(denied)) => Err(denied),
                Err(error) => panic!("{error}"),
            }
        });
        assert!(told.is_err() || told.is_ok_and(|told| !told.changed), "{wish:?}");
    }

    fn some_player(&mut self) -> KeyId {
        self.players[self.random.below(PLAYERS as u64) as usize].id()
    }

    /// Players whose devices were revoked go on with new ones, which open accounts of their own.
    fn replace_revoked(&mut self, _asker: usize) {
        for number in 0..self.enrolled {
            let id = self.players[number].id();
            let revoked = self.desks[0].ledger.device(id).expect("reads").is_some_and(|device| device.revoked);
            if revoked && !self.random.one_in(4) {
                self.players[number] = player(self.random.next(), number);
                self.heard[number] = 0;
                self.purses[number].clear();
                let key = self.players[number].key.public();
                let welcome = Some("0.8EUR".parse().expect("money"));
                self.each("another device", |desk| desk.ledger.enrol(&[key], welcome, desk.now).expect("enrols"));
            }
        }
    }
}
