//! Which device belongs to which account, in memory, as the documents tell it.

use std::collections::BTreeSet;

use super::super::membership::{self, Arrivals, LinkCodeRecord, Login, MOST_LOOKED_AT, MOST_MOVED, Member, Move};
use super::super::{AccountChange, AccountRules, AccountWish, Denied, ManageError, Membership};
use super::*;
use crate::protocol::Sha256;
use crate::protocol::account::{DeviceName, IssuedLinkCode, LINK_CODE_LIFE};

/// What is remembered of a device besides its account, its key and its chain.
#[derive(Clone, Debug)]
pub(super) struct Remembered {
    pub(super) place: i64,
    pub(super) name: Option<DeviceName>,
    pub(super) enrolled_at: UnixSeconds,
    pub(super) revoked_at: Option<UnixSeconds>,
    pub(super) replaced_by: Option<KeyId>,
}

impl Remembered {
    /// A device that opens an account.
    pub(super) fn first(enrolled_at: UnixSeconds) -> Self {
        Self { place: 0, name: None, enrolled_at, revoked_at: None, replaced_by: None }
    }
}

/// What is known of accounts, their logins and the ways into them.
#[derive(Clone, Debug, Default)]
pub(super) struct Members {
    pub(super) devices: BTreeMap<KeyId, Remembered>,
    pub(super) moves: Vec<Move>,
    pub(super) logins: BTreeMap<Login, (AccountId, UnixSeconds)>,
    pub(super) link_codes: BTreeMap<AccountId, LinkCodeRecord>,
    /// What was asked that may have changed something.
    questions: BTreeSet<Sha256>,
}

impl Members {
    /// Whose account it is, if the game's login knows.
    pub(super) fn login_of(&self, account: &AccountId) -> Option<Login> {
        self.logins.iter().find(|(_, (own, _))| own == account).map(|(login, _)| *login)
    }

    /// The account that everything of a closed one has moved to.
    pub(super) fn moved_to(&self, account: &AccountId) -> Option<AccountId> {
        self.moves.iter().find(|one| one.closing && one.from == *account).map(|one| one.to.clone())
    }

    fn last_move(&self, device: KeyId) -> Option<&Move> {
        self.moves.iter().rfind(|one| one.device == device)
    }
}

impl ModelLedger {
    /// Does what was not asked before, and remembers that it was, whatever becomes of it.
    pub(super) fn manage_once(
        &mut self,
        wish: &AccountWish,
        rules: &AccountRules,
        signer: &mut Signer,
        now: UnixSeconds,
    ) -> Result<Membership, ManageError> {
        let asker = self.member(wish.device).ok_or(LedgerError::UnknownDevice(wish.device))?;
        let may_change = wish.change != AccountChange::Show && !asker.is_revoked();
        let is_known = may_change && self.members.questions.contains(&wish.question);
        let done = self.transaction(|books| match books.manage_one(wish, rules, signer, now) {
            Ok(told) if told.changed && is_known => Err(Denied::AskedBefore.into()),
            done => done,
        });
        if may_change && !matches!(done, Err(ManageError::Ledger(_))) {
            self.members.questions.insert(wish.question);
        }
        done
    }

