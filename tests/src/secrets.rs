//! What must be in no log: values of keys, tokens, private keys. Plant some that are like nothing else, have them go the ways that secrets go, and
//! ask here.
//!
//! Looked at are the logs of all processes of a run, RocksDB's own text logs, and what stores keep of events and of the audit. Not looked at is where
//! values lie by right: sorted files and write-ahead logs.

use std::fs;
use std::path::{Path, PathBuf};

/// A secret that was planted, and what it is called where it is found. It is not shown itself: who reads the failure is not meant to know it.
pub type Planted<'a> = (&'a str, &'a [u8]);

/// The shortest secret that is looked for: shorter ones are found by chance.
const SHORTEST: usize = 8;

/// Sees that none of the secrets is in a log below `dir`: as it is, in hexadecimal digits, in base64, as Rust shows bytes and texts, or as URLs have
/// them.
///
/// # Panics
/// When one is, when there is no log at all, or when a secret is too short to be told from other text.
pub fn assert_no_secrets(dir: &Path, secrets: &[Planted<'_>]) {
    for (name, secret) in secrets {
        assert!(secret.len() >= SHORTEST, "{name} is too short to be looked for");
    }
    let logs = logs_below(dir);
    assert!(!logs.is_empty(), "there is no log below {}", dir.display());
    let found: Vec<_> = logs.iter().flat_map(|log| found_in(log, secrets)).collect();
    assert!(found.is_empty(), "secrets in logs:\n{}", found.join("\n"));
}

/// The lines of a private key's PEM that say something: each by itself is worth finding.
///
/// # Panics
/// When there are none.
#[must_use]
pub fn lines_of_key(pem: &str) -> Vec<Planted<'_>> {
    let lines = pem.lines().filter(|line| !line.starts_with("-----") && line.len() >= SHORTEST);
    let lines: Vec<_> = lines.map(|line| ("a line of a private key", line.as_bytes())).collect();
    assert!(!lines.is_empty(), "this is no PEM");
    lines
}

/// All logs below a folder.
fn logs_below(dir: &Path) -> Vec<PathBuf> {
    let (mut folders, mut logs) = (vec![dir.to_owned()], Vec::new());
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        // A store that still runs may remove files meanwhile.
        for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
            if path.is_dir() {
                folders.push(path);
            } else if path.file_name().is_some_and(|name| is_log(&name.to_string_lossy())) {
                logs.push(path);
            }
        }
    }
    logs.sort();
    logs
}

fn is_log(name: &str) -> bool {
    // RocksDB numbers its write-ahead logs, and calls its text logs so.
    let is_write_ahead = |stem: &str| stem.bytes().all(|byte| byte.is_ascii_digit());
    let of_process = name.strip_suffix(".log").is_some_and(|stem| !is_write_ahead(stem));
    of_process || name == "LOG" || name.starts_with("LOG.old") || ["events.bin", "audit.bin"].contains(&name)
}

