//! Consistency: what a read sees.
//!
//! **One key, or keys of one range: linearizable.** A read sees every write that was acknowledged before the read began, by
//! whichever client. There is nothing to choose and no weaker mode: reads are served by the leader of the range, under its lease, or after
//! asking a quorum.
//!
//! **Several ranges: each for itself.** The key space is cut into ranges, and moves and splits of ranges are not your concern; but what
//! touches several of them is not one step:
//!
//! | call | within one range | over several |
//! |---|---|---|
//! | `get`, `put`, `delete`, `compare_and_set` | linearizable | (one key) |
//! | `batch` | atomic, linearizable | refused with `SpansRanges`, nothing is done |
//! | `batch_get`, a page of `scan` | one timestamp, the same for all pages of a range | one timestamp for each range |
//! | `batch_get_at`, `scan().at(..)` | one snapshot | one snapshot, as of the timestamp given |
//! | a page of `delete_range` | atomic | page after page |
//!
//! **Versions.** Every write gets a timestamp, in fleet time, which is the version of the keys it wrote. Versions of one key grow.
//! The past can be read for an hour, unless the policy of the keyspace says otherwise:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let mock = holdfast_client::mock::Mock::start()?;
//! # let client = mock.client().await?;
//! client.put("config", "old").await?;
//! let then = client.put("audit", "config was old").await?;
//! client.put("config", "new").await?;
//! let values = client.batch_get_at(["config", "audit"], then).await?;
//! assert_eq!(&values[0].as_ref().expect("it existed").value[..], b"old");
//! # Ok(())
//! # }
//! ```
//!
//! A snapshot wants a timestamp that has passed everywhere. The version of a write you know of has, in the range that it was written to;
//! [`Client::fleet_now`](crate::Client::fleet_now) minus a second has, in every range of a fleet whose clocks are right. A timestamp that
//! lies ahead of fleet time is refused.
//!
//! **Expiry** is in fleet time too: a value written with [`put_for`](crate::Client::put_for) is gone for every reader from the same moment
//! on.
