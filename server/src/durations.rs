//! Durations on a command line.

use std::time::Duration;

/// Words of one length that look like those of another, or have no length of their own.
const TRAPS: [&str; 6] = ["M", "month", "months", "y", "year", "years"];

/// A duration such as `90s`, `10m` or `7days`. Months and years are refused: `10M` would be ten months where somebody meant minutes, and neither has
/// a length that everybody agrees on.
pub fn duration(text: &str) -> Result<Duration, String> {
    let mut words = text.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty());
    if let Some(trap) = words.find(|word| TRAPS.contains(word)) {
        return Err(format!("{trap} is no unit here: use s, m (minutes), h, days or weeks"));
    }
    humantime::parse_duration(text).map_err(|why| why.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_and_years_are_refused_and_minutes_are_minutes() {
        assert_eq!(duration("10m"), Ok(Duration::from_secs(600)));
        assert_eq!(duration("1h 30min"), Ok(Duration::from_secs(5_400)));
        assert_eq!(duration("7days"), Ok(Duration::from_secs(7 * 86_400)));
        for trap in ["10M", "1M 1m", "1 month", "2months", "1y", "1year 2days"] {
            assert!(duration(trap).unwrap_err().contains("is no unit here"), "{trap}");
        }
        assert!(duration("soon").is_err());
    }
}
