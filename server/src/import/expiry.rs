//! When a row is gone, as a cell says it.

use std::time::{Duration, UNIX_EPOCH};

use holdfast_types::Timestamp;

/// Numbers of seconds from here on are refused: they are seconds since 1970 by mistake far more often than three decades from now.
const SECONDS_LIKE_UNIX_TIME: u64 = 1_000_000_000;
/// The calendar repeats after so many years.
const CALENDAR_YEARS: u16 = 400;
const HINT: &str = "write a time like 2026-12-24T18:00:00Z, or seconds from now like 3600";

/// When a row is gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expiry {
    /// At this time of the fleet.
    At(Timestamp),
    /// So long after the import began.
    After(Duration),
}

impl Expiry {
    /// Reads it; `None`: never. The sentence says what is wrong.
    pub fn of(text: &str) -> Result<Option<Self>, String> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(None);
        }
        let found = if text.starts_with(|first: char| first.is_ascii_digit()) && !text.contains(['-', ':']) {
            seconds(text)?
        } else {
            time(text)
        };
        found.map(Some).ok_or_else(|| format!("{text:?} is no time: {HINT}"))
    }

    /// As a time of the fleet, for an import that began at `began`.
    pub fn at(self, began: Timestamp) -> Timestamp {
        match self {
            Self::At(at) => at,
            Self::After(wait) => began.after(wait),
        }
    }
}

fn seconds(text: &str) -> Result<Option<Expiry>, String> {
    let number = text.strip_suffix('s').unwrap_or(text).trim_end();
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    let is_digits = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !is_digits(whole) || !is_digits(part) {
        return Ok(None);
    }
    // One with more digits than a number of 64 bits is no smaller.
    let whole = whole.parse::<u64>().unwrap_or(u64::MAX);
    if whole >= SECONDS_LIKE_UNIX_TIME {
        return Err(format!(
            "{text:?} looks like a time in seconds since 1970, and seconds are counted from now: {HINT}"
        ));
    }
    let ms = part.bytes().chain([b'0'; 3]).take(3).fold(0, |ms, digit| ms * 10 + u64::from(digit - b'0'));
    Ok(Some(Expiry::After(Duration::from_secs(whole) + Duration::from_millis(ms))))
}

/// RFC 3339, with the offset of any zone.
fn time(text: &str) -> Option<Expiry> {
    let (local, offset_ms) = without_offset(text)?;
    let is_old = local.get(..4)?.parse::<u16>().ok()? < 1970;
    // It is judged like any other, by a year with the same days that the library knows.
    let local = if is_old { later_year(&local)? } else { local };
    let since = humantime::parse_rfc3339(&local).ok()?.duration_since(UNIX_EPOCH).ok()?;
    let ms = i64::try_from(since.as_millis()).ok()?.checked_sub(offset_ms)?;
    // The earliest time that a fleet can name; it has passed, like all that lie before it.
    let ms = if is_old { 1 } else { u64::try_from(ms).unwrap_or(1).max(1) };
    Some(Expiry::At(Timestamp::from_ms(ms)))
}

fn later_year(local: &str) -> Option<String> {
    let (year, rest) = local.split_at_checked(4)?;
    let year = year.parse::<u16>().ok()?;
    let year = year + CALENDAR_YEARS * (1970_u16.saturating_sub(year)).div_ceil(CALENDAR_YEARS);
    Some(format!("{year:04}{rest}"))
}

/// The same time as if it were UTC, and by how much it is ahead of UTC.
fn without_offset(text: &str) -> Option<(String, i64)> {
    if !text.is_ascii() {
        return None;
    }
    let text = text.to_ascii_uppercase();
    if let Some(local) = text.strip_suffix('Z') {
        return Some((with_t(local), 0));
    }
    let (local, offset) = text.split_at_checked(text.len().checked_sub(6)?)?;
    let (sign, offset) = offset.split_at_checked(1)?;
    let sign = match sign {
        "+" => 1,
        "-" => -1,
        _ => return None,
    };
    let (hours, minutes) = offset.split_once(':')?;
    let two = |digits: &str, below: i64| {
        let is_two = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse::<i64>().ok().filter(|number| is_two && *number < below)
    };
    let minutes = two(hours, 24)? * 60 + two(minutes, 60)?;
    Some((with_t(local), sign * minutes * 60_000))
}

fn with_t(local: &str) -> String {
    format!("{}Z", local.replacen(' ', "T", 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(text: &str) -> u64 {
        match Expiry::of(text) {
            Ok(Some(Expiry::At(at))) => at.ms(),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn times_are_those_of_rfc_3339_in_any_zone() {
        let noon = ms("2026-11-30T12:00:00Z");
        assert_eq!(noon, 1_796_040_000_000);
        for same in [
            "2026-11-30T14:00:00+02:00",
            "2026-11-30T06:30:00-05:30",
            "2026-11-30 12:00:00z",
            "2026-11-30t12:00:00.000Z",
            " 2026-11-30T12:00:00+00:00 ",
        ] {
            assert_eq!(ms(same), noon, "{same}");
        }
        assert_eq!(ms("2026-11-30T12:00:00.25Z"), noon + 250);
    }

    #[test]
    fn times_that_have_passed_are_times_however_long_ago() {
        for past in
            ["1970-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "1970-01-01T01:00:00+02:00"]
        {
            assert_eq!(ms(past), 1, "{past}");
        }
        assert_eq!(ms("1968-02-29T00:00:00Z"), 1, "a leap year");
        assert!(Expiry::of("1969-02-29T00:00:00Z").is_err(), "and none");
    }

    #[test]
    fn seconds_are_counted_from_the_beginning_of_the_import() {
        let began = Timestamp::from_ms(1_000);
        let at = |text: &str| Expiry::of(text).unwrap().unwrap().at(began).ms();
        assert_eq!((at("60"), at("60s"), at("0"), at("1.5")), (61_000, 61_000, 1_000, 2_500));
        assert_eq!(at("0.0019"), 1_001);
        let said = Expiry::of("1796040000").unwrap_err();
        assert!(said.contains("since 1970"), "{said}");
        assert!(Expiry::of("99999999999999999999999").unwrap_err().contains("since 1970"));
    }

    #[test]
    fn a_cell_without_a_time_never_expires_and_one_with_something_else_is_refused() {
        assert_eq!(Expiry::of(""), Ok(None));
        assert_eq!(Expiry::of("  "), Ok(None));
        for wrong in [
            "never",
            "10m",
            "10M",
            "1h",
            "-5",
            "1e3",
            "1.",
            "2026-11-30",
            "2026-11-30T12:00:00",
            "2026-11-30T12:00:00+2",
            "2026-11-30T12:00:00+25:00",
            "2026-02-30T12:00:00Z",
            "２０２６-11-30T12:00:00Z",
        ] {
            let said = Expiry::of(wrong).unwrap_err();
            assert!(said.contains("write a time like"), "{wrong}: {said}");
        }
    }
}
