//! `raft serve`: one node.

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use bytesize::ByteSize;
use clap::Args;
use raft_native::{
    Address, ClientServer, ClusterSecrets, ConfigError, Node, NodeConfig, NodeFailure, OpenFiles,
    default_data_dir,
};
use rustix::fs::Mode;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::filter::LevelFilter;

use super::Failure;
use super::logging::Logging;

#[derive(Args)]
pub(crate) struct ServeArgs {
    /// The name of the node: letters, digits, '-', '_' and '.'.
    #[arg(long, env = "RAFT_NODE_ID")]
    node_id: String,
    /// The port: UDP for the other nodes, TCP for clients.
    #[arg(long, env = "RAFT_PORT", value_parser = clap::value_parser!(u16).range(1..), allow_negative_numbers = true)]
    port: u16,
    /// The addresses of the other nodes, as HOST:PORT, separated by commas.
    #[arg(long, env = "RAFT_PEERS", value_delimiter = ',')]
    peers: Vec<String>,
    /// The directory of the data [default: a directory with the name of the node].
    #[arg(long, env = "RAFT_DATA_DIR")]
    data_dir: Option<PathBuf>,
    /// The IP address of the interface on which the node listens.
    #[arg(long, env = "RAFT_LISTEN", default_value = "127.0.0.1")]
    listen: IpAddr,
    /// The address of this node in --peers of the other nodes [default: localhost:PORT].
    #[arg(long, env = "RAFT_ADVERTISE")]
    advertise: Option<String>,
    /// Host names under which clients may address this node, separated by commas.
    ///
    /// IP addresses, localhost and the advertised name are always allowed. Web pages from these
    /// hosts may also send requests.
    #[arg(long, env = "RAFT_ALLOWED_HOSTS", value_delimiter = ',')]
    allowed_hosts: Vec<String>,
    /// The file with the cluster secret, which is required to listen beyond loopback.
    ///
    /// `raft secret new FILE` makes one. Other users must not be able to read the file. If it has
    /// several lines, the node uses the first secret and trusts peers with any of them.
    #[arg(long, env = "RAFT_CLUSTER_SECRET_FILE", value_name = "FILE")]
    cluster_secret_file: Option<PathBuf>,
    /// The cluster secret: 32 random bytes in hex or base64.
    ///
    /// Every user of the machine can read the flag in the list of processes, so prefer the file or
    /// the variable.
    #[arg(
        long,
        env = "RAFT_CLUSTER_SECRET",
        hide_env_values = true,
        conflicts_with = "cluster_secret_file"
    )]
    cluster_secret: Option<String>,
    /// The shortest election timeout, in milliseconds.
    #[arg(long, env = "RAFT_ELECTION_TIMEOUT_MIN_MS", default_value_t = 300, allow_negative_numbers = true, value_parser = timeout())]
    election_timeout_min_ms: u64,
    /// The longest election timeout, in milliseconds.
    #[arg(long, env = "RAFT_ELECTION_TIMEOUT_MAX_MS", default_value_t = 600, allow_negative_numbers = true, value_parser = timeout())]
    election_timeout_max_ms: u64,
    /// The interval of heartbeats, in milliseconds.
    #[arg(long, env = "RAFT_HEARTBEAT_MS", default_value_t = 50, allow_negative_numbers = true, value_parser = timeout())]
    heartbeat_ms: u64,
    /// The longest duration of a client request, in milliseconds.
    #[arg(long, env = "RAFT_REQUEST_TIMEOUT_MS", default_value_t = 5000, allow_negative_numbers = true, value_parser = timeout())]
    request_timeout_ms: u64,
    /// The node rejects writes if less disk space is free, such as 256MiB.
    #[arg(long, env = "RAFT_DISK_RESERVE", value_name = "SIZE", default_value = "256MiB")]
    disk_reserve: ByteSize,
    /// The node rejects writes if its data takes more disk space, such as 8GiB [default: none].
    #[arg(long, env = "RAFT_QUOTA", value_name = "SIZE")]
    quota: Option<ByteSize>,
    /// The time for which a stopping node serves requests but is not ready, in milliseconds.
    ///
    /// Load balancers stop using the node in this time. A second signal ends it.
    #[arg(long, env = "RAFT_DRAIN_MS", default_value_t = 0, allow_negative_numbers = true, value_parser = clap::value_parser!(u64).range(..=3_600_000))]
    drain_ms: u64,
}

/// The parser of timeouts: 1 millisecond to 1 hour.
fn timeout() -> clap::builder::RangedU64ValueParser {
    clap::value_parser!(u64).range(1..=3_600_000)
}

/// A node and its server for clients.
pub(super) struct RunningNode {
    node: Node,
    clients: ClientServer,
}

pub(crate) fn run(args: ServeArgs) -> Result<ExitCode, Failure> {
    let drain = Duration::from_millis(args.drain_ms);
    let config = config(args)?;
    make_new_files_private();
    let mut logging = Logging::start(LevelFilter::INFO);
    let result = runtime()?.block_on(async {
        let mut stop = StopSignal::new()?;
        survive_file_size_limit()?;
        let port = config.advertise.port();
        let listener = listen(&config).await?;
        let served = RunningNode::start(config, listener, &logging).await?;
        logging.print(format_args!("listening at http://localhost:{port}/"));
        tokio::select! {
            () = stop.received() => {
                served.drain(drain, stop).await;
                served.shutdown().await;
                Ok(ExitCode::SUCCESS)
            }
            failure = served.node.failed() => {
                served.shutdown().await;
                Err(Failure::Failed(format!("the node stopped: {failure}")))
            }
        }
    });
    logging.finish();
    result
}

