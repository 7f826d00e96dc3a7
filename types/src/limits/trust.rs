//! Bounds of trust: certificates, tokens, the audit, and rights.

use std::time::Duration;

// ---- certificates

/// Certificate, key and bundle: a file of them is small, and each is read whole.
pub const TRUST_FILE_BYTES: usize = 256 << 10;
/// Certificates that one end shows, and those of its own file: a leaf, and authorities up to the root, which need not be among them.
pub const TRUST_CHAIN_CERTIFICATES: usize = 6;
/// Roots of one bundle: each is tried at every handshake. One for each site of the largest fleet, while all of them are replaced.
pub const TRUST_ROOTS: usize = 64;
/// How often the folder is looked at for new certificates. Kubernetes needs up to a minute until they are there.
pub const TRUST_LOOK_EVERY: Duration = Duration::from_secs(1);
/// When a certificate has less than this part of its life left, somebody is told: whatever renews it does so earlier.
pub const TRUST_TOLD_AT_LEFT: u32 = 3;
/// The subject of a root in sentences and reports, in bytes.
pub const TRUST_SUBJECT_BYTES: usize = 128;
/// A request for a certificate, as text: a key and a few names.
pub const TRUST_REQUEST_BYTES: usize = 16 << 10;
/// Names of hosts and addresses in one certificate that is signed here.
pub const TRUST_NAMES: usize = 64;
/// A certificate made here is valid from a little earlier on: clocks of machines differ.
pub const TRUST_BEGINS_EARLIER: Duration = Duration::from_secs(5 * 60);
/// No certificate is made for longer: times stay within what certificates and clocks can say.
pub const TRUST_LONGEST: Duration = Duration::from_secs(100 * 366 * 86_400);

// ---- tokens

/// How often it is looked whether a pod's certificate has come, which is written by somebody else after the pod began.
pub const TRUST_AWAITED_EVERY: Duration = Duration::from_millis(500);
/// For so long: what probes allow a start. Then the store ends and says what it waited for, and whoever supervises it starts it again.
pub const TRUST_AWAITED_FOR: Duration = Duration::from_secs(60);
/// One-time tokens that have not expired: more than a fleet grows by in a week, and listed in one message.
pub const JOIN_TOKENS: usize = 256;
/// How long a one-time token is good for when nobody says otherwise: a machine is set up meanwhile.
pub const JOIN_TOKEN_TTL: Duration = Duration::from_secs(3_600);
/// The longest: what is not used by then was lost, or is kept by somebody.
pub const JOIN_TOKEN_TTL_MAX: Duration = Duration::from_secs(7 * 86_400);
/// The shortest: clocks differ by less.
pub const JOIN_TOKEN_TTL_MIN: Duration = Duration::from_secs(10);
/// The file with the keys that sign bearer tokens: dozens of the longest, with what their owners add to them.
pub const BEARER_FILE_BYTES: usize = 256 << 10;
/// Keys in it. One is chosen by its name; those without one are tried in turn.
pub const BEARER_KEYS: usize = 64;
/// How often that file is looked at.
pub const BEARER_LOOK_EVERY: Duration = Duration::from_secs(1);
/// Clocks of those who sign tokens and of stores differ by so much: a token is good for as long after its end, and before its beginning.
pub const BEARER_LEEWAY: Duration = Duration::from_secs(30);
/// Tokens whose signatures were found good and need not be looked at for the next request: a few hundred bytes each, of many clients.
pub const BEARER_REMEMBERED: usize = 4_096;
/// Signatures of bearer tokens that are checked in a second, for all who are not remembered: each takes up to 100 microseconds of a core.
pub const BEARER_CHECKS_PER_SECOND: u32 = 2_000;
/// The part of the connections of probes that those who read metrics have, in percent, where they come by a port of their own.
pub const METRICS_SHARE_PERCENT: usize = 25;

/// Sites of which every store remembers that they were distrusted once; beyond it the words that are oldest go, those that still hold last.
/// More than a fleet has sites.
pub const SITES_DOUBTED: usize = 256;
/// What another store says against a site holds for so long, whatever the records say: the record may have to wait until others lead the
/// system range than the site itself.
pub const SITE_HEARSAY_HOLDS: Duration = Duration::from_secs(15);
/// Roots that go in one rotation: those that certificates of stores lead to when it begins, mostly one.
pub const ROTATION_OLD_ROOTS: usize = 16;
/// A root that ends within this time is told of: every certificate below it ends with it, and replacing it takes people and weeks.
pub const ROOT_ENDS_SOON: Duration = Duration::from_secs(90 * 86_400);

// ---- the audit

