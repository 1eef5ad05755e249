//! The sockets of a running node: the port for peers and the port for clients.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http2;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use quinn::crypto::rustls::QuicClientConfig;
use raft_tests::cluster::{Cluster, TIMEOUT};
use raft_tests::wait::until;
use rustix::net::sockopt::tcp_nodelay;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use tokio::net::{TcpStream, UdpSocket};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Records the certificate of the server, and trusts it.
#[derive(Debug, Default)]
struct Recorder(Mutex<Option<Vec<u8>>>);

impl ServerCertVerifier for Recorder {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let mut recorded = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *recorded = Some(certificate.to_vec());
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

/// A client of the port for peers, which has no certificate.
fn quic_client(recorder: Arc<Recorder>) -> Result<quinn::ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(recorder)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"raft/2".to_vec()];
    Ok(quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?)))
}

/// N36: a first packet may have a forged source address.
#[tokio::test(flavor = "multi_thread")]
async fn first_packet_of_handshake_gets_one_small_retry() -> Result<()> {
    const PACKETS: usize = 20;
    let cluster = Cluster::start(&[]).await?;
    let node = SocketAddr::from((Ipv4Addr::LOCALHOST, cluster.port(0)));
    let relay = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let config = quic_client(Arc::default())?;
    for number in 0..PACKETS {
        let endpoint = quinn::Endpoint::client((Ipv4Addr::LOCALHOST, 0).into())?;
        let connecting =
            endpoint.connect_with(config.clone(), relay.local_addr()?, "n1.raft.internal")?;
        let (mut packet, mut answer) = ([0; 2048], [0; 2048]);
        let sent = timeout(TIMEOUT, relay.recv(&mut packet)).await??;
        drop(connecting);
        sender.send_to(&packet[..sent], node).await?;
        let received = timeout(TIMEOUT, sender.recv(&mut answer)).await??;
        // Each packet has one answer: a second one would be received for the next packet. The type
        // of a long header is in two bits (RFC 9000, section 17.2), and Retry is 3.
        let is_retry = answer[0] & 0xb0 == 0xb0;
        ensure!(is_retry, "the answer to packet {number} is not a Retry");
        ensure!(received < sent, "{received} bytes answer {sent} bytes");
    }
    cluster.finish().await
}

/// N38: certificates were valid for centuries.
#[tokio::test(flavor = "multi_thread")]
async fn certificate_of_running_node_is_valid_for_months() -> Result<()> {
    let cluster = Cluster::start(&[]).await?;
    let node = SocketAddr::from((Ipv4Addr::LOCALHOST, cluster.port(0)));
    let recorder = Arc::<Recorder>::default();
    let endpoint = quinn::Endpoint::client((Ipv4Addr::LOCALHOST, 0).into())?;
    let config = quic_client(Arc::clone(&recorder))?;
    // The node refuses the client, which has its certificate by then.
    let _ = timeout(TIMEOUT, endpoint.connect_with(config, node, "n1.raft.internal")?).await?;
    let recorded = recorder.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    let certificate = recorded.context("the node sent no certificate")?;
    let months = validity_months(&certificate).context("the certificate has no validity")?;
    ensure!((1..=12).contains(&months), "the certificate is valid for {months} months");
    cluster.finish().await
}

/// The months between the two times in a certificate: UTCTime is the tag 0x17, the length 13 and
/// `YYMMDDHHMMSSZ` (RFC 5280, section 4.1.2.5).
fn validity_months(certificate: &[u8]) -> Option<i64> {
    let months = |time: &[u8]| -> Option<i64> {
        let text = std::str::from_utf8(time.get(2..6)?).ok()?;
        let (year, month) = text.split_at_checked(2)?;
        Some(year.parse::<i64>().ok()? * 12 + month.parse::<i64>().ok()?)
    };
    let is_time = |window: &&[u8]| window[..2] == [0x17, 13] && window[14] == b'Z';
    let mut times = certificate.windows(15).filter(is_time).filter_map(months);
    let first = times.next()?;
    Some(times.next()? - first)
}

