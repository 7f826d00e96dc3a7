//! Bounds of files whose rows are read.

/// One record of a file: a value of the largest size, each byte of which JSON may write as six, with its key and the other columns. A quote
/// without an end is looked for no further than this.
pub const MAX_RECORD_BYTES: usize = 32 << 20;
/// Bytes that are read from a file at once: few calls of the system, and little for a pipe to hand over late.
pub const ROWS_READ_BYTES: usize = 128 << 10;
/// Of a text so much is looked at before it is read, to see what it is: a first line, and no more where that is longer.
pub const ROWS_BEGINNING_BYTES: usize = 64 << 10;
/// Columns of one file: as many as a spreadsheet has.
pub const MAX_ROW_COLUMNS: usize = 16_384;
/// Names within one JSON row, at all depths, each of which is held to be compared with the others: more than fit into the largest value.
pub const MAX_ROW_NAMES: usize = 1 << 20;
/// Lists and objects within each other in one JSON row: what readers of JSON take, so that a row that is stored can be read.
pub const MAX_ROW_DEPTH: usize = 127;
/// Memory that a packed file may ask for to be unpacked, as a power of two: what `zstd` itself grants by default.
pub const UNPACK_WINDOW_LOG: u32 = 27;
