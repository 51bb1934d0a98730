//! The one way to the books: requests of many players are gathered into batches, and a batch is one transaction.
//!
//! A handler verifies its request, puts a job into the queue, which is bounded in orders, and waits. The writer thread
//! takes what is waiting (a commit costs the same for one purchase as for a thousand), settles it, reads what each
//! device should hear, for some devices at a time, and hands the answers to the workers to be signed, while it goes on
//! with the next batch.

mod batch;
mod consuming;
mod managing;
mod telling;

use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use tokio::sync::{Semaphore, mpsc, oneshot};

pub(crate) use self::batch::Batch;
use self::batch::{Job, Queued};
use self::telling::{after, fail, receipts};
use super::clock::Clock;
use super::ledger::{
    AccountRules, AccountWish, AllowanceRules, AllowanceWish, Context, Enrolled, Ledger, LedgerError, Membership,
    Outcome, Place, Standing, VerifiedConsumption, VerifiedOrder,
};
use super::memory::Held;
use super::metrics::{Metrics, Refused};
use super::problem::Refusal;
use super::signing::{Signer, SigningKey};
use super::signing_keys::CurrentKeys;
use super::watcher::Watch;
use crate::protocol::sync::SyncResponse;
use crate::protocol::{AccountId, AllowanceRequest, Catalog, Money, PublicKey, Sha256, Token, UnixSeconds};

/// For how many devices the feed is read at a time: each may get hundreds of receipts.
const DEVICES_AT_ONCE: usize = 32;

pub(crate) type Reply<T> = oneshot::Sender<Result<T, Refusal>>;
pub(crate) type Operation = Box<dyn FnOnce(&mut dyn Ledger, &mut Signer) + Send>;

/// A verified sync request.
#[derive(Debug)]
pub(crate) struct SyncJob {
    pub(crate) place: Place,
    pub(crate) request_sha256: Sha256,
    pub(crate) orders: Vec<VerifiedOrder>,
    pub(crate) consumptions: Vec<VerifiedConsumption>,
    /// Whether not all consumptions are decided, so that the device asks again at once.
    pub(crate) undecided: bool,
    /// What allowance the device wants.
    pub(crate) wish: Option<AllowanceRequest>,
    /// What it is given, once that is decided.
    pub(crate) allowances: Vec<Token>,
    /// The room that the request takes up.
    pub(crate) held: Held,
}

impl SyncJob {
    /// Whether it only asks for news.
    pub(crate) fn has_nothing_to_decide(&self) -> bool {
        self.orders.is_empty() && self.consumptions.is_empty()
    }
}

/// A signed answer, and the room that it takes up.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) token: Token,
    _held: Held,
}

/// What a device asked about its account, done, and who answers for it.
#[derive(Debug)]
pub(crate) struct Managed {
    pub(crate) membership: Membership,
    /// The key that signs now.
    pub(crate) key: SigningKey,
    pub(crate) at: UnixSeconds,
}

/// The way to the writer thread.
#[derive(Clone)]
pub(crate) struct Pipeline {
    jobs: mpsc::UnboundedSender<Queued>,
    limit: usize,
    room: Arc<Semaphore>,
    metrics: Arc<Metrics>,
}

impl fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipeline").field("queued", &self.queued()).field("limit", &self.limit).finish_non_exhaustive()
    }
}

impl Pipeline {
    /// Starts the writer thread, for which jobs of the weight `queue` may wait.
    pub(crate) fn start(writer: Writer, queue: usize) -> io::Result<(Self, JoinHandle<()>)> {
        let (jobs, waiting) = mpsc::unbounded_channel();
        let metrics = Arc::clone(&writer.metrics);
        let thread = std::thread::Builder::new().name("iap-writer".to_owned());
        let thread = thread.spawn(move || writer.run(waiting))?;
        Ok((Self { jobs, limit: queue, room: Arc::new(Semaphore::new(queue)), metrics }, thread))
    }

    /// The weight of what waits.
    pub(crate) fn queued(&self) -> usize {
        self.limit.saturating_sub(self.room.available_permits())
    }

    /// Settles a request's orders and answers it.
    pub(crate) async fn sync(&self, job: SyncJob) -> Result<Answer, Refusal> {
        self.ask(|reply| Job::Sync(job, reply)).await?
    }

