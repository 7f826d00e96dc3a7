//! Requests of thin clients, sent again within the store where that is safe: who knows nothing of ranges cannot follow a leader
//! that moved, or a range that was cut, a moment ago.
//!
//! A read is sent again until its deadline. A write is sent again after a refusal which says for certain that nothing was
//! done and that it belongs elsewhere; it is the same attempt then, because nobody has evaluated it. And only for as long as a
//! store waits for a leader anyway: a definite refusal in time is worth more to a writer than its own deadline, after which
//! nobody knows what became of the write.
//!
//! A write whose attempt was lost on the way (its leader fell silent) is sent again if it has a request id: as the next attempt, as
//! the caller itself would, and until its deadline. From then on a refusal says nothing of the attempt that is lost, so the caller
//! hears of one only as an unknown outcome.

use std::sync::Arc;
use std::time::Duration;

use holdfast_edge::ledger::Ledger;
use holdfast_kv::core::rights::Asker;
use holdfast_kv::core::routing::Page;
use holdfast_types::{RangeEpoch, RangeId, RangeRequest, Rejected, Request, Response, WriteAttempt, limits};
use tokio::time::Instant;

use crate::running::Running;

/// How long to wait before a request is sent again, unless the refusal says it.
const AGAIN_AFTER: Duration = Duration::from_millis(25);

/// Asks the store on behalf of `client`, who is charged for the answer, until the answer is one for the caller. Each time it is judged anew
/// whether he may.
pub async fn ask(
    running: &Running,
    asker: &mut Asker,
    client: Option<&Arc<Ledger>>,
    request: RangeRequest,
    deadline: Instant,
) -> Result<Response, Rejected> {
    let mut call = Call {
        is_write: request.request.is_write(),
        write: request.write,
        is_uncertain: false,
        begun: Instant::now(),
        deadline,
        in_the_way: None,
    };
    // Room for an answer that had none when it came: it is read again once there is.
    let mut room = None;
    loop {
        let range = last_range(running, &request.request);
        let asked = RangeRequest { range, write: call.write, request: request.request.clone() };
        let wait = deadline.saturating_duration_since(Instant::now());
        let charged = client.filter(|_| room.is_none());
        let outcome = running.ask_for(charged, asked, asker, wait).await;
        if let (Some(client), Some(room), Ok(answer)) = (client, room.take(), &outcome) {
            client.owe_held(room, answer.size_bytes());
        }
        if outcome.is_err()
            && let Some((client, bytes)) = client.and_then(|client| Some((client, client.take_refused()?)))
        {
            room = if call.is_write { None } else { client.charge_by(bytes, deadline).await };
            if room.is_none() {
                // The client has not taken what it was answered: asking again would only read it again.
                return outcome.map_err(|rejected| call.said(rejected));
            }
            continue;
        }
        match call.take(outcome, Instant::now()) {
            Next::Again(rejected, _) if *running.stopped.borrow() => return Err(call.said(rejected)),
            Next::Again(rejected, wait) => {
                call.in_the_way = Some(rejected);
                tokio::time::sleep(wait).await;
            }
            Next::Answer(outcome) => return outcome,
        }
    }
}

/// A request, while it is sent as often as it takes.
struct Call {
    is_write: bool,
    /// What makes the write exactly-once: the attempt that is sent next.
    write: Option<WriteAttempt>,
    /// An attempt of the write is lost: it may have been applied.
    is_uncertain: bool,
    begun: Instant,
    deadline: Instant,
    /// Why it was sent again the last time.
    in_the_way: Option<Rejected>,
}

/// What an outcome leads to.
#[derive(PartialEq, Eq, Debug)]
enum Next {
    /// This is for the caller.
    Answer(Result<Response, Rejected>),
    /// It was refused for this reason, and is sent again after this long.
    Again(Rejected, Duration),
}

