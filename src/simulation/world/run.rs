//! A world that runs: clients, a network and a server on one thread, with one clock for what passes and one for each
//! device.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::client::{Client, Device};
use super::coverage::Coverage;
use super::plan::{Lie, Network, Plan};
use super::store::{BEGINNING, Engine, Store};
use crate::client::machine::Input;
use crate::client::{Request, Response};
use crate::protocol::{SecretKey, Sha256};
use crate::server::simulated::{Answered, Arrived};
use crate::simulation::disk::{Content, SimulatedDisk};
use crate::simulation::random::Random;

/// After how many milliseconds a client gives up waiting for an answer.
const TIME_LIMIT: u64 = 15_000;
/// How long the server gathers what arrives.
const GATHERING: u64 = 5;
/// How many turns a world takes at most: more means that somebody goes round in circles.
const MOST_TURNS: u64 = 400_000;

/// What comes.
#[derive(Clone, Debug)]
enum Coming {
    /// A request reaches the server.
    Request(Sent),
    /// The server answers what has arrived.
    Work,
    /// An answer reaches a client, or the news that there is none.
    Answer(Sent, Result<Response, &'static str>),
}

/// A request on its way.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) client: usize,
    process: u64,
    number: u64,
    /// Which of its copies it is, from 0.
    copy: u8,
    pub(super) arrived: Arrived,
}

/// What becomes of a client's next request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meddling {
    OldAnswer(u16),
    Lie(Lie),
}

/// Everything.
pub(super) struct World {
    seed: u64,
    pub(super) network: Network,
    /// How many milliseconds have passed.
    pub(super) now: u64,
    coming: BTreeMap<(u64, u64), Coming>,
    next: u64,
    turns: u64,
    pub(super) clients: Vec<Client>,
    pub(super) devices: Vec<Device>,
    pub(super) store: Store,
    inbox: Vec<Sent>,
    /// Until when clients have no network, and until when the server is down.
    pub(super) cut_off: BTreeMap<usize, u64>,
    pub(super) down_until: u64,
    pub(super) crash_server: bool,
    pub(super) meddling: BTreeMap<usize, Meddling>,
    /// What was sent, and what each client was answered.
    pub(super) requests: Vec<Sent>,
    pub(super) answers: BTreeMap<usize, Vec<Response>>,
    pub(super) coverage: Coverage,
    trace: DefaultHasher,
}

impl World {
    /// A world at its beginning: every device has its game running.
    pub(super) fn new(plan: &Plan, engine: Engine) -> Self {
        let store = Store::open(engine, plan.seed);
        let mut world = Self {
            seed: plan.seed,
            network: plan.network,
            now: 0,
            coming: BTreeMap::new(),
            next: 0,
            turns: 0,
            clients: Vec::new(),
            devices: Vec::new(),
            store,
            inbox: Vec::new(),
            cut_off: BTreeMap::new(),
            down_until: 0,
            crash_server: false,
            meddling: BTreeMap::new(),
            requests: Vec::new(),
            answers: BTreeMap::new(),
            coverage: Coverage::default(),
            trace: DefaultHasher::new(),
        };
        for number in 0..usize::from(plan.devices.max(1)) {
            let seed = Sha256::of(format!("device {} {number}", plan.seed)).0;
            let key = SecretKey::from_seed(&seed);
            let account = key.id().guest_account();
            let device = Device { key, account, copied: false, clock_set: false, disk_lost: false };
            let disk = SimulatedDisk::of(Content::with_key(&device.key));
            world.devices.push(device);
            let client = world.add_client(number, disk);
            world.start(client);
        }
        world
    }

    /// Adds a game on a device, which is to be started. Gives its number.
    pub(super) fn add_client(&mut self, device: usize, disk: SimulatedDisk) -> usize {
        let number = self.clients.len();
        let random = self.random(&("client", number));
        let client = Client::new(device, &self.devices[device], self.store.root(), disk, random);
        self.clients.push(client);
        number
    }

    /// A random source of its own for something, so that it stays the same whatever else happens.
    fn random(&self, of: &impl Hash) -> Random {
        let mut hasher = DefaultHasher::new();
        (self.seed, of).hash(&mut hasher);
        Random::new(hasher.finish())
    }

    /// What has happened, in a number: the same for the same plan.
    pub(super) fn digest(&self) -> u64 {
        self.trace.finish()
    }

    pub(super) fn start(&mut self, client: usize) {
        let request = self.clients[client].start(self.now, &self.store.said);
        self.send(client, request);
    }

