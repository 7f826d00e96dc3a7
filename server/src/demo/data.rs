//! What the demo loads: the rows of a file, or a generated data set.

use std::path::Path;

use bytes::Bytes;
use holdfast_output::errln;

use crate::import::rows_of;

/// Rows of the generated data set.
pub const GENERATED_ROWS: u32 = 20_000;
/// Bytes of a generated value.
const GENERATED_VALUE_BYTES: usize = 128;

/// One row.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its key, unique.
    pub key: Bytes,
    /// Its value.
    pub value: Bytes,
}

/// The rows of a file. A key that appears again gets a suffix, so that every row is kept.
pub fn read(path: &Path, key: Option<&str>) -> anyhow::Result<Vec<Row>> {
    let mut seen = std::collections::BTreeMap::<Bytes, u32>::new();
    let mut rows = Vec::new();
    let mut bad = 0u64;
    for row in rows_of(path, key)? {
        let Ok(row) = row else {
            bad += 1;
            continue;
        };
        let times = seen.entry(row.key.clone()).or_default();
        *times += 1;
        let key =
            if *times == 1 { row.key } else { Bytes::from([&row.key[..], format!("#{times}").as_bytes()].concat()) };
        rows.push(Row { key, value: row.value });
    }
    anyhow::ensure!(!rows.is_empty(), "{} has no rows that can be loaded ({bad} bad ones)", path.display());
    if bad > 0 {
        errln!("{bad} rows of {} cannot be loaded (see `holdfast import` for their line numbers)", path.display());
    }
    Ok(rows)
}

/// A data set of our own: user records under even keys, all with the same prefix.
pub fn generate(prefix: &str, rows: u32) -> Vec<Row> {
    let row = |i: u32| {
        let mut value = format!("{{\"user\":{i},\"name\":\"user {i}\",\"balance\":{}}}", i % 977).into_bytes();
        value.resize(GENERATED_VALUE_BYTES, b' ');
        Row { key: Bytes::from(format!("{prefix}user/{i:08}")), value: Bytes::from(value) }
    };
    (0..rows).map(row).collect()
}
