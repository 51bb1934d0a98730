//! When a process is killed: some time after its start, or after it has said something a number of times.

use std::time::{Duration, Instant};

use crate::child::{PATIENCE, Process};
use crate::random::Random;

/// The moment of a kill.
pub struct Moment {
    /// What it waits for, how often; none for the start of the process itself.
    word: Option<(&'static str, usize)>,
    /// How long after that.
    then: Duration,
}

impl Moment {
    /// A moment from all over a process's life. Nothing is granted to one that is not `online`.
    pub fn choose(random: &mut Random, online: bool) -> Self {
        let (word, then) = match random.below(10) {
            0 => (None, 3_000),
            1 | 2 => (None, 40_000),
            3 => (Some(("opened", 1)), 1_000),
            4 => (Some(("opened", 1)), 20_000),
            5 | 6 if online => (Some(("granted", random.up_to(20))), 3_000),
            7 if online => (Some(("used", random.up_to(10))), 3_000),
            _ => (Some(("queued", random.up_to(30))), 3_000),
        };
        Self { word, then: random.microseconds(then) }
    }

    /// Waits for the moment, and gives what the process said meanwhile.
    pub fn wait(&self, process: &Process) -> Vec<String> {
        let mut lines = Vec::new();
        while !self.has_come(&lines) {
            match process.hear() {
                Some(line) => lines.push(line),
                None => panic!("the process ended by itself: {lines:#?}"),
            }
        }
        std::thread::sleep(self.then);
        lines
    }

    /// Waits until the moment has come for one of two processes. Gives which one, and what each said meanwhile.
    pub fn wait_for_one(&self, processes: &[Process; 2]) -> (usize, [Vec<String>; 2]) {
        let started = Instant::now();
        let mut lines = [Vec::new(), Vec::new()];
        loop {
            for (number, process) in processes.iter().enumerate() {
                lines[number].extend(process.said());
                if self.has_come(&lines[number]) {
                    std::thread::sleep(self.then);
                    return (number, lines);
                }
            }
            assert!(started.elapsed() < PATIENCE, "neither of two processes came so far: {lines:#?}");
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    fn has_come(&self, lines: &[String]) -> bool {
        let Some((word, count)) = self.word else { return true };
        lines.iter().filter(|line| line.split(' ').next() == Some(word)).count() >= count
    }
}
