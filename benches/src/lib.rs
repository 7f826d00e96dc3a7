//! holdfast-benches
