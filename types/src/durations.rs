//! The units of durations that people write, on command lines and in statements.

/// Units that nobody takes for another one, and that are of one length. `M` is a month to some and a minute to others, and nobody agrees on how long
/// a month or a year is.
const UNITS: &[&str] = &[
    "ms", "msec", "millis", "s", "sec", "secs", "second", "seconds", "m", "min", "mins", "minute", "minutes", "h",
    "hr", "hrs", "hour", "hours", "d", "day", "days", "w", "wk", "wks", "week", "weeks",
];

/// What a duration may be written with, in words.
pub const UNITS_IN_WORDS: &str =
    "ms, s, m (minutes), h, d, w, or in words: '10 minutes'; months and years have no fixed length: '30 days'";

/// The first word of a duration that is no unit of time here; `None` if all of them are. Then it may be read in small letters.
#[must_use]
pub fn unknown_unit(text: &str) -> Option<&str> {
    let mut words = text.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty());
    words.find(|word| !is_unit(word))
}

fn is_unit(word: &str) -> bool {
    // Words are known in any case, letters are not.
    UNITS.contains(&word) || (word.len() > 2 && UNITS.contains(&word.to_lowercase().as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_of_one_length_are_known_and_all_others_are_named() {
        for known in ["10m", "1h 30min", "7days", "2 WEEKS", "1d12h", "100ms", "5 Secs", "10", ""] {
            assert_eq!(unknown_unit(known), None, "{known}");
        }
        for (text, unknown) in [
            ("10M", "M"),
            ("1m 1M", "M"),
            ("2months", "months"),
            ("1 Month", "Month"),
            ("1y", "y"),
            ("1yr", "yr"),
            ("2 yrs", "yrs"),
            ("1year 2days", "year"),
            ("1 fortnight", "fortnight"),
            ("5MS", "MS"),
            ("7us", "us"),
        ] {
            assert_eq!(unknown_unit(text), Some(unknown), "{text}");
        }
    }
}
