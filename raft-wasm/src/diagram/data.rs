//! The contents of a window of time.

use raft_sim::{EventKind, Flight, LaneChange, LaneState, LogRecord, MessageKind, Run, World};

/// A stretch of a lane in which the node's state is the same.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Stretch {
    pub(crate) node: u64,
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) state: LaneState,
}

/// Something that is marked at a moment.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Mark {
    pub(crate) at: u64,
    /// The node; 0 for none.
    pub(crate) node: u64,
    pub(crate) kind: MarkKind,
    /// The number of its record.
    pub(crate) record: u64,
    /// The term of an election, the index of a commit.
    pub(crate) number: u64,
}

/// The kind of a mark. The numbers are part of the packed diagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum MarkKind {
    Leader = 0,
    Candidate = 1,
    Commit = 2,
    Fault = 3,
    Violation = 4,
}

/// The lanes, messages and marks of a window of time.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Diagram {
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) lanes: Vec<Stretch>,
    pub(crate) flights: Vec<Flight>,
    pub(crate) marks: Vec<Mark>,
}

/// A part of the shown branch that was played again for the diagram.
#[derive(Debug, Default)]
pub(crate) struct Past {
    part: Option<Diagram>,
}

/// Windows that are longer show no messages, in microseconds.
pub(crate) const MESSAGES_SHOWN: u64 = 60_000_000;

impl Past {
    /// Forgets everything: another branch is shown.
    pub(crate) fn clear(&mut self) {
        self.part = None;
    }

    /// The diagram of a window of the shown branch.
    pub(crate) fn diagram(&mut self, run: &Run, from: u64, to: u64) -> Diagram {
        let now = run.world().now();
        let to = to.min(now).max(from);
        if to - from > MESSAGES_SHOWN {
            return sketch(run, from, to);
        }
        let since = run.world().story_complete_since();
        if since <= from || from >= now {
            return collect(run.world(), from, to);
        }
        // What the present world has forgotten.
        let end = since.min(to);
        let part = self.part.take().filter(|part| part.from <= from && part.to >= end);
        let part = part.unwrap_or_else(|| {
            let first = from.saturating_sub((to - from).max(1_000_000));
            collect(&run.world_with_story(first, end), first, end)
        });
        let mut whole = part.within(from, end);
        self.part = Some(part);
        whole.append(collect(run.world(), end, to));
        whole
    }
}

impl Diagram {
    /// The part of the diagram in a shorter window.
    fn within(&self, from: u64, to: u64) -> Self {
        let shown = |it: &&Stretch| it.to > from && it.from < to;
        let cut = |it: &Stretch| Stretch { from: it.from.max(from), to: it.to.min(to), ..*it };
        let flights = self.flights.iter().filter(|it| it.end() >= from && it.sent_at <= to);
        let marks = self.marks.iter().filter(|it| (from..=to).contains(&it.at));
        Self {
            from,
            to,
            lanes: self.lanes.iter().filter(shown).map(cut).collect(),
            flights: flights.copied().collect(),
            marks: marks.copied().collect(),
        }
    }

    /// Adds the diagram of the time after this one.
    fn append(&mut self, later: Self) {
        self.to = later.to;
        self.lanes.extend(later.lanes);
        for flight in later.flights {
            // A message that was in flight at the seam is in both.
            match self.flights.iter_mut().rfind(|it| it.id == flight.id) {
                Some(present) => *present = flight,
                None => self.flights.push(flight),
            }
        }
        let end = self.marks.last().map_or(0, |mark| mark.record + 1);
        self.marks.extend(later.marks.into_iter().filter(|mark| mark.record >= end));
    }

