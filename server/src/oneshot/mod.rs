//! Single requests from the command line.
//!
//! - [`words`]: keys, bounds and versions as a command line has them
//! - [`show`]: rows and values as they are printed
//! - [`mod@get`], [`mod@put`], [`mod@delete`], [`mod@scan`]: the commands

mod delete;
mod get;
mod put;
mod scan;
mod show;
mod words;

use clap::Args;
use holdfast_client::{Client, KeyspaceId, Options};
use holdfast_types::KeyspaceName;

pub use self::delete::{DeleteArgs, delete};
pub use self::get::{GetArgs, get};
pub use self::put::{PutArgs, put};
pub use self::scan::{ScanArgs, scan};
pub use self::words::{parse_key, parse_version};
use crate::connecting::{ADDRESSES, ANY_STORE, Through, saying};

/// Where a one-shot command goes.
#[derive(Args, Debug, Clone)]
#[command(mut_arg(ADDRESSES, saying(ANY_STORE)))]
pub struct Target {
    /// Where it goes
    #[command(flatten)]
    pub through: Through,
    /// The keyspace, by its name or its number
    #[arg(long, value_name = "NAME", default_value = KeyspaceName::DEFAULT)]
    pub keyspace: String,
    /// Print JSON; versions are strings in it, because they have 64 bits, and bytes that are no text are {"base64": "..."}
    #[arg(long)]
    pub json: bool,
}

impl Target {
    async fn connect(&self) -> anyhow::Result<Client> {
        connect(&self.through, &self.keyspace).await
    }
}

/// Connects, for the keyspace of this name or number; one that does not exist is refused.
pub async fn connect(through: &Through, keyspace: &str) -> anyhow::Result<Client> {
    let client = Client::connect(through.at.clone(), Options::new().security(through.security()?)).await?;
    in_keyspace(client, keyspace).await
}

/// The same client for the keyspace of this name or number; one that does not exist is refused. A store takes any number: whoever wrote under a
/// wrong one would not find it again.
pub async fn in_keyspace(client: Client, keyspace: &str) -> anyhow::Result<Client> {
    let Ok(number) = keyspace.parse() else {
        // The usual one costs no question.
        return match keyspace {
            KeyspaceName::DEFAULT => Ok(client.with_keyspace(KeyspaceId::DEFAULT)),
            name => Ok(client.keyspace(name).await?),
        };
    };
    let id = KeyspaceId(number);
    if id != KeyspaceId::DEFAULT && !client.admin().keyspaces().await?.iter().any(|known| known.id == id) {
        anyhow::bail!(
            "there is no keyspace {number}, or you have no right in it: `holdfast sql -e 'SHOW KEYSPACES'` lists those there are"
        );
    }
    Ok(client.with_keyspace(id))
}

#[cfg(test)]
mod tests {
    use holdfast_client::mock::Mock;

    use super::*;

    #[tokio::test]
    async fn a_keyspace_that_does_not_exist_is_refused_by_name_and_by_number() {
        let mock = Mock::start().unwrap();
        let client = mock.client().await.unwrap();
        let orders = client.admin().create_keyspace("orders").await.unwrap().id;
        for (keyspace, id) in [
            ("default", KeyspaceId::DEFAULT),
            ("1", KeyspaceId::DEFAULT),
            ("orders", orders),
            (&orders.0.to_string(), orders),
        ] {
            assert_eq!(in_keyspace(client.clone(), keyspace).await.unwrap().keyspace_id(), id, "{keyspace}");
        }
        let elsewhere = client.with_keyspace(orders);
        assert_eq!(in_keyspace(elsewhere, "default").await.unwrap().keyspace_id(), KeyspaceId::DEFAULT);
        for (keyspace, word) in [("nothing", "no keyspace \"nothing\""), ("4711", "no keyspace 4711"), ("-1", "-1")] {
            let refused = in_keyspace(client.clone(), keyspace).await.unwrap_err().to_string();
            assert!(refused.contains(word), "{refused}");
        }
    }
}
