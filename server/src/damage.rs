//! Files as a failing disk, or somebody with an editor, may leave them: for tests of whatever reads them.

/// The bytes cut at every place, with each byte changed in a few ways, and with several changes at once: the same ones every time.
pub fn versions_of(whole: &[u8]) -> Vec<Vec<u8>> {
    let mut versions: Vec<_> = (0..whole.len()).map(|length| whole[..length].to_vec()).collect();
    let with = |changes: &[(usize, u8)]| {
        let mut changed = whole.to_vec();
        changes.iter().for_each(|(at, byte)| changed[*at] = *byte);
        changed
    };
    for (at, byte) in whole.iter().enumerate() {
        versions.extend([0, b'"', b'9', b'\n', 0xff, byte ^ 1].map(|byte| with(&[(at, byte)])));
    }
    let mut random = 0x2545_F491_4F6C_DD1D_u64;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    for _ in 0..200 {
        let places = [(); 4].map(|()| usize::try_from(next() % whole.len() as u64).expect("it is below a length"));
        versions.push(with(&places.map(|at| (at, next().to_le_bytes()[0]))));
        // A part of it twice.
        let [start, end, ..] = places;
        versions.push([&whole[..end], &whole[start.min(end)..]].concat());
    }
    versions
}
