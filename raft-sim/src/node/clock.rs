//! The clock of a server.

use raft_core::Instant;

/// A clock that can run fast or slow. It starts at a random time when the server starts.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    /// A virtual time, and the time of this clock then.
    anchor: (u64, u64),
    /// How fast the clock runs, in parts per million. Negative means slow.
    drift: i32,
}

/// A virtual time, with the total of all clock jumps before it.
///
/// The difference of two such values bounds the time that any clock can have measured in between.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClockBound {
    pub(crate) at: u64,
    pub(crate) jumped: u64,
}

/// A slower clock would stand still or run backwards, and would not be monotonic.
const DRIFT_MIN: i32 = -900_000;

impl Clock {
    const MILLION: i128 = 1_000_000;

    /// A clock that shows `local` at the virtual time `world`.
    pub(crate) fn new(world: u64, local: u64) -> Self {
        Self { anchor: (world, local), drift: 0 }
    }

    /// The time of the clock at a virtual time.
    pub(crate) fn read(&self, world: u64) -> Instant {
        let passed = world.saturating_sub(self.anchor.0);
        if self.drift == 0 {
            return Instant(self.anchor.1.saturating_add(passed));
        }
        let passed = i128::from(passed);
        let local = passed * (Self::MILLION + i128::from(self.drift)) / Self::MILLION;
        Instant(self.anchor.1.saturating_add(u64::try_from(local).unwrap_or(0)))
    }

    /// The first virtual time at which the clock shows `local` or more.
    pub(crate) fn world_time_of(&self, local: Instant) -> u64 {
        let passed = local.0.saturating_sub(self.anchor.1);
        if self.drift == 0 {
            return self.anchor.0.saturating_add(passed);
        }
        let passed = i128::from(passed);
        let rate = Self::MILLION + i128::from(self.drift);
        let world = (passed * Self::MILLION + rate - 1) / rate;
        self.anchor.0.saturating_add(u64::try_from(world).unwrap_or(u64::MAX))
    }

    pub(crate) fn drift(&self) -> i32 {
        self.drift
    }

    pub(crate) fn set_drift(&mut self, world: u64, drift: i32) {
        self.anchor = (world, self.read(world).0);
        self.drift = drift.max(DRIFT_MIN);
    }

    /// Moves the clock forward to `local`, unless it is already later.
    pub(crate) fn jump_to(&mut self, world: u64, local: Instant) {
        self.anchor = (world, self.read(world).0.max(local.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drifting_clock_inverse_is_exact() {
        for drift in [-500_000, -77, 0, 1, 333_333] {
            let mut clock = Clock::new(1000, 5);
            clock.set_drift(4000, drift);
            for local in [3005, 3006, 10_007, 123_456_789] {
                let world = clock.world_time_of(Instant(local));
                assert!(clock.read(world) >= Instant(local));
                assert!(world <= 4000 || clock.read(world - 1) < Instant(local));
            }
        }
    }
}
