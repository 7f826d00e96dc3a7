//! Conversions of [`StoreMessage`]: shapes only.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::sync::Arc;

use bytes::Bytes;
use holdfast_engine::{SnapshotFile, SnapshotId, SnapshotManifest};
use holdfast_proto::convert::common::{key, outcome, required};
use holdfast_proto::convert::{BadMessage, check_count};
use holdfast_proto::v1::{self, store_message::Body};
use holdfast_replica::{AdminRequest, MembershipChange, RaftEnvelope, Stamp};
use holdfast_types::bounds::{at_most, cut};
use holdfast_types::principal::BadIdentity;
use holdfast_types::{
    Generation, Incarnation, RangeDescriptor, RangeId, RangeRequest, ReplicaId, SiteName, StoreId, Term, Timestamp,
    limits,
};
use prost::Message as _;

use super::{CallId, RangeHint, RangeReport, SnapshotState, StoreMessage, StoreReport};
use crate::core::effect::AdminOutcome;
use crate::core::permit::Authority;
use crate::core::records::{site_trust, site_trust_of};
use crate::core::report_parts::ReportPart;

type Converted<T> = Result<T, BadMessage>;

pub(super) fn body_of(message: StoreMessage) -> Body {
    match message {
        StoreMessage::Raft(envelope) => Body::Raft(raft_of(envelope)),
        StoreMessage::Unled { range, term } => Body::Unled(v1::Unled { range_id: range.0, term: term.0 }),
        StoreMessage::UnledNoted { range, term } => Body::UnledNoted(v1::Unled { range_id: range.0, term: term.0 }),
        StoreMessage::AskLeader { range, term } => Body::AskLeader(v1::Unled { range_id: range.0, term: term.0 }),
        StoreMessage::Forward { id, request, authority, timeout_ms, hops } => {
            let (author, principal) = author_of(&authority);
            let (forward_id, request, author) = (id.0, Some(request.into()), author.into());
            Body::Forward(v1::Forward { forward_id, request, timeout_ms, hops, author, principal })
        }
        StoreMessage::ForwardAnswer { id, outcome, fleet_now, hints } => Body::ForwardAnswer(v1::ForwardAnswer {
            forward_id: id.0,
            response: Some(outcome.into()),
            fleet_now: fleet_now.0,
            hints: hints.into_iter().map(hint_of).collect(),
        }),
        StoreMessage::Locate { id, key } => Body::Locate(v1::Locate { locate_id: id.0, key: key.raw().clone() }),
        StoreMessage::Located { id, hints } => {
            Body::Located(v1::Located { locate_id: id.0, hints: hints.into_iter().map(hint_of).collect() })
        }
        StoreMessage::Admin { id, range, request, timeout_ms, hops } => Body::Admin(v1::AdminCall {
            forward_id: id.0,
            range_id: range.0,
            timeout_ms,
            hops,
            request: admin_of(request),
        }),
        StoreMessage::AdminAnswer { id, outcome } => Body::AdminAnswer(v1::AdminAnswer {
            forward_id: id.0,
            outcome: Some(match outcome {
                Ok(done) => v1::admin_answer::Outcome::Changed(done.descriptor.into()),
                Err(rejected) => v1::admin_answer::Outcome::Rejected(rejected.into()),
            }),
        }),
        StoreMessage::Report(report) => Body::Report(report_of(*report)),
        StoreMessage::ReportAnswer { leader, directory_version, directory, sites } => {
            Body::ReportAnswer(v1::ReportAnswer {
                leader_store_id: leader.map_or(0, |s| s.0),
                directory_version,
                directory,
                sites: sites.iter().map(site_trust_of).collect(),
            })
        }
        StoreMessage::SnapshotOffer { envelope, manifest } => Body::SnapshotOffer(v1::SnapshotOffer {
            envelope: Some(raft_of(envelope)),
            manifest: Some(manifest_of(*manifest)),
        }),
        StoreMessage::SnapshotChunk { range, snapshot, file, offset, data, last } => {
            Body::SnapshotChunk(v1::SnapshotChunk {
                range_id: range.0,
                snapshot_id: Some(snapshot.0.into()),
                file: u32::try_from(file).unwrap_or(u32::MAX),
                offset,
                data,
                last,
            })
        }
        StoreMessage::SnapshotProgress { range, snapshot, state, received } => {
            Body::SnapshotProgress(v1::SnapshotProgress {
                range_id: range.0,
                snapshot_id: Some(snapshot.0.into()),
                state: state_of(state).into(),
                received,
            })
        }
    }
}

