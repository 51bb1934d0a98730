//! A simulated world: many devices with the real client on disks that crash and fail, a network that loses, doubles,
//! delays and reorders, the real server on one of its engines, and an operator, all on one thread and from one seed.
//!
//! A [`Plan`](plan::Plan) says what happens. A world does it under faults and checks all the time that nothing is said
//! which was never so; then the faults stop, and within a bound of time everybody must agree and every promise must be
//! found kept in the books. The same plan gives the same trace.

mod acts;
mod books;
mod client;
mod coverage;
mod ending;
mod found;
mod goods;
mod meddling;
mod plan;
mod run;
mod seeded_bugs;
mod shrink;
mod store;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use self::coverage::Coverage;
use self::plan::{About, Plan};
use self::run::World;
use self::shrink::{Failing, shrink};
use self::store::Engine;
use super::is_full_run;

/// What a world came to.
#[derive(Debug)]
struct Came {
    /// The same for the same plan.
    trace: u64,
    orders: u64,
    coverage: Coverage,
}

/// Runs a world from its beginning to its end; in words, what must never happen, and did.
fn live(plan: &Plan, engine: Engine) -> Result<Came, String> {
    let life = || {
        let mut world = World::new(plan, engine);
        for (number, step) in plan.steps.iter().enumerate() {
            let done = world.pass(u64::from(step.after)).and_then(|()| world.act(step.act));
            done.map_err(|wrong| format!("{wrong}\nin step {number}: {:?}", step.act))?;
        }
        world.end()?;
        let orders = world.clients.iter().map(|client| client.told.asked.len() as u64).sum();
        Ok(Came { trace: world.digest(), orders, coverage: world.coverage })
    };
    let ended = catch_unwind(AssertUnwindSafe(life));
    ended.unwrap_or_else(|panic| {
        let words = panic.downcast_ref::<String>().cloned();
        Err(words.or_else(|| panic.downcast_ref::<&str>().map(|it| (*it).to_owned())).unwrap_or_default())
    })
}

/// Does something on one thread, also what the server would share among several.
fn on_one_thread<T: Send>(act: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread").install(act)
}

/// Runs the worlds of seeds on so many threads until `enough` says so; the first that fails is shortened and told.
fn many(about: About, steps: u64, engine: Engine, threads: u64, enough: impl Fn(&Tried) -> bool + Sync) -> Tried {
    let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let tried = Mutex::new(Tried::default());
    let work = || {
        while !stop.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            let plan = Plan::of(seed, about, steps);
            match live(&plan, engine) {
                Ok(came) => {
                    let mut tried = tried.lock().expect("nobody panics with it");
                    tried.add(&came);
                    if is_full_run() && tried.worlds.is_multiple_of(1_000) {
                        println!("{about:?}: {} worlds, {} orders", tried.worlds, tried.orders);
                    }
                    if enough(&tried) {
                        stop.store(true, Ordering::Relaxed);
                    }
                }
                Err(wrong) => {
                    stop.store(true, Ordering::Relaxed);
                    let short = shrink(Failing { plan, wrong }, |plan| live(plan, engine).err());
                    panic!("the world of the seed {seed} fails. In short:\n{}", short.as_test(engine));
                }
            }
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(|| on_one_thread(work))).collect();
        for thread in threads {
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
    });
    tried.into_inner().expect("nobody panics with it")
}

/// What was tried.
#[derive(Debug, Default)]
struct Tried {
    worlds: u64,
    orders: u64,
    coverage: Coverage,
}

impl Tried {
    fn add(&mut self, came: &Came) {
        self.worlds += 1;
        self.orders += came.orders;
        self.coverage.merge(&came.coverage);
    }

    /// Tells what was tried, and fails if anything that can go wrong never has.
    fn tell(&self, started: Instant, faults: &[&str]) {
        let Self { worlds, orders, coverage } = self;
        let (time, rate) = (started.elapsed(), *orders as f64 / started.elapsed().as_secs_f64());
        println!("{worlds} worlds, {orders} orders in {time:.0?}, {rate:.0} orders a second\n{coverage}");
        assert_eq!(coverage.missing(faults), [""; 0], "these never struck");
    }
}

