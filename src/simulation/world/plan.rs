//! What happens in a world, as plain data: made from a seed, shortened step by step where it fails, and written down as a
//! test.

use crate::simulation::disk::FaultKind;
use crate::simulation::random::Random;

/// A world's whole history but for what the network does, which follows from the seed and the numbers of the messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) seed: u64,
    /// How many devices there are, each with an account of its own.
    pub(super) devices: u8,
    pub(super) network: Network,
    pub(super) steps: Vec<Step>,
}

/// How bad the network is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Network {
    /// How many of a hundred messages are lost, each way.
    pub(super) loss: u8,
    /// How many of a hundred requests arrive twice.
    pub(super) copies: u8,
    /// How many of a hundred requests arrive long after whoever sent them has given up.
    pub(super) late: u8,
    /// The longest that a message takes otherwise, in milliseconds.
    pub(super) delay: u32,
}

/// Something that happens, so many milliseconds after the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) after: u32,
    pub(super) act: Act,
}

/// Something that happens. Numbers that are too large go round, so that a plan stays one when some of it is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    Buy {
        client: u8,
        product: u8,
        quantity: u8,
    },
    BuyMany {
        client: u8,
        count: u8,
    },
    Consume {
        client: u8,
    },
    Sync {
        client: u8,
    },
    Offline {
        client: u8,
        offline: bool,
    },
    Compact {
        client: u8,
    },
    /// The process is killed, and starts again.
    Kill {
        client: u8,
    },
    /// The machine crashes: what is not durable is kept, lost or torn.
    Crash {
        client: u8,
    },
    /// It crashes at some call to the disk while something is bought.
    CrashWhileBuying {
        client: u8,
        call: u8,
    },
    /// It crashes at some call to the disk while the game starts.
    CrashWhileStarting {
        client: u8,
        call: u8,
    },
    /// Calls to the disk fail.
    Fail {
        client: u8,
        kind: FaultKind,
        call: u8,
        for_ever: bool,
    },
    Heal {
        client: u8,
    },
    /// The player sets the device's clock.
    SetClock {
        client: u8,
        seconds: i32,
    },
    /// The save is copied to another machine, where the game starts too.
    Copy {
        client: u8,
    },
    /// The save is kept, to be put back later.
    Keep {
        client: u8,
    },
    PutBack {
        client: u8,
    },
    /// Another version of the game starts, with its catalogue and its way to give what was ordered.
    Update {
        client: u8,
        grants: u8,
        catalog: u8,
    },
    /// An older version of the game has written the journal.
    OlderJournal {
        client: u8,
    },
    /// The device has no network.
    Partition {
        client: u8,
        seconds: u16,
    },
    /// Nobody reaches the server.
    Outage {
        seconds: u16,
    },
    /// A request of before arrives again.
    Replay {
        nth: u16,
    },
    /// Somebody answers the next request with an answer of before.
    OldAnswer {
        client: u8,
        nth: u16,
    },
    /// Somebody answers the next request with something else.
    Lie {
        client: u8,
        lie: Lie,
    },
    /// The player has rewritten the game, which spends more of an allowance than there is.
    Overspend {
        client: u8,
    },
    /// The player sends another order under the id of one that is settled.
    OtherOrder {
        client: u8,
        nth: u16,
    },
    /// The server starts again, with this catalogue.
    Restart {
        seconds: u8,
        catalog: u8,
    },
    /// The server is killed after it has settled, and before it has answered.
    CrashServer,
    RotateKeys,
    RevokeKey,
    /// All games are closed for some days.
    Days {
        count: u8,
    },
    Credit {
        device: u8,
        cents: u8,
    },
    Refund {
        nth: u16,
        one: bool,
    },
    ChargeBack {
        nth: u16,
    },
    Hold {
        device: u8,
        cents: u8,
    },
    EndHold {
        nth: u16,
        post: bool,
    },
    Freeze {
        device: u8,
    },
    Thaw {
        device: u8,
    },
}

/// An answer that is not the server's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lie {
    Garbage,
    ServerError,
    Forbidden,
    UnknownDevice,
    /// All is declined, says a proxy.
    Declined,
    Cut,
    /// The right answer, signed by another key.
    OtherKey,
    /// An answer with a receipt of somebody who has a key that was revoked.
    Thief,
    ComeBackLater,
}

impl Lie {
    /// Whether it is what a proxy answers, which need not have passed the request on.
    pub(super) fn is_of_a_proxy(self) -> bool {
        !matches!(self, Self::Cut | Self::OtherKey | Self::Thief)
    }

    const ALL: [Self; 9] = [
        Self::Garbage,
        Self::ServerError,
        Self::Forbidden,
        Self::UnknownDevice,
        Self::Declined,
        Self::Cut,
        Self::OtherKey,
        Self::ComeBackLater,
        Self::Thief,
    ];
}

/// What a plan is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About {
    /// Everything.
    Everything,
    /// Devices that spend allowances while they are offline, and whatever can go wrong with that.
    Allowances,
}

