//! Process faults under load: acknowledged writes survive, the history is linearizable, and the
//! cluster serves requests again.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use raft_history::linearizability::{Call, HistoryOperation};
use raft_tests::cluster::{Cluster, NODES, TIMEOUT};
use raft_tests::history::{
    History, check_detected, check_linearizable, count, with_lost_write, with_stale_read,
    written_once,
};
use raft_tests::kv::{Client, entries};
use raft_tests::wait::until;
use raft_tests::workload::Workload;
use rustix::process::Signal;
use tokio::sync::Mutex;

const FLAGS: [&str; 6] = [
    "--election-timeout-min-ms",
    "500",
    "--election-timeout-max-ms",
    "1000",
    "--heartbeat-ms",
    "100",
];

/// The number of responses before and after each fault.
const LOAD: usize = 500;

/// The tests run one after the other, because each has a cluster and ten clients.
static ALONE: Mutex<()> = Mutex::const_new(());

#[tokio::test(flavor = "multi_thread")]
async fn writes_succeed_after_leader_kill() -> Result<()> {
    let _alone = ALONE.lock().await;
    let mut trial = Trial::begin(1).await?;
    for _ in 0..3 {
        trial.kill_the_leader().await?;
    }
    trial.end().await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_writes_survive_full_restart() -> Result<()> {
    let _alone = ALONE.lock().await;
    let mut trial = Trial::begin(2).await?;
    for _ in 0..2 {
        trial.kill_all().await?;
    }
    trial.end().await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_follower_catches_up() -> Result<()> {
    let _alone = ALONE.lock().await;
    let mut trial = Trial::begin(3).await?;
    trial.stop_a_follower().await?;
    trial.end().await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn history_under_faults_is_linearizable() -> Result<()> {
    let _alone = ALONE.lock().await;
    let mut trial = Trial::begin(4).await?;
    trial.kill_the_leader().await?;
    trial.stop_a_follower().await?;
    trial.kill_all().await?;
    trial.kill_the_leader().await?;
    let history = trial.end().await?;

    let counts = count(&history);
    counts.check_each_at_least(50)?;
    // The checker must detect a wrong response in this history.
    check_detected(with_stale_read(&history))?;
    check_detected(with_lost_write(&history))
}

struct Trial {
    cluster: Cluster,
    workload: Workload,
}

impl Trial {
    async fn begin(seed: u64) -> Result<Self> {
        let cluster = Cluster::start(&FLAGS).await?;
        let mut workload = Workload::start(&cluster.ports(), seed);
        workload.progress(LOAD, TIMEOUT).await?;
        Ok(Self { cluster, workload })
    }

    async fn kill_the_leader(&mut self) -> Result<()> {
        let leader = self.cluster.leader().await?;
        let before = self.cluster.status(leader).await?;
        let killed = self.workload.history().now();
        self.cluster.kill(leader).await?;

        let history = self.workload.history();
        let resumed =
            until("a write that was sent after the kill is acknowledged", TIMEOUT, async || {
                Ok(history.first_write_since(killed))
            })
            .await?;
        let took = Duration::from_micros(resumed - killed);
        // The time until the next write depends on the machine. raft-sim tests its bound in virtual
        // time.
        println!("writes went on {took:?} after the leader's death");

        let successor = self.cluster.leader().await?;
        let after = self.cluster.status(successor).await?;
        ensure!(successor != leader && after.term > before.term, "{after:?} follows {before:?}");
        self.workload.progress(LOAD, TIMEOUT).await?;
        self.cluster.start_node(leader)?;
        self.caught_up(leader).await
    }

    async fn kill_all(&mut self) -> Result<()> {
        let before = self.cluster.leader().await?;
        let before = self.cluster.status(before).await?;
        self.cluster.kill_all().await?;
        for node in 0..NODES {
            self.cluster.start_node(node)?;
        }
        let after = self.cluster.leader().await?;
        let after = self.cluster.status(after).await?;
        ensure!(
            after.term > before.term && after.commit_index >= before.commit_index,
            "{after:?} follows {before:?}"
        );
        self.workload.progress(LOAD, TIMEOUT).await
    }

    async fn stop_a_follower(&mut self) -> Result<()> {
        let leader = self.cluster.leader().await?;
        let follower = (leader + 1) % NODES;
        let before = self.cluster.status(follower).await?;
        let cluster = &self.cluster;
        let given_up = || cluster.output(leader).matches("disconnected").count();
        let given_up_before = given_up();
        cluster.signal(follower, Signal::STOP)?;
        self.workload.progress(LOAD, TIMEOUT).await?;
        until("the leader gives up its connection to the follower", TIMEOUT, async || {
            Ok((given_up() > given_up_before).then_some(()))
        })
        .await?;

        let ahead = cluster.status(leader).await?;
        ensure!(
            ahead.applied_index >= before.applied_index + LOAD as u64 / 4,
            "there was no load: {before:?}, {ahead:?}"
        );
        self.cluster.signal(follower, Signal::CONT)?;
        // On a busy machine, a late heartbeat can cost the leadership. raft-sim tests in virtual
        // time that the stopped follower does not.
        self.caught_up(follower).await
    }

    /// Waits until a node has applied all entries that the leader has applied now.
    async fn caught_up(&mut self, node: usize) -> Result<()> {
        let leader = self.cluster.leader().await?;
        let goal = self.cluster.status(leader).await?.applied_index;
        let cluster = &self.cluster;
        until("a node catches up", TIMEOUT, async || {
            let status = cluster.status(node).await?;
            Ok((status.applied_index >= goal).then_some(()))
        })
        .await
    }

    /// Stops the clients, reads all keys through every node, and checks the history.
    async fn end(self) -> Result<Vec<HistoryOperation>> {
        let Self { mut cluster, workload } = self;
        let history = workload.stop().await?;
        cluster.leader().await?;
        cluster.settled().await?;
        for node in 0..NODES {
            read_all(&cluster, node, &history).await?;
        }

        let history = history.operations();
        let counts = count(&history);
        println!("{counts:?}");
        let last_read = |key: &str| {
            history.iter().rev().find_map(|operation| match &operation.call {
                Call::Get { found } if operation.key == key => Some(found.as_deref()),
                _ => None,
            })
        };
        let kept = written_once(&history);
        ensure!(kept.len() >= LOAD / 4, "only {} single writes", kept.len());
        for (key, value) in kept {
            let found = last_read(key);
            ensure!(
                found == Some(Some(value)),
                "{key} was acknowledged with {value}, and is {found:?}"
            );
        }
        check_linearizable(&history)?;
        cluster.finish().await?;
        Ok(history)
    }
}

/// Reads all keys through one node, and records the reads.
async fn read_all(cluster: &Cluster, node: usize, history: &Arc<History>) -> Result<()> {
    let reader = 1_000 + node as u64;
    let record = |key: &str, found: Option<String>, invoked| {
        history.record(HistoryOperation {
            client: reader,
            key: key.to_owned(),
            call: Call::Get { found },
            invoked,
            returned: Some(history.now()),
        });
    };
    let invoked = history.now();
    let listed = entries(&mut cluster.http(node), "once/").await?;
    for key in written_once(&history.operations()).into_keys() {
        record(key, listed.get(key).cloned(), invoked);
    }
    let keys: std::collections::BTreeSet<String> = history
        .operations()
        .into_iter()
        .map(|operation| operation.key)
        .filter(|key| key.starts_with("contended/"))
        .collect();
    ensure!(!keys.is_empty(), "no contended key exists");
    let mut client = Client::Http(cluster.http(node));
    for key in keys {
        let invoked = history.now();
        let found = client.get(&key).await.done();
        let found = found.with_context(|| format!("cannot read {key} through node {node}"))?;
        record(&key, found.map(|found| found.value), invoked);
    }
    Ok(())
}