    /// The diagram as numbers: `from`, `to`, the numbers of stretches, flights and marks, and then
    /// those: node, from, to, process, role, term of each stretch; id, from, to, kind, entries,
    /// term, sent at, arrives at, lost at (-1 if not lost) and step of each flight; moment, node,
    /// kind, record and number of each mark.
    pub(crate) fn pack(&self) -> Vec<f64> {
        let counts = [self.lanes.len(), self.flights.len(), self.marks.len()];
        let mut packed = vec![self.from as f64, self.to as f64];
        packed.extend(counts.map(|count| count as f64));
        for Stretch { node, from, to, state } in &self.lanes {
            let (process, role) = (u64::from(state.process), u64::from(state.role));
            packed.extend([*node, *from, *to, process, role, state.term].map(|it| it as f64));
        }
        for flight in &self.flights {
            let Flight { id, from, to, kind, entries, term, sent_at, arrives_at, .. } = *flight;
            let kind = u64::from(kind as u8);
            let numbers = [id, from, to, kind, entries, term, sent_at, arrives_at];
            packed.extend(numbers.map(|it| it as f64));
            packed.extend([flight.lost_at.map_or(-1.0, |at| at as f64), flight.step as f64]);
        }
        for Mark { at, node, kind, record, number } in &self.marks {
            let kind = u64::from(*kind as u8);
            packed.extend([*at, *node, kind, *record, *number].map(|it| it as f64));
        }
        packed
    }
}

fn collect(world: &World, from: u64, to: u64) -> Diagram {
    let nodes = world.config().cluster.nodes as usize;
    // Records are in order of time, and so are flights by the moment at which they left.
    let records = world.story_since(0).skip_while(|record| record.at < from);
    let records = records.take_while(|record| record.at <= to);
    let flights = world.flights().filter(|it| it.end() >= from && it.sent_at <= to);
    Diagram {
        from,
        to,
        lanes: stretches(world.lanes_before(), world.lane_changes().copied(), nodes, from, to),
        flights: flights.copied().collect(),
        marks: records.filter_map(mark).collect(),
    }
}

/// The stretches of all lanes in a window.
fn stretches(
    before: &[LaneState],
    changes: impl Iterator<Item = LaneChange>,
    nodes: usize,
    from: u64,
    to: u64,
) -> Vec<Stretch> {
    let mut states = before.to_vec();
    states.resize(nodes, LaneState::default());
    let mut since = vec![from; nodes];
    let mut lanes = Vec::new();
    let mut close = |node: u64, state: LaneState, since: u64, until: u64| {
        if until > since {
            lanes.push(Stretch { node, from: since, to: until, state });
        }
    };
    for change in changes.take_while(|change| change.at <= to) {
        let slot = change.node as usize - 1;
        if change.at > from {
            close(change.node, states[slot], since[slot], change.at);
            since[slot] = change.at;
        }
        states[slot] = change.state;
    }
    for (slot, state) in states.iter().enumerate() {
        close(slot as u64 + 1, *state, since[slot], to);
    }
    lanes
}

/// The lanes of a long stretch of time, roughly, and its most important marks.
fn sketch(run: &Run, from: u64, to: u64) -> Diagram {
    let world = run.world();
    let nodes = world.config().cluster.nodes;
    let moments: Vec<_> = run.sketch().filter(|(at, _)| *at <= to).collect();
    let states = moments.iter().flat_map(|(at, states)| {
        let change = |(node, state): (u64, &LaneState)| LaneChange { at: *at, node, state: *state };
        (1..).zip(states.iter()).map(change)
    });
    let marks = run.landmarks().filter(|it| (from..=to).contains(&it.at));
    let marks = marks.map(|it| Mark {
        at: it.at,
        node: it.node.unwrap_or(0),
        kind: it.term.map_or(MarkKind::Violation, |_| MarkKind::Leader),
        record: it.record,
        number: it.term.unwrap_or(0),
    });
    Diagram {
        from,
        to,
        lanes: stretches(&[], states, nodes as usize, from, to),
        flights: Vec::new(),
        marks: marks.collect(),
    }
}

