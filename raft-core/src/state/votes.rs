//! The votes of one campaign (§5.2).

use alloc::vec::Vec;

use crate::api::types::NodeId;

/// The responses to the vote requests, or pre-vote requests, of one campaign.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Votes {
    /// One response for each voter that responded, in the order of arrival. True is a granted vote.
    responses: Vec<(NodeId, bool)>,
    /// The candidate has sent its requests. A candidate sends them when its own vote is durable.
    requested: bool,
    /// The leader requested the campaign with TimeoutNow.
    is_transfer: bool,
    /// Granted votes of voters that had granted theirs before.
    #[cfg(feature = "sabotage")]
    pub(crate) repeated: usize,
}

impl Votes {
    /// The votes of a campaign whose requests are not sent yet.
    pub(crate) fn unrequested(is_transfer: bool) -> Self {
        Self { is_transfer, ..Self::default() }
    }

    /// Records that the requests are sent, and the candidate's vote for itself.
    pub(crate) fn request(&mut self, candidate: NodeId) {
        self.requested = true;
        self.responses.push((candidate, true));
    }

    /// Returns true if the requests are sent.
    pub(crate) fn is_requested(&self) -> bool {
        self.requested
    }

    /// Returns true if the leader requested the campaign.
    pub(crate) fn is_transfer(&self) -> bool {
        self.is_transfer
    }

    /// Records a response. Returns true if it changed the votes.
    ///
    /// A rejection can be a stale response to an earlier campaign, so it never replaces a granted
    /// vote. A granted vote replaces a rejection.
    pub(crate) fn record(&mut self, voter: NodeId, granted: bool) -> bool {
        let Some((_, known)) = self.responses.iter_mut().find(|(id, _)| *id == voter) else {
            self.responses.push((voter, granted));
            return true;
        };
        let is_news = granted && !*known;
        *known |= granted;
        is_news
    }

    /// The response of `voter`; true is a granted vote.
    pub(crate) fn vote_of(&self, voter: NodeId) -> Option<bool> {
        self.responses.iter().find(|(id, _)| *id == voter).map(|(_, granted)| *granted)
    }

    /// The number of granted votes.
    pub(crate) fn granted(&self) -> usize {
        self.responses.iter().filter(|(_, granted)| *granted).count()
    }

    /// All responses, in the order of arrival.
    pub(crate) fn responses(&self) -> &[(NodeId, bool)] {
        &self.responses
    }

    /// Removes the order of arrival, which decides nothing.
    #[cfg(feature = "model")]
    pub(crate) fn canonicalize(&mut self) {
        self.responses.sort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn granted_vote_is_never_replaced() {
        let mut votes = Votes::unrequested(false);
        votes.request(NodeId(1));
        assert!(votes.record(NodeId(2), false));
        assert!(!votes.record(NodeId(2), false), "a repeated rejection");
        assert!(votes.record(NodeId(2), true), "the rejection was stale");
        assert!(!votes.record(NodeId(2), true), "a repeated vote");
        assert!(!votes.record(NodeId(2), false), "a stale rejection");
        assert_eq!((votes.vote_of(NodeId(2)), votes.vote_of(NodeId(3))), (Some(true), None));
        assert_eq!(votes.granted(), 2);
    }

    #[test]
    fn candidate_votes_for_itself_with_its_requests() {
        let mut votes = Votes::unrequested(true);
        assert_eq!((votes.granted(), votes.is_requested()), (0, false));
        votes.request(NodeId(1));
        assert_eq!((votes.granted(), votes.is_requested()), (1, true));
        assert!(votes.is_transfer());
    }
}
