//! Deliberate bugs, for the tests to prove that they would see them: each can be switched on alone, in a test build.
//! In any other build the question is answered with a constant no, and leaves no trace.

/// A deliberate bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    target_family = "wasm",
    expect(dead_code, reason = "most of them are bugs of files, which a browser has not")
)]
pub(crate) enum Bug {
    /// An append is acknowledged before it is made durable.
    AcknowledgeBeforeSync,
    /// After making a file durable failed, it is tried again on the same handle.
    RetrySync,
    /// What a failed append left is not cut off.
    NoCutBack,
    /// That it is not known whether an append is durable is reported as a plain failure.
    UncertainIsFailure,
    /// The part of a write that was not written is forgotten.
    ForgetShortWrite,
    /// The sums are not checked.
    SkipChecksum,
    /// The last record of an append of several is left out.
    DropLastOfAppend,
    /// A torn append is left where it is.
    LeaveTornAppend,
    /// What was read when opening is not made durable.
    TrustTheCache,
    /// Reading stops at damage, and says nothing.
    StopAtDamage,
    /// What a sync said after damage is believed.
    KeepCursorAfterDamage,
    /// What the next order follows is forgotten after damage.
    ForgetChainAfterDamage,
    /// No word is left of damage that was mended.
    ForgetReport,
    /// That word is removed before the game was told.
    ForgetReportUntold,
    /// Damage is told that is not mended.
    TellUnmended,
    /// The old journal is gone on with although a call failed that gave the new one its name.
    KeepReplaced,
    /// An order is shown with another quantity after a start.
    AlterOrder,
    /// The folder is not made durable after a new name.
    SkipFolderSync,
    /// Names that could not be made durable are taken for durable when the folder is made durable a second time.
    TrustForgottenNames,
    /// The new journal is not made durable before it gets its name.
    SkipNewFileSync,
    /// The journal is written anew in its own place.
    RewriteInPlace,
    /// The key is not made durable.
    SkipKeySync,
    /// The lock is not taken.
    ForgetLock,
    /// Unanswered orders are left out when the journal is written anew.
    CompactOrders,
    /// What was used up is left out when the journal is written anew.
    CompactConsumed,
    /// What the next order follows is left out when the journal is written anew.
    CompactChain,
    /// An order is said to be queued when it is signed.
    QueuedBeforeDurable,
    /// An order is sent when it is signed.
    SentBeforeDurable,
    /// A receipt counts when it comes.
    AppliedBeforeDurable,
    /// The cursor moves on although the receipts could not be saved.
    CursorWithoutReceipts,
    /// A receipt that comes again counts again.
    ReceiptCountsTwice,
    /// What was used up is forgotten at the start.
    ForgetConsumed,
    /// Seals are not checked.
    TrustAnySeal,
    /// Orders that no receipt answered are forgotten at the start.
    ForgetUnanswered,
    /// The key that is to take the place of the device's is not made durable.
    SkipNextKeySync,
    /// It takes that place before the journal says so.
    TakeKeyBeforeDurable,
    /// It never takes it.
    LeaveNextKey,
    /// A crash before it took it is not mended.
    ForgetNextKey,
    /// Orders that are left with an account are forgotten.
    ForgetLeft,
    /// What came of them is not kept until the game has heard it.
    ForgetLeftUntold,
    /// The next order follows them.
    FollowLeft,
    /// Which account was joined is left out when the journal is written anew.
    CompactAccount,
    /// Orders are sent from the newest to the oldest.
    NewestFirst,
    /// The chain goes on from the journal's last order, whatever the server says.
    NeverFollow,
    /// What nobody has signed says that orders are declined.
    TrustRefusals,
    /// A key that was revoked is believed.
    BelieveRevoked,
    /// What is given before its receipt stays when the order is declined.
    KeepWhatIsDeclined,
    /// What is spent of an allowance is forgotten at the start.
    ForgetSpent,
    /// What is spent by an order that a crash tore off is forgotten at the start after the next.
    ForgetTorn,
    /// More is spent than an allowance holds.
    SpendMore,
    /// An allowance is spent after its end.
    SpendAfterTheEnd,
    /// A page acknowledges an append before the browser has written it.
    QueuedBeforeWritten,
    /// What the browser refused to write goes with the next write.
    KeepRefused,
    /// A write of which nobody knows what it left is reported as a plain failure.
    UnknownIsFailure,
    /// After such a write the next one appends, and does not write everything anew.
    AppendAfterUnknown,
    /// Each append is put in the place of the last one.
    SameRow,
    /// The keys are left out when everything is written anew.
    AnewWithoutKeys,
    /// A page writes while another has the lock.
    WriteBesideAnother,
    /// A page leaves no mark of its own.
    SkipMark,
    /// A page that was overtaken stays open.
    StayOvertaken,
}

