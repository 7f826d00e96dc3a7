//! Who is refused before he gets to a service: at the handshake of TLS, and by what stores say when they connect.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use holdfast_edge::handshake::Handshakes;
use holdfast_raft_transport::OnRefused;
use holdfast_types::StoreId;

use super::{Audit, Refusal};
use crate::services::caller::Caller;

/// Puts handshakes of a port that fail on record.
pub fn handshakes(audit: &Arc<Audit>, port: &'static str, of_port: &Handshakes) {
    let audit = Arc::clone(audit);
    of_port.witness(move |from, why, says| {
        let arguments = vec![("port", port.to_owned()), ("reason", why.as_str().to_owned())];
        let caller = Caller { principal: None, from: Some(from) };
        audit.refused(Refusal { what: "handshake", caller, why: says.to_owned(), arguments });
    });
}

/// Puts connections for heartbeats on record whose callers are not taken.
pub fn heartbeats(audit: &Arc<Audit>) -> OnRefused {
    let audit = Arc::clone(audit);
    Arc::new(move |from, party, refusal| {
        let principal = party.map(|party| Arc::clone(&party.principal));
        let caller = Caller { principal, from: Some(from) };
        let arguments = vec![("port", "heartbeats".to_owned())];
        audit.refused(Refusal { what: "stream", caller, why: refusal.to_string(), arguments });
    })
}

/// Puts a stream on record that was not taken. `claimed`: who its caller says that he is.
pub fn stream(audit: &Audit, claimed: StoreId, from: Option<IpAddr>, why: String) {
    let caller = Caller { principal: None, from: from.map(|from| SocketAddr::new(from, 0)) };
    let arguments = vec![("port", "stores".to_owned()), ("claimed", claimed.to_string())];
    audit.refused(Refusal { what: "stream", caller, why, arguments });
}
