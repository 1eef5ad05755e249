/** A range of durations in microseconds, both ends included. */
export interface Span { min: number; max: number }

/** The configuration of a world. Times are in microseconds. */
export interface WorldConfig {
  nodes?: number;
  founders?: number;
  witnesses?: number[];
  /** The terms of the entries of the initial logs. */
  initial_logs?: number[][];
  seed?: number;
  election_timeout?: Span;
  heartbeat_interval?: number;
  pre_vote?: boolean;
  check_quorum?: boolean;
  log_cache_bytes_max?: number;
  append_bytes_max?: number;
  lease_drift_ppm?: number;
  write_stall_max?: number;
  snapshot_every?: number;
  snapshot_retain?: number;
  snapshot_chunk_bytes_max?: number;
  latency?: Span;
  latency_shape?: "uniform" | "exponential" | "long-tailed";
  bandwidth?: number;
  loss_per_mille?: number;
  duplicate_per_mille?: number;
  reorder?: boolean;
  sync_latency?: Span;
  reorder_syncs?: boolean;
  clients?: number;
  think_time?: Span;
  key_count?: number;
  lease_clients?: number;
  lease_ttl?: number;
  watch_clients?: number;
  txn_clients?: number;
  request_timeout?: number;
  record_events?: boolean;
  count_coverage?: boolean;
  /** Rules that servers do not follow; only in the module with `sabotage`. */
  disabled_rules?: string[];
}

/** A request of a client. */
export type ClientRequest =
  | { op: "put"; key: string; value: string }
  | { op: "get"; key: string }
  | { op: "delete"; key: string }
  | { op: "cas"; key: string; expected: string | null; value: string };

/** An action on a world. */
export type Action =
  | { do: "crash" | "restart" | "pause" | "resume" | "fire-timer" | "fail-disk" | "isolate" | "reconnect"; node: number }
  | { do: "power-cut" | "heal-network" | "stop-clients" | "go-on" }
  | { do: "wipe-disk" | "destroy-disk" | "fill-disk" | "free-disk"; node: number }
  | { do: "corrupt-entry" | "misdirect-write"; node: number; back: number }
  | { do: "set-sync-latency"; node: number; sync_latency: Span }
  | { do: "jump-clock"; node: number; by: number }
  | { do: "set-clock"; node: number; drift: number }
  | { do: "cut-link" | "heal-link"; from: number; to: number }
  | { do: "partition"; groups: number[][] }
  | { do: "set-network"; latency: Span; loss_per_mille: number; duplicate_per_mille: number }
  | { do: "set-latency"; from: number; to: number; latency: Span }
  | { do: "drop-message" | "duplicate-message" | "deliver-message"; message: number }
  | { do: "delay-message"; message: number; by: number }
  | { do: "hold-messages" | "release-messages" | "align-timers" | "spread-timers" }
  | { do: "set-loss"; from: number; to: number; loss_per_mille: number }
  | { do: "take-snapshot"; node: number }
  | { do: "change-membership"; voters: number[]; learners?: number[]; joining?: number[] }
  | { do: "transfer"; to: number }
  | { do: "request"; via?: number; request: ClientRequest };

/** A run: a configuration, and the actions in order of time. */
export interface Script { config?: WorldConfig; actions?: (Action & { at: number })[] }

/** One branch of a run. Branches form a tree; the first has no parent. Times are in microseconds. */
export interface Branch {
  id: number; name?: string; parent?: number;
  /** The earliest time of a difference from the parent, and the number of shared actions. */
  forked_at: number; shared: number;
  /** The number of all its actions, and the first action after the fork. */
  actions: number; first?: Action & { at: number };
  /** The latest visited time. */
  reached: number;
  shown: boolean;
}

