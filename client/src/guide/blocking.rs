//! Programs without a runtime.
//!
//! [`blocking::Client`](crate::blocking::Client) has every operation of the asynchronous one, under the same names:
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let mock = holdfast_client::mock::Mock::start()?;
//! # let addresses = mock.addresses();
//! use std::time::Duration;
//! use holdfast_client::{Batch, Options, blocking::Client};
//!
//! let client = Client::connect(addresses, Options::new().deadline(Duration::from_secs(2)))?;
//! client.batch(Batch::new().put("a", "1").put("b", "2"))?;
//! for row in client.scan(..).reverse() {
//!     let row = row?;
//!     println!("{} = {}", row.key.escape_ascii(), row.value.escape_ascii());
//! }
//! assert_eq!(client.delete_range(..)?, 2);
//! # Ok(())
//! # }
//! ```
//!
//! It keeps a runtime with one thread for itself and its clones. Threads that call at the same time share messages as tasks do, so one client
//! for many threads is the way to throughput.
//!
//! Within an async runtime a blocking call would stop everybody else on that thread; it panics there instead, and says what to use.
//! [`as_async`](crate::blocking::Client::as_async) gives the asynchronous handle behind it. A blocking client may be dropped anywhere.
