//! The server without threads, sockets or a clock of its own, for the simulated world: it reads what arrives, hands it to
//! the writer in one batch, and gives the answers. What decides and signs is the server itself.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use tokio::sync::oneshot;

use super::DataFolder;
use super::clock::Clock;
use super::known_devices::KnownDevice;
use super::ledger::{AccountRules, AllowanceRules, Answer as Done, Ledger, LedgerError, OperateError, Operation};
use super::memory::Memory;
use super::metrics::Metrics;
use super::pipeline::{Answer, Batch, Writer};
use super::problem::Refusal;
use super::request::verified;
use super::signing::{ReceiptIds, Signer};
use super::signing_keys::{CurrentKeys, SigningKeys};
use super::verified_orders::VerifiedOrders;
use super::watcher::Watch;
use crate::protocol::problem::ProblemType;
use crate::protocol::sync::{Enrolment, SyncRequest};
use crate::protocol::{Catalog, GameId, KeyId, Money, PublicKey, ReceiptId, SecretKey, Sha256, Token, UnixSeconds};

/// A clock that shows what it is set to.
#[derive(Debug, Default)]
pub(crate) struct SetClock(AtomicI64);

impl SetClock {
    pub(crate) fn set(&self, now: UnixSeconds) {
        self.0.store(now, Ordering::Relaxed);
    }
}

impl Clock for SetClock {
    fn now(&self) -> UnixSeconds {
        self.0.load(Ordering::Relaxed)
    }
}

/// Receipt ids that are the same for the same seed, and never again for another start of the server.
struct SeededIds {
    seed: u64,
    count: u64,
}

impl ReceiptIds for SeededIds {
    fn next_id(&mut self) -> Result<ReceiptId, LedgerError> {
        self.count += 1;
        let bits = [self.seed.to_le_bytes(), self.count.to_le_bytes()].concat();
        Ok(ReceiptId(*Sha256::of(bits).0.first_chunk().expect("32 bytes")))
    }
}

/// What a server signs with: a root, and the key that it allows, once there is a list.
#[derive(Clone)]
pub(crate) struct Keys {
    pub(crate) root: PublicKey,
    pub(crate) key: SecretKey,
    pub(crate) span: Range<UnixSeconds>,
    pub(crate) list: Option<Token>,
}

impl Keys {
    fn signing(&self, game: &GameId) -> SigningKeys {
        SigningKeys::simulated(self.root, (self.key.clone(), self.span.clone()), self.list.as_ref(), game)
    }
}

/// How a server is set up.
pub(crate) struct SetUp {
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) keys: Keys,
    pub(crate) clock: Arc<SetClock>,
    pub(crate) welcome: Option<Money>,
    pub(crate) allowances: AllowanceRules,
    /// The seed of its receipt ids.
    pub(crate) seed: u64,
}

/// What arrived.
#[derive(Clone, Debug)]
pub(crate) struct Arrived {
    pub(crate) path: &'static str,
    pub(crate) body: Arc<[u8]>,
}

/// What is answered.
#[derive(Clone, Debug)]
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<u64>,
    pub(crate) body: Vec<u8>,
}

impl From<Refusal> for Answered {
    fn from(refusal: Refusal) -> Self {
        Self { status: refusal.kind.status(), retry_after: refusal.retry_after, body: refusal.body() }
    }
}

/// A server that runs when it is asked something.
pub(crate) struct SimulatedServer {
    writer: Writer,
    keys: Arc<CurrentKeys>,
    devices: BTreeMap<KeyId, KnownDevice>,
    verified: VerifiedOrders,
    memory: Memory,
}

/// What becomes of something that arrived, once the batch is done.
enum Fate {
    Told(Answered),
    Enrols(KeyId, oneshot::Receiver<Result<super::ledger::Enrolled, Refusal>>),
    Syncs { device: KeyId, known: u64, answer: oneshot::Receiver<Result<Answer, Refusal>> },
}

impl SimulatedServer {
    /// Starts a server on books.
    pub(crate) fn start(ledger: Box<dyn Ledger>, set_up: SetUp) -> Self {
        let SetUp { catalog, keys, clock, welcome, allowances, seed } = set_up;
        let game = &catalog.game;
        let signing = keys.signing(game);
        let ids = Box::new(SeededIds { seed, count: 0 });
        let signer = Signer::with_ids(Arc::clone(signing.key()), game.clone(), ids);
        // Nothing is read from this folder, or written to it.
        let folder = DataFolder::create(&std::env::temp_dir()).expect("a folder that is there");
        let keys = Arc::new(CurrentKeys::new(folder, game.clone(), Arc::<SetClock>::clone(&clock), signing));
        let writer = Writer {
            ledger,
            signer,
            keys: Arc::clone(&keys),
            catalog,
            clock,
            welcome,
            batch: usize::MAX,
            allowances,
            accounts: AccountRules::default(),
            metrics: Arc::new(Metrics::default()),
            workers: None,
            _lock: None,
            swept_at: None,
            watch: Watch::nobody(),
        };
        let (devices, verified) = (BTreeMap::new(), VerifiedOrders::default());
        Self { writer, keys, devices, verified, memory: Memory::new(64 * 1024 * 1024) }
    }

    /// Stops the server, and gives its books back.
    pub(crate) fn stop(self) -> Box<dyn Ledger> {
        self.writer.ledger
    }

    /// The books.
    pub(crate) fn ledger(&mut self) -> &mut dyn Ledger {
        &mut *self.writer.ledger
    }

