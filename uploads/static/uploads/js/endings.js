/** What the close of a socket means for the upload (the table of wire.md). */

/** @typedef {import("./connection.js").Ending} Ending */

/** After these the upload comes back by itself; 1014 and 1015 are a proxy's, 1000 without a word nobody's. */
const RETRYABLE_CLOSES = new Set([1000, 1001, 1005, 1006, 1011, 1012, 1013, 1014, 1015, 4408]);
/** With these causes the upload itself is at an end, and another try is a new upload. */
const NO_WAY_BACK = new Set(["not_found", "gone", "unauthorized", "checksum_mismatch", "wrong_state", "cancelled"]);

/** @param {Ending} ending */
export const isRetryable = (ending) => ending.retryable ?? RETRYABLE_CLOSES.has(ending.closeCode);

/** @param {Ending} ending */
export const hasNoWayBack = (ending) => NO_WAY_BACK.has(ending.code);

/** Another connection took the upload over. @param {Ending} ending */
export const isSuperseded = (ending) => ending.code === "superseded" || ending.closeCode === 4409;

/** The server wants nothing at all from this person for a while; the file is not to blame. */
const FOR_EVERYTHING = new Set(["rate_limited", "maintenance", "queue_full"]);

/** @param {{code: string}} refusal an ending, or a problem */
export const holdsEverything = (refusal) => FOR_EVERYTHING.has(refusal.code);
