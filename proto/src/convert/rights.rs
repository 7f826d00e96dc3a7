//! Conversions for `rights.proto`, and the file in which a store keeps what was granted.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use bytes::Bytes;
use holdfast_types::{Clients, Grant, Grantee, Key, KeyspaceId, Right, RoleName, Scope, limits};
use prost::Message;

use super::common::required;
use super::storage::expect_version;
use super::{BadMessage, check_count};
use crate::{fields, v1};

/// The version of the file that this program writes.
const VERSION: u32 = 1;

/// A right as messages name it.
#[must_use]
pub fn right_of(right: Right) -> v1::Right {
    match right {
        Right::Read => v1::Right::Read,
        Right::Write => v1::Right::Write,
        Right::Admin => v1::Right::Admin,
        Right::Fleet => v1::Right::Fleet,
    }
}

/// A right that a message names.
pub fn right(raw: i32) -> Result<Right, BadMessage> {
    match v1::Right::try_from(raw) {
        Ok(v1::Right::Read) => Ok(Right::Read),
        Ok(v1::Right::Write) => Ok(Right::Write),
        Ok(v1::Right::Admin) => Ok(Right::Admin),
        Ok(v1::Right::Fleet) => Ok(Right::Fleet),
        Ok(v1::Right::Unspecified) | Err(_) => Err(BadMessage::malformed("the right of a grant is not known here")),
    }
}

impl From<&Grant> for v1::Grant {
    fn from(grant: &Grant) -> Self {
        let right = right_of(grant.right()).into();
        match grant.scope() {
            Scope::Everywhere => Self { right, everywhere: true, ..Self::default() },
            Scope::In { keyspace, prefix } => {
                Self { right, keyspace_id: keyspace.0, prefix: prefix.clone(), ..Self::default() }
            }
        }
    }
}

/// By the id of the keyspace: its name is for those who ask for people.
impl TryFrom<v1::Grant> for Grant {
    type Error = BadMessage;

    fn try_from(message: v1::Grant) -> Result<Self, BadMessage> {
        let scope = if message.everywhere {
            if message.keyspace_id != 0 || !message.prefix.is_empty() {
                return Err(BadMessage::malformed("a grant on all keyspaces names one, or a prefix"));
            }
            Scope::Everywhere
        } else {
            // A prefix that is too long is let go of here, before it is copied anywhere.
            Scope::In { keyspace: KeyspaceId::bounded(message.keyspace_id)?, prefix: message.prefix }
        };
        Self::new(right(message.right)?, scope).map_err(|bad| BadMessage::Malformed(bad.to_string()))
    }
}

impl From<&Grantee> for v1::Grantee {
    fn from(grantee: &Grantee) -> Self {
        let who = match grantee {
            Grantee::Clients(clients) => v1::grantee::Who::Client(clients.to_string()),
            Grantee::Role(role) => v1::grantee::Who::Role(role.to_string()),
        };
        Self { who: Some(who) }
    }
}

impl TryFrom<v1::Grantee> for Grantee {
    type Error = BadMessage;

    fn try_from(message: v1::Grantee) -> Result<Self, BadMessage> {
        Ok(match required(message.who, "grantee")? {
            v1::grantee::Who::Client(name) => Self::Clients(clients(&name)?),
            v1::grantee::Who::Role(name) => Self::Role(role(&name)?),
        })
    }
}

/// One client or every one, by name.
pub fn clients(name: &str) -> Result<Clients, BadMessage> {
    name.parse().map_err(BadMessage::Malformed)
}

/// A role, by name.
pub fn role(name: &str) -> Result<RoleName, BadMessage> {
    RoleName::new(name).map_err(BadMessage::Malformed)
}

/// The grants of one record or request: no more than one may have.
pub fn grants(messages: Vec<v1::Grant>) -> Result<Vec<Grant>, BadMessage> {
    check_count("grants", messages.len(), limits::GRANTS_OF_ONE)?;
    messages.into_iter().map(TryInto::try_into).collect()
}

