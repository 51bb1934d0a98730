//! What the operator asks of a running server.

use std::sync::Arc;

use super::audit::{AuditReport, audit};
use super::clock::Clock;
use super::error::OperationError;
use super::folder::DataFolder;
use super::ledger::operation::RefundOrder;
use super::ledger::{AccountSummary, Answer, Credit, LedgerError, Operation, OperationId};
use super::pipeline::Pipeline;
use super::signing_keys::SigningKeys;
use crate::protocol::sync::Balance;
use crate::protocol::{AccountId, Money, OrderId, Receipt, UnixSeconds};

/// The books of a running server, as its operator uses them.
#[derive(Clone, Debug)]
pub struct Books {
    pipeline: Pipeline,
    clock: Arc<dyn Clock>,
    folder: DataFolder,
}

/// An operation id that was never used.
pub(crate) fn random_operation_id() -> Result<OperationId, LedgerError> {
    let mut id = [0; 16];
    getrandom::fill(&mut id).map_err(|error| LedgerError::Random(error.to_string()))?;
    Ok(OperationId(id))
}

impl Books {
    pub(crate) fn new(pipeline: Pipeline, clock: Arc<dyn Clock>, folder: DataFolder) -> Self {
        Self { pipeline, clock, folder }
    }

    /// The time, by the server's clock.
    pub(crate) fn now(&self) -> UnixSeconds {
        self.clock.now()
    }

    /// Does something under the id that it carries, once, and returns what it came to.
    ///
    /// # Errors
    /// It is refused, its id was used otherwise, or the server is stopping; nothing was done. Or the books failed, and
    /// it may have been done: [`OperationError::Undecided`] says under which id to do it again.
    pub async fn operate(&self, operation: Operation) -> Result<Answer, OperationError> {
        let (clock, id) = (Arc::clone(&self.clock), operation.id);
        let done = self.pipeline.operate(move |ledger, signer| ledger.operate(&operation, signer, clock.now())).await;
        done.map_err(|_| OperationError::Unavailable)?.map_err(|error| OperationError::of(id, error))
    }

    /// Adds money that was paid to an account's wallet, under a new id, and returns the balance after it.
    ///
    /// Whoever may have to ask again, after a crash for example, chooses an id and calls [`Books::operate`]: what is
    /// asked here again has another id, and is done again.
    ///
    /// # Errors
    /// The account or the amount cannot be credited, or as for [`Books::operate`].
    pub async fn credit(&self, account: AccountId, money: Money) -> Result<Balance, OperationError> {
        let credit = Credit::paid(account, money).map_err(LedgerError::damaged)?;
        match self.operate(Operation::new(random_operation_id()?, credit)).await? {
            Answer::Wallet { balance, .. } => Ok(balance),
            _ => Err(LedgerError::damaged("a credit was answered with something else").into()),
        }
    }

    /// Gives back everything that is left of a granted order, under a new id, and returns the receipt that says so. It is
    /// done once, however often it is asked.
    ///
    /// # Errors
    /// The order cannot be refunded, or as for [`Books::operate`].
    pub async fn refund(&self, order: OrderId) -> Result<Receipt, OperationError> {
        match self.operate(Operation::new(random_operation_id()?, RefundOrder { order, quantity: None })).await? {
            Answer::Order { receipt, .. } => Ok(*receipt),
            _ => Err(LedgerError::damaged("a refund was answered with something else").into()),
        }
    }

    /// What the books say about an account.
    ///
    /// # Errors
    /// There is no such account, or the server is stopping.
    pub async fn show(&self, account: AccountId) -> Result<AccountSummary, OperationError> {
        let asked = account.clone();
        let found = self.pipeline.operate(move |ledger, _| ledger.show(&asked)).await;
        let found = found.map_err(|_| OperationError::Unavailable)??;
        found.ok_or(OperationError::UnknownAccount(account))
    }

    /// Checks the books: every sum, every chain and every signature. It reads them as of one moment, beside the server,
    /// and blocks until it is done.
    ///
    /// # Errors
    /// The books cannot be read.
    pub fn audit(&self) -> Result<AuditReport, OperationError> {
        let mut ledger = self.folder.books()?;
        let game = ledger.game().clone();
        let keys = SigningKeys::read(&self.folder, &game)?;
        Ok(audit(&mut *ledger, &keys.trusted().vouched(), &game)?)
    }
}
