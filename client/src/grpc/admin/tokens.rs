//! One-time tokens to join with.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::time::Duration;

use bytes::Bytes;
use holdfast_proto::convert::BadMessage;
use holdfast_proto::v1;
use holdfast_types::{SiteName, StoreId, Timestamp, TokenId};

use super::answers::{all, site, store};
use super::{Admin, AdminError};

/// What is on record of a one-time token: everything but its secret.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TokenInfo {
    /// Its name.
    pub id: TokenId,
    /// The site that a store may join with it.
    pub site: SiteName,
    /// When it was made, in fleet time.
    pub created_at: Timestamp,
    /// From when on it lets nobody in.
    pub expires_at: Timestamp,
    /// Who had it made; `None`: not known, in a fleet without TLS.
    pub created_by: Option<String>,
    /// The store that it let in, and when; `None`: none so far.
    pub used: Option<(StoreId, Timestamp)>,
}

/// The one-time tokens that have not expired.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tokens {
    /// By id.
    pub tokens: Vec<TokenInfo>,
    /// Fleet time at the store that answered.
    pub now: Timestamp,
}

impl Admin {
    /// Puts a one-time token for one new store of a site on record, good for `ttl`. The secret stays with the caller, who makes it of 32 random
    /// bytes: its SHA-256 is all that the fleet is told. With the name in the answer it makes a [`holdfast_types::JoinToken`].
    pub async fn create_join_token(
        &self,
        site: &SiteName,
        ttl: Duration,
        secret_sha256: [u8; 32],
    ) -> Result<TokenInfo, AdminError> {
        let request = v1::CreateJoinTokenRequest {
            site: site.to_string(),
            ttl_ms: u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX),
            secret_sha256: Bytes::copy_from_slice(&secret_sha256),
        };
        let answer = self.change(request, async |mut client, request| client.create_join_token(request).await).await?;
        told(answer.token)
    }

    /// The one-time tokens that have not expired, those that were used too.
    pub async fn join_tokens(&self) -> Result<Tokens, AdminError> {
        let request = v1::ListJoinTokensRequest {};
        let answer = self.look(request, async |mut client, request| client.list_join_tokens(request).await).await?;
        Ok(Tokens { tokens: all(answer.tokens)?, now: Timestamp::compared(answer.now) })
    }

    /// Ends a one-time token before its time. A store that it has let in stays a member.
    pub async fn revoke_join_token(&self, id: TokenId) -> Result<TokenInfo, AdminError> {
        let request = v1::RevokeJoinTokenRequest { id: id.bits() };
        let answer = self.change(request, async |mut client, request| client.revoke_join_token(request).await).await?;
        told(answer.token)
    }
}

fn told(token: Option<v1::JoinToken>) -> Result<TokenInfo, AdminError> {
    let token = token.ok_or_else(|| AdminError::Protocol("a token was expected".into()))?;
    Ok(token.try_into()?)
}

impl TryFrom<v1::JoinToken> for TokenInfo {
    type Error = BadMessage;

    fn try_from(token: v1::JoinToken) -> Result<Self, BadMessage> {
        let used = (token.used_at != 0)
            .then(|| Ok::<_, BadMessage>((store(token.used_as)?, Timestamp::compared(token.used_at))));
        Ok(Self {
            id: TokenId::of(token.id),
            site: site(&token.site)?,
            created_at: Timestamp::compared(token.created_at),
            expires_at: Timestamp::compared(token.expires_at),
            created_by: Some(token.created_by).filter(|by| !by.is_empty()),
            used: used.transpose()?,
        })
    }
}
