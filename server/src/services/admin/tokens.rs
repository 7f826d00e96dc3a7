//! One-time tokens to join with: made, listed and revoked, by operators alone where there is TLS. Their secrets never come here; how they are
//! used is in `membership`.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::time::Duration;

use holdfast_kv::core::records;
use holdfast_placement::{StateKey, TokenRecord};
use holdfast_proto::convert::status::to_status;
use holdfast_proto::v1;
use holdfast_types::{Condition, Expected, Mutation, Rejected, SiteName, Timestamp, TokenId, limits};
use tonic::Status;

use crate::joining::random_128;
use crate::membership;
use crate::running::Running;
use crate::services::caller::Caller;
use crate::system::{self, damaged};

/// How often a creation is begun again: names are random, so that none is given twice.
const MAX_TRIES: usize = 4;

/// What is asked for, within its bounds.
struct Wanted {
    site: SiteName,
    ttl: Duration,
    secret_sha256: [u8; 32],
}

impl Wanted {
    fn of(request: &v1::CreateJoinTokenRequest) -> Result<Self, Rejected> {
        let site = SiteName::new(&request.site).map_err(Rejected::invalid)?;
        let ttl = if request.ttl_ms == 0 { limits::JOIN_TOKEN_TTL } else { Duration::from_millis(request.ttl_ms) };
        let (least, most) = (limits::JOIN_TOKEN_TTL_MIN, limits::JOIN_TOKEN_TTL_MAX);
        if !(least..=most).contains(&ttl) {
            let [least, most] = [least, most].map(humantime::format_duration);
            return Err(Rejected::invalid(format!("a token is good for {least} at least and {most} at most")));
        }
        let digest: &[u8] = &request.secret_sha256;
        let secret_sha256 = digest.try_into().map_err(|_| {
            Rejected::invalid(
                "the digest of the secret has 32 bytes: SHA-256 of 32 random bytes that are for this token alone",
            )
        })?;
        // What many know is no secret.
        if secret_sha256 == [0; 32] {
            return Err(Rejected::invalid("the digest of the secret is missing"));
        }
        Ok(Self { site, ttl, secret_sha256 })
    }
}

/// Puts a token on record.
pub(super) async fn create(
    running: &Running,
    caller: &Caller,
    request: v1::CreateJoinTokenRequest,
) -> Result<v1::CreateJoinTokenResponse, Status> {
    let Wanted { site, ttl, secret_sha256 } = Wanted::of(&request).map_err(to_status)?;
    let known = all(running).await.map_err(to_status)?;
    if known.len() >= limits::JOIN_TOKENS {
        return Err(Status::failed_precondition(format!(
            "there are {} tokens that have not expired, the most that there may be: revoke some (`holdfast token list`, `holdfast token revoke ID`)",
            known.len()
        )));
    }
    for _ in 0..MAX_TRIES {
        let random = random_128().map_err(|error| Status::internal(error.to_string()))?;
        let id = TokenId::of(u64::try_from(random >> 64).unwrap_or(u64::MAX));
        let created_at = running.fleet_now().max(Timestamp(1));
        let record = TokenRecord {
            id,
            secret_sha256,
            site: site.clone(),
            created_at,
            expires_at: created_at.after(ttl),
            created_by: caller.principal.as_ref().map(ToString::to_string),
            used: None,
        };
        let condition = Condition { key: StateKey::JoinToken(id).key(), expected: Expected::Absent };
        if system::write(running, vec![condition], vec![membership::put_token(&record)]).await.map_err(to_status)? {
            tracing::info!(token = %id, %site, "a one-time token to join with was made");
            return Ok(v1::CreateJoinTokenResponse { token: Some(told(&record)) });
        }
    }
    Err(to_status(Rejected::Busy { retry_after: limits::BUSY_RETRY_AFTER }))
}

/// All that have not expired, by id.
pub(super) async fn list(running: &Running) -> Result<v1::ListJoinTokensResponse, Status> {
    let tokens = all(running).await.map_err(to_status)?;
    Ok(v1::ListJoinTokensResponse { tokens: tokens.iter().map(told).collect(), now: running.fleet_now().0 })
}

