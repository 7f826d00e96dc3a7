//! What a store serves: the public service, the fleet service, health and metrics.

pub mod access;
pub mod admin;
pub mod allowed;
pub mod bounded;
pub mod caller;
pub mod fitting;
pub mod fleet;
pub mod health;
pub mod http;
pub mod kv;
pub mod needs;
mod repeat;
mod spanning;
mod stream;
mod telling;