    pub(super) fn input(&mut self, client: usize, inputs: Vec<Input>) {
        let request = self.clients[client].step(inputs, self.now, &self.store.said);
        self.send(client, request);
    }

    /// Lets time pass, and everything happen in it. Gives what must never happen, and did.
    pub(super) fn pass(&mut self, milliseconds: u64) -> Result<(), String> {
        let end = self.now + milliseconds;
        loop {
            let first = self.coming.first_key_value().map(|((at, _), _)| *at);
            let wakes = self.clients.iter().enumerate().filter_map(|(number, it)| Some((it.wake_at?, number)));
            let wake = wakes.min();
            let at = [first, wake.map(|(at, _)| at)].into_iter().flatten().min();
            let Some(at) = at.filter(|at| *at <= end) else { break };
            self.turns += 1;
            if self.turns > MOST_TURNS {
                return Err(format!("it goes round in circles: {:?}", self.coming.first_key_value()));
            }
            self.set_now(self.now.max(at));
            match wake.filter(|(at, _)| first.is_none_or(|first| *at < first)) {
                Some((_, client)) => {
                    let request = self.clients[client].wake(self.now, &self.store.said);
                    self.send(client, request);
                    (self.now, "wake", client).hash(&mut self.trace);
                }
                None => {
                    if let Some((_, coming)) = self.coming.pop_first() {
                        self.happen(coming)?;
                    }
                }
            }
            self.check_clients()?;
        }
        self.set_now(end);
        Ok(())
    }

    pub(super) fn check_clients(&self) -> Result<(), String> {
        let mut all = self.clients.iter().enumerate();
        let wrong = all.find_map(|(number, client)| Some((number, client.wrong.clone()?)));
        wrong.map_or(Ok(()), |(number, wrong)| Err(format!("client {number}: {wrong}")))
    }

    fn set_now(&mut self, now: u64) {
        self.now = now;
        self.store.set_clock(BEGINNING + i64::try_from(now / 1_000).unwrap_or(i64::MAX));
        if now >= self.down_until {
            self.store.start();
        }
    }

    fn come(&mut self, at: u64, coming: Coming) {
        self.next += 1;
        self.coming.insert((at, self.next), coming);
    }

    /// Sends a client's request: what becomes of it follows from the seed, the client and the request's number.
    pub(super) fn send(&mut self, client: usize, request: Option<Request>) {
        let Some(request) = request else { return };
        let game = &mut self.clients[client];
        let number = game.requests;
        game.requests += 1;
        game.waits_for = Some(number);
        let arrived = Arrived { path: request.path, body: request.body };
        let sent = Sent { client, process: game.process, number, copy: 0, arrived };
        (self.now, "send", client, &sent.arrived.body).hash(&mut self.trace);
        if self.cut_off.get(&client).is_some_and(|until| *until > self.now) {
            self.coverage.count("requests cut off");
            return self.come(self.now + 20, Coming::Answer(sent, Err("there is no network")));
        }
        let mut random = self.random(&("request", client, number));
        if let Some(Meddling::Lie(lie)) = self.meddling.get(&client).copied()
            && lie.is_of_a_proxy()
            && random.is_one_in(2)
        {
            self.meddling.remove(&client);
            let answer = self.proxy_answer(lie);
            return self.come(self.now + 10, Coming::Answer(sent, Ok(answer)));
        }
        self.come(self.now + TIME_LIMIT, Coming::Answer(sent.clone(), Err("no answer came in time")));
        let Network { loss, copies, late, delay } = self.network;
        if random.below(100) < u64::from(loss) {
            self.coverage.count("requests lost");
        } else {
            let at = match random.below(100) < u64::from(late) {
                true => TIME_LIMIT + random.below(200_000_000),
                false => 1 + random.below(u64::from(delay.max(1))),
            };
            self.come(self.now + at, Coming::Request(sent.clone()));
        }
        if random.below(100) < u64::from(copies) {
            let copies = 1 + random.below(2) as u8;
            for copy in 1..=copies {
                let longest = if random.is_one_in(4) { 40_000 } else { 1_000 };
                let at = 1 + random.below(longest);
                self.come(self.now + at, Coming::Request(Sent { copy, ..sent.clone() }));
            }
        }
        if self.requests.len() < 400 {
            self.requests.push(sent);
        }
    }

    /// A request of before arrives again.
    pub(super) fn replay(&mut self, sent: Sent) {
        self.come(self.now + 1, Coming::Request(Sent { copy: u8::MAX, ..sent }));
    }

