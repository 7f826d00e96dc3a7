//! Hybrid timestamps as texts.
//!
//! A version is its number. An expiry is a time as RFC 3339 writes it, which every program reads, with milliseconds; a counter within the
//! millisecond stands behind them, as five more digits of the fraction: the time stays within its millisecond, and the order of times that of the
//! timestamps. What lies beyond the year 9999 is its number.

use std::time::{Duration, UNIX_EPOCH};

use holdfast_types::Timestamp;

/// The first millisecond of the year 10000.
const YEAR_10000_MS: u64 = 253_402_300_800_000;
/// What one step of the counter stands for.
const COUNTER_NANOS: u32 = 10;
const MILLISECOND_NANOS: u32 = 1_000_000;

/// A timestamp as a time.
pub(super) fn time_text(at: Timestamp) -> String {
    let counter = at.0 & 0xffff;
    if at.ms() >= YEAR_10000_MS {
        return at.0.to_string();
    }
    let time = humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(at.ms())).to_string();
    match (counter, time.strip_suffix('Z')) {
        (0, _) | (_, None) => time,
        (counter, Some(time)) => format!("{time}{counter:05}Z"),
    }
}

/// The timestamp that a text stands for.
pub(super) fn timestamp(text: &str) -> Option<Timestamp> {
    if !text.contains('T') {
        return number(text);
    }
    let since = humantime::parse_rfc3339(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
    let beyond = since.subsec_nanos().checked_rem(MILLISECOND_NANOS)?;
    let counter = u64::from(beyond.checked_div(COUNTER_NANOS)?);
    let ms = u64::try_from(since.as_millis()).ok().filter(|ms| *ms < YEAR_10000_MS)?;
    Some(Timestamp(Timestamp::from_ms(ms).0 | counter)).filter(|_| counter <= 0xffff)
}

/// The number that a text of digits stands for.
pub(super) fn number(text: &str) -> Option<Timestamp> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok().map(Timestamp::compared)).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_expiry_is_a_time_that_other_programs_read() {
        let at = Timestamp::from_ms(1_764_547_200_123);
        assert_eq!(time_text(at), "2025-12-01T00:00:00.123Z");
        assert_eq!(time_text(Timestamp(at.0 | 7)), "2025-12-01T00:00:00.12300007Z");
        assert_eq!(time_text(Timestamp::MAX), u64::MAX.to_string());
        assert_eq!(timestamp("2025-12-01T00:00:00Z"), Some(Timestamp::from_ms(1_764_547_200_000)));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for wrong in ["", "x", "-1", "+1", "1.5", "2025-12-01", "2025-13-01T00:00:00Z", "2025-12-01T00:00:00.12399999Z"]
        {
            assert_eq!(timestamp(wrong).filter(|_| !wrong.is_empty()), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn every_timestamp_is_read_back(raw in prop_oneof![any::<u64>(), 0..(YEAR_10000_MS << 16)]) {
            let at = Timestamp(raw);
            prop_assert_eq!(timestamp(&time_text(at)), Some(at));
            prop_assert_eq!(number(&at.0.to_string()), Some(at));
        }

        #[test]
        fn times_are_in_the_order_of_their_timestamps(ms in 0..YEAR_10000_MS, counters in any::<[u16; 2]>()) {
            let [first, second] = counters.map(|counter| Timestamp(Timestamp::from_ms(ms).0 | u64::from(counter)));
            let time = |at| humantime::parse_rfc3339(&time_text(at)).unwrap();
            prop_assert_eq!(first.cmp(&second), time(first).cmp(&time(second)));
        }
    }
}
