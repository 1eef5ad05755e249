//! A lane: one long-lived stream in one direction, in which messages keep their order.

use bytes::{Bytes, BytesMut};
use quinn::{Connection, RecvStream};
use raft_core::{Message, NodeId};
use tokio::sync::{mpsc, watch};

use crate::peer::InboundHandler;
use crate::peer::wire::{self, MESSAGE_BYTES_MAX, WireError};

/// Votes, heartbeats and acknowledgements never wait behind entries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum StreamClass {
    Control,
    Bulk,
}

/// Messages that wait together leave together, up to this many bytes.
const BATCH_BYTES: usize = 256 << 10;

impl StreamClass {
    fn priority(self) -> i32 {
        match self {
            Self::Control => 1,
            Self::Bulk => 0,
        }
    }
}

/// Writes a node's messages to whatever connection there is. While there is none, they are lost.
pub(crate) async fn write_lane(
    lane: StreamClass,
    mut queue: mpsc::Receiver<Message>,
    mut connection: watch::Receiver<Option<Connection>>,
) {
    let mut buffer = BytesMut::new();
    loop {
        let current = connection.borrow_and_update().clone();
        let stream = match &current {
            Some(connection) => connection.open_uni().await.ok(),
            None => None,
        };
        let Some(mut stream) = stream else {
            tokio::select! {
                changed = connection.changed() => if changed.is_err() { return },
                message = queue.recv() => if message.is_none() { return },
            }
            continue;
        };
        let _ = stream.set_priority(lane.priority());
        loop {
            tokio::select! {
                changed = connection.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    break;
                }
                message = queue.recv() => {
                    let Some(message) = message else { return };
                    buffer.clear();
                    wire::put(&message, &mut buffer);
                    while buffer.len() < BATCH_BYTES
                        && let Ok(message) = queue.try_recv()
                    {
                        wire::put(&message, &mut buffer);
                    }
                    if stream.write_all(&buffer).await.is_err() {
                        break;
                    }
                }
            }
        }
    }
}

/// Reads a peer's messages until the stream ends.
pub(crate) async fn read_lane(
    from: NodeId,
    mut stream: RecvStream,
    receiver: impl InboundHandler,
) -> Result<(), WireError> {
    let mut buffer = BytesMut::new();
    loop {
        while let Some(bytes) = split_message(&mut buffer)? {
            receiver.message(from, wire::take(bytes)?).await;
        }
        match stream.read_chunk(1 << 20, true).await {
            Ok(Some(chunk)) => buffer.extend_from_slice(&chunk.bytes),
            Ok(None) | Err(_) => return Ok(()),
        }
    }
}

/// Takes a whole message off the front of the buffer, if there is one.
fn split_message(buffer: &mut BytesMut) -> Result<Option<Bytes>, WireError> {
    let mut rest = &buffer[..];
    let length = match prost::decode_length_delimiter(&mut rest) {
        Ok(length) => length,
        Err(_) if buffer.len() < 10 => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    if length > MESSAGE_BYTES_MAX {
        return Err(WireError::TooLong(length));
    }
    let header = buffer.len() - rest.len();
    if rest.len() < length {
        buffer.reserve(header + length - buffer.len());
        return Ok(None);
    }
    let _ = buffer.split_to(header);
    Ok(Some(buffer.split_to(length).freeze()))
}

#[cfg(test)]
mod tests {
    use raft_core::{HeartbeatResponse, Term};

    use super::*;

    #[test]
    fn frames_are_split_independent_of_chunking() {
        let message =
            |round| Message::HeartbeatResponse(HeartbeatResponse { term: Term(1), round });
        let mut bytes = BytesMut::new();
        for round in [1, 1 << 40] {
            wire::put(&message(round), &mut bytes);
        }
        for size in 1..bytes.len() {
            let (mut buffer, mut found) = (BytesMut::new(), Vec::new());
            for piece in bytes.chunks(size) {
                buffer.extend_from_slice(piece);
                while let Some(bytes) = split_message(&mut buffer).unwrap() {
                    found.push(wire::take(bytes).unwrap());
                }
            }
            assert_eq!(found, [message(1), message(1 << 40)]);
        }
    }

    #[test]
    fn oversized_frame_length_is_rejected() {
        let mut buffer = BytesMut::from(&[0xff; 10][..]);
        assert!(split_message(&mut buffer).is_err());
        let mut buffer = BytesMut::from(&[0xff, 0xff, 0xff, 0xff, 0x0f][..]);
        assert!(matches!(split_message(&mut buffer), Err(WireError::TooLong(_))));
    }
}
