//! From rounds to medians, spreads and ratios.

use anyhow::ensure;
use serde::Serialize;

use super::{Comparison, Measured, Series};
use crate::report::{Table, rounded};

/// What is compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Operations a second.
    PerSecond,
    /// Half were at least this fast.
    P50Ms,
    /// All but one in a hundred were.
    P99Ms,
}

impl Metric {
    const ALL: [Self; 3] = [Self::PerSecond, Self::P50Ms, Self::P99Ms];

    fn of(self, measured: &Measured) -> f64 {
        match self {
            Self::PerSecond => measured.per_second,
            Self::P50Ms => measured.p50_ms,
            Self::P99Ms => measured.p99_ms,
        }
    }

    /// How much better ours is than theirs: above 1 is in our favour, whatever is better, more or less.
    fn ratio(self, ours: f64, theirs: f64) -> f64 {
        match self {
            Self::PerSecond => ours / theirs,
            Self::P50Ms | Self::P99Ms => theirs / ours,
        }
    }

    fn text(self, value: f64) -> String {
        match self {
            Self::PerSecond => format!("{value:.0}"),
            Self::P50Ms | Self::P99Ms => format!("{value:.2}"),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::PerSecond => "per second",
            Self::P50Ms => "p50 ms",
            Self::P99Ms => "p99 ms",
        }
    }
}

/// One line of a comparison: medians of all rounds.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The work's name.
    pub work: String,
    /// How many clients.
    pub clients: usize,
    /// What is compared.
    pub metric: Metric,
    /// Holdfast's median.
    pub holdfast: f64,
    /// The other store's.
    pub peer: f64,
    /// Above 1 is in our favour.
    pub ratio: f64,
    /// The least and the most of Holdfast's rounds.
    pub holdfast_spread: [f64; 2],
    /// Of the other store's.
    pub peer_spread: [f64; 2],
    /// The floor's median, if it was measured.
    pub floor: Option<f64>,
    /// Holdfast beside the floor: below 1, by as much as a replicated store with a network costs more.
    pub floor_ratio: Option<f64>,
    /// The median of Holdfast with TLS, if it was measured.
    pub tls: Option<f64>,
    /// Holdfast with TLS beside Holdfast without: below 1 by as much as TLS costs.
    pub tls_ratio: Option<f64>,
}

/// The rows of one work. An error when a store did nothing: there is no ratio then.
pub(super) fn of(series: &Series) -> anyhow::Result<Vec<Row>> {
    Metric::ALL.iter().map(|metric| row(series, *metric)).collect()
}

fn row(series: &Series, metric: Metric) -> anyhow::Result<Row> {
    let (holdfast, holdfast_spread) = median_and_spread(&series.holdfast, metric);
    let (peer, peer_spread) = median_and_spread(&series.peer, metric);
    ensure!(
        holdfast > 0.0 && peer > 0.0,
        "{} with {} clients: no operation ended in half of the rounds of one of the stores: see what was said above",
        series.work,
        series.clients
    );
    let median = |rounds: &[Measured]| (!rounds.is_empty()).then(|| median_and_spread(rounds, metric).0);
    let (floor, tls) = (median(&series.floor), median(&series.tls));
    let beside = |ours: f64, theirs: f64| (ours > 0.0 && theirs > 0.0).then(|| metric.ratio(ours, theirs));
    Ok(Row {
        work: series.work.clone(),
        clients: series.clients,
        metric,
        holdfast,
        peer,
        ratio: rounded(metric.ratio(holdfast, peer), 3),
        holdfast_spread,
        peer_spread,
        floor,
        floor_ratio: floor.and_then(|floor| beside(holdfast, floor)).map(|ratio| rounded(ratio, 4)),
        tls,
        tls_ratio: tls.and_then(|tls| beside(tls, holdfast)).map(|ratio| rounded(ratio, 3)),
    })
}

/// The median of all rounds, the least and the most.
fn median_and_spread(rounds: &[Measured], metric: Metric) -> (f64, [f64; 2]) {
    let mut values: Vec<_> = rounds.iter().map(|round| metric.of(round)).collect();
    values.sort_by(f64::total_cmp);
    let at = |index: usize| values.get(index).copied().unwrap_or(0.0);
    (at(values.len() / 2), [at(0), at(values.len().saturating_sub(1))])
}

