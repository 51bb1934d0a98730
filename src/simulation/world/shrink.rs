//! Shortening a plan that fails, so that somebody can read it, and writing it down as a test.

use std::fmt::Write as _;

use super::plan::{Network, Plan};
use super::store::Engine;

/// How often a plan is tried while it is shortened.
const MOST_TRIES: u64 = 600;

/// A plan that fails, and with what words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failing {
    pub(super) plan: Plan,
    pub(super) wrong: String,
}

/// Leaves out of a failing plan what it fails without: steps, faults of the network, devices, and time.
pub(super) fn shrink(failing: Failing, mut fails: impl FnMut(&Plan) -> Option<String>) -> Failing {
    let mut tries = 0;
    let mut shortest = failing;
    let mut attempt = |shortest: &mut Failing, plan: Plan| {
        tries += 1;
        if tries > MOST_TRIES || plan == shortest.plan {
            return false;
        }
        let wrong = fails(&plan);
        let still = wrong.is_some();
        if let Some(wrong) = wrong {
            *shortest = Failing { plan, wrong };
        }
        still
    };
    loop {
        let before = shortest.plan.clone();
        let mut length = (before.steps.len() / 2).max(1);
        while length > 0 {
            let mut from = 0;
            while from < shortest.plan.steps.len() {
                let mut plan = shortest.plan.clone();
                plan.steps.drain(from..(from + length).min(plan.steps.len()));
                if !attempt(&mut shortest, plan) {
                    from += length;
                }
            }
            length /= 2;
        }
        let network = shortest.plan.network;
        for network in [
            Network { delay: 1, ..Network::default() },
            Network { loss: 0, ..network },
            Network { copies: 0, ..network },
            Network { late: 0, ..network },
            Network { delay: 1, ..network },
        ] {
            let plan = Plan { network, ..shortest.plan.clone() };
            attempt(&mut shortest, plan);
        }
        while shortest.plan.devices > 1 {
            let plan = Plan { devices: shortest.plan.devices - 1, ..shortest.plan.clone() };
            if !attempt(&mut shortest, plan) {
                break;
            }
        }
        for step in 0..shortest.plan.steps.len() {
            let mut plan = shortest.plan.clone();
            plan.steps[step].after = 0;
            attempt(&mut shortest, plan);
        }
        if shortest.plan == before {
            return shortest;
        }
    }
}

impl Failing {
    /// A test that fails as this does.
    pub(super) fn as_test(&self, engine: Engine) -> String {
        let Self { plan, wrong } = self;
        let mut text = String::new();
        for line in wrong.lines() {
            let _ = writeln!(text, "// {line}");
        }
        let _ = writeln!(text, "#[test]\nfn the_world_of_seed_{}_comes_to_agree() {{", plan.seed);
        let _ = writeln!(text, "    let network = {:?};", plan.network);
        let _ = writeln!(text, "    let steps = [");
        for step in &plan.steps {
            let act = format!("{:?}", step.act).replace("kind: ", "kind: FaultKind::").replace("lie: ", "lie: Lie::");
            let _ = writeln!(text, "        ({}, Act::{act}),", step.after);
        }
        let _ = writeln!(
            text,
            "    ];\n    keeps_its_promises(Engine::{engine:?}, {}, {}, network, &steps);\n}}",
            plan.seed, plan.devices
        );
        text
    }
}