fn config(args: ServeArgs) -> Result<NodeConfig, Failure> {
    let usage = |error: &dyn std::fmt::Display| Failure::Usage(error.to_string());
    let given = args.peers.iter().map(|peer| peer.trim()).filter(|peer| !peer.is_empty());
    let peers = given
        .map(str::parse)
        .collect::<Result<Vec<Address>, _>>()
        .map_err(|error| Failure::Usage(format!("invalid --peers: {error}")))?;
    if peers.is_empty() {
        return Err(usage(&ConfigError::NoPeers));
    }
    let data_dir = args.data_dir.unwrap_or_else(|| default_data_dir(&args.node_id));
    let mut config = NodeConfig::new(&args.node_id, args.port, peers, data_dir);
    if let Some(advertise) = args.advertise {
        let parsed = advertise.parse();
        let advertise: Address =
            parsed.map_err(|error| Failure::Usage(format!("invalid --advertise: {error}")))?;
        if advertise.port() != args.port {
            let problem =
                format!("invalid --advertise: {advertise}; use the port of --port, {}", args.port);
            return Err(Failure::Usage(problem));
        }
        config.advertise = advertise;
    }
    config.listen = args.listen;
    let secrets = match (args.cluster_secret_file, args.cluster_secret) {
        (Some(path), _) => Some(ClusterSecrets::read(&path)),
        (None, Some(text)) => Some(ClusterSecrets::parse(&text)),
        (None, None) => None,
    };
    config.cluster_secrets = secrets.transpose().map_err(|error| usage(&error))?;
    config.election_timeout_min = Duration::from_millis(args.election_timeout_min_ms);
    config.election_timeout_max = Duration::from_millis(args.election_timeout_max_ms);
    config.heartbeat_interval = Duration::from_millis(args.heartbeat_ms);
    config.request_timeout = Duration::from_millis(args.request_timeout_ms);
    config.allowed_hosts = allowed_hosts(args.allowed_hosts)?;
    config.disk_reserve = args.disk_reserve.as_u64();
    config.quota = args.quota.map(|quota| quota.as_u64());
    config.open_files = open_files(1)?;
    Ok(config)
}

/// Parses host names without ports. Pages of a host can have any port.
fn allowed_hosts(given: Vec<String>) -> Result<Vec<String>, Failure> {
    let is_wrong =
        |host: &&String| host.contains(|c: char| c.is_whitespace() || "/:*@".contains(c));
    let hosts: Vec<_> = given.iter().map(|host| host.trim().to_owned()).collect();
    match hosts.iter().find(is_wrong) {
        Some(wrong) => {
            let problem = format!("invalid --allowed-hosts: {wrong:?}; give names without a port");
            Err(Failure::Usage(problem))
        }
        None => Ok(hosts.into_iter().filter(|host| !host.is_empty()).collect()),
    }
}

pub(super) fn open_files(nodes: u16) -> Result<OpenFiles, Failure> {
    OpenFiles::raise_limit(nodes).map_err(|error| Failure::Usage(error.to_string()))
}

impl RunningNode {
    pub(super) async fn start(
        config: NodeConfig,
        listener: TcpListener,
        logging: &Logging,
    ) -> Result<Self, Failure> {
        let node = Node::start(config).await.map_err(|error| Failure::Usage(error.to_string()))?;
        let handle = node.handle();
        handle.count_dropped_log_lines(logging.dropped_lines());
        let clients = ClientServer::start(listener, handle)
            .map_err(|error| Failure::Failed(error.to_string()))?;
        Ok(Self { node, clients })
    }

    /// Makes the node unready, waits for the drain time or a second signal, stops accepting
    /// connections, and transfers the leadership. The node still serves open connections.
    async fn drain(&self, time: Duration, mut stop: StopSignal) {
        self.node.handle().drain();
        let _ = tokio::time::timeout(time, stop.received()).await;
        self.clients.drain();
        self.node.transfer_leadership().await;
    }

    /// Completes the requests in progress, closes the connections and stops the node.
    pub(super) async fn shutdown(self) {
        self.clients.shutdown().await;
        self.node.shutdown().await;
    }

    pub(super) async fn failed(&self) -> NodeFailure {
        self.node.failed().await
    }
}

pub(super) async fn listen(config: &NodeConfig) -> Result<TcpListener, Failure> {
    let bound = ClientServer::bind(config.listen, config.advertise.port()).await;
    bound.map_err(|error| Failure::Usage(error.to_string()))
}

pub(super) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|error| {
        Failure::Failed(format!(
            "cannot start a thread: {error}; check the limits of processes and memory"
        ))
    })
}

/// Makes new files of this process accessible only for its user.
pub(super) fn make_new_files_private() {
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
}

/// The signals that stop the process.
pub(super) struct StopSignal {
    interrupt: Signal,
    terminate: Signal,
}

/// Replaces the default action of SIGXFSZ, which kills the process without a message. A write
/// beyond the limit on file sizes then fails, and the node stops with the reason.
pub(super) fn survive_file_size_limit() -> Result<(), Failure> {
    let kind = SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw());
    // The handler stays installed after the drop of the stream.
    signal(kind).map(drop).map_err(|error| Failure::Failed(error.to_string()))
}

impl StopSignal {
    /// Installs the handlers of the signals.
    pub(super) fn new() -> Result<Self, Failure> {
        let listen = |kind| signal(kind).map_err(|error| Failure::Failed(error.to_string()));
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    /// Returns when the next signal arrives.
    pub(super) async fn received(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
