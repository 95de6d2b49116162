//! Names and numbers of things, each a type of its own. Parsing is validating: a value of these types is well formed.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest name of a tenant, topic, plugin, pipeline or step, in bytes. Kafka allows 249 for a topic, of which some must
/// be left for the tenant in front.
pub const NAME_BYTES_MAX: usize = 200;

/// A name that is not well formed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} `{name}` {reason}")]
pub struct InvalidName {
    what: &'static str,
    name: String,
    reason: &'static str,
}

fn check(what: &'static str, name: &str, allowed: fn(char) -> bool, rule: &'static str) -> Result<(), InvalidName> {
    let refuse = |reason| {
        let shown: String = name.chars().take(40).flat_map(char::escape_default).collect();
        Err(InvalidName { what, name: shown, reason })
    };
    if name.is_empty() {
        return refuse("is empty");
    }
    if name.len() > NAME_BYTES_MAX {
        return refuse("is longer than 200 bytes");
    }
    if !name.chars().all(allowed) {
        return refuse(rule);
    }
    if name == "." || name == ".." || name.starts_with("__") {
        return refuse("is reserved: `.`, `..` and names that begin with `__` are");
    }
    Ok(())
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal, $allowed:expr, $rule:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(std::sync::Arc<str>);

        impl $type {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = InvalidName;
            fn from_str(name: &str) -> Result<Self, InvalidName> {
                check($what, name, $allowed, $rule)?;
                Ok(Self(name.into()))
            }
        }

        impl TryFrom<String> for $type {
            type Error = InvalidName;
            fn try_from(name: String) -> Result<Self, InvalidName> {
                name.parse()
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.0.to_string()
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
    };
}

fn in_label(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'
}

fn in_topic(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

name!(
    /// A tenant: the first key of everything that is stored.
    TenantId, "tenant", in_label, "may only have lower-case letters, digits and `-`"
);
name!(
    /// A topic of a tenant.
    TopicName, "topic", in_topic, "may only have letters, digits, `.`, `_` and `-`"
);
name!(
    /// A plugin of a tenant, whatever its version.
    PluginName, "plugin", in_label, "may only have lower-case letters, digits and `-`"
);
name!(
    /// A pipeline of a tenant.
    PipelineName, "pipeline", in_label, "may only have lower-case letters, digits and `-`"
);
name!(
    /// A step of a pipeline.
    StepName, "step", in_label, "may only have lower-case letters, digits and `-`"
);

/// The tenant of a server that has no tenants configured.
pub fn default_tenant() -> TenantId {
    TenantId("default".into())
}

/// One deployment of a pipeline name, never given twice: a pipeline that is deleted and made again starts anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PipelineId(pub u64);

impl fmt::Display for PipelineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl PipelineId {
    /// The task of a pipeline that is not divided.
    pub const fn task(self) -> TaskId {
        TaskId { pipeline: self, number: 0 }
    }
}

/// What one runner runs: a pipeline, or a part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TaskId {
    /// The deployment.
    pub pipeline: PipelineId,
    /// Which of its tasks, counted from 0.
    pub number: u32,
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.pipeline, self.number)
    }
}

/// Which topic it is, whatever its name: a log gives each number once, so a topic that is deleted and made again is
/// another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TopicId(pub u64);

impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A partition of a topic, counted from 0.
pub type PartitionId = u32;

/// A record's place in its partition, counted from 0. As a position: the next record to read or write.
pub type Offset = u64;

/// A partition by name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TopicPartition {
    pub topic: TopicName,
    pub partition: PartitionId,
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.partition)
    }
}

/// SHA-256 of a component: the identity of a plugin version.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        use sha2::Digest as _;
        Self(sha2::Sha256::digest(bytes).into())
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The 64 hexadecimal digits.
    pub fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let invalid = || InvalidName {
            what: "digest",
            name: text.chars().take(80).flat_map(char::escape_default).collect(),
            reason: "is not `sha256:` and 64 hexadecimal digits",
        };
        let hex = text.strip_prefix("sha256:").ok_or_else(invalid)?;
        if hex.len() != 64 || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(invalid());
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| invalid())?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| invalid())?;
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for Digest {
    type Error = InvalidName;
    fn try_from(text: String) -> Result<Self, InvalidName> {
        text.parse()
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A plugin by name, and its version where one is pinned: `count` or `count@sha256:…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginRef {
    pub name: PluginName,
    /// The version; without it, the newest at the time of the deployment.
    pub digest: Option<Digest>,
}

impl FromStr for PluginRef {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text.split_once('@') {
            Some((name, digest)) => Self { name: name.parse()?, digest: Some(digest.parse()?) },
            None => Self { name: text.parse()?, digest: None },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_their_folder_or_key_are_refused() {
        for name in ["", ".", "..", "a/b", "a\0b", "__offsets", "ä", &"x".repeat(201)] {
            assert!(name.parse::<TopicName>().is_err(), "{name:?}");
        }
        assert_eq!("a.B_c-9".parse::<TopicName>().map(String::from), Ok("a.B_c-9".to_owned()));
        assert!("Orders".parse::<PipelineName>().is_err());
    }

    #[test]
    fn an_invalid_name_is_named_with_the_rule() {
        let error = "a b".parse::<PluginName>().map_err(|e| e.to_string());
        assert_eq!(error, Err("plugin `a b` may only have lower-case letters, digits and `-`".to_owned()));
    }

    #[test]
    fn a_digest_is_parsed_as_it_is_shown() {
        let digest = Digest::of(b"abc");
        assert_eq!(digest.to_string().parse::<Digest>(), Ok(digest));
        assert!(digest.to_string().starts_with("sha256:ba7816bf"));
        assert!("sha256:zz".parse::<Digest>().is_err());
    }
}
