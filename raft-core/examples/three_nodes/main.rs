//! Three nodes in one process, each with a thread and a journal on disk. The leader is stopped, the
//! other nodes continue, and the stopped node restarts from its journal:
//! `cargo run -p raft-core --example three_nodes`.
//!
//! `node.rs` is the driver, which every user of `raft-core` writes. `journal.rs` is the disk. There
//! are no snapshots, so journals grow forever. Messages are sent through channels; a real node has
//! a network.

mod journal;
mod node;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use raft_core::NodeId;

use node::{Answer, Handle, Input, Network};

const NODES: [NodeId; 3] = [NodeId(1), NodeId(2), NodeId(3)];
/// The timeout of each step. A test machine may be busy; on an idle one a step takes a second or
/// two.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> Result<(), Box<dyn Error>> {
    let directory = Scratch::new()?;
    let network = Network::default();
    let mut nodes = Vec::new();
    for id in NODES {
        nodes.push(node::start(id, &NODES, &directory.journal(id), &network)?);
    }

    let leader = write(&network, &["one", "two", "three"])?;
    println!("{leader} leads, and three commands are committed");

    let position = nodes.iter().position(|node| node.id == leader);
    let stopped = nodes.swap_remove(position.ok_or("the leader is one of the nodes")?);
    stop(stopped, &network)?;
    let successor = write(&network, &["four", "five"])?;
    println!("{leader} is gone, {successor} leads, and two more are committed");

    nodes.push(node::start(leader, &NODES, &directory.journal(leader), &network)?);
    let all = read(&network, leader)?;
    println!("{leader} is back, and reads {all:?}");
    for node in nodes {
        stop(node, &network)?;
    }
    let same = all == ["one", "two", "three", "four", "five"];
    same.then_some(()).ok_or_else(|| "commands were lost or repeated".into())
}

/// Executes commands one after the other. Returns the leader of the last one.
fn write(network: &Network, commands: &[&'static str]) -> Result<NodeId, Box<dyn Error>> {
    let mut leader = NODES[0];
    for command in commands {
        let command = Bytes::from_static(command.as_bytes());
        leader = until(|attempt| {
            let asked = NODES[attempt % NODES.len()];
            match ask(network, asked, |answer| Input::Propose(command.clone(), answer))? {
                Answer::Done(_) => Ok(Some(asked)),
                // The command was certainly not executed, so it can be proposed again.
                Answer::Refused | Answer::Lost => Ok(None),
                // The command may have been executed. A client that retries needs a session in the
                // state machine.
                Answer::Unknown => Err("the outcome of a command is unknown".into()),
            }
        })?;
    }
    Ok(leader)
}

/// The state of a node at the time of the call or later.
fn read(network: &Network, id: NodeId) -> Result<Vec<String>, Box<dyn Error>> {
    until(|_| match ask(network, id, Input::Read)? {
        Answer::Done(state) => Ok(Some(state)),
        _ => Ok(None),
    })
}

fn ask(
    network: &Network,
    id: NodeId,
    question: impl FnOnce(mpsc::Sender<Answer>) -> Input,
) -> Result<Answer, Box<dyn Error>> {
    let (sender, answer) = mpsc::channel();
    if !network.send(id, question(sender)) {
        return Ok(Answer::Refused);
    }
    match answer.recv_timeout(PATIENCE) {
        Ok(answer) => Ok(answer),
        // The node stopped before it responded.
        Err(_) => Ok(Answer::Unknown),
    }
}

/// Retries until there is a result, with increasing delays.
fn until<T>(
    mut attempt: impl FnMut(usize) -> Result<Option<T>, Box<dyn Error>>,
) -> Result<T, Box<dyn Error>> {
    let end = Instant::now() + PATIENCE;
    for number in 0.. {
        if let Some(found) = attempt(number)? {
            return Ok(found);
        }
        if Instant::now() > end {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Err("timed out".into())
}

fn stop(node: Handle, network: &Network) -> Result<(), Box<dyn Error>> {
    network.send(node.id, Input::Stop);
    let ended = node.thread.join();
    Ok(ended.map_err(|_| "a node panicked")??)
}

/// A directory for the journals, which is removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> std::io::Result<Self> {
        let name = format!("raft-core-three-nodes-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    fn journal(&self, id: NodeId) -> PathBuf {
        Path::new(&self.0).join(format!("{id}.journal"))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn nothing_is_lost() -> Result<(), Box<dyn Error>> {
    main()
}
