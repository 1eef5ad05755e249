//! The client: gRPC calls with one request in flight for each client.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

/// Clients share this many connections.
const CONNECTIONS_MAX: usize = 16;
/// Keys are drawn from this many.
const KEYS: u64 = 1_000_000;

/// The measurements of a load.
#[derive(Clone, Copy)]
pub struct Measured {
    pub per_second: f64,
    pub p50: Duration,
    p99: Duration,
    failed: u64,
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { per_second, p50, p99, failed } = self;
        write!(f, "{per_second:.0} writes/s, p50 {p50:.0?}, p99 {p99:.0?}, {failed} failed")
    }
}

/// Writes random keys for some time.
pub async fn run(
    port: u16,
    method: &'static str,
    clients: usize,
    value_bytes: usize,
    time: Duration,
) -> Result<Measured> {
    let mut channels = Vec::new();
    for _ in 0..clients.min(CONNECTIONS_MAX) {
        let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{port}"))?;
        channels.push(endpoint.tcp_nodelay(true).connect().await.context("cannot connect")?);
    }
    let failed = Arc::new(AtomicU64::new(0));
    let began = Instant::now();
    let end = began + time;
    let tasks: Vec<_> = (0..clients)
        .map(|client| {
            let channel = channels[client % channels.len()].clone();
            let failed = failed.clone();
            let seed = began.elapsed().as_nanos() as u64 ^ ((client as u64) << 32);
            tokio::spawn(write_until(end, channel, method, value_bytes, seed, failed))
        })
        .collect();
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await?);
    }
    let elapsed = began.elapsed().as_secs_f64();
    ensure!(!latencies.is_empty(), "no write succeeded");
    latencies.sort_unstable();
    let quantile = |share: usize| latencies[(latencies.len() - 1) * share / 100];
    Ok(Measured {
        per_second: latencies.len() as f64 / elapsed,
        p50: quantile(50),
        p99: quantile(99),
        failed: failed.load(Ordering::Relaxed),
    })
}

async fn write_until(
    end: Instant,
    channel: Channel,
    method: &'static str,
    value_bytes: usize,
    mut seed: u64,
    failed: Arc<AtomicU64>,
) -> Vec<Duration> {
    let mut caller = Grpc::new(channel);
    let path = PathAndQuery::from_static(method);
    let mut latencies = Vec::new();
    let value = vec![b'v'; value_bytes];
    loop {
        let began = Instant::now();
        if began >= end {
            return latencies;
        }
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let key = format!("key-{:012}", (seed >> 33) % KEYS);
        let mut message = BytesMut::new();
        put_field(&mut message, 1, key.as_bytes());
        put_field(&mut message, 2, &value);
        let called = async {
            caller.ready().await.map_err(|error| Status::unknown(error.to_string()))?;
            caller.unary(Request::new(message.freeze()), path.clone(), Raw).await
        };
        match called.await {
            Ok(_) => latencies.push(began.elapsed()),
            Err(_) => {
                failed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// Appends a field of bytes of a message.
fn put_field(message: &mut BytesMut, number: u8, bytes: &[u8]) {
    message.put_u8(number << 3 | 2);
    let mut length = bytes.len();
    while length >= 0x80 {
        message.put_u8(length as u8 | 0x80);
        length >>= 7;
    }
    message.put_u8(length as u8);
    message.put_slice(bytes);
}

/// Messages as bytes.
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, target: &mut EncodeBuf<'_>) -> Result<(), Status> {
        target.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, source: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(source.copy_to_bytes(source.remaining())))
    }
}
