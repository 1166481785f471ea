/** The browser's own SHA-256 of a file, made in a worker beside the sending. */

/** How far the digest may read ahead of the sending, in bytes. */
const AHEAD = 32 * 1024 * 1024;

/** The file on disk was changed, moved or removed since it was chosen. */
export class Unreadable extends Error {}

export class Digest {
  #worker;

  /** @param {File} file */
  constructor(file) {
    this.#worker = new Worker(new URL("./digest-worker.js", import.meta.url), { type: "module" });
    /**
     * Hexadecimal; null where this browser cannot make one (an upload may do without); rejects with `Unreadable`.
     * @type {Promise<string | null>}
     */
    this.result = new Promise((resolve, reject) => {
      this.#worker.onmessage = ({ data }) => {
        if (data.unreadable) reject(new Unreadable());
        else resolve(data.sha256 ?? null);
        this.stop();
      };
      this.#worker.onerror = () => {
        resolve(null);
        this.stop();
      };
    });
    this.result.catch(() => {}); // whoever waits for it hears of it; nobody may be waiting yet
    this.#worker.postMessage({ file });
  }

  /** Lets the digest keep pace with the sending. @param {number} offset bytes sent */
  follow(offset) {
    this.#worker.postMessage({ allowed: offset + AHEAD });
  }

  stop() {
    this.#worker.terminate();
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
