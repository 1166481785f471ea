/**
 * The browser's own SHA-256 of a file, made in a worker beside the sending. Workers that are done are used again: to
 * start one costs more than to digest a small file.
 */

/** How far the digest may read ahead of the sending, in bytes. */
const AHEAD = 32 * 1024 * 1024;
/** As many as may run side by side, and no more, wait for their next file. */
const MOST_IDLE = 8;

/** @type {Worker[]} */
const idle = [];

const newWorker = () => new Worker(new URL("./digest-worker.js", import.meta.url), { type: "module" });

/** The file on disk was changed, moved or removed since it was chosen. */
export class Unreadable extends Error {}

export class Digest {
  /** @type {Worker | null} */
  #worker;

  /** @param {File} file */
  constructor(file) {
    const worker = (this.#worker = idle.pop() ?? newWorker());
    /**
     * Hexadecimal; null where this browser cannot make one (an upload may do without); rejects with `Unreadable`.
     * @type {Promise<string | null>}
     */
    this.result = new Promise((resolve, reject) => {
      worker.onmessage = ({ data }) => {
        if (data.unreadable) reject(new Unreadable());
        else resolve(data.sha256 ?? null);
        if (data.unavailable || idle.length >= MOST_IDLE) return this.stop();
        this.#worker = null;
        idle.push(worker);
      };
      worker.onerror = () => {
        resolve(null);
        this.stop();
      };
    });
    this.result.catch(() => {}); // whoever waits for it hears of it; nobody may be waiting yet
    worker.postMessage({ file });
  }

  /** Lets the digest keep pace with the sending. @param {number} offset bytes sent */
  follow(offset) {
    this.#worker?.postMessage({ allowed: offset + AHEAD });
  }

  /** Gives it up. */
  stop() {
    this.#worker?.terminate();
    this.#worker = null;
  }
}

/** Whether the file can still be read as it was when it was chosen. @param {File} file */
export async function isReadable(file) {
  try {
    await file.slice(0, 1).arrayBuffer();
    return true;
  } catch {
    return false;
  }
}
