//! Every bound of the system, with its reason. A queue, batch, buffer, timeout or retry without a name here is a defect.

use std::time::Duration;

mod export;
mod import;
mod rows;
mod trust;

pub use export::*;
pub use import::*;
pub use rows::*;
pub use trust::*;

// ---- keys, values, requests

/// A key is at most this long: longer ones make index blocks and bounds heavy.
pub const MAX_KEY_BYTES: usize = 4 << 10;
/// A value is at most this long by default: it must fit several times into one raft entry.
pub const MAX_VALUE_BYTES: usize = 1 << 20;
/// No configuration raises a value above this: it must fit into one message.
pub const HARD_MAX_VALUE_BYTES: usize = 4 << 20;
/// Keys of one batch, batch get or atomic batch.
pub const MAX_BATCH_KEYS: usize = 4_096;
/// Bytes of the values that one get answers: with the other answers that share its message they must fit into one message.
pub const MAX_GET_BYTES: usize = 6 << 20;
/// Bytes of one atomic batch: must fit into one raft entry.
pub const MAX_BATCH_BYTES: usize = 4 << 20;
/// One message of any of our protocols, with room for the largest batch and its envelope.
pub const MAX_MESSAGE_BYTES: usize = 8 << 20;
/// Fields of one request, those of messages within it counted: the largest batch has a tenth, a full message of the smallest calls a half.
pub const MAX_REQUEST_FIELDS: usize = 1 << 18;
/// Replicas of one range, those that come and go counted: a policy has 9 at most, and all of them may move at a time.
pub const MAX_REPLICAS: usize = 64;
/// Rows of one page of a scan.
pub const MAX_SCAN_ROWS: u32 = 10_000;
/// Bytes of one page of a scan.
pub const MAX_SCAN_BYTES: u32 = 1 << 20;
/// How long a command that waits for a fleet waits unless it is told otherwise.
pub const COMMAND_WAITS: Duration = Duration::from_secs(300);
/// Pause between two looks of a command that waits for a fleet.
pub const COMMAND_LOOKS_EVERY: Duration = Duration::from_millis(500);
/// A fleet counts as balanced when nothing has moved in it for so long: placement moves a leader again, for balance alone, after 5 s.
pub const BALANCED_WHEN_STILL_FOR: Duration = Duration::from_secs(10);
/// Voters of a range, where the policy says nothing else.
pub const USUAL_VOTERS: usize = 3;
/// Keys that a command which was given many of them asks for at a time.
pub const COMMAND_READS_AHEAD: usize = 64;
/// Bytes of keys and values that one page of a scan walks over whose values are not brought: they may lie on the disk, and a reader is not held
/// up by one page for long.
pub const SCAN_MAX_READ_BYTES: usize = 8 << 20;
/// Keys without a visible value that one page of a scan walks over before it returns what it has.
pub const SCAN_MAX_SKIPPED: u32 = 10_000;
/// Keys that one page of a delete range removes, atomically.
pub const DELETE_RANGE_PAGE_KEYS: u32 = 1_000;
/// Message and details of a gRPC status, in the bytes of its headers: gRPC libraries refuse headers of more than 8 KiB altogether unless
/// they are told otherwise, and a refusal that cannot be read says nothing. With the headers that go with it it stays under 4 KiB.
pub const MAX_STATUS_BYTES: usize = 3_584;
/// A key is shown up to here in sentences, logs and events: enough to know it again.
pub const SHOWN_KEY_BYTES: usize = 64;
/// A deadline further ahead than this is cut to it.
pub const MAX_DEADLINE: Duration = Duration::from_secs(60);
/// The deadline of a request that names none.
pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(10);

// ---- exactly once

/// Slots of one client: bounds the completion records that it can cause.
pub const MAX_SLOTS: u16 = 1_024;
/// A write's last moment lies at most this far ahead: bounds how long its record must be kept.
pub const MAX_LAST_MOMENT_AHEAD: Duration = Duration::from_secs(60);
/// Completion records that a leader keeps in memory for one range; one that is not there costs a look-up.
pub const SLOT_CACHE_RECORDS: usize = 16_384;
/// A store whose wall clock is further than this from the majority's does not lead.
pub const MAX_CLOCK_OFFSET: Duration = Duration::from_millis(MAX_CLOCK_OFFSET_MS.unsigned_abs());
/// The same as a difference of clocks, which has a sign.
pub const MAX_CLOCK_OFFSET_MS: i64 = 500;
/// Fleet time follows clocks that are further ahead than [`MAX_CLOCK_OFFSET`] once they have been for so long: a clock that is set wrong
/// for a moment, even on all stores at once, moves nothing; one that was set right is followed before anybody has to wait for it.
pub const CLOCK_STEP_AFTER: Duration = Duration::from_secs(10);

// ---- numbers from outside: each is checked once, where its message or record is decoded

/// Terms, indexes, epochs, incarnations, sequences, counters: nothing that counts ever gets there (a million a second for 146,000
/// years), and any two of them can be added.
pub const MAX_COUNTED: u64 = 1 << 62;
/// The same in what a socket says. A store counts on from what it was told and writes that down; with as far again to go, its next start
/// can read it, whatever it was told.
pub const MAX_TOLD: u64 = MAX_COUNTED / 2;
/// Incarnations and log counters that one store tells another of its own past: a store goes on counting from what it believes, and must
/// then still be below [`MAX_COUNTED`].
pub const MAX_HEARSAY: u64 = 1 << 48;
/// Ids of stores are given one by one; with the number of a range behind it, one makes a range id.
pub const MAX_STORE_ID: u64 = (1 << 31) - 1;
/// Ranges that one store makes in its life.
pub const MAX_RANGES_MADE: u64 = (1 << 32) - 1;
/// Milliseconds of a stamp or a wall clock: the year 6429. As far again lies the end of what a timestamp can say.
pub const MAX_WALL_MS: u64 = 1 << 47;
/// The same in what a socket says: the year 4199. See [`MAX_TOLD`].
pub const MAX_TOLD_WALL_MS: u64 = MAX_WALL_MS / 2;
/// Bytes of a disk or a snapshot: a pebibyte. Thousands of these can be added, and each taken a thousandfold.
pub const MAX_REPORTED_BYTES: u64 = 1 << 50;
/// Bytes of one range, as its leader reports them: far more than any grows to before it is split. A million of them can be added.
pub const MAX_REPORTED_RANGE_BYTES: u64 = 1 << 42;
/// Requests and bytes a second of one range, and thousandths of cores of a store. Placement takes a thousandfold of it, four times as
/// much of earlier leaders, and the sum over a million ranges.
pub const MAX_REPORTED_RATE: u64 = 1 << 30;
/// Stores that are heard of by their own word alone: nothing that the fleet has on record names them. Enough for those that have just
/// joined; a stranger who invents more makes the silent ones of them be forgotten.
pub const UNPROVED_STORES: usize = 64;

