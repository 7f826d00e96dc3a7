//! Numbers of any size, compared digit by digit.

use std::cmp::Ordering;

/// How two numbers compare; `None` when one of them is none.
pub(super) fn compare(left: &str, right: &str) -> Option<Ordering> {
    let (left, right) = (Decimal::of(left)?, Decimal::of(right)?);
    Some(match (left.is_negative, right.is_negative) {
        (false, true) => Ordering::Greater,
        (true, false) => Ordering::Less,
        (false, false) => left.magnitude().cmp(&right.magnitude()),
        (true, true) => right.magnitude().cmp(&left.magnitude()),
    })
}

/// `0.DIGITS` times ten to the power of `point`.
///
/// Invariants:
/// - `digits` neither begins nor ends with a zero; of zero they are empty, `point` is the least there is, and it is not negative
struct Decimal {
    is_negative: bool,
    point: i64,
    digits: String,
}

impl Decimal {
    /// As people and JSON write them: `-12`, `.5`, `1e9`.
    fn of(text: &str) -> Option<Self> {
        let text = text.trim();
        let (is_negative, text) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (number, power) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let (whole, part) = number.split_once('.').unwrap_or((number, ""));
        let all = format!("{whole}{part}");
        if all.is_empty() || !all.bytes().all(|digit| digit.is_ascii_digit()) {
            return None;
        }
        let behind_zeros = all.trim_start_matches('0');
        let zeros = i64::try_from(all.len() - behind_zeros.len()).ok()?;
        let point = power.parse::<i64>().ok()?.checked_add(i64::try_from(whole.len()).ok()?)?.checked_sub(zeros)?;
        let digits = behind_zeros.trim_end_matches('0').to_owned();
        let is_zero = digits.is_empty();
        Some(Self { is_negative: is_negative && !is_zero, point: if is_zero { i64::MIN } else { point }, digits })
    }

    fn magnitude(&self) -> (i64, &str) {
        (self.point, &self.digits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_any_size_are_in_their_order() {
        let rising = [
            "-1e400",
            "-100000000000000000000000000000000000000001",
            "-1e41",
            "-2",
            "-0.5",
            "0",
            "1e-400",
            ".5",
            "9",
            "10",
            "18446744073709551615",
            "18446744073709551616",
            "1e23",
            "100000000000000000000001",
            "170141183460469231731687303715884105728",
            "1e400",
        ];
        for (at, left) in rising.iter().enumerate() {
            for (other, right) in rising.iter().enumerate() {
                assert_eq!(compare(left, right), Some(at.cmp(&other)), "{left} {right}");
            }
        }
    }

    #[test]
    fn the_same_number_may_be_written_in_many_ways() {
        for (left, right) in [
            ("1.5", "1.50"),
            ("0", "-0.00"),
            ("0e9", "0"),
            ("007", "7"),
            ("1E+2", " 100 "),
            ("12.", "+12"),
            ("0.012", "12e-3"),
        ] {
            assert_eq!(compare(left, right), Some(Ordering::Equal), "{left} {right}");
        }
        for none in
            ["", "-", ".", "x", "Infinity", "NaN", "1e", "1e99999999999999999999", "0x10", "1 2", "--1", "1.2.3"]
        {
            assert_eq!(compare(none, "1"), None, "{none}");
        }
    }
}
