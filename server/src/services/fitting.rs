//! What makes an answer fit into a message, however large the fleet is and however much is wrong with it: sentences are short, lists name
//! the first ones and say how many there are.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use holdfast_edge::ledger::Ledger;
use holdfast_proto::convert::status::to_status;
use holdfast_proto::v1;
use holdfast_types::bounds::cut;
use holdfast_types::{Rejected, SiteName, limits};
use prost::Message as _;
use tonic::{Response, Status};

use crate::config::MAX_ZONE_BYTES;
use crate::trust::shown;

/// A sentence, cut where it is too long.
pub fn short(mut sentence: String) -> String {
    if sentence.len() > limits::MAX_SENTENCE_BYTES {
        sentence.truncate(sentence.floor_char_boundary(limits::MAX_SENTENCE_BYTES.saturating_sub("...".len())));
        sentence.push_str("...");
    }
    sentence
}

/// An answer that is charged to the client's connection from here on. Refused when the client has not taken what it was answered before.
pub fn paid<M: prost::Message>(client: &Ledger, answer: M) -> Result<Response<M>, Status> {
    if client.owe(answer.encoded_len()) {
        Ok(Response::new(answer))
    } else {
        Err(to_status(Rejected::Busy { retry_after: limits::BUSY_RETRY_AFTER }))
    }
}

/// What another store says of itself, cut to what an honest one says: its word is told on with everybody's.
pub fn plausible(status: &mut v1::StoreStatus) {
    let texts = [
        (&mut status.site, SiteName::MAX_BYTES),
        (&mut status.client_address, limits::MAX_ADDRESS_BYTES),
        (&mut status.store_address, limits::MAX_ADDRESS_BYTES),
        (&mut status.http_address, limits::MAX_ADDRESS_BYTES),
        (&mut status.version, limits::MAX_VERSION_BYTES),
        (&mut status.zone, MAX_ZONE_BYTES),
    ];
    for (text, most) in texts {
        if text.len() > most {
            text.clear();
        }
    }
    status.trust.iter_mut().for_each(shown::plausible);
    status.quarantined.truncate(limits::MAX_SENTENCES);
    status.complaints.truncate(limits::MAX_SENTENCES);
    status.headroom.truncate(limits::MAX_SENTENCES);
    status.hears.truncate(limits::MAX_MEMBERS);
    status.quarantined.iter_mut().for_each(|one| one.reason = short(std::mem::take(&mut one.reason)));
    status.complaints.iter_mut().for_each(|one| one.message = short(std::mem::take(&mut one.message)));
    for site in &mut status.headroom {
        site.sentence = short(std::mem::take(&mut site.sentence));
        if site.lost_site.len() > SiteName::MAX_BYTES {
            site.lost_site.clear();
        }
    }
    for bytes in [&mut status.disk_total_bytes, &mut status.disk_free_bytes] {
        *bytes = cut(*bytes, limits::MAX_REPORTED_BYTES);
    }
}

/// The first of many sentences, each short, and a last one that says how many are left out.
pub fn first_of(sentences: Vec<String>) -> Vec<String> {
    let more = sentences.len().saturating_sub(limits::MAX_SENTENCES);
    let mut first: Vec<_> = sentences.into_iter().take(limits::MAX_SENTENCES).map(short).collect();
    if more > 0 {
        first.push(format!("and {more} more"));
    }
    first
}

/// Stores as they are listed together. Where all that they say is too much, each keeps the first of everything; asked alone
/// (`only_this_store`) it says the rest.
pub fn listed(mut stores: Vec<v1::StoreStatus>) -> Vec<v1::StoreStatus> {
    let bytes: usize = stores.iter().map(|store| store.encoded_len()).fold(0, usize::saturating_add);
    if bytes > limits::STORES_LIST_BYTES {
        for store in &mut stores {
            store.quarantined.truncate(1);
            store.complaints.truncate(1);
            store.headroom.truncate(1);
            store.hears.clear();
            store.trust.iter_mut().for_each(|trust| trust.roots.clear());
        }
    }
    stores
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_sentences_and_long_lists_are_cut_and_say_so() {
        assert_eq!(short("short".into()), "short");
        let cut = short("\u{fc}".repeat(limits::MAX_SENTENCE_BYTES));
        assert!(cut.len() <= limits::MAX_SENTENCE_BYTES && cut.ends_with("..."), "{}", cut.len());
        let many = vec!["w".repeat(1 << 20); limits::MAX_SENTENCES + 7];
        let first = first_of(many);
        assert_eq!(first.last().map(String::as_str), Some("and 7 more"));
        assert!(first.iter().map(String::len).sum::<usize>() < limits::MAX_MESSAGE_BYTES / 4);
        assert_eq!(first_of(vec!["a".into(), "b".into()]), ["a", "b"]);
    }

    fn worst(store: u64) -> v1::StoreStatus {
        let address = || "h".repeat(limits::MAX_ADDRESS_BYTES);
        let sentence = || "s".repeat(limits::MAX_SENTENCE_BYTES);
        let complaint = v1::Complaint { kind: 1, message: sentence() };
        let site = v1::SiteHeadroom { lost_site: "s".repeat(63), sentence: sentence(), ..Default::default() };
        v1::StoreStatus {
            store_id: store,
            site: "s".repeat(63),
            client_address: address(),
            store_address: address(),
            http_address: address(),
            version: "v".repeat(limits::MAX_VERSION_BYTES),
            quarantined: vec![v1::QuarantinedRange { range_id: u64::MAX, reason: sentence() }; limits::MAX_SENTENCES],
            quarantined_replicas: 100_000,
            complaints: vec![complaint; limits::MAX_SENTENCES],
            headroom: vec![site; limits::MAX_SENTENCES],
            hears: (1..=limits::MAX_MEMBERS as u64).collect(),
            zone: "z".repeat(63),
            ..v1::StoreStatus::default()
        }
    }

    #[test]
    fn what_another_store_says_of_itself_is_cut_before_it_is_told_on() {
        let told = worst(7);
        let mut kept = told.clone();
        plausible(&mut kept);
        assert_eq!(kept, told, "an honest store's word stays as it is");
        let mut hostile = v1::StoreStatus { version: "v".repeat(6 << 20), disk_free_bytes: u64::MAX, ..told };
        hostile.complaints.extend(vec![v1::Complaint { kind: 1, message: "c".repeat(1 << 20) }; 1_000]);
        plausible(&mut hostile);
        assert!(hostile.encoded_len() < 1 << 20, "{}", hostile.encoded_len());
        assert!(hostile.disk_free_bytes.checked_mul(100).is_some());
    }

    #[test]
    fn the_largest_fleet_with_everything_wrong_is_listed_in_one_message() {
        let stores = listed((1..=limits::MAX_MEMBERS as u64).map(worst).collect());
        let silent =
            v1::SilentStore { store_id: 1, site: "s".repeat(63), reason: "r".repeat(limits::MAX_SENTENCE_BYTES) };
        let answer = v1::ListStoresResponse { stores, silent: vec![silent; limits::MAX_MEMBERS] };
        assert!(answer.encoded_len() < limits::MAX_MESSAGE_BYTES, "{}", answer.encoded_len());
        assert_eq!(answer.stores[7].quarantined_replicas, 100_000, "how many there are is said all the same");
        let few = listed(vec![worst(1), worst(2)]);
        assert_eq!(few[0].quarantined.len(), limits::MAX_SENTENCES);
    }
}