/// Without TCP_NODELAY, the end of a response waits for an acknowledgement, and so for a round trip
/// and the delay of the client.
#[tokio::test]
async fn connection_of_running_node_has_tcp_nodelay() -> Result<()> {
    let cluster = Cluster::start(&[]).await?;
    let port = cluster.port(0);
    let client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    let client_port = client.local_addr()?.port();
    let pid = cluster.pid(0)?;
    let socket = until("the node has accepted the connection", TIMEOUT, async || {
        accepted_socket(pid, port, client_port)
    })
    .await?;
    ensure!(tcp_nodelay(&socket)?, "the socket has no TCP_NODELAY");
    cluster.finish().await
}

/// A duplicate of the socket with which a process serves a connection.
fn accepted_socket(pid: Pid, port: u16, client_port: u16) -> Result<Option<OwnedFd>> {
    let table = fs::read_to_string("/proc/net/tcp")?;
    let ports = (format!(":{port:04X}"), format!(":{client_port:04X}"));
    let inode = table.lines().find_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let is_found = fields.get(1)?.ends_with(&ports.0) && fields.get(2)?.ends_with(&ports.1);
        is_found.then(|| format!("socket:[{}]", fields[9]))
    });
    let Some(inode) = inode else { return Ok(None) };
    for entry in fs::read_dir(format!("/proc/{}/fd", pid.as_raw_nonzero()))? {
        let path = entry?.path();
        if fs::read_link(&path).is_ok_and(|target| target.as_os_str() == &*inode) {
            let fd = path.file_name().and_then(|name| name.to_str()?.parse().ok());
            let fd = fd.context("not a file descriptor")?;
            let process = pidfd_open(pid, PidfdFlags::empty())?;
            return Ok(Some(pidfd_getfd(process, fd, PidfdGetfdFlags::empty())?));
        }
    }
    Ok(None)
}

/// A few clients that do not read could fill the memory for the responses of all.
#[tokio::test(flavor = "multi_thread")]
async fn unread_responses_of_one_connection_are_limited() -> Result<()> {
    const VALUE: usize = 1 << 20;
    const REQUESTS: usize = 60;
    const ACCEPTED_MAX: usize = 17;
    let cluster = Cluster::start(&[]).await?;
    let answer = cluster.http(0).ask(Method::PUT, "/v1/kv/large", &vec![b'v'; VALUE]).await?;
    ensure!(answer.status == StatusCode::NO_CONTENT, "{}", answer.text());
    // The node has applied the write, so that a stale read finds the value.
    let answer = cluster.http(0).ask(Method::GET, "/v1/kv/large", b"").await?;
    ensure!(answer.status == StatusCode::OK, "{}", answer.text());
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, cluster.port(0))).await?;
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(65_535).initial_connection_window_size(65_535);
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let mut requests = JoinSet::new();
    for _ in 0..REQUESTS {
        let mut sender = sender.clone();
        let uri = format!("http://localhost:{}/v1/kv/large?consistency=stale", cluster.port(0));
        requests.spawn(async move {
            let request = Request::get(uri).body(Empty::<Bytes>::new())?;
            Ok::<_, anyhow::Error>(sender.send_request(request).await?)
        });
    }
    let mut unread = Vec::new();
    while let Some(answer) = timeout(TIMEOUT, requests.join_next()).await? {
        unread.push(answer??);
    }
    let count = |status| unread.iter().filter(|answer| answer.status() == status).count();
    let (accepted, refused) = (count(StatusCode::OK), count(StatusCode::SERVICE_UNAVAILABLE));
    ensure!(accepted + refused == REQUESTS, "{accepted} accepted and {refused} refused");
    ensure!((1..=ACCEPTED_MAX).contains(&accepted), "{accepted} responses of 1 MiB are unread");
    // Another connection is not affected.
    let other = cluster.http(0).ask(Method::GET, "/v1/kv/large", b"").await?;
    ensure!(other.status == StatusCode::OK && other.body.len() == VALUE, "{}", other.status);
    drop(unread);
    cluster.finish().await
}
