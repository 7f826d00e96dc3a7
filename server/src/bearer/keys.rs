//! The keys of those who sign bearer tokens: a JSON Web Key Set (RFC 7517) of public keys.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use holdfast_types::limits;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::Value;

/// Why a file of keys is not taken.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadKeys {
    /// It is no key set.
    #[error("it is no JSON Web Key Set: {0}")]
    NoSet(String),
    /// Each costs time when a token comes.
    #[error("it has {0} keys, {most} are the most", most = limits::BEARER_KEYS)]
    TooMany(usize),
    /// Who could read it could make tokens.
    #[error("key {0} is a secret: put public keys there alone, in which there is no `d` and whose `kty` is not `oct`")]
    Secret(usize),
    /// Nobody could come by a token.
    #[error("none of its keys can be used: ES256 (P-256), RS256 and EdDSA (Ed25519) are known")]
    NoneUsable,
}

/// One key.
pub(super) struct Key {
    id: Option<String>,
    pub(super) algorithm: Algorithm,
    pub(super) key: DecodingKey,
}

/// The keys of a file.
pub(super) struct Keys {
    keys: Vec<Key>,
    /// Those of other kinds, which are left out: a set may be meant for others too.
    pub(super) left_out: usize,
}

impl Keys {
    /// Reads a key set.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, BadKeys> {
        let no_set = |why: String| BadKeys::NoSet(why);
        let set: Value = serde_json::from_slice(bytes).map_err(|bad| no_set(bad.to_string()))?;
        let listed =
            set.get("keys").and_then(Value::as_array).ok_or_else(|| no_set("it has no list of keys".into()))?;
        if listed.len() > limits::BEARER_KEYS {
            return Err(BadKeys::TooMany(listed.len()));
        }
        let is_secret = |key: &Value| key.get("d").is_some() || key.get("kty").and_then(Value::as_str) == Some("oct");
        if let Some(secret) = listed.iter().position(is_secret) {
            return Err(BadKeys::Secret(secret.saturating_add(1)));
        }
        let keys: Vec<_> = listed.iter().filter_map(usable).collect();
        if keys.is_empty() {
            return Err(BadKeys::NoneUsable);
        }
        Ok(Self { left_out: listed.len().saturating_sub(keys.len()), keys })
    }

    /// Those that may have signed a token which names this key and this algorithm. A token without the name of a key may be of any.
    pub(super) fn fitting<'a>(&'a self, id: Option<&'a str>, algorithm: Algorithm) -> impl Iterator<Item = &'a Key> {
        self.keys.iter().filter(move |key| key.algorithm == algorithm && (id.is_none() || key.id.as_deref() == id))
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }
}

/// `None`: a key for something else, or of a kind that is not known here.
fn usable(key: &Value) -> Option<Key> {
    let jwk: Jwk = serde_json::from_value(key.clone()).ok()?;
    let common = &jwk.common;
    let signs = common.public_key_use.as_ref().is_none_or(|usage| *usage == PublicKeyUse::Signature);
    let verifies = common.key_operations.as_ref().is_none_or(|all| all.contains(&KeyOperations::Verify));
    let (algorithm, named) = match &jwk.algorithm {
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
            (Algorithm::ES256, KeyAlgorithm::ES256)
        }
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
        }
        AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
        _ => return None,
    };
    if !signs || !verifies || common.key_algorithm.is_some_and(|said| said != named) {
        return None;
    }
    let decoded = DecodingKey::from_jwk(&jwk).ok()?;
    Some(Key { id: common.key_id.clone(), algorithm, key: decoded })
}
