//! The books in a PostgreSQL database, which any number of servers may share.
//!
//! A batch is one transaction of two round trips. The first begins it, locks the accounts of the batch by locking their
//! devices, and reads everything that the planner may ask; the second writes what was decided and commits. Accounts are
//! always locked in one order, so servers wait for each other and do not block each other for good; where two are in
//! each other's way all the same, the database says so and the whole transaction is done again.
//!
//! The accounts of the house, which every purchase moves, are striped: every server adds to rows of its own, so that none
//! waits for another, and a balance is the sum of them all.

mod consuming;
mod facts;
mod membership;
mod parsing;
mod reading;
mod retry;
mod rows;
mod schema;
mod session;
mod url;
mod writing;

use std::collections::BTreeSet;
use std::time::Duration;

use self::facts::{Asked, Books};
use self::session::{Database, Session};
pub use self::url::{PostgresUrl, PostgresUrlError};
use super::changes::Changes;
use super::operation::{FreezeDevice, NameDevice, RevokeDevice, ThawDevice};
use super::plan::{self, Fate, Plan};
use super::{
    AccountNumber, AccountRules, AccountSummary, AccountWish, Action, AllowanceRules, AllowanceWish, Answer,
    BookReader, ConsumptionOutcome, Context, Device, Enrolled, FeedEntry, Ledger, LedgerError, ManageError, Membership,
    OperateError, Operation, Outcome, Place, Standing, Total, TransferId, VerifiedConsumption, VerifiedOrder,
};
use crate::protocol::{
    AccountId, CreatorId, Currency, GameId, KeyId, Money, ProductKind, PublicKey, Token, UnixSeconds,
};
use crate::server::signing::{Signer, Threads};

/// How long the books are tried again while the database is away, unless another time is asked for.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many stripes there are. Commands that work beside a server write the first one, servers any of the others.
const STRIPES: i64 = 256;

/// The books in a PostgreSQL database.
#[derive(Debug)]
pub struct PostgresLedger {
    database: Database,
    game: GameId,
    stripe: i64,
}

impl PostgresLedger {
    /// Opens the books of `game` for a server, and makes them if there are none.
    ///
    /// # Errors
    /// The database cannot be reached, or refuses the user; it holds another game's books, or books of a newer version.
    pub fn open(url: &PostgresUrl, game: &GameId) -> Result<Self, LedgerError> {
        let mut database = Database::new(url.clone(), PATIENCE)?;
        let game = database.open(Some(game))?;
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|error| LedgerError::Random(error.to_string()))?;
        // Two servers that write the same stripe wait for each other now and then, and that is all.
        let stripe = 1 + i64::from_le_bytes(random).rem_euclid(STRIPES - 1);
        Ok(Self { database, game, stripe })
    }

    /// Opens books that are there, whichever game's they are.
    ///
    /// # Errors
    /// There are none, the database cannot be reached, or they are of a newer version.
    pub fn open_existing(url: &PostgresUrl) -> Result<Self, LedgerError> {
        let mut database = Database::new(url.clone(), PATIENCE)?;
        let game = database.open(None)?;
        Ok(Self { database, game, stripe: 0 })
    }

    /// The same books, tried again for so long while the database is away: ten seconds unless it is set.
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.database.set_patience(patience);
        self
    }

    /// The public key that signs the receipts of these books. The first one that any server brings is kept: servers
    /// that share books must share their key.
    ///
    /// # Errors
    /// The books could not be read or written.
    pub fn signing_key(&mut self, key: Option<PublicKey>) -> Result<Option<PublicKey>, LedgerError> {
        let text = self.database.run(&self.game, |session| schema::signing_key(&session.client, key))?;
        text.map(|text| super::values::parsed(&text)).transpose()
    }
}

impl Ledger for PostgresLedger {
    fn game(&self) -> &GameId {
        &self.game
    }

