//! Records of rights, encoded.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::collections::BTreeSet;

use bytes::Bytes;
use holdfast_proto::convert::rights::{clients, grants, role};
use holdfast_proto::convert::{BadMessage, check_count};
use holdfast_proto::v1;
use holdfast_types::{Clients, Grant, RoleName, limits};
use prost::Message as _;

use super::book::{Role, counted};

/// The version that this program writes.
const VERSION: u32 = 1;

fn known(what: &'static str, version: u32) -> Result<(), BadMessage> {
    if version == VERSION { Ok(()) } else { Err(BadMessage::UnknownVersion { what, found: version, known: VERSION }) }
}

/// Refuses what is larger than any store writes it, before it is decoded.
fn bounded(value: &[u8]) -> Result<(), BadMessage> {
    let (bytes, most) = (value.len(), limits::RIGHTS_RECORD_BYTES);
    if bytes <= most {
        Ok(())
    } else {
        Err(BadMessage::malformed(format!("a record of rights has {bytes} bytes, {most} at most")))
    }
}

pub(super) fn encode_rights_version(number: u64, closed: bool) -> Bytes {
    v1::RightsRecord { version: VERSION, number, closed }.encode_to_vec().into()
}

/// Decodes the number of the last change of rights, and whether they are closed.
pub fn decode_rights_version(value: &[u8]) -> Result<(u64, bool), BadMessage> {
    let message = v1::RightsRecord::decode(value)?;
    known("the version of rights", message.version)?;
    Ok((counted(message.number)?, message.closed))
}

pub(super) fn encode_role(name: &RoleName, role: &Role) -> Bytes {
    let message = v1::RoleRecord {
        version: VERSION,
        name: name.to_string(),
        grants: role.grants.iter().map(Into::into).collect(),
        members: role.members.iter().map(ToString::to_string).collect(),
    };
    message.encode_to_vec().into()
}

/// Decodes a role and its name.
pub fn decode_role(value: &[u8]) -> Result<(RoleName, Role), BadMessage> {
    bounded(value)?;
    let message = v1::RoleRecord::decode(value)?;
    known("a role", message.version)?;
    check_count("members of a role", message.members.len(), limits::MEMBERS_OF_A_ROLE)?;
    let members = message.members.iter().map(|name| clients(name)).collect::<Result<_, _>>()?;
    let granted = grants(message.grants)?.into_iter().collect();
    Ok((role(&message.name)?, Role { grants: granted, members }))
}

pub(super) fn encode_client_grants(clients: &Clients, grants: &BTreeSet<Grant>) -> Bytes {
    let grants = grants.iter().map(Into::into).collect();
    v1::ClientGrantsRecord { version: VERSION, client: clients.to_string(), grants }.encode_to_vec().into()
}

/// Decodes what a client was granted itself, and who it is.
pub fn decode_client_grants(value: &[u8]) -> Result<(Clients, BTreeSet<Grant>), BadMessage> {
    bounded(value)?;
    let message = v1::ClientGrantsRecord::decode(value)?;
    known("the grants of a client", message.version)?;
    Ok((clients(&message.client)?, grants(message.grants)?.into_iter().collect()))
}
