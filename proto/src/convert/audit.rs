//! Conversions for `audit.proto`: entries as they are kept, and the file of those that wait.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use bytes::Bytes;
use holdfast_types::audit::AuditKey;
use holdfast_types::bounds::at_most;
use holdfast_types::{Key, SiteName, StoreId, Timestamp, limits};
use prost::Message;

use super::storage::expect_version;
use super::{BadMessage, check_count};
use crate::{fields, v1};

/// The version of entries and of the file that this program writes.
const VERSION: u32 = 1;
/// Fields of an entry and of its arguments, and room for those of a newer program.
const ENTRY_FIELDS: usize = 32 + 3 * limits::AUDIT_ARGUMENTS;
/// Words for what happened.
const WHAT_BYTES: usize = 32;

/// An entry as it is kept.
#[must_use]
pub fn encode_entry(entry: &v1::AuditEntry) -> Bytes {
    v1::AuditEntry { version: VERSION, ..entry.clone() }.encode_to_vec().into()
}

/// Reads what [`encode_entry`] wrote, and nothing that no store writes.
pub fn decode_entry(bytes: &[u8]) -> Result<v1::AuditEntry, BadMessage> {
    if bytes.len() > limits::AUDIT_ENTRY_BYTES || !fields::are_within::<v1::AuditEntry>(bytes, ENTRY_FIELDS) {
        return Err(BadMessage::malformed("an entry of the audit is larger than any store writes one"));
    }
    let entry = v1::AuditEntry::decode(bytes)?;
    expect_version("an entry of the audit", entry.version, VERSION)?;
    check_entry(&entry)?;
    SiteName::new(&entry.site).map_err(BadMessage::Malformed)?;
    Ok(entry)
}

/// Reads the row of an entry; an entry that is not the one that its key names is none.
pub fn decode_row(key: &Key, bytes: &[u8]) -> Result<v1::AuditEntry, BadMessage> {
    let entry = decode_entry(bytes)?;
    if AuditKey::parse(key) != Some(name_of(&entry)?) {
        return Err(BadMessage::malformed("an entry of the audit is not the one that its key names"));
    }
    Ok(entry)
}

/// The name of an entry.
pub fn name_of(entry: &v1::AuditEntry) -> Result<AuditKey, BadMessage> {
    Ok(AuditKey {
        at: Timestamp::bounded(entry.at)?,
        store: StoreId::bounded(entry.store_id)?,
        number: at_most("the number of an entry", entry.number, limits::MAX_COUNTED)?,
    })
}

/// Refuses an entry with texts or numbers that no store writes.
pub fn check_entry(entry: &v1::AuditEntry) -> Result<(), BadMessage> {
    name_of(entry)?;
    at_most("what an entry stands for", entry.times, limits::MAX_COUNTED)?;
    check_count("arguments of an entry", entry.arguments.len(), limits::AUDIT_ARGUMENTS)?;
    let arguments = entry.arguments.iter().flat_map(|argument| [&argument.name, &argument.value]);
    let mut texts = [&entry.who, &entry.origin, &entry.why].into_iter().chain(arguments);
    let are_short = texts.all(|text| text.len() <= limits::AUDIT_TEXT_BYTES);
    if !are_short || entry.what.len() > WHAT_BYTES || entry.site.len() > SiteName::MAX_BYTES {
        return Err(BadMessage::malformed("an entry of the audit has longer texts than any store writes"));
    }
    Ok(())
}

/// The file with these entries, the oldest first.
#[must_use]
pub fn encode_waiting(entries: Vec<v1::AuditEntry>) -> Vec<u8> {
    v1::WaitingAudit { version: VERSION, entries }.encode_to_vec()
}

