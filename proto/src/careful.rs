//! Channels whose answers may come from anybody.
//!
//! tonic expects base64 in `grpc-status-details-bin` and panics on anything else, in the task that waits for the answer: one header from whoever
//! answers at a store's address would end the stream to it for good, or a client's task. [`careful`] takes such details away before tonic
//! looks: the status stays.

use http::{HeaderMap, HeaderName, HeaderValue, Response};
use http_body_util::BodyExt as _;
use tonic::body::Body;
use tonic::metadata::MetadataMap;
use tonic::transport::Channel;
use tower::util::MapResponse;

const DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");

/// A channel for stubs, wherever it leads.
pub type Careful = MapResponse<Channel, fn(Response<Body>) -> Response<Body>>;

/// Makes a channel fit for answers from anybody.
#[must_use]
pub fn careful(channel: Channel) -> Careful {
    MapResponse::new(channel, cleaned)
}

fn cleaned(response: Response<Body>) -> Response<Body> {
    with_headers(response, clean)
}

/// Does something to the headers of a response and to the trailers behind its messages: a status is in one or the other.
#[must_use]
pub fn with_headers(response: Response<Body>, change: fn(&mut HeaderMap)) -> Response<Body> {
    let (mut parts, body) = response.into_parts();
    change(&mut parts.headers);
    let body = body.map_frame(move |mut frame| {
        if let Some(trailers) = frame.trailers_mut() {
            change(trailers);
        }
        frame
    });
    Response::from_parts(parts, Body::new(body))
}

fn clean(headers: &mut HeaderMap) {
    if let Some(details) = headers.get(DETAILS)
        && !is_base64(details.clone())
    {
        headers.remove(DETAILS);
    }
}

/// By tonic's own reader, which returns an error elsewhere.
fn is_base64(details: HeaderValue) -> bool {
    let metadata = MetadataMap::from_headers(HeaderMap::from_iter([(DETAILS, details)]));
    metadata.get_bin(DETAILS.as_str()).is_some_and(|details| details.to_bytes().is_ok())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::Full;
    use tonic::{Code, Status};

    use super::*;

    fn headers(details: &'static [u8]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        Status::unavailable("why").add_header(&mut headers).unwrap();
        headers.insert(DETAILS, HeaderValue::from_bytes(details).unwrap());
        headers
    }

    #[tokio::test]
    async fn details_that_are_no_base64_are_taken_away_and_the_status_stays() {
        for hostile in [&b"!"[..], b"\xff", b"AAAA=A", b"A", b"AAA AAA"] {
            let trailers = headers(hostile);
            let body = Full::new(Bytes::new()).with_trailers(async { Some(Ok(trailers)) });
            let mut response = Response::new(Body::new(body));
            *response.headers_mut() = headers(hostile);
            let response = cleaned(response);
            let in_headers = Status::from_header_map(response.headers()).unwrap();
            let collected = response.into_body().collect().await.unwrap();
            let in_trailers = Status::from_header_map(collected.trailers().unwrap()).unwrap();
            for status in [in_headers, in_trailers] {
                assert_eq!((status.code(), status.message(), status.details()), (Code::Unavailable, "why", &[][..]));
            }
        }
    }

    #[test]
    fn details_of_ours_and_of_others_stay() {
        for (sent, details) in [(&b"AAEC"[..], &[0, 1, 2][..]), (b"AAE", &[0, 1]), (b"AAE=", &[0, 1]), (b"", &[])] {
            let mut headers = headers(sent);
            clean(&mut headers);
            assert_eq!(Status::from_header_map(&headers).unwrap().details(), details);
        }
    }
}
