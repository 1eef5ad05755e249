//! Samples of thousands of election timeouts, for their distribution.

use raft_core::{Membership, NodeId};

use crate::cluster::Cluster;

/// The number of parts of the range of timeouts that are counted separately.
const PARTS: usize = 10;
/// The distance of two timeouts that may split the vote, in milliseconds.
const CLOSE: u64 = 5;

impl Cluster {
    /// Starts clusters of this size with different seeds, and samples a timeout of each server, as
    /// a follower or as a candidate. The timeouts must be distributed evenly in their range, or be
    /// far apart in most clusters.
    pub fn expect_timeouts(
        &mut self,
        of: &str,
        how: &str,
        clusters: u64,
        size: u64,
    ) -> Result<(), String> {
        let all: Result<Vec<_>, _> =
            (0..clusters).map(|cluster| self.timeouts(of, cluster * size, size)).collect();
        match how {
            "evenly" => self.expect_evenly(&all?.concat()),
            "apart" => self.expect_apart(&all?),
            _ => Err("they time out evenly, or apart".into()),
        }
    }

    fn expect_evenly(&mut self, timeouts: &[u64]) -> Result<(), String> {
        let (min, max) = (
            self.template.election_timeout_min.as_millis() as u64,
            self.template.election_timeout_max.as_millis() as u64,
        );
        let mut parts = [0; PARTS];
        for millis in timeouts {
            let position = millis.checked_sub(min).ok_or("a timeout is too short")?;
            let part = position * PARTS as u64 / (max - min);
            *parts.get_mut(part as usize).ok_or("a timeout is too long")? += 1;
        }
        let drawn: Vec<_> = parts.iter().map(usize::to_string).collect();
        self.say(format!("in each tenth of {min} to {max} ms: {}", drawn.join(" ")));
        let fair = timeouts.len() / PARTS;
        if !parts.iter().all(|part| (fair * 4 / 5..fair * 5 / 4).contains(part)) {
            return Err("not every tenth is drawn by about a tenth".into());
        }
        Ok(())
    }

    fn expect_apart(&mut self, clusters: &[Vec<u64>]) -> Result<(), String> {
        let is_close = |timeouts: &&Vec<u64>| {
            let mut sorted = timeouts.to_vec();
            sorted.sort_unstable();
            sorted[1] - sorted[0] < CLOSE
        };
        let (close, all) = (clusters.iter().filter(is_close).count(), clusters.len());
        self.say(format!("the first two of a cluster come within {CLOSE} ms in {close} of {all}"));
        if close * 10 > all {
            return Err("two servers often time out at once".into());
        }
        Ok(())
    }

    /// The timeouts of the servers of a new cluster, in milliseconds: of followers after their
    /// start, or of candidates without any response.
    fn timeouts(&self, of: &str, first: u64, size: u64) -> Result<Vec<u64>, String> {
        let mut cluster = Cluster::new(None);
        cluster.template = self.template.clone();
        let ids: Vec<_> = (first + 1..=first + size).collect();
        let founders = Membership::new(ids.iter().map(|id| NodeId(*id)));
        let mut timeouts = Vec::new();
        for id in ids {
            cluster.add(id, founders.clone())?;
            if of == "candidates" {
                for _ in 0..2 {
                    cluster.now = cluster.deadline(id)?;
                    cluster.elapse(id)?;
                }
                let id = format!("n{id}");
                cluster.expect(&[&id, "is", "a", "candidate"])?;
            } else if of != "followers" {
                return Err("samples are of followers or of candidates".into());
            }
            let timer = cluster.raft(id)?.status().election_timer;
            let timer = timer.ok_or("a server has no timer")?;
            let timeout = timer.deadline.saturating_since(timer.started);
            timeouts.push(timeout.as_millis() as u64);
        }
        Ok(timeouts)
    }
}
