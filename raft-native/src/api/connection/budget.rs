//! The memory that all requests and responses share.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A limit on the bytes of request bodies and responses in memory.
pub(crate) struct Budget {
    used: AtomicUsize,
    bytes_max: usize,
}

/// A part of the budget. It is returned when it is dropped.
pub(crate) struct Share {
    budget: Arc<Budget>,
    bytes: usize,
}

/// A body or a response exceeds a limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum Exhausted {
    /// The budget of the node is used up.
    #[error("overloaded: requests and responses fill the memory reserved for them; retry later")]
    Node,
    /// The client of this connection does not read its responses.
    #[error(
        "overloaded: too many unread responses on this connection; read them, or use another \
         connection"
    )]
    Connection,
}

impl Budget {
    /// A share up to this size may use the reserve.
    pub(crate) const SMALL_BYTES_MAX: usize = 16 * 1024;

    pub(crate) fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(Self { used: AtomicUsize::new(0), bytes_max })
    }

    /// An empty share.
    pub(crate) fn share(self: &Arc<Self>) -> Share {
        Share { budget: Arc::clone(self), bytes: 0 }
    }

    /// The limit for a share of this size. Large shares leave a quarter of the budget free. Without
    /// this reserve, a few hundred large requests that stall would exclude all other requests.
    fn limit(&self, bytes: usize) -> usize {
        if bytes <= Self::SMALL_BYTES_MAX {
            self.bytes_max
        } else {
            self.bytes_max - self.bytes_max / 4
        }
    }
}

impl Share {
    /// Grows the share to this many bytes. A share never shrinks.
    pub(crate) fn grow_to(&mut self, bytes: usize) -> Result<(), Exhausted> {
        let Some(more) = bytes.checked_sub(self.bytes) else {
            return Ok(());
        };
        let limit = self.budget.limit(bytes);
        let grown = |used: usize| used.checked_add(more).filter(|used| *used <= limit);
        let used = &self.budget.used;
        used.try_update(Ordering::Relaxed, Ordering::Relaxed, grown)
            .map_err(|_| Exhausted::Node)?;
        self.bytes = bytes;
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: usize = 1024;

    #[test]
    fn dropped_share_returns_its_bytes() {
        let budget = Budget::new(64 * KIB);
        let mut one = budget.share();
        one.grow_to(48 * KIB).unwrap();
        assert_eq!(budget.share().grow_to(32 * KIB), Err(Exhausted::Node));
        one.grow_to(20 * KIB).unwrap();
        drop(one);
        assert_eq!(budget.used.load(Ordering::Relaxed), 0);
        budget.share().grow_to(48 * KIB).unwrap();
    }

    #[test]
    fn large_shares_leave_a_reserve_for_small_ones() {
        let budget = Budget::new(64 * KIB);
        let mut large = budget.share();
        large.grow_to(48 * KIB).unwrap();
        assert_eq!(large.grow_to(49 * KIB), Err(Exhausted::Node));
        let mut small = budget.share();
        small.grow_to(16 * KIB).unwrap();
        assert_eq!(small.grow_to(17 * KIB), Err(Exhausted::Node));
        assert_eq!(budget.share().grow_to(1), Err(Exhausted::Node));
    }
}
