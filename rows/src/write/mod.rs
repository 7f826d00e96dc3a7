//! Writers of rows: the way back.
//!
//! - [`RowWriter`]: cells as CSV, TSV or JSON lines, so that [`Records`](crate::Records) reads the same cells back
//! - [`cell`]: bytes that are no text, within formats that hold texts alone
//! - [`Compression`], [`Packer`], [`unpacked`]: files that are packed as they are written, and can be cut and gone on with

pub mod cell;
mod compression;
mod row_writer;
mod separated;

pub use self::cell::{NotBase64, decode_cell, encode_cell};
pub use self::compression::{Compression, Packer, unpacked};
pub use self::row_writer::RowWriter;

pub(crate) use self::row_writer::push_json;
