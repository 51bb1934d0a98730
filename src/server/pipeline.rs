//! The one way to the books: requests of many players are gathered into batches, and a batch is one transaction.
//!
//! A handler verifies its request, puts a job into the bounded queue and waits. The writer thread takes what is waiting
//! (a commit costs the same for one purchase as for a thousand), settles it, reads what each device should hear and
//! hands the answers to the workers to be signed, while it goes on with the next batch.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};

use super::clock::Clock;
use super::ledger::{Context, Enrolled, FeedEntry, Ledger, LedgerError, Outcome, Place, Standing, VerifiedOrder};
use super::metrics::Metrics;
use super::problem::Refusal;
use super::signing::Signer;
use crate::protocol::problem::ProblemType;
use crate::protocol::sync::SyncResponse;
use crate::protocol::{Catalog, Money, PublicKey, Sha256, Token, UnixSeconds};

type Reply<T> = oneshot::Sender<Result<T, Refusal>>;
type Operation = Box<dyn FnOnce(&mut dyn Ledger, &mut Signer) + Send>;

/// A verified sync request.
#[derive(Debug)]
pub(crate) struct SyncJob {
    pub(crate) place: Place,
    pub(crate) request_sha256: Sha256,
    pub(crate) orders: Vec<VerifiedOrder>,
}

enum Job {
    Sync(SyncJob, Reply<Token>),
    Enrol(PublicKey, Reply<Enrolled>),
    Operate(Operation),
    Stop,
}

/// The way to the writer thread.
#[derive(Clone)]
pub(crate) struct Pipeline {
    jobs: mpsc::Sender<Job>,
}

impl fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipeline").field("free", &self.jobs.capacity()).finish_non_exhaustive()
    }
}

impl Pipeline {
    /// Starts the writer thread, which may have `queue` jobs waiting.
    pub(crate) fn start(writer: Writer, queue: usize) -> io::Result<(Self, JoinHandle<()>)> {
        let (jobs, waiting) = mpsc::channel(queue);
        let thread = std::thread::Builder::new().name("iap-writer".to_owned());
        let thread = thread.spawn(move || writer.run(waiting))?;
        Ok((Self { jobs }, thread))
    }

    /// Settles a request's orders and answers it.
    pub(crate) async fn sync(&self, job: SyncJob) -> Result<Token, Refusal> {
        self.ask(|reply| Job::Sync(job, reply)).await?
    }

    /// Enrols a device.
    pub(crate) async fn enrol(&self, key: PublicKey) -> Result<Enrolled, Refusal> {
        self.ask(|reply| Job::Enrol(key, reply)).await?
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

    /// Lets the writer finish what is queued, and end.
    pub(crate) async fn stop(&self) {
        // An error says that it has ended already.
        let _ = self.jobs.send(Job::Stop).await;
    }

    async fn ask<T>(&self, job: impl FnOnce(oneshot::Sender<T>) -> Job) -> Result<T, Refusal> {
        let (reply, answer) = oneshot::channel();
        self.jobs.try_send(job(reply)).map_err(|_| Refusal::unavailable())?;
        answer.await.map_err(|_| Refusal::unavailable())
    }
}

/// What the writer thread works with.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) ledger: Box<dyn Ledger>,
    pub(crate) signer: Signer,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) welcome: Option<Money>,
    /// The number of orders at which a batch is full.
    pub(crate) batch: usize,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) workers: Arc<rayon::ThreadPool>,
    /// When holds that were due were last given free.
    pub(crate) swept_at: Option<UnixSeconds>,
}

/// What was waiting.
#[derive(Default)]
struct Batch {
    syncs: Vec<(SyncJob, Reply<Token>)>,
    enrolments: Vec<(PublicKey, Reply<Enrolled>)>,
    operations: Vec<Operation>,
    /// How much work it is, in orders; a job without orders counts as one.
    weight: usize,
    stop: bool,
}

impl Batch {
    fn add(&mut self, job: Job) {
        match job {
            Job::Sync(job, reply) => {
                self.weight += job.orders.len().max(1);
                self.syncs.push((job, reply));
            }
            Job::Enrol(key, reply) => {
                self.weight += 1;
                self.enrolments.push((key, reply));
            }
            Job::Operate(operation) => {
                self.weight += 1;
                self.operations.push(operation);
            }
            Job::Stop => self.stop = true,
        }
    }
}

