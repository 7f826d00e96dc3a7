//! `holdfast scan`.

use clap::Args;
use holdfast_client::{KeySpan, KeyValue, Scan};
use holdfast_output::{errln, outln};
use serde_json::json;

use super::Target;
use super::show::{Form, Shape, Shown};
use super::words::{KeyForm, span};

/// Rows that `scan` shows unless it is told otherwise.
const DEFAULT_LIMIT: u64 = 100;

/// `holdfast scan`.
#[derive(Args, Debug)]
pub struct ScanArgs {
    /// The first key [default: the start of the keyspace]
    pub start: Option<String>,
    /// The first key that is not shown any more [default: the end of the keyspace]
    pub end: Option<String>,
    /// All keys that begin with this
    #[arg(long, value_name = "PREFIX", conflicts_with_all = ["start", "end"])]
    pub prefix: Option<String>,
    /// From the end to the start
    #[arg(long)]
    pub reverse: bool,
    /// At most this many rows [default: 100, with --count all]
    #[arg(long, value_name = "ROWS", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
    /// Keys without their values, which stay where they are
    #[arg(long)]
    pub keys_only: bool,
    /// How many rows there are, and none of them
    #[arg(long, conflicts_with_all = ["keys_only", "hex", "print0", "reverse"])]
    pub count: bool,
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

impl ScanArgs {
    fn span(&self) -> anyhow::Result<KeySpan> {
        let key = |text: &Option<String>| text.as_deref().map(|text| self.key_form.key(text)).transpose();
        let (start, end, prefix) = (key(&self.start)?, key(&self.end)?, key(&self.prefix)?);
        span(start.as_deref(), end.as_deref(), prefix.as_deref())
    }
}

/// `holdfast scan`.
pub async fn scan(args: &ScanArgs) -> anyhow::Result<()> {
    let span = args.span()?;
    let scan = args.target.connect().await?.scan(span);
    if args.count {
        return count(args, scan).await;
    }
    let mut scan = scan.limit(args.limit.unwrap_or(DEFAULT_LIMIT));
    if args.reverse {
        scan = scan.reverse();
    }
    if args.keys_only {
        scan = scan.keys_only();
    }
    let form = args.shape.form(args.target.json);
    let mut shown = 0;
    while let Some(page) = scan.next_page().await? {
        print(form, args.keys_only, &page)?;
        shown += page.len() as u64;
    }
    if args.limit.is_none() && shown == DEFAULT_LIMIT {
        errln!("{shown} rows shown; there may be more: --limit ROWS shows more of them, --count counts them all.");
    }
    Ok(())
}

async fn count(args: &ScanArgs, scan: Scan) -> anyhow::Result<()> {
    let scan = match args.limit {
        Some(limit) => scan.limit(limit),
        None => scan,
    };
    let rows = scan.count().await?;
    if args.target.json {
        outln!("{}", json!({ "count": rows }))?;
    } else {
        outln!("{rows}")?;
    }
    Ok(())
}

fn print(form: Form, keys_only: bool, page: &[KeyValue]) -> anyhow::Result<()> {
    let mut text = Vec::new();
    for row in page {
        let value = (!keys_only).then_some(&row.value[..]);
        let shown = Shown { key: &row.key, value, version: row.version, expires_at: row.expires_at };
        if let Err(error) = form.row(&shown, &mut text) {
            // What can be shown is shown; of what cannot, nothing.
            form.print(&text)?;
            return Err(error);
        }
    }
    Ok(form.print(&text)?)
}