pub(super) fn message_of(body: Body) -> Converted<StoreMessage> {
    Ok(match body {
        Body::Raft(raft) => StoreMessage::Raft(envelope_of(raft)?),
        Body::Unled(m) => StoreMessage::Unled { range: RangeId::bounded(m.range_id)?, term: Term::told(m.term)? },
        Body::AskLeader(m) => {
            StoreMessage::AskLeader { range: RangeId::bounded(m.range_id)?, term: Term::told(m.term)? }
        }
        Body::UnledNoted(m) => {
            StoreMessage::UnledNoted { range: RangeId::bounded(m.range_id)?, term: Term::told(m.term)? }
        }
        Body::Forward(m) => {
            let request = required(m.request, "request")?.try_into()?;
            let authority = authority_of(m.author, &m.principal, &request)?;
            let (timeout_ms, hops) = (timeout_of(m.timeout_ms), m.hops.min(limits::MAX_HOPS));
            StoreMessage::Forward { id: CallId(m.forward_id), authority, request, timeout_ms, hops }
        }
        Body::ForwardAnswer(m) => StoreMessage::ForwardAnswer {
            id: CallId(m.forward_id),
            outcome: outcome(required(m.response, "response")?)?,
            fleet_now: Timestamp::told(m.fleet_now)?,
            hints: hints(m.hints)?,
        },
        Body::Locate(m) => StoreMessage::Locate { id: CallId(m.locate_id), key: key(m.key)? },
        Body::Located(m) => StoreMessage::Located { id: CallId(m.locate_id), hints: hints(m.hints)? },
        Body::Admin(m) => StoreMessage::Admin {
            id: CallId(m.forward_id),
            range: RangeId::bounded(m.range_id)?,
            request: admin_request_of(required(m.request, "administrative request")?)?,
            timeout_ms: timeout_of(m.timeout_ms),
            hops: m.hops.min(limits::MAX_HOPS),
        },
        Body::AdminAnswer(m) => StoreMessage::AdminAnswer {
            id: CallId(m.forward_id),
            outcome: match required(m.outcome, "outcome")? {
                v1::admin_answer::Outcome::Changed(d) => Ok(AdminOutcome { descriptor: descriptor_of(d)? }),
                v1::admin_answer::Outcome::Rejected(r) => Err(r.try_into()?),
            },
        },
        Body::Report(m) => StoreMessage::Report(Box::new(store_report_of(m)?)),
        Body::ReportAnswer(m) => {
            check_count("stores of a fleet", m.directory.len(), limits::MAX_STORE_RECORDS)?;
            check_count("sites that were distrusted", m.sites.len(), limits::SITES_DOUBTED)?;
            StoreMessage::ReportAnswer {
                leader: some_store(m.leader_store_id)?,
                directory_version: m.directory_version,
                directory: m.directory,
                sites: m.sites.iter().map(site_trust).collect::<Result<_, _>>()?,
            }
        }
        Body::SnapshotOffer(m) => StoreMessage::SnapshotOffer {
            envelope: envelope_of(required(m.envelope, "envelope")?)?,
            manifest: Box::new(snapshot_manifest_of(required(m.manifest, "manifest")?)?),
        },
        Body::SnapshotChunk(m) => StoreMessage::SnapshotChunk {
            range: RangeId::bounded(m.range_id)?,
            snapshot: snapshot_id(m.snapshot_id)?,
            file: usize::try_from(m.file).map_err(|e| BadMessage::malformed(e.to_string()))?,
            offset: at_most("a place in a file", m.offset, limits::MAX_REPORTED_BYTES)?,
            data: m.data,
            last: m.last,
        },
        Body::SnapshotProgress(m) => StoreMessage::SnapshotProgress {
            range: RangeId::bounded(m.range_id)?,
            snapshot: snapshot_id(m.snapshot_id)?,
            state: snapshot_state_of(m.state())?,
            received: m.received.into_iter().map(|bytes| cut(bytes, limits::MAX_REPORTED_BYTES)).collect(),
        },
    })
}

fn author_of(authority: &Authority) -> (v1::Author, String) {
    match authority {
        Authority::Client => (v1::Author::Client, String::new()),
        Authority::Principal(principal) => (v1::Author::Client, principal.to_string()),
        Authority::Fleet => (v1::Author::Fleet, String::new()),
    }
}

