/** Which uploads of a group have a row. Thousands would make the page slow, and nobody reads them. */

import { AT_THE_SERVER } from "./states.js";

/** @typedef {import("./upload.js").Upload} Upload @typedef {import("./states.js").State} State */

/** Those that somebody may want to do something about. @type {State[]} */
const CONCERNING = ["failed", "refused", "unreadable", "elsewhere"];
/** @type {State[]} */
const TO_COME = ["waiting", "held", "paused"];
/** @type {State[]} */
const BEHIND = ["done", "cancelled", "deleted"];
const MOST_CONCERNING = 100;

/**
 * All of them where they are few. Else those at the server, those that failed, the next ones and the latest ones.
 * @param {import("./group.js").Group} group @param {number} most of those that nothing is to be said of
 * @returns {Upload[]} in the order chosen
 */
export function rowsOf(group, most) {
  const { tally } = group;
  if (group.uploads.length <= most) return [...group.uploads];
  const toCome = first(tally.list(TO_COME), Math.ceil(most / 2), group);
  const isBegun = group.standing !== "new" || group.isEager;
  const shown = [
    ...tally.list([...AT_THE_SERVER, "lost"]),
    ...tally.list(CONCERNING).slice(0, MOST_CONCERNING),
    ...(isBegun ? toCome : []),
    ...tally.list(BEHIND).slice(-Math.floor(most / 2)),
  ];
  return shown.sort((a, b) => group.orderOf(a) - group.orderOf(b));
}

/** @param {Upload[]} uploads @param {number} count @param {import("./group.js").Group} group */
function first(uploads, count, group) {
  return uploads.sort((a, b) => group.orderOf(a) - group.orderOf(b)).slice(0, count);
}

/**
 * How many have no row, by what can be said of them.
 * @param {import("./group.js").Group} group @param {Iterable<Upload>} shown
 */
export function restOf(group, shown) {
  /** @type {Record<"complete" | "cancelled" | "failed" | "paused" | "waiting", number>} */
  const rest = {
    complete: group.tally.number(["done"]),
    cancelled: group.tally.number(["cancelled", "deleted"]),
    failed: group.tally.number(CONCERNING),
    paused: group.tally.number(["paused"]),
    waiting: group.tally.number(["waiting", "held"]),
  };
  for (const { state } of shown) {
    if (state === "done") rest.complete -= 1;
    else if (state === "cancelled" || state === "deleted") rest.cancelled -= 1;
    else if (CONCERNING.includes(state)) rest.failed -= 1;
    else if (state === "paused") rest.paused -= 1;
    else if (state === "waiting" || state === "held") rest.waiting -= 1;
  }
  return rest;
}
