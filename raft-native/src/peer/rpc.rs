//! Questions that one node asks another on behalf of a client, each on a stream of its own.

use bytes::Bytes;
use prost::{Message as _, Oneof};

/// A question.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Call {
    #[prost(oneof = "Question", tags = "1, 3, 4")]
    pub(crate) question: Option<Question>,
    /// After so many milliseconds nobody waits for the answer any more.
    #[prost(uint64, tag = "15")]
    pub(crate) patience_ms: u64,
}

#[derive(Clone, PartialEq, Oneof)]
pub(crate) enum Question {
    /// Carry out this command, if you lead.
    #[prost(bytes = "bytes", tag = "1")]
    Execute(Bytes),
    /// How are you?
    #[prost(bool, tag = "3")]
    Status(bool),
    /// What are you called?
    #[prost(bool, tag = "4")]
    Name(bool),
}

/// The answer.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Answer {
    #[prost(oneof = "Reply", tags = "1, 3, 4, 5")]
    pub(crate) reply: Option<Reply>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(crate) enum Reply {
    /// The encoded outcome of a command.
    #[prost(bytes = "bytes", tag = "1")]
    Outcome(Bytes),
    /// The node's status as JSON.
    #[prost(bytes = "bytes", tag = "3")]
    Status(Bytes),
    #[prost(enumeration = "Refusal", tag = "4")]
    Refused(i32),
    #[prost(string, tag = "5")]
    Name(String),
}

/// Why a question was not answered.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum Refusal {
    /// It may have been done. Whatever a later version says is taken for this.
    Unknown = 0,
    /// It was not done: I don't lead.
    NotLeader = 1,
    /// It was not done: too much is under way.
    Overloaded = 2,
    /// It was not done: I am stopping.
    Stopping = 3,
}

impl Call {
    pub(crate) fn new(question: Question, patience: std::time::Duration) -> Self {
        let patience_ms = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
        Self { question: Some(question), patience_ms }
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        self.encode_to_vec()
    }
}

impl From<Reply> for Answer {
    fn from(reply: Reply) -> Self {
        Self { reply: Some(reply) }
    }
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        Reply::Refused(refusal.into()).into()
    }
}