    /// Signs with other keys from now on.
    pub(crate) fn change_keys(&self, keys: &Keys) {
        self.keys.set(keys.signing(&self.writer.catalog.game));
    }

    /// Audits the books.
    pub(crate) fn audit(&mut self) -> Result<super::audit::AuditReport, LedgerError> {
        let (keys, game) = (self.keys.get(), self.writer.catalog.game.clone());
        super::audit::audit(&mut *self.writer.ledger, &keys.trusted().vouched(), &game)
    }

    /// The keys as they are now.
    pub(crate) fn keys(&self) -> Arc<SigningKeys> {
        self.keys.get()
    }

    /// Answers everything that arrived at about the same time.
    pub(crate) fn answer(&mut self, arrived: &[Arrived]) -> Vec<Answered> {
        let mut batch = Batch::default();
        let fates: Vec<_> = arrived.iter().map(|arrived| self.take(arrived, &mut batch)).collect();
        self.writer.work(&mut batch);
        fates.into_iter().map(|fate| self.tell(fate)).collect()
    }

    /// Does what the operator wants done, between two batches.
    pub(crate) fn operate(&mut self, operation: Operation) -> Result<Done, OperateError> {
        let (reply, mut done) = oneshot::channel();
        let clock = Arc::clone(&self.writer.clock);
        let operate = move |ledger: &mut dyn Ledger, signer: &mut Signer| {
            let _ = reply.send(ledger.operate(&operation, signer, clock.now()));
        };
        let mut batch = Batch::default();
        batch.operations.push(Box::new(operate));
        self.writer.work(&mut batch);
        done.try_recv().expect("it is done when the work is")
    }

    fn take(&mut self, arrived: &Arrived, batch: &mut Batch) -> Fate {
        let taken = match arrived.path {
            "/v1/devices" => self.enrol(&arrived.body, batch),
            "/v1/sync" => self.sync(&arrived.body, batch),
            path => Err(Refusal::new(ProblemType::NotFound, format!("there is no {path}"))),
        };
        taken.unwrap_or_else(|refusal| Fate::Told(refusal.into()))
    }

    fn enrol(&mut self, body: &[u8], batch: &mut Batch) -> Result<Fate, Refusal> {
        let enrolment: Enrolment = serde_json::from_slice(body).map_err(|_| Refusal::malformed("not as described"))?;
        let key = enrolment.verify(&self.writer.catalog.game)?.0;
        let (reply, answer) = oneshot::channel();
        batch.enrolments.push((key, reply));
        Ok(Fate::Enrols(key.id(), answer))
    }

    fn sync(&mut self, body: &[u8], batch: &mut Batch) -> Result<Fate, Refusal> {
        let text = std::str::from_utf8(body).map_err(|_| Refusal::malformed("the body is not a compact JWS"))?;
        let token = Token::from_text(text);
        let id = SyncRequest::claimed_device(&token)?;
        let device = self.find(id)?.ok_or_else(|| Refusal::unknown_device(id))?;
        let mut read = verified(&token, device, &self.writer.catalog.game, &self.verified, |_| Ok(()));
        if read.as_ref().is_err_and(|refusal| refusal.kind == ProblemType::WrongAccount) {
            // What is remembered of the device may be over.
            self.devices.remove(&id);
            let device = self.find(id)?.ok_or_else(|| Refusal::unknown_device(id))?;
            read = verified(&token, device, &self.writer.catalog.game, &self.verified, |_| Ok(()));
        }
        // Nobody waits for news: whoever asks is answered at once.
        let (known, _, job) = read?.into_job(&token, self.memory.nothing());
        let (reply, answer) = oneshot::channel();
        batch.syncs.push((job, reply));
        Ok(Fate::Syncs { device: id, known, answer })
    }

    /// A device, from memory or from the books.
    fn find(&mut self, id: KeyId) -> Result<Option<KnownDevice>, Refusal> {
        if let Some(known) = self.devices.get(&id) {
            return Ok(Some(known.clone()));
        }
        let found = self.writer.ledger.device(id).map_err(|error| Refusal::of_ledger(&error))?;
        let known =
            found.map(|device| KnownDevice { account: device.account, key: device.key, revoked: device.revoked });
        self.devices.extend(known.clone().map(|known| (id, known)));
        Ok(known)
    }

    fn tell(&mut self, fate: Fate) -> Answered {
        match fate {
            Fate::Told(answered) => answered,
            Fate::Enrols(device, mut answer) => match answer.try_recv().expect("the batch is done") {
                Ok(enrolled) => {
                    let body = serde_json::json!({ "device": device, "account": enrolled.account });
                    let status = if enrolled.new { 201 } else { 200 };
                    Answered { status, retry_after: None, body: body.to_string().into_bytes() }
                }
                Err(refusal) => refusal.into(),
            },
            Fate::Syncs { device, known, mut answer } => match answer.try_recv().expect("the batch is done") {
                Ok(answer) => {
                    let body = match self.keys.get().list_after(known) {
                        Some(list) => format!("{list}\n{}", answer.token),
                        None => answer.token.to_string(),
                    };
                    Answered { status: 200, retry_after: None, body: body.into_bytes() }
                }
                Err(refusal) => {
                    let kinds = [ProblemType::UnknownDevice, ProblemType::WrongAccount, ProblemType::DeviceRevoked];
                    if kinds.contains(&refusal.kind) {
                        self.devices.remove(&device);
                    }
                    refusal.into()
                }
            },
        }
    }
}