    fn manage_one(
        &mut self,
        wish: &AccountWish,
        rules: &AccountRules,
        signer: &mut Signer,
        now: UnixSeconds,
    ) -> Result<Membership, ManageError> {
        let asker = self.member(wish.device).ok_or(LedgerError::UnknownDevice(wish.device))?;
        let account = asker.account.clone();
        match &wish.change {
            AccountChange::Show => return Ok(self.told(asker.id)),
            AccountChange::RevokeDevice(device) if *device == asker.id && asker.is_revoked() => {
                return Ok(self.told(asker.id));
            }
            AccountChange::ReplaceKey { key, .. } if asker.replaced_by == Some(key.id()) => {
                let mut told = Membership { account, chain: None, ..self.told(key.id()) };
                told.devices.retain(|entry| entry.id == key.id());
                told.signed_in = self.members.login_of(&told.account).is_some();
                return Ok(told);
            }
            _ if asker.is_revoked() => return Err(Denied::Revoked(asker.id).into()),
            _ => {}
        }
        let changed = |told: Membership| Membership { changed: true, ..told };
        match &wish.change {
            AccountChange::Show => Ok(self.told(asker.id)),
            AccountChange::LinkCode => {
                if asker.frozen_at.is_some() {
                    return Err(Denied::Frozen(asker.id).into());
                }
                let is_elsewhere = |code: &LinkCodeRecord, sha256| {
                    code.sha256 == sha256 && code.account != account && code.expires_at > now
                };
                let code = loop {
                    let code = membership::random_code(signer)?;
                    if !self.members.link_codes.values().any(|other| is_elsewhere(other, code.sha256())) {
                        break code;
                    }
                };
                let (sha256, expires_at) = (code.sha256(), now + LINK_CODE_LIFE);
                self.members.link_codes.retain(|_, other| other.sha256 != sha256);
                let record = LinkCodeRecord { account: account.clone(), sha256, expires_at };
                self.members.link_codes.insert(account, record);
                let link_code = Some(IssuedLinkCode { code, expires_at });
                Ok(changed(Membership { link_code, ..self.told(asker.id) }))
            }
            AccountChange::JoinByCode(code) => {
                let sha256 = code.sha256();
                let mut live = self.members.link_codes.values().filter(|one| one.expires_at > now);
                let found = live.find(|one| one.sha256 == sha256).map(|one| one.account.clone());
                if let Some(to) = found {
                    return self.join(&asker, to, Some(sha256), rules, signer, now);
                }
                match self.members.last_move(asker.id).is_some_and(|last| last.code == Some(sha256)) {
                    true => Ok(self.told(asker.id)),
                    false => Err(Denied::WrongLinkCode.into()),
                }
            }
            AccountChange::SignIn(login) => {
                if let Some((to, _)) = self.members.logins.get(login).cloned() {
                    return self.join(&asker, to, None, rules, signer, now);
                }
                if self.members.login_of(&account).is_some() {
                    return Err(Denied::OtherLogin.into());
                }
                self.members.logins.insert(*login, (account, now));
                Ok(changed(self.told(asker.id)))
            }
            AccountChange::NameDevice(device, name) => {
                let own = self.members_of(&account).into_iter().find(|one| one.id == *device && !one.is_revoked());
                if own.ok_or(Denied::NotYourDevice(*device))?.name == *name {
                    return Ok(self.told(asker.id));
                }
                self.name(*device, name.clone());
                Ok(changed(self.told(asker.id)))
            }
            AccountChange::RevokeDevice(device) => {
                let found = self.members_of(&account).into_iter().find(|one| one.id == *device);
                if found.ok_or(Denied::NotYourDevice(*device))?.is_revoked() {
                    return Ok(self.told(asker.id));
                }
                if asker.frozen_at.is_some() && *device != asker.id {
                    return Err(Denied::Frozen(asker.id).into());
                }
                self.expire_holds(Some(&account), now);
                self.revoke(*device, None, now);
                Ok(changed(self.told(asker.id)))
            }
            AccountChange::ReplaceKey { key, account: named } => {
                if *named != account {
                    return Err(Denied::WrongAccount { named: named.clone(), account }.into());
                }
                if self.devices.contains_key(&key.id()) {
                    return Err(Denied::KeyTaken(key.id()).into());
                }
                if !rules.allow_another(self.ever(&account)) {
                    return Err(Denied::TooManyEver.into());
                }
                self.expire_holds(Some(&account), now);
                self.revoke(asker.id, Some(key.id()), now);
                self.devices.insert(key.id(), Device { account, key: *key, chain: None, revoked: false });
                let successor = Remembered { place: asker.place, name: asker.name, ..Remembered::first(now) };
                self.members.devices.insert(key.id(), successor);
                if let Some(since) = asker.frozen_at {
                    self.frozen.insert(key.id(), since);
                }
                Ok(changed(self.told(key.id())))
            }
        }
    }