impl Writer {
    fn run(mut self, mut waiting: mpsc::Receiver<Job>) {
        while let Some(first) = waiting.blocking_recv() {
            let mut batch = Batch::default();
            batch.add(first);
            while batch.weight < self.batch && !batch.stop {
                let Ok(job) = waiting.try_recv() else { break };
                batch.add(job);
            }
            self.expire();
            self.enrol(batch.enrolments);
            for operation in batch.operations {
                operation(&mut *self.ledger, &mut self.signer);
            }
            self.settle(batch.syncs);
            if batch.stop {
                return;
            }
        }
    }

    /// Gives free what is due, once a second at most.
    fn expire(&mut self) {
        let now = self.clock.now();
        if self.swept_at == Some(now) {
            return;
        }
        self.swept_at = Some(now);
        if let Err(error) = self.ledger.expire(now) {
            tracing::error!("holds that are due were not given free: `{error}`");
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

    fn settle(&mut self, syncs: Vec<(SyncJob, Reply<Token>)>) {
        if syncs.is_empty() {
            return;
        }
        self.metrics.count_batch(syncs.len());
        let (mut jobs, replies): (Vec<_>, Vec<_>) = syncs.into_iter().unzip();
        let mut orders = Vec::new();
        let counts: Vec<usize> = jobs.iter().map(|job| job.orders.len()).collect();
        for job in &mut jobs {
            orders.append(&mut job.orders);
        }
        let (outcomes, standings) = match self.books(&orders, &jobs) {
            Ok(results) => results,
            Err(error) => return fail(replies, &error),
        };
        for outcome in &outcomes {
            self.metrics.count_outcome(outcome);
        }
        let mut outcomes = outcomes.into_iter();
        for (((job, reply), count), standing) in jobs.into_iter().zip(replies).zip(counts).zip(standings) {
            self.answer(job, outcomes.by_ref().take(count).collect(), standing, reply);
        }
    }

    fn books(
        &mut self,
        orders: &[VerifiedOrder],
        jobs: &[SyncJob],
    ) -> Result<(Vec<Outcome>, Vec<Standing>), LedgerError> {
        let mut context = Context { catalog: &self.catalog, signer: &mut self.signer, now: self.clock.now() };
        let outcomes = match orders {
            // Most requests only ask for news: that takes no write lock.
            [] => Vec::new(),
            _ => self.ledger.settle(orders, &mut context)?,
        };
        let places: Vec<Place> = jobs.iter().map(|job| job.place.clone()).collect();
        Ok((outcomes, self.ledger.standings(&places)?))
    }

    fn answer(&self, job: SyncJob, outcomes: Vec<Outcome>, standing: Standing, reply: Reply<Token>) {
        let receipts = match receipts(outcomes, standing.page) {
            Ok(receipts) => receipts,
            Err(refusal) => {
                let _ = reply.send(Err(refusal));
                return;
            }
        };
        let response = SyncResponse {
            server: self.signer.key.id(),
            account: job.place.account,
            game: self.signer.game.clone(),
            issued_at: self.clock.now(),
            request_sha256: job.request_sha256,
            receipts,
            cursor: standing.cursor,
            more: standing.more,
            wallet: standing.wallet,
            chain: standing.chain,
            catalog: self.catalog.digest(),
        };
        let key = Arc::clone(&self.signer.key);
        self.workers.spawn(move || {
            let signed = response.sign(&key).map_err(|error| {
                tracing::error!("an answer could not be signed: `{error}`");
                Refusal::internal()
            });
            let _ = reply.send(signed);
        });
    }
}

/// The receipts of the orders that were sent, in their order, then the page; each once.
fn receipts(outcomes: Vec<Outcome>, page: Vec<FeedEntry>) -> Result<Vec<Token>, Refusal> {
    let mut listed = BTreeSet::new();
    let mut tokens = Vec::with_capacity(outcomes.len() + page.len());
    let mut list = |entry: FeedEntry| {
        if listed.insert(entry.feed) {
            tokens.push(entry.token);
        }
    };
    for (index, outcome) in outcomes.into_iter().enumerate() {
        match outcome {
            Outcome::Settled { entry, .. } | Outcome::Replayed(entry) => list(entry),
            Outcome::Conflict => {
                let detail = format!("order {index}: its id was used before for another order; give each its own id");
                return Err(Refusal::new(ProblemType::OrderConflict, detail));
            }
            Outcome::Failed => return Err(Refusal::internal()),
        }
    }
    page.into_iter().for_each(&mut list);
    Ok(tokens)
}

fn fail<T>(replies: Vec<Reply<T>>, error: &LedgerError) {
    tracing::error!("a batch of `{}` requests failed: `{error}`", replies.len());
    for reply in replies {
        let _ = reply.send(Err(Refusal::of_ledger(error)));
    }
}
