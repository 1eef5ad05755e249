//! What happens to a cluster from outside, drawn from a seed.

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};

/// A generator whose values are the same everywhere.
pub struct Chance(Xoshiro256PlusPlus);

impl Chance {
    /// The generator of one schedule or configuration.
    #[must_use]
    pub fn new(seed: u64, number: u64) -> Self {
        let mixed = seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self(Xoshiro256PlusPlus::seed_from_u64(mixed))
    }

    /// Less than `bound`, which is not zero.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.0.next_u64() % bound as u64) as usize
    }
}

/// One thing that happens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A server's election timer fires.
    Campaign(usize),
    /// A client proposes a command at a server, if it leads.
    Propose(usize, u8),
    /// From here on messages pass only where this says so: from the first to the second.
    Links(Vec<Vec<bool>>),
    /// A server loses its memory and starts again from its disk.
    Restart(usize),
}

/// What happens to a cluster of so many servers, in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Schedule {
    /// The number of servers.
    pub servers: usize,
    /// What happens.
    pub events: Vec<Event>,
}

impl Schedule {
    /// The schedule of this number.
    #[must_use]
    pub fn draw(seed: u64, number: u64) -> Self {
        let mut chance = Chance::new(seed, number);
        let servers = [1, 2, 3, 3, 3, 4, 5, 5][chance.below(8)];
        let length = 10 + chance.below(40);
        let mut commands = 0;
        let mut events: Vec<_> = (0..length)
            .map(|_| {
                let at = chance.below(servers);
                match chance.below(20) {
                    0..=5 => Event::Campaign(at),
                    6..=13 => {
                        commands += 1;
                        Event::Propose(at, commands)
                    }
                    14..=17 => Event::Links(links(&mut chance, servers)),
                    _ => Event::Restart(at),
                }
            })
            .collect();
        // All is mended, and whoever can be elected is.
        events.push(Event::Links(vec![vec![true; servers]; servers]));
        for _ in 0..3 {
            events.extend((0..servers).map(Event::Campaign));
        }
        Self { servers, events }
    }
}

/// Which links are up: all of them, those within two parts, or all but a few. A cut one goes
/// neither way: what a follower knows whose leader cannot hear it depends on what a leader tries.
fn links(chance: &mut Chance, servers: usize) -> Vec<Vec<bool>> {
    let mut up = vec![vec![true; servers]; servers];
    match chance.below(3) {
        0 => {}
        1 => {
            let part: Vec<_> = (0..servers).map(|_| chance.below(2)).collect();
            for (from, row) in up.iter_mut().enumerate() {
                for (to, up) in row.iter_mut().enumerate() {
                    *up = part[from] == part[to];
                }
            }
        }
        _ => {
            for _ in 0..=servers {
                let (from, to) = (chance.below(servers), chance.below(servers));
                up[from][to] = from == to;
                up[to][from] = from == to;
            }
        }
    }
    up
}
