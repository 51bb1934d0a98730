//! Planning what becomes of a device's membership in its account.

use std::collections::BTreeMap;

use super::super::account::Origin;
use super::super::changes::Changes;
use super::super::consumption::Items;
use super::super::hold::HoldRecord;
use super::super::lot::Lot;
use super::super::membership::{
    self, AccountChange, AccountRules, AccountWish, Arrivals, Belongings, Denied, LinkCodeRecord, Login, MOST_MOVED,
    ManageError, Member, Membership, Move, Successor,
};
use super::super::transfer::{Transfer, TransferKind};
use super::super::{LedgerError, TransferId, books};
use super::{Facts, Plan};
use crate::protocol::account::{DeviceName, IssuedLinkCode, LINK_CODE_LIFE, LinkCode};
use crate::protocol::{AccountId, Currency, GameId, KeyId, Micros, OrderId, PublicKey, Sha256, Token, UnixSeconds};
use crate::server::signing::Signer;

/// What a plan asks the books about devices and their accounts.
pub(crate) trait AccountFacts: Facts {
    /// A device, whichever account it belongs to.
    fn member(&mut self, device: KeyId) -> Result<Option<Member>, LedgerError>;

    /// The devices of an account, revoked ones too; in any order.
    fn members(&mut self, account: &AccountId) -> Result<Vec<Member>, LedgerError>;

    /// Whose account it is, if the game's login knows.
    fn login_of(&mut self, account: &AccountId) -> Result<Option<Login>, LedgerError>;

    /// The account of somebody whom the game's login knows.
    fn account_of_login(&mut self, login: Login) -> Result<Option<AccountId>, LedgerError>;

    /// The link code with this digest, if there is one; those that have ended too.
    fn link_code(&mut self, sha256: Sha256) -> Result<Option<LinkCodeRecord>, LedgerError>;

    /// Whether a question was asked before.
    fn is_asked(&mut self, question: Sha256) -> Result<bool, LedgerError>;

    /// The last move of a device.
    fn last_move(&mut self, device: KeyId) -> Result<Option<Move>, LedgerError>;

    /// What has moved into an account.
    fn arrivals(&mut self, account: &AccountId) -> Result<Arrivals, LedgerError>;

    /// The orders of an account of which something is granted, in the order of its feed, each with the last receipt
    /// that the account got for it; none if there are too many, or its feed is too long to look at.
    fn purchases(&mut self, account: &AccountId) -> Result<Option<Vec<(OrderId, Token)>>, LedgerError>;

    /// How many of each item an account has used up of what its orders give.
    fn items_used(&mut self, account: &AccountId) -> Result<Items, LedgerError>;

    /// The lots of an account, in every currency, that are open or have paid for one of these orders; in any order.
    fn lots_behind(&mut self, account: &AccountId, orders: &[OrderId]) -> Result<Vec<Lot>, LedgerError>;

    /// The holds of an account that are pending and that an operator has made; in any order.
    fn operators_holds(&mut self, account: &AccountId) -> Result<Vec<HoldRecord>, LedgerError>;
}

/// Decides what becomes of what a device asks about its account. Where the changes remember the question they are to be
/// written, also if it is not to be done; otherwise there are none.
///
/// A question is done once, or refused once: whoever has overheard one and sends it again changes nothing by it.
///
/// # Errors
/// The books cannot be read.
pub(crate) fn manage(
    facts: &mut impl AccountFacts,
    wish: &AccountWish,
    rules: &AccountRules,
    game: &GameId,
    signer: &mut Signer,
    now: UnixSeconds,
) -> Result<(Changes, Result<Membership, Denied>), LedgerError> {
    let member = facts.member(wish.device)?.ok_or(LedgerError::UnknownDevice(wish.device))?;
    // A revoked device changes nothing anyway, for ever.
    let may_change = wish.change != AccountChange::Show && !member.is_revoked();
    let is_known = may_change && facts.is_asked(wish.question)?;
    let mut plan = Plan::new(facts, game, now);
    let asker = Asker { member, rules: *rules };
    let (mut changes, told) = match plan.manage(asker, &wish.change, signer) {
        Ok(told) if !told.changed => (Changes::default(), Ok(told)),
        Ok(_) if is_known => (Changes::default(), Err(Denied::AskedBefore)),
        Ok(told) => (plan.changes, Ok(told)),
        Err(ManageError::Denied(denied)) => (Changes::default(), Err(denied)),
        Err(ManageError::Ledger(error)) => return Err(error),
    };
    changes.membership.question = (may_change && !is_known).then_some(wish.question);
    Ok((changes, told))
}