/// Whether a bug is switched on.
#[cfg(not(test))]
pub(crate) const fn seeded(_: Bug) -> bool {
    false
}

#[cfg(test)]
impl Bug {
    pub(crate) const ALL: [Self; 42] = [
        Self::AcknowledgeBeforeSync,
        Self::RetrySync,
        Self::NoCutBack,
        Self::UncertainIsFailure,
        Self::ForgetShortWrite,
        Self::SkipChecksum,
        Self::DropLastOfAppend,
        Self::LeaveTornAppend,
        Self::TrustTheCache,
        Self::StopAtDamage,
        Self::KeepCursorAfterDamage,
        Self::ForgetChainAfterDamage,
        Self::ForgetReport,
        Self::ForgetReportUntold,
        Self::TellUnmended,
        Self::KeepReplaced,
        Self::AlterOrder,
        Self::SkipFolderSync,
        Self::TrustForgottenNames,
        Self::SkipNewFileSync,
        Self::RewriteInPlace,
        Self::SkipKeySync,
        Self::ForgetLock,
        Self::CompactOrders,
        Self::CompactConsumed,
        Self::CompactChain,
        Self::QueuedBeforeDurable,
        Self::SentBeforeDurable,
        Self::AppliedBeforeDurable,
        Self::CursorWithoutReceipts,
        Self::ReceiptCountsTwice,
        Self::ForgetConsumed,
        Self::TrustAnySeal,
        Self::ForgetUnanswered,
        Self::SkipNextKeySync,
        Self::TakeKeyBeforeDurable,
        Self::LeaveNextKey,
        Self::ForgetNextKey,
        Self::ForgetLeft,
        Self::ForgetLeftUntold,
        Self::FollowLeft,
        Self::CompactAccount,
    ];

    /// Those of them in what a page keeps in its browser.
    pub(crate) const OF_PAGES: [Self; 9] = [
        Self::QueuedBeforeWritten,
        Self::KeepRefused,
        Self::UnknownIsFailure,
        Self::AppendAfterUnknown,
        Self::SameRow,
        Self::AnewWithoutKeys,
        Self::WriteBesideAnother,
        Self::SkipMark,
        Self::StayOvertaken,
    ];

    /// Those of them in syncing and spending offline, which only the simulated world can see.
    #[cfg(feature = "server")]
    pub(crate) const OF_SYNC: [Self; 8] = [
        Self::NewestFirst,
        Self::NeverFollow,
        Self::TrustRefusals,
        Self::BelieveRevoked,
        Self::KeepWhatIsDeclined,
        Self::ForgetSpent,
        Self::SpendMore,
        Self::SpendAfterTheEnd,
    ];
}

#[cfg(test)]
pub(crate) use switched::{seeded, with};

#[cfg(test)]
mod switched {
    use std::cell::Cell;

    use super::Bug;

    thread_local! {
        static SWITCHED_ON: Cell<Option<Bug>> = const { Cell::new(None) };
    }

    /// Whether a bug is switched on in this thread.
    pub(crate) fn seeded(bug: Bug) -> bool {
        SWITCHED_ON.get() == Some(bug)
    }

    /// Does something in this thread with a bug switched on.
    pub(crate) fn with<T>(bug: Bug, act: impl FnOnce() -> T) -> T {
        let before = SWITCHED_ON.replace(Some(bug));
        let result = act();
        SWITCHED_ON.set(before);
        result
    }
}
