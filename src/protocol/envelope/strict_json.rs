//! JSON in which no object names a member twice: the one ambiguity that RFC 8259 leaves open, closed.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{DeserializeOwned, Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Parses `bytes` as `T` after checking that every object in them, at any depth, has distinct member names.
pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let describe = |error: serde_json::Error| error.to_string();
    serde_json::from_slice::<DistinctMembers>(bytes).map_err(describe)?;
    serde_json::from_slice(bytes).map_err(describe)
}

/// Any JSON value whose objects have distinct member names. Holds nothing: that it exists is what it says.
struct DistinctMembers;

impl<'de> Deserialize<'de> for DistinctMembers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DistinctMembersVisitor)
    }
}

struct DistinctMembersVisitor;

impl<'de> Visitor<'de> for DistinctMembersVisitor {
    type Value = DistinctMembers;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<DistinctMembers, E> {
        Ok(DistinctMembers)
    }

    fn visit_i64<E>(self, _: i64) -> Result<DistinctMembers, E> {
        Ok(DistinctMembers)
    }

    fn visit_u64<E>(self, _: u64) -> Result<DistinctMembers, E> {
        Ok(DistinctMembers)
    }

    fn visit_f64<E>(self, _: f64) -> Result<DistinctMembers, E> {
        Ok(DistinctMembers)
    }

    fn visit_str<E>(self, _: &str) -> Result<DistinctMembers, E> {
        Ok(DistinctMembers)
    }

    fn visit_unit<E>(self) -> Result<DistinctMembers, E> {
        Ok(DistinctMembers)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<DistinctMembers, A::Error> {
        while items.next_element::<DistinctMembers>()?.is_some() {}
        Ok(DistinctMembers)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<DistinctMembers, A::Error> {
        let mut names = BTreeSet::new();
        while let Some(name) = members.next_key::<String>()? {
            if names.contains(&name) {
                return Err(A::Error::custom(format!("the member {name:?} is there twice")));
            }
            names.insert(name);
            members.next_value::<DistinctMembers>()?;
        }
        Ok(DistinctMembers)
    }
}