    fn join(
        &mut self,
        asker: &Member,
        to: AccountId,
        code: Option<Sha256>,
        rules: &AccountRules,
        signer: &mut Signer,
        now: UnixSeconds,
    ) -> Result<Membership, ManageError> {
        let from = asker.account.clone();
        if from == to {
            return Ok(self.told(asker.id));
        }
        if asker.frozen_at.is_some() {
            return Err(Denied::Frozen(asker.id).into());
        }
        if !rules.have_room(&self.members_of(&to)) {
            return Err(Denied::TooManyDevices.into());
        }
        if !rules.allow_another(self.ever(&to)) {
            return Err(Denied::TooManyEver.into());
        }
        self.expire_holds(Some(&from), now);
        self.expire_holds(Some(&to), now);
        self.close_allowances(asker.id, now);
        let alone = self.members_of(&from).iter().all(|one| one.id == asker.id || one.is_revoked());
        let joined = Move {
            device: asker.id,
            number: 1 + self.members.moves.iter().filter(|one| one.device == asker.id).count() as i64,
            place: 1 + self.arrivals(&to).moves as i64,
            sequence: membership::sequence(asker.chain),
            closing: alone && self.members.login_of(&from).is_none(),
            from: from.clone(),
            to: to.clone(),
            code,
            at: now,
        };
        if joined.closing {
            self.move_belongings(&joined, signer)?;
            self.members.link_codes.remove(&from);
        }
        if code.is_some() {
            self.members.link_codes.remove(&to);
        }
        if let Some(device) = self.devices.get_mut(&asker.id) {
            device.account = to;
        }
        if let Some(device) = self.members.devices.get_mut(&asker.id) {
            device.place = joined.place;
        }
        self.members.moves.push(joined);
        Ok(Membership { changed: true, ..self.told(asker.id) })
    }

    /// Moves everything that a guest has along with the last device: orders, lots and the operator's holds. What nobody
    /// has paid for, and nobody has set aside, goes back to its source.
    fn move_belongings(&mut self, joined: &Move, signer: &mut Signer) -> Result<(), ManageError> {
        let Move { from, to, at: now, .. } = joined;
        let feed = self.feed(from).to_vec();
        let is_granted = |id: &OrderId| {
            self.orders.get(id).is_some_and(|record| record.account == *from && record.status == Status::Granted)
        };
        let mut orders: Vec<OrderId> = Vec::new();
        for order in feed.iter().filter_map(ReceiptRecord::order) {
            if is_granted(&order) && !orders.contains(&order) {
                orders.push(order);
            }
        }
        if orders.len() > MOST_MOVED || feed.len() as u64 > MOST_LOOKED_AT {
            return Err(Denied::TooManyPurchases.into());
        }
        for order in &orders {
            let last = feed.iter().rfind(|receipt| receipt.order() == Some(*order));
            let last = last.ok_or_else(|| LedgerError::damaged("an order has no receipt"))?;
            let last = books::stored_receipt(&last.entry.token)?;
            let place = self.next_feed(to);
            let receipt = membership::moved_receipt(last, to, place, signer, *now)?;
            self.append(&receipt, signer)?;
            if let Some(record) = self.orders.get_mut(order) {
                record.account = to.clone();
                record.feed = place;
            }
        }
        let used = self.items_used(from)?;
        let length = self.next_feed(to).saturating_sub(1);
        for (receipt, token) in membership::used_receipts(used, joined, length, signer)? {
            let entry = FeedEntry { feed: receipt.feed, token };
            let record = ReceiptRecord { id: receipt.id, answers: receipt.consumption.0, entry };
            self.feeds.entry(to.clone()).or_default().push(record);
        }
        let paid = |lot: &Lot| {
            let mut transfers = self.accounts.transfers.values();
            transfers.any(|one| {
                one.kind == TransferKind::Purchase
                    && one.debit == lot.number()
                    && one.order.is_some_and(|order| orders.contains(&order))
            })
        };
        let own = self.accounts.lots().filter(|lot| lot.account == *from);
        let lots: Vec<Lot> = own.filter(|lot| lot.balance != 0 || lot.held != 0 || paid(lot)).collect();
        for lot in &lots {
            if lot.origin == Origin::Promotional && lot.available() > 0 {
                let credit = self.accounts.house(lot.house());
                self.accounts.post(Transfer {
                    id: TransferId::of_move(joined.device, joined.number, lot.id),
                    kind: TransferKind::CreditRefund,
                    debit: lot.number(),
                    credit,
                    amount: lot.available(),
                    order: None,
                    hold: None,
                    at: *now,
                })?;
                self.accounts.add_refunded(lot.id, lot.available());
            }
            self.accounts.change_owner(lot.id, to);
        }
        for lot in &lots {
            let balance = lot::total(&self.accounts.wallet(to, lot.currency));
            if balance.is_none() {
                return Err(Denied::TooManyPurchases.into());
            }
        }
        let operators = |hold: &&mut HoldRecord| {
            hold.account == *from
                && hold.status == HoldStatus::Pending
                && !self.allowances.contains_key(&AllowanceId(hold.id.0))
        };
        for hold in self.holds.values_mut().filter(operators) {
            hold.account = to.clone();
        }
        Ok(())
    }

