//! Kills the real server at random moments while devices buy, and compares what it answered with its books.
//!
//! With `BEVY_IAP_FULL=1` in the environment there are 500 kills, which takes minutes. `BEVY_IAP_SEED` changes what is
//! done when; the figures that the test prints (see them with `--nocapture`) name its seed.

mod answered;
mod buyer;
pub mod database;

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;

use self::answered::Answered;
use self::buyer::Buyer;
use self::database::Place;
use crate::process::Process;
use crate::random::{Random, how_many};
use crate::support::CATALOG;

/// How many devices buy at once.
const BUYERS: u64 = 6;

#[test]
fn what_the_server_answered_survives_its_kill_at_any_moment() {
    let figures = Scene::new(Place::sqlite(), Random::seed()).play(how_many(20, 500));
    println!("{figures}");
}

#[cfg(all(unix, feature = "postgres"))]
#[test]
fn what_the_server_answered_survives_its_kill_at_any_moment_with_postgresql() {
    let Some(place) = Place::postgres() else { return };
    let figures = Scene::new(place, Random::seed()).play(how_many(5, 100));
    println!("{figures}");
}

/// A server that is killed and started again.
struct Scene {
    database: Place,
    folder: TempDir,
    listen: String,
    seed: u64,
    random: Random,
}

impl Scene {
    fn new(database: Place, seed: u64) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::write(folder.path().join("catalog.ron"), CATALOG).expect("writes");
        // The buyers look for it in one place, however often it is started.
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
        Self { database, folder, listen: free.to_string(), seed, random: Random::new(seed) }
    }

    fn play(mut self, kills: usize) -> serde_json::Value {
        let started = Instant::now();
        // Made once, so that the buyers know whom to believe.
        let key = self.serve().printed.split('"').nth(3).expect("a key").parse().expect("a key");
        let address = self.listen.parse().expect("an address");
        let (ending, seed) = (AtomicBool::new(false), self.seed);
        let mut early = 0;
        let answered: Vec<Answered> = thread::scope(|scope| {
            let ending = &ending;
            let buyers: Vec<_> = (0..BUYERS)
                .map(|number| scope.spawn(move || Buyer::new(address, key, seed + number + 1).buy_until(ending)))
                .collect();
            for _ in 0..kills {
                early += usize::from(self.kill());
            }
            // What is under way is asked again until it is answered.
            let mut last = self.serve();
            ending.store(true, Ordering::Relaxed);
            let answered = buyers.into_iter().map(|buyer| buyer.join().expect("ends")).collect();
            last.signal("-TERM");
            assert!(last.child.wait().expect("ends").success());
            answered
        });
        let books = self.database.read(&self.data());
        let mut differences: Vec<_> = answered.iter().flat_map(|answered| answered.compare(&books)).collect();
        differences.extend(self.database.audit(&self.data()));
        let sum = |count: fn(&Answered) -> usize| answered.iter().map(count).sum::<usize>();
        let figures = json!({
            "database": self.database.name,
            "kills": kills,
            "before_it_served": early,
            "acknowledged": sum(Answered::orders),
            "granted": sum(Answered::granted),
            "asked_again": sum(|it| it.asked_again),
            "replayed": sum(|it| it.replayed),
            "in_the_books": books.len(),
            "differences": differences.len(),
            "seconds": started.elapsed().as_secs_f64(),
            "seed": self.seed,
        });
        assert!(differences.is_empty(), "{figures}\n{}", differences.join("\n"));
        assert!(sum(Answered::orders) > kills, "too little was bought to prove anything: {figures}");
        assert!(sum(|it| it.asked_again) > 0, "no kill came between a question and its answer: {figures}");
        figures
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    fn arguments(&self) -> Vec<&str> {
        ["--listen", &self.listen].into_iter().chain(self.database.arguments.iter().map(String::as_str)).collect()
    }

    fn serve(&self) -> Process {
        Process::serve(&self.folder.path().join("catalog.ron"), &self.data(), &self.arguments())
    }

    /// Starts the server and kills it at a random moment. Says whether that was before it served.
    fn kill(&mut self) -> bool {
        if self.random.below(5) == 0 {
            let mut child = Process::begin(&self.folder.path().join("catalog.ron"), &self.data(), &self.arguments());
            thread::sleep(self.random.microseconds(30_000));
            child.kill().expect("killed");
            child.wait().expect("ended");
            return true;
        }
        let mut process = self.serve();
        // Often soon after a start, when all buyers ask again at once.
        let longest = [5_000, 50_000, 300_000][self.random.up_to(3) - 1];
        thread::sleep(self.random.microseconds(longest) + Duration::from_millis(1));
        process.child.kill().expect("killed");
        process.child.wait().expect("ended");
        false
    }
}
