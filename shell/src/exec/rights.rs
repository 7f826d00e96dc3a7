//! Rights: changed by a statement, and shown as tables.

use holdfast_client::admin::{GrantedRights, HeldGrant, HeldRights, RightsChange};
use holdfast_types::{Grantee, Scope};

use super::error::ShellError;
use super::fleet::{columns, give, shown, silent_notes, text};
use super::run::Run;
use super::sink::Summary;
use super::value::{Value, plural};

pub(super) async fn change(run: &mut Run<'_>, change: &RightsChange) -> Result<Summary, ShellError> {
    let (verb, done) = said(change);
    let changed = run.look(run.backend.change_rights(change.clone())).await?;
    let message = if changed.changed { done } else { "it was so already, nothing was changed".to_owned() };
    let mut notes = Vec::new();
    if changed.closes && changed.enforced {
        notes.push(
            "this is the first grant: until now every client could read and write all keyspaces, from now on each may do what it was \
             granted, and nothing else"
                .to_owned(),
        );
    }
    notes.extend((!changed.enforced).then(not_enforced));
    let behind = |note| format!("{note}; it goes by the change when it reaches the system range");
    notes.extend(silent_notes(&changed.silent).into_iter().map(behind));
    Ok(Summary { verb, message: Some(message), notes, ..Summary::default() })
}

fn said(change: &RightsChange) -> (&'static str, String) {
    match change {
        RightsChange::CreateRole(role) => ("CREATE", format!("there is a role {role} now")),
        RightsChange::DropRole(role) => ("DROP", format!("there is no role {role} any more")),
        RightsChange::Grant(_, to) => ("GRANT", format!("{} has it", whom(to))),
        RightsChange::Revoke(_, from) => ("REVOKE", format!("{} has it no more", whom(from))),
        RightsChange::RevokeAll(from) => ("REVOKE", format!("nothing is granted to {} itself any more", whom(from))),
        RightsChange::AddMember(role, client) => ("GRANT", format!("client {client} is a member of role {role}")),
        RightsChange::RemoveMember(role, client) => ("REVOKE", format!("client {client} is no member of role {role}")),
    }
}

fn whom(grantee: &Grantee) -> String {
    match grantee {
        Grantee::Clients(clients) => format!("client {clients}"),
        Grantee::Role(role) => format!("role {role}"),
    }
}

fn not_enforced() -> String {
    "this fleet has no TLS: nobody is known by name, and everybody may do everything".to_owned()
}

fn notes(rights: &GrantedRights) -> Vec<String> {
    let open = "nothing was granted so far: every client may read and write all keyspaces".to_owned();
    match (rights.enforced, rights.closed) {
        (false, _) => vec![not_enforced()],
        (true, false) => vec![open],
        (true, true) => Vec::new(),
    }
}

/// SHOW GRANTS.
pub(super) async fn grants(run: &mut Run<'_>, to: Option<&Grantee>) -> Result<Summary, ShellError> {
    let rights = run.look(run.backend.rights(to.cloned())).await?;
    columns(run, "grantee right on prefix")?;
    let rows = rights.held.iter().flat_map(|held| held.grants.iter().map(|grant| row(held, grant)));
    give(run, rows.collect())?;
    let notes = notes(&rights);
    Ok(shown(run, notes))
}

fn row(held: &HeldRights, grant: &HeldGrant) -> Vec<Value> {
    let prefix = match grant.grant.scope() {
        Scope::In { prefix, .. } if !prefix.is_empty() => Value::from_bytes(prefix),
        Scope::In { .. } | Scope::Everywhere => Value::Null,
    };
    vec![text(&held.grantee), text(grant.grant.right()), text(grant.place()), prefix]
}

/// SHOW ROLES.
pub(super) async fn roles(run: &mut Run<'_>) -> Result<Summary, ShellError> {
    let rights = run.look(run.backend.rights(None)).await?;
    columns(run, "role grants members")?;
    let rows = rights.held.iter().filter_map(|held| match &held.grantee {
        Grantee::Role(role) => Some(vec![
            text(role),
            Value::count(u64::try_from(held.grants.len()).unwrap_or(u64::MAX)),
            Value::maybe_text((!held.members.is_empty()).then(|| members(held))),
        ]),
        Grantee::Clients(_) => None,
    });
    give(run, rows.collect())?;
    let notes = notes(&rights);
    Ok(shown(run, notes))
}

/// Of many members a table shows the first.
fn members(held: &HeldRights) -> String {
    const SHOWN: usize = 20;
    let names: Vec<_> = held.members.iter().take(SHOWN).map(ToString::to_string).collect();
    let more = held.members.len().saturating_sub(names.len());
    let more = if more == 0 { String::new() } else { format!(" and {}", plural(more as u64, "other")) };
    format!("{}{more}", names.join(", "))
}
