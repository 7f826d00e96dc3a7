//! Messages of the support link, and the only place where their numbers are raw.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use bytes::Bytes;
use holdfast_proto::convert::BadMessage;
use holdfast_proto::v1;
use holdfast_types::bounds::at_most;
use holdfast_types::{Generation, Incarnation, LogCounter, Moment, StoreId, limits};
use prost::Message as _;

use crate::core::seen::{Outdated, Seen};

/// The version that this program writes, and the only one that it reads.
pub(super) const VERSION: u32 = 1;

/// What one store tells another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Told {
    /// Who speaks, and how far its log has come.
    pub(super) said: Seen,
    /// Its wall clock; 0: not told.
    pub(super) wall_ms: u64,
    pub(super) question: Option<Question>,
    pub(super) answer: Option<Answer>,
    pub(super) refusal: Option<Refusal>,
}

/// Asks for a promise.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Question {
    /// By the asker's clock.
    pub(super) asked_at: Moment,
    pub(super) wants_promise: bool,
    /// The newest answer that the asker has from us: of which incarnation, and when we gave it by our clock.
    pub(super) echo: (Incarnation, Moment),
    pub(super) disk_full: bool,
    pub(super) hears_streams: bool,
}

/// Answers a question.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Answer {
    /// Who asked,
    pub(super) asker: Incarnation,
    /// and when by its clock.
    pub(super) asked_at: Moment,
    /// By the clock of whoever answers: only ever given back to it.
    pub(super) answered_at: Moment,
    /// `None`: no promise.
    pub(super) generation: Option<Generation>,
}

/// More was seen of the asker than it knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Refusal {
    pub(super) asker: Incarnation,
    pub(super) seen: Seen,
}

impl Told {
    /// The bytes on the wire.
    pub(super) fn encode(&self) -> Bytes {
        let message = v1::SupportMessage {
            version: VERSION,
            incarnation: self.said.incarnation.0,
            question: self.question.map(Question::to_wire),
            answer: self.answer.map(Answer::to_wire),
            started_at: self.said.started_at,
            counter: self.said.counter,
            refusal: self.refusal.map(Refusal::to_wire),
            wall_ms: self.wall_ms,
        };
        message.encode_to_vec().into()
    }

    /// Reads what [`Told::encode`] wrote. `from`: whose connection brought it.
    pub(super) fn decode(from: StoreId, bytes: &Bytes) -> Result<Self, BadMessage> {
        let message = v1::SupportMessage::decode(bytes.clone())?;
        if message.version != VERSION {
            let found = message.version;
            return Err(BadMessage::UnknownVersion { what: "heartbeat", found, known: VERSION });
        }
        Ok(Self {
            said: Seen {
                incarnation: Incarnation::told(message.incarnation)?,
                started_at: LogCounter::told(message.started_at)?.0,
                counter: LogCounter::told(message.counter)?.0,
            },
            wall_ms: at_most("a wall clock", message.wall_ms, limits::MAX_TOLD_WALL_MS)?,
            question: message.question.map(Question::from_wire).transpose()?,
            answer: message.answer.map(Answer::from_wire).transpose()?,
            refusal: message.refusal.map(|refusal| Refusal::from_wire(from, refusal)).transpose()?,
        })
    }
}

/// A reading of a monotonic clock, which counts microseconds from the start of a machine.
fn moment(raw: u64) -> Result<Moment, BadMessage> {
    Ok(Moment(at_most("a moment", raw, limits::MAX_TOLD)?))
}

impl Question {
    fn to_wire(self) -> v1::SupportQuestion {
        v1::SupportQuestion {
            asked_at: self.asked_at.0,
            wants_promise: self.wants_promise,
            echo_incarnation: self.echo.0.0,
            echo_answered_at: self.echo.1.0,
            disk_full: self.disk_full,
            hears_streams: self.hears_streams,
        }
    }

    fn from_wire(question: v1::SupportQuestion) -> Result<Self, BadMessage> {
        Ok(Self {
            asked_at: moment(question.asked_at)?,
            wants_promise: question.wants_promise,
            echo: (Incarnation::told(question.echo_incarnation)?, moment(question.echo_answered_at)?),
            disk_full: question.disk_full,
            hears_streams: question.hears_streams,
        })
    }
}

impl Answer {
    fn to_wire(self) -> v1::SupportAnswer {
        v1::SupportAnswer {
            asker_incarnation: self.asker.0,
            asked_at: self.asked_at.0,
            answered_at: self.answered_at.0,
            generation: self.generation.unwrap_or_default().0,
        }
    }

    fn from_wire(answer: v1::SupportAnswer) -> Result<Self, BadMessage> {
        let generation = Generation::told(answer.generation)?;
        Ok(Self {
            asker: Incarnation::told(answer.asker_incarnation)?,
            asked_at: moment(answer.asked_at)?,
            answered_at: moment(answer.answered_at)?,
            generation: (generation != Generation::default()).then_some(generation),
        })
    }
}

impl Refusal {
    fn to_wire(self) -> v1::SupportRefusal {
        v1::SupportRefusal {
            asker_incarnation: self.asker.0,
            seen_incarnation: self.seen.incarnation.0,
            seen_counter: self.seen.counter,
        }
    }

    fn from_wire(from: StoreId, refusal: v1::SupportRefusal) -> Result<Self, BadMessage> {
        let Outdated { incarnation, counter, .. } =
            Outdated::told(from, refusal.seen_incarnation, refusal.seen_counter)?;
        let seen = Seen { incarnation, started_at: 0, counter };
        Ok(Self { asker: Incarnation::told(refusal.asker_incarnation)?, seen })
    }
}
