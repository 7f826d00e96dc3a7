//! What clients ask: the messages of a stream, and each of the single requests.

use holdfast_proto::convert::common::outcome;
use holdfast_proto::convert::kv as convert;
use holdfast_proto::v1;
use holdfast_types::{Located, RangeRequest, limits, validate};
use prost::Message;

use crate::pieces;
use crate::store::Store;

/// Each piece is a message of a client's stream; the calls in it are asked of a store, and their answers go over the wire. With an odd
/// tag it is a message of a store's half, as a client takes it.
pub(crate) fn client_stream(input: &[u8]) {
    let mut store = Store::founded();
    for piece in pieces::cut(input) {
        if piece.tag & 1 == 1 {
            let Ok(message) = v1::StreamResponse::decode(piece.bytes) else { continue };
            for answer in message.answers {
                let _ = answer.response.map(outcome);
            }
            for notice in message.notices {
                let _ = Located::try_from(notice);
            }
            continue;
        }
        let Ok(message) = v1::StreamRequest::decode(piece.bytes) else { continue };
        for call in message.calls.into_iter().take(4) {
            if let Some(Ok(request)) = call.request.map(RangeRequest::try_from) {
                ask(&mut store, request, call.timeout_ms.into());
            }
        }
    }
    store.run(2_000);
    store.restart();
}

/// Each piece is a single request; its tag says which.
pub(crate) fn client_requests(input: &[u8]) {
    let mut store = Store::founded();
    for piece in pieces::cut(input) {
        let bytes = piece.bytes;
        let asked = match piece.tag % 8 {
            0 => v1::GetRequest::decode(bytes).ok().map(RangeRequest::from),
            1 => v1::BatchGetRequest::decode(bytes).ok().map(RangeRequest::from),
            2 => v1::PutRequest::decode(bytes).ok().and_then(|asked| asked.try_into().ok()),
            3 => v1::DeleteRequest::decode(bytes).ok().and_then(|asked| asked.try_into().ok()),
            4 => v1::CompareAndSetRequest::decode(bytes).ok().and_then(|asked| asked.try_into().ok()),
            5 => v1::AtomicBatchRequest::decode(bytes).ok().and_then(|asked| asked.try_into().ok()),
            6 => v1::DeleteRangeRequest::decode(bytes).ok().and_then(|asked| asked.try_into().ok()),
            _ => v1::ScanRequest::decode(bytes).ok().map(|scan| {
                let bounds = convert::bounds(convert::keyspace(scan.keyspace), &scan.start, scan.end.as_deref());
                let request = holdfast_types::Request::Scan {
                    bounds,
                    reverse: scan.reverse,
                    max_rows: limits::MAX_SCAN_ROWS,
                    max_bytes: limits::MAX_SCAN_BYTES,
                    at: holdfast_proto::convert::common::optional_timestamp(scan.at),
                    mode: holdfast_proto::convert::common::scan_mode(scan.mode),
                };
                RangeRequest { range: None, write: None, request }
            }),
        };
        if let Some(request) = asked {
            ask(&mut store, request, u64::from(piece.tag) * 100);
        }
    }
    store.run(2_000);
    store.restart();
}

fn ask(store: &mut Store, request: RangeRequest, timeout_ms: u64) {
    if validate(&request, limits::MAX_VALUE_BYTES).is_ok() {
        store.ask(request, timeout_ms);
        store.run(20);
    }
}