fn mark(record: &LogRecord) -> Option<Mark> {
    let facts = record.facts();
    let (kind, number) = match facts.event {
        "became-leader" => (MarkKind::Leader, facts.term),
        "became-candidate" => (MarkKind::Candidate, facts.term),
        // A follower learns of it.
        "commit-advanced" if facts.peer.is_none() => (MarkKind::Commit, facts.index),
        "violated" => (MarkKind::Violation, None),
        _ if record.kind == EventKind::Fault => (MarkKind::Fault, None),
        _ => return None,
    };
    let (at, node) = (record.at, record.node.unwrap_or(0));
    Some(Mark { at, node, kind, record: record.id, number: number.unwrap_or(0) })
}

/// Whether a message is one of those that keep a calm cluster calm.
pub(crate) fn is_heartbeat(kind: MessageKind) -> bool {
    matches!(kind, MessageKind::Heartbeat | MessageKind::HeartbeatResponse)
}

#[cfg(test)]
mod tests {
    use super::*;
    use raft_sim::{Action, Script, TimedAction, WorldConfig};

    fn run(actions: Vec<TimedAction>) -> Run {
        let mut config = WorldConfig { seed: 42, ..WorldConfig::default() };
        config.workload.clients = 1;
        Run::new(Script { config, actions }).expect("a valid script")
    }

    #[test]
    fn lanes_cover_the_window_without_gaps() {
        let crash = TimedAction { at: 1_200_000, action: Action::Crash { node: 2 } };
        let mut run = run(vec![crash]);
        run.seek(2_000_000);
        let diagram = Past::default().diagram(&run, 100_000, 1_900_000);
        for node in 1..=5 {
            let lane: Vec<_> = diagram.lanes.iter().filter(|it| it.node == node).collect();
            assert_eq!(lane[0].from, 100_000);
            assert_eq!(lane[lane.len() - 1].to, 1_900_000);
            assert!(lane.windows(2).all(|pair| pair[0].to == pair[1].from), "{lane:?}");
        }
        let down = |it: &&Stretch| it.state.process == 2;
        let down: Vec<_> = diagram.lanes.iter().filter(down).collect();
        assert_eq!(down.len(), 1);
        assert_eq!((down[0].node, down[0].from), (2, 1_200_000));
        let leads = diagram.marks.iter().find(|mark| mark.kind == MarkKind::Leader);
        assert!(leads.is_some() && diagram.marks.iter().any(|it| it.kind == MarkKind::Commit));
    }

    #[test]
    fn jump_back_shows_what_the_run_showed_before() {
        let mut run = run(Vec::new());
        run.seek(30_000_000);
        let window = (24_000_000, 29_000_000);
        let before = Past::default().diagram(&run, window.0, window.1);
        run.seek(29_000_000);
        assert!(run.world().story_complete_since() > window.0, "a part is forgotten");
        let mut past = Past::default();
        let after = past.diagram(&run, window.0, window.1);
        assert_eq!(after.flights, before.flights);
        assert_eq!(after.marks, before.marks);
        assert_eq!(past.diagram(&run, window.0 + 10_000, window.1).marks.len(), before.marks.len());
        assert!(past.part.is_some(), "the part is kept");
    }

    #[test]
    fn long_window_is_a_sketch_with_its_leaders() {
        let mut run = run(Vec::new());
        run.seek(120_000_000);
        let diagram = Past::default().diagram(&run, 0, 120_000_000);
        assert!(diagram.flights.is_empty());
        assert!(diagram.lanes.iter().any(|it| it.state.role == 3));
        assert_eq!(diagram.marks[0].kind, MarkKind::Leader);
        let packed = diagram.pack();
        let expected = 5 + diagram.lanes.len() * 6 + diagram.marks.len() * 5;
        assert_eq!(packed.len(), expected);
    }

    #[test]
    fn lost_message_ends_where_it_was_lost() {
        let cut = TimedAction { at: 0, action: Action::CutLink { from: 1, to: 2 } };
        let mut run = run(vec![cut]);
        run.seek(2_000_000);
        let diagram = Past::default().diagram(&run, 0, 2_000_000);
        let mut cut = diagram.flights.iter().filter(|it| (it.from, it.to) == (1, 2));
        assert!(cut.all(|it| it.lost_at.is_some_and(|at| at < it.arrives_at)));
    }
}
