//! `holdfast delete`.

use std::io::{BufRead, IsTerminal};

use bytes::Bytes;
use clap::Args;
use holdfast_client::Client;
use holdfast_output::{err, errln, outln, readable, visible};
use serde_json::json;

use super::Target;
use super::show::{bytes_json, version_json};
use super::words::{KeyForm, span};

/// `holdfast delete`.
#[derive(Args, Debug)]
pub struct DeleteArgs {
    /// The key
    #[arg(required_unless_present = "prefix", conflicts_with = "prefix")]
    pub key: Option<String>,
    /// Delete all keys that begin with this, after a question
    #[arg(long, value_name = "PREFIX")]
    pub prefix: Option<String>,
    /// With --prefix: do not ask
    // That it requires the prefix is not looked at where a key is given, which the prefix conflicts with.
    #[arg(long, requires = "prefix", conflicts_with = "key")]
    pub yes: bool,
    /// How keys are written
    #[command(flatten)]
    pub key_form: KeyForm,
    /// Where
    #[command(flatten)]
    pub target: Target,
}

/// `holdfast delete`; false when somebody was asked and did not want it.
pub async fn delete(args: &DeleteArgs) -> anyhow::Result<bool> {
    if let Some(prefix) = &args.prefix {
        let prefix = args.key_form.key(prefix)?;
        return delete_prefix(args, prefix).await;
    }
    let key = args.key_form.key(args.key.as_deref().unwrap_or_default())?;
    let version = args.target.connect().await?.delete(&key).await?;
    if args.target.json {
        outln!("{}", json!({ "key": bytes_json(&key), "version": version_json(version) }))?;
    } else {
        outln!("ok, version {version}")?;
    }
    Ok(true)
}

async fn delete_prefix(args: &DeleteArgs, prefix: Bytes) -> anyhow::Result<bool> {
    let span = span(None, None, Some(&prefix))?;
    let is_asked = !args.yes;
    anyhow::ensure!(
        !is_asked || std::io::stdin().is_terminal(),
        "nobody can be asked whether all of them are to be deleted: give --yes"
    );
    let client = args.target.connect().await?;
    if is_asked && !is_wanted(&client, &prefix).await? {
        return Ok(false);
    }
    let deleted = client.delete_range(span).await?;
    if args.target.json {
        outln!("{}", json!({ "prefix": bytes_json(&prefix), "deleted": deleted }))?;
    } else {
        outln!("ok, {deleted} keys deleted")?;
    }
    Ok(true)
}

/// Asks whoever sits at the terminal. Anything but a yes is a no.
async fn is_wanted(client: &Client, prefix: &Bytes) -> anyhow::Result<bool> {
    let rows = client.scan_prefix(prefix).count().await?;
    err!("{rows} keys begin with {}. Delete them all? [y/N] ", visible(&readable(prefix)));
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    let is_yes = matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes");
    if !is_yes {
        errln!("nothing was deleted");
    }
    Ok(is_yes)
}
