//! The first frames of connections, from whoever may send them: what the crate `holdfast-hostile` feeds. No sockets here.

use bytes::Bytes;
use holdfast_proto::v1;
use holdfast_types::{FleetId, Incarnation, SiteName, StoreId, limits};
use prost::Message;

use crate::handshake::{self, Addresses, Format, Identity, Incarnations, Presence, Process};
use crate::support::frame::{FrameReader, FrameWriter};

/// The store that hears all of it.
#[must_use]
pub fn identity(store: u64) -> Identity {
    Identity {
        fleet: FleetId(7),
        store: StoreId(store),
        incarnation: Incarnation(3),
        process: Process { number: 77, started_at: 100 },
        site: SiteName::new("a").expect("a legal name"),
        addresses: Addresses { client: "h:1".into(), store_to_store: "h:2".into() },
        formats: vec![Format { name: "messages".into(), oldest: 1, newest: 2 }],
    }
}

/// What another store's first frame looks like, and what answers it: for seeds.
#[must_use]
pub fn first_frames() -> Vec<(&'static str, Bytes)> {
    let frames = [
        ("hello", handshake::hello(&identity(2), StoreId(1), v1::LinkClass::Log)),
        ("hello of the support link", handshake::hello(&identity(2), StoreId(1), v1::LinkClass::Support)),
        ("welcome", handshake::welcome(&identity(2))),
        ("refusal", handshake::refused(&handshake::Refusal::OldIncarnation { newest: Incarnation(9) })),
        (
            "another site",
            handshake::refused(&handshake::Refusal::NotItsSite {
                certificate: SiteName::new("b").expect("a legal name"),
                said: SiteName::new("c").expect("a legal name"),
            }),
        ),
        ("put back", handshake::refused(&handshake::Refusal::PutBack { newest: Incarnation(9), counter: 700 })),
    ];
    frames.map(|(name, frame)| (name, frame.encode_to_vec().into())).into()
}

/// Judges frames as one store does all its life.
pub struct Judge {
    own: Identity,
    incarnations: Incarnations,
    open: Vec<Presence>,
}

impl Default for Judge {
    fn default() -> Self {
        let incarnations = Incarnations::default();
        incarnations.remember(StoreId(2), Incarnation(2), 50);
        Self { own: identity(1), incarnations, open: Vec::new() }
    }
}

impl Judge {
    /// A caller's first frame. Returns what it is answered.
    ///
    /// # Panics
    /// When the answer does not fit into a frame, or too much is remembered.
    pub fn hello(&mut self, bytes: &[u8]) -> Option<Bytes> {
        let frame = v1::LinkFrame::decode(bytes).ok()?;
        let _ = handshake::introduction(&self.own, &self.incarnations, &frame, None);
        let answer = match handshake::judge_hello(&self.own, &self.incarnations, frame, None) {
            Ok(caller) => {
                self.open.push(self.incarnations.presence(caller.store, caller.process));
                self.incarnations.note(caller.store, caller.incarnation, limits::MAX_COUNTED);
                handshake::welcome(&self.own)
            }
            Err(refusal) => handshake::refused(&refusal),
        };
        let answer: Bytes = answer.encode_to_vec().into();
        FrameWriter::default().push(&answer).expect("an answer fits into a frame");
        assert!(self.incarnations.len() <= limits::UNPROVED_STORES + 1, "names that were made up are bounded");
        Some(answer)
    }

    /// The answer to a hello of ours. A store that believes what it says of it goes on from there, as its next start does.
    ///
    /// # Panics
    /// When it cannot go on.
    pub fn answer(&mut self, bytes: &[u8], of_a_stranger: bool) {
        let Ok(frame) = v1::LinkFrame::decode(bytes) else { return };
        let expected = StoreId(if of_a_stranger { 9 } else { 2 });
        let _ = handshake::judge_answer(&self.own, &self.incarnations, expected, frame);
        if let Some(seen) = self.incarnations.refused() {
            self.own.incarnation = self.own.incarnation.max(seen.incarnation.next());
            self.own.process.started_at = self.own.process.started_at.max(seen.counter) + 1;
            let again = handshake::hello(&self.own, StoreId(2), v1::LinkClass::Control);
            let taken = handshake::judge_hello(&identity(2), &Incarnations::default(), again, None);
            assert!(taken.is_ok(), "whoever believes what it is told is still taken: {taken:?}");
        }
    }
}

/// What is read from one connection of the support port, read by read.
///
/// # Panics
/// When an answer does not fit into a frame.
pub fn support_connection<'a>(reads: impl Iterator<Item = &'a [u8]>) {
    let (mut judge, mut reader, mut greeted) = (Judge::default(), FrameReader::default(), false);
    for read in reads {
        reader.extend(read);
        loop {
            match reader.next() {
                Ok(Some(frame)) if greeted => drop(frame),
                Ok(Some(frame)) => greeted = judge.hello(&frame).is_some(),
                Ok(None) => break,
                Err(_) => return,
            }
        }
    }
}
