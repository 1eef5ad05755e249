//! `raft demo`: a cluster in one process.

use std::process::ExitCode;

use clap::Args;
use futures_util::future::{join_all, select_all};
use raft_native::{Address, NodeConfig};
use tracing_subscriber::filter::LevelFilter;

use super::logging::Logging;
use super::serve::{
    RunningNode, StopSignal, listen, make_new_files_private, open_files, runtime,
    survive_file_size_limit,
};
use super::{Failure, print_line};

#[derive(Args)]
pub(crate) struct DemoArgs {
    /// The number of nodes.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=9), allow_negative_numbers = true)]
    nodes: u16,
    /// The port of the first node; the other nodes use the ports after it.
    #[arg(long, env = "RAFT_PORT", default_value_t = 50051, value_parser = clap::value_parser!(u16).range(1..=65000), allow_negative_numbers = true)]
    port: u16,
}

pub(crate) fn run(args: &DemoArgs) -> Result<ExitCode, Failure> {
    make_new_files_private();
    let logging = Logging::start(LevelFilter::WARN);
    let directory = tempfile::Builder::new().prefix("raft-demo-").tempdir();
    let directory = directory.map_err(|error| {
        Failure::Usage(format!("cannot make a temporary directory: {error}; check TMPDIR"))
    })?;
    let ports: Vec<u16> = (args.port..args.port + args.nodes).collect();
    let open_files = open_files(args.nodes)?;
    let result = runtime()?.block_on(async {
        let mut stop = StopSignal::new()?;
        survive_file_size_limit()?;
        let mut configs = Vec::new();
        for (number, port) in (1..).zip(&ports) {
            let others = ports.iter().filter(|other| *other != port);
            let peers = others.map(|port| Address::new("localhost", *port)).collect();
            let name = format!("node{number}");
            let data_dir = directory.path().join(&name);
            let mut config = NodeConfig::new(&name, *port, peers, data_dir);
            config.open_files = open_files;
            configs.push(config);
        }
        // All ports are bound first, so that no node starts in an incomplete cluster.
        let mut listeners = Vec::new();
        for config in &configs {
            listeners.push(listen(config).await?);
        }
        let mut nodes = Vec::new();
        for (config, listener) in configs.into_iter().zip(listeners) {
            nodes.push(RunningNode::start(config, listener, &logging).await?);
        }
        greet(&ports)?;
        let failed = select_all(nodes.iter().map(|node| Box::pin(node.failed())));
        let stopped = tokio::select! {
            () = stop.received() => Ok(ExitCode::SUCCESS),
            (failure, ..) = failed => {
                Err(Failure::Failed(format!("a node stopped: {failure}")))
            }
        };
        print_line(format_args!("stopping"))?;
        join_all(nodes.into_iter().map(RunningNode::shutdown)).await;
        stopped
    });
    drop(directory);
    logging.finish();
    result
}

fn greet(ports: &[u16]) -> Result<(), Failure> {
    let first = ports.first().copied().unwrap_or_default();
    print_line(format_args!(
        "A cluster of {} nodes is running. Its data is temporary.",
        ports.len()
    ))?;
    print_line("")?;
    print_line(format_args!("  dashboard   http://localhost:{first}/"))?;
    print_line(format_args!("  playground  http://localhost:{first}/playground/"))?;
    for (number, port) in (1..).zip(ports) {
        print_line(format_args!("  node{number}       localhost:{port} (REST, gRPC)"))?;
    }
    print_line("")?;
    print_line(format_args!(
        "Try: curl -X PUT --data hello http://localhost:{first}/v1/kv/greeting"
    ))?;
    print_line(format_args!("Ctrl-C stops it."))
}
