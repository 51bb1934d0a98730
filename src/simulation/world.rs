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
mod goods;
mod meddling;
mod plan;
mod run;
mod store;

use std::panic::{AssertUnwindSafe, catch_unwind};

use self::coverage::Coverage;
use self::plan::{About, Plan};
use self::run::World;
use self::store::Engine;

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

/// Runs the worlds of many seeds.
fn many(seeds: std::ops::Range<u64>, about: About, steps: u64, engine: Engine) -> (u64, Coverage) {
    on_one_thread(|| {
        let (mut orders, mut coverage) = (0, Coverage::default());
        for seed in seeds {
            let plan = Plan::of(seed, about, steps);
            let came = live(&plan, engine).unwrap_or_else(|wrong| panic!("seed {seed}: {wrong}"));
            orders += came.orders;
            coverage.merge(&came.coverage);
        }
        (orders, coverage)
    })
}

#[test]
fn whatever_happens_to_devices_network_and_server_all_come_to_agree_and_every_promise_is_kept() {
    let started = std::time::Instant::now();
    let count = std::env::var("WORLDS").map_or(500, |count| count.parse().expect("a number"));
    let (orders, coverage) = many(0..count, About::Everything, 60, Engine::Model);
    println!("{orders} orders in {:.1?}\n{coverage}", started.elapsed());
}

#[test]
fn the_same_seed_gives_the_same_world() {
    let traces = on_one_thread(|| {
        (0..10)
            .map(|seed| Plan::of(seed, About::Everything, 60))
            .map(|plan| {
                [0, 1].map(|_| {
                    live(&plan, Engine::Model).map(|came| came.trace).unwrap_or_else(|wrong| panic!("{wrong}"))
                })
            })
            .collect::<Vec<_>>()
    });
    assert!(traces.iter().all(|[one, other]| one == other), "{traces:?}");
}