/** The differences of two branches. The first element of each pair belongs to the first branch. */
export interface Comparison {
  shared: number;
  /** The first difference; absent if there is none so far. Pairs may contain null. */
  parting?: { at: number; actions: ((Action & { at: number }) | null)[]; events: (StoryRecord | null)[] };
  /** The state at the latest visited time of each branch. */
  endings: { at: number; leader?: number; term: number; committed: number; violation?: Violation }[];
}

/** The end of a search. */
export type Target =
  | { to: "election" | "commit" | "violation" }
  | { to: "message"; node?: number }
  | { to: "event"; node: number }
  | { to: "condition"; node: number; condition: Condition };

/** A condition on a node. */
export type Condition =
  | { is: "leader" | "candidate" | "follower" | "down" }
  | { is: "term" | "log" | "commit" | "applied"; least: number };

/** The state of a search. Call again after `working`; after `bound` and `ended` the target was not found. */
export type Progress = "reached" | "working" | "bound" | "ended";

export type StoryKind = "election" | "replication" | "snapshot" | "commit" | "read" | "client" | "fault" | "violation";

/** A record of the event log, as a sentence and as data. */
export interface StoryRecord {
  id: number; at: number; node?: number; kind: StoryKind; text: string; source?: string;
  /** The step of the world that emitted the record. */
  step: number;
  /** The name of the event, such as "vote-refused", and its parameters. */
  event: string;
  term?: number; peer?: number; first?: number; index?: number; votes?: number; needed?: number;
  pre_vote?: boolean; granted?: boolean; operation?: number; invariant?: string;
}

/** Records that belong together, under one sentence. */
export interface StoryGroup {
  /** The number of the first record, and all numbers. */
  id: number; records: number[];
  /** The moment of the first record, and of the one that decided how the group ended. */
  at: number; decided_at: number;
  node?: number;
  kind: "election" | "entry" | "repair" | "read" | "request" | "snapshot" | "membership" | "transfer" | "action" | "violation" | "other";
  text: string;
  term?: number;
}

/** A step of the world: an event at a node, with everything that the node does at once because of it. */
export interface Step {
  id: number; at: number; node?: number;
  trigger: "start" | "action" | "timer" | "message" | "client-message" | "disk" | "snapshot" | "client";
  /** The number of the message that arrives. */
  message?: number;
  /** The step that led to it; 0 for none. */
  parent: number;
}

/** The way of a message between servers. */
export interface Flight {
  id: number; from: number; to: number; kind: string; entries: number; term: number;
  sent_at: number; arrives_at: number; lost_at?: number;
  /** The step that sent it. */
  step: number;
}

/** A step in a chain of causes, with its records, and the message whose arrival it is. */
export interface CauseLink { step: Step; records: StoryRecord[]; flight?: Flight }

/**
 * What lies at a place of a painted diagram: the moment, the node in whose lane it is, and the message or the record of a
 * mark that is near.
 *
 * The packed diagram (`Simulation.diagram`) has `from`, `to`, the numbers of stretches, flights and marks, and then those:
 * - node, from, to, process (0 runs, 1 paused, 2 down), role (as in the picture), term of each stretch of a lane;
 * - id, from, to, kind (as in the picture), entries, term, sent at, arrives at, lost at (-1 if not lost), step of each flight;
 * - moment, node (0 for none), kind (0 leader, 1 candidate, 2 commit, 3 fault, 4 violation), record, number (a leader's term,
 *   the index of a commit) of each mark.
 * Windows of more than a minute have no flights, and only the most important marks.
 */
export interface DiagramHit { at: number; node?: number; message?: number; record?: number }

export interface LogEntry { index: number; term: number; text: string }

/** A position of the logs, or a folded range of positions with both ends included. */
export interface LogColumn { from: number; to: number }

/** The log of a node: the position before its first entry, and the entries that are not folded. */
export interface LogRow { start: number; last: number; entries: LogEntry[] }

/** The shown part of all logs. */
export interface LogWindow { columns: LogColumn[]; rows: LogRow[] }

export interface Follower {
  id: number; next_index: number; match_index: number; probing: boolean; in_flight: number;
}