/// The comparison as a table, and below it what a reader must know to judge it.
#[must_use]
pub fn table(comparison: &Comparison) -> String {
    let peer = comparison.peer_name.as_str();
    let mut heading =
        vec!["work", "clients", "metric", "Holdfast", "spread", peer, "spread", "ratio", "floor", "to floor"];
    let has_tls = comparison.results.iter().any(|row| row.tls.is_some());
    heading.extend(if has_tls { &["by TLS", "to plain"][..] } else { &[] });
    let mut table = Table::new(&heading);
    for row in &comparison.results {
        let text = |value: f64| row.metric.text(value);
        let spread = |[least, most]: [f64; 2]| format!("{} to {}", text(least), text(most));
        let mut cells = vec![
            row.work.clone(),
            row.clients.to_string(),
            row.metric.name().to_owned(),
            text(row.holdfast),
            spread(row.holdfast_spread),
            text(row.peer),
            spread(row.peer_spread),
            format!("{:.2}", row.ratio),
            row.floor.map_or_else(String::new, |floor| if floor < 0.01 { "< 0.01".to_owned() } else { text(floor) }),
            row.floor_ratio.map_or_else(String::new, |ratio| format!("{ratio:.3}")),
        ];
        if has_tls {
            cells.push(row.tls.map_or_else(String::new, text));
            cells.push(row.tls_ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}")));
        }
        table.row(cells);
    }
    let machine = &comparison.machine;
    let versions: Vec<_> = comparison.versions.iter().map(|(name, version)| format!("{name}: {version}")).collect();
    format!(
        "{table}\nA ratio above 1 is in Holdfast's favour; latencies are inverted. Medians of {} rounds of {} s each, {} keys, \
         values of {} bytes. {}\n\nCores used by the stores and by their clients, and CPU time of the stores for one operation:\n\n{}\n- {}\n- {} cores ({}), {} MiB, Linux {}, {}; fdatasync of 4 KiB: {:.3} ms (median, in this run)\n",
        comparison.options["rounds"],
        comparison.options["seconds"],
        comparison.options["keys"],
        comparison.options["value_bytes"],
        failures(comparison),
        cores_table(comparison),
        versions.join("\n- "),
        machine.cores,
        machine.processor,
        machine.memory_mib,
        machine.kernel,
        machine.file_system,
        machine.fdatasync_ms,
    )
}

/// Operations that ended with an error, in a sentence.
fn failures(comparison: &Comparison) -> String {
    let count = |rounds: fn(&Series) -> &Vec<Measured>| {
        comparison.rounds.iter().flat_map(rounds).map(|round| round.errors).sum::<u64>()
    };
    let peer = &comparison.peer_name;
    match (count(|series| &series.holdfast), count(|series| &series.peer), count(|series| &series.tls)) {
        (0, 0, 0) => "No operation failed.".to_owned(),
        (ours, theirs, 0) => format!("FAILED OPERATIONS: {ours} of Holdfast, {theirs} of {peer}."),
        (ours, theirs, tls) => {
            format!("FAILED OPERATIONS: {ours} of Holdfast, {theirs} of {peer}, {tls} of Holdfast by TLS.")
        }
    }
}