    /// After a commit whose answer was lost, the devices that it enrolled count as known before.
    fn enrol(
        &mut self,
        keys: &[PublicKey],
        welcome: Option<Money>,
        now: UnixSeconds,
    ) -> Result<Vec<Enrolled>, LedgerError> {
        let (game, stripe) = (&self.game, self.stripe);
        self.database.run(game, |session| enrol(session, game, stripe, keys, welcome, now))
    }

    fn device(&mut self, id: KeyId) -> Result<Option<Device>, LedgerError> {
        let found = self.database.run(&self.game, |session| reading::devices(session, &[id]))?;
        Ok(found.into_iter().next().flatten())
    }

    fn devices(&mut self, ids: &[KeyId]) -> Result<Vec<Option<Device>>, LedgerError> {
        self.database.run(&self.game, |session| reading::devices(session, ids))
    }

    /// After a commit whose answer was lost, the orders that it settled count as settled before.
    fn settle(&mut self, batch: &[VerifiedOrder], context: &mut Context<'_>) -> Result<Vec<Outcome>, LedgerError> {
        let (game, stripe) = (&self.game, self.stripe);
        self.database.run(game, |session| settle(session, game, stripe, batch, context))
    }

    /// After a commit whose answer was lost, the consumptions that it decided count as decided before.
    fn consume(
        &mut self,
        batch: &[VerifiedConsumption],
        signer: &mut Signer,
        now: UnixSeconds,
    ) -> Result<Vec<ConsumptionOutcome>, LedgerError> {
        self.database.run(&self.game, |session| consuming::consume(session, batch, signer, now))
    }

    /// After a commit whose answer was lost, what it has set aside is found, and told again.
    fn allow(
        &mut self,
        wishes: &[AllowanceWish],
        rules: &AllowanceRules,
        context: &mut Context<'_>,
    ) -> Result<Vec<Option<Token>>, LedgerError> {
        let (game, stripe) = (&self.game, self.stripe);
        self.database.run(game, |session| allow(session, game, stripe, wishes, rules, context))
    }

    fn manage(
        &mut self,
        wish: &AccountWish,
        rules: &AccountRules,
        signer: &mut Signer,
        now: UnixSeconds,
    ) -> Result<Membership, ManageError> {
        let (game, stripe) = (&self.game, self.stripe);
        let manage = |session: &Session| membership::manage(session, game, stripe, wish, rules, signer, now);
        Ok(self.database.run(game, manage)??)
    }

    fn standings(&mut self, asked: &[Place]) -> Result<Vec<Standing>, LedgerError> {
        self.database.run(&self.game, |session| reading::standings(session, asked))
    }

    fn operate(
        &mut self,
        operation: &Operation,
        signer: &mut Signer,
        now: UnixSeconds,
    ) -> Result<Answer, OperateError> {
        let (game, stripe) = (&self.game, self.stripe);
        let decided =
            self.database.run(game, |session| match operate(session, game, stripe, operation, signer, now) {
                Err(OperateError::Ledger(error)) => Err(error),
                Err(undecided) => session.roll_back().map(|()| Err(undecided)),
                Ok(decided) => Ok(Ok(decided)),
            })?;
        Ok(decided??)
    }

    fn expire(&mut self, now: UnixSeconds) -> Result<u64, LedgerError> {
        let (game, stripe) = (&self.game, self.stripe);
        let (mut all, mut after) = (0, Some(String::new()));
        // Each round begins after the accounts of the one before, also where their holds have to stay.
        while let Some(name) = after {
            let ended;
            (ended, after) = self.database.run(game, |session| expire(session, game, stripe, now, &name))?;
            all += ended;
        }
        Ok(all)
    }

    /// Other servers write to the same database all the time, and nothing that all such databases have tells of it.
    fn is_changed_elsewhere(&mut self) -> Result<bool, LedgerError> {
        Ok(true)
    }

    fn totals(&mut self) -> Result<Vec<Total>, LedgerError> {
        self.database.run(&self.game, reading::totals)
    }

    fn show(&mut self, account: &AccountId) -> Result<Option<AccountSummary>, LedgerError> {
        self.database.run(&self.game, |session| reading::show(session, account))
    }

