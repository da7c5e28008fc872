//! The visitors: they give keys and values to the scratch row without a copy. What is wrong with a value is kept there, so
//! that the rest of the row is still read: only broken JSON is an error.

use super::scratch::{Key, Scratch, shortened};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;
use steersman_domain::Problem;
use steersman_domain::schema::Raw;

/// Reads an object into the scratch row.
pub(super) struct RowSeed<'r, 's>(pub(super) &'r mut Scratch<'s>);

impl<'de> DeserializeSeed<'de> for RowSeed<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for RowSeed<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key_seed(KeySeed(|name: &str| self.0.key(name)))? {
            match key {
                Key::Unknown => drop(map.next_value::<IgnoredAny>()?),
                Key::Features if self.0.has_features => {
                    self.0.twice("features");
                    map.next_value::<IgnoredAny>()?;
                }
                Key::Features => {
                    self.0.has_features = true;
                    map.next_value_seed(FeaturesSeed(self.0))?;
                }
                key => map.next_value_seed(ValueSeed(|raw: Raw<'_>| self.0.set(key, raw)))?,
            }
        }
        Ok(())
    }
}

/// Reads the object of features.
struct FeaturesSeed<'r, 's>(&'r mut Scratch<'s>);

impl<'de> DeserializeSeed<'de> for FeaturesSeed<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl FeaturesSeed<'_, '_> {
    fn other<E>(self) -> Result<(), E> {
        self.0.wrong(Problem::invalid("not an object").field("features"));
        Ok(())
    }
}

impl<'de> Visitor<'de> for FeaturesSeed<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of features")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut last = 0;
        loop {
            let scratch = &mut *self.0;
            let find = |name: &str| {
                let place = scratch.feature(name, last);
                if place.is_none() {
                    scratch.unknown.push(shortened(name));
                }
                place
            };
            match map.next_key_seed(KeySeed(find))? {
                None => return Ok(()),
                Some(None) => drop(map.next_value::<IgnoredAny>()?),
                Some(Some(place)) => {
                    map.next_value_seed(ValueSeed(|raw: Raw<'_>| self.0.set_feature(place, raw)))?;
                    last = place + 1;
                }
            }
        }
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.other()
    }
    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        self.other()
    }
    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        self.other()
    }
    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        self.other()
    }
    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        self.other()
    }
    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        self.other()
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        self.other()
    }
}

/// Gives a key to a function, without a copy.
struct KeySeed<F>(F);

impl<'de, T, F: FnOnce(&str) -> T> DeserializeSeed<'de> for KeySeed<F> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<T, F: FnOnce(&str) -> T> Visitor<'_> for KeySeed<F> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, name: &str) -> Result<T, E> {
        Ok((self.0)(name))
    }
}

/// Gives a value to a function, without a copy.
struct ValueSeed<F>(F);

impl<'de, F: FnOnce(Raw<'_>)> DeserializeSeed<'de> for ValueSeed<F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, F: FnOnce(Raw<'_>)> Visitor<'de> for ValueSeed<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        (self.0)(Raw::Null);
        Ok(())
    }

    fn visit_bool<E>(self, flag: bool) -> Result<(), E> {
        (self.0)(Raw::Bool(flag));
        Ok(())
    }

    fn visit_i64<E>(self, number: i64) -> Result<(), E> {
        (self.0)(Raw::Integer(number));
        Ok(())
    }

    fn visit_u64<E>(self, number: u64) -> Result<(), E> {
        (self.0)(i64::try_from(number).map_or(Raw::Unsigned(number), Raw::Integer));
        Ok(())
    }

    fn visit_f64<E>(self, number: f64) -> Result<(), E> {
        (self.0)(Raw::Float(number));
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        (self.0)(Raw::Text(text));
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        (self.0)(Raw::List);
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        (self.0)(Raw::Object);
        Ok(())
    }
}
