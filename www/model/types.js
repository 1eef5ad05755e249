// What the parts of the page say to each other.

/**
 * @typedef {import("../pkg/raft_wasm.js").Action} Action
 * @typedef {import("../pkg/raft_wasm.js").Script} Script
 * A record of a live node has no step and no event.
 * @typedef {import("../pkg/raft_wasm.js").StoryRecord} FullRecord
 * @typedef {Omit<FullRecord, "step" | "event"> & Partial<FullRecord>} StoryRecord
 * The name is present where the number may be unknown.
 * @typedef {import("../pkg/raft_wasm.js").Follower & { name?: string }} Follower
 * @typedef {import("../pkg/raft_wasm.js").NodeDetail} FullDetail
 * @typedef {Omit<FullDetail, "followers" | "keys">} BareDetail
 * @typedef {BareDetail & { followers: Follower[], keys?: FullDetail["keys"] }} NodeDetail
 * @typedef {import("../pkg/raft_wasm.js").MessageDetail} MessageDetail
 * @typedef {import("../pkg/raft_wasm.js").LogEntry} LogEntry
 * @typedef {import("../pkg/raft_wasm.js").LogColumn} LogColumn
 * @typedef {import("../pkg/raft_wasm.js").LogWindow} LogWindow
 * @typedef {import("../pkg/raft_wasm.js").Impossible} Impossible
 * @typedef {import("../pkg/raft_wasm.js").ClientRequest} ClientRequest
 * @typedef {import("../pkg/raft_wasm.js").Asking} Asking
 * @typedef {import("../pkg/raft_wasm.js").Violation} Violation
 * @typedef {import("../pkg/raft_wasm.js").Rule} Rule
 * @typedef {import("../pkg/raft_wasm.js").Verdict} Verdict
 * @typedef {import("../pkg/raft_wasm.js").Branch & { script: Script }} Branch
 * @typedef {import("../pkg/raft_wasm.js").Comparison} Comparison
 * @typedef {import("../pkg/raft_wasm.js").Target} Target
 * @typedef {import("../pkg/raft_wasm.js").StoryGroup} StoryGroup
 * @typedef {import("../pkg/raft_wasm.js").CauseLink} CauseLink
 * @typedef {import("../pkg/raft_wasm.js").DiagramHit} DiagramHit
 *
 * `unreachable` is for real nodes: one that does not answer may run all the same.
 * @typedef {"running" | "paused" | "down" | "unreachable"} Process
 * @typedef {"follower" | "pre-candidate" | "candidate" | "leader"} Role
 *
 * What part a node has in the cluster, as the leader's membership says.
 * @typedef {object} MemberRole
 * @property {boolean} voter
 * @property {boolean} outgoing It votes until the change that is under way is done.
 * @property {boolean} learner
 * @property {boolean} joining A learner that gets a vote when it has caught up.
 * @property {boolean} witness
 *
 * @typedef {object} NodeView
 * @property {number} id
 * @property {string} name
 * @property {Process} process
 * @property {number} [seen] The moment of the last answer of a real node; 0 if there was none.
 * @property {boolean} isolated
 * @property {Role} role
 * @property {number} term
 * @property {number} vote
 * @property {string} [voteName] The name, where the number may be unknown.
 * @property {number} leader
 * @property {string} [leaderName]
 * @property {number} commit
 * @property {number} applied
 * @property {number} last
 * @property {number} durable
 * @property {{ armed: number, fires: number } | null} timer
 * @property {number} votes
 * @property {number} needed
 * @property {MemberRole} memberRole
 * @property {number} start The log begins after this entry; a snapshot holds the rest.
 *
 * @typedef {object} MessageView
 * @property {number} id
 * @property {number} from
 * @property {number} to
 * @property {number} kind
 * @property {number} entries
 * @property {number} term
 * @property {number} sentAt
 * @property {number} until When it arrives, or would have.
 *
 * @typedef {MessageView & { lostAt: number }} LostView The moment of its loss may lie ahead.
 *
 * @typedef {object} ClientMessageView
 * @property {number} id
 * @property {number} asking
 * @property {number} node
 * @property {boolean} isAnswer
 * @property {number} sentAt
 * @property {number} arrivesAt
 *
 * @typedef {object} View
 * @property {number} now In microseconds.
 * @property {NodeView[]} nodes
 * @property {Set<string>} cuts Ways that are cut, as "from-to".
 * @property {MessageView[]} messages
 * @property {LostView[]} lost
 * @property {ClientMessageView[]} clientMessages
 * @property {number} actions
 * @property {number} [done] Actions before this moment.
 * @property {number} [committed] Entries known to be committed, whichever nodes are running.
 * @property {boolean} violated
 * @property {boolean} [ended] A violation has stopped time.
 * @property {boolean} [canRedo] True if an undo can be taken back.
 * @property {boolean} joint True during a joint membership.
 * @property {boolean} [hasClient] True if clients can send requests to this cluster.
 * @property {number} [blamed] The node that a violation names.
 *
 * @typedef {{ kind: "node", id: number } | { kind: "link", a: number, b: number }
 *   | { kind: "message", id: number } | { kind: "request", id: number } | { kind: "client" }
 *   | { kind: "entry", node: number, index: number } | { kind: "rule", rule: string }
 *   | { kind: "event", record: StoryRecord } | { kind: "cluster" }} Selection
 *
 * @typedef {{ reset: boolean, records: StoryRecord[], groups?: StoryGroup[] }} StoryPart
 */

export {};
