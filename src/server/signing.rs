//! Who signs receipts: the server's key, the game it signs for, and where receipt ids come from.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;

use super::ledger::LedgerError;
use super::signing_keys::SigningKeys;
use crate::protocol::consumption::ConsumptionReceipt;
use crate::protocol::sync::SyncResponse;
use crate::protocol::{
    AccountResponse, Allowance, GameId, KeyId, PublicKey, Receipt, ReceiptId, SecretKey, Token, TrustError, UnixSeconds,
};

/// Below this many receipts, handing them to other threads costs more than signing them.
const WORTH_SHARING: usize = 8;

/// Signs receipts and answers for one game.
pub struct Signer {
    key: SigningKey,
    /// The game that they are for.
    pub game: GameId,
    ids: Box<dyn ReceiptIds>,
}

/// A key, and when it may be used.
#[derive(Clone, Debug)]
pub(crate) struct SigningKey {
    key: Arc<SecretKey>,
    id: KeyId,
    span: Range<UnixSeconds>,
}

impl SigningKey {
    fn new(key: Arc<SecretKey>, span: Range<UnixSeconds>) -> Self {
        Self { id: key.id(), key, span }
    }

    /// What is signed outside a key's time would be believed by nobody.
    fn may_sign_at(&self, at: UnixSeconds) -> Result<&SecretKey, LedgerError> {
        let kid = self.id;
        match &self.span {
            span if at < span.start => Err(LedgerError::SigningKey(TrustError::NotYet { kid, from: span.start })),
            span if at >= span.end => Err(LedgerError::SigningKey(TrustError::Expired { kid, until: span.end })),
            _ => Ok(&self.key),
        }
    }

    /// Signs an answer.
    ///
    /// # Errors
    /// It is not the key's time, or the answer does not serialise.
    pub(crate) fn sign_answer(&self, answer: &SyncResponse) -> Result<Token, LedgerError> {
        answer.sign(self.may_sign_at(answer.issued_at)?).map_err(LedgerError::Signing)
    }

    /// Signs an answer about an account.
    ///
    /// # Errors
    /// It is not the key's time, or the answer does not serialise.
    pub(crate) fn sign_account(&self, answer: &AccountResponse) -> Result<Token, LedgerError> {
        answer.sign(self.may_sign_at(answer.issued_at)?).map_err(LedgerError::Signing)
    }

    /// The key's id.
    pub(crate) fn id(&self) -> KeyId {
        self.id
    }

    fn sign_allowance(&self, allowance: &Allowance) -> Result<Token, LedgerError> {
        allowance.sign(self.may_sign_at(allowance.issued_at)?).map_err(LedgerError::Signing)
    }

    fn sign_receipt(&self, receipt: &Receipt) -> Result<Token, LedgerError> {
        receipt.sign(self.may_sign_at(receipt.issued_at)?).map_err(LedgerError::Signing)
    }
}

impl Signer {
    /// A signer with a key for all time, whose receipt ids are random.
    pub fn new(key: Arc<SecretKey>, game: GameId) -> Self {
        Self::with_ids(key, game, Box::new(RandomIds))
    }

    /// A signer with its receipt ids from `ids`, so that a test can foretell them.
    pub fn with_ids(key: Arc<SecretKey>, game: GameId, ids: Box<dyn ReceiptIds>) -> Self {
        Self { key: SigningKey::new(key, UnixSeconds::MIN..UnixSeconds::MAX), game, ids }
    }

    /// A signer with the keys of a store.
    pub(crate) fn of(keys: &SigningKeys, game: GameId) -> Self {
        let mut signer = Self::new(Arc::clone(keys.key()), game);
        signer.change(keys);
        signer
    }

    /// Signs with these keys from now on. Not between an id of the key and what it signs.
    pub(crate) fn change(&mut self, keys: &SigningKeys) {
        if self.key.id != keys.key().id() || self.key.span != *keys.span() {
            self.key = SigningKey::new(Arc::clone(keys.key()), keys.span().clone());
        }
    }

    /// The id of the key that signs.
    pub fn server(&self) -> KeyId {
        self.key.id
    }

    /// The key that verifies what it signs.
    pub fn public_key(&self) -> PublicKey {
        self.key.key.public()
    }

    /// The key that signs now.
    pub(crate) fn key(&self) -> &SigningKey {
        &self.key
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
            scope.spawn(|_| tokens = key.sign(receipts, threads));
            work()
        });
        (tokens, done)
    }

    /// Signs an allowance.
    pub(crate) fn sign_allowance(&self, allowance: &Allowance) -> Result<Token, LedgerError> {
        self.key.sign_allowance(allowance)
    }

    /// Signs a receipt.
    pub(crate) fn sign_one(&self, receipt: &Receipt) -> Result<Token, LedgerError> {
        self.key.sign_receipt(receipt)
    }

    /// Signs the receipts of consumptions, in their order, on several threads where that is faster.
    pub(crate) fn sign_consumptions(&self, receipts: &[ConsumptionReceipt]) -> Result<Vec<Token>, LedgerError> {
        let key = &self.key;
        let sign = |receipt: &ConsumptionReceipt| {
            receipt.sign(key.may_sign_at(receipt.issued_at)?).map_err(LedgerError::Signing)
        };
        match receipts.len() < WORTH_SHARING {
            true => receipts.iter().map(sign).collect(),
            false => receipts.par_iter().map(sign).collect(),
        }
    }

    /// Signs all of `receipts`, in their order, on several threads where that is faster.
    ///
    /// # Errors
    /// It is not the key's time, or a receipt does not serialise.
    pub fn sign(&self, receipts: &[Receipt]) -> Result<Vec<Token>, LedgerError> {
        self.key.sign(receipts, Threads::All)
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

impl SigningKey {
    fn sign(&self, receipts: &[Receipt], threads: Threads) -> Result<Vec<Token>, LedgerError> {
        let sign = |receipt: &Receipt| self.sign_receipt(receipt);
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
