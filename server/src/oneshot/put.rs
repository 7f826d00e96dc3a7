//! `holdfast put`.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use clap::{Args, ValueHint};
use holdfast_client::{Batch, Client, Expected, FailedCondition, Timestamp, VersionedValue, WriteOutcome};
use holdfast_output::{errln, outln};
use holdfast_types::limits;
use serde_json::{Value, json};

use super::Target;
use super::show::{bytes_json, expiry_json, version_json};
use super::words::{KeyForm, parse_version};

/// `holdfast put`.
#[derive(Args, Debug)]
pub struct PutArgs {
    /// The key
    pub key: String,
    /// The value; `-`: what comes on standard input, byte for byte
    #[arg(required_unless_present = "file", conflicts_with = "file")]
    pub value: Option<String>,
    /// Take the value from this file, byte for byte
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: Option<PathBuf>,
    /// How long the value lives, such as 90s, 10m or 7days [default: for ever]
    #[arg(long, value_name = "DURATION", value_parser = crate::durations::duration)]
    pub ttl: Option<Duration>,
    /// Write only if the key does not exist
    #[arg(long, conflicts_with_all = ["if_version", "if_value"])]
    pub if_absent: bool,
    /// Write only if this is the key's version, as `get --json` and `put` print it
    #[arg(long, value_name = "VERSION", value_parser = parse_version, conflicts_with = "if_value")]
    pub if_version: Option<Timestamp>,
    /// Write only if the key has this value
    #[arg(long, value_name = "VALUE")]
    pub if_value: Option<String>,
    /// How keys are written
    #[command(flatten)]
    pub key_form: KeyForm,
    /// Where
    #[command(flatten)]
    pub target: Target,
}

/// `holdfast put`; false when the condition did not hold, and nothing was written.
pub async fn put(args: &PutArgs) -> anyhow::Result<bool> {
    anyhow::ensure!(args.ttl != Some(Duration::ZERO), "--ttl is 0: a value that is gone at once is not written at all");
    let key = args.key_form.key(&args.key)?;
    let value = args.value()?;
    let client = args.target.connect().await?;
    let key_json = bytes_json(&key);
    match args.write(&client, key, value).await? {
        WriteOutcome::Written { timestamp: version } if args.target.json => {
            outln!("{}", json!({ "key": key_json, "written": true, "version": version_json(version) }))?;
            Ok(true)
        }
        WriteOutcome::Written { timestamp: version } => {
            outln!("ok, version {version}")?;
            Ok(true)
        }
        WriteOutcome::ConditionFailed(FailedCondition { actual, .. }) => {
            if args.target.json {
                let actual = actual.as_ref().map_or(Value::Null, actual_json);
                outln!("{}", json!({ "key": key_json, "written": false, "actual": actual }))?;
            } else {
                errln!("{}", refusal(actual.as_ref()));
            }
            Ok(false)
        }
    }
}

impl PutArgs {
    fn value(&self) -> anyhow::Result<Bytes> {
        match (&self.file, self.value.as_deref()) {
            (Some(file), _) if file == Path::new("-") => from_standard_input(),
            (Some(file), _) => {
                let name = file.display();
                let opened = std::fs::File::open(file).with_context(|| format!("opening {name}"))?;
                read(opened).with_context(|| format!("reading the value from {name}"))
            }
            (None, Some("-")) => from_standard_input(),
            (None, value) => Ok(Bytes::copy_from_slice(value.unwrap_or_default().as_bytes())),
        }
    }

    fn expected(&self) -> Option<Expected> {
        if self.if_absent {
            return Some(Expected::Absent);
        }
        let value = self.if_value.as_ref().map(|value| Expected::Value(Bytes::copy_from_slice(value.as_bytes())));
        self.if_version.map(Expected::Version).or(value)
    }

    async fn write(&self, client: &Client, key: Bytes, value: Bytes) -> anyhow::Result<WriteOutcome> {
        let batch = match self.expected() {
            Some(expected) => Batch::new().require(&key, expected),
            None => Batch::new(),
        };
        let batch = match self.ttl {
            Some(lives) => batch.put_for(&key, value, lives),
            None => batch.put(&key, value),
        };
        Ok(client.batch(batch).await?)
    }
}

fn from_standard_input() -> anyhow::Result<Bytes> {
    read(std::io::stdin().lock()).context("reading the value from standard input")
}

/// Reads a value. One that is too large is refused before it is in memory, however much there is of it.
fn read(input: impl Read) -> anyhow::Result<Bytes> {
    let most = limits::MAX_VALUE_BYTES;
    let mut value = Vec::new();
    input.take(most as u64 + 1).read_to_end(&mut value)?;
    anyhow::ensure!(value.len() <= most, "it has more than {most} B, the most that a value has: cut it into several");
    Ok(value.into())
}

fn refusal(actual: Option<&VersionedValue>) -> String {
    match actual {
        None => "not written: there is no such key".to_owned(),
        Some(found) => {
            format!("not written: the key exists, has another value or another version, which is {}", found.timestamp)
        }
    }
}

fn actual_json(actual: &VersionedValue) -> Value {
    json!({
        "value": bytes_json(&actual.value),
        "version": version_json(actual.timestamp),
        "expires_at": expiry_json(actual.expires_at),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_is_too_large_is_refused_while_it_is_read() {
        let most = limits::MAX_VALUE_BYTES;
        assert_eq!(read(std::io::repeat(7).take(most as u64)).unwrap().len(), most);
        // There is no end of it.
        let refused = read(std::io::repeat(7)).unwrap_err().to_string();
        assert!(refused.contains("1048576 B"), "{refused}");
        assert_eq!(&read(&b"a\r\n\0\xff"[..]).unwrap()[..], b"a\r\n\0\xff");
    }
}
