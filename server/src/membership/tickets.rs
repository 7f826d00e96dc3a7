//! One-time tokens as they are shown: looked at, and used up.
//!
//! A token is used by the application of a store, which may ask again when an answer was lost, and by nobody else. It is marked as used in the
//! write that makes the store a member. Whatever is wrong with one that is shown, the refusal has the same words, and takes one look at the system range
//! and one digest: whoever tries tokens does not learn whether there is one of that name.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use holdfast_kv::core::records;
use holdfast_placement::{StateKey, StoreRecord, TokenRecord, TokenUse};
use holdfast_types::{Condition, Expected, JoinToken, Mutation, Rejected, Timestamp, TokenId};
use ring::digest::{SHA256, digest};
use subtle::{Choice, ConstantTimeEq};

use super::Applicant;
use crate::running::Running;
use crate::system::{self, damaged, get, write};

/// A token that lets an applicant in.
pub(super) struct Ticket {
    record: TokenRecord,
    /// As it was looked at.
    version: Timestamp,
    application: u128,
}

impl Ticket {
    /// The applicant has used it, and asks again.
    pub(super) fn is_spent(&self) -> bool {
        self.record.used.is_some()
    }

    /// Nobody has used it, or revoked it, since it was looked at.
    pub(super) fn condition(&self) -> Condition {
        Condition { key: StateKey::JoinToken(self.record.id).key(), expected: Expected::Version(self.version) }
    }

    /// It let this store in.
    pub(super) fn spent_on(&self, store: &StoreRecord, now: Timestamp) -> Mutation {
        let used = TokenUse { application: self.application, at: now.max(Timestamp(1)), store: store.store };
        put(&TokenRecord { used: Some(used), ..self.record.clone() })
    }
}

/// The record of a token goes with the token.
pub fn put(record: &TokenRecord) -> Mutation {
    Mutation {
        expires_at: Some(record.expires_at),
        ..system::put(StateKey::JoinToken(record.id).key(), records::encode_token(record))
    }
}

/// What is kept of a secret.
pub fn digest_of(secret: &[u8; JoinToken::SECRET_BYTES]) -> [u8; 32] {
    let mut sum = [0; 32];
    // Both have 32 bytes.
    sum.iter_mut().zip(digest(&SHA256, secret).as_ref()).for_each(|(to, from)| *to = *from);
    sum
}

/// Looks at a token that an applicant shows.
pub(super) async fn look(running: &Running, shown: &str, applicant: &Applicant) -> Result<Ticket, Rejected> {
    // What is no token is looked for all the same, and not found.
    let shown = shown.parse().unwrap_or_else(|_| JoinToken::new(TokenId::of(0), [0; JoinToken::SECRET_BYTES]));
    let found = get(running, &StateKey::JoinToken(shown.id()).key()).await?;
    let version = found.as_ref().map(|found| found.timestamp);
    let record = found.map(|found| records::decode_token(&found.value).map_err(damaged)).transpose()?;
    judge(&shown, record.zip(version), applicant, running.fleet_now())
}

fn judge(
    shown: &JoinToken,
    found: Option<(TokenRecord, Timestamp)>,
    applicant: &Applicant,
    now: Timestamp,
) -> Result<Ticket, Rejected> {
    let given = digest_of(shown.secret());
    let known = found.as_ref().map_or([0; 32], |(record, _)| record.secret_sha256);
    let lets_in = |record: &TokenRecord, application| {
        let is_free = record.used.is_none_or(|used| used.application == application);
        is_free && record.site == applicant.site && record.expires_at > now
    };
    let fits = match (&found, applicant.application) {
        (Some((record, _)), Some(application)) => lets_in(record, application),
        _ => false,
    };
    let is_right = given.ct_eq(&known) & Choice::from(u8::from(fits));
    match (found, applicant.application) {
        (Some((record, version)), Some(application)) if bool::from(is_right) => {
            Ok(Ticket { record, version, application })
        }
        _ => Err(Rejected::Forbidden(format!(
            "the join token lets no store of site {site} in: it is wrong, used, expired, revoked, or another site's. Have one made by \
             `holdfast token create --site {site}`",
            site = applicant.site
        ))),
    }
}