fn authority_of(author: i32, principal: &str, request: &RangeRequest) -> Converted<Authority> {
    match v1::Author::try_from(author) {
        Ok(v1::Author::Client) if !principal.is_empty() => {
            let principal = principal.parse().map_err(|bad: BadIdentity| BadMessage::malformed(bad.to_string()))?;
            Ok(Authority::Principal(Arc::new(principal)))
        }
        // Somebody in particular is neither the fleet nor an author that is not told.
        Ok(_) if !principal.is_empty() => {
            Err(BadMessage::malformed(format!("a request of author {author} names a principal")))
        }
        Ok(v1::Author::Client) => Ok(Authority::Client),
        Ok(v1::Author::Fleet) => Ok(Authority::Fleet),
        Ok(v1::Author::Unspecified) => Ok(Authority::unsaid(request)),
        Err(_) => Err(BadMessage::malformed(format!("nobody known here is author {author} of a request"))),
    }
}

/// No request waits for longer, so no sender has longer either.
fn timeout_of(ms: u64) -> u64 {
    let most = u64::try_from(limits::MAX_DEADLINE.as_millis()).unwrap_or(u64::MAX);
    cut(ms, most)
}

fn some_store(raw: u64) -> Converted<Option<StoreId>> {
    let store = StoreId::bounded(raw)?;
    Ok((store != StoreId::NONE).then_some(store))
}

fn raft_of(envelope: RaftEnvelope) -> v1::RaftMessage {
    v1::RaftMessage {
        range_id: envelope.range.0,
        from_replica: envelope.from.0,
        to_replica: envelope.to.0,
        descriptor: envelope.descriptor.map(Into::into),
        stamp: envelope.stamp.map(|s| v1::Stamp { incarnation: s.incarnation.0, generation: s.generation.0 }),
        message: envelope.message,
    }
}

fn envelope_of(raft: v1::RaftMessage) -> Converted<RaftEnvelope> {
    Ok(RaftEnvelope {
        range: RangeId::bounded(raft.range_id)?,
        from: ReplicaId::told(raft.from_replica)?,
        to: ReplicaId::told(raft.to_replica)?,
        descriptor: raft.descriptor.map(descriptor_of).transpose()?,
        stamp: raft.stamp.map(stamp_of).transpose()?,
        message: raft.message,
    })
}

fn descriptor_of(descriptor: v1::RangeDescriptor) -> Converted<RangeDescriptor> {
    Ok(RangeDescriptor::try_from(descriptor)?.told()?)
}

fn stamp_of(stamp: v1::Stamp) -> Converted<Stamp> {
    let incarnation = Incarnation::told(stamp.incarnation)?;
    Ok(Stamp { incarnation, generation: Generation::told(stamp.generation)? })
}

fn hint_of(hint: RangeHint) -> v1::RangeHint {
    v1::RangeHint {
        descriptor: Some(hint.descriptor.into()),
        term: hint.term.0,
        leader_store_id: hint.leader.map_or(0, |s| s.0),
    }
}

fn hints(hints: Vec<v1::RangeHint>) -> Converted<Vec<RangeHint>> {
    let hint = |h: v1::RangeHint| {
        Ok(RangeHint {
            descriptor: descriptor_of(required(h.descriptor, "descriptor")?)?,
            term: Term::told(h.term)?,
            leader: some_store(h.leader_store_id)?,
        })
    };
    hints.into_iter().map(hint).collect()
}

/// `None` for what never travels: garbage is collected by the store that leads.
fn admin_of(request: AdminRequest) -> Option<v1::admin_call::Request> {
    use v1::admin_call::Request;
    let ids = |ids: Vec<ReplicaId>| ids.into_iter().map(|id| id.0).collect();
    Some(match request {
        AdminRequest::Split { at, .. } => Request::Split(v1::AdminSplit { at: at.raw().clone() }),
        AdminRequest::ChangeMembership(MembershipChange::AddLearner { store, site }) => {
            Request::AddLearner(v1::AdminAddLearner { store_id: store.0, site: site.to_string() })
        }
        AdminRequest::ChangeMembership(MembershipChange::Reconfigure { promote, demote }) => {
            Request::Reconfigure(v1::AdminReconfigure { promote: ids(promote), demote: ids(demote) })
        }
        AdminRequest::ChangeMembership(MembershipChange::RemoveLearner { replica }) => {
            Request::RemoveLearner(v1::AdminRemoveLearner { replica_id: replica.0 })
        }
        AdminRequest::Transfer { to } => Request::Transfer(v1::AdminTransfer { replica_id: to.0 }),
        AdminRequest::RaiseGcThreshold { threshold } => {
            Request::GcThreshold(v1::AdminGcThreshold { threshold: threshold.0 })
        }
        AdminRequest::CollectGarbage(_) => return None,
    })
}

