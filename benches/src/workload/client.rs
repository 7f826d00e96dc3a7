//! One client of a load.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use bytes::Bytes;
use holdfast_client::{Client, ClientError, Expected};

use super::Meter;
use super::counter::TwiceSender;
use crate::record::{Record, WriteEnd};

/// Of a hundred operations, so many are reads.
const READS: u64 = 50;
/// And so many, after the reads, are writes; the rest are increments by compare-and-set.
const WRITES: u64 = 40;

/// One client of a load: its keys, and what it knows of them.
pub struct LoadClient {
    number: usize,
    client: Client,
    site: usize,
    rows: Vec<(Bytes, Bytes)>,
    counters: Arc<[Bytes]>,
    meter: Arc<Meter>,
    twice: TwiceSender,
    record: Record,
    random: u64,
    writes: u64,
}

impl LoadClient {
    /// A client in a site, with the rows that it owns, as they were loaded.
    pub fn new(
        number: usize,
        client: Client,
        site: usize,
        rows: Vec<(Bytes, Bytes)>,
        counters: Arc<[Bytes]>,
        meter: Arc<Meter>,
        twice: TwiceSender,
    ) -> Self {
        let mut record = Record::default();
        for (key, value) in &rows {
            record.keys.entry(key.clone()).or_default().wrote(Some(value.clone()), WriteEnd::Acknowledged);
        }
        let random = u64::try_from(number).unwrap_or(0).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        Self { number, client, site, rows, counters, meter, twice, record, random, writes: 0 }
    }

    /// Works until told to stop; gives what it knows.
    pub async fn run(mut self, stop: Arc<AtomicBool>) -> Record {
        while !stop.load(Ordering::Acquire) {
            let dice = self.random() % 100;
            if self.rows.is_empty() || dice >= READS + WRITES {
                self.increment().await;
            } else if dice < READS {
                self.read().await;
            } else {
                self.write().await;
            }
        }
        self.record
    }

    /// Steele, Lea, Flood: "Fast splittable pseudorandom number generators" (SplitMix64).
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn pick(&mut self) -> usize {
        let rows = u64::try_from(self.rows.len()).expect("a number of rows fits");
        usize::try_from(self.random() % rows).expect("the remainder is below a usize")
    }

    async fn read(&mut self) {
        let row = self.pick();
        let key = self.rows[row].0.clone();
        let begun = Instant::now();
        match self.client.get(key.clone()).await {
            Ok(found) => {
                self.meter.succeeded(self.site, begun.elapsed());
                let found = found.map(|found| found.value);
                let known = self.record.keys.entry(key).or_default();
                if known.judge(found.as_ref(), None) != crate::record::Finding::Right {
                    self.meter.stale_read();
                }
            }
            Err(_) => self.meter.failed(self.site, begun.elapsed(), false),
        }
    }

    async fn write(&mut self) {
        let row = self.pick();
        let (key, loaded) = self.rows[row].clone();
        self.writes += 1;
        let mut value = format!("write {} of client {} | ", self.writes, self.number).into_bytes();
        value.extend_from_slice(&loaded);
        value.truncate(loaded.len().max(32));
        let value = Bytes::from(value);
        let begun = Instant::now();
        let end = match self.client.put(key.clone(), value.clone()).await {
            Ok(_) => self.acknowledged(begun),
            Err(error) => self.failed(begun, &error),
        };
        self.record.keys.entry(key).or_default().wrote(Some(value), end);
    }

    /// Reads a counter and sets it to one more, if it still is what was read; sent twice on purpose.
    async fn increment(&mut self) {
        let all = u64::try_from(self.counters.len()).expect("a number of counters fits");
        let index = usize::try_from(self.random() % all).expect("the remainder is below a usize");
        let counter = self.counters[index].clone();
        let begun = Instant::now();
        let found = match self.client.get(counter.clone()).await {
            Ok(found) => found.map(|found| found.value),
            Err(_) => return self.meter.failed(self.site, begun.elapsed(), false),
        };
        self.meter.succeeded(self.site, begun.elapsed());
        let next = found.as_ref().map_or(0, count) + 1;
        let expected = found.map_or(Expected::Absent, Expected::Value);
        let begun = Instant::now();
        let value = Bytes::from(next.to_string());
        let fleet_now = self.client.fleet_now();
        let end = match self.twice.set(counter.clone(), expected, value, fleet_now).await {
            Ok(end) => {
                // Another client may have been faster: an answer like any other.
                self.meter.succeeded(self.site, begun.elapsed());
                end
            }
            Err(_) => {
                self.meter.failed(self.site, begun.elapsed(), true);
                WriteEnd::Ambiguous
            }
        };
        self.record.counted(&counter, end);
    }

    fn acknowledged(&self, begun: Instant) -> WriteEnd {
        self.meter.succeeded(self.site, begun.elapsed());
        WriteEnd::Acknowledged
    }

    fn failed(&self, begun: Instant, error: &ClientError) -> WriteEnd {
        self.meter.failed(self.site, begun.elapsed(), error.is_ambiguous());
        if error.is_ambiguous() { WriteEnd::Ambiguous } else { WriteEnd::Refused }
    }
}

/// What a counter holds; damage counts as far beyond every increment.
pub fn count(value: &Bytes) -> u64 {
    std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()).unwrap_or(u64::MAX / 2)
}
