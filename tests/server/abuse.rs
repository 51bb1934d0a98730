//! What honest players feel while the server is abused, measured against the real server. It takes about two minutes and
//! wants the machine for itself, so it is run by `.ci/abuse` alone.

mod attacks;
mod honest;
mod wire;

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use self::attacks::Attack;
use self::honest::{Figures, Player};
use crate::process::Process;
use crate::support::CATALOG;

/// How long each measurement takes.
const TIME: Duration = Duration::from_secs(10);
/// How long an attack goes on before honest players are measured.
const BEFORE: Duration = Duration::from_secs(3);
/// What an honest player's slowest hundredth may take under abuse, unless ten times the undisturbed time is more.
const MOST: Duration = Duration::from_millis(250);
/// What the server's process may take up at most, in KiB.
const MOST_MEMORY: u64 = 512 * 1024;

/// An address of this computer: the limits hold for each of them as for any other.
fn address(group: u8, number: usize) -> IpAddr {
    let number = u8::try_from(number).expect("a small number");
    Ipv4Addr::new(127, 1, group, number + 1).into()
}

/// What the process takes up, in KiB: now, and at most so far.
fn memory(process: &Process) -> (u64, u64) {
    let status = fs::read_to_string(format!("/proc/{}/status", process.child.id())).expect("Linux tells");
    let kibibytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("Linux tells");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    };
    (kibibytes("VmRSS:"), kibibytes("VmHWM:"))
}

/// How long the processors have worked for a process.
fn worked(process: &str) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).expect("Linux tells");
    let (_, after_name) = stat.rsplit_once(") ").expect("Linux tells");
    // The 14th and 15th of all; Linux tells them in hundredths of a second.
    let ticks = after_name.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("a number"));
    Duration::from_millis(ticks.sum::<u64>() * 10)
}

/// A server, and players who buy from it.
struct Scene {
    process: Process,
    players: Vec<Player>,
    /// Where the players run: apart from those who abuse the server, or each would wait for the others' turns.
    apart: Runtime,
}

impl Scene {
    /// Measures what the players feel, and tells it with what the processors did meanwhile.
    async fn measure(&self, name: &str) -> Figures {
        let processes = [self.process.child.id().to_string(), "self".to_owned()];
        let before = processes.each_ref().map(|process| worked(process));
        let figures = honest::measure(self.apart.handle(), &self.players, self.process.address, TIME).await;
        let after = processes.each_ref().map(|process| worked(process));
        let share = |of: usize| (after[of] - before[of]).as_secs_f64() / TIME.as_secs_f64() * 100.0;
        let milliseconds = |time: Duration| time.as_secs_f64() * 1_000.0;
        println!(
            "{name:<44} {:>8} {:>8.1} {:>8.1} {:>8} {:>8} {:>8.0} {:>8.0}",
            figures.answered,
            milliseconds(figures.median),
            milliseconds(figures.slowest_hundredth),
            figures.failed,
            memory(&self.process).0 / 1024,
            share(0),
            share(1),
        );
        figures
    }
}

fn serve(folder: &Path) -> Process {
    let catalog = folder.join("catalog.ron");
    fs::write(&catalog, CATALOG).expect("writes");
    Process::serve(&catalog, &folder.join("store"), &["--limit-loopback", "true"])
}

#[test]
#[ignore = "it takes two minutes and wants the machine for itself; .ci/abuse runs it"]
fn honest_players_hardly_feel_that_the_server_is_abused() {
    // Both ends of ten thousand connections are in two processes.
    rlimit::increase_nofile_limit(12_000).expect("files may be opened");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let process = serve(folder.path());
    let server = process.address;
    let runtime = Runtime::new().expect("a runtime");
    let apart = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    println!(
        "{:<44} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8}",
        "", "answered", "p50 ms", "p99 ms", "failed", "MiB", "server %", "clients %"
    );
    let mut broken = Vec::new();
    let most = runtime.block_on(async {
        let scene = Scene { process, players: honest::players(server).await, apart };
        let undisturbed = scene.measure("undisturbed").await;
        let limit = MOST.max(undisturbed.slowest_hundredth * 10);
        for (name, attacks) in [
            ("ten times the load in bad signatures", &[Attack::BadSignatures][..]),
            ("the same from one address", &[Attack::BadSignaturesOfOne]),
            ("5,000 silent connections", &[Attack::Silent]),
            ("5,000 slow connections", &[Attack::Slow]),
            ("oversized bodies", &[Attack::Oversized]),
            ("all of it at once", &[Attack::BadSignatures, Attack::Silent, Attack::Slow, Attack::Oversized]),
        ] {
            let under_way = attacks::begin(attacks, server).await;
            tokio::time::sleep(BEFORE).await;
            let figures = scene.measure(name).await;
            under_way.end().await;
            if figures.slowest_hundredth > limit || figures.failed > 0 {
                broken.push(format!("{name}: {figures:?}; p99 may be {limit:?}"));
            }
        }
        // It tells whether the machine did something else too.
        scene.measure("undisturbed again").await;
        scene.apart.shutdown_background();
        memory(&scene.process).1
    });
    println!("the most that the server took up: {} MiB", most / 1024);
    if most > MOST_MEMORY {
        broken.push(format!("the server took up {most} KiB"));
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}
