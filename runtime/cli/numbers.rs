//! Parsers of numbers for clap. Each checks its limits, and its error names them.

use std::str::FromStr;

fn number<T: FromStr + Copy + Into<f64>>(
    text: &str,
    expected: &str,
    accepts: impl Fn(f64) -> bool,
) -> Result<T, String> {
    let accepted = text.parse().ok().filter(|v: &T| (*v).into().is_finite() && accepts((*v).into()));
    accepted.ok_or_else(|| format!("expected {expected}"))
}

pub fn finite<T: FromStr + Copy + Into<f64>>(text: &str) -> Result<T, String> {
    number(text, "a finite number", |_| true)
}

pub fn at_least_zero<T: FromStr + Copy + Into<f64>>(text: &str) -> Result<T, String> {
    number(text, "a finite number, at least 0", |v| v >= 0.0)
}

pub fn positive<T: FromStr + Copy + Into<f64>>(text: &str) -> Result<T, String> {
    number(text, "a finite number above 0", |v| v > 0.0)
}

pub fn probability<T: FromStr + Copy + Into<f64>>(text: &str) -> Result<T, String> {
    number(text, "a number from 0 to 1", |v| (0.0..=1.0).contains(&v))
}