/// The file with these records.
#[must_use]
pub fn encode_rights(records: &[(Key, Bytes)]) -> Vec<u8> {
    let record = |(key, value): &(Key, Bytes)| v1::StoredRight { key: key.raw().clone(), value: value.clone() };
    v1::StoredRights { version: VERSION, records: records.iter().map(record).collect() }.encode_to_vec()
}

/// Reads what [`encode_rights`] wrote. What the records say is for others to judge.
pub fn decode_rights(bytes: Bytes) -> Result<Vec<(Key, Bytes)>, BadMessage> {
    if !fields::are_within::<v1::StoredRights>(&bytes, limits::RIGHTS_FILE_FIELDS) {
        return Err(BadMessage::malformed("a file of rights has more fields than any store writes"));
    }
    let v1::StoredRights { version, records } = v1::StoredRights::decode(bytes)?;
    expect_version("a file of rights", version, VERSION)?;
    let record = |record: v1::StoredRight| Ok((super::common::key(record.key)?, record.value));
    records.into_iter().map(record).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(right: Right, scope: Scope) -> Grant {
        Grant::new(right, scope).unwrap()
    }

    #[test]
    fn grants_and_grantees_round_trip() {
        let prefix = Bytes::from_static(b"a/");
        for grant in [
            grant(Right::Read, Scope::Everywhere),
            grant(Right::Fleet, Scope::Everywhere),
            grant(Right::Write, Scope::keyspace(KeyspaceId(256))),
            grant(Right::Admin, Scope::In { keyspace: KeyspaceId(1), prefix }),
        ] {
            assert_eq!(Grant::try_from(v1::Grant::from(&grant)), Ok(grant));
        }
        for grantee in ["*", "billing"] {
            let grantee = Grantee::Clients(grantee.parse().unwrap());
            assert_eq!(Grantee::try_from(v1::Grantee::from(&grantee)), Ok(grantee));
        }
    }

    #[test]
    fn what_no_grant_can_be_is_refused() {
        let good = v1::Grant { right: 1, keyspace_id: 1, ..v1::Grant::default() };
        assert!(Grant::try_from(good.clone()).is_ok());
        for bad in [
            v1::Grant { right: 0, ..good.clone() },
            v1::Grant { right: 9, ..good.clone() },
            v1::Grant { right: 4, ..good.clone() },
            v1::Grant { keyspace_id: 0, ..good.clone() },
            v1::Grant { keyspace_id: u32::MAX, ..good.clone() },
            v1::Grant { everywhere: true, ..good.clone() },
            v1::Grant { everywhere: true, keyspace_id: 0, prefix: "a".into(), ..good.clone() },
            v1::Grant { prefix: vec![1; limits::GRANT_PREFIX_BYTES + 1].into(), ..good.clone() },
        ] {
            assert!(Grant::try_from(bad.clone()).is_err(), "{bad:?}");
        }
        assert!(grants(vec![good; limits::GRANTS_OF_ONE + 1]).is_err());
        assert!(Grantee::try_from(v1::Grantee { who: None }).is_err());
        assert!(clients("a b").is_err() && role("Not").is_err());
    }

    #[test]
    fn the_file_round_trips_and_made_up_records_are_counted_before_they_take_memory() {
        let records = vec![(Key::bound(KeyspaceId::SYSTEM, b"rights/version"), Bytes::from_static(b"v"))];
        assert_eq!(decode_rights(encode_rights(&records).into()), Ok(records));
        assert!(decode_rights(Bytes::new()).unwrap_err().to_string().contains("no version"));
        let many = [0x12, 0x00].repeat(limits::RIGHTS_FILE_FIELDS + 1);
        assert!(decode_rights(many.into()).unwrap_err().to_string().contains("more fields"));
    }
}
