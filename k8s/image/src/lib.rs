//! Container images without a daemon and without a registry: files in, one OCI archive out.
//!
//! What comes out depends on what goes in alone: the same files give the same digest. `holdfast-image` packs the program with it, and the tests on
//! Kubernetes clusters what they need beside it.

pub mod archive;
pub mod contents;
pub mod image;
pub mod layer;

pub use contents::File;
pub use image::{Image, Recipe};