/// Whoever asks, and by which rules.
struct Asker {
    member: Member,
    rules: AccountRules,
}

type Managed = Result<Membership, ManageError>;

impl<F: AccountFacts> Plan<'_, F> {
    fn manage(&mut self, asker: Asker, change: &AccountChange, signer: &mut Signer) -> Managed {
        let member = &asker.member;
        match change {
            AccountChange::Show => self.as_it_is(member),
            AccountChange::RevokeDevice(device) if *device == member.id && member.is_revoked() => self.as_it_is(member),
            AccountChange::ReplaceKey { key, .. } if member.replaced_by == Some(key.id()) => {
                let successor = self.facts.member(key.id())?;
                let successor = successor.ok_or_else(|| LedgerError::damaged("a device's successor is missing"))?;
                // The old key hears no more of it than that it was done.
                let successor = Member { account: member.account.clone(), chain: None, ..successor };
                self.told(&successor, vec![successor.clone()])
            }
            _ if member.is_revoked() => Err(Denied::Revoked(member.id).into()),
            AccountChange::LinkCode => self.make_link_code(member, signer),
            AccountChange::JoinByCode(code) => self.join_by_code(asker, *code, signer),
            AccountChange::SignIn(login) => self.sign_in(asker, *login, signer),
            AccountChange::NameDevice(device, name) => self.name_own(member, *device, name.as_ref()),
            AccountChange::RevokeDevice(device) => self.revoke_own(member, *device),
            AccountChange::ReplaceKey { key, account } => self.replace_key(asker, *key, account),
        }
    }

    /// What a device is told where nothing changes.
    fn as_it_is(&mut self, member: &Member) -> Managed {
        let members = self.facts.members(&member.account)?;
        self.told(member, members)
    }

    /// What a device is told of its account with these members, of which it is one, as they are from now on.
    fn told(&mut self, asker: &Member, members: Vec<Member>) -> Managed {
        let live = members.iter().find(|member| member.id == asker.id && !member.is_revoked());
        Ok(Membership {
            account: asker.account.clone(),
            device: asker.id,
            signed_in: self.facts.login_of(&asker.account)?.is_some(),
            chain: live.and_then(|member| member.chain),
            devices: membership::told(asker.id, members),
            link_code: None,
            changed: false,
        })
    }

    fn changed(told: Membership) -> Managed {
        Ok(Membership { changed: true, ..told })
    }

    fn make_link_code(&mut self, member: &Member, signer: &mut Signer) -> Managed {
        if member.frozen_at.is_some() {
            return Err(Denied::Frozen(member.id).into());
        }
        let account = member.account.clone();
        let code = loop {
            let code = membership::random_code(signer)?;
            let taken = self.facts.link_code(code.sha256())?;
            match taken {
                // It is another account's, and nobody may find two accounts behind one code.
                Some(taken) if taken.account != account && taken.expires_at > self.now => {}
                Some(taken) => {
                    self.changes.membership.void_codes.push(taken.account);
                    break code;
                }
                None => break code,
            }
        };
        let expires_at = self.now.saturating_add(LINK_CODE_LIFE);
        let told = self.as_it_is(member)?;
        self.changes.membership.void_codes.push(account.clone());
        self.changes.membership.link_code = Some(LinkCodeRecord { account, sha256: code.sha256(), expires_at });
        Self::changed(Membership { link_code: Some(IssuedLinkCode { code, expires_at }), ..told })
    }

    fn join_by_code(&mut self, asker: Asker, code: LinkCode, signer: &mut Signer) -> Managed {
        let (sha256, now) = (code.sha256(), self.now);
        let found = self.facts.link_code(sha256)?.filter(|found| found.expires_at > now);
        if let Some(found) = found {
            return self.join(asker, found.account, Some(sha256), signer);
        }
        let last = self.facts.last_move(asker.member.id)?;
        match last.is_some_and(|last| last.code == Some(sha256)) {
            // It has joined by it, and did not hear of that.
            true => self.as_it_is(&asker.member),
            false => Err(Denied::WrongLinkCode.into()),
        }
    }

    fn sign_in(&mut self, asker: Asker, login: Login, signer: &mut Signer) -> Managed {
        if let Some(account) = self.facts.account_of_login(login)? {
            return self.join(asker, account, None, signer);
        }
        let account = &asker.member.account;
        if self.facts.login_of(account)?.is_some() {
            return Err(Denied::OtherLogin.into());
        }
        let told = self.as_it_is(&asker.member)?;
        self.changes.membership.login = Some((login, account.clone(), self.now));
        Self::changed(Membership { signed_in: true, ..told })
    }

    fn name_own(&mut self, member: &Member, device: KeyId, name: Option<&DeviceName>) -> Managed {
        let mut members = self.facts.members(&member.account)?;
        let named = members.iter_mut().find(|one| one.id == device && !one.is_revoked());
        let named = named.ok_or(Denied::NotYourDevice(device))?;
        if named.name.as_ref() == name {
            return self.told(member, members);
        }
        named.name = name.cloned();
        self.changes.membership.named.push((device, name.cloned()));
        let told = self.told(member, members)?;
        Self::changed(told)
    }

    fn revoke_own(&mut self, member: &Member, device: KeyId) -> Managed {
        let mut members = self.facts.members(&member.account)?;
        let revoked = members.iter_mut().find(|one| one.id == device).ok_or(Denied::NotYourDevice(device))?;
        if revoked.is_revoked() {
            return self.told(member, members);
        }
        if member.frozen_at.is_some() && device != member.id {
            return Err(Denied::Frozen(member.id).into());
        }
        self.touch(&member.account)?;
        self.revoke(device, &member.account, None)?;
        revoked.revoked_at = Some(self.now);
        let told = self.told(member, members)?;
        Self::changed(told)
    }

    fn replace_key(&mut self, asker: Asker, key: PublicKey, named: &AccountId) -> Managed {
        let Asker { member, rules } = asker;
        let account = &member.account;
        if named != account {
            return Err(Denied::WrongAccount { named: named.clone(), account: account.clone() }.into());
        }
        if self.facts.member(key.id())?.is_some() {
            return Err(Denied::KeyTaken(key.id()).into());
        }
        let mut members = self.facts.members(account)?;
        if !rules.allow_another(membership::ever(self.facts.arrivals(account)?, &members)) {
            return Err(Denied::TooManyEver.into());
        }
        self.touch(account)?;
        let feed = self.facts.feed_length(account)?;
        self.revoke(member.id, account, Some(key.id()))?;
        members.retain(|one| one.id != member.id);
        let successor = Member { id: key.id(), enrolled_at: self.now, chain: None, ..member };
        members.push(successor.clone());
        let told = self.told(&successor, members)?;
        self.changes.membership.feeds.push((successor.account.clone(), feed));
        self.changes.membership.successor = Some(Successor { key, member: successor });
        Self::changed(told)
    }

    /// Has a device join an account.
    fn join(&mut self, asker: Asker, to: AccountId, code: Option<Sha256>, signer: &mut Signer) -> Managed {
        let Asker { member, rules } = asker;
        let from = member.account.clone();
        if from == to {
            return self.as_it_is(&member);
        }
        // What it has would be out of reach of whoever froze it.
        if member.frozen_at.is_some() {
            return Err(Denied::Frozen(member.id).into());
        }
        let mut members = self.facts.members(&to)?;
        let arrivals = self.facts.arrivals(&to)?;
        if !rules.have_room(&members) {
            return Err(Denied::TooManyDevices.into());
        }
        if !rules.allow_another(membership::ever(arrivals, &members)) {
            return Err(Denied::TooManyEver.into());
        }
        self.touch(&from)?;
        self.touch(&to)?;
        let (left, length) = (self.facts.feed_length(&from)?, self.facts.feed_length(&to)?);
        let others = self.facts.members(&from)?;
        let alone = others.iter().all(|one| one.id == member.id || one.is_revoked());
        let closing = alone && self.facts.login_of(&from)?.is_none();
        let last = self.facts.last_move(member.id)?;
        let joined = Move {
            device: member.id,
            number: last.map_or(1, |last| last.number.saturating_add(1)),
            from: from.clone(),
            to: to.clone(),
            place: i64::try_from(arrivals.moves).unwrap_or(i64::MAX).saturating_add(1),
            sequence: membership::sequence(member.chain),
            closing,
            code,
            at: self.now,
        };
        self.close_allowances(member.id, &from)?;
        let belongings = if closing { self.belongings(&joined, length, signer)? } else { Belongings::default() };
        let member = Member { account: to.clone(), place: joined.place, ..member };
        members.push(member.clone());
        let told = self.told(&member, members)?;
        let news = belongings.orders.len().saturating_add(belongings.used.len());
        let length = length.saturating_add(news as u64);
        let changes = &mut self.changes.membership;
        changes.feeds.extend([(from.clone(), left), (to.clone(), length)]);
        changes.void_codes.extend(closing.then_some(from));
        changes.void_codes.extend(code.map(|_| to));
        changes.joined = Some((joined, belongings));
        Self::changed(told)
    }

    /// What moves along with a guest's last device: the orders, with a receipt for each; the lots, of which what nobody
    /// paid for and nobody has set aside goes back to its source; and the operator's holds.
    fn belongings(&mut self, joined: &Move, length: u64, signer: &mut Signer) -> Result<Belongings, ManageError> {
        let Move { from, to, .. } = joined;
        let purchases = self.facts.purchases(from)?.filter(|purchases| purchases.len() <= MOST_MOVED);
        let purchases = purchases.ok_or(Denied::TooManyPurchases)?;
        let mut orders = Vec::with_capacity(purchases.len());
        for ((order, last), feed) in purchases.into_iter().zip(length.saturating_add(1)..) {
            let last = books::stored_receipt(&last)?;
            self.changes.receipts.push(membership::moved_receipt(last, to, feed, signer, self.now)?);
            orders.push((order, feed));
        }
        let used = self.facts.items_used(from)?;
        let used = membership::used_receipts(used, joined, length.saturating_add(orders.len() as u64), signer)?;
        let ids: Vec<OrderId> = orders.iter().map(|(order, _)| *order).collect();
        let mut lots = self.facts.lots_behind(from, &ids)?;
        lots.sort_by_key(|lot| lot.id);
        let mut moved: BTreeMap<Currency, (i64, i64)> = BTreeMap::new();
        for lot in &mut lots {
            // What is open is as this plan has left it.
            if let Some(open) = self.wallet(from, lot.currency)?.iter().find(|open| open.id == lot.id) {
                *lot = open.clone();
            }
            let back = if lot.origin == Origin::Promotional { lot.available().max(0) } else { 0 };
            self.give_back(joined, lot, back);
            let (available, held) = moved.entry(lot.currency).or_default();
            *available = available.saturating_add(lot.available().saturating_sub(back));
            *held = held.saturating_add(lot.held);
        }
        for (currency, (available, held)) in moved {
            let before = self.balance(to, currency)?;
            let sum = |one: Micros, other: i64| Micros::new(one.value().checked_add(other)?).ok();
            let after = sum(before.available, available).zip(sum(before.held, held));
            if after.is_none_or(|(available, held)| available.checked_add(held).is_none()) {
                return Err(Denied::TooManyPurchases.into());
            }
        }
        let holds = self.facts.operators_holds(from)?.into_iter().filter(|hold| !hold.is_due(self.now));
        let holds = holds.map(|hold| hold.id).collect();
        Ok(Belongings { orders, used, lots: lots.iter().map(|lot| (lot.id, lot.currency)).collect(), holds })
    }

    /// Gives a part of a lot back to where it came from, because of a move.
    fn give_back(&mut self, joined: &Move, lot: &Lot, amount: i64) {
        if amount <= 0 {
            return;
        }
        let house = self.changes.house(lot.house());
        self.changes.transfer(Transfer {
            id: TransferId::of_move(joined.device, joined.number, lot.id),
            kind: TransferKind::CreditRefund,
            debit: lot.number(),
            credit: house,
            amount,
            order: None,
            hold: None,
            at: self.now,
        });
        self.changes.refunded.insert(lot.number(), amount);
    }
}

impl<F: Facts> Plan<'_, F> {
    /// Revokes a device of an account, which must have been touched: closes its allowances, and whatever code it may
    /// have made is good no longer.
    pub(super) fn revoke(
        &mut self,
        device: KeyId,
        account: &AccountId,
        replaced_by: Option<KeyId>,
    ) -> Result<(), LedgerError> {
        self.close_allowances(device, account)?;
        self.changes.membership.void_codes.push(account.clone());
        self.changes.membership.revoked.push((device, self.now, replaced_by));
        Ok(())
    }

    fn close_allowances(&mut self, device: KeyId, account: &AccountId) -> Result<(), LedgerError> {
        for allowance in self.open_allowances(device, account)? {
            self.close(allowance)?;
        }
        Ok(())
    }
}
