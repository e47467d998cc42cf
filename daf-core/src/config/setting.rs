//! Values of a pipeline as they were written.

use std::fmt;

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{
    Deserialize, Deserializer, Error as _, IntoDeserializer, MapAccess, SeqAccess, Unexpected, Visitor,
};
use serde_json::{Error, Number, Value};

/// Settings by their keys, in the order in which they were written.
pub type Settings = config::Map<String, Setting>;

/// A value of a pipeline. A number keeps the text that it was written as: where a key takes text, `01` is the text `01`.
#[derive(Debug, Clone, PartialEq)]
pub enum Setting {
    /// `null`, which switches something off.
    Null,
    /// `true`, `false` or a number.
    Plain(Plain),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Setting>),
    /// Further settings.
    Map(Settings),
}

/// A value without quotes, which is no text where anything else will do.
#[derive(Debug, Clone, PartialEq)]
pub struct Plain {
    text: String,
    meant: Meant,
}

#[derive(Debug, Clone, PartialEq)]
enum Meant {
    Truth(bool),
    Number(Number),
    /// Infinity, none at all, or a number too large to be told from infinity.
    NotFinite,
}

impl Setting {
    /// Meaning of a text without quotes in YAML.
    #[must_use]
    pub fn of_text(text: &str) -> Self {
        use yaml_rust2::Yaml;
        let meant = match Yaml::from_str(text) {
            Yaml::Null => return Self::Null,
            Yaml::Boolean(truth) => Meant::Truth(truth),
            Yaml::Integer(number) => Meant::Number(number.into()),
            real @ Yaml::Real(_) => {
                let number = real.as_f64().and_then(Number::from_f64);
                number.map_or(Meant::NotFinite, Meant::Number)
            }
            _ => return Self::Text(text.into()),
        };
        let text = text.into();
        Self::Plain(Plain { text, meant })
    }

    /// Meaning of a variable of the environment, which has no quotes: `true`, `false` and numbers; all else is text.
    #[must_use]
    pub fn of_variable(text: &str) -> Self {
        if let Ok(truth) = text.to_lowercase().parse() {
            let meant = Meant::Truth(truth);
            let text = text.into();
            return Self::Plain(Plain { text, meant });
        }
        match Self::of_text(text) {
            Self::Null => Self::Text(text.into()),
            other => other,
        }
    }

    /// The value of `key`, if this is a map that has it.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Map(map) => map.get(key),
            _ => None,
        }
    }

    /// The text, if it is one.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A lone value as it was written.
    #[must_use]
    pub fn written(&self) -> Option<&str> {
        match self {
            Self::Text(text) | Self::Plain(Plain { text, .. }) => Some(text),
            _ => None,
        }
    }

    /// Whether it is `null`.
    #[must_use]
    pub const fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }
}

impl Plain {
    /// The value as it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it is `true` or `false`.
    #[must_use]
    pub const fn is_truth(&self) -> bool {
        matches!(self.meant, Meant::Truth(_))
    }
}

impl From<Value> for Setting {
    fn from(value: Value) -> Self {
        let plain = |text: String, meant| Self::Plain(Plain { text, meant });
        match value {
            Value::Null => Self::Null,
            Value::Bool(truth) => plain(truth.to_string(), Meant::Truth(truth)),
            Value::Number(number) => plain(number.to_string(), Meant::Number(number)),
            Value::String(text) => Self::Text(text),
            Value::Array(list) => Self::List(list.into_iter().map(Self::from).collect()),
            Value::Object(map) => {
                Self::Map(map.into_iter().map(|(key, value)| (key, value.into())).collect())
            }
        }
    }
}

impl From<Setting> for Value {
    fn from(setting: Setting) -> Self {
        match setting {
            Setting::Null => Self::Null,
            Setting::Plain(Plain { text, meant }) => match meant {
                Meant::Truth(truth) => truth.into(),
                Meant::Number(number) => number.into(),
                Meant::NotFinite => text.into(),
            },
            Setting::Text(text) => text.into(),
            Setting::List(list) => list.into_iter().map(Self::from).collect(),
            Setting::Map(map) => {
                Self::Object(map.into_iter().map(|(key, value)| (key, value.into())).collect())
            }
        }
    }
}

