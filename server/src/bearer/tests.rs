use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};

use super::keys::BadKeys;
use super::*;

/// A key of 2,048 bits whose other half is gone, and what it signed: `{"sub":"billing","aud":["other","holdfast"],"exp":4102444800}`.
const RSA_N: &str = "pZGlwzdNsdCVTDVQQZfnvXxoSulivuNKKhwY6cix8TDjH4TzEG1MaA2shWEFs2ujgd8czj1pOnBt-pmrRGuaALpXJPBnmqaUKejwK7l-dBpzmsCpCvBltzTQOcVS463Z_o5XF2KyQJOXupizHDOkBSHxYHIfK_QTCd7MuJcZ4RwNCZKNUx4gPVoh7j2HVEVtCnx_2rpYScRQK_i79DEXZRJDWz2O4fz_-xZHUNs7ZwQMxIc_YGAktLfD3bL6WsaQiMD-g3no74Pcub9Tyg_qjh5kazt-nUhek10MDDooVuAHa73BoHrsPtmf3iEcrfIog-evxzPWk-MZiiUxd9jBfw";
const RSA_SIGNED: &str = "eyJhbGciOiJSUzI1NiIsImtpZCI6InJzYS0xIiwidHlwIjoiSldUIn0.eyJzdWIiOiJiaWxsaW5nIiwiYXVkIjpbIm90aGVyIiwiaG9sZGZhc3QiXSwiZXhwIjo0MTAyNDQ0ODAwfQ";
const RSA_SIGNATURE: &str = "ZxFb-lCu_NpdhiSnkECaO-DpHLtDrJzGRVCJOqKjfQI6yQtHbkpTcxsVcls1YA81UmbUqMSdYQcGTQaP8EwEdJ9STQ_oXe0tKjTDDVx1PGvg8UPhM6_os6PAAbKzgVnGTRmOJyktk8V6WTgMRJuJrrdvroQgBwELQZKHGgptnhJLgw1bMb1WAWvHvEiW14_YfQLJ4IWKpD-Rw8ZNWgZB-r-fB2754f6xXo_A0Csnuzp5N4JyvhcnUK3E2XSVvDNbLOdd_GdIyLpLFsfoCYXzlK1-J6-hZdf-IAzbPGPlR1YPKNNscRe2_Se7Ms2PNloDVo9cjGeQ7bIGZoMGHTrE1A";

fn base64url(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let triple = |part: &[u8]| {
        let bits = part.iter().fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte)) << (8 * (3 - part.len()));
        (0..=part.len()).map(|at| char::from(LETTERS[bits >> (18 - 6 * at) & 63])).collect::<String>()
    };
    bytes.chunks(3).map(triple).collect()
}

/// Somebody who signs tokens.
enum Signer {
    Ed(Ed25519KeyPair),
    Ec(EcdsaKeyPair),
}

impl Signer {
    fn ed() -> Self {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self::Ed(Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap())
    }

    fn ec() -> Self {
        let (random, kind) = (SystemRandom::new(), &ECDSA_P256_SHA256_FIXED_SIGNING);
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(kind, &random).unwrap();
        Self::Ec(EcdsaKeyPair::from_pkcs8(kind, pkcs8.as_ref(), &random).unwrap())
    }

