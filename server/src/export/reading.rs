//! Reads the rows of an export, some pages ahead of whoever writes them.

use holdfast_client::{ClientError, KeyValue, Scan, ScanPlace, Timestamp};
use holdfast_types::limits;
use tokio::sync::mpsc;

/// What comes of reading.
#[derive(Debug)]
pub enum Read {
    /// Rows in the order of their keys.
    Page {
        /// The rows.
        rows: Vec<KeyValue>,
        /// The version that they were read at.
        at: Option<Timestamp>,
        /// Where the next page begins; `None`: there is none.
        next: Option<ScanPlace>,
    },
    /// Everything was read.
    Done {
        /// The version that the last range was read at, which may be without rows.
        at: Option<Timestamp>,
    },
    /// No more can be read.
    Failed(ClientError),
}

/// Reads a scan to its end, or until nobody takes what is read. The channel that closes without [`Read::Done`] or [`Read::Failed`] was broken off.
pub fn read_ahead(mut scan: Scan) -> mpsc::Receiver<Read> {
    let (pages, reader) = mpsc::channel(limits::EXPORT_PAGES_AHEAD);
    tokio::spawn(async move {
        loop {
            let read = match scan.next_page().await {
                Ok(Some(rows)) => Read::Page { rows, at: scan.page_at(), next: scan.place() },
                Ok(None) => Read::Done { at: scan.page_at() },
                Err(error) => Read::Failed(error),
            };
            let is_last = !matches!(read, Read::Page { .. });
            if pages.send(read).await.is_err() || is_last {
                return;
            }
        }
    });
    reader
}
