//! Durations on a command line.

use std::time::Duration;

use holdfast_types::durations::unknown_unit;

/// A duration such as `90s`, `10m` or `7days`. Months and years are refused: `10M` would be ten months where somebody meant minutes, and neither has
/// a length that everybody agrees on.
pub fn duration(text: &str) -> Result<Duration, String> {
    let is_duration = text.trim_start().starts_with(|c: char| c.is_ascii_digit());
    if let Some(unit) = unknown_unit(text).filter(|_| is_duration) {
        return Err(format!("{unit} is no unit here: use s, m (minutes), h, days or weeks"));
    }
    humantime::parse_duration(&text.to_lowercase()).map_err(|why| why.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_and_years_are_refused_and_minutes_are_minutes() {
        assert_eq!(duration("10m"), Ok(Duration::from_secs(600)));
        assert_eq!(duration("1h 30min"), Ok(Duration::from_secs(5_400)));
        assert_eq!(duration("7days"), Ok(Duration::from_secs(7 * 86_400)));
        assert_eq!(duration("7 Days"), duration("7days"));
        for trap in ["10M", "1M 1m", "1 month", "2months", "1y", "1yr", "2yrs", "1year 2days"] {
            assert!(duration(trap).unwrap_err().contains("is no unit here"), "{trap}");
        }
        assert!(duration("soon").is_err());
    }
}
