//! `holdfast forget`: takes a store that is dead for good, was drained, or was let in and never came, out of the fleet's list.

use std::time::Duration;

use clap::Args;
use holdfast_client::admin::{Forgotten, StoreId, StoreStatus, Timestamp};
use holdfast_output::{errln, outln, visible};
use serde_json::json;

use crate::connecting::{ADDRESSES, Through, saying};

/// A store that was let in later than this may be about to start.
const NEVER_STARTED_AFTER: Duration = Duration::from_secs(600);

/// `holdfast forget`.
#[derive(Args, Debug)]
#[command(mut_arg(
    ADDRESSES,
    saying("Client addresses of other stores, separated by commas: the first that answers is asked")
))]
pub struct ForgetArgs {
    /// The store, as `holdfast status` names it: s4, or 4
    #[arg(value_name = "STORE", value_parser = store_id, required_unless_present = "never_started")]
    pub store: Option<StoreId>,
    /// Every store that was let in more than ten minutes ago and has not started since
    #[arg(long, conflicts_with = "store")]
    pub never_started: bool,
    /// Where it goes
    #[command(flatten)]
    pub through: Through,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// A store as the command line names it.
pub fn store_id(text: &str) -> Result<StoreId, String> {
    match text.strip_prefix('s').unwrap_or(text).parse() {
        Ok(id) if id > 0 => Ok(StoreId(id)),
        _ => Err("a store is named like s4: `holdfast status` shows them".to_owned()),
    }
}

/// Has stores forgotten, and says so.
pub async fn run(args: &ForgetArgs) -> anyhow::Result<()> {
    let admin = args.through.admin()?;
    let stores = match args.store {
        Some(store) => vec![store],
        None => {
            let (sites, stores) = tokio::try_join!(admin.sites(), admin.stores())?;
            never_started(&stores.stores, sites.now)
        }
    };
    let mut told = Vec::new();
    for store in stores {
        let forgotten = admin.forget_store(store).await?;
        for silent in &forgotten.silent {
            errln!(
                "warning: {} ({}) could not be asked whether it hears {}: {}",
                silent.store,
                silent.site,
                forgotten.store,
                visible(&silent.reason)
            );
        }
        if !args.json {
            outln!("{}", in_words(&forgotten))?;
        }
        told.push(as_json(&forgotten));
    }
    match (args.json, args.never_started) {
        (true, true) => outln!("{}", serde_json::Value::Array(told))?,
        (true, false) => told.iter().try_for_each(|told| outln!("{told}"))?,
        (false, _) if told.is_empty() => {
            outln!("No store that was let in more than ten minutes ago has failed to start.")?;
        }
        (false, _) => {}
    }
    Ok(())
}

/// The stores that were let in long ago and never came.
fn never_started(stores: &[StoreStatus], now: Timestamp) -> Vec<StoreId> {
    let since = u64::try_from(NEVER_STARTED_AFTER.as_millis()).expect("ten minutes");
    let never_came = stores
        .iter()
        .filter(|store| !store.alive && store.awaited_since.is_some_and(|at| now.ms().saturating_sub(at.ms()) > since));
    never_came.map(|store| store.store).collect()
}

fn in_words(forgotten: &Forgotten) -> String {
    let Forgotten { store, site, .. } = forgotten;
    if forgotten.changed {
        format!(
            "{store} ({site}) is forgotten. Every store refuses it from now on; what is left of its data may be deleted."
        )
    } else {
        format!("{store} ({site}) was forgotten before: nothing has changed.")
    }
}

fn as_json(forgotten: &Forgotten) -> serde_json::Value {
    let silent = forgotten
        .silent
        .iter()
        .map(|silent| json!({ "store": silent.store.0, "site": silent.site.as_str(), "reason": silent.reason }));
    json!({
        "store": forgotten.store.0,
        "site": forgotten.site.as_str(),
        // A string, as with versions: it has 64 bits.
        "forgotten_at": forgotten.forgotten_at.0.to_string(),
        "changed": forgotten.changed,
        "silent": silent.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use holdfast_client::admin::{SilentStore, SiteName, Timestamp};

    use super::*;

    #[test]
    fn a_store_is_named_as_status_names_it() {
        assert_eq!((store_id("s4"), store_id("12")), (Ok(StoreId(4)), Ok(StoreId(12))));
        for bad in ["", "s", "0", "s0", "-1", "site-a", "ss4", "4s"] {
            assert!(store_id(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_was_done_and_who_was_silent_is_said() {
        let site = |name| SiteName::new(name).unwrap();
        let silent = vec![SilentStore { store: StoreId(2), site: site("b"), reason: "no answer within 800 ms".into() }];
        let now =
            Forgotten { store: StoreId(4), site: site("d"), forgotten_at: Timestamp(u64::MAX), changed: true, silent };
        assert!(in_words(&now).starts_with("s4 (d) is forgotten."));
        let told = as_json(&now);
        assert_eq!((&told["changed"], &told["silent"][0]["store"]), (&json!(true), &json!(2)));
        assert_eq!(told["forgotten_at"], json!(u64::MAX.to_string()));
        assert!(in_words(&Forgotten { changed: false, ..now }).contains("before"));
    }
}