// ---- support

/// How often a store asks its neighbours for support.
pub const SUPPORT_HEARTBEAT: Duration = Duration::from_millis(75);
/// How long an answer promises support.
pub const SUPPORT_INTERVAL: Duration = Duration::from_millis(600);
/// Of the interval, what is given away against clocks that run at different rates, in percent.
pub const SUPPORT_MARGIN_PERCENT: u32 = 5;
/// A support loop that ran this late drains its socket before it withdraws anything.
pub const SUPPORT_LOOP_LATE: Duration = Duration::from_millis(150);
/// A store asks for support only while every worker finished a round within this time.
pub const WORKER_ROUND_LATE: Duration = Duration::from_millis(400);
/// A store asks for support only while no fsync is outstanding for longer than this.
pub const FSYNC_STALLED: Duration = Duration::from_secs(2);

/// A stream between stores that has nothing to send says so this often, so that its other end knows that the way is open.
pub const STORE_STREAM_SIGN: Duration = Duration::from_millis(100);
/// Support is promised only to stores whose streams were heard within this time: a path for heartbeats alone replicates nothing.
/// With the promise that was given last, a cut ends support within a second.
pub const STREAMS_SILENT: Duration = Duration::from_millis(400);

/// A leader that a quorum has not answered for so long, while entries or reads wait, gives its leadership up. Longer than a path that
/// falls silent takes to end support, so that this decides only where support goes on.
pub const QUORUM_SILENT: Duration = Duration::from_millis(1_200);

// ---- elections

/// Candidate of rank k waits k times this before it stands.
pub const STAND_RANK_DELAY: Duration = Duration::from_millis(60);
/// Shortest wait before a range without a leader is stood for again.
pub const STAND_RETRY_MIN: Duration = Duration::from_millis(50);
/// Longest first wait.
pub const STAND_RETRY_MAX: Duration = Duration::from_millis(150);
/// The waits double up to this.
pub const STAND_RETRY_CEILING: Duration = Duration::from_secs(2);
/// How often an awake leader is ticked: heartbeats and the abort of a transfer.
pub const LEADER_TICK: Duration = Duration::from_millis(100);
/// A replica stands only when its unapplied committed entries are fewer than this.
pub const STAND_MAX_UNAPPLIED: u64 = 4_096;
/// A leader with nothing to do for this long may sleep.
pub const SLEEP_AFTER: Duration = Duration::from_secs(1);
/// A quorum read that found no answer within this time is asked again with a fresh context.
pub const READ_INDEX_TIMEOUT: Duration = Duration::from_millis(300);

// ---- raft and log

/// Bytes of entries in one append message. (0 would mean one entry a message.)
pub const RAFT_MAX_MESSAGE_BYTES: u64 = 1 << 20;
/// Append messages in flight to one follower.
pub const RAFT_MAX_INFLIGHT: usize = 64;
/// Proposed and not yet committed bytes of one range.
pub const RAFT_MAX_UNCOMMITTED_BYTES: u64 = 16 << 20;
/// Bytes of one raft entry that carries many requests.
pub const MAX_ENTRY_BYTES: usize = MAX_BATCH_BYTES + (1 << 20);
/// A leader stops adding requests to an entry at this size.
pub const ENTRY_TARGET_BYTES: usize = 256 << 10;
/// Entries not yet applied that one replica keeps in memory; beyond it leaders answer busy and followers stop acknowledging.
pub const ENTRY_CACHE_BYTES: usize = 64 << 20;
/// Applied entries kept in memory for followers that are a little behind.
pub const ENTRY_CACHE_TAIL_BYTES: usize = 2 << 20;
/// Entries that all replicas of a store keep in memory together: beyond it followers with something to apply take no more until they
/// have applied it. Leaders are bounded by [`ADMISSION_BYTES`].
pub const ENTRY_CACHES_BYTES: usize = 256 << 20;
/// Of [`ENTRY_CACHES_BYTES`], the part beyond which applied entries are not kept for followers that are a little behind, in percent.
pub const ENTRY_CACHES_TAILS_PERCENT: usize = 50;
/// What every follower may have waiting to be applied, however full the store's memory is: none is starved by the others.
pub const ENTRY_BACKLOG_MIN_BYTES: usize = 1 << 20;
/// Entries read and applied at a time after a restart.
pub const REPLAY_PAGE_BYTES: usize = 4 << 20;
/// Bytes of a range's log kept for followers that lag, or the size of the range if that is more: up to there a follower that gets
/// the log is given no more than a snapshot would be.
pub const LOG_KEEP_BYTES: u64 = 64 << 20;
/// Of the disk, what the logs of all ranges of a store may take together, in percent: a site that is away for long must not fill
/// the disks of the others. The largest logs are cut first.
pub const LOG_KEEP_DISK_PERCENT: u64 = 10;
/// Counted for each entry of a log beyond its bytes: key, term, checksum, and what the log instance adds.
pub const LOG_ENTRY_OVERHEAD_BYTES: u64 = 48;
/// Sizes of logs are remembered in pieces of this size: 64 of them for a log of [`LOG_KEEP_BYTES`].
pub const LOG_SIZE_RUN_BYTES: u64 = 1 << 20;
/// Entries that a follower keeps behind its applied index, for the case that it leads next and finds others behind.
pub const LOG_KEEP_FOLLOWER_ENTRIES: u64 = 1_024;
/// Log kept for followers that lag, at most, in entries.
pub const LOG_KEEP_ENTRIES: u64 = 100_000;
/// How often the truncation point is looked for.
pub const LOG_TRUNCATE_EVERY: Duration = Duration::from_secs(5);
/// Requests that one leader has admitted and not yet applied; beyond it it answers busy.
pub const PIPELINE_REQUESTS: usize = 16_384;
/// Bytes of those requests.
pub const PIPELINE_BYTES: usize = 32 << 20;
/// Completion records read at a time when a split copies them.
pub const COMPLETIONS_PAGE: usize = 1_000;
/// Log start of a range that a split or `init` creates.
pub const FIRST_LOG_INDEX: u64 = 5;
/// Term of that log start.
pub const FIRST_LOG_TERM: u64 = 5;

