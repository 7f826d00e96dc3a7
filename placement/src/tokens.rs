//! One-time tokens to join with, as the system range keeps them: everything but their secrets.

use holdfast_types::{SiteName, StoreId, Timestamp, TokenId};

/// What is on record of a token. The record goes when the token expires.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TokenRecord {
    /// Its name.
    pub id: TokenId,
    /// SHA-256 of its secret.
    pub secret_sha256: [u8; 32],
    /// The site that a store may join with it.
    pub site: SiteName,
    /// When it was made, in fleet time.
    pub created_at: Timestamp,
    /// From when on it lets nobody in.
    pub expires_at: Timestamp,
    /// Who had it made, where that is known: a SPIFFE id.
    pub created_by: Option<String>,
    /// Whom it let in; `None`: nobody so far.
    pub used: Option<TokenUse>,
}

/// Whom a token let in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TokenUse {
    /// The application, which may ask again: an answer may be lost.
    pub application: u128,
    /// When, in fleet time.
    pub at: Timestamp,
    /// The store that the application became.
    pub store: StoreId,
}
