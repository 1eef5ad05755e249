//! Measures writes per second of three-node clusters of real processes, in turns: `cargo xtask
//! bench storage`.
//!
//! All systems get the same load by the same client: gRPC calls with one key and one value. Both
//! `raft.KeyValueService/Put` and `etcdserverpb.KV/Put` have the key in field 1 and the value in
//! field 2.

mod cluster;
mod load;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Parser;

use cluster::{Cluster, System};
use load::Measured;

/// Measures the writes per second of clusters, in turns.
#[derive(Parser)]
struct Arguments {
    /// A program `raft` to measure, as NAME=PATH. May be given several times.
    #[arg(long)]
    raft: Vec<String>,
    /// The program `etcd` to compare with.
    #[arg(long)]
    etcd: Option<PathBuf>,
    /// Numbers of clients with one request in flight each.
    #[arg(long, value_delimiter = ',', default_value = "1,64,256,1000")]
    clients: Vec<usize>,
    /// Seconds for each number of clients.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// How often each system is measured.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// The size of a value in bytes.
    #[arg(long, default_value_t = 256)]
    value_bytes: usize,
    /// The first of nine ports.
    #[arg(long, default_value_t = 21100)]
    port: u16,
}

/// The results of one system.
struct Row {
    system: System,
    /// For each number of clients, one result for each round.
    writes: Vec<Vec<Measured>>,
    /// Of the largest process, in each round.
    resident_mb: Vec<u64>,
    disk_mb: Vec<u64>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let mut systems = Vec::new();
    for raft in &arguments.raft {
        let Some((name, path)) = raft.split_once('=') else {
            bail!("invalid --raft: {raft}; give NAME=PATH")
        };
        systems.push(System::Raft { name: name.to_owned(), program: path.into() });
    }
    systems.extend(arguments.etcd.clone().map(|program| System::Etcd { program }));
    if systems.is_empty() {
        bail!("missing systems; give --raft or --etcd");
    }
    let counts = arguments.clients.len();
    let row = |system| Row {
        system,
        writes: (0..counts).map(|_| Vec::new()).collect(),
        resident_mb: Vec::new(),
        disk_mb: Vec::new(),
    };
    let mut rows: Vec<Row> = systems.into_iter().map(row).collect();
    for round in 1..=arguments.rounds {
        for row in &mut rows {
            measure(&arguments, round, row).await?;
        }
    }
    print(&arguments, &rows);
    Ok(())
}

async fn measure(arguments: &Arguments, round: usize, row: &mut Row) -> Result<()> {
    let cluster = Cluster::start(&row.system, arguments.port).await?;
    for (clients, results) in arguments.clients.iter().zip(&mut row.writes) {
        let time = Duration::from_secs(arguments.seconds);
        let leader = cluster.leader().await?;
        let method = row.system.method();
        let measured = load::run(leader, method, *clients, arguments.value_bytes, time).await?;
        eprintln!("round {round}, {}, {clients} clients: {measured}", row.system.name());
        results.push(measured);
    }
    row.resident_mb.push(cluster.resident_mb()?);
    row.disk_mb.push(cluster.disk_mb()?);
    cluster.stop().await
}

/// Prints medians as a table in Markdown.
fn print(arguments: &Arguments, rows: &[Row]) {
    let mut head = "| system |".to_owned();
    for clients in &arguments.clients {
        head += &format!(" {clients} clients |");
    }
    println!("{head} p50, first column | resident memory | disk |");
    println!("| --- |{}", " ---: |".repeat(arguments.clients.len() + 3));
    for row in rows {
        let mut line = format!("| {} |", row.system.name());
        for results in &row.writes {
            let writes = median(results.iter().map(|result| result.per_second as u64));
            line += &format!(" {writes} |");
        }
        let first = row.writes.first().into_iter().flatten();
        let p50 = median(first.map(|result| result.p50.as_micros() as u64));
        let (memory, disk) = (median(row.resident_mb.clone()), median(row.disk_mb.clone()));
        println!("{line} {p50} µs | {memory} MB | {disk} MB |");
    }
}

fn median(values: impl IntoIterator<Item = u64>) -> u64 {
    let mut values: Vec<u64> = values.into_iter().collect();
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or(0)
}
