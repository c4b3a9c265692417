//! Parsers of numbers for clap. Each checks its limits, and its error names them.

use std::ops::RangeInclusive;
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

/// A parser of whole numbers from `first` on.
pub fn whole_from<T: TryFrom<i128>>(first: i128) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static {
    move |text| {
        let number = text.parse().ok().filter(|number| *number >= first);
        let number: i128 = number.ok_or_else(|| format!("expected a whole number, at least {first}"))?;
        T::try_from(number).map_err(|_| "is too large".to_string())
    }
}

/// A parser of whole numbers in `range`, which `T` holds.
pub fn whole_in<T: TryFrom<i128>>(
    range: RangeInclusive<i128>,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static {
    move |text| {
        let number = text.parse().ok().filter(|number| range.contains(number));
        let number = number.and_then(|number: i128| T::try_from(number).ok());
        number.ok_or_else(|| format!("expected a whole number from {} to {}", range.start(), range.end()))
    }
}
