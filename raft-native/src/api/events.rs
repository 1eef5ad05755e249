//! The node's decisions as they are taken, as server-sent events.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures_util::{Stream, StreamExt, future, stream};
use tokio_stream::wrappers::errors::BroadcastStreamRecvError;
use tokio_stream::wrappers::{BroadcastStream, WatchStream};

use super::Api;
use crate::journal::EventRecord;

/// First what is remembered, then what happens. Somebody who reads too slowly is told how much was
/// missed.
pub(crate) async fn events(
    State(api): State<Api>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let (recent, rest) = api.node.events();
    let recent = stream::iter(recent).map(|record| event(&record));
    let rest = BroadcastStream::new(rest).map(|record| match record {
        Ok(record) => event(&record),
        Err(BroadcastStreamRecvError::Lagged(missed)) => {
            Event::default().event("missed").data(missed.to_string())
        }
    });
    let stopping = WatchStream::new(api.stopping).filter(|stopping| future::ready(*stopping));
    let stopping = stopping.into_future();
    let events = recent.chain(rest).take_until(stopping).map(Ok);
    Sse::new(events).keep_alive(KeepAlive::new().interval(Duration::from_secs(10)))
}

fn event(record: &EventRecord) -> Event {
    let described = Event::default().id(record.id.to_string()).event("decision");
    described.json_data(record).unwrap_or_else(|_| Event::default().comment("unreadable"))
}
