//! Every state that three real servers can reach within bounds.
//!
//! The servers are [`raft_core::Raft`] as it ships, not a model of it. What is modelled is the
//! world around them: a network that loses, repeats and reorders, disks that take their time,
//! crashes that lose what was not durable, clients, and time. `stateright` goes through all states
//! that follow from each other, and the rules of the paper are checked in each of them ([`check`]).
//!
//! # Time
//!
//! A server knows what time it is, and remembers when it heard whom; so no two of its states would
//! ever be equal, and there would be no end of them. Here time is a choice. After every step the
//! clocks of the server that took it are put to rest (`Raft::canonicalize`, behind the feature
//! `model`): what it remembers happened just now, its timers were armed just now, and a leader that
//! was heard an election timeout ago was never heard. Then one of these may happen next, at any
//! server, before or after anything else:
//!
//! | what | stands for |
//! | --- | --- |
//! | the election timer fires | the time until its deadline has passed, and with it the time for which a leader counts as heard |
//! | a heartbeat is due | its interval has passed |
//! | nobody was heard for long | at a leader: the longest election timeout has passed, and with it the time for a transfer |
//! | the leader was not heard for long | the shortest election timeout has passed, and the timer draws a longer one |
//!
//! Each server's time passes by itself, so every relation of two clocks is covered, and every
//! timeout that a generator may draw. What is covered more often than it can really happen does no
//! harm: what always holds here also holds where time is less free. Where time decides about
//! safety, this would cry wolf, so leases are left out.
//!
//! # Equal states
//!
//! Two servers are the same if they are equal (`Eq`), clocks aside: with their disks, and with the
//! writes on their way there, whose tokens are numbered from one again. Everything that occurs is
//! kept once and has a number, and a state is the numbers of its servers, of the messages on the
//! way, and of the history that the rules are about: who led in which term, and what was committed
//! when. Servers that have not done anything yet differ by nothing but their names, so only the
//! first of them does something first.
//!
//! A message that was sent stays on the way for ever. That it never arrives is a loss, that it
//! arrives twice is a repetition. Only what can have no effect any more is forgotten: answers to a
//! term that their receiver has left, with that on its disk.
mod bounds;
mod check;
mod facts;
mod model;
mod server;
mod sets;
mod table;

pub use bounds::{Bounds, Disk, Network, SERVERS};
pub use check::{Order, Report, check};
