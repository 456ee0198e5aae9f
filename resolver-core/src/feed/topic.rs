//! Topic names: `<root>/z/<zone>/head`, `…/c/<slot>`, `…/s/<bucket>`; at most 7 levels, no dot or wildcard in a level.

use super::message::BucketId;
use crate::wire::Name;

/// Longest topic. A zone name can be escaped to three times its length.
pub const MAX_TOPIC: usize = 900;

/// A topic as text.
pub type TopicString = heapless::String<MAX_TOPIC>;

/// What a topic below the root says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Topic {
    Head { zone: Name },
    Change { zone: Name, slot: u32 },
    Bucket { zone: Name, bucket: BucketId },
}

impl Topic {
    /// Reads `topic` below `root` (`root` without trailing slash, may have several levels); `None` if it is none of ours.
    /// Zone escaping: labels joined by `,` in lower case; octets other than a-z 0-9 - _ become `=XX` (upper-case hex); the root zone is `=`.
    pub fn parse(root: &str, topic: &str) -> Option<Self> {
        let _ = (root, topic);
        todo!()
    }
    /// The topic's text below `root`; `None` if over [`MAX_TOPIC`].
    pub fn format(&self, root: &str) -> Option<TopicString> {
        let _ = root;
        todo!()
    }
    /// The wildcard filters `<root>/z/<zone>/c/+` and `…/s/+`.
    pub fn filter_changes(root: &str, zone: &Name) -> Option<TopicString> {
        let _ = (root, zone);
        todo!()
    }
    /// See [`Topic::filter_changes`].
    pub fn filter_buckets(root: &str, zone: &Name) -> Option<TopicString> {
        let _ = (root, zone);
        todo!()
    }
}
