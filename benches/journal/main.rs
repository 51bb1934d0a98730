//! What the journal costs beside what the disk and the processor cost anyway: to make purchases durable, and to start
//! with many receipts. Run with `cargo bench --bench journal`; the name of a part after `--` runs that part alone.
//!
//! Every figure is measured beside its floor, in turns (A B B A), and given as a ratio. Where a bare write that is made
//! durable takes over 150 µs before or after a turn, somebody else uses the disk, and the round is thrown away; where
//! too few rounds are left, there is no figure. Time that the thread waits for a core is taken off. The journals are
//! made once, by the client's own code with real signatures, and kept in the target folder.

#[path = "../measure/mod.rs"]
mod measure;

mod durable;
mod journals;
mod starting;
mod table;
mod timing;

/// The parts, by name.
const PARTS: [(&str, fn()); 3] = [("durable", durable::run), ("start", starting::run), ("memory", starting::memory)];

fn main() {
    if let Some((job, receipts)) = measure::job() {
        return starting::counted(&job, receipts);
    }
    if let Some(elapsed) = starting::timed() {
        return println!("{}", elapsed.as_nanos());
    }
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    table::heading();
    for (name, run) in PARTS {
        if wanted.is_empty() || wanted.iter().any(|it| it == name) {
            run();
        }
    }
}
