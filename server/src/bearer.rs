//! Bearer tokens: who a client is that has no certificate, as somebody says whom the fleet believes. A token is a JSON Web Token (RFC 7519) with
//! `aud` "holdfast", `sub` the client's name or its SPIFFE id, and `exp`; it is signed by a key of the set that the store was started with.
//!
//! A token proves a client, never an operator nor a store: whoever signs tokens for applications does not own the fleet. Tokens are taken by TLS
//! alone, where nobody reads along. Neither a token nor any part of it is logged, or told back.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

mod keys;
mod signatures;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use arc_swap::ArcSwap;
use holdfast_edge::bucket::Bucket;
use holdfast_types::principal::Kind;
use holdfast_types::{Principal, PrincipalName, TrustDomain, limits};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::{Validation, decode, decode_header};
use parking_lot::Mutex;
use ring::digest::{SHA256, digest};
use serde::Deserialize;

use self::keys::Keys;

/// Whom tokens are made for, in their `aud`.
const AUDIENCE: &str = "holdfast";

/// Who comes by a token, and until when.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bearer {
    /// The client.
    pub principal: Arc<Principal>,
    /// From then on the token proves nothing, nor does what was begun with it.
    pub until: SystemTime,
}

/// Why a token proves nobody. Tells whoever came with it, and nothing of what was in it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadBearer {
    /// It is none.
    #[error("the bearer token is no JSON Web Token")]
    Malformed,
    /// It could be anybody's.
    #[error("the bearer token is signed by an algorithm that is not taken: use ES256, RS256 or EdDSA")]
    Algorithm,
    /// Somebody else's, or made up.
    #[error("the bearer token is not signed by a key that this store was started with (--bearer-keys)")]
    Signature,
    /// Too late.
    #[error("the bearer token has expired: get a new one")]
    Expired,
    /// Too early.
    #[error("the bearer token is not good yet: look at the clocks of this store and of who signs tokens")]
    NotYet,
    /// It was made for somebody else.
    #[error("the bearer token is made for somebody else: its `aud` must name {AUDIENCE:?}")]
    Audience,
    /// Something is missing that every token has here.
    #[error("the bearer token lacks `{0}`, or has it in another form than it must have")]
    Claim(&'static str),
    /// It names nobody that a token may stand for.
    #[error("the `sub` of the bearer token is neither the name of a client nor its SPIFFE id in this trust domain")]
    Subject,
    /// So many tokens come that cannot be looked at.
    #[error("too many bearer tokens come at once: try again")]
    Busy,
}

/// What is read of a token.
#[derive(Deserialize)]
struct Claims {
    sub: String,
    exp: u64,
}

/// The keys that count now, and the tokens that they were found to have signed.
struct Known {
    keys: Keys,
    /// By the digest of the token, so that none is kept.
    remembered: Mutex<HashMap<[u8; 32], Bearer>>,
}

/// Judges bearer tokens.
pub struct Bearers {
    path: PathBuf,
    domain: TrustDomain,
    known: ArcSwap<Known>,
    /// The file as it was looked at last, taken or not.
    seen: Mutex<Vec<u8>>,
    validation: Validation,
    /// Bounds the signatures that are checked.
    checks: Mutex<Bucket>,
}

impl Bearers {
    /// Takes the keys of a file. `domain`: whose clients they sign for.
    pub fn open(path: PathBuf, domain: TrustDomain) -> anyhow::Result<Arc<Self>> {
        signatures::install();
        let shown = || format!("reading the keys of bearer tokens in {}", path.display());
        let bytes = holdfast_files::read(&path, limits::BEARER_FILE_BYTES).with_context(shown)?;
        let bytes = bytes.with_context(|| format!("{}: there is no such file", shown()))?;
        let keys = Keys::parse(&bytes).with_context(shown)?;
        tracing::info!(keys = keys.len(), left_out = keys.left_out, "bearer tokens are taken");
        Ok(Arc::new(Self {
            path,
            domain,
            known: ArcSwap::from_pointee(Known { keys, remembered: Mutex::default() }),
            seen: Mutex::new(bytes),
            validation: validation(),
            checks: Mutex::new(Bucket::new(Instant::now())),
        }))
    }

    /// Who comes by this token.
    pub fn check(&self, token: &str) -> Result<Bearer, BadBearer> {
        if token.len() > limits::BEARER_TOKEN_BYTES {
            return Err(BadBearer::Malformed);
        }
        let (known, mut name) = (self.known.load(), [0; 32]);
        // Both have 32 bytes.
        name.iter_mut().zip(digest(&SHA256, token.as_bytes()).as_ref()).for_each(|(to, from)| *to = *from);
        let remembered = known.remembered.lock().get(&name).cloned();
        if let Some(bearer) = remembered {
            return if bearer.until > SystemTime::now() { Ok(bearer) } else { Err(BadBearer::Expired) };
        }
        let bearer = self.judge(&known.keys, token)?;
        let mut remembered = known.remembered.lock();
        if remembered.len() >= limits::BEARER_REMEMBERED {
            let now = SystemTime::now();
            remembered.retain(|_, bearer| bearer.until > now);
            if remembered.len() >= limits::BEARER_REMEMBERED {
                remembered.clear();
            }
        }
        remembered.insert(name, bearer.clone());
        Ok(bearer)
    }

