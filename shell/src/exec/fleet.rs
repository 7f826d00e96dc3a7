//! Statements about the fleet: what the admin API answers, as tables.

use std::collections::BTreeMap;

use holdfast_client::admin::{
    AdminError, Keyspace, LeaderGoesTo, RangeStatus, Ranges, SettingSource, SilentStore, StoreStatus,
};
use holdfast_types::{Key, KeyspaceId, RangeId, Role, StoreId};

use super::error::ShellError;
use super::run::{RangePages, Run};
use super::sink::Summary;
use super::value::Value;
use super::{audit, rights};
use crate::backend::BackendError;
use crate::lang::LangError;
use crate::lang::ast::{Name, Show};

/// Events that are shown where no number is given.
const USUAL_EVENTS: u32 = 50;

pub(super) async fn show(run: &mut Run<'_>, show: &Show, keyspace: Option<&Keyspace>) -> Result<Summary, ShellError> {
    match show {
        Show::Sites => sites(run).await,
        Show::Stores => stores(run).await,
        Show::Ranges { .. } => ranges(run, keyspace).await,
        Show::Leaders => leaders(run).await,
        Show::Events { limit } => events(run, limit.unwrap_or(USUAL_EVENTS)).await,
        Show::Audit(query) => audit::show(run, query).await,
        Show::Settings { store } => settings(run, store.map(StoreId)).await,
        Show::Keyspaces => keyspaces(run).await,
        Show::Grants { to } => rights::grants(run, to.as_ref()).await,
        Show::Roles => rights::roles(run).await,
    }
}

/// Begins a table of columns with these names, between blanks.
pub(super) fn columns(run: &mut Run<'_>, names: &str) -> Result<(), ShellError> {
    let names: Vec<String> = names.split(' ').map(ToOwned::to_owned).collect();
    Ok(run.sink.columns(&names)?)
}

pub(super) fn give(run: &mut Run<'_>, rows: Vec<Vec<Value>>) -> Result<(), ShellError> {
    run.progress.rows_returned += u64::try_from(rows.len()).unwrap_or(u64::MAX);
    if !rows.is_empty() {
        run.sink.rows(rows)?;
    }
    Ok(())
}

pub(super) fn shown(run: &Run<'_>, notes: Vec<String>) -> Summary {
    Summary { verb: "SHOW", rows_returned: Some(run.progress.rows_returned), notes, ..Summary::default() }
}

pub(super) fn silent_notes(silent: &[SilentStore]) -> Vec<String> {
    silent
        .iter()
        .map(|silent| format!("{} in {} did not answer: {}", silent.store, silent.site, silent.reason))
        .collect()
}

pub(super) fn text(text: impl ToString) -> Value {
    Value::Text(text.to_string())
}

async fn sites(run: &mut Run<'_>) -> Result<Summary, ShellError> {
    let sites = run.look(run.backend.sites()).await?;
    columns(run, "site stores alive replicas leaders draining headroom identity")?;
    let row = |site: holdfast_client::admin::SiteStatus| {
        vec![
            text(&site.name),
            Value::count(site.stores.into()),
            Value::count(site.alive.into()),
            Value::count(site.replicas),
            Value::count(site.leaders),
            Value::Bool(site.draining),
            Value::maybe_text(site.headroom),
            Value::maybe_text(site.identity),
        ]
    };
    give(run, sites.sites.into_iter().map(row).collect())?;
    let mut notes = sites.warnings;
    notes.extend(sites.headroom.map(|headroom| format!("headroom: {headroom}")));
    notes.extend(silent_notes(&sites.silent));
    Ok(shown(run, notes))
}

async fn stores(run: &mut Run<'_>) -> Result<Summary, ShellError> {
    let stores = run.look(run.backend.stores()).await?;
    columns(
        run,
        "store site alive address version uptime replicas leaders draining leaving zone disk_free disk_total cores used_cores complaints",
    )?;
    give(run, stores.stores.into_iter().map(store_row).collect())?;
    let notes = silent_notes(&stores.silent);
    Ok(shown(run, notes))
}