impl Call {
    fn take(&mut self, outcome: Result<Response, Rejected>, now: Instant) -> Next {
        let rejected = match outcome {
            // What was in the way says more than that time ran out.
            Err(Rejected::DeadlineExceeded) => self.in_the_way.take().unwrap_or(Rejected::DeadlineExceeded),
            Err(rejected) if self.may_go_on(&rejected, now) => {
                let wait = match &rejected {
                    Rejected::Busy { retry_after } => AGAIN_AFTER.max(*retry_after),
                    _ => AGAIN_AFTER,
                };
                if self.deadline.saturating_duration_since(now) > wait {
                    self.note_lost(&rejected);
                    return Next::Again(rejected, wait);
                }
                rejected
            }
            Err(rejected) => rejected,
            Ok(response) => return Next::Answer(Ok(response)),
        };
        Next::Answer(Err(self.said(rejected)))
    }

    /// An outcome that is not known: the next attempt leaves a record even if it writes nothing, so that what is lost finds it.
    fn note_lost(&mut self, rejected: &Rejected) {
        if let Some(write) = self.write.as_mut().filter(|_| rejected.is_ambiguous()) {
            write.attempt = write.attempt.saturating_add(1);
            self.is_uncertain = true;
        }
    }

    /// A refusal as the caller may hear it.
    fn said(&self, rejected: Rejected) -> Rejected {
        if self.is_uncertain && !rejected.is_ambiguous() {
            return Rejected::Ambiguous(format!("an attempt is lost, and a later one was refused: {rejected}"));
        }
        rejected
    }

    fn may_go_on(&self, rejected: &Rejected, now: Instant) -> bool {
        if self.is_uncertain || (rejected.is_ambiguous() && self.write.is_some()) {
            // Only the record of the write can tell what became of it.
            rejected.may_retry() && !matches!(rejected, Rejected::PastLastMoment { .. })
        } else if self.is_write {
            let belongs_elsewhere = matches!(rejected, Rejected::NotLeader { .. } | Rejected::WrongRange { .. });
            belongs_elsewhere && now.saturating_duration_since(self.begun) < limits::WAIT_FOR_LEADER
        } else {
            rejected.may_retry()
        }
    }
}

/// A reverse scan begins in the range that holds its last keys, which its start does not tell.
fn last_range(running: &Running, request: &Request) -> Option<(RangeId, RangeEpoch)> {
    let Request::Scan { bounds, reverse: true, .. } = request else { return None };
    let page = Page { reverse: true, limit: 1, max_bytes: limits::RANGES_PAGE_BYTES };
    let last = running.store.ranges_within(bounds, page, |_| true).0.pop()?;
    Some((last.descriptor.range, last.descriptor.epoch))
}

#[cfg(test)]
mod tests {
    use holdfast_types::{ClientId, RequestId, Sequence, Slot, Timestamp};

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(10);

    fn call(is_write: bool) -> Call {
        let begun = Instant::now();
        Call { is_write, write: None, is_uncertain: false, begun, deadline: begun + DEADLINE, in_the_way: None }
    }

    fn named_write() -> Call {
        let id = RequestId { client: ClientId(1), slot: Slot(1), sequence: Sequence(1) };
        Call { write: Some(WriteAttempt { id, attempt: 1, last_moment: Timestamp(1) }), ..call(true) }
    }

    fn not_leader() -> Rejected {
        Rejected::NotLeader { range: RangeId(7), leader: None }
    }

    fn wrong_range() -> Rejected {
        Rejected::WrongRange { known: Vec::new() }
    }

    /// What a refusal leads to, so long after the call began.
    fn refused(call: &mut Call, rejected: &Rejected, after: Duration) -> Next {
        let now = call.begun + after;
        call.take(Err(rejected.clone()), now)
    }