    /// Enrols a device.
    pub(crate) async fn enrol(&self, key: PublicKey) -> Result<Enrolled, Refusal> {
        self.ask(|reply| Job::Enrol(key, reply)).await?
    }

    /// Sees to what a device asks about its account.
    pub(crate) async fn manage(&self, wish: AccountWish) -> Result<Managed, Refusal> {
        self.ask(|reply| Job::Manage(wish, reply)).await?
    }

    /// Does something with the books between two batches.
    pub(crate) async fn operate<T: Send + 'static>(
        &self,
        operation: impl FnOnce(&mut dyn Ledger, &mut Signer) -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        self.ask(|reply: oneshot::Sender<T>| {
            Job::Operate(Box::new(move |ledger, signer| {
                // Whoever asked may have gone; what was done stays done.
                let _ = reply.send(operation(ledger, signer));
            }))
        })
        .await
    }

    /// Lets the writer do what is due, though nobody asks for anything.
    pub(crate) fn wake(&self) {
        // An error says that it has ended.
        let _ = self.jobs.send(Queued { job: Job::Wake, room: None });
    }

    /// Lets the writer finish what is queued, and end.
    pub(crate) fn stop(&self) {
        // An error says that it has ended already.
        let _ = self.jobs.send(Queued { job: Job::Stop, room: None });
    }

    async fn ask<T>(&self, job: impl FnOnce(oneshot::Sender<T>) -> Job) -> Result<T, Refusal> {
        let (reply, answer) = oneshot::channel();
        let job = job(reply);
        // What is more than the whole queue waits until the queue is empty.
        let weight = u32::try_from(job.weight().min(self.limit)).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).try_acquire_many_owned(weight).map_err(|_| {
            self.metrics.count_refused(Refused::Queue);
            Refusal::unavailable()
        })?;
        self.jobs.send(Queued { job, room: Some(room) }).map_err(|_| Refusal::unavailable())?;
        answer.await.map_err(|_| Refusal::unavailable())
    }
}

/// What the writer thread works with.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) ledger: Box<dyn Ledger>,
    pub(crate) signer: Signer,
    /// The keys as they are now, which the signer takes before each batch.
    pub(crate) keys: Arc<CurrentKeys>,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) welcome: Option<Money>,
    /// The number of orders at which a batch is full.
    pub(crate) batch: usize,
    /// How much devices may spend while they are offline.
    pub(crate) allowances: AllowanceRules,
    /// How many devices accounts may have.
    pub(crate) accounts: AccountRules,
    pub(crate) metrics: Arc<Metrics>,
    /// Who signs the answers; the writer itself, if there is nobody.
    pub(crate) workers: Option<Arc<rayon::ThreadPool>>,
    /// The lock on the data folder, if there is one, kept for as long as the books are open: they are closed before it.
    pub(crate) _lock: Option<File>,
    /// When holds that were due were last given free.
    pub(crate) swept_at: Option<UnixSeconds>,
    /// Where it is told what was written.
    pub(crate) watch: Watch,
}

impl Writer {
    fn run(mut self, mut waiting: mpsc::UnboundedReceiver<Queued>) {
        let mut batch = Batch::default();
        loop {
            // What is left of the last one waits for nobody.
            if batch.is_empty() {
                let Some(first) = waiting.blocking_recv() else { return };
                batch.add(first);
            }
            while batch.weight < self.batch && !batch.stop {
                let Ok(job) = waiting.try_recv() else { break };
                batch.add(job);
            }
            self.work(&mut batch);
            if batch.stop && batch.is_empty() {
                return;
            }
        }
    }

    /// Does the work of a batch, with the keys and at the time of now. Leaves what there are too many of.
    pub(crate) fn work(&mut self, batch: &mut Batch) {
        self.signer.change(&self.keys.get());
        self.expire();
        self.enrol(std::mem::take(&mut batch.enrolments));
        for (wish, reply, _room) in batch.next_wishes() {
            self.manage(&wish, reply);
        }
        if !batch.operations.is_empty() {
            for operation in batch.operations.drain(..) {
                operation(&mut *self.ledger, &mut self.signer);
            }
            self.watch.changed_somewhere();
        }
        self.settle(std::mem::take(&mut batch.syncs));
        batch.weight = 0;
        self.look_elsewhere();
    }