/// Ends one.
pub(super) async fn revoke(running: &Running, id: u64) -> Result<v1::RevokeJoinTokenResponse, Status> {
    let id = TokenId::of(id);
    let key = StateKey::JoinToken(id).key();
    let found = system::get(running, &key).await.map_err(to_status)?;
    let found = found.ok_or_else(|| Status::not_found(format!("there is no token {id}, or it has expired")))?;
    let record = records::decode_token(&found.value).map_err(damaged).map_err(to_status)?;
    // Whoever joins with it in this moment comes first, or not at all.
    let condition = Condition { key: key.clone(), expected: Expected::Version(found.timestamp) };
    let gone = Mutation { key, value: None, expires_at: None };
    if !system::write(running, vec![condition], vec![gone]).await.map_err(to_status)? {
        return Err(to_status(Rejected::Busy { retry_after: limits::BUSY_RETRY_AFTER }));
    }
    tracing::info!(token = %id, site = %record.site, "a one-time token to join with was revoked");
    Ok(v1::RevokeJoinTokenResponse { token: Some(told(&record)) })
}

async fn all(running: &Running) -> Result<Vec<TokenRecord>, Rejected> {
    let bounds = StateKey::all_join_tokens();
    let mut tokens = system::all(running, bounds, system::PATIENCE, records::decode_token).await?;
    let now = running.fleet_now();
    tokens.retain(|token| token.expires_at > now);
    Ok(tokens)
}

/// Without what is kept of the secret: who knows the digest could try secrets at home, were they ever so short.
fn told(record: &TokenRecord) -> v1::JoinToken {
    v1::JoinToken {
        id: record.id.bits(),
        site: record.site.to_string(),
        created_at: record.created_at.0,
        expires_at: record.expires_at.0,
        created_by: record.created_by.clone().unwrap_or_default(),
        used_at: record.used.map_or(0, |used| used.at.0),
        used_as: record.used.map_or(0, |used| used.store.0),
    }
}

#[cfg(test)]
mod tests {
    use holdfast_placement::TokenUse;
    use holdfast_types::StoreId;

    use super::*;

    fn request() -> v1::CreateJoinTokenRequest {
        v1::CreateJoinTokenRequest { site: "b".into(), ttl_ms: 60_000, secret_sha256: vec![9; 32].into() }
    }

    #[test]
    fn a_token_is_for_a_site_good_for_a_bounded_time_and_has_a_secret() {
        let of = |request: v1::CreateJoinTokenRequest| Wanted::of(&request);
        assert_eq!(of(request()).unwrap().ttl, Duration::from_secs(60));
        assert_eq!(of(v1::CreateJoinTokenRequest { ttl_ms: 0, ..request() }).unwrap().ttl, limits::JOIN_TOKEN_TTL);
        for bad in [
            v1::CreateJoinTokenRequest { site: String::new(), ..request() },
            v1::CreateJoinTokenRequest { site: "Site B".into(), ..request() },
            v1::CreateJoinTokenRequest { ttl_ms: 1, ..request() },
            v1::CreateJoinTokenRequest { ttl_ms: u64::MAX, ..request() },
            v1::CreateJoinTokenRequest { secret_sha256: vec![9; 31].into(), ..request() },
            v1::CreateJoinTokenRequest { secret_sha256: vec![0; 32].into(), ..request() },
            v1::CreateJoinTokenRequest { secret_sha256: vec![9; 1 << 20].into(), ..request() },
        ] {
            assert!(matches!(of(bad.clone()), Err(Rejected::Invalid(_))), "{}", bad.site);
        }
    }

    #[test]
    fn what_is_told_of_a_token_has_nothing_of_its_secret() {
        let record = TokenRecord {
            id: TokenId::of(7),
            secret_sha256: [0xab; 32],
            site: SiteName::new("b").unwrap(),
            created_at: Timestamp(5),
            expires_at: Timestamp(50),
            created_by: Some("spiffe://f/operator/ann".into()),
            used: Some(TokenUse { application: 1, at: Timestamp(6), store: StoreId(4) }),
        };
        let told = told(&record);
        assert_eq!((told.id, told.used_at, told.used_as, &told.created_by[..]), (7, 6, 4, "spiffe://f/operator/ann"));
        let bytes = prost::Message::encode_to_vec(&told);
        assert!(!bytes.windows(4).any(|window| window == [0xab; 4]));
    }
}
