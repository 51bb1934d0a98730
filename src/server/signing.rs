//! Who signs receipts: the server's key, the game it signs for, and where receipt ids come from.

use std::fmt;
use std::sync::Arc;

use rayon::prelude::*;

use super::ledger::LedgerError;
use crate::protocol::{GameId, Receipt, ReceiptId, SecretKey, Token};

/// Below this many receipts, handing them to other threads costs more than signing them.
const WORTH_SHARING: usize = 8;

/// Signs receipts for one game.
pub struct Signer {
    /// The server's key.
    pub key: Arc<SecretKey>,
    /// The game that the receipts are for.
    pub game: GameId,
    ids: Box<dyn ReceiptIds>,
}

impl Signer {
    /// A signer whose receipt ids are random.
    pub fn new(key: Arc<SecretKey>, game: GameId) -> Self {
        Self::with_ids(key, game, Box::new(RandomIds))
    }

    /// A signer with its receipt ids from `ids`, so that a test can foretell them.
    pub fn with_ids(key: Arc<SecretKey>, game: GameId, ids: Box<dyn ReceiptIds>) -> Self {
        Self { key, game, ids }
    }

    /// The id of the next receipt.
    ///
    /// # Errors
    /// The random source failed.
    pub fn next_id(&mut self) -> Result<ReceiptId, LedgerError> {
        self.ids.next_id()
    }

    /// Signs all of `receipts` on other threads, while `work` is done on this one.
    pub(crate) fn sign_while<T>(
        &self,
        receipts: &[Receipt],
        threads: Threads,
        work: impl FnOnce() -> T,
    ) -> (Result<Vec<Token>, LedgerError>, T) {
        if receipts.is_empty() {
            return (Ok(Vec::new()), work());
        }
        let mut tokens = Ok(Vec::new());
        let key = &self.key;
        let done = rayon::in_place_scope(|scope| {
            scope.spawn(|_| tokens = sign(key, receipts, threads));
            work()
        });
        (tokens, done)
    }

    /// Signs all of `receipts`, in their order, on several threads where that is faster.
    ///
    /// # Errors
    /// A receipt does not serialise.
    pub fn sign(&self, receipts: &[Receipt]) -> Result<Vec<Token>, LedgerError> {
        sign(&self.key, receipts, Threads::All)
    }
}

/// On how many threads receipts are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Threads {
    /// On as many as there are processors.
    All,
    /// On one less, which is left to a database that writes meanwhile.
    #[cfg(feature = "postgres")]
    AllButOne,
}

fn sign(key: &SecretKey, receipts: &[Receipt], threads: Threads) -> Result<Vec<Token>, LedgerError> {
    let sign = |receipt: &Receipt| receipt.sign(key).map_err(LedgerError::Signing);
    match threads {
        _ if receipts.len() < WORTH_SHARING => receipts.iter().map(sign).collect(),
        Threads::All => receipts.par_iter().map(sign).collect(),
        #[cfg(feature = "postgres")]
        Threads::AllButOne => {
            let parts = rayon::current_num_threads().saturating_sub(1).max(1);
            let parts = receipts.par_chunks(receipts.len().div_ceil(parts));
            parts.flat_map_iter(|part| part.iter().map(sign)).collect()
        }
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("key", &self.key).field("game", &self.game).finish_non_exhaustive()
    }
}

/// Where receipt ids come from.
pub trait ReceiptIds: Send {
    /// An id that was never given before.
    ///
    /// # Errors
    /// The source failed.
    fn next_id(&mut self) -> Result<ReceiptId, LedgerError>;
}

/// 128 bits from the operating system's random source.
#[derive(Clone, Copy, Debug, Default)]
pub struct RandomIds;

impl ReceiptIds for RandomIds {
    fn next_id(&mut self) -> Result<ReceiptId, LedgerError> {
        let mut id = [0; 16];
        getrandom::fill(&mut id).map_err(|error| LedgerError::Random(error.to_string()))?;
        Ok(ReceiptId(id))
    }
}