/// How long entries of the audit are kept when nobody says otherwise: a quarter of a year, within which most break-ins are noticed.
pub const AUDIT_RETENTION: Duration = Duration::from_secs(90 * 86_400);
/// The least: an entry that is gone before anybody looked was not worth a write. No store may write one that is gone earlier.
pub const AUDIT_RETENTION_MIN: Duration = Duration::from_secs(86_400);
/// The most: what has to be kept longer belongs into an archive, by the log's lines.
pub const AUDIT_RETENTION_MAX: Duration = Duration::from_secs(10 * 366 * 86_400);
/// An entry as it is kept: its texts, each cut to [`AUDIT_TEXT_BYTES`], its arguments and their names.
pub const AUDIT_ENTRY_BYTES: usize = 8 << 10;
/// Any one text of an entry: an identity, a sentence, an argument.
pub const AUDIT_TEXT_BYTES: usize = 512;
/// Arguments of an entry; those of the requests that there are have fewer, lists are told by their beginning.
pub const AUDIT_ARGUMENTS: usize = 8;
/// Acts that are under way or not written yet. An act that finds no place waits, and is not done before it has one.
pub const AUDIT_ACTS: usize = 2_048;
/// How long an act waits for its place before it is refused as busy: within the patience of whoever asks.
pub const AUDIT_WAIT: Duration = Duration::from_secs(5);
/// Acts that may begin at once; a script that splits a thousand ranges does not notice.
pub const AUDIT_ACTS_BURST: u32 = 1_024;
/// After that, one begins this often: whoever may do anything at all cannot fill the disk by asking for what is refused.
pub const AUDIT_ACT_EVERY: Duration = Duration::from_millis(10);
/// Changes of trust that are not written yet, beside acts: nobody waits for them, the oldest go first. They come minutes apart.
pub const AUDIT_CHANGES: usize = 256;
/// Refusals that are not written yet, sums included. The newest are left out, and counted.
pub const AUDIT_REFUSALS: usize = 1_024;
/// Refusals that are told one by one as fast as they come; what comes faster than that and [`AUDIT_REFUSAL_EVERY`] is summed up.
pub const AUDIT_REFUSALS_BURST: u32 = 64;
/// After the burst one more is told this often: 90 days of it are less than 100 MB of each store.
pub const AUDIT_REFUSAL_EVERY: Duration = Duration::from_secs(20);
/// Callers whose refusals are summed up one by one; those of all others are summed up together, so that invented callers take no memory.
pub const AUDIT_SUMMED_CALLERS: usize = 32;
/// How often sums are told: a flood from everywhere that lasts makes 40 entries each time, 200 MB of each store in 90 days.
pub const AUDIT_SUM_EVERY: Duration = Duration::from_secs(300);
/// Entries of one write.
pub const AUDIT_BATCH: usize = 256;
/// How long an entry waits for others to be written with, if nothing else is under way.
pub const AUDIT_LINGER: Duration = Duration::from_millis(100);
/// One write takes at most this long. It is repeated until it is known to be done.
pub const AUDIT_WRITE_WITHIN: Duration = Duration::from_secs(5);
/// First wait before a write that failed is tried again, doubling.
pub const AUDIT_RETRY_MIN: Duration = Duration::from_millis(250);
/// Longest such wait: as long as entries stay behind once the range has a quorum again.
pub const AUDIT_RETRY_MAX: Duration = Duration::from_secs(5);
/// A store that stops waits at most this long until what is on record is written; the rest is in its file.
pub const AUDIT_STOP_WITHIN: Duration = Duration::from_secs(1);
/// Bytes of the file in which entries wait that could not be written yet; with it all that waits in memory.
pub const AUDIT_FILE_BYTES: usize =
    (AUDIT_ACTS + AUDIT_CHANGES + AUDIT_REFUSALS + AUDIT_BATCH) * (AUDIT_ENTRY_BYTES + 16);
/// Entries of that file.
pub const AUDIT_FILE_ENTRIES: usize = AUDIT_ACTS + AUDIT_CHANGES + AUDIT_REFUSALS + AUDIT_BATCH;
/// Entries of one answer, at most.
pub const AUDIT_PAGE: u32 = 500;
/// Entries that a store looks at for one page of those that fit: so long nobody is made to wait for what is rare.
pub const AUDIT_LOOKED_AT: u64 = 20_000;
/// Conditions of one question.
pub const AUDIT_CONDITIONS: usize = 16;

// ---- rights

/// The prefix of a grant: enough for any hierarchy of names, and short enough to compare with every request.
pub const GRANT_PREFIX_BYTES: usize = 256;
/// Grants of one client or one role: what is looked through, a few comparisons each, when a request is checked.
pub const GRANTS_OF_ONE: usize = 64;
/// Grants that one statement gives or takes.
pub const GRANTS_AT_A_TIME: usize = GRANTS_OF_ONE;
/// Roles of a fleet.
pub const MAX_ROLES: usize = 256;
/// Clients that are members of one role; whoever has more of them gives the role to all clients, or makes two.
pub const MEMBERS_OF_A_ROLE: usize = 512;
/// Roles that one client is a member of: with its own grants they are all looked through when a request is checked.
pub const ROLES_OF_A_CLIENT: usize = 16;
/// Clients that have grants of their own.
pub const MAX_GRANTED_CLIENTS: usize = 4_096;
/// The record of a role or of a client's grants, encoded: all grants with the longest prefixes, and all members with the longest names.
pub const RIGHTS_RECORD_BYTES: usize = 64 << 10;
/// All such records together: every store keeps them in memory and in a file, and reads them in a few pages.
pub const RIGHTS_BYTES: usize = 4 << 20;
/// The file in which a store keeps them, with their names.
pub const RIGHTS_FILE_BYTES: usize = 2 * RIGHTS_BYTES;
/// Fields in that file, those of the records counted by their bytes: a row of its own has two.
pub const RIGHTS_FILE_FIELDS: usize = 4 * (MAX_ROLES + MAX_GRANTED_CLIENTS + 1);
/// Rights in one answer to who asks for them, in bytes, beside the last grantee's: keyspaces are told by name there.
pub const RIGHTS_PAGE_BYTES: usize = 2 << 20;
/// How often a store asks whether rights have changed, if nobody told it: what was revoked is over by then, whatever became of the word.
pub const RIGHTS_LOOK_EVERY: Duration = Duration::from_secs(1);
/// A store that has not been able to ask for so long complains: it goes by what it knew.
pub const RIGHTS_STALE_AFTER: Duration = Duration::from_secs(30);
