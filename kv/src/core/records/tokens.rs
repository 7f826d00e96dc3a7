//! One-time tokens to join with.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use bytes::Bytes;
use holdfast_placement::{TokenRecord, TokenUse};
use holdfast_proto::convert::BadMessage;
use holdfast_proto::v1;
use holdfast_types::{StoreId, Timestamp, TokenId};
use prost::Message as _;

use super::{VERSION, known, site, some};

/// Encodes the record of a token.
#[must_use]
pub fn encode_token(record: &TokenRecord) -> Bytes {
    let message = v1::JoinTokenRecord {
        version: VERSION,
        id: record.id.bits(),
        secret_sha256: record.secret_sha256.to_vec().into(),
        site: record.site.to_string(),
        created_at: record.created_at.0,
        expires_at: record.expires_at.0,
        created_by: record.created_by.clone().unwrap_or_default(),
        used_by: record.used.map(|used| used.application.into()),
        used_at: record.used.map_or(0, |used| used.at.0),
        used_as: record.used.map_or(0, |used| used.store.0),
    };
    message.encode_to_vec().into()
}

/// Decodes the record of a token.
pub fn decode_token(bytes: &[u8]) -> Result<TokenRecord, BadMessage> {
    let message = v1::JoinTokenRecord::decode(bytes)?;
    known("a token's record", message.version)?;
    let used = message.used_by.map(|application| {
        Ok::<_, BadMessage>(TokenUse {
            application: application.into(),
            at: Timestamp::bounded(message.used_at)?,
            store: StoreId::bounded(message.used_as)?,
        })
    });
    let digest: &[u8] = &message.secret_sha256;
    Ok(TokenRecord {
        id: TokenId::of(message.id),
        secret_sha256: digest.try_into().map_err(|_| BadMessage::malformed("a digest has 32 bytes"))?,
        site: site(&message.site)?,
        created_at: Timestamp::bounded(message.created_at)?,
        expires_at: Timestamp::bounded(message.expires_at)?,
        created_by: some(message.created_by),
        used: used.transpose()?,
    })
}

#[cfg(test)]
mod tests {
    use holdfast_types::SiteName;

    use super::*;

    #[test]
    fn a_token_is_read_as_it_was_written_used_or_not() {
        let fresh = TokenRecord {
            id: TokenId::of(7),
            secret_sha256: [9; 32],
            site: SiteName::new("b").unwrap(),
            created_at: Timestamp(5),
            expires_at: Timestamp(50),
            created_by: Some("spiffe://f/operator/ann".into()),
            used: None,
        };
        let used = TokenUse { application: 1 << 100, at: Timestamp(6), store: StoreId(4) };
        for record in [fresh.clone(), TokenRecord { created_by: None, used: Some(used), ..fresh.clone() }] {
            assert_eq!(decode_token(&encode_token(&record)), Ok(record));
        }
        let mut short = v1::JoinTokenRecord::decode(encode_token(&fresh)).unwrap();
        short.secret_sha256 = vec![9; 31].into();
        assert!(decode_token(&short.encode_to_vec()).is_err());
        short.version = 2;
        assert!(matches!(decode_token(&short.encode_to_vec()), Err(BadMessage::UnknownVersion { found: 2, .. })));
    }
}
