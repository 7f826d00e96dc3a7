//! holdfast-placement
