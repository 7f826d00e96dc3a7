//! What a run came to.

use std::fmt;
use std::time::Duration;

use holdfast_kv::core::message::StoreMessage;
use holdfast_types::Moment;

use crate::hub::Counts;

/// What a run came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// How much virtual time passed.
    pub time: Duration,
    /// What was counted.
    pub counts: Counts,
    /// The running number over everything that happened.
    pub trace: u64,
    /// What was broken, and when; `None`: nothing.
    pub failure: Option<(Moment, String)>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let c = &self.counts;
        write!(
            f,
            "seed {}: {:.1} virtual s, {} steps, {} operations ({} open), {} faults, {} starts, {} leaderships, \
             {} splits, {} changes, {} snapshots, trace {:016x}: ",
            self.seed,
            self.time.as_secs_f64(),
            c.steps,
            c.operations,
            c.ambiguous,
            c.faults,
            c.starts,
            c.leaderships,
            c.splits,
            c.membership_changes,
            c.snapshots,
            self.trace
        )?;
        match &self.failure {
            None => f.write_str("ok"),
            Some((at, what)) => write!(f, "BROKEN at {at:?}: {what}"),
        }
    }
}

/// A message between stores, in a few words.
#[must_use]
pub fn brief(message: &StoreMessage) -> String {
    match message {
        StoreMessage::Raft(envelope) => holdfast_replica::describe_message(envelope),
        other => {
            let mut text = format!("{other:?}");
            if let Some((end, _)) = text.char_indices().nth(300) {
                text.truncate(end);
            }
            text
        }
    }
}
