//! Amounts and networks as people write them. They keep their text, so that a check can point at one that does not parse.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use ipnet::IpNet;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, Visitor};

/// Suffixes of Kubernetes quantities and what they multiply by, in thousandths; the longer come first.
const SUFFIXES: [(&str, u128); 13] = [
    ("Ki", 1_000 << 10),
    ("Mi", 1_000 << 20),
    ("Gi", 1_000 << 30),
    ("Ti", 1_000 << 40),
    ("Pi", 1_000 << 50),
    ("Ei", 1_000 << 60),
    ("m", 1),
    ("k", 1_000_000),
    ("M", 1_000_000_000),
    ("G", 1_000_000_000_000),
    ("T", 1_000_000_000_000_000),
    ("P", 1_000_000_000_000_000_000),
    ("E", 1_000_000_000_000_000_000_000),
];

/// Thousandths of the largest amount: Kubernetes itself holds 64 bits of units. As many as there can be of stores can be added.
const MOST_MILLI: u128 = 1_000 << 64;

/// An amount as Kubernetes writes it: `200Gi`, `4`, `1500m`, `0.5`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Quantity {
    text: String,
    /// Thousandths; `None` when the text is no quantity.
    milli: Option<u128>,
}

impl Quantity {
    /// Reads the text.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self { text: text.to_owned(), milli: parse_milli(text) }
    }

    /// The text of the file.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// False when the text is no quantity; `validate` refuses such a file.
    #[must_use]
    pub fn is_quantity(&self) -> bool {
        self.milli.is_some()
    }

    /// In thousandths of a unit: millicores of a processor. 0 for what is no quantity.
    #[must_use]
    pub fn milli(&self) -> u128 {
        self.milli.unwrap_or(0)
    }

    /// In whole units: bytes of a disk. 0 for what is no quantity.
    #[must_use]
    pub fn whole(&self) -> u128 {
        self.milli() / 1_000
    }
}

fn parse_milli(text: &str) -> Option<u128> {
    let (digits, unit) =
        SUFFIXES.iter().find_map(|(suffix, unit)| Some((text.strip_suffix(suffix)?, *unit))).unwrap_or((text, 1_000));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let is_number = |part: &str| !part.is_empty() && part.len() <= 15 && part.chars().all(|c| c.is_ascii_digit());
    if !is_number(whole) || !is_number(fraction) {
        return None;
    }
    let scale = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let digits = whole.parse::<u128>().ok()?.checked_mul(scale)?.checked_add(fraction.parse().ok()?)?;
    let milli = digits.checked_mul(unit)?.checked_next_multiple_of(scale)?.checked_div(scale)?;
    (milli <= MOST_MILLI).then_some(milli)
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // As it is written: the number 0.50 stays 0.50.
        String::deserialize(deserializer).map(|text| Self::new(&text))
    }
}

impl JsonSchema for Quantity {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Quantity".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "number"], "pattern": r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$" })
    }
}

/// How long something is valid, as people write it: `30d`, `12h`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lifetime {
    text: String,
    /// `None` when the text is no duration.
    span: Option<Duration>,
}

impl Lifetime {
    /// Reads the text.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self { text: text.to_owned(), span: humantime::parse_duration(text).ok() }
    }

    /// The text of the file.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// How long; `None` when the text is no duration, and `validate` refuses such a file.
    #[must_use]
    pub fn span(&self) -> Option<Duration> {
        self.span
    }
}

impl<'de> Deserialize<'de> for Lifetime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Written;
        impl Visitor<'_> for Written {
            type Value = Lifetime;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration like 30d")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Lifetime, E> {
                Ok(Lifetime::new(text))
            }

            // Where a value stands in one of several shapes, a number has been made of it by then. The check says at its place what is missing.
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Lifetime, E> {
                Ok(Lifetime::new(&number.to_string()))
            }
        }
        deserializer.deserialize_any(Written)
    }
}

impl JsonSchema for Lifetime {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Lifetime".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }
}

/// A network as `address/length`: `10.1.0.0/16`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cidr {
    text: String,
    net: Option<IpNet>,
}

impl Cidr {
    /// Reads the text.
    #[must_use]
    pub fn new(text: &str) -> Self {
        // Kubernetes wants the first address of a network, and so do we: 10.1.2.3/16 is a mistake somewhere.
        let net = text.parse::<IpNet>().ok().filter(|net| net.addr() == net.network());
        Self { text: text.to_owned(), net }
    }

    /// The text of the file.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The network; `None` for what is none, which `validate` refuses.
    #[must_use]
    pub fn net(&self) -> Option<IpNet> {
        self.net
    }

    /// Whether an address can be in both.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        match (self.net, other.net) {
            (Some(left), Some(right)) => left.contains(&right) || right.contains(&left),
            _ => false,
        }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Cidr {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self::new(&text))
    }
}

impl JsonSchema for Cidr {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Cidr".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9a-fA-F.:]+/[0-9]+$" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_as_kubernetes_reads_them() {
        let milli = |text: &str| Quantity::new(text).milli;
        assert_eq!(milli("4"), Some(4_000));
        assert_eq!(milli("1500m"), Some(1_500));
        assert_eq!(milli("0.5"), Some(500));
        assert_eq!(milli("1.5Gi"), Some(1_500 << 30));
        assert_eq!(Quantity::new("200G").whole(), 200_000_000_000);
        for wrong in ["", "Gi", "200 Gi", "200GB", "-1", "1e3", ".5", "1.", "four"] {
            assert_eq!(milli(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn networks_overlap_when_one_holds_the_other() {
        let overlap = |left: &str, right: &str| Cidr::new(left).overlaps(&Cidr::new(right));
        assert!(overlap("10.1.0.0/16", "10.1.2.0/24") && overlap("10.1.2.0/24", "10.1.0.0/16"));
        assert!(!overlap("10.1.0.0/16", "10.2.0.0/16") && !overlap("fd00::/48", "10.0.0.0/8"));
        assert!(Cidr::new("10.1.2.3/16").net().is_none() && Cidr::new("10.1.0.0").net().is_none());
    }
}
