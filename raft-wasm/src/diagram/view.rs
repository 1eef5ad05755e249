//! Places of moments and nodes on a canvas, and back.

use raft_sim::Flight;
use serde::Serialize;

use crate::diagram::data::{Diagram, Mark, MarkKind};

/// The window of time and the size of the canvas, in CSS pixels.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct View {
    pub(crate) from: f64,
    pub(crate) to: f64,
    pub(crate) width: f64,
    pub(crate) height: f64,
    /// The height above the first lane.
    pub(crate) top: f64,
    /// The height of a lane.
    pub(crate) lane: f64,
}

/// The object at a place.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub(crate) struct Hit {
    /// The moment.
    at: f64,
    /// The node in whose lane the place is.
    node: Option<u64>,
    /// The message at the place.
    message: Option<u64>,
    /// The record of the mark at the place.
    record: Option<u64>,
}

/// The distance in pixels at which a message or mark is hit.
const NEAR: f64 = 7.0;
/// A message is shown up to this part of its way at least, even if it never left its sender.
const STUB: f64 = 0.15;

impl View {
    pub(crate) fn x(&self, at: f64) -> f64 {
        (at - self.from) / (self.to - self.from).max(1.0) * self.width
    }

    pub(crate) fn y(&self, node: u64) -> f64 {
        self.top + self.lane * (node as f64 - 0.5)
    }

    fn at(&self, x: f64) -> f64 {
        self.from + x / self.width.max(1.0) * (self.to - self.from)
    }

    /// Both ends of the line of a message at a moment, and whether it ended there.
    pub(crate) fn line(&self, flight: &Flight, now: u64) -> ([f64; 4], bool) {
        let whole = flight.arrives_at.saturating_sub(flight.sent_at).max(1) as f64;
        let end = flight.end();
        let passed = end.min(now).saturating_sub(flight.sent_at) as f64 / whole;
        let part = if flight.lost_at.is_some() { passed.max(STUB) } else { passed };
        let (x, y) = (self.x(flight.sent_at as f64), self.y(flight.from));
        let (to_x, to_y) = (self.x(flight.arrives_at as f64), self.y(flight.to));
        ([x, y, x + (to_x - x) * part, y + (to_y - y) * part], end <= now)
    }

    /// The objects at a place, the nearest first.
    pub(crate) fn hit(&self, diagram: &Diagram, now: u64, x: f64, y: f64) -> Hit {
        let nodes = diagram.lanes.iter().map(|it| it.node).max().unwrap_or(0);
        let lane = ((y - self.top) / self.lane.max(1.0)).floor() + 1.0;
        let node = (1.0..=nodes as f64).contains(&lane).then_some(lane as u64);
        let nearest = |distances: &mut dyn Iterator<Item = (f64, u64)>| {
            let near = distances.filter(|(distance, _)| *distance <= NEAR);
            near.min_by(|(one, _), (other, _)| one.total_cmp(other)).map(|(_, id)| id)
        };
        let record = nearest(&mut diagram.marks.iter().map(|mark| {
            let (mark_x, mark_y) = self.place(mark);
            ((mark_x - x).hypot(mark_y - y), mark.record)
        }));
        let message = nearest(&mut diagram.flights.iter().map(|flight| {
            let (line, _) = self.line(flight, now);
            (distance(line, x, y), flight.id)
        }));
        Hit { at: self.at(x), node, message: message.filter(|_| record.is_none()), record }
    }

    /// The place of a mark.
    pub(crate) fn place(&self, mark: &Mark) -> (f64, f64) {
        let x = self.x(mark.at as f64);
        match mark.kind {
            MarkKind::Violation | MarkKind::Fault if mark.node == 0 => (x, self.top / 2.0),
            _ => (x, self.y(mark.node)),
        }
    }
}

/// The distance of a place from a line.
fn distance([x1, y1, x2, y2]: [f64; 4], x: f64, y: f64) -> f64 {
    let (dx, dy) = (x2 - x1, y2 - y1);
    let length = (dx * dx + dy * dy).max(f64::MIN_POSITIVE);
    let part = (((x - x1) * dx + (y - y1) * dy) / length).clamp(0.0, 1.0);
    (x1 + dx * part - x).hypot(y1 + dy * part - y)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagram::Past;
    use raft_sim::{Run, Script};

    #[test]
    fn message_and_mark_are_hit_where_they_are_drawn() {
        let mut run = Run::new(Script::default()).expect("a valid script");
        run.seek(600_000);
        let diagram = Past::default().diagram(&run, 100_000, 600_000);
        let (from, to) = (100_000.0, 600_000.0);
        let view = View { from, to, width: 1000.0, height: 120.0, top: 24.0, lane: 16.0 };
        let flight = diagram.flights.iter().find(|it| it.from == 1 && it.to == 5);
        let flight = flight.or(diagram.flights.iter().find(|it| it.from.abs_diff(it.to) > 1));
        let flight = flight.expect("messages are sent");
        let (line, ended) = view.line(flight, 600_000);
        assert!(ended);
        let middle = ((line[0] + line[2]) / 2.0, (line[1] + line[3]) / 2.0);
        let hit = view.hit(&diagram, 600_000, middle.0, middle.1);
        assert!(hit.message.is_some() || hit.record.is_some());
        let leader = diagram.marks.iter().find(|it| it.kind == MarkKind::Leader);
        let leader = leader.expect("a leader is elected");
        let (x, y) = view.place(leader);
        let hit = view.hit(&diagram, 600_000, x, y);
        assert_eq!((hit.record, hit.node), (Some(leader.record), Some(leader.node)));
        assert!((hit.at - leader.at as f64).abs() < 1_000.0);
        assert_eq!(view.hit(&diagram, 600_000, x, 4.0).node, None);
    }
}