    fn judge(&self, keys: &Keys, token: &str) -> Result<Bearer, BadBearer> {
        let header = decode_header(token).map_err(|_| BadBearer::Malformed)?;
        if !signatures::ALGORITHMS.contains(&header.alg) {
            return Err(BadBearer::Algorithm);
        }
        let mut refused = BadBearer::Signature;
        for key in keys.fitting(header.kid.as_deref(), header.alg) {
            let per_second = limits::BEARER_CHECKS_PER_SECOND;
            if !self.checks.lock().admits(per_second, Duration::from_secs(1) / per_second, Instant::now()) {
                return Err(BadBearer::Busy);
            }
            let validation = Validation { algorithms: vec![key.algorithm], ..self.validation.clone() };
            match decode::<Claims>(token, &key.key, &validation) {
                Ok(read) => return self.bearer(&read.claims),
                Err(error) => refused = why(&error),
            }
            // Another key would find the same.
            if refused != BadBearer::Signature {
                break;
            }
        }
        Err(refused)
    }

    fn bearer(&self, claims: &Claims) -> Result<Bearer, BadBearer> {
        let principal = if claims.sub.starts_with("spiffe://") {
            let principal: Principal = claims.sub.parse().map_err(|_| BadBearer::Subject)?;
            let is_client = matches!(principal.kind, Kind::Client(_));
            if !is_client || principal.domain != self.domain {
                return Err(BadBearer::Subject);
            }
            principal
        } else {
            let name = PrincipalName::new(&claims.sub).map_err(|_| BadBearer::Subject)?;
            Principal { domain: self.domain.clone(), kind: Kind::Client(name) }
        };
        let ends = Duration::from_secs(claims.exp.min(limits::MAX_WALL_MS / 1_000)) + limits::BEARER_LEEWAY;
        let until = UNIX_EPOCH.checked_add(ends).ok_or(BadBearer::Claim("exp"))?;
        Ok(Bearer { principal: Arc::new(principal), until })
    }

    /// Looks whether the file has changed, and takes what is there. `Ok(false)`: it is as it was. What is refused is told once.
    pub fn reload(&self) -> anyhow::Result<bool> {
        let shown = || format!("{} is not taken, and the keys stay as they are", self.path.display());
        let bytes = holdfast_files::read(&self.path, limits::BEARER_FILE_BYTES).with_context(shown)?;
        let bytes = bytes.with_context(|| format!("{}: there is no such file", shown()))?;
        let mut seen = self.seen.lock();
        if *seen == bytes {
            return Ok(false);
        }
        let keys = Keys::parse(&bytes);
        *seen = bytes;
        // What was signed by a key that is gone is not good any more: nothing is remembered of it.
        self.known.store(Arc::new(Known { keys: keys.with_context(shown)?, remembered: Mutex::default() }));
        Ok(true)
    }

    /// Looks again and again, until the process ends.
    pub async fn keep_looking(self: Arc<Self>) {
        let mut said = String::new();
        loop {
            tokio::time::sleep(limits::BEARER_LOOK_EVERY).await;
            let looking = Arc::clone(&self);
            let Ok(looked) = tokio::task::spawn_blocking(move || looking.reload()).await else { return };
            match looked {
                Ok(false) => {}
                Ok(true) => {
                    tracing::info!(keys = self.known.load().keys.len(), "other keys of bearer tokens are taken");
                    said.clear();
                }
                Err(error) => {
                    let text = format!("{error:#}");
                    if text != said {
                        tracing::warn!("{text}");
                        said = text;
                    }
                }
            }
        }
    }
}

/// What a token must have, whoever signed it.
fn validation() -> Validation {
    let mut validation = Validation::default();
    validation.set_audience(&[AUDIENCE]);
    validation.required_spec_claims = ["exp", "aud", "sub"].map(str::to_owned).into_iter().collect::<HashSet<_>>();
    validation.leeway = limits::BEARER_LEEWAY.as_secs();
    validation.validate_nbf = true;
    validation
}

fn why(error: &Error) -> BadBearer {
    match error.kind() {
        ErrorKind::InvalidSignature => BadBearer::Signature,
        ErrorKind::InvalidAlgorithm => BadBearer::Algorithm,
        ErrorKind::ExpiredSignature => BadBearer::Expired,
        ErrorKind::ImmatureSignature => BadBearer::NotYet,
        ErrorKind::InvalidAudience => BadBearer::Audience,
        ErrorKind::MissingRequiredClaim(claim) | ErrorKind::InvalidClaimFormat(claim) => {
            let known = ["exp", "aud", "sub", "nbf"].into_iter().find(|known| known == claim);
            BadBearer::Claim(known.unwrap_or("exp"))
        }
        // The signature is good, and what was signed is not what it should be: `sub` or `exp`, which are read first.
        ErrorKind::Json(_) => BadBearer::Claim("sub` and `exp"),
        _ => BadBearer::Malformed,
    }
}

#[cfg(test)]
mod tests;
