//! The proof of a member's site, looked at before it takes part in anything again. Its disk keeps the proof that it joined with; with another
//! one it is in another Kubernetes cluster than it was, and its replicas would count for a site that they are not in. Whether the site was
//! moved on purpose the fleet knows: the other stores are asked, and without their word the store does not start.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Context;
use holdfast_client::Security;
use holdfast_client::channel::reason;
use holdfast_engine::LogEngine;
use holdfast_kv::core::identity::{Identity, Proof};
use holdfast_proto::v1;
use tokio::time::{Instant, timeout};
use tonic::Code;

use crate::config::Config;
use crate::directory::Directory;
use crate::ending::Ending;
use crate::{joining, membership, status};

/// How long the other stores are asked before the store ends. Whoever supervises it starts it again.
const ASK_FOR: Duration = Duration::from_secs(30);
/// How often.
const ASK_EVERY: Duration = Duration::from_millis(500);
/// How long one of them may take: it asks the system range.
const ANSWER_WITHIN: Duration = Duration::from_secs(6);

/// What was heard of a proof.
enum Judgement {
    /// It is the site's.
    Accepted,
    /// A refusal that asking again does not change.
    Refused(tonic::Status),
    /// Nobody knew.
    Unknown(String),
}

/// Lets a member start with the proof that it joined with, with its first one, and with one that the fleet accepts.
pub async fn check(
    config: &Config,
    log: &dyn LogEngine,
    identity: &Identity,
    security: &Security,
) -> anyhow::Result<()> {
    if identity.site != config.site {
        // That is said before anything else.
        return Ok(());
    }
    match (identity.proof(config.site_id.as_deref()), config.site_id.as_deref()) {
        (Proof::Other { kept, given: Some(given) }, _) => {
            tracing::warn!(%kept, %given, "the proof of the site has changed: asking the fleet whether the site was moved");
            ask_for_a_while(config, identity, security).await?;
            identity.prove(log, &given)?;
            tracing::info!(%given, "the fleet accepts the new proof of the site");
        }
        (Proof::Other { kept, given: None }, _) => {
            let why = format!("it joined with the proof {kept}");
            return Err(Ending::other_proof(identity.store, &config.site, None, &why).into());
        }
        (Proof::First, Some(first)) => identity.prove(log, first)?,
        (Proof::First | Proof::Same, _) => {}
    }
    Ok(())
}

async fn ask_for_a_while(config: &Config, identity: &Identity, security: &Security) -> anyhow::Result<()> {
    let refused = |why: &str| Ending::other_proof(identity.store, &config.site, config.site_id.as_deref(), why);
    let own = config.advertise.clone().unwrap_or_else(|| config.listen.to_string());
    let mut addresses: BTreeSet<_> =
        config.join.iter().cloned().chain(Directory::remembered(&config.data_dir)).collect();
    addresses.remove(&own);
    if addresses.is_empty() {
        return Err(refused("no other store is known that could be asked").into());
    }
    let until = Instant::now() + ASK_FOR;
    loop {
        let mut last = String::new();
        for address in &addresses {
            match ask(config, identity, security, address).await {
                Judgement::Accepted => return Ok(()),
                Judgement::Refused(status) if status.message().contains(&membership::is_over(identity.store)) => {
                    return Err(Ending::Forgotten(membership::is_over(identity.store)).into());
                }
                Judgement::Refused(status) => return Err(refused(status.message()).into()),
                Judgement::Unknown(why) => last = why,
            }
        }
        if Instant::now() >= until {
            return Err(refused(&format!("no store could be asked: {last}")).into());
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

/// Says to one store what this one will say of itself.
async fn ask(config: &Config, identity: &Identity, security: &Security, address: &str) -> Judgement {
    let request =
        v1::JoinRequest { store_id: identity.store.0, fleet: Some(identity.fleet.into()), ..joining::request(config) };
    let asked = async {
        let mut fleet = status::connect(address, security).await?;
        anyhow::Ok(fleet.join(request).await)
    };
    let silent = |_| Err(anyhow::anyhow!("no answer within {} s", ANSWER_WITHIN.as_secs()));
    match timeout(ANSWER_WITHIN, asked).await.unwrap_or_else(silent).with_context(|| address.to_owned()) {
        Ok(Ok(_)) => Judgement::Accepted,
        Ok(Err(status)) if matches!(status.code(), Code::InvalidArgument | Code::PermissionDenied) => {
            Judgement::Refused(status)
        }
        Ok(Err(status)) => Judgement::Unknown(format!("{address}: {}", reason(&status))),
        Err(error) => Judgement::Unknown(format!("{error:#}")),
    }
}