fn found_in(log: &Path, secrets: &[Planted<'_>]) -> Vec<String> {
    let Ok(bytes) = fs::read(log) else { return Vec::new() };
    let lines = || bytes.split(|byte| *byte == b'\n').zip(1..);
    let mut found = Vec::new();
    for (name, secret) in secrets {
        for (form, looked_for) in forms(secret) {
            let hit = lines().find(|(line, _)| line.windows(looked_for.len()).any(|part| part == looked_for));
            if let Some((_, number)) = hit {
                found.push(format!("{}:{number}: {name}, {form}", log.display()));
            }
        }
    }
    found
}

/// How a secret may look where somebody wrote it down without meaning to.
fn forms(secret: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let base64 = base64(secret);
    let percent: String = secret
        .iter()
        .map(|byte| if byte.is_ascii_alphanumeric() { char::from(*byte).to_string() } else { format!("%{byte:02X}") })
        .collect();
    let mut forms = vec![
        ("as it is", secret.to_vec()),
        ("escaped", secret.escape_ascii().to_string().into_bytes()),
        ("as numbers", secret.iter().map(u8::to_string).collect::<Vec<_>>().join(", ").into_bytes()),
        ("in capital hexadecimal digits", hex.to_uppercase().into_bytes()),
        ("in hexadecimal digits", hex.into_bytes()),
        ("in base64 for URLs", base64.replace('+', "-").replace('/', "_").into_bytes()),
        ("in base64", base64.into_bytes()),
        ("as URLs have it", percent.into_bytes()),
    ];
    // Most forms of plain text are the text.
    let mut seen = Vec::new();
    forms.retain(|(_, form)| {
        let is_new = !seen.contains(form);
        seen.push(form.clone());
        is_new
    });
    forms
}

/// Without the padding, and without what depends on whatever stands behind.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let letter = |six: u32| char::from(LETTERS[usize::try_from(six & 63).expect("six bits")]);
    let (triples, _) = bytes.as_chunks::<3>();
    triples
        .iter()
        .flat_map(|[a, b, c]| {
            let bits = u32::from_be_bytes([0, *a, *b, *c]);
            [bits >> 18, bits >> 12, bits >> 6, bits].map(letter)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: Planted<'_> = ("the value", b"planted \"value\" 7f3a/+");

    fn is_found(name: &str, content: &[u8]) -> bool {
        let dir = tempfile::tempdir().expect("a folder");
        fs::create_dir(dir.path().join("store")).expect("a folder in it");
        fs::write(dir.path().join("store.log"), b"all is well\n").expect("a log");
        fs::write(dir.path().join("store").join(name), content).expect("a file");
        std::panic::catch_unwind(|| assert_no_secrets(dir.path(), &[("another", b"never written"), SECRET])).is_err()
    }

    #[test]
    fn a_secret_is_found_in_every_form_and_in_every_log() {
        let secret = String::from_utf8_lossy(SECRET.1).into_owned();
        let written = [
            secret.clone(),
            format!("{secret:?}"),
            format!("{:?}", SECRET.1),
            format!("{:?}", bytes::Bytes::from_static(SECRET.1)),
            SECRET.1.iter().map(|byte| format!("{byte:02x}")).collect(),
            serde_json::json!({ "fields": { "said": secret } }).to_string(),
            base64(SECRET.1) + "xyz",
            "planted%20%22value%22%207f3a%2F%2B".to_owned(),
        ];
        for text in &written {
            assert!(is_found("b.log", format!("a line\nWARN said {text} to s3\n").as_bytes()), "{text}");
        }
        for name in ["LOG", "LOG.old.17", "events.bin", "audit.bin"] {
            assert!(is_found(name, written[0].as_bytes()), "{name}");
        }
    }

    #[test]
    fn where_values_lie_by_right_is_not_looked_at_and_half_a_secret_is_none() {
        for name in ["000012.sst", "000012.log", "MANIFEST-000004"] {
            assert!(!is_found(name, SECRET.1), "{name}");
        }
        assert!(!is_found("b.log", &SECRET.1[..SECRET.1.len() - 1]));
    }

    #[test]
    fn a_run_without_logs_proves_nothing() {
        let dir = tempfile::tempdir().expect("a folder");
        assert!(std::panic::catch_unwind(|| assert_no_secrets(dir.path(), &[SECRET])).is_err());
        let short: Planted<'_> = ("a short one", b"abc");
        fs::write(dir.path().join("a.log"), b"x").expect("a log");
        assert!(std::panic::catch_unwind(|| assert_no_secrets(dir.path(), &[short])).is_err());
    }

    #[test]
    fn a_private_key_is_looked_for_line_by_line() {
        let pem = "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49\nAwEHBG0wawIBAQQg\n-----END PRIVATE KEY-----\n";
        let lines = lines_of_key(pem);
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[1].1, b"AwEHBG0wawIBAQQg");
    }
}
