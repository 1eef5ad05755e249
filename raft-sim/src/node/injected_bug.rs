//! Bugs that tests put into all servers, so that checkers can be tested.

/// A bug in the part of a server that is outside of the core and the state machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum InjectedBug {
    /// A server that leads again uses the deadlines of its earlier leadership.
    KeepsLeaseDeadlines,
    /// A server keeps leases alive without confirming its leadership.
    RenewsUnconfirmed,
    /// Leaders do not end expired leases.
    NeverExpiresLeases,
    /// A server sends the last revision again to a watcher that reconnects.
    RepeatsRevision,
    /// A server skips a revision for a watcher that reconnects.
    SkipsRevision,
    /// A stale read is sometimes answered from the durable state machine, which is behind.
    StaleReadGoesBack,
    /// The response to a stale read lacks a key.
    StaleReadLacksKey,
    /// The response to a transaction has the revision of the previous transaction.
    EarlierTxnRevision,
}