/// Everything that can go wrong in a world.
const FAULTS: [&str; 46] = [
    "answers cut short",
    "answers lost",
    "answers of a proxy that fails",
    "answers of a proxy that forbids",
    "answers of garbage",
    "answers signed by a stranger",
    "answers signed with a revoked key",
    "answers that a device is unknown",
    "answers that a payment is required",
    "answers to come back later",
    "batches of several requests",
    "calls to a disk that failed",
    "clocks set wrong",
    "credits charged back",
    "days passed",
    "devices frozen",
    "devices thawed",
    "forks found",
    "games killed",
    "games updated",
    "holds ended",
    "holds made",
    "items used up that were not there",
    "journals of an older format",
    "journals written anew",
    "keys revoked",
    "keys rotated",
    "machines crashed",
    "machines crashed while an order was written",
    "machines crashed while the game started",
    "old answers",
    "orders given before their receipt",
    "orders of a game that was rewritten",
    "orders refunded",
    "orders sent under the id of another",
    "requests cut off",
    "requests lost",
    "requests overtaken by a later one",
    "requests replayed",
    "requests that came after their sender had given up",
    "requests that came twice",
    "requests while the server was down",
    "saves copied",
    "saves put back",
    "server killed before it answered",
    "server started again",
];

/// Of them, what has to do with spending offline.
const FAULTS_OF_ALLOWANCES: [&str; 12] = [
    "answers lost",
    "days passed",
    "forks found",
    "games killed",
    "machines crashed while an order was written",
    "orders given before their receipt",
    "requests overtaken by a later one",
    "requests replayed",
    "requests that came after their sender had given up",
    "saves copied",
    "saves put back",
    "server killed before it answered",
];

#[test]
fn whatever_happens_to_devices_network_and_server_all_come_to_agree_and_every_promise_is_kept() {
    let started = Instant::now();
    let tried = match is_full_run() {
        true => many(About::Everything, 120, Engine::Model, 2, |tried| tried.orders >= 1_000_000),
        false => many(About::Everything, 30, Engine::Model, 1, |tried| tried.worlds >= 500),
    };
    tried.tell(started, &FAULTS);
}

#[test]
fn whatever_happens_to_those_who_spend_offline_the_books_are_right_and_what_was_given_is_honoured() {
    let started = Instant::now();
    let (threads, worlds) = if is_full_run() { (2, 100_000) } else { (1, 1_000) };
    let tried = many(About::Allowances, 20, Engine::Model, threads, |tried| tried.worlds >= worlds);
    tried.tell(started, &FAULTS_OF_ALLOWANCES);
}

#[test]
fn the_same_happens_whatever_keeps_the_books() {
    let worlds = if is_full_run() { 5_000 } else { 40 };
    on_one_thread(|| {
        for seed in 1_000_000..1_000_000 + worlds {
            let plan = Plan::of(seed, if seed % 2 == 0 { About::Everything } else { About::Allowances }, 40);
            let [model, sqlite] = [Engine::Model, Engine::Sqlite].map(|engine| live(&plan, engine).map(|it| it.trace));
            assert!(model.is_ok() && model == sqlite, "seed {seed}: {model:?} in memory, {sqlite:?} in SQLite");
        }
    });
}

#[test]
fn the_same_seed_gives_the_same_world() {
    let trace = |seed| live(&Plan::of(seed, About::Everything, 40), Engine::Model).map(|came| came.trace);
    on_one_thread(|| {
        let traces: Vec<_> = (0..10).map(trace).collect();
        assert!(traces.iter().all(Result::is_ok) && traces == (0..10).map(trace).collect::<Vec<_>>(), "{traces:?}");
        assert_ne!(traces[0], traces[1]);
    });
}
