/** The states of an upload on this page, and what belongs to them. */

/**
 * waiting: on this device, for its turn. held: the server refused others of its batch, and the person decides. queued:
 * in the server's line. finishing: all is sent, the digest is not ready. lost: comes back by itself. elsewhere: another
 * tab took it over. unreadable: the file must be chosen again. refused: the server does not want this file. deleted:
 * it was complete, and its sender removed it. The others speak for themselves.
 * @typedef {"waiting" | "held" | "announcing" | "connecting" | "queued" | "uploading" | "finishing" | "verifying"
 *   | "lost" | "paused" | "done" | "failed" | "refused" | "cancelled" | "deleted" | "elsewhere" | "unreadable"} State
 */

/** @param {...State} states @returns {ReadonlySet<State>} */
const set = (...states) => new Set(states);

/** Each takes one of the few places that the page keeps at the server; a lost one may, too. */
export const AT_THE_SERVER = set("announcing", "connecting", "queued", "uploading", "finishing", "verifying");
export const PAUSABLE = set("waiting", "announcing", "connecting", "queued", "uploading", "lost");
/** Over, well or not: only the entry is left. */
export const OVER = set("done", "failed", "refused", "cancelled", "deleted", "elsewhere", "unreadable");
/** Over, with nothing left to do about it. */
export const SETTLED = set("done", "cancelled", "deleted", "elsewhere");
/** They go on by themselves: leaving the page would interrupt them. */
export const UNDER_WAY = set("waiting", "lost", ...AT_THE_SERVER);
/** Nothing of them is to be sent any more, so they count in no total. */
export const LEFT_OUT = set("cancelled", "refused", "deleted");
export const FAILED = set("failed", "refused", "unreadable");
