//! How fast purchases are settled, beside what the processor, the disk and a database can do at best on the same machine
//! in the same minute. Run with `cargo bench --bench settle`; names of parts after `--` run those alone.
//!
//! Every ratio is of two figures that were measured in turns, in several rounds, and is the median of the rounds.
//! Orders are signed before the clock starts. Of what came over HTTP, only receipts that verify are counted, which is
//! checked after the clock has stopped. The sender runs on the same cores as the server.

mod books;
mod crypto;
#[cfg(all(unix, feature = "postgres"))]
mod database;
mod desk;
mod memory;
mod mixed;
mod one_by_one;
#[cfg(all(unix, feature = "postgres"))]
mod postgres;
mod shop;
mod size;
mod table;
mod wire;

/// The parts, by name.
const PARTS: &[(&str, fn())] = &[
    ("books", books::run),
    #[cfg(all(unix, feature = "postgres"))]
    ("postgres", postgres::run),
    ("wire", wire::run),
    ("mixed", mixed::run),
    ("pgbench", one_by_one::run),
    ("size", size::run),
];

fn main() {
    if memory::serves() {
        return;
    }
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    table::heading();
    for (name, run) in PARTS {
        if wanted.is_empty() || wanted.iter().any(|it| it == name) {
            run();
        }
    }
}
