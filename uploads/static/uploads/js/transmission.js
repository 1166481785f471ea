/**
 * The sending of one file: its connection, the digest that is made beside it, and how fast it goes. Says `finish` when
 * the digest is there. It never decides to come back; whoever listens does. Knows no page.
 */

import { Connection } from "./connection.js";
import { Digest } from "./digest.js";
import { Unreadable } from "./file-blocks.js";
import { Rate } from "./rate.js";

/** All is stored and only the digest is missing: the slot is given back after this time, until the digest is there. */
const HOLD_FOR_DIGEST_MS = 15_000;

/**
 * @typedef {object} Listener
 * @property {() => void} started it has asked for its place
 * @property {(place: import("./connection.js").Place) => void} queued
 * @property {(offset: number) => void} ready
 * @property {(offset: number, reason: string) => void} rewound the storage lost what was behind `offset`, for this cause
 * @property {(stored: number) => void} progress
 * @property {() => boolean} isStored whether the server has stored every byte
 * @property {() => void} finishing the slot was given back until the digest is there
 * @property {() => void} digested after `finishing`: time for a new connection, which says `finish`
 * @property {() => void} verifying
 * @property {(success: import("./connection.js").Success) => void} success
 * @property {() => void} cancelled
 * @property {() => void} unreadable the file was changed, moved or removed
 * @property {(ending: import("./connection.js").Ending) => void} ended the connection is lost or refused
 */

export class Transmission {
  #file;
  #listener;
  /** @type {Connection | null} */
  #connection = null;
  /** @type {Digest | null} */
  #digest = null;
  #rate = new Rate();
  /** Grows whenever what is under way becomes void, so that a late answer is known as late. */
  #turn = 0;

  /** @param {File} file @param {Listener} listener */
  constructor(file, listener) {
    this.#file = file;
    this.#listener = listener;
  }

  /** Bytes per second over the last seconds, or null while too little is known. */
  get speed() {
    return this.#rate.value;
  }

  /**
   * Opens a connection in place of the one before.
   * @param {import("./ticket.js").Ticket} ticket @param {Promise<unknown>} after when it may ask for its place
   */
  open({ uploadUrl, token }, after) {
    this.pause();
    const turn = this.#turn;
    const listener = this.#listener;
    this.#connection = new Connection(uploadUrl, token, this.#file, {
      started: listener.started,
      queued: listener.queued,
      rewound: listener.rewound,
      verifying: listener.verifying,
      success: listener.success,
      cancelled: listener.cancelled,
      ready: (offset) => {
        this.#rate.reset();
        this.#rate.add(offset);
        this.#digestTo(offset);
        listener.ready(offset);
      },
      progress: (stored) => {
        this.#rate.add(stored);
        listener.progress(stored);
      },
      sent: async (start, block) => this.#digest?.add(start, block),
      sentAll: () => this.#finish(turn),
      unreadable: listener.unreadable,
      ended: (ending) => {
        this.#connection = null;
        listener.ended(ending);
      },
    }, after);
  }

  /** Lets go of the connection: slot and place are free at once. */
  pause() {
    this.#turn += 1;
    this.#connection?.pause();
    this.#connection = null;
  }

  /** Lets go of the digest as well. */
  stop() {
    this.pause();
    this.#digest?.stop();
    this.#digest = null;
  }

  /** The network may have changed under an open connection. */
  doubt() {
    this.#connection?.doubt();
  }

  /** @param {number} turn */
  async #finish(turn) {
    const connection = this.#connection;
    let gaveBack = false;
    const giveBackSlot = setTimeout(() => {
      if (turn !== this.#turn || !this.#listener.isStored()) return;
      gaveBack = true;
      connection?.pause();
      this.#connection = null;
      this.#listener.finishing();
    }, HOLD_FOR_DIGEST_MS);
    try {
      const sha256 = await this.#digestTo(this.#file.size).result;
      if (turn !== this.#turn) return;
      if (gaveBack) this.#listener.digested();
      else connection?.finish(sha256);
    } catch (error) {
      if (!(error instanceof Unreadable)) throw error;
      if (turn === this.#turn) this.#listener.unreadable();
    } finally {
      clearTimeout(giveBackSlot);
    }
  }

  /** @param {number} offset where the bytes end that are at the server */
  #digestTo(offset) {
    this.#digest ??= new Digest(this.#file);
    this.#digest.readTo(offset);
    return this.#digest;
  }
}
