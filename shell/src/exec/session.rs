//! One user of the shell: the fleet, what is known of its keyspaces, and statement after statement.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use holdfast_client::admin::Keyspace;
use holdfast_types::KeyspaceId;
use tokio::time::Instant;

use super::error::ShellError;
use super::run::Run;
use super::sink::{Sink, Summary};
use super::{change, explain, fleet, insert, rights, select};
use crate::backend::Backend;
use crate::lang::ast::{Name, Statement};
use crate::lang::{LangError, Names, nearest, parse};

/// Cancels a statement: it stops between pages, and the request in flight is dropped.
pub type Cancel = tokio_util::sync::CancellationToken;

/// One user of the shell.
pub struct Session {
    backend: Arc<dyn Backend>,
    known: Mutex<Known>,
}

/// What was heard of the fleet, kept for names.
#[derive(Default)]
struct Known {
    keyspaces: BTreeMap<String, Keyspace>,
    sites: Vec<String>,
}

impl Session {
    /// A session over a fleet.
    #[must_use]
    pub fn new(backend: Arc<dyn Backend>) -> Self {
        Self { backend, known: Mutex::default() }
    }

    /// Carries out one statement, with or without its `;`. Places in errors count from the start of `text`.
    ///
    /// The results go to `sink` page by page; no more than a page of them is in memory. Cancel-safe: a statement whose future is
    /// dropped stops there.
    pub async fn execute(&self, text: &str, sink: &mut dyn Sink, cancel: &Cancel) -> Result<Summary, ShellError> {
        let began = Instant::now();
        let statement = parse(text)?;
        let mut run = Run::new(self.backend.as_ref(), cancel, sink);
        let mut summary = self.carry_out(&statement, &mut run).await?;
        summary.progress = run.progress;
        summary.elapsed = began.elapsed();
        Ok(summary)
    }

    async fn carry_out(&self, statement: &Statement, run: &mut Run<'_>) -> Result<Summary, ShellError> {
        match statement {
            Statement::Select(statement) => {
                let keyspace = self.keyspace(&statement.from, run).await?;
                Box::pin(select::run(run, &keyspace, statement)).await
            }
            Statement::Insert(statement) => {
                let keyspace = self.writable(&statement.into, run).await?;
                Box::pin(insert::run(run, &keyspace, statement)).await
            }
            Statement::Update(statement) => {
                let keyspace = self.writable(&statement.keyspace, run).await?;
                Box::pin(change::update(run, &keyspace, statement)).await
            }
            Statement::Delete(statement) => {
                let keyspace = self.writable(&statement.from, run).await?;
                Box::pin(change::delete(run, &keyspace, statement)).await
            }
            Statement::Explain { analyze: false, statement } => {
                let keyspace = self.keyspace(target(statement), run).await?;
                explain::plan(run, &keyspace, statement).await
            }
            Statement::Explain { analyze: true, statement } => {
                let keyspace = match &**statement {
                    Statement::Select(select) => self.keyspace(&select.from, run).await?,
                    other => self.writable(target(other), run).await?,
                };
                Box::pin(explain::analyze(run, &keyspace, statement)).await
            }
            Statement::Show(show) => {
                let keyspace = match show {
                    crate::lang::ast::Show::Ranges { keyspace: Some(name) } => Some(self.keyspace(name, run).await?),
                    _ => None,
                };
                fleet::show(run, show, keyspace.as_ref()).await
            }
            Statement::Split { keyspace, key } => {
                let id = match keyspace {
                    Some(name) => self.keyspace(name, run).await?.id,
                    None => KeyspaceId::DEFAULT,
                };
                fleet::split(run, id, key).await
            }
            Statement::MoveLeader { range, site } => fleet::move_leader(run, *range, site).await,
            Statement::CreateKeyspace(name) => {
                let (keyspace, summary) = fleet::create_keyspace(run, name).await?;
                self.lock().keyspaces.insert(keyspace.name.clone(), keyspace);
                Ok(summary)
            }
            Statement::ChangeRights(change) => rights::change(run, change).await,
        }
    }

    /// The keyspace of a name. Keyspaces are never renamed or removed, so what was heard once holds.
    async fn keyspace(&self, name: &Name, run: &mut Run<'_>) -> Result<Keyspace, ShellError> {
        if let Some(known) = self.lock().keyspaces.get(&name.text) {
            return Ok(known.clone());
        }
        let heard = run.look(self.backend.keyspaces()).await?;
        let mut known = self.lock();
        known.keyspaces = heard.into_iter().map(|keyspace| (keyspace.name.clone(), keyspace)).collect();
        if let Some(found) = known.keyspaces.get(&name.text) {
            return Ok(found.clone());
        }
        let error = LangError::new(name.span, format!("there is no keyspace {}", name.text));
        let near = nearest(&name.text, known.keyspaces.keys().map(String::as_str));
        Err(ShellError::Language(match near {
            Some(near) => error.hint(format!("did you mean {near}? SHOW KEYSPACES lists all")),
            None => error.hint(format!("SHOW KEYSPACES lists all; to make it: CREATE KEYSPACE {}", name.text)),
        }))
    }

    async fn writable(&self, name: &Name, run: &mut Run<'_>) -> Result<Keyspace, ShellError> {
        let keyspace = self.keyspace(name, run).await?;
        if keyspace.writable {
            return Ok(keyspace);
        }
        let message = format!("nobody writes into the keyspace {} by hand", name.text);
        Err(LangError::new(name.span, message).hint("it is kept by the fleet itself; it can be read").into())
    }

    /// Keyspaces and sites for completion, as the fleet has them now; those heard of before where it does not answer.
    pub async fn names(&self) -> Names {
        let (keyspaces, sites) = tokio::join!(self.backend.keyspaces(), self.backend.sites());
        let mut known = self.lock();
        if let Ok(keyspaces) = keyspaces {
            known.keyspaces = keyspaces.into_iter().map(|keyspace| (keyspace.name.clone(), keyspace)).collect();
        }
        if let Ok(sites) = sites {
            known.sites = sites.sites.into_iter().map(|site| site.name.to_string()).collect();
        }
        Names { keyspaces: known.keyspaces.keys().cloned().collect(), sites: known.sites.clone() }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().expect("nobody panics while holding it")
    }
}

fn target(statement: &Statement) -> &Name {
    match statement {
        Statement::Select(statement) => &statement.from,
        Statement::Insert(statement) => &statement.into,
        Statement::Update(statement) => &statement.keyspace,
        Statement::Delete(statement) => &statement.from,
        Statement::Explain { statement, .. } => target(statement),
        Statement::Show(_)
        | Statement::Split { .. }
        | Statement::MoveLeader { .. }
        | Statement::CreateKeyspace(_)
        | Statement::ChangeRights(_) => unreachable!("the parser explains reads and writes only"),
    }
}