// ---- store

/// Bytes of requests admitted and not yet answered, store-wide.
pub const ADMISSION_BYTES: usize = 128 << 20;
/// Requests admitted and not yet answered, store-wide.
pub const ADMISSION_REQUESTS: usize = 65_536;
/// What a caller is told to wait when admission is full.
pub const BUSY_RETRY_AFTER: Duration = Duration::from_millis(25);
/// Events one worker takes into one round.
pub const ROUND_MAX_EVENTS: usize = 4_096;
/// Messages parked for a range that is not known here yet.
pub const PARKED_MESSAGES: usize = 1_024;
/// Bytes of those messages, of one worker: a message of appends has a mebibyte, and most that wait are far smaller.
pub const PARKED_BYTES: usize = 32 << 20;
/// Replicas of one store that wait for their first snapshot: placement has far fewer under way, and each is a synced record.
pub const MAX_EMPTY_REPLICAS: usize = 1_024;
/// How long a parked message waits.
pub const PARK_FOR: Duration = Duration::from_secs(1);
/// How often a request that was passed on is looked at while it has no answer: whether the store that has it lives and leads.
/// A third of the time after which a silent store is given up.
pub const FORWARD_LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long a request waits for an election before stores are asked that may reach a leader whom this one does not: the second
/// in rank has stood by then, and been elected.
pub const RELAY_AFTER: Duration = Duration::from_millis(150);
/// How long a request waits here for a leader to be heard of, or for its range to be found.
pub const WAIT_FOR_LEADER: Duration = Duration::from_secs(1);
/// Requests of one worker that wait for a leader, a range or another store.
pub const WAITING_REQUESTS: usize = 16_384;
/// Stores that are asked at a time who holds a key.
pub const LOCATE_STORES: usize = 3;
/// How often a leader that stepped down repeats it to a store that has not noted it.
pub const UNLED_AGAIN: Duration = Duration::from_millis(150);
/// The longest wait between two repetitions: a store that does not answer for long is not kept awake.
pub const UNLED_AGAIN_AT_MOST: Duration = Duration::from_secs(2);
/// For how long it repeats it to a store that promises it nothing: such a store follows nobody here, or will not for long.
pub const UNLED_FOR: Duration = Duration::from_secs(30);
/// A follower that doubts its leader asks that store at most this often.
pub const LEADER_ASKED_AGAIN: Duration = Duration::from_millis(100);
/// Workers of one store, at most: each has a record of its own in the log instance.
pub const MAX_WORKERS: u16 = 16;
/// A request is forwarded between stores at most this often.
pub const MAX_HOPS: u32 = 2;
/// Replicas that one change of a range promotes, or demotes: more than a range has.
pub const MAX_RECONFIGURED: usize = 64;
/// Messages queued towards one store, in bytes and class; beyond it the newest are dropped (raft sends again).
pub const SEND_QUEUE_BYTES: usize = 32 << 20;
/// One chunk of a snapshot.
pub const SNAPSHOT_CHUNK_BYTES: usize = 512 << 10;
/// Bytes of snapshots that one worker sends a second: leaves most of a 10 Gbit/s link and of a disk to clients.
pub const SNAPSHOT_BYTES_PER_SECOND: u64 = 64_000_000;
/// Files of one snapshot: of 32 MB each, four tebibytes. What has arrived is told file by file, again and again.
pub const MAX_SNAPSHOT_FILES: u32 = 1 << 17;
/// Snapshots received at a time by one store.
pub const MAX_SNAPSHOTS_RECEIVED: usize = 4;
/// Snapshots sent at a time by one store.
pub const MAX_SNAPSHOTS_SENT: usize = 4;
/// An unfinished snapshot is forgotten after this long without a chunk.
pub const SNAPSHOT_IDLE: Duration = Duration::from_secs(30);
/// An attempt towards a store that does not answer at all is given up after this.
pub const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(300);
/// Free disk below which a store refuses writes of clients, in percent of the disk.
pub const DISK_FULL_PERCENT: u64 = 5;
/// Free disk below which a store refuses writes of clients, whatever the percentage says, in bytes.
pub const DISK_FULL_BYTES: u64 = 64 << 20;

/// Free bytes that a disk of this size must have for a store to take writes of clients.
#[must_use]
pub const fn disk_wanted_bytes(total_bytes: u64) -> u64 {
    let share = (total_bytes / 100).saturating_mul(DISK_FULL_PERCENT);
    if share > DISK_FULL_BYTES { share } else { DISK_FULL_BYTES }
}