    /// Not tried again once a row was shown.
    fn read(&mut self, reader: &mut dyn BookReader) -> Result<(), LedgerError> {
        self.database.run(&self.game, |_| Ok(()))?;
        let game = self.game.clone();
        let mut first = true;
        self.database.run(&game, |session| match std::mem::replace(&mut first, false) {
            true => rows::read(session, reader),
            false => Err(LedgerError::damaged("the connection was lost while the books were read")),
        })
    }
}

fn settle(
    session: &Session,
    game: &GameId,
    stripe: i64,
    batch: &[VerifiedOrder],
    context: &mut Context<'_>,
) -> Result<Vec<Outcome>, LedgerError> {
    let orders = || batch.iter().map(VerifiedOrder::order);
    // Consumables can be had more than once, so nobody asks whether they are owned.
    let is_owned = |product: &str| {
        context.catalog.product(product).is_some_and(|(_, product)| product.kind != ProductKind::Consumable)
    };
    let asked = Asked {
        accounts: orders().map(|order| order.account.clone()).collect(),
        orders: orders().map(|order| order.id).collect(),
        products: orders()
            .filter(|order| is_owned(order.product.as_str()))
            .map(|order| (order.account.clone(), order.product.clone()))
            .collect(),
        allowances: orders().filter_map(|order| Some(order.allowance?.id)).collect(),
        allowed: orders().filter(|order| order.allowance.is_some()).map(|order| order.account.clone()).collect(),
    };
    let mut books = Books::begin(session, asked, context.now)?;
    let mut plan = Plan::new(&mut books, game, context.now);
    let fates = plan.settle(batch, context)?;
    let changes = plan.into_changes();
    let entries = written(session, &changes, context.signer, stripe)?;
    fates.into_iter().map(|fate: Fate| fate.outcome(&changes.receipts, &entries)).collect()
}

fn allow(
    session: &Session,
    game: &GameId,
    stripe: i64,
    wishes: &[AllowanceWish],
    rules: &AllowanceRules,
    context: &mut Context<'_>,
) -> Result<Vec<Option<Token>>, LedgerError> {
    let accounts: BTreeSet<AccountId> = wishes.iter().map(|wish| wish.account.clone()).collect();
    let asked = || Asked { accounts: accounts.clone(), allowed: accounts.clone(), ..Asked::default() };
    // Mostly nothing changes, and finding that out locks nothing.
    let mut books = Books::look_at(session, asked(), context.now)?;
    match Plan::new(&mut books, game, context.now).allow_quietly(wishes, rules, context) {
        Ok(Some(told)) => return Ok(told),
        // What is damaged for one of them is told when each is looked at.
        Ok(None) | Err(LedgerError::Damaged(_)) => {}
        Err(error) => return Err(error),
    }
    let mut books = Books::begin(session, asked(), context.now)?;
    let mut plan = Plan::new(&mut books, game, context.now);
    let told = plan.allow(wishes, rules, context)?;
    writing::write_and_commit(session, &plan.into_changes(), stripe, nothing_to_sign)?;
    Ok(told)
}

/// Writes a plan while its receipts are signed, and commits. Gives each receipt's place in its feed.
fn written(session: &Session, changes: &Changes, signer: &Signer, stripe: i64) -> Result<Vec<FeedEntry>, LedgerError> {
    writing::write_and_commit(session, changes, stripe, |meanwhile| {
        signer.sign_while(&changes.receipts, Threads::AllButOne, meanwhile).0
    })
}

/// Where a plan has no receipts.
fn nothing_to_sign(meanwhile: &mut dyn FnMut()) -> Result<Vec<Token>, LedgerError> {
    meanwhile();
    Ok(Vec::new())
}

