//! The table that is printed: one line for each figure, with its floor, its ratio and its goal.

use std::fmt::Display;
use std::time::Duration;

/// What a ratio is to be.
#[derive(Clone, Copy)]
pub enum Goal {
    AtMost(f64),
    AtLeast(f64),
    /// It is shown for comparison.
    None,
}

impl Goal {
    fn verdict(self, ratio: f64) -> String {
        let (met, goal) = match self {
            Self::AtMost(limit) => (ratio <= limit, format!("at most {limit}")),
            Self::AtLeast(limit) => (ratio >= limit, format!("at least {limit}")),
            Self::None => return "no goal".to_owned(),
        };
        format!("{goal}: {}", if met { "met" } else { "MISSED" })
    }
}

pub fn heading() {
    line("what", "figure", "floor", "ratio", "goal");
}

/// A line with a figure, its floor, and the ratio of one to the other.
pub fn measured(what: &str, figure: impl Display, floor: impl Display, ratio: f64, goal: Goal) {
    line(what, &figure.to_string(), &floor.to_string(), &format!("{ratio:.3}"), &goal.verdict(ratio));
}

/// A line with a figure that has a limit of its own, and the highest that it ever was.
pub fn limited(what: &str, figure: f64, peak: f64, limit: f64) {
    let verdict = Goal::AtMost(limit).verdict(figure);
    line(what, &format!("{figure:.1}"), &format!("peak {peak:.1}"), "-", &verdict);
}

pub fn not_measured(what: &str, trouble: &str) {
    line(what, "-", "-", "-", &format!("not measured: {trouble}"));
}

fn line(what: &str, figure: &str, floor: &str, ratio: &str, goal: &str) {
    println!("{what:<72} {figure:>14} {floor:>14} {ratio:>8}   {goal}");
}

pub fn microseconds(duration: Duration) -> String {
    format!("{:.1} µs", duration.as_secs_f64() * 1e6)
}

pub fn milliseconds(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1e3)
}