/// Versions older than this may be garbage-collected, unless policy says otherwise.
pub const GC_RETENTION: Duration = Duration::from_secs(3_600);
/// A scan begins at a timestamp no older than this, so that half of the retention is left for its other pages.
pub const SCAN_READABLE_FOR: Duration = Duration::from_secs(1_800);
/// Pause of a worker between two pages of its walk for garbage: bounds what the walk takes from the disk.
pub const GC_PAGE_EVERY: Duration = Duration::from_millis(50);
/// Completion records of a range are looked through at most this often; a record outlives its request by about as much.
pub const GC_RECORDS_EVERY: Duration = Duration::from_secs(120);
/// A range larger than this is split.
pub const SPLIT_RANGE_BYTES: u64 = 64 << 20;
/// The file of a store's address book is at most this large: all places of all stores that it may name, with every letter escaped, and all
/// that were forgotten.
pub const ADDRESS_FILE_BYTES: usize = 16 << 20;
/// A configuration file is at most this large: people write it by hand.
pub const CONFIG_FILE_BYTES: usize = 1 << 20;
/// The file of a store's events is at most this large: all that it remembers, each with the longest sentence.
pub const EVENTS_FILE_BYTES: usize = MAX_MESSAGE_BYTES;
/// Fields in that file, those of its events counted: each has nine, and later versions may add some.
pub const EVENTS_FILE_FIELDS: usize = 16 * EVENTS_KEPT;
/// Events that one store remembers of what happened there: a few days of a quiet fleet, and all of the loss of a site.
pub const EVENTS_KEPT: usize = 4_096;
/// Sites that metrics tell apart; those beyond are told as one. More than any fleet has, and few enough for a page.
pub const METRICS_SITES: usize = 32;
/// A sentence of an event, a warning or a reason is at most this long; what is longer is cut.
pub const MAX_SENTENCE_BYTES: usize = 1_024;
/// Warnings, complaints and damaged replicas that one answer names, of each store; beyond it their number is told.
pub const MAX_SENTENCES: usize = 256;
/// Questions to all stores that one store asks for its clients at a time: what the others answer is held until all have, or their time is over.
pub const QUESTIONS_TO_ALL: usize = 8;
/// What stores say of themselves in a list of all; where it is more, each is told with the first of everything.
pub const STORES_LIST_BYTES: usize = 4 << 20;
/// Keyspaces that have a name: a list of them fits into one message.
pub const MAX_KEYSPACES: u32 = 65_536;
/// How often a store reports to placement.
pub const REPORT_EVERY: Duration = Duration::from_millis(500);
/// What one worker reports of its ranges goes in parts of this size, so that a report of any length fits into messages and delays no vote.
pub const REPORT_PART_BYTES: usize = 256 << 10;
/// Parts that one worker sends each time: a report of 5,000 small ranges leaves at once, a longer one takes more than one time. In the long
/// run a worker sends one part each time. Those of all workers fit into the queue to one store.
pub const REPORT_PARTS_AT_A_TIME: usize = 4;
/// Parts of one report: 1.7 million small ranges of one worker, or 32,000 with the longest keys. What does not fit is not reported, and
/// complained of. Bounds what the parts of an unfinished report take at the store that plans.
pub const MAX_REPORT_PARTS: u32 = 1_024;
/// Parts of reports that wait for their missing ones, of all stores together, as they are encoded: one report of the largest kind, or those
/// of a fleet of a million small ranges. Beyond it the report that began to come first is dropped, and comes again.
pub const ARRIVING_REPORTS_BYTES: usize = MAX_REPORT_PARTS as usize * REPORT_PART_BYTES;
/// A store that begins to plan waits this long for the reports of stores that are alive, and then plans with what it has.
pub const PLAN_WITHOUT_REPORTS_AFTER: Duration = Duration::from_secs(30);
/// A store is not forgotten sooner than this after it was heard: placement takes it for alive for four reports, and what it was
/// about to be given by then has come to an end.
pub const FORGET_AFTER_SILENCE: Duration = Duration::from_secs(3);

/// Longest proof of a site; the UID of a namespace has 36 characters.
pub const MAX_SITE_IDENTITY_BYTES: usize = 128;
/// Identities that a site had before are kept, the newest of them, so that one can see where it was.
pub const SITE_MOVES_KEPT: usize = 16;

// ---- streams between stores

/// Messages of one frame, in bytes, before the frame is closed: large enough to pay for a write, small enough not to delay.
pub const STREAM_BATCH_BYTES: usize = 256 << 10;
/// Chunks of snapshots queued towards one store: a few chunks keep the stream busy, more would only age.
pub const SNAPSHOT_QUEUE_BYTES: usize = 4 << 20;
/// Counted for each queued message beyond its payload, so that many empty messages are bounded too.
pub const QUEUED_MESSAGE_OVERHEAD_BYTES: usize = 64;
/// What one stream may have in flight unread: 40 MB/s at 100 ms of round trip.
pub const STREAM_WINDOW_BYTES: u32 = 4 << 20;
/// Opening a connection takes no longer than this.
pub const STREAM_CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A stream whose handshake takes longer than this is given up.
pub const STREAM_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(3);
/// First wait before a lost stream is opened again; doubles.
pub const STREAM_RECONNECT_MIN: Duration = Duration::from_millis(50);
/// Longest wait before a lost or refused stream is opened again.
pub const STREAM_RECONNECT_MAX: Duration = Duration::from_secs(2);
/// How often a connection is asked whether it lives.
pub const STREAM_KEEPALIVE: Duration = Duration::from_secs(2);
/// A connection that does not answer within this time is closed.
pub const STREAM_KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(3);
/// Streams that one connection may carry: honest stores open one.
pub const MAX_STREAMS_PER_CONNECTION: u32 = 8;
/// Stores that an address book holds: far more than a fleet has, so that what is claimed of stores is bounded.
pub const ADDRESSED_STORES: usize = 1_024;
/// Places at which one store is looked for: a moved store has its new place, the old one, and what some third store believes.
pub const ADDRESSES_PER_STORE: usize = 4;
/// Places told in one announcement: all of them in any fleet that there is.
pub const ANNOUNCED_PLACES: usize = 4_096;
/// Announcements that a store takes in a second: honest ones come a few a second from each store that looks for others.
pub const ANNOUNCEMENTS_PER_SECOND: u32 = 256;
/// An address is at most this long: a host name has 253 characters at most, and a port.
pub const MAX_ADDRESS_BYTES: usize = 300;
/// The version of a program, as a store tells it, is at most this long.
pub const MAX_VERSION_BYTES: usize = 64;
/// Members of a fleet: what lists all stores fits into one message, and every store keeps a way to every other one.
pub const MAX_MEMBERS: usize = 1_024;
/// Stores that were ever members: the ids of forgotten ones are kept, and told in one message with the members.
pub const MAX_STORE_RECORDS: usize = 32_768;
/// Stores that were let in and have not started yet; beyond it nobody is let in until some have, or are forgotten.
pub const MAX_AWAITED_STORES: usize = 32;
/// Joins that a store takes up in a second: each reads the lists of stores and sites.
pub const JOINS_PER_SECOND: u32 = 16;
/// The record of a store, encoded, with its three addresses: at most.
pub const STORE_RECORD_BYTES: usize = 3 * MAX_ADDRESS_BYTES + MAX_SITE_IDENTITY_BYTES + 256;
/// Every other record that the fleet keeps in keyspace 0, encoded, at most: a range between two of the longest keys takes half of it.
pub const FLEET_RECORD_BYTES: usize = 16 << 10;
/// What is told of a forgotten store: its id, its site, and when.
pub const FORGOTTEN_STORE_BYTES: usize = 128;
/// The next place of a store is tried no sooner than this after the one before; after each round in vain it is twice as long, up to
/// `STREAM_RECONNECT_MAX`.
pub const ADDRESS_TRY_MIN: Duration = Duration::from_millis(100);
/// Formats that one handshake may name.
pub const MAX_STREAM_FORMATS: usize = 16;

// ---- ports: what those who connect may hold of a store

