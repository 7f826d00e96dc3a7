//! Conditions as text, for EXPLAIN.

use std::fmt;

use super::ast::{Filter, Literal, Pattern, PatternPart, Scalar, Step};
use crate::exec::{hex, literal, quoted};

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key => f.write_str("key"),
            Self::Value => f.write_str("value"),
            Self::Version => f.write_str("version"),
            Self::Expires => f.write_str("expires"),
            Self::Field { path, as_text } => {
                f.write_str("value")?;
                for (at, step) in path.iter().enumerate() {
                    let arrow = if *as_text && at + 1 == path.len() { "->>" } else { "->" };
                    match step {
                        Step::Field(name) => write!(f, " {arrow} {}", quoted(name))?,
                        Step::Index(index) => write!(f, " {arrow} {index}")?,
                    }
                }
                Ok(())
            }
        }
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("NULL"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Number(digits) => f.write_str(digits),
            Self::Text(text) => f.write_str(&quoted(text)),
            Self::Bytes(bytes) => write!(f, "x'{}'", hex(bytes)),
            Self::Json(text) => write!(f, "JSON {}", quoted(text)),
            Self::Now(0) => f.write_str("NOW()"),
            Self::Now(ms) => {
                let sign = if *ms < 0 { '-' } else { '+' };
                let by = std::time::Duration::from_millis(ms.unsigned_abs());
                write!(f, "NOW() {sign} INTERVAL '{}'", humantime::format_duration(by))
            }
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = Vec::new();
        for part in &self.parts {
            match part {
                PatternPart::Any => bytes.push(b'%'),
                PatternPart::One => bytes.push(b'_'),
                PatternPart::Bytes(plain) => {
                    for byte in plain {
                        if matches!(byte, b'%' | b'_' | b'\\') {
                            bytes.push(b'\\');
                        }
                        bytes.push(*byte);
                    }
                }
            }
        }
        f.write_str(&literal(&bytes))
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Constant(Some(value)) => write!(f, "{value}"),
            Self::Constant(None) => f.write_str("NULL"),
            Self::And(parts) | Self::Or(parts) => {
                let word = if matches!(self, Self::And(_)) { " AND " } else { " OR " };
                for (at, part) in parts.iter().enumerate() {
                    if at > 0 {
                        f.write_str(word)?;
                    }
                    match part {
                        Self::And(_) | Self::Or(_) => write!(f, "({part})")?,
                        _ => write!(f, "{part}")?,
                    }
                }
                Ok(())
            }
            Self::Not(inner) => match &**inner {
                Self::IsNull(scalar) => write!(f, "{scalar} IS NOT NULL"),
                Self::Like { scalar, pattern } => write!(f, "{scalar} NOT LIKE {pattern}"),
                other => write!(f, "NOT ({other})"),
            },
            Self::Compare { scalar, comparison, literal } => write!(f, "{scalar} {} {literal}", comparison.symbol()),
            Self::In { scalar, list } => {
                let list: Vec<String> = list.items().iter().map(ToString::to_string).collect();
                write!(f, "{scalar} IN ({})", list.join(", "))
            }
            Self::Like { scalar, pattern } => write!(f, "{scalar} LIKE {pattern}"),
            Self::IsNull(scalar) => write!(f, "{scalar} IS NULL"),
        }
    }
}