fn store_row(store: StoreStatus) -> Vec<Value> {
    let known = |value: Value| if store.alive { value } else { Value::Null };
    let mut complaints: Vec<String> = store.complaints.iter().map(|complaint| complaint.message.clone()).collect();
    complaints.extend(store.quarantined.iter().map(|held| format!("{} is quarantined: {}", held.range, held.reason)));
    let seconds = std::time::Duration::from_secs(store.uptime.as_secs());
    // Thousandths of a core are far below 2^52.
    #[expect(clippy::cast_precision_loss, reason = "thousandths of a core are few")]
    let used_cores = store.used_millicores as f64 / 1_000.0;
    vec![
        text(store.store),
        text(&store.site),
        Value::Bool(store.alive),
        text(&store.client_address),
        known(text(&store.version)),
        known(text(humantime::format_duration(seconds))),
        known(Value::count(store.replicas)),
        known(Value::count(store.leaders)),
        known(Value::Bool(store.draining)),
        Value::Bool(store.leaving_at.is_some()),
        Value::maybe_text(store.zone),
        if store.disk_total_bytes > 0 { Value::count(store.disk_free_bytes) } else { Value::Null },
        if store.disk_total_bytes > 0 { Value::count(store.disk_total_bytes) } else { Value::Null },
        known(Value::count(store.cores.into())),
        known(Value::Float(used_cores)),
        Value::maybe_text((!complaints.is_empty()).then(|| complaints.join("; "))),
    ]
}

/// A bound of a range as its keyspace knows it; `None`: it lies at the end of the keyspace or beyond.
fn bound(key: Option<&Key>, keyspace: KeyspaceId) -> Value {
    match key {
        Some(key) if key.keyspace() == keyspace && !key.user_key().is_empty() => {
            Value::from_bytes(&bytes::Bytes::copy_from_slice(key.user_key()))
        }
        _ => Value::Null,
    }
}

fn replicas(range: &RangeStatus) -> String {
    let replicas = range.descriptor.replicas.iter().map(|replica| {
        let role = match replica.role {
            Role::Voter => "",
            Role::Learner => " learner",
            Role::IncomingVoter => " incoming",
            Role::OutgoingVoter => " outgoing",
        };
        format!("{} ({}){role}", replica.store, replica.site)
    });
    replicas.collect::<Vec<_>>().join(", ")
}

async fn ranges(run: &mut Run<'_>, keyspace: Option<&Keyspace>) -> Result<Summary, ShellError> {
    columns(run, "range keyspace start end leader_site leader_store replicas bytes confirmed")?;
    let mut pages = RangePages::new(keyspace.map_or(Ranges::All, |keyspace| Ranges::Keyspace(keyspace.name.clone())));
    while let Some(page) = pages.next(run).await? {
        let row = |range: &RangeStatus| {
            let bounds = &range.descriptor.bounds;
            let within = keyspace.map_or(bounds.start.keyspace(), |keyspace| keyspace.id);
            let name = keyspace.map(|keyspace| keyspace.name.clone()).or_else(|| range.keyspace.clone());
            vec![
                text(range.descriptor.range),
                Value::maybe_text(name),
                bound(Some(&bounds.start), within),
                bound(bounds.end.as_ref(), within),
                range.leader_site.as_ref().map_or(Value::Null, text),
                range.leader.map_or(Value::Null, text),
                text(replicas(range)),
                range.approximate_bytes.map_or(Value::Null, Value::count),
                Value::Bool(range.confirmed),
            ]
        };
        give(run, page.iter().map(row).collect())?;
        run.tell();
    }
    Ok(shown(run, silent_notes(&pages.silent)))
}

async fn leaders(run: &mut Run<'_>) -> Result<Summary, ShellError> {
    let mut led: BTreeMap<(Option<String>, Option<StoreId>), (u64, u64)> = BTreeMap::new();
    let mut pages = RangePages::new(Ranges::All);
    while let Some(page) = pages.next(run).await? {
        for range in &page {
            let place = (range.leader_site.as_ref().map(ToString::to_string), range.leader);
            let (count, bytes) = led.entry(place).or_default();
            *count += 1;
            *bytes += range.approximate_bytes.unwrap_or(0);
        }
    }
    let mut notes = silent_notes(&pages.silent);
    if let Some((count, _)) = led.get(&(None, None)) {
        notes.push(format!("ranges without a leader that is known: {count}"));
    }
    columns(run, "site store ranges_led bytes_led")?;
    let row = |((site, store), (count, bytes)): ((Option<String>, Option<StoreId>), (u64, u64))| {
        vec![Value::maybe_text(site), store.map_or(Value::Null, text), Value::count(count), Value::count(bytes)]
    };
    give(run, led.into_iter().map(row).collect())?;
    Ok(shown(run, notes))
}

