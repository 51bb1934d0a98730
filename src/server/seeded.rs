//! Deliberate bugs in the server, for the tests to prove that they would see them: each can be switched on alone, in a
//! test build. In any other build the question is answered with a constant no, and leaves no trace.

/// A deliberate bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// An order counts whatever it follows.
    IgnoreChain,
    /// An order is granted whatever is in the wallet.
    IgnoreFunds,
    /// What is set aside can be spent.
    SpendHeld,
    /// Whatever an order says to cost is believed.
    AnyPrice,
    /// A right that is owned is sold again.
    SellTwice,
    /// An id that was used for another order is answered as if it were that one.
    ForgetConflict,
    /// An allowance pays for an order whose running total was reached before.
    AllowancePaysTwice,
    /// An allowance pays more than it was set aside with.
    AllowancePaysMore,
    /// An allowance that the device still makes orders within is closed.
    CloseCurrent,
    /// What is left of an allowance stays set aside when it is closed.
    KeepWhatIsClosed,
    /// Holds never end.
    NeverExpire,
    /// Another allowance is given as if the device had none.
    ForgetOpenAllowances,
    /// Whatever shows that a device was copied is passed over.
    IgnoreFork,
    /// Orders of a frozen device are settled.
    SellToFrozen,
    /// Who has heard of some of the feed has heard of all before it.
    SkipUnheard,
}

/// Whether a bug is switched on.
#[cfg(not(test))]
pub(crate) const fn seeded(_: Bug) -> bool {
    false
}

#[cfg(all(test, feature = "client"))]
impl Bug {
    pub(crate) const ALL: [Self; 15] = [
        Self::IgnoreChain,
        Self::IgnoreFunds,
        Self::SpendHeld,
        Self::AnyPrice,
        Self::SellTwice,
        Self::ForgetConflict,
        Self::AllowancePaysTwice,
        Self::AllowancePaysMore,
        Self::CloseCurrent,
        Self::KeepWhatIsClosed,
        Self::NeverExpire,
        Self::ForgetOpenAllowances,
        Self::IgnoreFork,
        Self::SellToFrozen,
        Self::SkipUnheard,
    ];
}

#[cfg(test)]
pub(crate) use switched::seeded;
#[cfg(all(test, feature = "client"))]
pub(crate) use switched::with;

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
    #[cfg(feature = "client")]
    pub(crate) fn with<T>(bug: Bug, act: impl FnOnce() -> T) -> T {
        SWITCHED_ON.set(Some(bug));
        let result = act();
        SWITCHED_ON.set(None);
        result
    }
}