/// A store that was let in before shows a token that was not used: it is used up all the same. False: it has changed meanwhile.
pub(super) async fn spend(running: &Running, ticket: Option<&Ticket>, known: &StoreRecord) -> Result<bool, Rejected> {
    match ticket.filter(|ticket| !ticket.is_spent()) {
        Some(ticket) => {
            let used = ticket.spent_on(known, running.fleet_now());
            write(running, vec![ticket.condition()], vec![used]).await
        }
        None => Ok(true),
    }
}

#[cfg(test)]
mod tests {
    use holdfast_placement::StoreAddresses;
    use holdfast_types::{SiteName, StoreId};

    use super::*;

    const NOW: Timestamp = Timestamp(1_000);

    fn site(name: &str) -> SiteName {
        SiteName::new(name).unwrap()
    }

    fn applicant(name: &str, application: Option<u128>) -> Applicant {
        Applicant {
            store: StoreId::NONE,
            site: site(name),
            site_identity: None,
            addresses: StoreAddresses::default(),
            zone: None,
            application,
            has_started: false,
        }
    }

    fn token() -> JoinToken {
        JoinToken::new(TokenId::of(7), [9; 32])
    }

    fn record() -> TokenRecord {
        TokenRecord {
            id: token().id(),
            secret_sha256: digest_of(token().secret()),
            site: site("b"),
            created_at: Timestamp(1),
            expires_at: Timestamp(2_000),
            created_by: None,
            used: None,
        }
    }

    fn used_by(application: u128) -> TokenRecord {
        TokenRecord { used: Some(TokenUse { application, at: Timestamp(5), store: StoreId(4) }), ..record() }
    }

    fn shows(
        token: &JoinToken,
        record: Option<TokenRecord>,
        applicant: &Applicant,
        now: Timestamp,
    ) -> Result<bool, String> {
        let found = record.map(|record| (record, Timestamp(3)));
        judge(token, found, applicant, now).map(|ticket| ticket.is_spent()).map_err(|refused| match refused {
            Rejected::Forbidden(why) => why,
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn a_token_lets_one_application_in_and_that_one_again() {
        let mine = applicant("b", Some(11));
        assert_eq!(shows(&token(), Some(record()), &mine, NOW), Ok(false));
        assert_eq!(shows(&token(), Some(used_by(11)), &mine, NOW), Ok(true), "its answer was lost");
        assert!(shows(&token(), Some(used_by(12)), &mine, NOW).is_err(), "it let somebody else in");
    }

    #[test]
    fn whatever_is_wrong_with_a_token_the_refusal_has_the_same_words() {
        let (mine, token) = (applicant("b", Some(11)), token());
        let other_secret = JoinToken::new(token.id(), [8; 32]);
        let nothing = JoinToken::new(TokenId::of(0), [0; 32]);
        let mut words: Vec<_> = [
            shows(&other_secret, Some(record()), &mine, NOW),
            shows(&token, None, &mine, NOW),
            shows(&nothing, None, &mine, NOW),
            shows(&token, Some(used_by(12)), &mine, NOW),
            shows(&other_secret, Some(used_by(11)), &mine, NOW),
            shows(&token, Some(record()), &mine, Timestamp(2_000)),
            shows(&token, Some(record()), &applicant("b", None), NOW),
            shows(&token, Some(TokenRecord { site: site("a"), ..record() }), &mine, NOW),
        ]
        .into_iter()
        .map(Result::unwrap_err)
        .collect();
        words.dedup();
        assert_eq!(words.len(), 1, "{words:?}");
        assert!(words[0].contains("token create --site b") && !words[0].contains(&token.reveal()), "{words:?}");
        // All zeros are the digest of no secret.
        let blank = TokenRecord { secret_sha256: [0; 32], ..record() };
        assert!(shows(&token, Some(blank), &mine, NOW).is_err());
    }

    #[test]
    fn a_token_is_used_on_the_condition_that_nobody_else_has() {
        let ticket = judge(&token(), Some((record(), Timestamp(3))), &applicant("b", Some(11)), NOW).unwrap();
        let key = StateKey::JoinToken(TokenId::of(7)).key();
        assert_eq!(ticket.condition(), Condition { key: key.clone(), expected: Expected::Version(Timestamp(3)) });
        let spent = ticket.spent_on(&StoreRecord::new(StoreId(4), site("b")), NOW);
        assert_eq!((spent.key, spent.expires_at), (key, Some(Timestamp(2_000))));
        let kept = records::decode_token(&spent.value.unwrap()).unwrap();
        assert_eq!(kept.used, Some(TokenUse { application: 11, at: NOW, store: StoreId(4) }));
    }
}
