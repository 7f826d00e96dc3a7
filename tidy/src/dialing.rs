//! Channels to stores are made in one place, so that none can be made which proves nothing to whoever answers.

use crate::Problem;
use crate::tree::File;

/// Where channels are made, and what cannot be made there.
const MAKERS: &[&str] = &[
    "client/src/grpc/channel.rs",
    // Between stores, which know the site that must answer.
    "raft-transport/src/outbound.rs",
    // To another store than ours, for comparison.
    "benches/src/contest/etcd/client.rs",
    // They are named here.
    "tidy/src/dialing.rs",
];

/// Ways to make one. The stubs' own `connect` comes behind them, since it is the shortest.
const WAYS: &[&str] =
    &["Endpoint::", "Channel::from_", "Channel::builder", "Client::connect(format!", "Client::connect(\"http"];

/// Checks what is no test: tests pretend to be whoever they like.
pub(crate) fn check(files: &[File]) -> Vec<Problem> {
    let is_concerned = |file: &&File| file.is_rust() && !file.is_tests() && !MAKERS.contains(&file.path.as_str());
    files.iter().filter(is_concerned).flat_map(ways).collect()
}

fn ways(file: &File) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (number, line) in file.lines_without_tests() {
        let code = line.split("//").next().unwrap_or_default();
        if let Some(way) = WAYS.iter().find(|way| code.contains(*way)) {
            problems.push(format!(
                "{}:{number}: {way}: a channel that proves nothing: use `holdfast_client::channel::Dialer`",
                file.path
            ));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(path: &str, text: &str) -> usize {
        check(&[File { path: path.to_owned(), text: text.to_owned() }]).len()
    }

    #[test]
    fn a_channel_is_made_by_the_dialer_alone() {
        let made = [
            "let endpoint = Endpoint::from_shared(address)?;",
            "let channel = Channel::from_static(address);",
            "let kv = KvClient::connect(format!(\"http://{address}\")).await?;",
            "let kv = KvClient::connect(\"http://[::1]:7300\").await?;",
        ];
        for way in made {
            for place in ["server/src/status.rs", "benches/src/fleet.rs", "shell/src/a.rs", "k8s/control/src/a.rs"] {
                assert_eq!(problems(place, way), 1, "{place}: {way}");
            }
            for place in ["client/src/grpc/channel.rs", "tests/src/raw.rs", "client/tests/client/thin.rs"] {
                assert_eq!(problems(place, way), 0, "{place}: {way}");
            }
        }
        assert_eq!(problems("server/src/load.rs", "let client = Client::connect(addresses, options).await?;"), 0);
        assert_eq!(problems("server/src/a.rs", "// Endpoint::from_shared is not for us"), 0);
    }
}
