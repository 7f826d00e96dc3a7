//! The frames of the handshake, and the only place where their numbers and texts are raw.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use holdfast_proto::v1;
use holdfast_proto::v1::link_frame::Body;
use holdfast_types::{FleetId, Incarnation, LogCounter, OutOfBounds, SiteName, StoreId, limits};

use super::{Addresses, Format, Identity, PROTOCOL_VERSION, Process, Refusal};

/// What a store says of itself as it calls. Of the same fleet and version, else nothing of it is looked at.
pub(super) struct Hello {
    pub(super) from: StoreId,
    pub(super) to: StoreId,
    pub(super) life: Life,
    pub(super) site: SiteName,
    pub(super) class: v1::LinkClass,
    pub(super) addresses: Addresses,
}

/// Which start of a store speaks, and what it can read.
pub(super) struct Life {
    pub(super) incarnation: Incarnation,
    pub(super) process: Process,
    pub(super) formats: Vec<Format>,
}

/// The version and the fleet of a hello: what must fit before anything else of it is read.
pub(super) fn calls_from(hello: &v1::LinkHello) -> (u32, Option<FleetId>) {
    (hello.protocol_version, hello.fleet_id.map(FleetId::from))
}

/// Reads a hello.
pub(super) fn hello_of(hello: &v1::LinkHello) -> Result<Hello, Refusal> {
    let addresses = [&hello.client_address, &hello.store_address];
    if addresses.iter().any(|address| address.len() > limits::MAX_ADDRESS_BYTES) {
        return Err(Refusal::malformed("an address is longer than any is"));
    }
    Ok(Hello {
        from: StoreId::bounded(hello.from_store_id)?,
        to: StoreId::bounded(hello.to_store_id)?,
        life: Life {
            incarnation: Incarnation::told(hello.incarnation)?,
            process: process_of(hello.process, hello.started_at)?,
            formats: formats_of(&hello.formats)?,
        },
        site: SiteName::new(&hello.site).map_err(Refusal::malformed)?,
        class: hello.class(),
        addresses: Addresses { client: hello.client_address.clone(), store_to_store: hello.store_address.clone() },
    })
}

/// Reads a welcome: who answers.
pub(super) fn welcome_of(welcome: &v1::LinkWelcome) -> Result<(StoreId, Life), Refusal> {
    let life = Life {
        incarnation: Incarnation::told(welcome.incarnation)?,
        process: process_of(welcome.process, welcome.started_at)?,
        formats: formats_of(&welcome.formats)?,
    };
    Ok((StoreId::bounded(welcome.store_id)?, life))
}

/// Reads a refusal. One that cannot be is a malformed answer, which says nothing of this store.
pub(super) fn refusal_of(refused: v1::LinkRefused) -> Result<Refusal, Refusal> {
    Ok(match refused.reason() {
        v1::LinkRefusal::WrongFleet => {
            Refusal::WrongFleet { fleet: refused.fleet_id.map(FleetId::from).unwrap_or_default() }
        }
        v1::LinkRefusal::WrongStore => Refusal::WrongStore { store: StoreId::bounded(refused.store_id)? },
        v1::LinkRefusal::UnknownVersion => {
            Refusal::UnknownVersion { known: format_of(&refused.known.unwrap_or_default()) }
        }
        v1::LinkRefusal::OldIncarnation => {
            Refusal::OldIncarnation { newest: Incarnation::hearsay(refused.incarnation)? }
        }
        v1::LinkRefusal::RunsElsewhere => Refusal::RunsElsewhere { alive: Incarnation::hearsay(refused.incarnation)? },
        v1::LinkRefusal::PutBack => Refusal::PutBack {
            newest: Incarnation::hearsay(refused.incarnation)?,
            counter: LogCounter::hearsay(refused.counter)?.0,
        },
        v1::LinkRefusal::Forgotten => Refusal::Forgotten,
        v1::LinkRefusal::NotItsSite => Refusal::NotItsSite {
            certificate: SiteName::new(&refused.certificate_site).map_err(Refusal::malformed)?,
            said: SiteName::new(&refused.said_site).map_err(Refusal::malformed)?,
        },
        v1::LinkRefusal::Malformed | v1::LinkRefusal::Unspecified => Refusal::malformed(refused.detail),
    })
}