    fn happen(&mut self, coming: Coming) -> Result<(), String> {
        match coming {
            Coming::Request(sent) => {
                (self.now, "request", sent.client, sent.number).hash(&mut self.trace);
                if !self.store.is_up() {
                    self.coverage.count("requests while the server was down");
                    let delay = self.now + 5;
                    self.come(delay, Coming::Answer(sent, Err("the server cannot be reached")));
                    return Ok(());
                }
                self.count_arrival(&sent);
                if self.inbox.is_empty() {
                    self.come(self.now + GATHERING, Coming::Work);
                }
                self.inbox.push(sent);
                Ok(())
            }
            Coming::Work => self.work(),
            Coming::Answer(sent, answer) => {
                self.hear(&sent, answer);
                Ok(())
            }
        }
    }

    fn count_arrival(&mut self, sent: &Sent) {
        let client = &self.clients[sent.client];
        if sent.copy > 0 {
            self.coverage.count(if sent.copy == u8::MAX { "requests replayed" } else { "requests that came twice" });
        } else if client.process != sent.process || client.waits_for != Some(sent.number) {
            self.coverage.count("requests that came after their sender had given up");
        }
        if client.requests > sent.number + 1 {
            self.coverage.count("requests overtaken by a later one");
        }
    }

    /// The server answers all that has arrived, in one batch.
    fn work(&mut self) -> Result<(), String> {
        let inbox = std::mem::take(&mut self.inbox);
        if !self.store.is_up() {
            return Ok(());
        }
        let arrived: Vec<_> = inbox.iter().map(|sent| sent.arrived.clone()).collect();
        self.coverage.add("batches of several requests", u64::from(arrived.len() > 1));
        let answers = self.store.answer(&arrived)?;
        if std::mem::take(&mut self.crash_server) {
            self.coverage.count("server killed before it answered");
            self.store.stop();
            self.down_until = self.now + 1_000;
            return Ok(());
        }
        for (sent, answered) in inbox.into_iter().zip(answers) {
            (self.now, answered.status, &answered.body).hash(&mut self.trace);
            self.answer(sent, answered);
        }
        Ok(())
    }

    fn answer(&mut self, sent: Sent, answered: Answered) {
        let Answered { status, retry_after, body } = answered;
        if status >= 500 {
            self.coverage.count("answers that the server failed");
        }
        let retry_after = retry_after.map(std::time::Duration::from_secs);
        let response = Response { status, retry_after, body };
        let mut random = self.random(&("answer", sent.client, sent.number, sent.copy));
        if random.below(100) < u64::from(self.network.loss) {
            return self.coverage.count("answers lost");
        }
        let at = self.now + 1 + random.below(u64::from(self.network.delay.max(1)));
        self.come(at, Coming::Answer(sent, Ok(response)));
    }

    /// An answer comes, or the news that there is none. Only the first one for a request counts, if its sender is there.
    fn hear(&mut self, sent: &Sent, answer: Result<Response, &'static str>) {
        let client = &mut self.clients[sent.client];
        if client.process != sent.process || client.waits_for != Some(sent.number) {
            return;
        }
        client.waits_for = None;
        let input = match answer {
            Ok(response) => {
                let response = self.meddle(sent, response);
                let answers = self.answers.entry(sent.client).or_default();
                if answers.len() < 100 {
                    answers.push(response.clone());
                }
                Input::Answered(response)
            }
            Err(trouble) => Input::NotAnswered(trouble.to_owned()),
        };
        (self.now, "hear", sent.client, sent.number).hash(&mut self.trace);
        self.input(sent.client, vec![input]);
    }

    /// What reaches a client in the place of an answer, if somebody meddles with it.
    fn meddle(&mut self, sent: &Sent, response: Response) -> Response {
        match self.meddling.remove(&sent.client) {
            None => response,
            Some(Meddling::OldAnswer(nth)) => {
                let old = self.answers.get(&sent.client).filter(|answers| !answers.is_empty());
                let Some(old) = old.map(|answers| answers[usize::from(nth) % answers.len()].clone()) else {
                    return response;
                };
                self.coverage.count("old answers");
                old
            }
            Some(Meddling::Lie(lie)) => self.lie(lie, sent, response),
        }
    }

    /// Whether nobody waits for anything, and nothing is on its way to the server.
    pub(super) fn is_quiet(&self) -> bool {
        self.inbox.is_empty() && self.clients.iter().all(|client| client.waits_for.is_none())
    }
}