async fn events(run: &mut Run<'_>, limit: u32) -> Result<Summary, ShellError> {
    let events = run.look(run.backend.events(limit)).await?;
    columns(run, "at site store kind range message")?;
    let row = |event: holdfast_client::admin::Event| {
        vec![
            Value::Time(event.at),
            text(&event.site),
            text(event.store),
            text(event.kind.as_str()),
            event.range.map_or(Value::Null, text),
            text(event.message),
        ]
    };
    give(run, events.events.into_iter().map(row).collect())?;
    let mut notes = silent_notes(&events.silent);
    if events.more {
        notes.push(format!("there are older ones: SHOW EVENTS LIMIT {}", limit.saturating_mul(4)));
    }
    Ok(shown(run, notes))
}

async fn settings(run: &mut Run<'_>, store: Option<StoreId>) -> Result<Summary, ShellError> {
    let settings = run.look(run.backend.settings(store)).await?;
    columns(run, "name value default source description")?;
    let row = |setting: holdfast_client::admin::Setting| {
        let source = match setting.source {
            SettingSource::Default => "default",
            SettingSource::File => "file",
            SettingSource::Environment => "environment",
            SettingSource::Flag => "flag",
            SettingSource::BuiltIn => "built in",
            SettingSource::Other => "other",
        };
        vec![
            text(setting.name),
            text(setting.value),
            Value::maybe_text(setting.default),
            text(source),
            text(setting.description),
        ]
    };
    give(run, settings.settings.into_iter().map(row).collect())?;
    Ok(shown(run, vec![format!("of {} in {}", settings.store, settings.site)]))
}

async fn keyspaces(run: &mut Run<'_>) -> Result<Summary, ShellError> {
    let keyspaces = run.look(run.backend.keyspaces()).await?;
    columns(run, "name id created writable")?;
    let row = |keyspace: Keyspace| {
        let created = keyspace.created_at.map_or(Value::Null, Value::Time);
        vec![text(keyspace.name), Value::count(keyspace.id.0.into()), created, Value::Bool(keyspace.writable)]
    };
    give(run, keyspaces.into_iter().map(row).collect())?;
    Ok(shown(run, vec![]))
}

fn done(verb: &'static str, message: String) -> Summary {
    Summary { verb, message: Some(message), ..Summary::default() }
}

pub(super) async fn split(run: &mut Run<'_>, keyspace: KeyspaceId, key: &[u8]) -> Result<Summary, ShellError> {
    let split = run.look(run.backend.split(keyspace, key)).await?;
    let right = split.right.map(|right| right.range);
    let message = match (split.changed, split.left, right) {
        (true, Some(left), Some(right)) => format!("{} ends before the key now, {right} begins there", left.range),
        (true, ..) => "the range was cut".to_owned(),
        (false, _, Some(right)) => format!("{right} begins there already, nothing was changed"),
        (false, ..) => "a range begins there already, nothing was changed".to_owned(),
    };
    Ok(done("SPLIT", message))
}

pub(super) async fn move_leader(run: &mut Run<'_>, range: RangeId, site: &Name) -> Result<Summary, ShellError> {
    let sites = run.look(run.backend.sites()).await?;
    let known: Vec<String> = sites.sites.iter().map(|site| site.name.to_string()).collect();
    if !known.contains(&site.text) {
        let error = LangError::new(site.span, format!("there is no site {}", site.text));
        return Err(error.hint(format!("the sites are {}", known.join(", "))).into());
    }
    let to = LeaderGoesTo::site(&site.text).map_err(BackendError::from)?;
    let moved = match run.look(run.backend.transfer_leader(range, to)).await {
        Err(ShellError::Fleet { source: BackendError::Admin(AdminError::NotFound(_)), .. }) => {
            return Err(ShellError::Refused {
                message: format!("there is no range {range}"),
                hint: Some("SHOW RANGES lists the ranges".into()),
            });
        }
        moved => moved?,
    };
    let store =
        moved.range.leader.map_or_else(|| "a store that is not known yet".to_owned(), |store| store.to_string());
    let led = format!("{range} is led by {store} in {}", site.text);
    Ok(done("MOVE", if moved.changed { led } else { format!("{led} already, nothing was changed") }))
}

pub(super) async fn create_keyspace(run: &mut Run<'_>, name: &Name) -> Result<(Keyspace, Summary), ShellError> {
    let made = match run.look(run.backend.create_keyspace(&name.text)).await {
        Err(ShellError::Fleet { source: BackendError::Admin(AdminError::AlreadyExists(_)), .. }) => {
            let error = LangError::new(name.span, format!("there is a keyspace {} already", name.text));
            return Err(error.hint("SHOW KEYSPACES lists all").into());
        }
        made => made?,
    };
    let message = format!("keyspace {} has the id {}", made.name, made.id.0);
    Ok((made, done("CREATE", message)))
}