/// Bytes that the client port holds for all connections: messages that arrive, requests that are open, answers that are not taken.
pub const CLIENT_PORT_BYTES: usize = 96 << 20;
/// Of its own every connection has this, whatever others hold: an open request and a small message. With [`CLIENT_CONNECTIONS`] of them 96 MiB more.
pub const CONNECTION_OWN_BYTES: usize = 48 << 10;
/// Bytes that the port for store streams holds for messages that arrive: each of a few dozen connections may send one of the largest.
pub const STORE_PORT_BYTES: usize = 128 << 20;
/// Beyond that one connection holds at most what is free divided by this: alone a fifth of the budget, which is two of the largest messages.
pub const CONNECTION_SHARE: usize = 4;
/// All connections from one address together hold at most what is free divided by this: a third of the budget. A stranger who opens as many
/// connections as he likes leaves the rest to others.
pub const ADDRESS_SHARE: usize = 2;
/// Of a message so much is charged when it begins; the rest of it once that has come. A claim of 8 MiB costs five bytes.
pub const MESSAGE_STEP_BYTES: usize = 64 << 10;
/// The first message of a stream between stores, which says who is there.
pub const STORE_HELLO_BYTES: usize = 16 << 10;
/// Bytes that one connection is read for before others have their turn: what it sent waits for whoever takes it and charges it.
pub const READ_TURN_BYTES: usize = 256 << 10;
/// Frames of HTTP/2 that all connections from one address may send in a second without bringing a message: pings, settings, resets, headers
/// of requests that say nothing. What comes faster is read later.
pub const FRAMES_PER_SECOND: u64 = 2_000;
/// So many of them at once.
pub const FRAMES_BURST: u64 = 10_000;
/// Of its own every connection has so many: enough for its first request.
pub const FRAMES_OF_A_CONNECTION: u64 = 64;
/// A message that came pays for so many frames beside it, and so does each [`FRAME_WORTH_READING_BYTES`] of it.
pub const FRAMES_OF_A_MESSAGE: u64 = 32;
/// A frame of an answer that was taken pays for so many: those that open the window again.
pub const FRAMES_OF_AN_ANSWER: u64 = 4;
/// What a connection has earned by messages and not spent, at most.
pub const FRAMES_EARNED: u64 = 10_000;
/// A frame that carries so much of a message costs nothing: that is bounded by what may be held.
pub const FRAME_WORTH_READING_BYTES: u64 = 1 << 10;
/// A connection that owes frames is read again after this at least, and after that at most.
pub const FRAMES_PAUSE_MIN: Duration = Duration::from_millis(20);
/// See [`FRAMES_PAUSE_MIN`].
pub const FRAMES_PAUSE_MAX: Duration = Duration::from_millis(500);
/// Bytes of a connection that the kernel holds and has not sent: what is counted as taken is at most so far from it.
pub const UNSENT_BYTES: u32 = 128 << 10;
/// Counted for an open request beyond its messages: buffers for reading and writing, and what serves it.
pub const OPEN_REQUEST_BYTES: usize = 24 << 10;
/// Counted for each answer beyond its values: one that says nothing takes memory too, until it is taken.
pub const ANSWER_OVERHEAD_BYTES: usize = 256;
/// Counted for each call of a client's stream until its answer goes out: its place, its request in the store, and an answer that says little.
pub const CALL_OVERHEAD_BYTES: usize = 512;
/// Counted for each value or row of an answer beyond its bytes.
pub const ROW_OVERHEAD_BYTES: usize = 96;
/// Answers go to the connection in slices of this size: what it was handed cannot be taken back.
pub const ANSWER_SLICE_BYTES: usize = 32 << 10;
/// Answers of a client's stream that it has not taken; beyond it nothing more is read from it.
pub const STREAM_UNTAKEN_BYTES: usize = 8 << 20;
/// What a request of a client may have in flight unread: 25 MB/s at 10 ms of round trip. A thousand of them are a quarter of a gigabyte.
pub const CLIENT_WINDOW_BYTES: u32 = 256 << 10;
/// A message arrives within this time of its first byte: the largest one at 3.4 Mbit/s.
pub const MESSAGE_WITHIN: Duration = Duration::from_secs(20);
/// A client that has answers to take and takes nothing of them for so long loses them.
pub const ANSWER_TAKEN_WITHIN: Duration = Duration::from_secs(10);
/// Beyond that it takes so many bytes a second at least, for as long as it has something to take: who takes a drop now and then holds as
/// much as who takes nothing.
pub const ANSWER_TAKEN_RATE: usize = 64 << 10;
/// How often answers that nobody takes are looked for.
pub const UNTAKEN_LOOKED_AT_EVERY: Duration = Duration::from_millis(500);
/// A connection makes its first request within this time, or is ended.
pub const FIRST_REQUEST_WITHIN: Duration = Duration::from_secs(10);
/// Requests that one connection of a client may have open: more wait at the client, as HTTP/2 has it. No fewer than the 100 that libraries
/// begin with before they have heard of a limit.
pub const CLIENT_REQUESTS_PER_CONNECTION: u32 = 128;
/// What all requests of a client's connection may have in flight unread: each its window, so that those that wait for room do not keep
/// those that have it from arriving. What waits is charged.
pub const CLIENT_CONNECTION_WINDOW_BYTES: u32 = CLIENT_REQUESTS_PER_CONNECTION * CLIENT_WINDOW_BYTES;
/// Conversations of other services (health, reflection) that one connection may have open.
pub const CONVERSATIONS_PER_CONNECTION: usize = 4;
/// Headers of one request: gRPC needs a few hundred bytes.
pub const CLIENT_HEADER_BYTES: u32 = 8 << 10;
/// Counted for each header of a request beyond its bytes.
pub const HEADER_OVERHEAD_BYTES: usize = 128;
/// How often a client's connection is asked whether it lives.
pub const CLIENT_KEEPALIVE: Duration = Duration::from_secs(20);
/// A client's connection that does not answer within this time is ended.
pub const CLIENT_KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections of clients, at most: each takes some 25 KB before it says anything.
pub const CLIENT_CONNECTIONS: usize = 2_048;
/// Of the connections of a port, the part that one address may have, in percent: a whole site may come from behind one address.
pub const ADDRESS_SHARE_PERCENT: usize = 60;
/// Connections of other stores to the port for streams: three of each in the largest fleet, and a third as many that are being replaced.
pub const STORE_CONNECTIONS: usize = 4 * MAX_MEMBERS;
/// Of these, each other store has so many: one for a class.
pub const CONNECTIONS_OF_A_STORE: usize = 3;
/// Bytes of messages that all stores together which are not on record send in a second: they are read, and mostly dropped.
pub const STRANGERS_BYTES_PER_SECOND: usize = 4 << 20;
/// So many of them at once.
pub const STRANGERS_BURST_BYTES: usize = 4 << 20;
/// A message of theirs counts for as much at least.
pub const STRANGERS_MESSAGE_BYTES: usize = 4 << 10;
/// Connections to the HTTP port: a probe's takes milliseconds.
pub const HTTP_CONNECTIONS: usize = 256;
/// A connection to the HTTP port is ended after this: probes and scrapers connect again.
pub const HTTP_CONNECTION_LIVES: Duration = Duration::from_secs(60);
/// At the limit of a port a connection that has been without a request for so long makes room for the next.
pub const IDLE_BEFORE_MAKING_ROOM: Duration = Duration::from_secs(1);
/// The same for the HTTP port, where a connection counts as idle from its beginning: a probe takes milliseconds.
pub const HTTP_IDLE_BEFORE_MAKING_ROOM: Duration = Duration::from_millis(100);
/// Where none is without a request, one over which nothing came and of which nothing was taken for so long makes room.
pub const UNMOVED_BEFORE_MAKING_ROOM: Duration = Duration::from_secs(10);
/// The headers of a request to the HTTP port come within this time.
pub const HTTP_HEADERS_WITHIN: Duration = Duration::from_secs(5);
/// The headers of a request to the HTTP port, and all else that is buffered of a connection.
pub const HTTP_BUFFER_BYTES: usize = 16 << 10;
/// A page of metrics is made at most this often; whoever asks meanwhile is told the last one.
pub const METRICS_PAGE_EVERY: Duration = Duration::from_secs(1);
/// How long accepting pauses where there is no room, or no file to be had.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Connections that are turned away are told of in the log this often.
pub const TURNED_AWAY_SAID_EVERY: Duration = Duration::from_secs(30);
/// A connection has proved who it is within this time, counted from its being accepted: two round trips, and the turn of a thousand others.
pub const HANDSHAKE_WITHIN: Duration = Duration::from_secs(5);
/// Handshakes that a port has under way at a time, at [`HANDSHAKE_BYTES`] each; more wait for their turn.
pub const HANDSHAKES: usize = 256;
/// Of these, from one address: a whole site may come from behind one.
pub const HANDSHAKES_PER_ADDRESS: usize = 64;
/// Where all turns are taken, a handshake that has taken so long makes room for the next: it needs two round trips.
pub const HANDSHAKE_BEFORE_MAKING_ROOM: Duration = Duration::from_secs(1);
/// A connection that was refused stays for so long at most, until the other end has heard why.
pub const HANDSHAKE_LINGER: Duration = Duration::from_millis(500);
/// Bytes that one end may send until it has proved who it is: its hello, and as many certificates as a chain may have.
pub const HANDSHAKE_READ_BYTES: usize = 32 << 10;
/// Counted for a handshake that is under way: what may come of it, twice, for buffers grow by doubling; the answer to that, and its state.
pub const HANDSHAKE_BYTES: usize = 2 * HANDSHAKE_READ_BYTES + (16 << 10);
/// Counted for a connection with TLS beyond what waits in it: keys, certificates of the other end, and a buffer to read into.
pub const TLS_SESSION_BYTES: usize = 12 << 10;
/// Bytes of a connection that are encrypted and that the kernel does not take yet: with [`UNSENT_BYTES`], so far is what is counted as taken
/// from being taken.
pub const TLS_UNSENT_BYTES: usize = 32 << 10;
/// Counted for a connection with TLS while anything lies in it that was decrypted and not taken: no more than the longest record.
pub const TLS_DECRYPTED_BYTES: usize = 20 << 10;
/// A connection ends so long before one of the certificates that it stands on expires, and up to twice as long: those that began together do
/// not end together. Of certificates with a short life it is a tenth of that.
pub const END_BEFORE_EXPIRY: Duration = Duration::from_secs(60);
/// How often it is looked whether somebody who is connected is not trusted any more: with [`DISTRUST_TOLD_WITHIN`] his connections end within a
/// second.
pub const DISTRUST_LOOKED_AT_EVERY: Duration = Duration::from_millis(100);
/// A store that is told that a site is distrusted has so long to answer; whoever does not hears it of the next store that reaches it.
pub const DISTRUST_TOLD_WITHIN: Duration = Duration::from_millis(800);
/// A store with a limit of fewer open files does not start.
pub const DESCRIPTORS_NEEDED: usize = 256;
/// Files kept for everything that has no share of its own: listeners, timers, logs, files that are written and replaced.
pub const DESCRIPTORS_KEPT: usize = 48;
/// Sorted files that the engine holds open, at most: 64 GB of them at 32 MB.
pub const ENGINE_OPEN_FILES: usize = 4_096;