    fn member(&self, id: KeyId) -> Option<Member> {
        let (device, known) = (self.devices.get(&id)?, self.members.devices.get(&id)?);
        Some(Member {
            id,
            account: device.account.clone(),
            place: known.place,
            name: known.name.clone(),
            enrolled_at: known.enrolled_at,
            frozen_at: self.frozen.get(&id).copied(),
            revoked_at: known.revoked_at,
            replaced_by: known.replaced_by,
            chain: device.chain,
        })
    }

    fn members_of(&self, account: &AccountId) -> Vec<Member> {
        let all = self.devices.keys().filter_map(|id| self.member(*id));
        all.filter(|member| member.account == *account).collect()
    }

    fn arrivals(&self, account: &AccountId) -> Arrivals {
        let arrived = || self.members.moves.iter().filter(|one| one.to == *account);
        let devices: BTreeSet<KeyId> = arrived().map(|one| one.device).collect();
        Arrivals { moves: arrived().count() as u64, devices: devices.len() as u64 }
    }

    fn ever(&self, account: &AccountId) -> u64 {
        membership::ever(self.arrivals(account), &self.members_of(account))
    }

    /// What a device is told of its account.
    fn told(&self, device: KeyId) -> Membership {
        let account = self.devices.get(&device).map_or_else(|| device.guest_account(), |found| found.account.clone());
        Membership {
            device,
            signed_in: self.members.login_of(&account).is_some(),
            devices: membership::told(device, self.members_of(&account)),
            chain: self.member(device).filter(|member| !member.is_revoked()).and_then(|member| member.chain),
            account,
            link_code: None,
            changed: false,
        }
    }

    pub(super) fn name(&mut self, device: KeyId, name: Option<DeviceName>) {
        if let Some(known) = self.members.devices.get_mut(&device) {
            known.name = name;
        }
    }

    /// Revokes a device: closes its allowances, and whatever code it may have made is good no longer.
    pub(super) fn revoke(&mut self, device: KeyId, replaced_by: Option<KeyId>, now: UnixSeconds) {
        self.close_allowances(device, now);
        if let Some(known) = self.members.devices.get_mut(&device) {
            (known.revoked_at, known.replaced_by) = (Some(now), replaced_by);
        }
        if let Some(device) = self.devices.get_mut(&device) {
            device.revoked = true;
            self.members.link_codes.remove(&device.account);
        }
    }
}
