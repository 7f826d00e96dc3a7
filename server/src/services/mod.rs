//! What a store serves: the public service, the fleet service, health and metrics.

pub mod admin;
pub mod bounded;
pub mod fitting;
pub mod fleet;
pub mod health;
pub mod http;
pub mod kv;
mod repeat;
mod spanning;
mod stream;
mod telling;
