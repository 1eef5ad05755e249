//! Schedules of external events, generated from a seed.

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng as _, SeedableRng};

/// A random generator with the same values on every platform.
pub struct Rng(Xoshiro256PlusPlus);

impl Rng {
    /// The generator of one schedule or configuration.
    #[must_use]
    pub fn new(seed: u64, number: u64) -> Self {
        let mixed = seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self(Xoshiro256PlusPlus::seed_from_u64(mixed))
    }

    /// A number below `bound`, which must not be zero.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.0.next_u64() % bound as u64) as usize
    }
}

/// An external event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// The election timer of a server fires.
    Campaign(usize),
    /// A client proposes a command at a server, if it leads.
    Propose(usize, u8),
    /// From now on, a message is delivered only if `links[sender][receiver]` is true.
    Links(Vec<Vec<bool>>),
    /// A server restarts from its disk.
    Restart(usize),
}

/// The external events of one cluster, in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Schedule {
    /// The number of servers.
    pub servers: usize,
    /// The events.
    pub events: Vec<Event>,
}

impl Schedule {
    /// Generates the schedule with a number.
    #[must_use]
    pub fn generate(seed: u64, number: u64) -> Self {
        let mut rng = Rng::new(seed, number);
        let servers = [1, 2, 3, 3, 3, 4, 5, 5][rng.below(8)];
        let length = 10 + rng.below(40);
        let mut commands = 0;
        let mut events: Vec<_> = (0..length)
            .map(|_| {
                let at = rng.below(servers);
                match rng.below(20) {
                    0..=5 => Event::Campaign(at),
                    6..=13 => {
                        commands += 1;
                        Event::Propose(at, commands)
                    }
                    14..=17 => Event::Links(generate_links(&mut rng, servers)),
                    _ => Event::Restart(at),
                }
            })
            .collect();
        // All links are healed, and each server campaigns.
        events.push(Event::Links(vec![vec![true; servers]; servers]));
        for _ in 0..3 {
            events.extend((0..servers).map(Event::Campaign));
        }
        Self { servers, events }
    }
}

/// Generates the connected links: all links, the links within two parts, or all links except a few.
///
/// Links are cut in both directions. Without responses, the state of a follower would depend on the
/// retries of the leader, which differ.
fn generate_links(rng: &mut Rng, servers: usize) -> Vec<Vec<bool>> {
    let mut up = vec![vec![true; servers]; servers];
    match rng.below(3) {
        0 => {}
        1 => {
            let part: Vec<_> = (0..servers).map(|_| rng.below(2)).collect();
            for (from, row) in up.iter_mut().enumerate() {
                for (to, up) in row.iter_mut().enumerate() {
                    *up = part[from] == part[to];
                }
            }
        }
        _ => {
            for _ in 0..=servers {
                let (from, to) = (rng.below(servers), rng.below(servers));
                up[from][to] = from == to;
                up[to][from] = from == to;
            }
        }
    }
    up
}