// ---- the support link

/// One frame of the support link: a handshake or a heartbeat.
pub const SUPPORT_FRAME_BYTES: usize = 4 << 10;
/// Of each text that a handshake says and that is said back, so much: all of them together fit into a frame.
pub const MAX_HANDSHAKE_TEXT_BYTES: usize = 256;
/// Heartbeats waiting for one connection; beyond it the oldest go, a heartbeat is worth nothing when it is late.
pub const SUPPORT_QUEUE_FRAMES: usize = 8;
/// Wait before a support connection is opened again, give or take a quarter.
pub const SUPPORT_RECONNECT: Duration = Duration::from_millis(100);
/// Support connections accepted at a time.
pub const SUPPORT_MAX_INCOMING: usize = 1_024;
/// Support connections that are accepted before those that are open have their turn.
pub const SUPPORT_ACCEPT_TURN: usize = 64;
/// Bytes read from one support connection before the others have their turn.
pub const SUPPORT_READ_TURN_BYTES: usize = 16 << 10;
/// Bytes read from the connection of a stranger before others have their turn.
pub const SUPPORT_STRANGER_TURN_BYTES: usize = SUPPORT_FRAME_BYTES;
/// Connections of strangers that are read before those of other stores have their turn again.
pub const SUPPORT_STRANGERS_TURN: usize = 16;
/// Heartbeats over one connection: one so often in the long run. A store sends less than half as many.
pub const SUPPORT_FRAME_EVERY: Duration = Duration::from_millis(15);
/// And so many at once: what has gathered on the way while this store stood still. A connection that brings more is closed.
pub const SUPPORT_FRAMES_BURST: u32 = 1_024;
/// The same, of a store that the fleet has not on record as far as is known here.
pub const SUPPORT_STRANGER_FRAMES_BURST: u32 = 64;
/// A support connection over which nothing is sent is closed by the sender after this, by the receiver after three times this.
pub const SUPPORT_CONNECTION_IDLE: Duration = Duration::from_secs(10);
/// A support connection is open, and both ends have proved who they are, within this time. Longer than the support interval: when a whole fleet
/// starts, a thousand handshakes wait for one thread, a millisecond each, and far sites need some round trips.
pub const SUPPORT_HANDSHAKE_WITHIN: Duration = Duration::from_secs(5);
/// Handshakes of support connections that others open, at a time: [`HANDSHAKE_BYTES`] each.
pub const SUPPORT_HANDSHAKES: usize = 256;
/// Of these, from one address: a whole site may come from behind one.
pub const SUPPORT_HANDSHAKES_PER_ADDRESS: usize = 64;
/// Support connections that have proved who they are and wait for the support thread, which looks every heartbeat at the latest.
pub const SUPPORT_PROVED_WAITING: usize = 256;
/// Of these, so many are taken before those that are open have their turn.
pub const SUPPORT_PROVED_TURN: usize = 16;
/// What a support connection may have encrypted and not written: a heartbeat, which nothing newer can replace any more.
pub const SUPPORT_SEALED_BYTES: usize = 2 * SUPPORT_FRAME_BYTES;
/// What may come over a support connection that says nothing when it is decrypted: the longest record, and some more.
pub const SUPPORT_MUTE_BYTES: usize = 24 << 10;