fn operate(
    session: &Session,
    game: &GameId,
    stripe: i64,
    operation: &Operation,
    signer: &mut Signer,
    now: UnixSeconds,
) -> Result<Result<Answer, super::Refused>, OperateError> {
    // Found without a lock, and once more under it: what it is about may have moved meanwhile.
    let (mut books, creator) = loop {
        let (asked, creator) = asked_for(session, operation)?;
        let accounts = asked.accounts.clone();
        let books = Books::begin(session, asked, now)?;
        if asked_for(session, operation)?.0.accounts == accounts {
            break (books, creator);
        }
        session.roll_back()?;
    };
    if let Some((creator, currency)) = creator {
        books.lock_payable(&creator, currency)?;
    }
    let (mut changes, decision) = plan::operate(&mut books, operation, game, signer, now)?;
    if !changes.standings.is_empty() {
        // A refund takes back from accounts that only the transfers of the order name.
        let unnamed: Vec<AccountNumber> = changes.sums.keys().copied().collect();
        changes.houses.extend(books.houses(&unnamed)?);
    }
    written(session, &changes, signer, stripe)?;
    Ok(decision)
}

/// What an operation is about, as it is before anything is locked.
fn asked_for(session: &Session, operation: &Operation) -> Result<(Asked, Option<(CreatorId, Currency)>), LedgerError> {
    let facts = &session.facts;
    let (mut asked, mut creator) = (Asked::default(), None);
    let account = match &operation.action {
        Action::Credit(credit) => Some(credit.account.clone()),
        Action::Hold(hold) => Some(hold.account.clone()),
        Action::RefundOrder(refund) => {
            asked.orders.insert(refund.order);
            facts::account_of(session, &facts.order_account, &refund.order.0)?
        }
        Action::RefundCredit(refund) => {
            facts::account_of(session, &facts.lot_account, &TransferId::of_credit(refund.credit).0)?
        }
        Action::Post(post) => facts::account_of(session, &facts.hold_account, &post.hold.0)?,
        Action::Void(void) => facts::account_of(session, &facts.hold_account, &void.hold.0)?,
        Action::FreezeDevice(FreezeDevice { device })
        | Action::ThawDevice(ThawDevice { device })
        | Action::RevokeDevice(RevokeDevice { device })
        | Action::NameDevice(NameDevice { device, .. }) => {
            let account = facts::device_account(session, *device)?;
            asked.allowed.extend(account.clone());
            account
        }
        Action::Payout(payout) => {
            creator = Some((payout.creator.clone(), payout.money.currency));
            None
        }
    };
    asked.accounts.extend(account);
    Ok((asked, creator))
}

/// Gives free what is due of the first accounts after a name. Says how many holds there were, and where to go on.
fn expire(
    session: &Session,
    game: &GameId,
    stripe: i64,
    now: UnixSeconds,
    after: &str,
) -> Result<(u64, Option<String>), LedgerError> {
    let (accounts, next) = facts::due_accounts(session, now, after)?;
    if accounts.is_empty() {
        return Ok((0, next));
    }
    let due = accounts.clone();
    let mut books = Books::begin(session, Asked { accounts, ..Asked::default() }, now)?;
    let mut plan = Plan::new(&mut books, game, now);
    let count = plan.sweep(due)?;
    writing::write_and_commit(session, &plan.into_changes(), stripe, nothing_to_sign)?;
    Ok((count, next))
}

fn enrol(
    session: &Session,
    game: &GameId,
    stripe: i64,
    keys: &[PublicKey],
    welcome: Option<Money>,
    now: UnixSeconds,
) -> Result<Vec<Enrolled>, LedgerError> {
    let (mut new, known) = writing::enrol(session, keys, now)?;
    let mut books = Books::nothing(session);
    let mut plan = Plan::new(&mut books, game, now);
    let mut enrolled = Vec::with_capacity(keys.len());
    for key in keys {
        let id = key.id();
        let new = new.remove(&id);
        let account = match known.get(&id) {
            Some(account) => account.clone(),
            None => return Err(LedgerError::damaged(format_args!("the device {id} was not enrolled"))),
        };
        if let (true, Some(money)) = (new, welcome) {
            plan.welcome(&account, money)?;
        }
        enrolled.push(Enrolled { account, new });
    }
    writing::write_and_commit(session, &plan.into_changes(), stripe, nothing_to_sign)?;
    Ok(enrolled)
}
