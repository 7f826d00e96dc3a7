//! holdfast-raft-transport
