//! Counting instructions with valgrind: a benchmark runs itself again under callgrind, once with few and once with
//! many repetitions, and divides the difference. Such counts repeat, whatever else the machine does.

use std::path::Path;
use std::process::{Command, Stdio};

/// Few and many repetitions.
pub const FEW: u64 = 100;
pub const MANY: u64 = 900;

/// The job and the repetitions that this process is asked to run, if it is one that is being counted.
pub fn job() -> Option<(String, u64)> {
    let mut arguments = std::env::args().skip_while(|argument| argument != "--job").skip(1);
    Some((arguments.next()?, arguments.next()?.parse().ok()?))
}

/// Instructions of the main thread per repetition of `job`, or why they cannot be counted.
pub fn instructions(job: &str) -> Result<u64, String> {
    let few = count(job, FEW)?;
    let many = count(job, MANY)?;
    Ok(many.saturating_sub(few) / (MANY - FEW))
}

fn count(job: &str, repetitions: u64) -> Result<u64, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let myself = std::env::current_exe().map_err(|error| error.to_string())?;
    let status = Command::new("valgrind")
        .args(["--tool=callgrind", "--separate-threads=yes", "-q"])
        .arg(format!("--callgrind-out-file={}", folder.path().join("counts").display()))
        .arg(myself)
        .args(["--job", job, &repetitions.to_string()])
        .stdout(Stdio::null())
        .status()
        .map_err(|error| format!("valgrind cannot be run ({error}); install it"))?;
    if !status.success() {
        return Err(format!("`{job}` under valgrind ended with {status}"));
    }
    main_thread(folder.path())
}

/// The total in the file of thread 1.
fn main_thread(folder: &Path) -> Result<u64, String> {
    let text = std::fs::read_to_string(folder.join("counts-01")).map_err(|error| format!("counts-01: {error}"))?;
    let total = text.lines().find_map(|line| line.strip_prefix("totals: ").or(line.strip_prefix("summary: ")));
    total.and_then(|total| total.trim().parse().ok()).ok_or_else(|| "callgrind wrote no total".to_owned())
}