/// Reads what [`encode_waiting`] wrote; entries that no store writes are left out.
pub fn decode_waiting(bytes: &[u8]) -> Result<Vec<v1::AuditEntry>, BadMessage> {
    // An empty entry takes two bytes here, and some hundred in memory.
    let most = limits::AUDIT_FILE_ENTRIES.saturating_mul(ENTRY_FIELDS);
    if !fields::are_within::<v1::WaitingAudit>(bytes, most) {
        return Err(BadMessage::malformed("a file of entries has more fields than any store writes"));
    }
    let v1::WaitingAudit { version, mut entries } = v1::WaitingAudit::decode(bytes)?;
    expect_version("a file of entries", version, VERSION)?;
    check_count("entries in a file", entries.len(), limits::AUDIT_FILE_ENTRIES)?;
    entries.retain(|entry| check_entry(entry).is_ok());
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As large as a store writes them.
    fn largest() -> v1::AuditEntry {
        let text = || "x".repeat(limits::AUDIT_TEXT_BYTES);
        let argument = v1::AuditArgument { name: "n".repeat(32), value: text() };
        v1::AuditEntry {
            version: VERSION,
            kind: v1::AuditKind::Act.into(),
            at: Timestamp::from_ms(1 << 41).0,
            store_id: StoreId::MAX.0,
            site: "s".repeat(SiteName::MAX_BYTES),
            number: limits::MAX_COUNTED,
            who: text(),
            origin: text(),
            what: "w".repeat(WHAT_BYTES),
            arguments: vec![argument; limits::AUDIT_ARGUMENTS],
            result: v1::AuditResult::Refused.into(),
            why: text(),
            times: limits::MAX_COUNTED,
        }
    }

    #[test]
    fn the_largest_entry_fits_and_reads_as_it_was_written() {
        let entry = largest();
        let bytes = encode_entry(&entry);
        assert!(bytes.len() <= limits::AUDIT_ENTRY_BYTES, "{}", bytes.len());
        assert_eq!(decode_entry(&bytes), Ok(entry.clone()));
        let key = name_of(&entry).unwrap().key();
        assert_eq!(decode_row(&key, &bytes), Ok(entry.clone()));
        let other = AuditKey { number: 7, ..name_of(&entry).unwrap() }.key();
        assert!(decode_row(&other, &bytes).unwrap_err().to_string().contains("its key names"));
        assert_eq!(decode_waiting(&encode_waiting(vec![entry.clone(); 3])).unwrap(), vec![entry; 3]);
    }

    #[test]
    fn what_no_store_writes_is_refused() {
        type Change = fn(&mut v1::AuditEntry);
        let damaged: [Change; 9] = [
            |entry| entry.at = u64::MAX,
            |entry| entry.store_id = u64::MAX,
            |entry| entry.number = u64::MAX,
            |entry| entry.times = u64::MAX,
            |entry| entry.who.push('x'),
            |entry| entry.what.push('x'),
            |entry| entry.arguments.push(v1::AuditArgument::default()),
            |entry| entry.arguments[0].value.push('x'),
            |entry| entry.site = "\u{1b}[2J".into(),
        ];
        let mut waiting = vec![largest()];
        for (number, damage) in damaged.iter().enumerate() {
            let mut entry = largest();
            damage(&mut entry);
            assert!(decode_entry(&encode_entry(&entry)).is_err(), "damage {number}");
            // In the file of a store no entry has a site.
            if number < 8 {
                waiting.push(entry);
            }
        }
        assert_eq!(decode_waiting(&encode_waiting(waiting)).unwrap(), [largest()]);
        let newer = v1::AuditEntry { version: 2, ..largest() }.encode_to_vec();
        assert!(matches!(decode_entry(&newer), Err(BadMessage::UnknownVersion { found: 2, known: 1, .. })));
        assert!(decode_entry(&vec![0xff; limits::AUDIT_ENTRY_BYTES + 1]).is_err());
        let many = [0x12, 0x00].repeat(limits::AUDIT_FILE_ENTRIES + 1);
        assert!(decode_waiting(&many).is_err());
    }
}