fn admin_request_of(request: v1::admin_call::Request) -> Converted<AdminRequest> {
    use v1::admin_call::Request;
    Ok(match request {
        Request::Split(m) => AdminRequest::Split { at: key(m.at)?, right: RangeId(0) },
        Request::AddLearner(m) => AdminRequest::ChangeMembership(MembershipChange::AddLearner {
            store: StoreId::bounded(m.store_id)?,
            site: site(&m.site)?,
        }),
        Request::Reconfigure(m) => AdminRequest::ChangeMembership(MembershipChange::Reconfigure {
            promote: replicas(m.promote)?,
            demote: replicas(m.demote)?,
        }),
        Request::RemoveLearner(m) => {
            AdminRequest::ChangeMembership(MembershipChange::RemoveLearner { replica: ReplicaId::told(m.replica_id)? })
        }
        Request::Transfer(m) => AdminRequest::Transfer { to: ReplicaId::told(m.replica_id)? },
        Request::GcThreshold(m) => AdminRequest::RaiseGcThreshold { threshold: Timestamp::told(m.threshold)? },
    })
}

fn replicas(ids: Vec<u64>) -> Converted<Vec<ReplicaId>> {
    check_count("replicas of a range", ids.len(), limits::MAX_REPLICAS)?;
    ids.into_iter().map(|id| Ok(ReplicaId::told(id)?)).collect()
}

fn site(name: &str) -> Converted<SiteName> {
    SiteName::new(name).map_err(BadMessage::malformed)
}

fn report_of(report: StoreReport) -> v1::StoreReport {
    let range = |r: RangeReport| v1::RangeReport {
        descriptor: Some(r.descriptor.into()),
        term: r.term.0,
        size_bytes: r.size_bytes,
        reads_per_second: r.reads_per_second,
        writes_per_second: r.writes_per_second,
        write_bytes_per_second: r.write_bytes_per_second,
        caught_up: r.caught_up.into_iter().map(|id| id.0).collect(),
        has_lease: r.has_lease,
    };
    v1::StoreReport {
        store_id: report.store.0,
        site: report.site.to_string(),
        incarnation: report.incarnation.0,
        worker: report.worker.into(),
        workers: report.workers.into(),
        disk_total_bytes: report.disk_total_bytes,
        disk_free_bytes: report.disk_free_bytes,
        cores: report.cores,
        replicas: report.replicas,
        draining: report.draining,
        directory_version: report.directory_version,
        ranges: report.ranges.into_iter().map(range).collect(),
        used_millicores: report.used_millicores,
        disk_ok: report.disk_ok,
        damaged: report
            .damaged
            .into_iter()
            .map(|(range, replica)| v1::DamagedReplica { range_id: range.0, replica_id: replica.0 })
            .collect(),
        report: report.part.report,
        part: report.part.part,
        parts: report.part.parts,
    }
}