    /// Gives free what is due, once a second at most.
    fn expire(&mut self) {
        let now = self.clock.now();
        if self.swept_at == Some(now) {
            return;
        }
        self.swept_at = Some(now);
        match self.ledger.expire(now) {
            Ok(0) => {}
            Ok(_) => self.watch.changed_somewhere(),
            Err(error) => tracing::error!("holds that are due were not given free: `{error}`"),
        }
    }

    /// Looks whether another process has written, if somebody waits for what it may have written.
    fn look_elsewhere(&mut self) {
        // Where that cannot be told, it may have.
        if self.watch.waiting() > 0 && self.ledger.is_changed_elsewhere().unwrap_or(true) {
            self.watch.changed_somewhere();
        }
    }

    fn enrol(&mut self, enrolments: Vec<(PublicKey, Reply<Enrolled>)>) {
        if enrolments.is_empty() {
            return;
        }
        let (keys, replies): (Vec<_>, Vec<_>) = enrolments.into_iter().unzip();
        match self.ledger.enrol(&keys, self.welcome, self.clock.now()) {
            Ok(enrolled) => {
                self.metrics.count_enrolments(enrolled.iter().filter(|enrolled| enrolled.new).count());
                for (reply, enrolled) in replies.into_iter().zip(enrolled) {
                    let _ = reply.send(Ok(enrolled));
                }
            }
            Err(error) => fail(replies, &error),
        }
    }

    fn settle(&mut self, syncs: Vec<(SyncJob, Reply<Answer>)>) {
        if syncs.is_empty() {
            return;
        }
        let (mut jobs, replies): (Vec<_>, Vec<_>) = syncs.into_iter().unzip();
        let mut orders = Vec::new();
        let counts: Vec<usize> = jobs.iter().map(|job| job.orders.len()).collect();
        for job in &mut jobs {
            orders.append(&mut job.orders);
        }
        let started = Instant::now();
        let outcomes = match self.outcomes(&orders) {
            Ok(outcomes) => outcomes,
            Err(error) => return fail(replies, &error),
        };
        self.metrics.count_batch(jobs.len(), orders.len(), started.elapsed());
        for outcome in &outcomes {
            self.metrics.count_outcome(outcome);
        }
        let refused = self.consume(&mut jobs);
        if !orders.is_empty() {
            self.watch.changed(orders.iter().map(|order| &order.order().account));
        }
        self.allow(&mut jobs);
        let mut outcomes = outcomes.into_iter();
        let asked = jobs.into_iter().zip(replies).zip(counts);
        let asked = asked.map(|((job, reply), count)| (job, reply, outcomes.by_ref().take(count).collect()));
        let mut asked = asked.zip(refused).filter_map(|((job, reply, outcomes), refused)| match refused {
            None => Some((job, reply, outcomes)),
            Some(refusal) => {
                let _ = reply.send(Err(refusal));
                None
            }
        });
        loop {
            let some: Vec<_> = asked.by_ref().take(DEVICES_AT_ONCE).collect();
            if some.is_empty() {
                return;
            }
            self.tell(some);
        }
    }

    fn outcomes(&mut self, orders: &[VerifiedOrder]) -> Result<Vec<Outcome>, LedgerError> {
        if orders.is_empty() {
            // Most requests only ask for news: that takes no write lock.
            return Ok(Vec::new());
        }
        let mut context = Context { catalog: &self.catalog, signer: &mut self.signer, now: self.clock.now() };
        match self.ledger.settle(orders, &mut context) {
            Err(LedgerError::Damaged(what)) => self.outcomes_apart(orders, &what),
            settled => settled,
        }
    }

    /// Settles orders that cannot be settled together, because the books are damaged for some account: one half of the
    /// accounts, then the other, until the one is found whose orders fail. Those of one account stay in their order.
    fn outcomes_apart(&mut self, orders: &[VerifiedOrder], what: &str) -> Result<Vec<Outcome>, LedgerError> {
        let accounts: BTreeSet<&AccountId> = orders.iter().map(|order| &order.order().account).collect();
        let Some(middle) = accounts.iter().nth(accounts.len() / 2).filter(|_| accounts.len() > 1) else {
            tracing::error!("`{}` orders cannot be settled: the books are damaged: `{what}`", orders.len());
            return Ok(vec![Outcome::Failed; orders.len()]);
        };
        let is_early = |order: &VerifiedOrder| order.order().account < **middle;
        let (early, late): (Vec<_>, Vec<_>) = orders.iter().cloned().partition(is_early);
        let mut early = self.outcomes(&early)?.into_iter();
        let mut late = self.outcomes(&late)?.into_iter();
        let outcome = |order: &VerifiedOrder| if is_early(order) { early.next() } else { late.next() };
        Ok(orders.iter().filter_map(outcome).collect())
    }

