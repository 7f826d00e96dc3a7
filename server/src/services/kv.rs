//! The public service: unary calls and scans for thin clients, the stream for ours.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::sync::Arc;
use std::time::Duration;

use holdfast_client::core::spanning::{ScanPager, ScanPart};
use holdfast_edge::budget::Charge;
use holdfast_edge::layer::TakenBy;
use holdfast_edge::ledger::Ledger;
use holdfast_kv::core::rights::Asker;
use holdfast_proto::convert::BadMessage;
use holdfast_proto::convert::common::scan_mode;
use holdfast_proto::convert::kv as convert;
use holdfast_proto::convert::status::to_status;
use holdfast_proto::v1;
use holdfast_proto::v1::kv_server::Kv;
use holdfast_types::validate::validate;
use holdfast_types::{Key, KeyRange, RangeRequest, Rejected, Request as Asked, Response as Answer, Timestamp, limits};
use prost::Message as _;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::allowed::{Witness, authority_of};
use super::caller::Caller;
use super::{repeat, spanning, stream};
use crate::running::{Running, ServerState};

/// Pages of a scan that a slow client may lag behind.
const SCAN_PAGES_AHEAD: usize = 2;
/// What a page takes at most, but for its last row; it is charged before it is read.
const PAGE_BYTES: usize = limits::MAX_SCAN_BYTES as usize;

/// The public service of one store.
pub struct KvService {
    /// What the services share.
    pub state: Arc<ServerState>,
}

fn rejected(bad: BadMessage) -> Status {
    to_status(Rejected::invalid(bad.to_string()))
}

/// The time that a caller gives, by its gRPC deadline.
fn patience<T>(request: &Request<T>) -> Duration {
    let header = request.metadata().get("grpc-timeout").and_then(|value| value.to_str().ok());
    header.and_then(parse_timeout).unwrap_or(limits::DEFAULT_DEADLINE).min(limits::MAX_DEADLINE)
}

/// `grpc-timeout` as the gRPC protocol over HTTP/2 defines it: up to 8 digits and a unit.
fn parse_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(u64::saturating_mul(count, 3_600))),
        "M" => Some(Duration::from_secs(u64::saturating_mul(count, 60))),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

impl KvService {
    /// Who asks, and who sees it when he is refused.
    fn asker<Q>(&self, request: &Request<Q>) -> (Asker, Witness) {
        let caller = Caller::of(request.extensions());
        (Asker::new(authority_of(&caller)), Witness::new(&self.state, caller))
    }

    async fn ask<Q, A>(&self, request: Request<Q>) -> Result<Response<A>, Status>
    where
        RangeRequest: TryFrom<Q>,
        BadMessage: From<<RangeRequest as TryFrom<Q>>::Error>,
        A: TryFrom<Answer, Error = BadMessage>,
    {
        let running = self.state.member()?;
        let (client, deadline) = (Ledger::of(request.extensions()), Instant::now() + patience(&request));
        let (mut asker, witness) = self.asker(&request);
        let asked = RangeRequest::try_from(request.into_inner()).map_err(|bad| rejected(bad.into()))?;
        let answer = repeat::ask(&running, &mut asker, Some(&client), asked, deadline).await;
        witness.saw(&answer);
        let answer = answer.map_err(to_status)?;
        Ok(Response::new(answer.try_into().map_err(|bad: BadMessage| Status::internal(bad.to_string()))?))
    }
}

#[tonic::async_trait]
impl Kv for KvService {
    type ScanStream = ReceiverStream<Result<v1::ScanResponse, Status>>;
    type StreamStream = ReceiverStream<Result<v1::StreamResponse, Status>>;

    async fn get(&self, request: Request<v1::GetRequest>) -> Result<Response<v1::GetResponse>, Status> {
        self.ask(request).await
    }

    async fn put(&self, request: Request<v1::PutRequest>) -> Result<Response<v1::WriteResponse>, Status> {
        self.ask(request).await
    }

