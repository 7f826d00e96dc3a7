//! What a decoder takes of memory, beside what it was given.

/// What it may take for nothing: sentences, tables of the decoder itself.
const FREE_BYTES: usize = 64 << 10;

/// Runs it, and sees that it never held more than so many times the bytes that it was given.
pub(crate) fn within<T>(times: usize, given_bytes: usize, decode: impl FnOnce() -> T) -> T {
    let mut decoded = None;
    let taken = allocation_counter::measure(|| decoded = Some(decode()));
    let most = u64::try_from(FREE_BYTES + times * given_bytes).unwrap();
    assert!(taken.bytes_max <= most, "{} B for {given_bytes} B, at most {times} times as many", taken.bytes_max);
    decoded.expect("it has run")
}
