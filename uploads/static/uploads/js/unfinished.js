/**
 * What this browser remembers of uploads that are not finished, so that they go on after a reload. The token stays on
 * this device and is forgotten when the upload ends. One entry of localStorage an upload: tabs do not overwrite each
 * other. Of a batch, the entries of finished files stay until all of it is over: when its folder is chosen again, they
 * are known as sent.
 */

const PREFIX = "directdrivex.unfinished.";
const CHANNEL = "directdrivex.tabs";
const ANSWER_MS = 250;

/**
 * @typedef {object} BatchNote the batch that an upload belongs to
 * @property {string} id
 * @property {string} url
 * @property {string} title may be empty
 * @property {number} files how many it has
 *
 * @typedef {object} Unfinished
 * @property {string} fileId
 * @property {string} token
 * @property {string} uploadUrl
 * @property {string} shareUrl
 * @property {string} expiresAt RFC 3339
 * @property {string} name
 * @property {number} size
 * @property {number} lastModified
 * @property {string} [path]
 * @property {BatchNote | null} [batch]
 * @property {boolean} [isProtected] it has a password or limits, which are not kept here
 * @property {boolean} [done] it is finished, others of its batch are not
 */

/** @param {Unfinished} entry */
export function remember(entry) {
  try {
    localStorage.setItem(PREFIX + entry.fileId, JSON.stringify(entry));
  } catch {
    // Storage is full or switched off: the upload goes on, it only will not survive a reload.
  }
}

/** @param {string} fileId */
export function forget(fileId) {
  try {
    localStorage.removeItem(PREFIX + fileId);
  } catch {
    // Switched off, as above.
  }
}

/** The upload is finished. @param {Unfinished} entry */
export function settle(entry) {
  if (entry.batch) remember({ ...entry, done: true });
  else forget(entry.fileId);
}

/** @returns {Unfinished[]} those whose time is not over, and of their batches what is done */
export function remembered() {
  /** @type {Unfinished[]} */
  const entries = [];
  try {
    for (const key of Object.keys(localStorage).filter((key) => key.startsWith(PREFIX))) {
      const entry = readEntry(localStorage.getItem(key));
      if (entry && Date.parse(entry.expiresAt) > Date.now()) entries.push(entry);
      else localStorage.removeItem(key);
    }
  } catch {
    // Switched off, as above.
  }
  const open = new Set(entries.map((entry) => (entry.done ? null : entry.batch?.id)));
  const [kept, over] = [true, false].map((is) => entries.filter((entry) => is === (!entry.done || open.has(entry.batch?.id))));
  for (const entry of over) forget(entry.fileId);
  return kept;
}

/** @param {string | null} text @returns {Unfinished | null} */
function readEntry(text) {
  try {
    const entry = JSON.parse(text ?? "");
    return typeof entry.fileId === "string" && typeof entry.token === "string" ? entry : null;
  } catch {
    return null;
  }
}

/** Finds the remembered upload of a file that was chosen. */
export class Memory {
  /** @type {Map<string, Unfinished[]>} */
  #entries = new Map();

  /** @param {Unfinished[]} entries */
  constructor(entries) {
    // Where a file was sent twice, the upload that is open is the one to go on with.
    for (const entry of [...entries].sort((a, b) => Number(a.done ?? false) - Number(b.done ?? false))) {
      const key = keyOf(entry);
      this.#entries.set(key, [...(this.#entries.get(key) ?? []), entry]);
    }
  }

  /**
   * Takes out the entry that speaks of this file: one that lay in the same folder, if there are several.
   * @param {import("./dropped.js").Chosen} chosen @returns {Unfinished | null}
   */
  take({ file, path }) {
    const found = this.#entries.get(keyOf(file));
    if (!found?.length) return null;
    const same = found.findIndex((entry) => (entry.path ?? "") === path);
    return found.splice(Math.max(0, same), 1)[0];
  }
}

/** @param {{name: string, size: number, lastModified: number}} file */
const keyOf = ({ name, size, lastModified }) => `${size} ${lastModified} ${name}`;

/**
 * Answers other tabs that ask which uploads live here.
 * @param {() => string[]} fileIds
 */
export function answerOtherTabs(fileIds) {
  const channel = new BroadcastChannel(CHANNEL);
  channel.onmessage = (event) => {
    if (event.data === "who") channel.postMessage({ here: fileIds() });
  };
}

/** The uploads that live in other tabs of this browser. @returns {Promise<Set<string>>} */
export function inOtherTabs() {
  return new Promise((resolve) => {
    const channel = new BroadcastChannel(CHANNEL);
    /** @type {Set<string>} */
    const found = new Set();
    channel.onmessage = (event) => event.data.here?.forEach((/** @type {string} */ id) => found.add(id));
    channel.postMessage("who");
    setTimeout(() => {
      channel.close();
      resolve(found);
    }, ANSWER_MS);
  });
}