/// By this name a [`Setting`] asks for what was written, which is told as bytes: no other value has them.
const AS_WRITTEN: &str = "$daf::Setting";

impl<'de> Deserialize<'de> for Setting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Setting;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }
            fn visit_newtype_struct<D: Deserializer<'de>>(
                self,
                deserializer: D,
            ) -> Result<Setting, D::Error> {
                deserializer.deserialize_any(self)
            }
            fn visit_bytes<E: serde::de::Error>(self, written: &[u8]) -> Result<Setting, E> {
                std::str::from_utf8(written)
                    .map(Setting::of_text)
                    .map_err(E::custom)
            }
            fn visit_unit<E>(self) -> Result<Setting, E> {
                Ok(Setting::Null)
            }
            fn visit_bool<E>(self, truth: bool) -> Result<Setting, E> {
                Ok(Value::from(truth).into())
            }
            fn visit_u64<E>(self, number: u64) -> Result<Setting, E> {
                Ok(Value::from(number).into())
            }
            fn visit_i64<E>(self, number: i64) -> Result<Setting, E> {
                Ok(Value::from(number).into())
            }
            fn visit_f64<E>(self, number: f64) -> Result<Setting, E> {
                Ok(Value::from(number).into())
            }
            fn visit_str<E>(self, text: &str) -> Result<Setting, E> {
                Ok(Setting::Text(text.into()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Setting, A::Error> {
                let mut list = Vec::new();
                while let Some(element) = elements.next_element()? {
                    list.push(element);
                }
                Ok(Setting::List(list))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Setting, A::Error> {
                let mut map = Settings::new();
                while let Some((key, value)) = entries.next_entry()? {
                    map.insert(key, value);
                }
                Ok(Setting::Map(map))
            }
        }
        deserializer.deserialize_newtype_struct(AS_WRITTEN, Any)
    }
}

impl<'de> IntoDeserializer<'de, Error> for &'de Setting {
    type Deserializer = Self;
    fn into_deserializer(self) -> Self {
        self
    }
}

/// As JSON is read, in the same words, but that text takes what was written.
impl<'de> Deserializer<'de> for &'de Setting {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self {
            Setting::Null => visitor.visit_unit(),
            Setting::Plain(plain) => match &plain.meant {
                Meant::Truth(truth) => visitor.visit_bool(*truth),
                Meant::Number(number) => number.deserialize_any(visitor),
                Meant::NotFinite => Err(Error::custom(format_args!(
                    "expected a finite number, found {}",
                    plain.text
                ))),
            },
            Setting::Text(text) => visitor.visit_borrowed_str(text),
            Setting::List(list) => {
                let mut elements = SeqDeserializer::new(list.iter());
                let value = visitor.visit_seq(&mut elements)?;
                elements.end()?;
                Ok(value)
            }
            Setting::Map(map) => {
                let entries = map.iter().map(|(key, value)| (key.as_str(), value));
                let mut entries = MapDeserializer::new(entries);
                let value = visitor.visit_map(&mut entries)?;
                entries.end()?;
                Ok(value)
            }
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self {
            Setting::Plain(plain) => visitor.visit_borrowed_str(&plain.text),
            other => other.deserialize_any(visitor),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self {
            Setting::Null => visitor.visit_none(),
            other => visitor.visit_some(other),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self {
            Setting::Plain(plain) if name == AS_WRITTEN => visitor.visit_bytes(plain.text.as_bytes()),
            other => visitor.visit_newtype_struct(other),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self {
            Setting::Text(text) => visitor.visit_enum(text.as_str().into_deserializer()),
            Setting::Plain(plain) => visitor.visit_enum(plain.text.as_str().into_deserializer()),
            Setting::Map(map) if map.len() == 1 => {
                let entries = map.iter().map(|(key, value)| (key.as_str(), value));
                visitor.visit_enum(serde::de::value::MapAccessDeserializer::new(
                    MapDeserializer::new(entries),
                ))
            }
            other => other.deserialize_any(visitor),
        }
    }

    /// A list is no short form of a map.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self {
            Setting::List(_) => Err(Error::invalid_type(Unexpected::Seq, &visitor)),
            other => other.deserialize_any(visitor),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct seq tuple tuple_struct
        map
    }
}
