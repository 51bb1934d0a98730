//! Deliberate bugs in syncing, settling and spending offline: each is switched on alone, and a world must see it.

use super::plan::{About, Plan};
use super::shrink::{Failing, shrink};
use super::store::Engine;
use super::{live, on_one_thread};
use crate::client::seeded as client;
use crate::server::seeded as server;

/// How many worlds of each kind are looked at for one bug.
const WORLDS: u64 = 120;

/// Runs worlds until one fails, of everything and of allowances by turns.
fn search() -> Option<(Failing, u64)> {
    for seed in 0..WORLDS {
        for about in [About::Everything, About::Allowances] {
            let plan = Plan::of(seed, about, 60);
            if let Err(wrong) = live(&plan, Engine::Sqlite) {
                return Some((Failing { plan, wrong }, seed));
            }
        }
    }
    None
}

fn report(bug: &dyn std::fmt::Debug, found: Option<(Failing, u64)>, missed: &mut Vec<String>) {
    match found {
        Some((Failing { wrong, .. }, seed)) => {
            println!("{bug:?}: after {} worlds: {}", 2 * seed + 1, wrong.lines().next().unwrap_or_default());
        }
        None => missed.push(format!("{bug:?}")),
    }
}

#[test]
fn every_seeded_bug_in_settling_is_caught() {
    let missed = on_one_thread(|| {
        let mut missed = Vec::new();
        server::Bug::ALL.into_iter().for_each(|bug| report(&bug, server::with(bug, search), &mut missed));
        missed
    });
    assert!(missed.is_empty(), "not seen: {missed:?}");
}

#[test]
fn every_seeded_bug_in_syncing_is_caught() {
    let missed = on_one_thread(|| {
        let mut missed = Vec::new();
        client::Bug::OF_SYNC.into_iter().for_each(|bug| report(&bug, client::with(bug, search), &mut missed));
        missed
    });
    assert!(missed.is_empty(), "not seen: {missed:?}");
}

#[test]
fn world_that_fails_is_shortened_to_a_test_of_a_few_lines() {
    let bug = server::Bug::IgnoreChain;
    let text = on_one_thread(|| {
        server::with(bug, || {
            let (failing, _) = search().expect("it is found");
            let before = failing.plan.steps.len();
            let short = shrink(failing, |plan| live(plan, Engine::Sqlite).err());
            assert!(short.plan.steps.len() <= 6 && before > 20, "{} of {before}: {short:?}", short.plan.steps.len());
            assert_eq!(live(&short.plan, Engine::Sqlite).err(), Some(short.wrong.clone()), "it fails again alike");
            short.as_test(Engine::Sqlite)
        })
    });
    println!("{text}");
    assert!(text.contains("Copy {") && text.contains("keeps_its_promises(Engine::Sqlite"), "{text}");
}
