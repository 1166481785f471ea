/**
 * The browser's own SHA-256 of a file, made in a worker from the blocks that were sent: the file is read once. What
 * was sent by an earlier visit, and so never passes here, the worker reads by itself.
 */

import { recycle, Unreadable } from "./file-blocks.js";

/** How many blocks may wait for the worker. More would only be memory: the digest is needed at the end all the same. */
const MOST_WAITING = 4;
/** As many as may run side by side, and no more, wait for their next file. */
const MOST_IDLE_WORKERS = 8;

/** @type {Worker[]} A worker costs more than the digest of a small file, so the next file gets a used one. */
const idleWorkers = [];

export class Digest {
  /** @type {Worker | null} */
  #worker;
  /** Where the bytes end that the worker has, or has been told to read. */
  #given = 0;
  /** The worker reads by itself and is not known to have come to `#given`. */
  #isBehind = false;
  #waiting = 0;
  /** @type {() => void} */
  #tellRoom = () => {};

  /** @param {File} file */
  constructor(file) {
    const worker = (this.#worker = idleWorkers.pop() ?? startWorker());
    /**
     * Hexadecimal; null where this browser cannot make one (an upload may do without); rejects with `Unreadable`.
     * @type {Promise<string | null>}
     */
    this.result = new Promise((resolve, reject) => {
      worker.onmessage = ({ data }) => {
        if (data.spare) this.#takeBack(data.spare);
        else if (data.level !== undefined) this.#isBehind &&= data.level !== this.#given;
        else {
          if (data.unreadable) reject(new Unreadable());
          else resolve(data.sha256 ?? null);
          this.#letGo(data.sha256 !== undefined);
        }
      };
      worker.onerror = () => {
        resolve(null);
        this.#letGo(false);
      };
    });
    this.result.catch(() => {}); // whoever waits for it hears of it; nobody may be waiting yet
    worker.postMessage({ file });
  }

  /**
   * Takes over a block of the file, which is no longer the caller's, and resolves when there is room for the next.
   * @param {number} start where in the file it stands, in bytes @param {Uint8Array<ArrayBuffer>} block
   */
  async add(start, block) {
    const end = start + block.length;
    if (!this.#worker || end <= this.#given) return recycle(block.buffer);
    if (this.#isBehind || start > this.#given) {
      this.readTo(end);
      return recycle(block.buffer);
    }
    const fresh = block.subarray(this.#given - start);
    this.#given = end;
    this.#waiting += 1;
    this.#worker.postMessage({ block: fresh }, [block.buffer]);
    if (this.#waiting >= MOST_WAITING) await new Promise((resolve) => (this.#tellRoom = () => resolve(undefined)));
  }

  /** Makes the worker read what lies before `offset` and was not added. @param {number} offset in bytes */
  readTo(offset) {
    if (offset <= this.#given) return;
    this.#given = offset;
    this.#isBehind = true;
    this.#worker?.postMessage({ readTo: offset });
  }

  /** Ends it; without a result, if there is none yet. */
  stop() {
    this.#letGo(false);
  }

  /** @param {ArrayBuffer} buffer */
  #takeBack(buffer) {
    recycle(buffer);
    this.#waiting -= 1;
    if (this.#waiting < MOST_WAITING) this.#tellRoom();
  }

  /** @param {boolean} isIdle whether the worker is ready for another file */
  #letGo(isIdle) {
    const worker = this.#worker;
    this.#worker = null;
    this.#tellRoom();
    if (!worker) return;
    if (isIdle && idleWorkers.length < MOST_IDLE_WORKERS) idleWorkers.push(worker);
    else worker.terminate();
  }
}

function startWorker() {
  return new Worker(new URL("./digest-worker.js", import.meta.url), { type: "module" });
}
