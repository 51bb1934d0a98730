//! A device that joins another account, on a disk that crashes and fails at every step of it, and with requests and answers
//! that are lost: it always comes to be where the server says that it is, owns what that account owns, and of each order
//! that it has left behind the player is told.

use super::disk::{Fault, FaultKind, Thoroughness};
use super::is_full_run;
use super::life::{Act, Life, Moment};
use super::random::Random;
use super::replacing::{AGAIN, crash_at};
use super::shop::Shop;

/// How a device joins an account.
#[derive(Clone, Copy, Debug)]
struct Way {
    /// Whether another device is left in the account of before, which keeps everything.
    leaves_another: bool,
    /// Which request is lost, and whether it had reached the server.
    lost: Option<(usize, bool)>,
    /// Whether the process is killed then.
    is_killed: bool,
}

impl Way {
    const STRAIGHT: Self = Self { leaves_another: false, lost: None, is_killed: false };

    /// All of them: no way has more than four requests that matter, the sync before it, the question, and the sync after it
    /// in two parts.
    fn all() -> impl Iterator<Item = Self> {
        let lost = (0..4).flat_map(|number| [Some((number, false)), Some((number, true))]);
        let lost = lost.chain([None]);
        lost.flat_map(|lost| {
            let ways = [(false, false), (false, true), (true, false), (true, true)];
            ways.map(|(leaves_another, is_killed)| Self { leaves_another, lost, is_killed })
        })
    }

    /// A device that has bought things and used one up, also without the server's having heard of it.
    fn before(self) -> Life {
        let shop = if self.leaves_another { Shop::new().with_another_device() } else { Shop::new() };
        let mut life = Life::with(shop, 7);
        let acts = [Act::Reopen, Act::BuyThree, Act::Exchange, Act::Consume, Act::Buy];
        acts.iter().for_each(|act| life.act(*act));
        life
    }

    /// Joins another account, and goes on buying and using things up all the while.
    fn join(self, life: &mut Life) {
        life.ask_to_join();
        for number in 0..8 {
            life.act(Act::Buy);
            let is_sent = match self.lost {
                Some((lost, reaches_the_server)) if lost == number => life.lose(reaches_the_server),
                _ => life.answer_one(),
            };
            if !is_sent {
                break;
            }
        }
        [Act::Buy, Act::Consume].iter().for_each(|act| life.act(*act));
        if self.is_killed {
            life.reopen();
            [Act::BuyThree, Act::Consume].iter().for_each(|act| life.act(*act));
        }
        life.wait();
        // The server says where the device is, and something is bought before its feed is read.
        for _ in 0..4 {
            life.answer_one();
            life.act(Act::Buy);
        }
        [Act::Exchange, Act::Compact, Act::Buy].iter().for_each(|act| life.act(*act));
    }
}

/// Whether client and server come to agree, and life goes on.
fn check(life: &mut Life) -> Result<(), String> {
    life.converge()?;
    life.go_on()
}

/// What was tried.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    ways: u64,
    moments: u64,
    images: u64,
    /// Ways that ended in the other account, and orders that were left behind.
    joined: u64,
    left_behind: u64,
}

/// Joins in all ways, with crashes in one of so many moments of each.
fn crash_everywhere(one_in: u64, thoroughness: Thoroughness, seed: u64) -> Result<Counts, String> {
    let (mut random, mut counts) = (Random::new(seed), Counts::default());
    let again = if is_full_run() { 4 } else { AGAIN };
    for way in Way::all() {
        let told = |wrong| format!("{wrong}\n{way:?}");
        let mut life = way.before();
        life.record();
        way.join(&mut life);
        let moments: Vec<Moment> = life.moments().into_iter().filter(|_| random.is_one_in(one_in)).collect();
        counts.moments += moments.len() as u64;
        counts.images += crash_at(&moments, thoroughness, again, check, &mut random).map_err(told)?;
        check(&mut life).map_err(told)?;
        counts.ways += 1;
        counts.joined += u64::from(life.shop.is_joined());
        counts.left_behind += life.left_behind();
    }
    Ok(counts)
}

/// Joins with every so-many-th call failing in each way, once and for ever; says how many calls failed.
fn fail_everywhere(one_in: u64, seed: u64) -> Result<u64, String> {
    let (mut random, mut struck) = (Random::new(seed), 0);
    for way in Way::all().filter(|way| way.lost.is_none_or(|(number, _)| number == 1)) {
        let mut life = way.before();
        let from = life.disk.calls();
        way.join(&mut life);
        for call in from..life.disk.calls() {
            for (kind, for_ever) in FaultKind::ALL.into_iter().flat_map(|kind| [(kind, false), (kind, true)]) {
                if !random.is_one_in(one_in) {
                    continue;
                }
                let mut life = way.before();
                let fault = Fault { call, kind, for_ever };
                life.disk.fail(fault);
                way.join(&mut life);
                struck += life.disk.heal().into_values().sum::<u64>();
                life.troubles.clear();
                life.reopen();
                check(&mut life).map_err(|wrong| format!("{wrong}\n{way:?}, {fault:?}"))?;
            }
        }
    }
    Ok(struck)
}

/// Looks for bugs, with as little as finds them. Says what was wrong, if anything.
pub(super) fn search() -> Option<String> {
    let few = Thoroughness { tear_every: 4_096, at_random: 0 };
    crash_everywhere(12, few, 6).err().map(|wrong| format!("joining: {wrong}"))
}

#[test]
fn no_crash_while_an_account_is_joined_leaves_a_device_elsewhere_or_an_order_untold() {
    let (one_in, tear_every) = if is_full_run() { (2, 499) } else { (12, 997) };
    let thoroughness = Thoroughness { tear_every, at_random: 2 };
    let counts = crash_everywhere(one_in, thoroughness, 20_260_501).unwrap_or_else(|wrong| panic!("{wrong}"));
    println!("{counts:?}");
    let Counts { ways, moments, images, joined, left_behind } = counts;
    assert!(ways == 36 && moments > 100 && images > 500 && joined > 20 && left_behind > 10, "{counts:?}");
}

#[test]
fn no_call_that_fails_while_an_account_is_joined_leaves_a_device_elsewhere_or_an_order_untold() {
    let struck = fail_everywhere(if is_full_run() { 1 } else { 24 }, 20_260_502);
    let struck = struck.unwrap_or_else(|wrong| panic!("{wrong}"));
    println!("{struck} calls failed");
    assert!(struck > 100, "{struck} calls failed");
}

#[test]
fn what_a_device_has_bought_and_used_up_is_there_in_the_account_that_it_joins() {
    let mut life = Way::STRAIGHT.before();
    life.act(Act::Exchange);
    let left = life.left();
    life.join();
    life.act(Act::Exchange);
    assert_eq!((life.left(), life.account()), (left, Some(&life.shop.account())), "{:?}", life.troubles);
    check(&mut life).unwrap_or_else(|wrong| panic!("{wrong}"));
}