/** The membership that a server considers effective. It is joint while `outgoing` is not empty. */
export interface Membership {
  voters: number[]; outgoing: number[]; learners: number[]; joining: number[]; witnesses: number[];
}

/** The details of a node. The state of the process is absent if the process is down. */
export interface NodeDetail {
  id: number;
  process: "running" | "paused" | "down";
  reason?: string;
  isolated: boolean;
  role?: "follower" | "pre-candidate" | "candidate" | "leader";
  term?: number;
  vote?: number;
  leader?: number;
  commit_index?: number;
  applied_index?: number;
  durable_index?: number;
  last_index?: number;
  last_term?: number;
  log_start?: number;
  membership?: Membership;
  votes: [number, boolean][];
  followers: Follower[];
  keys: { key: string; value: string; mod_revision: number }[];
}

/** The details of a message that is in flight or was lost recently. */
export interface MessageDetail {
  id: number; from: number; to: number; kind: string; sent_at: number; arrives_at: number; lost_at?: number;
  fields: [string, string][];
}

/** A request of a client, and its state. */
export interface Asking {
  id: number; client: number; request: ClientRequest; invoked: number; returned?: number;
  state: { state: "waiting" | "unknown" } | { state: "done"; found?: string; succeeded: boolean };
  attempts: number; node: number;
}

/** A rule of the core that the module of the lab can disable (`coreRules`). */
export interface CoreRule { name: string; text: string; source: string }

/** A run that violates an invariant (`trySeed`, `shrinkScript`). */
export interface Found { seed: number; script: Script; violation: Violation }

/** The condition of a task of a lesson, which the module in `lab/` checks (`checkTask`): an object of course/lessons.js, with the name of the condition and its parameters. */
export interface Check { check: string; [parameter: string]: unknown }

/** The course: the default export of course/lessons.js in the package. Times are in microseconds. */
export interface Course { lessons: Lesson[]; guide: Guide; quiz: { pass: number; must: number[]; question: Question[] } }

/** A question; `right` are the positions of the right answers. */
export interface Question { question: string; options: string[]; right: number[]; explanation: string }

export interface Lesson {
  id: string; number: number; title: string; source: string; short_course: boolean;
  goal: string; opening: string; takeaway: string; story: string | null;
  /** The run of the question, which is asked at `predict.at`, and whose answer is seen at `predict.until`. */
  script: Script; t0: number; predict: Question & { at: number; until: number };
  /** Each task begins at its `t0`. The check of an `untouched` task is true after some waiting. */
  tasks: { text: string; hint: string; check: Check; untouched: boolean; script: Script; t0: number; solution: Script }[];
  /** Scripts with `rules` need the module with `sabotage`. */
  breaks: { text: string; rules: string[]; invariant: string | null; script: Script; until: number }[];
}

/** The guided first minute. A step first runs to its target and waits, in seconds; then its sentence is shown. */
export interface Guide {
  config: WorldConfig;
  step: { text: string; points_at: string; run_to?: Target; wait: number; action?: "crash-leader" | "restart-crashed" }[];
}

/** A scenario: the default export of course/scenarios.js in the package is a list of them. */
export interface Scenario {
  id: string; title: string; lesson: string; source: string | null; from: number; until: number;
  variants: { variant: string; expected: string | null; script: Script }[];
  sabotaged: { variant: string; rules: string[]; expected: string; script: Script }[];
}

/** A rule that does not hold. */
export interface Violation { invariant: string; text: string; at: number }

/** An invariant: its key in a violation, its name, and whether a run of the page can violate it. */
export interface Rule { rule: string; text: string; checked: boolean }

/** An action of a script that is impossible with this configuration, by position. */
export interface Impossible { position: number; problem: string }

/** The verdict on the history of the clients. */
export type Verdict = { at: number; operations: number } & (
  | { finding: "holds" }
  | { finding: "broken"; violation: Violation }
  | { finding: "unknown"; reason: string }
);
