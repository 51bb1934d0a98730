//! The devices and their accounts: each device came into its account by moves that follow each other, an account that was
//! closed has nothing left, and a login has one account.

use std::collections::{BTreeMap, BTreeSet};

use super::AuditReport;
use crate::protocol::{AccountId, KeyId};
use crate::server::ledger::{AccountRow, DeviceRow, LoginRow, MoveRow, TransferId, TransferRow};

/// Which accounts everything of others has moved to.
#[derive(Default)]
pub(super) struct Heirs {
    to: BTreeMap<String, String>,
    from: BTreeMap<String, Vec<String>>,
}

impl Heirs {
    /// Whether the account is the first that is heard to have moved to another.
    fn add(&mut self, source: &str, target: &str) -> bool {
        self.from.entry(target.to_owned()).or_default().push(source.to_owned());
        self.to.insert(source.to_owned(), target.to_owned()).is_none()
    }

    /// Whether everything of an account has moved to another.
    pub(super) fn is_closed(&self, account: &str) -> bool {
        self.to.contains_key(account)
    }

    /// How often something moved that was of `before` and is of `now`; not at all, if they are the same.
    pub(super) fn steps(&self, before: &str, now: &str) -> Option<usize> {
        let mut account = before;
        // No account is closed twice, but what is stored may go round in circles.
        for steps in 0..=self.to.len() {
            if account == now {
                return Some(steps);
            }
            account = self.to.get(account)?;
        }
        None
    }

    /// Whether what was of `before` may be of `now`.
    pub(super) fn may_be(&self, before: &str, now: &str) -> bool {
        self.steps(before, now).is_some()
    }

    /// The accounts of which something may have moved to this one, itself among them.
    pub(super) fn before(&self, now: &str) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let mut left = vec![now.to_owned()];
        while let Some(account) = left.pop() {
            if found.insert(account.clone()) {
                left.extend(self.from.get(&account).into_iter().flatten().cloned());
            }
        }
        found
    }
}

#[derive(Default)]
pub(super) struct AccountAudit {
    pub(super) heirs: Heirs,
    /// The moves of each device.
    moves: BTreeMap<String, Vec<MoveRow>>,
    /// The moves that have closed an account, by their times: a device and the number of its move.
    closings: BTreeMap<i64, Vec<(KeyId, i64)>>,
    logins: BTreeSet<Vec<u8>>,
    owned: BTreeMap<String, Vec<u8>>,
    /// The account of each device, and the device that has taken its place.
    devices: BTreeMap<String, (String, Option<String>)>,
}

impl AccountAudit {
    pub(super) fn moved(&mut self, row: MoveRow, report: &mut AuditReport) {
        if row.closing {
            if !self.heirs.add(&row.source, &row.target) {
                report.differs(format_args!("account {}: it was closed twice", row.source));
            }
            if let Ok(device) = row.device.parse() {
                self.closings.entry(row.moved_at).or_default().push((device, row.number));
            }
        }
        self.moves.entry(row.device.clone()).or_default().push(row);
    }

    pub(super) fn login(&mut self, row: LoginRow, report: &mut AuditReport) {
        if !self.logins.insert(row.sha256.clone()) {
            report.differs(format_args!("account {}: its login is that of another one", row.account));
        }
        if self.owned.insert(row.account.clone(), row.sha256).is_some() {
            report.differs(format_args!("account {}: it has two logins", row.account));
        }
    }

    /// Whether a part of a lot went back to its source because of a move.
    pub(super) fn has_given_back(&self, row: &TransferRow) -> bool {
        let closings = self.closings.get(&row.created_at).into_iter().flatten();
        let (id, lot) = (TransferId(row.id), TransferId(row.debit_account));
        closings.into_iter().any(|(device, number)| TransferId::of_move(*device, *number, lot) == id)
    }

    /// Checks that an account that was closed has nothing left.
    pub(super) fn account(&self, row: &AccountRow, report: &mut AuditReport) {
        let left = row.credits_posted > row.debits_posted || row.debits_pending > 0;
        if row.lot.is_some() && left && self.heirs.is_closed(&row.owner) {
            report.differs(format_args!("account {}: it was closed, and there is still something in it", row.owner));
        }
    }

    pub(super) fn device(&mut self, row: &DeviceRow, report: &mut AuditReport) {
        if row.replaced_by.is_some() && row.revoked_at.is_none() {
            report.differs(format_args!("device {}: another one has its place, and it is not revoked", row.id));
        }
        if self.heirs.is_closed(&row.account) && row.revoked_at.is_none() {
            report.differs(format_args!("device {}: its account {} was closed", row.id, row.account));
        }
        self.devices.insert(row.id.clone(), (row.account.clone(), row.replaced_by.clone()));
    }

    /// Whether a device has belonged to an account when it signed the order with this number, or, where the order is no
    /// part of its chain, ever.
    pub(super) fn has_belonged(&self, device: KeyId, account: &AccountId, sequence: Option<i64>) -> bool {
        let device = device.to_string();
        let moves = self.moves.get(&device).map_or(&[][..], Vec::as_slice);
        let now = self.devices.get(&device).map(|(account, _)| account.as_str());
        let mut stays = moves.iter().map(|one| (one.source.as_str(), Some(one.sequence))).collect::<Vec<_>>();
        stays.extend(now.map(|now| (now, None)));
        let mut after = 0;
        for (stay, until) in stays {
            let inside =
                sequence.is_none_or(|sequence| sequence > after && until.is_none_or(|until| sequence <= until));
            if inside && *account == *stay {
                return true;
            }
            after = until.unwrap_or(after);
        }
        false
    }

    pub(super) fn finish(&self, report: &mut AuditReport) {
        let replaced: BTreeMap<&str, &str> =
            self.devices.iter().filter_map(|(old, (_, new))| Some((new.as_deref()?, old.as_str()))).collect();
        for (device, (account, _)) in &self.devices {
            let moves = self.moves.get(device).map_or(&[][..], Vec::as_slice);
            // A device opens the account that is called like it; one that has taken the place of another begins there.
            let first = moves.first().map_or(account, |first| &first.source);
            let right = match replaced.get(device.as_str()) {
                Some(old) => self.devices.get(*old).is_some_and(|(old, _)| old == first),
                None => first == device,
            };
            if !right {
                report.differs(format_args!("device {device}: nothing says how it came into the account {first}"));
            }
            let follows =
                moves.windows(2).all(|pair| pair[0].target == pair[1].source && pair[0].sequence <= pair[1].sequence);
            let numbered = moves.iter().zip(1..).all(|(one, number)| one.number == number && one.source != one.target);
            let arrived = moves.last().is_none_or(|last| last.target == *account);
            if !follows || !numbered || !arrived {
                report.differs(format_args!("device {device}: its moves do not lead into the account {account}"));
            }
        }
        for device in self.moves.keys().filter(|device| !self.devices.contains_key(*device)) {
            report.differs(format_args!("device {device}: it has moved, and is missing"));
        }
        for account in self.owned.keys().filter(|account| self.heirs.is_closed(account)) {
            report.differs(format_args!("account {account}: it was closed, and has a login"));
        }
        let known: BTreeSet<&String> = self
            .devices
            .values()
            .map(|(account, _)| account)
            .chain(self.moves.values().flatten().map(|one| &one.source))
            .collect();
        for account in self.owned.keys().filter(|account| !known.contains(account)) {
            report.differs(format_args!("account {account}: it has a login, and no device has opened it"));
        }
    }
}