    async fn delete(&self, request: Request<v1::DeleteRequest>) -> Result<Response<v1::WriteResponse>, Status> {
        self.ask(request).await
    }

    async fn compare_and_set(
        &self,
        request: Request<v1::CompareAndSetRequest>,
    ) -> Result<Response<v1::WriteResponse>, Status> {
        self.ask(request).await
    }

    async fn atomic_batch(
        &self,
        request: Request<v1::AtomicBatchRequest>,
    ) -> Result<Response<v1::WriteResponse>, Status> {
        self.ask(request).await
    }

    async fn batch_get(&self, request: Request<v1::BatchGetRequest>) -> Result<Response<v1::BatchGetResponse>, Status> {
        let running = self.state.member()?;
        let (client, deadline) = (Ledger::of(request.extensions()), Instant::now() + patience(&request));
        let (mut asker, witness) = self.asker(&request);
        let asked = RangeRequest::from(request.into_inner());
        validate(&asked, limits::MAX_VALUE_BYTES).map_err(to_status)?;
        let Asked::Get { keys, at } = asked.request else { return Err(Status::internal("a batch get is a get")) };
        let answer = spanning::get(&running, &mut asker, &client, &keys, at, deadline).await;
        let answer = answer.map(|values| Answer::Got { values });
        witness.saw(&answer);
        let answer = answer.map_err(to_status)?;
        Ok(Response::new(answer.try_into().map_err(|bad: BadMessage| Status::internal(bad.to_string()))?))
    }

    async fn delete_range(
        &self,
        request: Request<v1::DeleteRangeRequest>,
    ) -> Result<Response<v1::DeleteRangeResponse>, Status> {
        self.ask(request).await
    }

    async fn scan(&self, request: Request<v1::ScanRequest>) -> Result<Response<Self::ScanStream>, Status> {
        let running = self.state.member()?;
        let (client, deadline) = (Ledger::of(request.extensions()), Instant::now() + patience(&request));
        let (asker, witness) = self.asker(&request);
        let scan = Scan { running, asker, witness, client, deadline };
        let (pages, stream) = mpsc::channel(SCAN_PAGES_AHEAD);
        tokio::spawn(scan.run(request.into_inner(), pages));
        let mut response = Response::new(ReceiverStream::new(stream));
        response.extensions_mut().insert(TakenBy(deadline.into_std()));
        Ok(response)
    }

    async fn stream(
        &self,
        request: Request<Streaming<v1::StreamRequest>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        let running = self.state.member()?;
        let client = Ledger::of(request.extensions());
        let (asker, witness) = self.asker(&request);
        Ok(Response::new(stream::serve(running, asker, witness, client, request.into_inner())))
    }
}

/// A scan of somebody.
struct Scan {
    running: Arc<Running>,
    asker: Asker,
    witness: Witness,
    client: Arc<Ledger>,
    deadline: Instant,
}