    /// Sees to the allowances of the devices that want one. Where that fails, they ask again with their next request:
    /// their orders are settled, and must be answered.
    fn allow(&mut self, jobs: &mut [SyncJob]) {
        let asking = jobs.iter_mut().filter_map(|job| job.wish.map(|request| (job, request)));
        let (mut asking, wishes): (Vec<_>, Vec<_>) = asking
            .map(|(job, request)| {
                let wish = AllowanceWish { device: job.place.device, account: job.place.account.clone(), request };
                (job, wish)
            })
            .unzip();
        if wishes.is_empty() {
            return;
        }
        let mut context = Context { catalog: &self.catalog, signer: &mut self.signer, now: self.clock.now() };
        match self.ledger.allow(&wishes, &self.allowances, &mut context) {
            Ok(given) => {
                self.watch
                    .changed(wishes.iter().zip(&given).filter_map(|(wish, new)| new.as_ref().map(|_| &wish.account)));
                for (job, token) in asking.iter_mut().zip(given) {
                    self.metrics.count_allowances(token.iter().len());
                    job.allowances.extend(token);
                }
            }
            Err(error) => tracing::error!("`{}` devices got no allowance: `{error}`", wishes.len()),
        }
    }

    /// Tells some devices what became of their orders, and what else is new.
    fn tell(&mut self, asked: Vec<(SyncJob, Reply<Answer>, Vec<Outcome>)>) {
        let places: Vec<Place> = asked.iter().map(|(job, _, outcomes)| after(&job.place, outcomes)).collect();
        match self.ledger.standings(&places) {
            Ok(standings) => {
                for ((job, reply, outcomes), standing) in asked.into_iter().zip(standings) {
                    self.answer(job, outcomes, standing, reply);
                }
            }
            Err(LedgerError::Unavailable(what)) => {
                let replies = asked.into_iter().map(|(_, reply, _)| reply).collect();
                fail(replies, &LedgerError::Unavailable(what));
            }
            // What is wrong for one of them is no trouble of the others.
            Err(_) if asked.len() > 1 => asked.into_iter().for_each(|one| self.tell(vec![one])),
            Err(error) => fail(asked.into_iter().map(|(_, reply, _)| reply).collect(), &error),
        }
    }

    fn answer(&self, job: SyncJob, outcomes: Vec<Outcome>, standing: Standing, reply: Reply<Answer>) {
        let (receipts, held) = match receipts(outcomes, standing.page).and_then(|it| self.with_room(it, &job)) {
            Ok(receipts) => receipts,
            Err(refusal) => {
                let _ = reply.send(Err(refusal));
                return;
            }
        };
        let response = SyncResponse {
            server: self.signer.server(),
            account: job.place.account,
            game: self.signer.game.clone(),
            issued_at: self.clock.now(),
            request_sha256: job.request_sha256,
            receipts,
            cursor: standing.cursor,
            more: standing.more || job.undecided,
            wallet: standing.wallet,
            chain: standing.chain,
            catalog: self.catalog.digest(),
            allowances: job.allowances,
            consumed_sequence: standing.consumed_sequence,
        };
        let key = self.signer.key().clone();
        let sign = move || {
            let signed = key.sign_answer(&response).map_err(|error| {
                tracing::error!("an answer could not be signed: `{error}`");
                Refusal::of_ledger(&error)
            });
            let _ = reply.send(signed.map(|token| Answer { token, _held: held }));
        };
        match &self.workers {
            Some(workers) => workers.spawn(sign),
            None => sign(),
        }
    }

    /// Receipts, and the room for an answer with them.
    fn with_room(&self, receipts: Vec<Token>, job: &SyncJob) -> Result<(Vec<Token>, Held), Refusal> {
        let mut held = job.held.another();
        let length: usize = receipts.iter().map(|receipt| receipt.as_str().len()).sum();
        // Three bytes are four characters of base64url.
        if held.grow(length / 3 * 4) {
            return Ok((receipts, held));
        }
        self.metrics.count_refused(Refused::Memory);
        Err(Refusal::unavailable())
    }
}
