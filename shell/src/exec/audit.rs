//! SHOW AUDIT: pages of the audit, as one table.

use holdfast_client::admin::{AuditEntry, AuditQuery};
use holdfast_types::Timestamp;

use super::error::ShellError;
use super::fleet::{columns, give, shown, text};
use super::run::Run;
use super::sink::Summary;
use super::value::Value;
use crate::lang::ast::{Audit, Since};

/// Entries that are shown where no number is given.
const USUAL_ENTRIES: u32 = 50;
/// Entries asked for at a time.
const PAGE_ENTRIES: u32 = 250;

pub(super) async fn show(run: &mut Run<'_>, audit: &Audit) -> Result<Summary, ShellError> {
    columns(run, "at site store kind who origin what arguments result times why")?;
    let since = audit.since.map(|since| since_when(since, run.backend.fleet_now()));
    let limit = audit.limit.unwrap_or(USUAL_ENTRIES);
    let (mut left, mut resume) = (limit, None);
    while left > 0 {
        let conditions = audit.conditions.clone();
        let query = AuditQuery { limit: left.min(PAGE_ENTRIES), since, conditions, resume };
        let page = run.look(run.backend.audit(query)).await?;
        left = left.saturating_sub(u32::try_from(page.entries.len()).unwrap_or(u32::MAX));
        give(run, page.entries.into_iter().map(row).collect())?;
        run.tell();
        resume = page.resume;
        if resume.is_none() {
            break;
        }
    }
    let older = format!("there are older ones: LIMIT {} shows more of them", limit.saturating_mul(4).max(1));
    Ok(shown(run, if resume.is_some() { vec![older] } else { vec![] }))
}

fn since_when(since: Since, now: Timestamp) -> Timestamp {
    match since {
        Since::AtMs(ms) => Timestamp::from_ms(ms),
        Since::AgoMs(ms) => Timestamp::from_ms(now.ms().saturating_sub(ms)),
    }
}

fn row(entry: AuditEntry) -> Vec<Value> {
    let arguments: Vec<_> = entry.arguments.iter().map(|(name, value)| format!("{name}={value}")).collect();
    vec![
        Value::Time(entry.at),
        text(entry.site),
        text(entry.store),
        text(entry.kind.as_str()),
        Value::maybe_text(entry.who),
        Value::maybe_text(entry.origin),
        text(entry.what),
        Value::maybe_text((!arguments.is_empty()).then(|| arguments.join(", "))),
        text(entry.result.as_str()),
        Value::count(entry.times),
        Value::maybe_text(entry.why),
    ]
}
