//! What happened, as one running number: two runs that differ anywhere differ in it. On demand also as lines to read.

use std::fmt;

use holdfast_types::Moment;

/// Takes lines of a trace.
pub type Sink = Box<dyn FnMut(&str)>;

/// The running number (FNV-1a), and who reads along.
pub struct Trace {
    hash: u64,
    events: u64,
    sink: Option<Sink>,
}

impl Default for Trace {
    fn default() -> Self {
        Self { hash: 0xcbf2_9ce4_8422_2325, events: 0, sink: None }
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Trace({:016x})", self.hash)
    }
}

impl Trace {
    /// From now on every line goes there too.
    pub fn read_along(&mut self, sink: Sink) {
        self.sink = Some(sink);
    }

    /// Mixes numbers in: when, what, and its details.
    pub fn mix(&mut self, at: Moment, numbers: &[u64]) {
        self.events += 1;
        self.bytes(&at.0.to_le_bytes());
        for number in numbers {
            self.bytes(&number.to_le_bytes());
        }
    }

    /// Mixes bytes in.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.hash = hash_on(self.hash, bytes);
    }

    /// A line for whoever reads along; it is made only then.
    pub fn line(&mut self, at: Moment, line: impl FnOnce() -> String) {
        if let Some(sink) = &mut self.sink {
            sink(&format!("{at:?} {}", line()));
        }
    }

    /// The number so far.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// How many events were mixed in.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.events
    }
}

/// FNV-1a over eight bytes at a time, and over the rest singly.
#[must_use]
pub fn hash_on(hash: u64, bytes: &[u8]) -> u64 {
    const PRIME: u64 = 0x0100_0000_01b3;
    let mut hash = hash;
    let mut words = bytes.chunks_exact(8);
    for word in &mut words {
        let word = u64::from_le_bytes(word.try_into().expect("eight bytes"));
        hash = (hash ^ word).wrapping_mul(PRIME).rotate_left(23);
    }
    words.remainder().iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(PRIME))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traces_that_differ_in_one_bit_differ() {
        let hash = |last: u64| {
            let mut trace = Trace::default();
            trace.mix(Moment(1), &[1, 2, 3]);
            trace.mix(Moment(2), &[last]);
            trace.hash()
        };
        assert_eq!(hash(5), hash(5));
        assert_ne!(hash(5), hash(4));
    }
}
