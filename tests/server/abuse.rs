//! What honest players feel while the server is abused, measured against the real server. It takes about two minutes and
//! wants the machine for itself, so it is run by `.ci/abuse` alone.

mod attacks;
mod honest;
mod wire;

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::Duration;

use self::attacks::Attack;
use self::honest::Figures;
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

fn row(name: &str, figures: &Figures, memory: u64) {
    println!(
        "{name:<44} {:>8} {:>8.1} {:>8.1} {:>8} {:>8}",
        figures.answered,
        figures.median.as_secs_f64() * 1_000.0,
        figures.slowest_hundredth.as_secs_f64() * 1_000.0,
        figures.failed,
        memory / 1024
    );
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
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    println!("{:<44} {:>8} {:>8} {:>8} {:>8} {:>8}", "", "answered", "p50 ms", "p99 ms", "failed", "MiB");
    let mut broken = Vec::new();
    runtime.block_on(async {
        let players = honest::players(process.address).await;
        let undisturbed = honest::measure(&players, process.address, TIME).await;
        row("undisturbed", &undisturbed, memory(&process).0);
        let mut measured = Vec::new();
        for (name, attacks) in [
            ("ten times the load in bad signatures", &[Attack::BadSignatures][..]),
            ("the same from one address", &[Attack::BadSignaturesOfOne]),
            ("5,000 silent connections", &[Attack::Silent]),
            ("5,000 slow connections", &[Attack::Slow]),
            ("oversized bodies", &[Attack::Oversized]),
            ("all of it at once", &[Attack::BadSignatures, Attack::Silent, Attack::Slow, Attack::Oversized]),
        ] {
            let under_way = attacks::begin(attacks, process.address).await;
            tokio::time::sleep(BEFORE).await;
            let figures = honest::measure(&players, process.address, TIME).await;
            under_way.end().await;
            row(name, &figures, memory(&process).0);
            measured.push((name, figures));
        }
        // It tells whether the machine did something else too.
        let again = honest::measure(&players, process.address, TIME).await;
        row("undisturbed again", &again, memory(&process).0);
        let limit = MOST.max(undisturbed.slowest_hundredth * 10);
        for (name, figures) in measured {
            if figures.slowest_hundredth > limit || figures.failed > 0 {
                broken.push(format!("{name}: {figures:?}; p99 may be {limit:?}"));
            }
        }
    });
    let (_, most) = memory(&process);
    println!("the most that the server took up: {} MiB", most / 1024);
    if most > MOST_MEMORY {
        broken.push(format!("the server took up {most} KiB"));
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}
