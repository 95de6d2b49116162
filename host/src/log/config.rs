//! How a topic is kept: its partitions, and what becomes of old records.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Most partitions a topic may have.
pub const PARTITIONS_MAX: u32 = 1024;

/// How long deletions are kept in a compacted topic unless its configuration says otherwise: a day, as in Kafka. A reader
/// that is slower than this may miss that a key was deleted.
pub const TOMBSTONE_RETENTION: Duration = Duration::from_secs(24 * 60 * 60);

/// How a topic is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TopicConfig {
    /// Number of partitions, at least 1.
    pub partitions: u32,
    /// How long records are kept, by their largest timestamp in a batch; `None` for ever.
    #[serde(default)]
    pub retention: Option<Duration>,
    /// How many bytes each partition keeps; `None` for any number.
    #[serde(default)]
    pub retention_bytes: Option<u64>,
    /// Which old records go.
    #[serde(default, rename = "cleanup_policy", skip_serializing_if = "is_default")]
    pub cleanup: Cleanup,
    /// For how long after it was first met by compaction a deletion is kept in a compacted topic; `None` for
    /// [`TOMBSTONE_RETENTION`].
    #[serde(default, skip_serializing_if = "is_default")]
    pub tombstone_retention: Option<Duration>,
}

/// Which old records of a topic go. The names are those of Kafka's `cleanup.policy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Cleanup {
    /// Those beyond the retention.
    #[default]
    #[serde(rename = "delete")]
    Delete,
    /// Those that a newer record of the same key replaces. Every record has a key.
    #[serde(rename = "compact")]
    Compact,
    /// Both kinds.
    #[serde(rename = "compact,delete")]
    CompactAndDelete,
}

impl Cleanup {
    /// Whether records go that a newer one of their key replaces, so that each must have a key.
    pub const fn compacts(self) -> bool {
        matches!(self, Self::Compact | Self::CompactAndDelete)
    }

    /// Whether records beyond the retention go.
    pub const fn deletes(self) -> bool {
        matches!(self, Self::Delete | Self::CompactAndDelete)
    }
}

impl std::fmt::Display for Cleanup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Delete => "delete",
            Self::Compact => "compact",
            Self::CompactAndDelete => "compact,delete",
        })
    }
}

impl std::str::FromStr for Cleanup {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "delete" => Ok(Self::Delete),
            "compact" => Ok(Self::Compact),
            "compact,delete" | "delete,compact" => Ok(Self::CompactAndDelete),
            _ => Err(format!("cleanup policy `{text}` is none of `delete`, `compact` and `compact,delete`")),
        }
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl TopicConfig {
    /// A topic of that many partitions that keeps everything.
    pub const fn with_partitions(partitions: u32) -> Self {
        Self { partitions, retention: None, retention_bytes: None, cleanup: Cleanup::Delete, tombstone_retention: None }
    }

    /// What no topic can be.
    pub(super) fn fault(&self) -> Option<String> {
        if !(1..=PARTITIONS_MAX).contains(&self.partitions) {
            return Some(format!("it has {} partitions where 1 to {PARTITIONS_MAX} are possible", self.partitions));
        }
        let has_retention = self.retention.is_some() || self.retention_bytes.is_some();
        if !self.cleanup.deletes() && has_retention {
            return Some(
                "a retention means nothing under the cleanup policy `compact`, which keeps the newest record of each \
                 key for ever: leave the retention out, or use `compact,delete`"
                    .to_owned(),
            );
        }
        if !self.cleanup.compacts() && self.tombstone_retention.is_some() {
            let reason = "only topics that are compacted treat deletions apart: leave `tombstone_retention_ms` out, or \
                          use the cleanup policy `compact`";
            return Some(reason.to_owned());
        }
        None
    }

    /// Batches whose newest record is older than this are no longer kept; `None` if age does not matter.
    pub(super) fn expires_before(&self, now_ms: i64) -> Option<i64> {
        let kept_ms = i64::try_from(self.retention?.as_millis()).unwrap_or(i64::MAX);
        Some(now_ms.saturating_sub(kept_ms))
    }

    /// Until when a deletion is kept that compaction meets now.
    pub(super) fn delete_horizon(&self, now_ms: i64) -> i64 {
        let kept = self.tombstone_retention.unwrap_or(TOMBSTONE_RETENTION);
        now_ms.saturating_add(i64::try_from(kept.as_millis()).unwrap_or(i64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_has_the_name_that_kafka_gives_it() {
        for cleanup in [Cleanup::Delete, Cleanup::Compact, Cleanup::CompactAndDelete] {
            assert_eq!(cleanup.to_string().parse(), Ok(cleanup));
            assert_eq!(serde_json::to_value(cleanup).ok(), Some(cleanup.to_string().into()));
        }
        assert_eq!("delete,compact".parse(), Ok(Cleanup::CompactAndDelete));
        assert!("compacted".parse::<Cleanup>().is_err());
    }

    /// What was stored before there was compaction, and what is stored without it: the same.
    #[test]
    fn a_topic_without_compaction_is_stored_as_ever() {
        let stored = r#"{"partitions":3,"retention":null,"retention_bytes":null}"#;
        let config = TopicConfig::with_partitions(3);
        assert_eq!(serde_json::to_string(&config).ok().as_deref(), Some(stored));
        assert_eq!(serde_json::from_str::<TopicConfig>(stored).ok(), Some(config));
    }
}
