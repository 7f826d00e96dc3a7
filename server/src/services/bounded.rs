//! Errors leave the client port in a size that every gRPC library takes, whichever service or library made them.

use holdfast_proto::careful::with_headers;
use holdfast_proto::convert::status;
use holdfast_types::limits;
use http::{HeaderMap, Response};
use tonic::Status;
use tonic::body::Body;

/// The headers of a status.
const OWN: [&str; 3] = ["grpc-status", "grpc-message", "grpc-status-details-bin"];

/// Bounds the error of a response, in its headers or in the trailers behind its messages.
pub fn bounded(response: Response<Body>) -> Response<Body> {
    with_headers(response, bound)
}

fn bound(headers: &mut HeaderMap) {
    let size: usize = OWN.iter().filter_map(|name| Some(name.len() + headers.get(*name)?.len())).sum();
    // Most of them; what is counted beside names and values cannot make up the rest.
    if size <= limits::MAX_STATUS_BYTES / 2 {
        return;
    }
    let Some(mut status) = Status::from_header_map(headers) else { return };
    // What else is in the headers stays there.
    status.metadata_mut().clear();
    for name in OWN {
        headers.remove(name);
    }
    // It holds nothing but what was a header before.
    let _ = status::bounded(status).add_header(headers);
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use holdfast_proto::convert::status::{from_status, to_status};
    use holdfast_types::{Key, KeyspaceId, Rejected};
    use http_body_util::{BodyExt as _, Full};
    use tonic::Code;

    use super::*;

    /// All of what gRPC libraries count: 8 KiB of it are refused at their defaults.
    fn size(headers: &HeaderMap) -> usize {
        headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum()
    }

    fn check(headers: &HeaderMap, code: Code) -> Status {
        assert!(size(headers) < 4 << 10, "{} bytes", size(headers));
        let status = Status::from_header_map(headers).unwrap();
        assert_eq!((status.code(), headers["x-other"].to_str().unwrap()), (code, "stays"));
        status
    }

    fn headers_of(status: &Status) -> HeaderMap {
        let mut headers = HeaderMap::new();
        status.add_header(&mut headers).unwrap();
        headers.insert("x-other", "stays".parse().unwrap());
        headers
    }

    #[tokio::test]
    async fn an_error_is_bounded_wherever_it_was_made() {
        let made = Status::not_found(format!("there is no keyspace {:?}", "\u{7f}".repeat(100_000)));
        let mut response = Response::new(Body::empty());
        *response.headers_mut() = headers_of(&made);
        let sent = bounded(response);
        let status = check(sent.headers(), Code::NotFound);
        assert!(status.message().starts_with("there is no keyspace"), "{}", status.message());

        let trailers = headers_of(&made);
        let page = Full::new(Bytes::from_static(b"page"));
        let body = Body::new(page.with_trailers(async { Some(Ok(trailers)) }));
        let sent = bounded(Response::new(body)).into_body().collect().await.unwrap();
        check(sent.trailers().unwrap(), Code::NotFound);
        assert_eq!(sent.to_bytes(), "page");
    }

    #[test]
    fn what_is_small_is_left_as_it_is() {
        let refused = Rejected::SpansRanges { split_key: Key::bound(KeyspaceId(1), b"m") };
        let whole = headers_of(&to_status(refused.clone()));
        let mut sent = whole.clone();
        bound(&mut sent);
        assert_eq!(sent, whole);
        assert_eq!(from_status(&check(&sent, Code::FailedPrecondition)), Some(refused));
    }
}
