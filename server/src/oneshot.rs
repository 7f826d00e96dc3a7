//! One request from the command line.

use std::borrow::Cow;

use bytes::Bytes;
use clap::Args;
use holdfast_client::{Client, KeySpan, KeyValue, KeyspaceId, Options, Timestamp};
use holdfast_output::{Unwritten, errln, is_terminal, outln, print_raw, readable, visible};
use holdfast_types::KeyspaceName;
use serde_json::json;

use crate::connecting::Connecting;

/// Rows that `scan` shows unless it is told otherwise.
const DEFAULT_LIMIT: u64 = 100;

/// Where a one-shot command goes.
#[derive(Args, Debug, Clone)]
pub struct Target {
    /// Client addresses of stores, separated by commas; any store takes any request
    #[arg(long, value_name = "ADDRESS", env = "HOLDFAST_AT", default_value = "127.0.0.1:7300", value_delimiter = ',')]
    pub at: Vec<String>,
    /// How it connects
    #[command(flatten)]
    pub connecting: Connecting,
    /// The keyspace, by its name or its number
    #[arg(long, value_name = "NAME", default_value = KeyspaceName::DEFAULT)]
    pub keyspace: String,
    /// Print JSON; versions are strings in it, because they have 64 bits
    #[arg(long)]
    pub json: bool,
}

/// `holdfast get`.
#[derive(Args, Debug)]
pub struct GetArgs {
    /// The key
    pub key: String,
    /// Write the value byte for byte and nothing behind it, to a terminal too
    #[arg(long, conflicts_with = "json")]
    pub raw: bool,
    /// Where
    #[command(flatten)]
    pub target: Target,
}

/// `holdfast put`.
#[derive(Args, Debug)]
pub struct PutArgs {
    /// The key
    pub key: String,
    /// The value
    pub value: String,
    /// Where
    #[command(flatten)]
    pub target: Target,
}

/// `holdfast delete`.
#[derive(Args, Debug)]
pub struct DeleteArgs {
    /// The key
    pub key: String,
    /// Where
    #[command(flatten)]
    pub target: Target,
}

/// `holdfast scan`.
#[derive(Args, Debug)]
pub struct ScanArgs {
    /// The first key [default: the start of the keyspace]
    #[arg(default_value = "", hide_default_value = true)]
    pub start: String,
    /// The first key that is not shown any more [default: the end of the keyspace]
    pub end: Option<String>,
    /// From the end to the start
    #[arg(long)]
    pub reverse: bool,
    /// At most this many rows [default: 100]
    #[arg(long, value_name = "ROWS", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
    /// Where
    #[command(flatten)]
    pub target: Target,
}

impl Target {
    async fn connect(&self) -> anyhow::Result<Client> {
        connect(&self.at, &self.connecting, &self.keyspace).await
    }
}

/// Connects, for the keyspace of this name or number.
pub async fn connect(at: &[String], connecting: &Connecting, keyspace: &str) -> anyhow::Result<Client> {
    let client = Client::connect(at.to_vec(), Options::new().security(connecting.security()?)).await?;
    Ok(match keyspace.parse() {
        Ok(number) => client.with_keyspace(KeyspaceId(number)),
        // The usual one costs no question.
        Err(_) if keyspace == KeyspaceName::DEFAULT => client,
        Err(_) => client.keyspace(keyspace).await?,
    })
}

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A string, as in the JSON of protobuf: programs that read JSON numbers as floats would round one of 64 bits.
fn version_json(version: Timestamp) -> String {
    version.0.to_string()
}

/// `holdfast get`; false when the key does not exist.
pub async fn get(args: &GetArgs) -> anyhow::Result<bool> {
    let found = args.target.connect().await?.get(bytes(&args.key)).await?;
    match (&found, args.target.json) {
        (Some(found), true) => {
            let version = version_json(found.timestamp);
            outln!("{}", json!({ "key": args.key, "value": text(&found.value), "version": version }))?;
        }
        (Some(found), false) if args.raw => print_raw(&found.value)?,
        (Some(found), false) => print_line(&[readable(&found.value)], &[&found.value])?,
        (None, true) => outln!("{}", json!({ "key": args.key, "value": null }))?,
        (None, false) => errln!("no such key"),
    }
    Ok(found.is_some())
}

/// `holdfast put`.
pub async fn put(args: &PutArgs) -> anyhow::Result<()> {
    let version = args.target.connect().await?.put(bytes(&args.key), bytes(&args.value)).await?;
    if args.target.json {
        outln!("{}", json!({ "key": args.key, "version": version_json(version) }))?;
    } else {
        outln!("ok, version {version}")?;
    }
    Ok(())
}

/// `holdfast delete`.
pub async fn delete(args: &DeleteArgs) -> anyhow::Result<()> {
    let version = args.target.connect().await?.delete(bytes(&args.key)).await?;
    if args.target.json {
        outln!("{}", json!({ "key": args.key, "version": version_json(version) }))?;
    } else {
        outln!("ok, version {version}")?;
    }
    Ok(())
}

/// `holdfast scan`.
pub async fn scan(args: &ScanArgs) -> anyhow::Result<()> {
    let client = args.target.connect().await?;
    let mut scan = client
        .scan(KeySpan::new(&args.start, args.end.as_deref().map(str::as_bytes)))
        .limit(args.limit.unwrap_or(DEFAULT_LIMIT));
    if args.reverse {
        scan = scan.reverse();
    }
    let mut shown = 0;
    while let Some(page) = scan.next_page().await? {
        for row in &page {
            print_row(row, args.target.json)?;
            shown += 1;
        }
    }
    if args.limit.is_none() && shown == DEFAULT_LIMIT {
        errln!("{shown} rows shown; there may be more: --limit ROWS shows more of them.");
    }
    Ok(())
}

fn print_row(row: &KeyValue, as_json: bool) -> Result<(), Unwritten> {
    if as_json {
        let (key, value) = (text(&row.key), text(&row.value));
        return outln!("{}", json!({ "key": key, "value": value, "version": version_json(row.version) }));
    }
    let [key, value] = [&row.key, &row.value].map(|bytes| readable(bytes));
    // A row is a line, whatever is in it.
    print_line(&[visible(&key), visible(&value)], &[&row.key, &row.value])
}

/// One line of fields between tabs: as people can read them on a terminal, byte for byte everywhere else.
fn print_line(shown: &[Cow<'_, str>], fields: &[&[u8]]) -> Result<(), Unwritten> {
    if is_terminal() {
        return outln!("{}", shown.join("\t"));
    }
    let mut line = fields.join(&b'\t');
    line.push(b'\n');
    print_raw(&line)
}