    fn jwk(&self, id: &str) -> Value {
        match self {
            Self::Ed(pair) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "use": "sig", "kid": id, "x": base64url(pair.public_key().as_ref()) })
            }
            Self::Ec(pair) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                json!({ "kty": "EC", "crv": "P-256", "alg": "ES256", "kid": id, "x": base64url(x), "y": base64url(y) })
            }
        }
    }

    fn algorithm(&self) -> &'static str {
        match self {
            Self::Ed(_) => "EdDSA",
            Self::Ec(_) => "ES256",
        }
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let message = [header, claims].map(|part| base64url(part.to_string().as_bytes())).join(".");
        let signature = match self {
            Self::Ed(pair) => base64url(pair.sign(message.as_bytes()).as_ref()),
            Self::Ec(pair) => base64url(pair.sign(&SystemRandom::new(), message.as_bytes()).unwrap().as_ref()),
        };
        format!("{message}.{signature}")
    }

    fn token(&self, id: &str, claims: &Value) -> String {
        self.sign(&json!({ "alg": self.algorithm(), "kid": id, "typ": "JWT" }), claims)
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn good() -> Value {
    json!({ "sub": "billing", "aud": "holdfast", "exp": now() + 3_600, "iat": now(), "scope": "whatever" })
}

fn with(key: &str, value: Value) -> Value {
    let mut claims = good();
    claims[key] = value;
    claims
}

fn without(key: &str) -> Value {
    let mut claims = good();
    claims.as_object_mut().unwrap().remove(key);
    claims
}

fn set(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

fn open(folder: &tempfile::TempDir, keys: &[Value]) -> Arc<Bearers> {
    let path = folder.path().join("keys.json");
    std::fs::write(&path, set(keys)).unwrap();
    Bearers::open(path, TrustDomain::new("f.example").unwrap()).unwrap()
}

#[test]
fn a_token_of_each_kind_of_key_says_who_the_client_is_and_until_when() {
    let folder = tempfile::tempdir().unwrap();
    let (ed, ec) = (Signer::ed(), Signer::ec());
    let rsa = json!({ "kty": "RSA", "alg": "RS256", "kid": "rsa-1", "n": RSA_N, "e": "AQAB" });
    let bearers = open(&folder, &[ed.jwk("ed"), ec.jwk("ec"), rsa]);
    let rsa_token = format!("{RSA_SIGNED}.{RSA_SIGNATURE}");
    for token in [ed.token("ed", &good()), ec.token("ec", &good()), rsa_token] {
        let bearer = bearers.check(&token).unwrap();
        assert_eq!(bearer.principal.to_string(), "spiffe://f.example/client/billing");
        assert!(bearer.until > SystemTime::now() + Duration::from_secs(3_599));
        assert_eq!(bearers.check(&token).unwrap(), bearer, "remembered");
    }
    // Of a key set whose keys have no names, as of one that was asked for none.
    let nameless = ed.sign(&json!({ "alg": "EdDSA" }), &good());
    assert!(bearers.check(&nameless).is_ok());
    let spiffe = ed.token("ed", &with("sub", json!("spiffe://f.example/client/billing")));
    assert_eq!(bearers.check(&spiffe).unwrap().principal.to_string(), "spiffe://f.example/client/billing");
    let many = ed.token("ed", &with("aud", json!(["x", "holdfast"])));
    assert!(bearers.check(&many).is_ok());
}

#[test]
fn what_a_token_does_not_prove_is_refused_and_the_token_never_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let (ed, ec, stranger) = (Signer::ed(), Signer::ec(), Signer::ed());
    let bearers = open(&folder, &[ed.jwk("ed"), ec.jwk("ec")]);
    let token = |claims: &Value| ed.token("ed", claims);
    let whole = token(&good());
    let parts: Vec<_> = whole.split('.').collect();
    let other_claims = base64url(with("sub", json!("admin")).to_string().as_bytes());
    let none = format!("{}.{}.", base64url(br#"{"alg":"none"}"#), parts[1]);
    let hmac = ed.sign(&json!({ "alg": "HS256", "kid": "ed" }), &good());
    let mixed = ed.sign(&json!({ "alg": "ES256", "kid": "ed" }), &good());
    let critical = ed.sign(&json!({ "alg": "EdDSA", "kid": "ed", "crit": ["x"], "x": 1 }), &good());
    for (token, expected) in [
        (token(&with("exp", json!(now() - 31))), BadBearer::Expired),
        (token(&with("nbf", json!(now() + 40))), BadBearer::NotYet),
        (token(&with("nbf", json!("later"))), BadBearer::Claim("nbf")),
        (token(&with("aud", json!("etcd"))), BadBearer::Audience),
        (token(&with("aud", json!([]))), BadBearer::Audience),
        (token(&without("aud")), BadBearer::Claim("aud")),
        (token(&without("exp")), BadBearer::Claim("sub` and `exp")),
        (token(&with("exp", json!("9999999999"))), BadBearer::Claim("sub` and `exp")),
        (token(&without("sub")), BadBearer::Claim("sub` and `exp")),
        (token(&with("sub", json!(""))), BadBearer::Subject),
        (token(&with("sub", json!("a/b"))), BadBearer::Subject),
        (token(&with("sub", json!("spiffe://f.example/operator/ann"))), BadBearer::Subject),
        (token(&with("sub", json!("spiffe://f.example/site/a/store"))), BadBearer::Subject),
        (token(&with("sub", json!("spiffe://other/client/billing"))), BadBearer::Subject),
        (stranger.token("ed", &good()), BadBearer::Signature),
        (ed.token("other", &good()), BadBearer::Signature),
        (ed.token("ec", &good()), BadBearer::Signature),
        (format!("{}.{other_claims}.{}", parts[0], parts[2]), BadBearer::Signature),
        (mixed, BadBearer::Signature),
        (hmac, BadBearer::Algorithm),
        (none, BadBearer::Malformed),
        (critical, BadBearer::Malformed),
        (parts[..2].join("."), BadBearer::Malformed),
        (String::new(), BadBearer::Malformed),
        ("a.b.c".into(), BadBearer::Malformed),
        (format!("{whole}.x"), BadBearer::Malformed),
        ("x".repeat(limits::BEARER_TOKEN_BYTES + 1), BadBearer::Malformed),
    ] {
        let refused = bearers.check(&token).unwrap_err();
        assert_eq!(refused, expected, "{token}");
        assert!(token.len() < 9 || !refused.to_string().contains(&token[..9]), "{refused}");
    }
    assert!(bearers.check(&token(&with("exp", json!(now() - 20)))).is_ok(), "clocks differ by so much");
    for damaged in crate::damage::versions_of(whole.as_bytes()) {
        let Ok(damaged) = std::str::from_utf8(&damaged) else { continue };
        assert!(damaged == whole || bearers.check(damaged).is_err(), "{damaged}");
    }
}

#[test]
fn keys_are_public_known_and_few() {
    let (ed, ec) = (Signer::ed(), Signer::ec());
    let altered = |mut key: Value, name: &str, value: Value| {
        key[name] = value;
        key
    };
    let parse = |keys: &[Value]| Keys::parse(set(keys).as_bytes());
    let of_others = [
        altered(ec.jwk("x"), "crv", json!("P-384")),
        altered(ed.jwk("x"), "use", json!("enc")),
        altered(ed.jwk("x"), "alg", json!("ES256")),
        altered(ed.jwk("x"), "x", json!("no base64!")),
        json!({ "kty": "AKP", "alg": "ML-DSA-44" }),
        json!({ "kty": "RSA", "alg": "PS256", "n": RSA_N, "e": "AQAB" }),
        json!("no key"),
    ];
    let mixed: Vec<_> = of_others.iter().cloned().chain([ed.jwk("ed")]).collect();
    let keys = parse(&mixed).unwrap();
    assert_eq!((keys.len(), keys.left_out), (1, of_others.len()));
    let error = |keys: &[Value]| parse(keys).err().unwrap();
    assert_eq!(error(&of_others), BadKeys::NoneUsable);
    assert_eq!(error(&[]), BadKeys::NoneUsable);
    assert_eq!(error(&[ed.jwk("ed"), altered(ec.jwk("ec"), "d", json!("AAAA"))]), BadKeys::Secret(2));
    assert_eq!(error(&[json!({ "kty": "oct", "k": "AAAA", "alg": "HS256" })]), BadKeys::Secret(1));
    assert_eq!(error(&vec![ed.jwk("ed"); limits::BEARER_KEYS + 1]), BadKeys::TooMany(limits::BEARER_KEYS + 1));
    for damaged in crate::damage::versions_of(set(&[ed.jwk("ed"), ec.jwk("ec")]).as_bytes()) {
        let keys = Keys::parse(&damaged).map_or(0, |keys| keys.len() + keys.left_out);
        assert!(keys <= limits::BEARER_KEYS);
    }
    for bad in ["", "[]", "{}", r#"{"keys":{}}"#, "-----BEGIN PUBLIC KEY-----"] {
        assert!(matches!(Keys::parse(bad.as_bytes()), Err(BadKeys::NoSet(_))), "{bad}");
    }
}

#[test]
fn other_keys_are_taken_while_it_runs_and_what_is_no_key_set_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (Signer::ed(), Signer::ec());
    let bearers = open(&folder, &[first.jwk("1")]);
    let (of_first, of_second) = (first.token("1", &good()), second.token("2", &good()));
    assert!(bearers.check(&of_first).is_ok() && bearers.check(&of_second).is_err());
    assert!(!bearers.reload().unwrap());
    let path = folder.path().join("keys.json");
    std::fs::write(&path, "{").unwrap();
    let refused = format!("{:#}", bearers.reload().unwrap_err());
    assert!(refused.contains("stay as they are") && !bearers.reload().unwrap(), "it is told once: {refused}");
    assert!(bearers.check(&of_first).is_ok(), "the old ones count");
    std::fs::write(&path, set(&[second.jwk("2")])).unwrap();
    assert!(bearers.reload().unwrap());
    assert!(bearers.check(&of_second).is_ok());
    assert_eq!(bearers.check(&of_first), Err(BadBearer::Signature), "it was remembered, and counts no more");
    std::fs::remove_file(&path).unwrap();
    assert!(format!("{:#}", bearers.reload().unwrap_err()).contains("no such file"));
    assert!(bearers.check(&of_second).is_ok());
}

#[test]
fn tokens_that_somebody_makes_up_take_a_bounded_part_of_a_core() {
    let folder = tempfile::tempdir().unwrap();
    let (ed, stranger) = (Signer::ed(), Signer::ed());
    let bearers = open(&folder, &[ed.jwk("ed")]);
    let remembered = ed.token("ed", &good());
    assert!(bearers.check(&remembered).is_ok());
    let forged = |n: u32| stranger.token("ed", &with("sub", json!(format!("c{n}"))));
    let many = 2 * limits::BEARER_CHECKS_PER_SECOND;
    // They are made before the time begins that counts.
    let forged: Vec<_> = (0..many).map(forged).collect();
    *bearers.checks.lock() = Bucket::new(Instant::now() + Duration::from_secs(3_600));
    assert!(forged.iter().all(|token| bearers.check(token) == Err(BadBearer::Busy)));
    assert!(bearers.check(&remembered).is_ok(), "who was known before is not kept out");
}
