//! Causes and consequences of steps.

use serde::Serialize;

use crate::story::{Flight, LogRecord, Step, Trigger};
use crate::world::World;

/// A step in a chain of causes, with its records and the message that triggered it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Link {
    /// The step.
    pub step: Step,
    /// The events of the step.
    pub records: Vec<LogRecord>,
    /// The message between servers whose arrival it is.
    pub flight: Option<Flight>,
}

/// The largest number of links that are returned.
const LINKS_MAX: usize = 200;

impl World {
    /// A step and the steps that led to it, the latest first. Only stored steps are returned.
    #[must_use]
    pub fn causes(&self, step: u64) -> Vec<Link> {
        let mut links = Vec::new();
        let mut next = self.find_step(step);
        while let Some(step) = next.filter(|_| links.len() < LINKS_MAX) {
            links.push(self.link(step));
            next = self.find_step(step.parent);
        }
        links
    }

    /// The steps to which a step led, directly and indirectly, in order of time.
    #[must_use]
    pub fn consequences(&self, step: u64) -> Vec<Link> {
        let mut found = vec![step];
        for next in self.steps_since(step) {
            if found.len() <= LINKS_MAX && found.contains(&next.parent) {
                found.push(next.id);
            }
        }
        let steps = found.into_iter().skip(1).filter_map(|id| self.find_step(id));
        steps.map(|step| self.link(step)).collect()
    }

    fn find_step(&self, id: u64) -> Option<Step> {
        let mut from = self.steps_since(id.checked_sub(1)?);
        from.next().filter(|step| step.id == id).copied()
    }

    fn link(&self, step: Step) -> Link {
        let records = self.story_since(0).skip_while(|record| record.at < step.at);
        let records = records.take_while(|record| record.at == step.at);
        let flight = match step.trigger {
            Trigger::Message { message } => self.flights().rfind(|flight| flight.id == message),
            _ => None,
        };
        Link {
            step,
            records: records.filter(|record| record.step == step.id).cloned().collect(),
            flight: flight.copied(),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::story::Trigger;
    use crate::world::World;
    use crate::world::config::WorldConfig;

    #[test]
    fn causes_of_leadership_lead_to_the_election_timer() {
        let config = WorldConfig { seed: 42, ..WorldConfig::default() };
        let mut world = World::new(config).unwrap();
        world.run_until(1_000_000);
        let is = |name: &'static str| {
            let found = world.story_since(0).find(|record| record.facts().event == name);
            found.unwrap().step
        };
        let links = world.causes(is("became-leader"));
        let triggers: Vec<_> = links.iter().map(|link| link.step.trigger).collect();
        assert_eq!(triggers.last(), Some(&Trigger::Timer), "{links:?}");
        let first = links.last().unwrap();
        assert_eq!(first.step.node, links[0].step.node);
        assert_eq!(first.records[0].facts().event, "became-pre-candidate");
        // A vote and its request, and the promises before it.
        assert!(links.iter().filter(|link| link.flight.is_some()).count() >= 4);
        let later = world.consequences(first.step.id);
        assert!(later.iter().any(|link| link.step.id == is("became-leader")));
    }
}
