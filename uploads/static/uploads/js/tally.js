/**
 * The uploads of a group by their state, with the sums that its head shows. Each change costs the same, however many
 * there are.
 */

import { LEFT_OUT, OVER, UNDER_WAY } from "./states.js";

/** @typedef {import("./upload.js").Upload} Upload @typedef {import("./states.js").State} State */
/** @typedef {{state: State, place: string, size: number, stored: number}} Known an upload as it was counted last */

/** @type {ReadonlySet<Upload>} */
const NONE = new Set();

export class Tally {
  /** @type {Map<Upload, Known>} */
  #known = new Map();
  /** By state; those that somebody wants first have a place of their own. @type {Map<string, Set<Upload>>} */
  #places = new Map();
  /** Bytes in all of what is to be sent, or was. */
  size = 0;
  stored = 0;
  /** Bytes that will still go by themselves. */
  left = 0;
  /** How many files the bytes are of. */
  files = 0;
  /** How many are not over. */
  open = 0;
  /** How many that were done have left the list. */
  cleared = 0;

  /** Counts the upload as it is now; true where its state changed. @param {Upload} upload */
  count(upload) {
    const before = this.#known.get(upload);
    const place = upload.state === "waiting" && upload.urgent ? "urgent" : upload.state;
    const now = { state: upload.state, place, size: upload.size, stored: upload.stored };
    if (before) this.#sum(before, -1);
    this.#sum(now, 1);
    if (before?.place !== place) {
      if (before) this.#places.get(before.place)?.delete(upload);
      if (!this.#places.has(place)) this.#places.set(place, new Set());
      this.#places.get(place)?.add(upload);
    }
    this.#known.set(upload, now);
    return before?.state !== now.state;
  }

  /** Forgets the upload; one that is done stays in the sums, as its bytes stay behind the link. @param {Upload} upload */
  drop(upload) {
    const before = this.#known.get(upload);
    if (!before) return;
    if (before.state === "done") this.cleared += 1;
    else this.#sum(before, -1);
    this.#places.get(before.place)?.delete(upload);
    this.#known.delete(upload);
  }

  /** @param {Known} known @param {1 | -1} sign */
  #sum({ state, size, stored }, sign) {
    if (!OVER.has(state)) this.open += sign;
    if (LEFT_OUT.has(state)) return;
    this.files += sign;
    this.size += sign * size;
    this.stored += sign * stored;
    if (UNDER_WAY.has(state)) this.left += sign * (size - stored);
  }

  /** How many uploads are in one of these states. @param {Iterable<State>} states */
  number(states) {
    let sum = 0;
    for (const state of states) sum += this.in(state).size + (state === "waiting" ? this.#urgent.size : 0);
    return sum;
  }

  /** Without those that wait before the others. @param {State} state @returns {ReadonlySet<Upload>} */
  in(state) {
    return this.#places.get(state) ?? NONE;
  }

  /** @returns {ReadonlySet<Upload>} */
  get #urgent() {
    return this.#places.get("urgent") ?? NONE;
  }

  /** The one whose turn is first among those that somebody asked for. @returns {Upload | undefined} */
  get firstUrgent() {
    return this.#urgent.values().next().value;
  }

  /** @returns {Upload | undefined} */
  get firstWaiting() {
    return this.firstUrgent ?? this.in("waiting").values().next().value;
  }

  /** @param {Iterable<State>} states @returns {Upload[]} */
  list(states) {
    return Array.from(states).flatMap((state) => [...(state === "waiting" ? this.#urgent : []), ...this.in(state)]);
  }
}