/// Who used the processor, and what an operation cost the stores: medians of all rounds.
fn cores_table(comparison: &Comparison) -> Table {
    let median = |rounds: &[Measured], value: fn(&Measured) -> f64| {
        let mut values: Vec<_> = rounds.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(0.0)
    };
    let peer = comparison.peer_name.as_str();
    let has_tls = comparison.rounds.iter().any(|series| !series.tls.is_empty());
    let mut heading = vec!["work", "clients", "Holdfast", "its clients", "us/op", peer, "its clients", "us/op"];
    heading.extend(if has_tls { &["by TLS", "its clients", "us/op"][..] } else { &[] });
    let mut table = Table::new(&heading);
    for series in &comparison.rounds {
        let mut cells = vec![series.work.clone(), series.clients.to_string()];
        for rounds in [&series.holdfast, &series.peer].into_iter().chain(has_tls.then_some(&series.tls)) {
            cells.push(format!("{:.2}", median(rounds, |round| round.store_cores)));
            cells.push(format!("{:.2}", median(rounds, |round| round.client_cores)));
            cells.push(format!("{:.0}", median(rounds, |round| round.store_cores * 1e6 / round.per_second.max(1.0))));
        }
        table.row(cells);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Machine;

    fn measured(per_second: f64, p50_ms: f64, p99_ms: f64) -> Measured {
        Measured { per_second, p50_ms, p99_ms, errors: 0, store_cores: 1.0, client_cores: 0.5 }
    }

    /// Holdfast is twice as good in everything.
    fn series() -> Series {
        Series {
            work: "put".to_owned(),
            clients: 64,
            holdfast: vec![measured(900.0, 1.0, 5.0), measured(1_000.0, 2.0, 10.0), measured(9_000.0, 3.0, 15.0)],
            peer: vec![measured(500.0, 4.0, 20.0); 3],
            floor: vec![measured(10_000.0, 0.5, 1.0); 3],
            tls: Vec::new(),
        }
    }

    #[test]
    fn a_ratio_above_one_is_in_our_favour_for_throughput_and_for_latency() {
        let rows = of(&series()).unwrap();
        assert_eq!(rows.iter().map(|row| row.metric).collect::<Vec<_>>(), Metric::ALL);
        assert!(rows.iter().all(|row| (row.ratio - 2.0).abs() < 1e-9), "{rows:?}");
        let floor: Vec<_> = rows.iter().map(|row| row.floor_ratio.unwrap()).collect();
        assert_eq!(floor, [0.1, 0.25, 0.1]);
        assert!(rows.iter().all(|row| row.tls.is_none() && row.tls_ratio.is_none()));
        let worse = Series { holdfast: series().peer, peer: series().holdfast, ..series() };
        assert!(of(&worse).unwrap().iter().all(|row| (row.ratio - 0.5).abs() < 1e-9));
    }

    #[test]
    fn tls_is_set_beside_plain_text_and_costs_what_is_missing_to_one() {
        let series = Series { tls: vec![measured(900.0, 2.5, 12.5); 3], ..series() };
        let rows = of(&series).unwrap();
        let ratios: Vec<_> = rows.iter().map(|row| row.tls_ratio.unwrap()).collect();
        assert_eq!(ratios, [0.9, 0.8, 0.8]);
        let mut with_tls = comparison();
        (with_tls.results, with_tls.rounds) = (rows, vec![series]);
        let text = table(&with_tls);
        assert!(text.contains("to plain") && text.contains(" 0.90 |"), "{text}");
        assert!(!table(&comparison()).contains("TLS"), "it was not asked for");
        with_tls.rounds[0].tls[0].errors = 3;
        assert!(table(&with_tls).contains("3 of Holdfast by TLS"));
    }

    #[test]
    fn medians_and_spreads_come_from_all_rounds() {
        let rows = of(&series()).unwrap();
        assert!((rows[0].holdfast - 1_000.0).abs() < 1e-9);
        assert_eq!(rows[0].holdfast_spread, [900.0, 9_000.0]);
    }

    #[test]
    fn a_store_that_did_nothing_has_no_ratio() {
        let idle = Series { peer: vec![measured(0.0, 0.0, 0.0); 3], ..series() };
        assert!(of(&idle).unwrap_err().to_string().contains("put with 64 clients"));
    }

    fn comparison() -> Comparison {
        Comparison {
            results: of(&series()).unwrap(),
            peer_name: "etcd".to_owned(),
            versions: [("etcd".to_owned(), "etcd 3".to_owned())].into(),
            machine: Machine {
                cores: 2,
                processor: "p".to_owned(),
                memory_mib: 1,
                kernel: "6".to_owned(),
                file_system: "ext4".to_owned(),
                fdatasync_ms: 0.5,
            },
            options: serde_json::json!({ "rounds": 3, "seconds": 3.0, "keys": 10, "value_bytes": 128 }),
            rounds: vec![series()],
        }
    }

    #[test]
    fn every_row_of_the_json_has_the_six_keys_that_scripts_read() {
        let json = serde_json::to_value(comparison()).unwrap();
        let rows = json["results"].as_array().unwrap();
        assert_eq!(rows.len(), 3);
        for row in rows {
            assert!(row["work"].is_string() && row["metric"].is_string(), "{row}");
            for key in ["clients", "holdfast", "peer", "ratio"] {
                assert!(row[key].is_number(), "{key}: {row}");
            }
        }
        assert_eq!(json["machine"]["fdatasync_ms"], 0.5);
        assert_eq!(rows[0]["metric"], "per_second");
    }

    #[test]
    fn the_table_says_which_way_a_ratio_goes_and_what_the_disk_takes() {
        let text = table(&comparison());
        assert!(text.contains("in Holdfast's favour") && text.contains("fdatasync of 4 KiB: 0.500 ms"), "{text}");
        assert!(text.contains("| put ") && text.contains("No operation failed."), "{text}");
        let mut failed = comparison();
        failed.rounds[0].peer[1].errors = 7;
        assert!(table(&failed).contains("0 of Holdfast, 7 of etcd"));
    }
}