fn process_of(number: u64, started_at: u64) -> Result<Process, OutOfBounds> {
    Ok(Process { number, started_at: LogCounter::told(started_at)?.0 })
}

fn formats_of(formats: &[v1::LinkFormat]) -> Result<Vec<Format>, Refusal> {
    if formats.len() > limits::MAX_STREAM_FORMATS {
        return Err(Refusal::malformed(format!("{} formats", formats.len())));
    }
    Ok(formats.iter().map(format_of).collect())
}

fn format_of(format: &v1::LinkFormat) -> Format {
    Format { name: short(&format.name), oldest: format.oldest, newest: format.newest }
}

/// The beginning of a text: what others say is shown and sent back, so all of it together must fit into a frame.
pub(super) fn short(text: &str) -> String {
    text.get(..text.floor_char_boundary(limits::MAX_HANDSHAKE_TEXT_BYTES)).unwrap_or(text).to_owned()
}

/// The first frame of a connection.
pub(crate) fn hello(identity: &Identity, to: StoreId, class: v1::LinkClass) -> v1::LinkFrame {
    frame(Body::Hello(v1::LinkHello {
        protocol_version: PROTOCOL_VERSION,
        fleet_id: Some(identity.fleet.into()),
        from_store_id: identity.store.0,
        to_store_id: to.0,
        incarnation: identity.incarnation.0,
        class: class.into(),
        site: identity.site.as_str().to_owned(),
        formats: formats_to_wire(&identity.formats),
        identity_proof: bytes::Bytes::new(),
        process: identity.process.number,
        started_at: identity.process.started_at,
        client_address: identity.addresses.client.clone(),
        store_address: identity.addresses.store_to_store.clone(),
    }))
}

/// The answer that takes a connection.
pub(crate) fn welcome(identity: &Identity) -> v1::LinkFrame {
    frame(Body::Welcome(v1::LinkWelcome {
        protocol_version: PROTOCOL_VERSION,
        store_id: identity.store.0,
        incarnation: identity.incarnation.0,
        formats: formats_to_wire(&identity.formats),
        process: identity.process.number,
        started_at: identity.process.started_at,
    }))
}

/// The answer that does not.
pub(crate) fn refused(refusal: &Refusal) -> v1::LinkFrame {
    let mut refused = v1::LinkRefused { detail: short(&refusal.to_string()), ..Default::default() };
    let reason = match refusal {
        Refusal::WrongFleet { fleet } => {
            refused.fleet_id = Some((*fleet).into());
            v1::LinkRefusal::WrongFleet
        }
        Refusal::WrongStore { store } => {
            refused.store_id = store.0;
            v1::LinkRefusal::WrongStore
        }
        Refusal::UnknownVersion { known } => {
            refused.known = Some(format_to_wire(known));
            v1::LinkRefusal::UnknownVersion
        }
        Refusal::OldIncarnation { newest } => {
            refused.incarnation = newest.0;
            v1::LinkRefusal::OldIncarnation
        }
        Refusal::RunsElsewhere { alive } => {
            refused.incarnation = alive.0;
            v1::LinkRefusal::RunsElsewhere
        }
        Refusal::PutBack { newest, counter } => {
            (refused.incarnation, refused.counter) = (newest.0, *counter);
            v1::LinkRefusal::PutBack
        }
        Refusal::Forgotten => v1::LinkRefusal::Forgotten,
        Refusal::NotItsSite { certificate, said } => {
            (refused.certificate_site, refused.said_site) = (certificate.as_str().to_owned(), said.as_str().to_owned());
            v1::LinkRefusal::NotItsSite
        }
        Refusal::Malformed(detail) => {
            refused.detail = short(detail);
            v1::LinkRefusal::Malformed
        }
    };
    refused.reason = reason.into();
    frame(Body::Refused(refused))
}

fn frame(body: Body) -> v1::LinkFrame {
    v1::LinkFrame { body: Some(body) }
}

fn format_to_wire(format: &Format) -> v1::LinkFormat {
    v1::LinkFormat { name: format.name.clone(), oldest: format.oldest, newest: format.newest }
}

fn formats_to_wire(formats: &[Format]) -> Vec<v1::LinkFormat> {
    formats.iter().map(format_to_wire).collect()
}
