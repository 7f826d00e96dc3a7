//! holdfast-kv
