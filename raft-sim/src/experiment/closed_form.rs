//! The results of section 9.3 of the dissertation, which are derived without a simulation. Timeouts
//! are independent and uniform on the interval from 0 to 1.

/// The mean of the earliest of so many timeouts.
#[must_use]
pub fn earliest_timeout_mean(servers: u32) -> f64 {
    1.0 / (f64::from(servers) + 1.0)
}

/// The probability that the earliest of so many timeouts lies at or before `time`.
#[must_use]
pub fn earliest_timeout_until(servers: u32, time: f64) -> f64 {
    1.0 - (1.0 - time.clamp(0.0, 1.0)).powf(f64::from(servers))
}

/// The probability that the first vote is split, if `servers` of a `cluster` wait for their
/// timeouts and a message takes `latency` (as a share of the range of timeouts).
///
/// A server whose timeout ends within a latency after the earliest one votes for itself. The vote
/// is split if the remaining servers and one of these are not a majority. This needs at least
/// `servers - ⌊cluster / 2⌋` such servers.
#[must_use]
pub fn split_vote(cluster: u32, servers: u32, latency: f64) -> f64 {
    let latency = latency.clamp(0.0, 1.0);
    let enough = servers.saturating_sub(cluster / 2);
    let probability = |k: u32| {
        let rest = servers - k;
        choose(servers, k) * latency.powf(f64::from(k)) * (1.0 - latency).powf(f64::from(rest))
    };
    (enough..=servers).map(probability).sum()
}

fn choose(n: u32, k: u32) -> f64 {
    (0..k).map(|i| f64::from(n - i) / f64::from(i + 1)).product()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_percent(probability: f64, published: f64, digits: f64) {
        assert!(
            (probability * 100.0 - published).abs() <= 0.5 / digits,
            "{probability} is not {published} %"
        );
    }

    #[test]
    fn earliest_of_four_timeouts_is_a_fifth_of_range() {
        assert_eq!(earliest_timeout_mean(4), 0.2);
        assert_eq!(earliest_timeout_mean(1), 0.5);
        assert_eq!(earliest_timeout_until(4, 0.0), 0.0);
        assert_eq!(earliest_timeout_until(4, 1.0), 1.0);
        assert_eq!(earliest_timeout_until(2, 0.5), 0.75);
        // The mean is the integral of the probability that no timeout has ended yet.
        let steps = 10_000;
        let integral: f64 = (0..steps)
            .map(|i| 1.0 - earliest_timeout_until(4, (f64::from(i) + 0.5) / f64::from(steps)))
            .sum();
        assert!((integral / f64::from(steps) - earliest_timeout_mean(4)).abs() < 1e-6);
    }

    #[test]
    fn split_votes_are_as_rare_as_published() {
        assert_percent(split_vote(5, 4, 0.01), 0.06, 100.0);
        assert_percent(split_vote(5, 4, 0.1), 5.23, 100.0);
        assert_percent(split_vote(5, 4, 0.2), 18.08, 100.0);
        assert_percent(split_vote(5, 3, 0.2), 48.8, 10.0);
        assert_percent(split_vote(9, 7, 0.2), 14.8, 10.0);
    }

    #[test]
    fn no_quorum_means_split_votes() {
        assert!((split_vote(5, 2, 0.1) - 1.0).abs() < 1e-12);
    }
}
