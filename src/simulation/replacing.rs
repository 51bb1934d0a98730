//! A device that goes on with another key, on a disk that crashes and fails at every step of it: it is always one that the
//! server knows, and owns what it owned.

use super::disk::{Call, Fault, FaultKind, Thoroughness};
use super::is_full_run;
use super::life::{Act, Life, Moment};
use super::random::Random;
use crate::client::seeded::{Bug, with};

/// How few recoveries are crashed themselves in the slice of `cargo test`: one in so many.
pub(super) const AGAIN: u64 = 24;

/// A device that owns shields and is about to have its key replaced.
fn before() -> Life {
    let mut life = Life::new(7);
    [Act::Reopen, Act::BuyThree, Act::Exchange, Act::Consume].iter().for_each(|act| life.act(*act));
    life
}

/// Whether the device that was started again is the one that the server knows, and everything that the game was told is
/// true.
fn is_known(life: &mut Life) -> Result<(), String> {
    life.converge()?;
    if life.device() != life.shop.device() {
        return Err(format!("the device is {:?}, and the server knows {:?}", life.device(), life.shop.device()));
    }
    life.go_on()
}

/// The same of a device whose key is replaced once, of which no other key is left then.
fn check(life: &mut Life) -> Result<(), String> {
    is_known(life)?;
    let content = life.disk.content();
    let next = content.file("device.key.next").filter(|next| content.file("device.key") != Some(next));
    if life.shop.is_key_replaced() && next.is_some() {
        return Err("the key of before is still in its place".to_owned());
    }
    Ok(())
}

/// Replaces a key with crashes at every step, as few as find every bug. Says what was wrong, if anything.
pub(super) fn search() -> Option<String> {
    let mut life = before();
    life.record();
    life.replace_key();
    let few = Thoroughness { tear_every: 4_096, at_random: 0 };
    crash_at(&life.moments(), few, AGAIN, check, &mut Random::new(5)).err().map(|wrong| format!("replacing: {wrong}"))
}

/// Tries every state that a crash at one of these moments may leave, and for one of so many a crash in the recovery from it,
/// `again`; says how many there were.
pub(super) fn crash_at(
    moments: &[Moment],
    thoroughness: Thoroughness,
    again: u64,
    check: fn(&mut Life) -> Result<(), String>,
    random: &mut Random,
) -> Result<u64, String> {
    let mut images = 0;
    for (number, moment) in moments.iter().enumerate() {
        let told = |wrong| format!("{wrong}\nafter a crash in the moment {number}");
        for content in moment.content.after_crash(thoroughness, random) {
            images += 1;
            let mut life = Life::after(content, &moment.told, &moment.shop, random.next());
            life.record();
            life.reopen();
            life.check().map_err(told)?;
            let recovery = life.moments();
            check(&mut life).map_err(told)?;
            if thoroughness.at_random > 0 && random.is_one_in(again) {
                let few = Thoroughness { tear_every: 4_096, at_random: 0 };
                images += crash_at(&recovery, few, again, check, random)
                    .map_err(|wrong| told(format!("{wrong}, in recovery")))?;
            }
        }
    }
    Ok(images)
}

#[test]
fn no_crash_while_a_key_is_replaced_leaves_a_device_that_the_server_does_not_know() {
    let (tear_every, again) = if is_full_run() { (7, 1) } else { (97, AGAIN) };
    let mut random = Random::new(20_260_401);
    let mut life = before();
    let old = life.device();
    life.record();
    life.replace_key();
    let moments = life.moments();
    assert_ne!(life.device(), old, "{:?}", life.troubles);
    let images = crash_at(&moments, Thoroughness { tear_every, at_random: 4 }, again, check, &mut random);
    let images = images.unwrap_or_else(|wrong| panic!("{wrong}"));
    println!("{} moments, {images} states", moments.len());
    assert!(moments.len() > 12 && images > 200, "{} moments, {images} states", moments.len());
}

#[test]
fn no_call_that_fails_while_a_key_is_replaced_leaves_a_device_that_the_server_does_not_know() {
    let mut life = before();
    let from = life.disk.calls();
    life.replace_key();
    life.reopen();
    let mut struck = 0;
    let mut random = Random::new(20_260_402);
    for call in from..life.disk.calls() {
        for (kind, for_ever) in FaultKind::ALL.into_iter().flat_map(|kind| [(kind, false), (kind, true)]) {
            if !is_full_run() && !random.is_one_in(8) {
                continue;
            }
            let mut life = before();
            let fault = Fault { call, kind, for_ever };
            life.disk.fail(fault);
            life.replace_key();
            // The process is killed, and started again on a disk that still fails, or no longer does.
            life.reopen();
            struck += life.disk.heal().into_values().sum::<u64>();
            life.troubles.clear();
            life.reopen();
            check(&mut life).unwrap_or_else(|wrong| panic!("{wrong}\n{fault:?}"));
        }
    }
    assert!(struck > 10, "{struck} calls failed");
}

/// Making durable which key is which fails, and the system forgets the names that it could not write. Whatever is done
/// then, a crash must leave a device that the server knows.
fn forget_names() -> Result<(), String> {
    let mut life = before();
    let from = life.disk.calls();
    life.replace_key();
    let calls = (0..).zip(life.disk.all_calls()).filter(|(number, call)| *number >= from && *call == Call::SyncFolder);
    let few = Thoroughness { tear_every: 4_096, at_random: 0 };
    let mut random = Random::new(20_260_403);
    for (call, _) in calls {
        for (is_killed, again) in [(false, false), (false, true), (true, false), (true, true)] {
            let mut life = before();
            life.disk.fail(Fault { call, kind: FaultKind::SyncLost, for_ever: false });
            life.replace_key();
            assert_eq!(life.disk.heal().into_values().sum::<u64>(), 1);
            if is_killed {
                life.reopen();
            }
            life.record();
            if again {
                life.replace_key();
            }
            life.act(Act::Buy);
            let moments: Vec<Moment> = life.moments().into_iter().rev().step_by(3).collect();
            let told = |wrong| format!("{wrong}\nafter the call {call}, killed: {is_killed}, again: {again}");
            // A key that is replaced again may be about to have another.
            crash_at(&moments, few, AGAIN, is_known, &mut random).map_err(told)?;
        }
    }
    Ok(())
}

#[test]
fn no_key_is_relied_on_whose_name_the_system_forgot() {
    assert_eq!(forget_names(), Ok(()));
    assert!(with(Bug::TrustForgottenNames, forget_names).is_err(), "this test could not fail");
}

#[test]
fn who_only_has_the_key_of_before_has_a_device_that_was_revoked() {
    let mut life = before();
    let copy = life.disk.content();
    life.replace_key();
    let mut thief = Life::after(copy, &life.told, &life.shop, 9);
    thief.reopen();
    for _ in 0..3 {
        thief.act(Act::Exchange);
        thief.wait();
    }
    let view = thief.session.as_ref().map(|session| session.machine().account_view());
    assert!(view.is_some_and(|view| view.revoked), "{:?}", thief.troubles);
    check(&mut life).unwrap_or_else(|wrong| panic!("{wrong}"));
}
