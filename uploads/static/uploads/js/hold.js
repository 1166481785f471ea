/** A pause of the whole page: the server asked for it, and no file is to blame. Knows no page. */

import { pauseBefore } from "./backoff.js";

/** @typedef {{code: string, message: string, retryAfter: number | null}} Cause seconds */

/** Tells of `change` when it begins, grows longer, or is over. */
export class Hold extends EventTarget {
  /** When it ends by itself, in milliseconds of `Date.now()`; 0 when there is none. */
  until = 0;
  /** The server's code for the cause. */
  code = "";
  /** The server's sentence. */
  message = "";
  #inARow = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  get isOn() {
    return this.until > 0;
  }

  /** @param {Cause} cause */
  begin(cause) {
    // Those that were under way together hear the same together: that is one refusal, not one more in a row.
    if (!this.isOn) this.#inARow += 1;
    const until = Date.now() + pauseBefore(this.#inARow, cause.retryAfter) * 1000;
    if (this.isOn && until <= this.until) return;
    this.until = until;
    this.code = cause.code;
    this.message = cause.message;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.end(), until - Date.now());
    this.dispatchEvent(new Event("change"));
  }

  end() {
    clearTimeout(this.#timer);
    if (!this.isOn) return;
    this.until = 0;
    this.dispatchEvent(new Event("change"));
  }

  /** Something went through: the next refusal is a new one. */
  passed() {
    this.#inARow = 0;
  }
}
