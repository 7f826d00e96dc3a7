//! The support port, and the first frames of streams.

use holdfast_raft_transport::hostile;

use crate::pieces;

/// What comes on a connection of the support port, in the pieces in which it was read.
pub(crate) fn support_frames(input: &[u8]) {
    let pieces = pieces::cut(input);
    hostile::support_connection(pieces.iter().map(|piece| &piece.bytes[..]));
    // The same without boundaries, as somebody who knows nothing of them would send it.
    hostile::support_connection([input].into_iter());
}

/// Each piece is a frame: a hello that is judged, or with an odd tag the answer to one of ours.
pub(crate) fn link_frames(input: &[u8]) {
    let mut judge = hostile::Judge::default();
    for piece in pieces::cut(input) {
        if piece.tag & 1 == 0 {
            judge.hello(&piece.bytes);
        } else {
            judge.answer(&piece.bytes, piece.tag & 2 != 0);
        }
    }
}
