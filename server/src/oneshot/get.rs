//! `holdfast get`.

use anyhow::Context;
use bytes::Bytes;
use clap::Args;
use futures::{StreamExt, TryStreamExt};
use holdfast_client::VersionedValue;
use holdfast_output::{errln, outln, print_raw, readable, visible};
use holdfast_types::limits;
use serde_json::json;

use super::Target;
use super::show::{Form, Shape, Shown, bytes_json};
use super::words::KeyForm;

/// `holdfast get`.
#[derive(Args, Debug)]
pub struct GetArgs {
    /// The keys. The value of one is printed by itself, of several each with its key
    #[arg(required = true, value_name = "KEY")]
    pub keys: Vec<String>,
    /// Write the value byte for byte and nothing behind it, to a terminal too
    #[arg(long, conflicts_with_all = ["json", "hex", "print0"])]
    pub raw: bool,
    /// How keys are written
    #[command(flatten)]
    pub key_form: KeyForm,
    /// How it is printed
    #[command(flatten)]
    pub shape: Shape,
    /// Where
    #[command(flatten)]
    pub target: Target,
}

/// `holdfast get`; false when a key does not exist.
pub async fn get(args: &GetArgs) -> anyhow::Result<bool> {
    let is_one = args.keys.len() == 1;
    anyhow::ensure!(is_one || !args.raw, "--raw writes one value: the next would begin where nobody can tell");
    let keys = args.keys.iter().map(|key| args.key_form.key(key)).collect::<anyhow::Result<Vec<_>>>()?;
    let form = args.shape.form(args.target.json);
    let client = args.target.connect().await?;
    let reads = keys.into_iter().map(|key| {
        let client = client.clone();
        async move {
            let found = client.get(&key).await;
            found.map(|found| (key, found))
        }
    });
    let mut reads = futures::stream::iter(reads).buffered(limits::COMMAND_READS_AHEAD);
    let mut all_exist = true;
    while let Some((key, found)) = reads.try_next().await? {
        all_exist &= found.is_some();
        match found {
            Some(found) if args.raw => print_raw(&found.value)?,
            Some(found) => print(form, is_one, &key, &found)?,
            None if form == Form::Json => outln!("{}", json!({ "key": bytes_json(&key), "value": null }))?,
            None if is_one => errln!("no such key"),
            None => errln!("no such key: {}", visible(&readable(&key))),
        }
    }
    Ok(all_exist)
}

fn print(form: Form, is_one: bool, key: &Bytes, found: &VersionedValue) -> anyhow::Result<()> {
    let mut text = Vec::new();
    if is_one && form != Form::Json {
        form.value(&found.value, &mut text)?;
    } else {
        let shown = Shown { key, value: Some(&found.value), version: found.timestamp, expires_at: found.expires_at };
        form.row(&shown, &mut text).with_context(|| format!("key {}", visible(&readable(key))))?;
    }
    Ok(form.print(&text)?)
}
