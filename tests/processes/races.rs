//! Pairs of processes that are started at the same moment on one folder: one at a time may write.

use std::io::{BufRead, BufReader, PipeWriter, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use serde_json::json;

use crate::child::{self, PATIENCE};
use crate::racer::{self, Racer};
use crate::random::{Random, how_many};
use crate::witness::Witness;

/// How many races there are on one folder at most.
const RACES_ON_A_FOLDER: usize = 10;

#[test]
fn of_two_processes_on_one_folder_one_at_a_time_writes() {
    if let Some(racer) = child::role::<Racer>() {
        return racer.run();
    }
    let (wanted, seed, started) = (how_many(40, 2_000), Random::seed(), Instant::now());
    let root = tempfile::tempdir().expect("a temporary folder");
    let mut random = Random::new(seed);
    let mut witnesses = Vec::new();
    let (mut races, mut killed, mut handed_over) = (0, 0, 0);
    while races < wanted {
        let folder = root.path().join(format!("folder-{races}"));
        let mut witness = Witness::default();
        for _ in 0..random.up_to(RACES_ON_A_FOLDER).min(wanted - races) {
            let before = witness.had;
            killed += usize::from(race(races, &folder, &mut random, &mut witness));
            races += 1;
            handed_over += usize::from(witness.had == before + 2);
            // Both are gone, so whoever comes next gets the folder.
            match racer::read(&folder) {
                Some(journal) => witness.compare(&journal),
                None => {
                    witness.violations.push(format!("nobody has the folder after the race {races}, or so it seems"))
                }
            }
        }
        witnesses.push(witness);
    }
    let sum = |count: fn(&Witness) -> usize| witnesses.iter().map(count).sum::<usize>();
    let violations: Vec<_> = witnesses.iter().flat_map(|witness| &witness.violations).collect();
    let figures = json!({
        "races": races,
        "killed": killed,
        "had_it": sum(|it| it.had),
        "handed_over": handed_over,
        "looked": sum(|it| it.looked),
        "acknowledged": sum(Witness::acknowledged),
        "violations": violations.len(),
        "seconds": started.elapsed().as_secs_f64(),
        "seed": seed,
    });
    println!("{figures}");
    assert!(violations.is_empty(), "{figures}\n{violations:#?}");
    assert!(handed_over > 0 && sum(Witness::acknowledged) > races, "too little happened to prove anything: {figures}");
}

/// One race: two processes are told to go at the same moment. Says whether one was killed.
fn race(number: usize, folder: &Path, random: &mut Random, witness: &mut Witness) -> bool {
    let racer = |name: &str, records, stays| Racer {
        name: format!("{number}{name}"),
        folder: folder.to_owned(),
        records,
        stays,
    };
    let kind = random.below(10);
    let stays = kind == 0;
    let racers = [racer("a", random.up_to(8), stays), racer("b", random.up_to(8), stays)];
    let mut race = Race::start("races::of_two_processes_on_one_folder_one_at_a_time_writes", racers, witness);
    race.tell_both();
    let killed = match kind {
        // Whoever has the folder keeps it until the other has given up.
        0 => {
            race.hear_until(|word| word == "looks");
            race.tell_both();
            None
        }
        // One of them is killed wherever it is.
        1..=3 => {
            std::thread::sleep(random.microseconds(15_000));
            Some(usize::from(random.below(2) == 0))
        }
        // Whoever has the folder is killed, mostly while it writes.
        4..=6 => {
            let winner = race.hear_until(|word| word == "have");
            std::thread::sleep(random.microseconds(4_000));
            Some(winner)
        }
        _ => None,
    };
    if let Some(victim) = killed {
        race.kill(victim);
    }
    race.finish();
    killed.is_some()
}

/// Two processes that wait to be told.
struct Race<'a> {
    racers: [Racer; 2],
    processes: [Child; 2],
    inputs: [Option<ChildStdin>; 2],
    pipe: PipeWriter,
    lines: Receiver<String>,
    witness: &'a mut Witness,
}

