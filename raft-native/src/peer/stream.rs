//! The long-lived streams that carry messages in one direction and keep their order.

use std::io::ErrorKind;

use futures_util::{SinkExt as _, StreamExt as _};
use quinn::{Connection, RecvStream};
use raft_core::{Message, NodeId};
use tokio::sync::{mpsc, watch};
use tokio_util::codec::{FramedRead, FramedWrite};

use crate::peer::InboundHandler;
use crate::peer::wire::{MessageCodec, WireError};

/// The streams of a connection. Votes, heartbeats and acknowledgements have a stream of their own,
/// so they never wait behind entries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum StreamClass {
    Control,
    Bulk,
}

/// Waiting messages are written together, up to this many bytes.
const BATCH_BYTES: usize = 256 << 10;

impl StreamClass {
    pub(crate) fn of(message: &Message) -> Self {
        match message {
            Message::AppendEntries(_) | Message::InstallSnapshot(_) => Self::Bulk,
            _ => Self::Control,
        }
    }

    fn priority(self) -> i32 {
        match self {
            Self::Control => 1,
            Self::Bulk => 0,
        }
    }
}

/// Writes the messages of a queue to the current connection. Without a connection, messages are
/// dropped.
pub(crate) async fn write_messages(
    class: StreamClass,
    mut queue: mpsc::Receiver<Message>,
    mut connection: watch::Receiver<Option<Connection>>,
) {
    loop {
        let current = connection.borrow_and_update().clone();
        let stream = match &current {
            Some(connection) => connection.open_uni().await.ok(),
            None => None,
        };
        let Some(stream) = stream else {
            tokio::select! {
                changed = connection.changed() => if changed.is_err() { return },
                message = queue.recv() => if message.is_none() { return },
            }
            continue;
        };
        let _ = stream.set_priority(class.priority());
        let mut frames = FramedWrite::new(stream, MessageCodec::default());
        frames.set_backpressure_boundary(BATCH_BYTES);
        loop {
            let message = tokio::select! {
                changed = connection.changed() => match changed {
                    Ok(()) => break,
                    Err(_) => return,
                },
                message = queue.recv() => message,
            };
            let Some(message) = message else { return };
            let mut written = frames.feed(&message).await;
            while written.is_ok()
                && let Ok(message) = queue.try_recv()
            {
                written = frames.feed(&message).await;
            }
            if written.is_err() || frames.flush().await.is_err() {
                break;
            }
        }
    }
}

/// Passes the messages of a stream to the handler until the stream ends.
pub(crate) async fn read_messages(
    from: NodeId,
    stream: RecvStream,
    handler: impl InboundHandler,
) -> Result<(), WireError> {
    let mut frames = FramedRead::new(stream, MessageCodec::default());
    loop {
        match frames.next().await {
            Some(Ok(message)) => handler.message(from, message).await,
            // The connection has ended.
            Some(Err(WireError::Stream(error))) if error.kind() != ErrorKind::InvalidData => {
                return Ok(());
            }
            Some(Err(error)) => return Err(error),
            None => return Ok(()),
        }
    }
}
