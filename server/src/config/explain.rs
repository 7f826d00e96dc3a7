//! Every value that a store would use, with its meaning: what `config show` prints and the admin API tells.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::path::Path;
use std::time::Duration;

use holdfast_proto::v1;
use holdfast_types::limits;

use super::{
    CLIENT_PORT, Config, HTTP_PORT, METRICS_PORT, STORE_PORT, default_ready_pause, default_workers, in_kubernetes,
};

/// One value, for `config show`.
pub struct Explained {
    /// Its key in the file.
    pub key: &'static str,
    /// What `start` would use.
    pub value: String,
    /// What it would be if nobody said anything; empty: there is no default.
    pub default: String,
    /// What it means.
    pub meaning: &'static str,
}

impl Config {
    /// Every value as the admin API shows it, and the limits of the program.
    pub fn settings(&self) -> Vec<v1::Setting> {
        let values = self.explain().into_iter().map(|row| v1::Setting {
            name: row.key.to_owned(),
            value: if row.value == "-" { String::new() } else { row.value },
            default_value: row.default,
            source: self.sources.get(row.key).copied().unwrap_or(v1::SettingSource::Default).into(),
            description: row.meaning.to_owned(),
        });
        values.chain(built_in()).collect()
    }

    /// Every value and its meaning.
    pub fn explain(&self) -> Vec<Explained> {
        [self.who(), self.addresses(), self.ways()].into_iter().flatten().collect()
    }

    /// Who it is, and who may reach it.
    fn who(&self) -> Vec<Explained> {
        let insecure = match self.security.times_insecure() {
            0 => "-".to_owned(),
            times => times.to_string(),
        };
        let of_tls = "folder of certificate, key and bundle: TLS on every port but that of probes";
        let of_insecure = "no TLS, whoever reaches a port owns the fleet: 1 on this machine alone, 2 on any address";
        let of_keys = "public keys of those who sign bearer tokens for clients";
        vec![
            row("site", self.site.to_string(), "", "label of the Kubernetes cluster this store runs in"),
            row("site-id", text(self.site_id.as_deref()), "", "proof of the site: UID of its kube-system namespace"),
            row("zone", text(self.zone.as_deref()), "", "where in its site the store is: shown by `holdfast status`"),
            row("data-dir", self.data_dir.display().to_string(), "", "where the data lives"),
            row("tls", path(self.security.folder()), "", of_tls),
            row("insecure", insecure, "", of_insecure),
            row("fleet-token", secret(&self.fleet_token), "", "shared secret of the fleet"),
            row("join-token", secret(&self.join_token), "", "one-time token to join with"),
            row("bearer-keys", path(self.bearer_keys.as_deref()), "", of_keys),
        ]
    }

    /// Where it is, and where the others are.
    fn addresses(&self) -> Vec<Explained> {
        let port = |port: u16| format!("127.0.0.1:{port}");
        let metrics = self.listen_metrics.map_or_else(|| "-".to_owned(), |address| address.to_string());
        let of_stores = "store-to-store streams; heartbeats on the next port";
        let of_advertised = "store-to-store address that others reach it by";
        vec![
            row("join", self.join.join(","), "", "client addresses of stores of the fleet to join"),
            row("listen", self.listen.to_string(), &port(CLIENT_PORT), "client gRPC"),
            row("listen-store", self.listen_store.to_string(), &port(STORE_PORT), of_stores),
            row("listen-http", self.listen_http.to_string(), &port(HTTP_PORT), "health, and without TLS metrics"),
            row("listen-metrics", metrics, &port(METRICS_PORT), "with TLS: metrics, for those who show a certificate"),
            row("advertise", text(self.advertise.as_deref()), "", "client address that others reach this store by"),
            row("advertise-store", text(self.advertise_store.as_deref()), "", of_advertised),
        ]
    }

    /// How it works.
    fn ways(&self) -> Vec<Explained> {
        let pause = |pause: Duration| humantime::format_duration(pause).to_string();
        let reads = if self.quorum_reads { "quorum" } else { "lease" };
        let workers = default_workers().to_string();
        let of_pause = "how long a store that was told to stop serves on, once `/readyz` fails";
        let default_pause = pause(default_ready_pause(in_kubernetes()));
        let default_retention = pause(limits::AUDIT_RETENTION);
        let of_retention = "how long entries of the audit are kept";
        vec![
            row("reads", reads.into(), "lease", "how reads are made linearizable"),
            row("workers", self.workers.to_string(), &workers, "worker threads that own the replicas"),
            row("ready-pause", pause(self.ready_pause), &default_pause, of_pause),
            row("audit-retention", pause(self.audit_retention), &default_retention, of_retention),
        ]
    }
}

fn row(key: &'static str, value: String, default: &str, meaning: &'static str) -> Explained {
    Explained { key, value, default: default.to_owned(), meaning }
}

fn text(value: Option<&str>) -> String {
    value.unwrap_or("-").to_owned()
}

fn path(value: Option<&Path>) -> String {
    value.map_or_else(|| "-".to_owned(), |path| path.display().to_string())
}

/// That there is one, and no more.
fn secret(value: &str) -> String {
    (if value.is_empty() { "-" } else { "(set)" }).to_owned()
}

/// What cannot be configured, but is good to know.
fn built_in() -> impl Iterator<Item = v1::Setting> {
    let ms = |duration: Duration| format!("{} ms", duration.as_millis());
    let bytes = |bytes: usize| format!("{bytes} B");
    let split_bytes = usize::try_from(limits::SPLIT_RANGE_BYTES).unwrap_or(usize::MAX);
    [
        ("limit.key-bytes", bytes(limits::MAX_KEY_BYTES), "a key is at most this long"),
        ("limit.value-bytes", bytes(limits::MAX_VALUE_BYTES), "a value is at most this long"),
        ("limit.batch-keys", limits::MAX_BATCH_KEYS.to_string(), "keys of one batch"),
        ("limit.batch-bytes", bytes(limits::MAX_BATCH_BYTES), "bytes of one atomic batch"),
        ("limit.deadline", ms(limits::MAX_DEADLINE), "a longer deadline of a request is cut to this"),
        (
            "limit.support-interval",
            ms(limits::SUPPORT_INTERVAL),
            "a store that is silent for this long loses its leaders",
        ),
        ("limit.clock-offset", ms(limits::MAX_CLOCK_OFFSET), "a store whose clock is further off does not lead"),
        ("limit.split-bytes", bytes(split_bytes), "a larger range is split"),
        ("limit.gc-retention", ms(limits::GC_RETENTION), "how long old versions can be read"),
        ("limit.disk-full-percent", limits::DISK_FULL_PERCENT.to_string(), "writes are refused with less free disk"),
        ("limit.events-kept", limits::EVENTS_KEPT.to_string(), "events that a store remembers"),
    ]
    .into_iter()
    .map(|(name, value, description)| v1::Setting {
        name: name.to_owned(),
        default_value: value.clone(),
        value,
        source: v1::SettingSource::BuiltIn.into(),
        description: description.to_owned(),
    })
}
