// What the parts of the page say to each other.

/**
 * @typedef {import("./pkg/raft_wasm.js").Action} Action
 * @typedef {import("./pkg/raft_wasm.js").Script} Script
 * @typedef {import("./pkg/raft_wasm.js").StoryRecord} StoryRecord
 * @typedef {import("./pkg/raft_wasm.js").NodeDetail} NodeDetail
 * @typedef {import("./pkg/raft_wasm.js").MessageDetail} MessageDetail
 * @typedef {import("./pkg/raft_wasm.js").LogEntry} LogEntry
 * @typedef {import("./pkg/raft_wasm.js").ClientRequest} ClientRequest
 * @typedef {import("./pkg/raft_wasm.js").Asking} Asking
 * @typedef {import("./pkg/raft_wasm.js").Violation} Violation
 *
 * @typedef {"running" | "paused" | "down"} Process
 * @typedef {"follower" | "pre-candidate" | "candidate" | "leader"} Role
 *
 * @typedef {object} NodeView
 * @property {number} id
 * @property {string} name
 * @property {Process} process
 * @property {boolean} isolated
 * @property {Role} role
 * @property {number} term
 * @property {number} vote
 * @property {number} leader
 * @property {number} commit
 * @property {number} applied
 * @property {number} last
 * @property {number} durable
 * @property {{ armed: number, fires: number } | null} timer
 * @property {number} votes
 * @property {number} needed
 *
 * @typedef {object} MessageView
 * @property {number} id
 * @property {number} from
 * @property {number} to
 * @property {number} kind
 * @property {number} entries
 * @property {number} term
 * @property {number} sentAt
 * @property {number} until
 *
 * @typedef {object} LetterView
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
 * @property {MessageView[]} lost
 * @property {LetterView[]} letters
 * @property {number} actions
 * @property {boolean} violated
 *
 * @typedef {{ kind: "node", id: number } | { kind: "link", a: number, b: number } | { kind: "message", id: number }} Selection
 *
 * @typedef {{ reset: boolean, records: StoryRecord[] }} StoryPart
 */

export {};
