//! Measuring in turns, on a machine that others use too.

use std::fs::{File, OpenOptions};
use std::path::Path;
use std::time::{Duration, Instant};

use bevy_iap::client::storage::disk::DiskFile;

/// The median that a bare durable write may take, on a disk that nobody else uses.
const QUIET: Duration = Duration::from_micros(150);
/// How many writes a probe makes.
const PROBES: usize = 15;

/// Something to measure: does its work once or several times, and says how long each took.
pub type Leg<'a> = &'a mut dyn FnMut() -> Vec<Duration>;

/// How often to measure, and how long to wait for a machine that is quiet enough.
#[derive(Clone, Copy)]
pub struct Rounds {
    pub wanted: usize,
    pub limit: Duration,
}

impl Rounds {
    /// Runs the legs in turns, there and back again, and gives the median of each; or says that the machine was busy.
    pub fn medians(self, legs: &mut [Leg<'_>], mut is_quiet: impl FnMut() -> bool) -> Result<Vec<Duration>, String> {
        let started = Instant::now();
        let mut samples = vec![Vec::new(); legs.len()];
        let mut rounds = 0;
        while rounds < self.wanted {
            if started.elapsed() > self.limit {
                return Err(format!("machine busy ({rounds} quiet rounds of {})", self.wanted));
            }
            let mut round = vec![Vec::new(); legs.len()];
            let mut quiet = is_quiet();
            for place in (0..legs.len()).chain((0..legs.len()).rev()) {
                if quiet {
                    round[place].extend(legs[place]());
                    quiet = is_quiet();
                }
            }
            if quiet {
                rounds += 1;
                samples.iter_mut().zip(round).for_each(|(all, new)| all.extend(new));
            } else {
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        Ok(samples.into_iter().map(median).collect())
    }
}

fn median(mut durations: Vec<Duration>) -> Duration {
    durations.sort_unstable();
    durations[durations.len() / 2]
}

/// How long `work` takes, without the time in which its thread waited for a core.
pub fn time<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let (waited, started) = (waited_for_a_core(), Instant::now());
    let done = work();
    let elapsed = started.elapsed();
    (elapsed.saturating_sub(waited_for_a_core().saturating_sub(waited)), done)
}

/// How long this thread has waited for a core since it began, where the system says.
fn waited_for_a_core() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let waited = text.split_whitespace().nth(1).and_then(|waited| waited.parse().ok());
    Duration::from_nanos(waited.unwrap_or(0))
}

/// A file that is all there before it is written, so that a durable write is one write to the disk and no more. It is as
/// short as what a journal makes room for at once, and written again and again: a long one was 7 to 9 % slower, which
/// would flatter whatever is measured beside it.
pub struct BareFile {
    file: File,
    offset: u64,
}

impl BareFile {
    const LENGTH: u64 = 64 * 1024;

    pub fn create(path: &Path) -> Self {
        let mut file = OpenOptions::new().read(true).write(true).create_new(true).open(path).expect("a file");
        let length = usize::try_from(Self::LENGTH).expect("it fits");
        file.write_all_at(0, &vec![0; length]).expect("room on the disk");
        file.sync_all().expect("durable");
        Self { file, offset: 0 }
    }

    /// Writes bytes after the last ones, and makes them durable.
    pub fn write(&mut self, bytes: &[u8]) -> Duration {
        if self.offset + bytes.len() as u64 > Self::LENGTH {
            self.offset = 0;
        }
        let started = Instant::now();
        self.file.write_all_at(self.offset, bytes).expect("written");
        self.file.sync_data().expect("durable");
        self.offset += bytes.len() as u64;
        started.elapsed()
    }

    /// Whether nobody else seems to use the disk: the probe.
    pub fn is_quiet(&mut self) -> bool {
        median((0..PROBES).map(|_| self.write(&[1; 300])).collect()) <= QUIET
    }
}
