//! The table that is printed: one line for each figure, with its floor, its ratio and its goal.

use std::time::Duration;

pub fn heading() {
    line("what", "figure", "floor", "ratio", "goal");
}

/// A line of two rates, and the least that one should be of the other.
pub fn compared(what: &str, rounds: &[(f64, f64)], goal: Option<f64>) {
    let median = |of: fn(&(f64, f64)) -> f64| {
        let mut values: Vec<f64> = rounds.iter().map(of).collect();
        values.sort_unstable_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let ratio = median(|(figure, floor)| figure / floor);
    let verdict = match goal {
        Some(goal) if ratio >= goal => format!("at least {goal}: met"),
        Some(goal) => format!("at least {goal}: MISSED"),
        None => "no goal".to_owned(),
    };
    let rate = |value: f64| format!("{value:.0}/s");
    line(what, &rate(median(|round| round.0)), &rate(median(|round| round.1)), &format!("{ratio:.2}"), &verdict);
}

/// A line with one figure.
pub fn told(what: &str, figure: &str) {
    line(what, figure, "", "", "no goal");
}

fn line(what: &str, figure: &str, floor: &str, ratio: &str, goal: &str) {
    println!("{what:<76} {figure:>12} {floor:>12} {ratio:>6}   {goal}");
}

/// How many a second.
pub fn rate(count: usize, elapsed: Duration) -> f64 {
    count as f64 / elapsed.as_secs_f64()
}
