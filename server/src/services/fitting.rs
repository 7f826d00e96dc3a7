//! What makes an answer fit into a message, however large the fleet is and however much is wrong with it: sentences are short, lists name
//! the first ones and say how many there are.

use holdfast_proto::v1;
use holdfast_types::limits;
use prost::Message as _;

/// A sentence, cut where it is too long.
pub fn short(mut sentence: String) -> String {
    if sentence.len() > limits::MAX_SENTENCE_BYTES {
        let fits = (0..=limits::MAX_SENTENCE_BYTES - "...".len()).rev().find(|at| sentence.is_char_boundary(*at));
        sentence.truncate(fits.unwrap_or(0));
        sentence.push_str("...");
    }
    sentence
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
    let bytes: usize = stores.iter().map(|store| store.encoded_len()).sum();
    if bytes > limits::STORES_LIST_BYTES {
        for store in &mut stores {
            store.quarantined.truncate(1);
            store.complaints.truncate(1);
            store.headroom.truncate(1);
            store.hears.clear();
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