// ---- the log, and threads that stand still

/// Log lines that wait to be written, in bytes: a minute of a busy store. Beyond it the newest are lost, and counted; nobody waits.
pub const LOG_QUEUE_BYTES: usize = 4 << 20;
/// Beside them, for what a process says when it ends: why.
pub const LOG_LAST_WORDS_BYTES: usize = 64 << 10;
/// Counted for each waiting line beyond its bytes, so that many short lines are bounded too.
pub const LOG_LINE_OVERHEAD_BYTES: usize = 64;
/// A process that ends waits so long, and no longer, until its last words are written.
pub const LOG_LAST_WORDS_WITHIN: Duration = Duration::from_secs(1);
/// Lines of one kind, about one store, that are written as fast as they come; what comes faster than that and [`LOG_KIND_EVERY`] is counted.
pub const LOG_KIND_BURST: u32 = 32;
/// After the burst, one more line of the kind is written this often.
pub const LOG_KIND_EVERY: Duration = Duration::from_secs(5);
/// Stores that a kind of line is counted for one by one; those beyond share: no invented store is remembered for long.
pub const LOG_KIND_STORES: usize = 16;
/// How often it is told how many lines of each kind were held back.
pub const LOG_HELD_BACK_EVERY: Duration = Duration::from_secs(10);
/// Alarms about stores that were turned away which become events as fast as they come: whoever calls can cause them, and events are few.
pub const TURNED_AWAY_BURST: u32 = 8;
/// After that, one this often.
pub const TURNED_AWAY_EVERY: Duration = Duration::from_secs(60);
/// A thread that has not turned a round for so long hangs, and `/livez` says so. Far beyond any round, so that no load is taken for it; a
/// thread that waits for the disk is not counted: to start again makes no disk faster.
pub const THREAD_HANGS: Duration = Duration::from_secs(30);
/// A store that was told to stop may go on serving at most this long for the sake of those who have not heard of it.
pub const MAX_READY_PAUSE: Duration = Duration::from_secs(60);

// ---- client

/// Calls of one client that are not finished yet: what its memory is bounded by.
pub const CLIENT_MAX_CALLS: usize = 16_384;
/// Ranges that one client remembers; beyond it the first ones are forgotten and looked up again.
pub const CLIENT_CACHED_RANGES: usize = 65_536;
/// Look-ups of one client at a time: calls that wait share them.
pub const CLIENT_MAX_LOCATES: usize = 32;
/// Ranges asked for with one look-up: neighbours are likely to be needed next.
pub const CLIENT_LOCATE_RANGES: u32 = 32;
/// First wait of a client's call before it asks again unbidden, doubling; notices of new leaders usually come earlier.
pub const CLIENT_POLL_MIN: Duration = Duration::from_millis(50);
/// Longest such wait.
pub const CLIENT_POLL_MAX: Duration = Duration::from_millis(400);
/// Shortest wait after `Busy`, whatever the store says: bounds the attempts of one call.
pub const CLIENT_BUSY_MIN: Duration = Duration::from_millis(5);
/// An attempt that a living store has not answered is repeated after this, doubling: the store may have passed it on to one that died.
pub const CLIENT_SLOW_ATTEMPT: Duration = Duration::from_millis(1_200);
/// Redirections that a call follows at once; then it waits, because stores that disagree need time.
pub const CLIENT_MAX_REDIRECTS: u32 = 3;
/// A store that was silent is not preferred for this long, unless it is heard of.
pub const CLIENT_SUSPECT_FOR: Duration = Duration::from_secs(1);
/// Failures in a row, without a word from the site, that open its circuit.
pub const CLIENT_CIRCUIT_FAILURES: u32 = 3;
/// How long a site's circuit stays open at first, doubling.
pub const CLIENT_CIRCUIT_MIN: Duration = Duration::from_millis(250);
/// The longest that a site's circuit stays open.
pub const CLIENT_CIRCUIT_MAX: Duration = Duration::from_secs(4);
/// Calls in one message of a client's stream.
pub const CLIENT_MESSAGE_CALLS: usize = 1_024;
/// A message of a client's stream is closed at this size; one larger call still fits.
pub const CLIENT_MESSAGE_BYTES: usize = 1 << 20;
/// A bearer token, with the line end behind it in its file: with the other headers of a call it has to fit into [`CLIENT_HEADER_BYTES`].
pub const BEARER_TOKEN_BYTES: usize = 4 << 10;
/// How often a client asks for the fleet's stores.
pub const CLIENT_DESCRIBE_EVERY: Duration = Duration::from_secs(10);
/// First wait before a client connects again to a store, doubling.
pub const CLIENT_RECONNECT_MIN: Duration = Duration::from_millis(50);
/// Longest such wait.
pub const CLIENT_RECONNECT_MAX: Duration = Duration::from_secs(1);
/// A connection that is not made within this time is given up.
pub const CLIENT_CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// A store with calls open on a stream says at least this often that it lives.
pub const STREAM_SIGN_OF_LIFE: Duration = Duration::from_millis(100);
/// Ranges that a store tells of unasked when a client's stream begins; others are looked up when they are needed.
pub const STREAM_HELLO_RANGES: usize = 8_192;
/// Ranges told of in one message of a client's stream, in bytes: they share it with answers.
pub const STREAM_NOTICES_BYTES: usize = 256 << 10;
/// Answers in one message of a client's stream, in bytes, before it is closed; one larger answer still fits.
pub const STREAM_ANSWERS_BYTES: usize = 1 << 20;
/// Descriptors of ranges in one answer to a look-up, in bytes, beside a limit of their number: keys may be long.
pub const RANGES_PAGE_BYTES: usize = 2 << 20;
/// Calls open on one stream, as the store allows them.
pub const STREAM_MAX_CALLS: usize = 65_536;

