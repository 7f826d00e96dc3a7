//! Getting started: connect, write, read.
//!
//! ```toml
//! [dependencies]
//! holdfast-client = "0.1"
//! tokio = { version = "1", features = ["macros", "rt-multi-thread"] }
//!
//! [dev-dependencies]
//! holdfast-client = { version = "0.1", features = ["mock"] }
//! ```
//!
//! A fleet to play with comes from `holdfast dev`, which prints its addresses. A client needs one that answers; it learns the others
//! from it, and keeps learning as stores come and go.
//!
//! ```no_run
//! use holdfast_client::{Client, ClientError, Options, SiteName};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let options = Options::new().site(SiteName::new("site-a")?);
//! let client = Client::connect(["store-0.site-a:7300", "store-0.site-b:7300"], options).await?;
//! # Ok(())
//! # }
//! ```
//!
//! Name the site in which the program runs: its stores are asked first where there is a choice, and a request that must go to another
//! site is passed on by them when that site cannot be reached directly.
//!
//! One address at which a store answers is enough, also a forwarded port (`kubectl port-forward`, `ssh -L`) or a load balancer from where
//! the addresses that stores advertise lead nowhere: that store passes everything on. The first call finds out what works, and then takes
//! about as long as an attempt to connect (1 s), or less where connections are refused. From then on calls go by what works, and back to
//! the advertised addresses once they are reached.
//!
//! Keys are 1 B to 4 KiB of any bytes, ordered bytewise; values are up to 1 MiB, unless the fleet is configured otherwise.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let mock = holdfast_client::mock::Mock::start()?;
//! # let client = mock.client().await?;
//! client.put("user/7", "Ada").await?;
//! let user = client.get("user/7").await?.expect("just written");
//! assert_eq!(&user.value[..], b"Ada");
//! println!("written at {}", user.timestamp);
//!
//! client.delete("user/7").await?;
//! assert!(client.get("user/7").await?.is_none());
//! # Ok(())
//! # }
//! ```
//!
//! A [`Client`](crate::Client) is a handle: clone it freely, share it among tasks, make one for a program and not one for a request. All
//! clones share one connection to each store, and calls that are in flight at the same time travel in the same messages.
//!
//! Keys live in keyspaces. Without a word you are in the one called `default`; others have a name and are made once:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let mock = holdfast_client::mock::Mock::start()?;
//! # let client = mock.client().await?;
//! client.admin().create_keyspace("orders").await?;
//! let orders = client.keyspace("orders").await?;
//! orders.put("17", "two apples").await?;
//! # Ok(())
//! # }
//! ```
