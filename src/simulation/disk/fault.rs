//! The calls to a disk, and the ways in which they fail.

use std::collections::BTreeMap;
use std::io;

/// A call that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::simulation) struct Fault {
    /// The number of the call, counted from 0.
    pub(in crate::simulation) call: u64,
    pub(in crate::simulation) kind: FaultKind,
    /// Whether every later call fails as well, until the disk is healed.
    pub(in crate::simulation) for_ever: bool,
}

impl Fault {
    /// Whether the call of this number fails.
    pub(super) fn strikes(self, number: u64, call: Call) -> bool {
        let is_its_time = number == self.call || (self.for_ever && number > self.call);
        is_its_time && self.kind.strikes(call)
    }
}

/// How often each kind of fault struck each sort of call.
pub(in crate::simulation) type Struck = BTreeMap<(FaultKind, Call), u64>;

/// What a call does, as far as it can fail for that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::simulation) enum Call {
    MakeFolder,
    /// The lock is taken, and its file made for that.
    MakeLock,
    /// The lock is taken, and its file is there.
    Lock,
    Open,
    Read,
    MakeFile,
    /// A write past the end of a file.
    Extend,
    /// A write into what is there.
    Overwrite,
    Lengthen,
    Shorten,
    Rename,
    Remove,
    /// A file is made durable that has become longer.
    SyncLonger,
    Sync,
    SyncFolder,
}

impl Call {
    pub(in crate::simulation) const ALL: [Self; 15] = [
        Self::MakeFolder,
        Self::MakeLock,
        Self::Lock,
        Self::Open,
        Self::Read,
        Self::MakeFile,
        Self::Extend,
        Self::Overwrite,
        Self::Lengthen,
        Self::Shorten,
        Self::Rename,
        Self::Remove,
        Self::SyncLonger,
        Self::Sync,
        Self::SyncFolder,
    ];

    /// Whether it may leave the disk other than it was.
    pub(super) fn is_change(self) -> bool {
        !matches!(self, Self::MakeLock | Self::Lock | Self::Open | Self::Read)
    }
}

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::simulation) enum FaultKind {
    /// EIO: a write may have written half.
    Broken,
    /// ENOSPC: nothing can be made longer, made, or named.
    Full,
    /// EDQUOT: the same.
    Quota,
    /// ENOSPC where whatever is changed is written elsewhere first (btrfs, ZFS): nothing can be overwritten, shortened or
    /// removed either.
    FullOfCopies,
    /// EACCES.
    Denied,
    /// A write writes less than all; for ever: nothing.
    Short,
    /// EINTR.
    Interrupted,
    /// Making durable fails, and what was written or named is taken for durable from then on: it is in the cache, and will
    /// never reach the disk by itself ("fsyncgate").
    SyncLost,
    /// EIO, although it was done, as on a network's file system where the answer was lost.
    Unheard,
    /// ENOENT: another program took away the new journal, which was to be given its name.
    TakenAway,
    /// ENOLCK: no lock can be had.
    NoLocks,
    /// Somebody else holds the lock.
    LockedElsewhere,
}

impl FaultKind {
    pub(in crate::simulation) const ALL: [Self; 12] = [
        Self::Broken,
        Self::Full,
        Self::Quota,
        Self::FullOfCopies,
        Self::Denied,
        Self::Short,
        Self::Interrupted,
        Self::SyncLost,
        Self::Unheard,
        Self::TakenAway,
        Self::NoLocks,
        Self::LockedElsewhere,
    ];

    /// Whether such a call fails in this way.
    pub(in crate::simulation) fn strikes(self, call: Call) -> bool {
        use Call::*;
        match self {
            Self::Broken | Self::Denied | Self::Interrupted => true,
            // What is allocated already can be written, made durable, shortened and removed.
            Self::Full | Self::Quota => {
                let takes_room = matches!(call, MakeFolder | MakeLock | MakeFile | Extend | Lengthen | Rename);
                takes_room || matches!(call, SyncLonger | SyncFolder)
            }
            Self::FullOfCopies => !matches!(call, Lock | Open | Read),
            Self::Short => matches!(call, Extend | Overwrite),
            Self::SyncLost => matches!(call, SyncLonger | Sync | SyncFolder),
            Self::Unheard => call.is_change(),
            Self::TakenAway => matches!(call, Rename),
            Self::NoLocks | Self::LockedElsewhere => matches!(call, MakeLock | Lock),
        }
    }

    pub(super) fn error(self) -> io::Error {
        let code = match self {
            Self::Broken | Self::SyncLost | Self::Unheard => 5,
            Self::Full | Self::FullOfCopies => 28,
            Self::Quota => 122,
            Self::Denied => 13,
            Self::Interrupted => 4,
            Self::TakenAway => 2,
            Self::NoLocks => 37,
            Self::Short => return io::ErrorKind::WriteZero.into(),
            Self::LockedElsewhere => return io::ErrorKind::WouldBlock.into(),
        };
        io::Error::from_raw_os_error(code)
    }
}
