//! What must hold of a replica after every step, checked at a level chosen at run time.

use holdfast_types::Role;
use raft::StateRole;

use crate::convert;
use crate::replica::{CheckLevel, Replica};

impl Replica {
    /// Tests the invariants listed on [`Replica`]; the error names the one that is broken.
    pub fn check(&self) -> Result<(), String> {
        if !self.is_live() {
            return Ok(());
        }
        self.check_cheap()?;
        if self.config.check == CheckLevel::Full { self.check_full() } else { Ok(()) }
    }

    fn check_cheap(&self) -> Result<(), String> {
        let raft = &self.raw.raft;
        let log = &raft.raft_log;
        let leads = raft.state == StateRole::Leader;
        if leads != self.leading.is_some() {
            return Err(format!("raft's role {:?} and ours differ", raft.state));
        }
        if leads && self.following.follows.is_some() {
            return Err("a leader follows somebody".into());
        }
        if leads && self.descriptor.replica(self.id).is_none_or(|r| r.role == Role::Learner) {
            return Err("a learner leads".into());
        }
        if log.applied > log.committed.min(log.persisted) {
            return Err(format!(
                "applied i{} beyond committed i{} or persisted i{}",
                log.applied, log.committed, log.persisted
            ));
        }
        if self.disk.durable.term.0 > raft.term || self.disk.durable.commit.0 > log.committed {
            return Err(format!("the disk's {:?} is ahead of raft", self.disk.durable));
        }
        if let Some(state) = &self.state
            && !self.phase.is_installing()
            && state.applied.0 != log.applied
        {
            return Err(format!("range state at {}, raft at i{}", state.applied, log.applied));
        }
        Ok(())
    }

    fn check_full(&self) -> Result<(), String> {
        self.disk.check()?;
        self.pipeline.check()?;
        self.descriptor.check()?;
        if !self.phase.is_installing() {
            self.raw.store().check()?;
            let raft = self.raw.raft.prs().conf().to_conf_state();
            let ours = convert::conf_state(&self.descriptor);
            if !convert::same_configuration(&raft, &ours) {
                return Err(format!("raft's configuration {raft:?} is not the descriptor's {ours:?}"));
            }
        }
        Ok(())
    }
}
