//! What worlds have found, so that it stays found.

use super::plan::{Act, Network, Plan, Step};
use super::run::World;
use super::store::Engine;
use super::{live, on_one_thread};
use crate::client::journal::{FrameWriter, header, recover};
use crate::client::record::Record;
use crate::client::seeded::{Bug, with};
use crate::simulation::disk::{FaultKind, SimulatedDisk};

/// A plan as a world that failed was written down.
fn keeps_its_promises(engine: Engine, seed: u64, devices: u8, network: Network, steps: &[(u32, Act)]) {
    let steps = steps.iter().map(|(after, act)| Step { after: *after, act: *act }).collect();
    let plan = Plan { seed, devices, network, steps };
    on_one_thread(|| live(&plan, engine).map(drop)).unwrap_or_else(|wrong| panic!("{wrong}"));
}

/// Leaves out of a journal what its last order gives before its receipt, as a crash that tears the last append does.
fn tear_off_the_last_grant(journal: &mut Vec<u8>) {
    let (mut records, _) = recover(journal).expect("a journal");
    assert!(matches!(records.pop(), Some(Record::Provisional(_))), "the last order gives something");
    let mut bytes = header().to_vec();
    let mut frames = FrameWriter::default();
    records.iter().for_each(|record| frames.append(std::slice::from_ref(record), &mut bytes));
    *journal = bytes;
}

#[test]
fn what_an_order_has_spent_that_a_crash_tore_off_stays_spent_at_every_later_start() {
    let orders_left = || {
        let plan = Plan { seed: 1, devices: 1, network: Network { delay: 1, ..Network::default() }, steps: Vec::new() };
        let mut world = World::new(&plan, Engine::Model);
        let offline = Act::Offline { client: 0, offline: true };
        let buy = Act::Buy { client: 0, product: 0, quantity: 1 };
        world.pass(5_000).and_then(|()| world.act(offline)).and_then(|()| world.act(buy)).expect("it buys offline");
        let left = |world: &World| world.clients[0].view.allowance.map(|allowance| allowance.orders);
        let mut seen = vec![left(&world)];
        let mut content = world.clients[0].disk.content();
        content.rot("journal.iap", tear_off_the_last_grant);
        world.clients[0].disk = SimulatedDisk::of(content);
        world.start(0);
        seen.push(left(&world));
        let online = Act::Offline { client: 0, offline: false };
        world.act(online).and_then(|()| world.pass(5_000)).expect("it is answered");
        seen.push(left(&world));
        world.start(0);
        seen.push(left(&world));
        seen
    };
    on_one_thread(|| {
        assert_eq!(orders_left(), [7, 7, 7, 7].map(Some));
        assert_eq!(with(Bug::ForgetTorn, orders_left), [7, 7, 7, 8].map(Some), "this test could not fail");
    });
}

#[test]
fn something_can_be_ordered_again_when_a_disk_that_failed_is_well() {
    let network = Network { loss: 4, copies: 17, late: 7, delay: 1 };
    let steps = [
        (0, Act::CrashWhileBuying { client: 64, call: 9 }),
        (958, Act::Fail { client: 129, kind: FaultKind::Interrupted, call: 0, for_ever: true }),
        (0, Act::Consume { client: 94 }),
        (89_940, Act::Buy { client: 127, product: 16, quantity: 3 }),
    ];
    keeps_its_promises(Engine::Model, 250, 5, network, &steps);
}

#[test]
fn order_that_was_being_written_when_the_save_was_copied_may_come_back_from_the_copy() {
    let network = Network { loss: 17, copies: 45, late: 4, delay: 1 };
    let steps = [
        (0, Act::Copy { client: 232 }),
        (0, Act::Copy { client: 61 }),
        (0, Act::Fail { client: 182, kind: FaultKind::Interrupted, call: 1, for_ever: true }),
        (0, Act::Buy { client: 117, product: 112, quantity: 3 }),
        (0, Act::Copy { client: 212 }),
        (0, Act::Fail { client: 224, kind: FaultKind::Quota, call: 0, for_ever: false }),
        (81_806, Act::Consume { client: 95 }),
    ];
    keeps_its_promises(Engine::Model, 560, 3, network, &steps);
}

#[test]
fn what_is_used_of_an_order_that_a_crash_kept_and_the_server_declines_is_given_back() {
    let network = Network { loss: 22, copies: 50, late: 8, delay: 1 };
    let steps = [
        (0, Act::Copy { client: 43 }),
        (38_618, Act::Kill { client: 31 }),
        (0, Act::Restart { seconds: 20, catalog: 1 }),
        (0, Act::CrashWhileBuying { client: 182, call: 5 }),
        (0, Act::Consume { client: 14 }),
    ];
    keeps_its_promises(Engine::Model, 6_033, 5, network, &steps);
}