    #[test]
    fn a_moved_leader_or_range_is_followed_for_reads_and_writes() {
        for is_write in [false, true] {
            let mut call = call(is_write);
            for rejected in [not_leader(), wrong_range()] {
                let next = refused(&mut call, &rejected, Duration::from_millis(100));
                assert_eq!(next, Next::Again(rejected, AGAIN_AFTER));
            }
            let done = Ok(Response::Written { timestamp: Timestamp(1) });
            assert_eq!(call.take(done.clone(), call.begun), Next::Answer(done));
        }
    }

    #[test]
    fn a_write_is_not_sent_again_when_it_may_have_been_done_or_another_attempt_is_for_the_caller_to_make() {
        for rejected in [
            Rejected::Ambiguous("lost".into()),
            Rejected::Busy { retry_after: AGAIN_AFTER },
            Rejected::Unavailable("disk full".into()),
            Rejected::PastLastMoment { now: Timestamp(1) },
            Rejected::StaleSequence,
        ] {
            let next = refused(&mut call(true), &rejected, Duration::ZERO);
            assert_eq!(next, Next::Answer(Err(rejected)));
        }
    }

    #[test]
    fn a_named_write_whose_attempt_is_lost_is_sent_again_as_the_next_attempt_and_never_called_refused() {
        let mut write = named_write();
        let lost = Rejected::Ambiguous("the store is lost".into());
        for attempt in 2..4 {
            let next = refused(&mut write, &lost, Duration::from_secs(2));
            assert_eq!(next, Next::Again(lost.clone(), AGAIN_AFTER));
            assert_eq!(write.write.unwrap().attempt, attempt);
        }
        // Nobody leads for a while: the record must still be asked for, though a writer would have been answered long ago.
        let next = refused(&mut write, &not_leader(), Duration::from_secs(4));
        assert_eq!(next, Next::Again(not_leader(), AGAIN_AFTER));
        assert_eq!(write.write.unwrap().attempt, 3, "nobody has evaluated that one");
        for rejected in [
            Rejected::StaleSequence,
            Rejected::PastLastMoment { now: Timestamp(9) },
            Rejected::SpansRanges { split_key: holdfast_types::Key::MIN },
            Rejected::DeadlineExceeded,
        ] {
            let next = refused(&mut write, &rejected, Duration::from_secs(5));
            assert!(matches!(next, Next::Answer(Err(Rejected::Ambiguous(_)))), "{next:?}");
        }
        let late = refused(&mut write, &not_leader(), DEADLINE);
        assert!(matches!(late, Next::Answer(Err(Rejected::Ambiguous(_)))), "{late:?}");
        let done = Ok(Response::Written { timestamp: Timestamp(1) });
        assert_eq!(write.take(done.clone(), write.begun), Next::Answer(done));
    }

    #[test]
    fn a_writer_hears_of_a_missing_leader_no_later_than_from_a_store_that_waits_for_one() {
        let next = refused(&mut call(true), &not_leader(), limits::WAIT_FOR_LEADER);
        assert_eq!(next, Next::Answer(Err(not_leader())));
    }

    #[test]
    fn a_read_goes_on_until_its_deadline_and_then_says_what_was_in_the_way() {
        let mut reading = call(false);
        let busy = Rejected::Busy { retry_after: Duration::from_secs(2) };
        assert_eq!(
            refused(&mut reading, &busy, Duration::from_secs(7)),
            Next::Again(busy.clone(), Duration::from_secs(2))
        );
        assert_eq!(
            refused(&mut reading, &busy, Duration::from_secs(8)),
            Next::Answer(Err(busy)),
            "no time is left to wait"
        );
        reading.in_the_way = Some(not_leader());
        let late = refused(&mut reading, &Rejected::DeadlineExceeded, DEADLINE);
        assert_eq!(late, Next::Answer(Err(not_leader())));
        let late = refused(&mut call(false), &Rejected::DeadlineExceeded, DEADLINE);
        assert_eq!(late, Next::Answer(Err(Rejected::DeadlineExceeded)));
        let invalid = Rejected::invalid("no");
        assert_eq!(refused(&mut call(false), &invalid, Duration::ZERO), Next::Answer(Err(invalid)));
    }
}
