/** Speed as it was over the last seconds, so that the time left neither jumps nor lags. */

const SPAN_MS = 6000;

export class Rate {
  /** @type {{at: number, bytes: number}[]} */
  #samples = [];

  /** Forgets what was, as after a pause or a rewind. */
  reset() {
    this.#samples = [];
  }

  /** @param {number} bytes in all @param {number} [at] milliseconds */
  add(bytes, at = performance.now()) {
    this.#samples.push({ at, bytes });
    while (this.#samples.length > 2 && this.#samples[1].at <= at - SPAN_MS) this.#samples.shift();
  }

  /** Bytes per second, or null while too little is known. */
  get value() {
    const first = this.#samples[0];
    const last = this.#samples[this.#samples.length - 1];
    if (!first || last.at - first.at < 500) return null;
    return ((last.bytes - first.bytes) / (last.at - first.at)) * 1000;
  }
}
