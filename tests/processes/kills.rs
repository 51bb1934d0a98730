//! Kills a client's process at random moments while it buys, and compares what it said with the server's books.
//!
//! The player can pay for everything. So every order that was ever said to be queued must end in the books, granted and
//! charged once, and nothing may be there that was not asked for.

mod heard;
mod moment;

use std::path::PathBuf;
use std::time::Instant;

use bevy_iap::server::{LocalServer, ServerConfig};
use serde_json::json;
use tempfile::TempDir;

use self::heard::Heard;
use self::moment::Moment;
use crate::books::Books;
use crate::buyer::{Buyer, Errand, catalog};
use crate::child::{self, Process};
use crate::random::{Random, how_many};

const TEST: &str = "kills::what_was_acknowledged_survives_a_kill_at_any_moment";
const WELCOME: i64 = 1_000_000_000;
/// How often the processes of one player are killed at most: of most players, and of the few whose journals grow long.
const KILLS_OF_A_PLAYER: (usize, usize) = (25, 100);
/// Nobody listens here.
const NOWHERE: &str = "http://127.0.0.1:1";

#[test]
fn what_was_acknowledged_survives_a_kill_at_any_moment() {
    if let Some(buyer) = child::role::<Buyer>() {
        return buyer.run();
    }
    let (wanted, seed, started) = (how_many(50, 2_000), Random::seed(), Instant::now());
    let mut scene = Scene::new(seed);
    let mut players = Vec::new();
    while scene.kills < wanted {
        let mut player = scene.new_player(players.len());
        let most = if scene.random.below(8) == 0 { KILLS_OF_A_PLAYER.1 } else { KILLS_OF_A_PLAYER.0 };
        let end = wanted.min(scene.kills + scene.random.up_to(most));
        while scene.kills < end {
            scene.kill(&mut player);
        }
        player.heard.settled(scene.start(&player, true, Errand::Settle).finish());
        players.push(player);
    }

    let books = Books::read(&scene.folder.path().join("server"));
    let mut differences: Vec<_> = players.iter().flat_map(|player| player.heard.compare(&books, WELCOME)).collect();
    let audit = scene.server.audit().expect("the audit runs");
    differences.extend(audit.differences);
    let sum = |count: fn(&Heard, &Books) -> usize| players.iter().map(|it| count(&it.heard, &books)).sum::<usize>();
    let figures = json!({
        "kills": scene.kills,
        "before_open": scene.before_open,
        "before_first_receipt": scene.before_first_receipt,
        "pairs": scene.pairs,
        "taken_over": scene.taken_over,
        "acknowledged": sum(|heard, _| heard.queued.len()),
        "settled": sum(Heard::settled_count),
        "orders": audit.orders,
        "used": sum(|heard, _| usize::try_from(heard.used).expect("few")),
        "lost": sum(Heard::lost_count),
        "doubled": sum(Heard::doubled_count),
        "seconds": started.elapsed().as_secs_f64(),
        "seed": seed,
    });
    println!("{figures}");
    assert!(differences.is_empty(), "{figures}\n{}", differences.join("\n"));
    assert!(sum(Heard::settled_count) > scene.kills, "too little was bought to prove anything: {figures}");
}

/// A player, and everything that the processes on the save folder said.
struct Player {
    save: PathBuf,
    provisional: bool,
    heard: Heard,
}

/// A server, and what was done so far.
struct Scene {
    folder: TempDir,
    server: LocalServer,
    random: Random,
    kills: usize,
    /// Kills before the journal was read.
    before_open: usize,
    /// Kills after that, and before a receipt had come.
    before_first_receipt: usize,
    /// How often two processes were started at once.
    pairs: usize,
    /// How often the second of them went on where the first was killed.
    taken_over: usize,
}

impl Scene {
    fn new(seed: u64) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut config = ServerConfig::new(folder.path().join("server"), catalog());
        config.welcome = Some("1000EUR".parse().expect("an amount"));
        let server = LocalServer::start(config).expect("the server starts");
        let random = Random::new(seed);
        Self { folder, server, random, kills: 0, before_open: 0, before_first_receipt: 0, pairs: 0, taken_over: 0 }
    }

    fn new_player(&self, number: usize) -> Player {
        let save = self.folder.path().join(format!("player-{number}"));
        Player { save, provisional: number % 2 == 1, heard: Heard::default() }
    }

    fn start(&self, player: &Player, online: bool, errand: Errand) -> Process {
        let buyer = Buyer {
            folder: player.save.clone(),
            url: if online { self.server.url() } else { NOWHERE.to_owned() },
            key: self.server.public_key().to_string(),
            provisional: player.provisional,
            errand,
        };
        Process::start(TEST, &buyer)
    }

    fn kill(&mut self, player: &mut Player) {
        let online = self.random.below(10) >= 3;
        let pair = self.random.below(6) == 0;
        let moment = Moment::choose(&mut self.random, online);
        let errand = Errand::Buy { most: 40, at_once: self.random.up_to(8) };
        let process = self.start(player, online, errand);
        match pair {
            false => {
                let mut lines = moment.wait(&process);
                lines.extend(process.kill());
                self.killed(player, &lines);
            }
            true => {
                let other = self.start(player, online, errand);
                self.kill_both(player, &moment, [process, other]);
            }
        }
    }

    /// Kills the one that got the folder, and a while later the other.
    fn kill_both(&mut self, player: &mut Player, moment: &Moment, processes: [Process; 2]) {
        self.pairs += 1;
        let (winner, [mut first, mut second]) = moment.wait_for_one(&processes);
        let [mut process, mut other] = processes;
        if winner == 1 {
            (process, other) = (other, process);
            (first, second) = (second, first);
        }
        if self.random.below(3) == 0 {
            // Long enough for the other to say that it may only look.
            second.extend(wait_until_open(&other, &second));
        }
        second.extend(other.said());
        if first.iter().any(|line| line == "opened") && second.iter().any(|line| line == "opened") {
            player.heard.troubles.push("two processes had the folder at once".to_owned());
        }
        first.extend(process.kill());
        self.killed(player, &first);
        std::thread::sleep(self.random.microseconds(120_000));
        let before = second.len();
        second.extend(other.kill());
        self.taken_over += usize::from(second[before..].iter().any(|line| line == "opened"));
        self.killed(player, &second);
    }

    fn killed(&mut self, player: &mut Player, lines: &[String]) {
        self.kills += 1;
        let said = |word: &str| lines.iter().any(|line| line.split(' ').next() == Some(word));
        if !said("opened") {
            self.before_open += 1;
        } else if !said("granted") {
            self.before_first_receipt += 1;
        }
        lines.iter().for_each(|line| player.heard.take(line));
    }
}

/// Waits until the process said how it has the folder, and gives what it said meanwhile.
fn wait_until_open(process: &Process, said: &[String]) -> Vec<String> {
    let is_open = |line: &String| line == "opened" || line == "read-only";
    let mut lines = Vec::new();
    while !said.iter().chain(&lines).any(is_open) {
        let Some(line) = process.hear() else { panic!("the process has ended: {said:?}, {lines:?}") };
        lines.push(line);
    }
    lines
}