impl<'a> Race<'a> {
    fn start(test: &str, racers: [Racer; 2], witness: &'a mut Witness) -> Self {
        let (reader, pipe) = std::io::pipe().expect("a pipe");
        let mut processes = racers.each_ref().map(|racer| {
            let mut command = child::command(test, racer);
            let command = command.stdin(Stdio::piped()).stderr(pipe.try_clone().expect("a pipe"));
            command.spawn().expect("the process starts")
        });
        let inputs = processes.each_mut().map(|process| process.stdin.take());
        let (sender, lines) = channel();
        let reader = BufReader::new(reader);
        std::thread::spawn(move || reader.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let mut race = Self { racers, processes, inputs, pipe, lines, witness };
        race.hear_until(|word| word == "ready");
        race.hear_until(|word| word == "ready");
        race
    }

    /// Hears lines until somebody says a word that is `wanted`, and gives whose it is.
    fn hear_until(&mut self, wanted: impl Fn(&str) -> bool) -> usize {
        loop {
            let Ok(line) = self.lines.recv_timeout(PATIENCE) else {
                panic!("the processes say nothing for {PATIENCE:?}: {:#?}", self.witness)
            };
            self.witness.hear(&line);
            let (name, words) = line.split_once(' ').unwrap_or_default();
            if wanted(words.split(' ').next().unwrap_or_default()) {
                return usize::from(self.racers[1].name == name);
            }
        }
    }

    fn tell_both(&mut self) {
        for input in self.inputs.iter_mut().flatten() {
            // One that has ended needs to be told nothing.
            let _ = input.write_all(b"\n");
        }
    }

    /// Kills one. From the moment when it is about to be killed it counts as having nothing.
    fn kill(&mut self, victim: usize) {
        let line = format!("{} killing\n", self.racers[victim].name);
        self.pipe.write_all(line.as_bytes()).expect("written");
        self.processes[victim].kill().expect("killed");
    }

    /// Waits until both have ended, and hears the rest.
    fn finish(mut self) {
        self.inputs = [None, None];
        for process in &mut self.processes {
            process.wait().expect("ended");
        }
        drop(self.pipe);
        self.lines.iter().for_each(|line| self.witness.hear(&line));
    }
}

#[test]
fn two_writers_at_once_would_be_noticed() {
    if let Some(racer) = child::role::<Racer>() {
        return racer.run();
    }
    // Each of the two has a folder of its own, as if there were no lock on the one that they think they share.
    let root = tempfile::tempdir().expect("a temporary folder");
    let racers =
        ["a", "b"].map(|name| Racer { name: name.to_owned(), folder: root.path().join(name), records: 1, stays: true });
    let mut witness = Witness::default();
    let mut race = Race::start("races::two_writers_at_once_would_be_noticed", racers, &mut witness);
    race.tell_both();
    let first = race.hear_until(|word| word == "have");
    race.hear_until(|word| word == "have");
    race.finish();
    let name = ["a", "b"][1 - first];
    assert!(witness.violations.iter().any(|it| it.starts_with(&format!("{name} got the folder while"))), "{witness:?}");
    witness.violations.clear();
    witness.compare(&racer::read(&root.path().join("a")).expect("nobody else has it"));
    assert!(witness.violations.iter().any(|it| it.contains("lost: [\"b.1\"]")), "{witness:?}");
}

/// What a witness says of these lines and this journal.
fn violations(lines: &[&str], journal: &[&str]) -> Vec<String> {
    let mut witness = Witness::default();
    lines.iter().for_each(|line| witness.hear(line));
    witness.compare(&journal.iter().map(|record| (*record).to_owned()).collect::<Vec<_>>());
    witness.violations
}

#[test]
fn one_writer_after_the_other_is_no_violation() {
    let handed_over = ["a have 0", "a writing 1", "a wrote 1", "a leaving", "b have 1", "b writing 2", "b wrote 2"];
    assert_eq!(violations(&handed_over, &["1", "2"]), [""; 0]);
    let killed = ["a have 0", "a writing 1", "a killing", "b have 1", "b writing 2", "b wrote 2", "b leaving"];
    assert_eq!(violations(&killed, &["1", "2"]), [""; 0], "a record that was not acknowledged may be there");
    assert_eq!(violations(&killed, &["2"]), [""; 0], "or not");
}

#[test]
fn every_kind_of_violation_is_noticed() {
    let one = |lines: &[&str], journal: &[&str], told: &str| {
        let violations = violations(lines, journal);
        assert!(matches!(&violations[..], [only] if only.contains(told)), "{told}: {violations:?}");
    };
    one(&["a have 0", "b have 0", "b leaving"], &[], "b got the folder while a had it");
    one(&["a have 0", "a killing", "b have 0", "a writing 1"], &[], "a did not have the folder");
    one(&["a have 0", "a leaving", "a writing 1"], &["1"], "a did not have the folder");
    one(&["a have 0", "a writing 1", "a wrote 1"], &[], "lost: [\"1\"]");
    one(&["a have 0", "a writing 1", "a wrote 1", "a writing 2", "a wrote 2"], &["2", "1"], "in its order");
    one(&["a have 0", "a writing 1", "a wrote 1", "a leaving", "b have 0"], &["1"], "b found 0 records");
    one(&["a have 0", "a writing 1", "a wrote 1"], &["1", "x"], "nobody was about to write x");
    one(&["a have 0", "a writing 1"], &["1", "1"], "twice");
    one(&["a panicked"], &[], "a panicked");
}
