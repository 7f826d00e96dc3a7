//! `holdfast site`: what the fleet keeps of a site, changed by hand.

use clap::{Args, Subcommand};
use holdfast_client::admin::{MovedSite, SiteName};
use holdfast_output::{errln, outln};
use serde_json::json;

use crate::connecting::{ADDRESSES, Through, saying};
use crate::help;

/// `holdfast site`.
#[derive(Args, Debug)]
pub struct SiteArgs {
    #[command(subcommand)]
    command: SiteCommand,
}

#[derive(Subcommand, Debug)]
enum SiteCommand {
    /// Bind a site to another Kubernetes cluster, after its own was rebuilt or moved
    #[command(after_help = help::SITE_MOVE)]
    Move(MoveArgs),
}

/// `holdfast site move`.
#[derive(Args, Debug)]
#[command(mut_arg(
    ADDRESSES,
    saying("Client addresses of stores of other sites, separated by commas: the first that answers is asked")
))]
struct MoveArgs {
    /// The site
    #[arg(value_name = "SITE", value_parser = site_name)]
    site: SiteName,
    /// The proof that its stores have from now on: the UID of the kube-system namespace of the new Kubernetes cluster
    #[arg(long, value_name = "UID")]
    to: String,
    /// Where it goes
    #[command(flatten)]
    through: Through,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn site_name(text: &str) -> Result<SiteName, String> {
    SiteName::new(text)
}

/// Has the fleet change it, and says so.
pub async fn run(args: &SiteArgs) -> anyhow::Result<()> {
    let SiteCommand::Move(args) = &args.command;
    let moved = args.through.admin()?.move_site(&args.site, &args.to).await?;
    for silent in &moved.silent {
        errln!(
            "warning: {} ({}) could not be asked whether it hears a store of {}: {}",
            silent.store,
            silent.site,
            moved.site,
            silent.reason
        );
    }
    if args.json {
        outln!("{}", as_json(&moved))?;
    } else {
        outln!("{}", in_words(&moved))?;
    }
    Ok(())
}

fn in_words(moved: &MovedSite) -> String {
    let MovedSite { site, identity, .. } = moved;
    let Some(was) = moved.former.last().filter(|_| moved.changed) else {
        return format!("{site} is bound to {identity} already: nothing has changed.");
    };
    format!(
        "{site} is bound to {identity}, no longer to {}. Stores that prove it may join and start; those of the old one are refused. Of stores \
         whose volumes are lost: `holdfast forget`, when no range names them any more.",
        was.identity
    )
}

fn as_json(moved: &MovedSite) -> serde_json::Value {
    let silent = moved
        .silent
        .iter()
        .map(|silent| json!({ "store": silent.store.0, "site": silent.site.as_str(), "reason": silent.reason }));
    // A string, as with versions: it has 64 bits.
    let former = moved.former.iter().map(|was| json!({ "identity": was.identity, "until": was.until.0.to_string() }));
    json!({
        "site": moved.site.as_str(),
        "identity": moved.identity,
        "former": former.collect::<Vec<_>>(),
        "changed": moved.changed,
        "silent": silent.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use holdfast_client::admin::{FormerIdentity, SilentStore, StoreId, Timestamp};

    use super::*;

    #[test]
    fn what_was_done_and_what_comes_next_is_said() {
        let site = |name| SiteName::new(name).unwrap();
        let silent = vec![SilentStore { store: StoreId(2), site: site("west"), reason: "no answer".into() }];
        let former = vec![FormerIdentity { identity: "uid-1".into(), until: Timestamp(u64::MAX) }];
        let now = MovedSite { site: site("east"), identity: "uid-2".into(), former, changed: true, silent };
        let words = in_words(&now);
        assert!(
            words.starts_with("east is bound to uid-2, no longer to uid-1.") && words.contains("forget"),
            "{words}"
        );
        let told = as_json(&now);
        assert_eq!((&told["changed"], &told["silent"][0]["store"]), (&json!(true), &json!(2)));
        assert_eq!(told["former"], json!([{ "identity": "uid-1", "until": u64::MAX.to_string() }]));
        assert!(in_words(&MovedSite { changed: false, ..now }).contains("already"));
    }
}