const _: () = {
    assert!(MAX_VALUE_BYTES <= HARD_MAX_VALUE_BYTES);
    assert!(HARD_MAX_VALUE_BYTES <= MAX_BATCH_BYTES);
    assert!(MAX_BATCH_BYTES < MAX_ENTRY_BYTES);
    assert!(MAX_ENTRY_BYTES < MAX_MESSAGE_BYTES);
    assert!(HARD_MAX_VALUE_BYTES <= MAX_GET_BYTES);
    assert!(MAX_GET_BYTES + (MAX_SCAN_BYTES as usize) < MAX_MESSAGE_BYTES);
    assert!(SCAN_MAX_READ_BYTES >= MAX_SCAN_BYTES as usize);
    assert!(MAX_GET_BYTES + STREAM_ANSWERS_BYTES + 2 * STREAM_NOTICES_BYTES < MAX_MESSAGE_BYTES);
    assert!(2 * RANGES_PAGE_BYTES < MAX_MESSAGE_BYTES);
    assert!(MAX_MEMBERS <= ADDRESSED_STORES);
    assert!(CONNECTIONS_OF_A_STORE * MAX_MEMBERS <= STORE_CONNECTIONS && MAX_MEMBERS <= SUPPORT_MAX_INCOMING);
    assert!(EVENTS_KEPT * (MAX_SENTENCE_BYTES + 256) < MAX_MESSAGE_BYTES);
    assert!(EVENTS_KEPT * (MAX_SENTENCE_BYTES + 256) < EVENTS_FILE_BYTES);
    assert!(
        ADDRESSED_STORES * ADDRESSES_PER_STORE * (4 * MAX_ADDRESS_BYTES + 320) + MAX_STORE_RECORDS * 192
            < ADDRESS_FILE_BYTES
    );
    assert!((MAX_KEYSPACES as usize) * 96 < MAX_MESSAGE_BYTES);
    assert!(MAX_MEMBERS * STORE_RECORD_BYTES + MAX_STORE_RECORDS * FORGOTTEN_STORE_BYTES < MAX_MESSAGE_BYTES);
    assert!(ANNOUNCED_PLACES * (2 * MAX_ADDRESS_BYTES + 128) < MAX_MESSAGE_BYTES);
    assert!((MAX_ENTRY_BYTES as u64) < RAFT_MAX_UNCOMMITTED_BYTES);
    assert!(RAFT_MAX_MESSAGE_BYTES < RAFT_MAX_UNCOMMITTED_BYTES);
    assert!(SUPPORT_HEARTBEAT.as_millis() * 4 < SUPPORT_INTERVAL.as_millis());
    // A heartbeat and an answer to one, twice over.
    assert!(SUPPORT_FRAME_EVERY.as_millis() * 4 < SUPPORT_HEARTBEAT.as_millis());
    // The word gets there, and the next look of ports and streams ends connections, and that of the support thread, which looks with each heartbeat:
    // within the second that is promised.
    assert!(DISTRUST_TOLD_WITHIN.as_millis() + DISTRUST_LOOKED_AT_EVERY.as_millis() < 1_000);
    assert!(DISTRUST_TOLD_WITHIN.as_millis() + SUPPORT_HEARTBEAT.as_millis() < 1_000);
    assert!(REPORT_EVERY.as_millis() * 4 < FORGET_AFTER_SILENCE.as_millis());
    assert!(2 * REPORT_PART_BYTES < MAX_MESSAGE_BYTES);
    assert!(
        REPORT_PARTS_AT_A_TIME * (REPORT_PART_BYTES + MAX_KEY_BYTES * 4) * (MAX_WORKERS as usize) < SEND_QUEUE_BYTES
    );
    assert!(WORKER_ROUND_LATE.as_millis() * 10 < THREAD_HANGS.as_millis());
    assert!(MAX_COUNTED.checked_add(MAX_COUNTED).is_some());
    assert!(GRANTS_OF_ONE * (GRANT_PREFIX_BYTES + 24) + MEMBERS_OF_A_ROLE * 72 < RIGHTS_RECORD_BYTES);
    assert!(RIGHTS_RECORD_BYTES < MAX_VALUE_BYTES && RIGHTS_PAGE_BYTES + 4 * RIGHTS_RECORD_BYTES < MAX_MESSAGE_BYTES);
    assert!(MAX_HEARSAY < MAX_TOLD);
    assert!(disk_wanted_bytes(100 << 30) == 5 << 30 && disk_wanted_bytes(1 << 20) == DISK_FULL_BYTES);
    assert!(MAX_REPORTED_RATE.checked_mul(8_000 * (1 << 20)).is_some());
    assert!(MAX_REPORTED_RANGE_BYTES.checked_mul(1 << 20).is_some());
    assert!(MAX_REPORTED_BYTES.checked_mul(1_000).is_some());
    assert!((AUDIT_PAGE as usize) * (AUDIT_ENTRY_BYTES + 16) < MAX_MESSAGE_BYTES);
    assert!(AUDIT_BATCH * (AUDIT_ENTRY_BYTES + 64) < MAX_BATCH_BYTES && AUDIT_BATCH <= MAX_BATCH_KEYS);
    assert!((3 + AUDIT_ARGUMENTS) * AUDIT_TEXT_BYTES + 1_024 < AUDIT_ENTRY_BYTES);
};