fn store_report_of(report: v1::StoreReport) -> Converted<StoreReport> {
    // Placement adds and multiplies these figures. One that is beyond all measure is no reason to hear nothing of the store.
    let bytes = |told| cut(told, limits::MAX_REPORTED_BYTES);
    let rate = |told| cut(told, limits::MAX_REPORTED_RATE);
    let range = |r: v1::RangeReport| {
        Ok(RangeReport {
            descriptor: descriptor_of(required(r.descriptor, "descriptor")?)?,
            term: Term::told(r.term)?,
            has_lease: r.has_lease,
            size_bytes: cut(r.size_bytes, limits::MAX_REPORTED_RANGE_BYTES),
            reads_per_second: rate(r.reads_per_second),
            writes_per_second: rate(r.writes_per_second),
            write_bytes_per_second: rate(r.write_bytes_per_second),
            caught_up: replicas(r.caught_up)?,
        })
    };
    let part = match report.parts {
        0 => ReportPart::WHOLE,
        parts => ReportPart { report: report.report, part: report.part, parts },
    };
    if !part.is_sound() {
        return Err(BadMessage::malformed(format!("part {} of {} of a report", part.part, part.parts)));
    }
    let part_bytes = report.encoded_len();
    if part.parts > 1 && part_bytes > 2 * limits::REPORT_PART_BYTES {
        return Err(BadMessage::malformed(format!("{part_bytes} bytes in one part of a report")));
    }
    let (worker, workers) = workers_of(report.worker, report.workers)?;
    Ok(StoreReport {
        store: StoreId::bounded(report.store_id)?,
        site: site(&report.site)?,
        incarnation: Incarnation::told(report.incarnation)?,
        worker,
        workers,
        disk_total_bytes: bytes(report.disk_total_bytes),
        disk_free_bytes: bytes(report.disk_free_bytes),
        disk_ok: report.disk_ok,
        cores: report.cores,
        used_millicores: rate(report.used_millicores),
        replicas: rate(report.replicas),
        draining: report.draining,
        directory_version: report.directory_version,
        ranges: report.ranges.into_iter().map(range).collect::<Converted<_>>()?,
        damaged: report.damaged.into_iter().map(damaged_of).collect::<Converted<_>>()?,
        part,
    })
}

/// Which of how many workers.
fn workers_of(worker: u32, workers: u32) -> Converted<(u16, u16)> {
    match (u16::try_from(worker), u16::try_from(workers)) {
        (Ok(worker), Ok(workers)) if worker < workers && workers <= limits::MAX_WORKERS => Ok((worker, workers)),
        _ => Err(BadMessage::malformed(format!("worker {worker} of {workers}"))),
    }
}

fn damaged_of(damaged: v1::DamagedReplica) -> Converted<(RangeId, ReplicaId)> {
    Ok((RangeId::bounded(damaged.range_id)?, ReplicaId::told(damaged.replica_id)?))
}

fn manifest_of(manifest: SnapshotManifest) -> v1::SnapshotManifest {
    let file = |f: SnapshotFile| v1::SnapshotFile { size_bytes: f.size_bytes, checksum: f.checksum };
    v1::SnapshotManifest {
        snapshot_id: Some(manifest.id.0.into()),
        range_id: manifest.range.0,
        bounds: Some(manifest.bounds.into()),
        range_state: manifest.range_state,
        files: manifest.files.into_iter().map(file).collect(),
        checksum: manifest.checksum,
    }
}

fn snapshot_manifest_of(manifest: v1::SnapshotManifest) -> Converted<SnapshotManifest> {
    let file = |f: v1::SnapshotFile| SnapshotFile { size_bytes: f.size_bytes, checksum: f.checksum };
    let range_state: Bytes = manifest.range_state;
    let manifest = SnapshotManifest {
        id: snapshot_id(manifest.snapshot_id)?,
        range: RangeId::bounded(manifest.range_id)?,
        bounds: required(manifest.bounds, "bounds")?.try_into()?,
        range_state,
        files: manifest.files.into_iter().map(file).collect(),
        checksum: manifest.checksum,
    };
    let plausible = manifest.is_plausible().then_some(manifest);
    plausible.ok_or_else(|| BadMessage::malformed("the files of a snapshot are larger than any disk"))
}

fn snapshot_id(id: Option<v1::Id128>) -> Converted<SnapshotId> {
    Ok(SnapshotId(required(id, "snapshot id")?.into()))
}

fn state_of(state: SnapshotState) -> v1::SnapshotState {
    match state {
        SnapshotState::Receiving => v1::SnapshotState::Receiving,
        SnapshotState::Complete => v1::SnapshotState::Complete,
        SnapshotState::Refused => v1::SnapshotState::Refused,
        SnapshotState::Busy => v1::SnapshotState::Busy,
    }
}

fn snapshot_state_of(state: v1::SnapshotState) -> Converted<SnapshotState> {
    Ok(match state {
        v1::SnapshotState::Receiving => SnapshotState::Receiving,
        v1::SnapshotState::Complete => SnapshotState::Complete,
        v1::SnapshotState::Refused => SnapshotState::Refused,
        v1::SnapshotState::Busy => SnapshotState::Busy,
        v1::SnapshotState::Unspecified => return Err(BadMessage::malformed("snapshot state is not set")),
    })
}