impl Scan {
    /// Reads page after page until the rows, the bytes, the client or its deadline end. A page is read once there is a place for it: a scan
    /// that nobody reads holds a few pages, and reads no more. Each page is judged anew: who loses his right meanwhile reads no further.
    async fn run(mut self, request: v1::ScanRequest, pages: Pages) {
        let bounds = convert::bounds(convert::keyspace(request.keyspace), &request.start, request.end.as_deref());
        let at = (request.at != 0).then_some(Timestamp::compared(request.at));
        let mut pager =
            ScanPager::new(bounds.clone(), request.reverse, at, (request.max_rows != 0).then_some(request.max_rows))
                .within(request.part.filter(|part| part.at != 0).map(|part| part_of(part, request.keyspace)))
                .with_mode(scan_mode(request.mode));
        let mut bytes_left = if request.max_bytes == 0 { u64::MAX } else { request.max_bytes };
        while let Some(asked) = pager.next_request() {
            let asked = RangeRequest { range: None, write: None, request: asked };
            let answer = tokio::select! {
                answer = self.page(asked, &pages) => answer,
                // The client has gone, or does not take what it was answered.
                () = pages.closed() => return,
            };
            let (place, held, page) = match answer {
                Some(Page { place, held: Some(held), answer: Ok(page) }) => (place, held, page),
                Some(Page { place, answer, .. }) => {
                    self.witness.saw(&answer);
                    let error = answer.err().unwrap_or(Rejected::DeadlineExceeded);
                    return place.send(Err(to_status(error)));
                }
                // The deadline came, and there is no place for a word about it.
                None => return,
            };
            let (next, at) = match &page {
                Answer::Scanned { resume, at, .. } => (resume.clone(), at.0),
                _ => (None, 0),
            };
            let before = pager.counted();
            let Ok(rows) = pager.take(page) else {
                return place.send(Err(Status::internal("a page of rows was expected")));
            };
            let sizes = rows.iter().flat_map(|row| [row.key.user_key().len(), row.value.value.len()]);
            let size = sizes.fold(0, usize::saturating_add);
            bytes_left = bytes_left.saturating_sub(u64::try_from(size).unwrap_or(u64::MAX));
            let resume = next.filter(|next| goes_on(&bounds, request.reverse, next));
            let message = v1::ScanResponse {
                rows: rows.into_iter().map(Into::into).collect(),
                counted: pager.counted().saturating_sub(before),
                resume: resume.as_ref().map(convert::user_key),
                at,
                part: pager.part().filter(|_| resume.is_some()).map(part_message),
            };
            self.client.owe_held(held, message.encoded_len());
            place.send(Ok(message));
            if bytes_left == 0 {
                return;
            }
        }
    }

    /// A place for a page, room for it, and then the page. `None`: there was no place before the deadline.
    async fn page<'a>(&mut self, asked: RangeRequest, pages: &'a Pages) -> Option<Page<'a>> {
        let place = tokio::time::timeout_at(self.deadline, pages.reserve()).await.ok()?.ok()?;
        let held = self.client.charge_by(PAGE_BYTES, self.deadline).await;
        let answer = match held {
            // It is paid for already.
            Some(_) => repeat::ask(&self.running, &mut self.asker, None, asked, self.deadline).await,
            None => Err(Rejected::DeadlineExceeded),
        };
        Some(Page { place, held, answer })
    }
}

type Pages = mpsc::Sender<Result<v1::ScanResponse, Status>>;

/// A page, the place where it goes, and what is charged for it: [`PAGE_BYTES`], which are not the client's to take before it is there.
struct Page<'a> {
    place: mpsc::Permit<'a, Result<v1::ScanResponse, Status>>,
    held: Option<Charge>,
    answer: Result<Answer, Rejected>,
}

fn part_of(part: v1::ScanPart, keyspace: u32) -> ScanPart {
    let until = part.until.map(|until| Key::bound(convert::keyspace(keyspace), &until));
    ScanPart { at: Timestamp::compared(part.at), until }
}

fn part_message(part: &ScanPart) -> v1::ScanPart {
    v1::ScanPart { at: part.at.0, until: part.until.as_ref().map(convert::user_key) }
}

/// Whether a scan of these bounds has something to read after a page that stopped before `next`, or with `reverse` at it.
fn goes_on(bounds: &KeyRange, reverse: bool, next: &Key) -> bool {
    if reverse { *next > bounds.start } else { bounds.is_before_end(next) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grpc_timeout_has_digits_and_a_unit() {
        assert_eq!(parse_timeout("250m"), Some(Duration::from_millis(250)));
        assert_eq!(parse_timeout("1H"), Some(Duration::from_secs(3_600)));
        for bad in ["", "m", "123456789S", "5x", "-1S", "+1S", "1 S", "1\u{eb}", "\u{661}S"] {
            assert_eq!(parse_timeout(bad), None, "{bad}");
        }
        assert_eq!(parse_timeout("99999999H"), Some(Duration::from_secs(99_999_999 * 3_600)), "the longest");
        for damaged in crate::damage::versions_of(b"12345678m") {
            let _ = std::str::from_utf8(&damaged).map(parse_timeout);
        }
    }
}