impl Plan {
    /// The plan of a seed.
    pub(super) fn of(seed: u64, about: About, steps: u64) -> Self {
        let mut random = Random::new(seed ^ 0x5eed);
        let network = if random.is_one_in(4) {
            Network { delay: 1 + random.below(200) as u32, ..Network::default() }
        } else {
            Network {
                loss: random.below(31) as u8,
                copies: random.below(51) as u8,
                late: random.below(11) as u8,
                delay: 1 + random.below(3_000) as u32,
            }
        };
        let devices = match about {
            About::Everything => 2 + random.below(5) as u8,
            About::Allowances => 1 + random.below(2) as u8,
        };
        let mut plan = Self { seed, devices, network, steps: Vec::new() };
        for _ in 0..steps / 2 + random.below(steps) {
            let after = match random.below(8) {
                0 => 0,
                1..=5 => random.below(2_000) as u32,
                _ => random.below(90_000) as u32,
            };
            let act = match about {
                About::Everything => Act::any(&mut random),
                About::Allowances => Act::about_allowances(&mut random),
            };
            plan.steps.push(Step { after, act });
        }
        plan
    }
}

impl Act {
    fn any(random: &mut Random) -> Self {
        let (client, device) = (random.below(240) as u8, random.below(240) as u8);
        let nth = random.below(60_000) as u16;
        let catalog = random.below(2) as u8;
        match random.below(100) {
            0..=23 => Self::Buy { client, product: random.below(240) as u8, quantity: 1 + random.below(3) as u8 },
            24..=27 => Self::BuyMany { client, count: 2 + random.below(12) as u8 },
            28..=33 => Self::Consume { client },
            34..=38 => Self::Sync { client },
            39..=41 => Self::Offline { client, offline: !random.is_one_in(3) },
            42..=43 => Self::Compact { client },
            44..=46 => Self::Kill { client },
            47..=49 => Self::Crash { client },
            50..=52 => Self::CrashWhileBuying { client, call: random.below(12) as u8 },
            53 => Self::CrashWhileStarting { client, call: random.below(12) as u8 },
            54..=57 => Self::failure(client, random),
            58..=59 => Self::Heal { client },
            60..=61 => Self::clock(client, random),
            62..=63 => Self::Copy { client },
            64 => Self::Keep { client },
            65 => Self::PutBack { client },
            66 if random.is_one_in(2) => Self::OlderJournal { client },
            66..=67 => Self::Update { client, grants: random.below(3) as u8, catalog },
            68..=69 => Self::Partition { client, seconds: random.below(400) as u16 },
            70 => Self::Outage { seconds: random.below(120) as u16 },
            71..=74 => Self::Replay { nth },
            75..=76 => Self::OldAnswer { client, nth },
            77..=79 => Self::Lie { client, lie: Lie::ALL[random.below(12).min(8) as usize] },
            80 if random.is_one_in(2) => Self::Overspend { client },
            80 => Self::OtherOrder { client, nth },
            81..=82 => Self::Restart { seconds: random.below(30) as u8, catalog },
            83 => Self::CrashServer,
            84 => Self::RotateKeys,
            85 => Self::RevokeKey,
            86 => Self::Days { count: 1 + random.below(3) as u8 },
            87..=89 => Self::Credit { device, cents: 1 + random.below(20) as u8 },
            90..=92 => Self::Refund { nth, one: random.is_one_in(2) },
            93 => Self::ChargeBack { nth },
            94..=95 => Self::Hold { device, cents: 1 + random.below(9) as u8 },
            96..=97 => Self::EndHold { nth, post: random.is_one_in(2) },
            98 => Self::Freeze { device },
            _ => Self::Thaw { device },
        }
    }

    fn about_allowances(random: &mut Random) -> Self {
        let (client, device) = (random.below(240) as u8, random.below(240) as u8);
        match random.below(60) {
            0..=17 => Self::Buy { client, product: random.below(240) as u8, quantity: 1 + random.below(2) as u8 },
            18..=20 => Self::BuyMany { client, count: 2 + random.below(8) as u8 },
            21..=26 => Self::Sync { client },
            27..=31 => Self::Offline { client, offline: !random.is_one_in(3) },
            32..=33 => Self::Kill { client },
            34..=35 => Self::Crash { client },
            36..=38 => Self::CrashWhileBuying { client, call: random.below(12) as u8 },
            39..=41 => Self::Copy { client },
            42 => Self::Keep { client },
            43 => Self::PutBack { client },
            44..=46 => Self::Days { count: 1 + random.below(3) as u8 },
            47..=49 => Self::Replay { nth: random.below(60_000) as u16 },
            50 => Self::Partition { client, seconds: random.below(400) as u16 },
            51 => Self::Credit { device, cents: 1 + random.below(20) as u8 },
            52 => Self::Refund { nth: random.below(60_000) as u16, one: random.is_one_in(2) },
            53 => Self::Hold { device, cents: 1 + random.below(9) as u8 },
            54 => Self::Thaw { device },
            55 => Self::Compact { client },
            56 => Self::clock(client, random),
            57 => Self::CrashServer,
            58 => Self::failure(client, random),
            _ if random.is_one_in(2) => Self::Overspend { client },
            _ => Self::Heal { client },
        }
    }

    fn failure(client: u8, random: &mut Random) -> Self {
        let kind = FaultKind::ALL[random.below(FaultKind::ALL.len() as u64) as usize];
        Self::Fail { client, kind, call: random.below(6) as u8, for_ever: random.is_one_in(3) }
    }

    fn clock(client: u8, random: &mut Random) -> Self {
        const TEN_YEARS: u64 = 315_360_000;
        let reach = [600, 86_400, TEN_YEARS][random.below(3) as usize];
        let seconds = i32::try_from(random.below(2 * reach)).unwrap_or_default();
        Self::SetClock { client, seconds: seconds - i32::try_from(reach).unwrap_or_default() }
    }
}
