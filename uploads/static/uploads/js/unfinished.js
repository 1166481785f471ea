/**
 * What this browser remembers of uploads that are not finished, so that they go on after a reload. The token stays on
 * this device and is forgotten when the upload ends. One entry of localStorage an upload: tabs do not overwrite each
 * other.
 */

const PREFIX = "directdrivex.unfinished.";
const CHANNEL = "directdrivex.tabs";
const ANSWER_MS = 250;

/**
 * @typedef {object} Unfinished
 * @property {string} fileId
 * @property {string} token
 * @property {string} uploadUrl
 * @property {string} shareUrl
 * @property {string} expiresAt RFC 3339
 * @property {string} name
 * @property {number} size
 * @property {number} lastModified
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

/** @returns {Unfinished[]} those whose time is not over */
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
  return entries;
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

/** Whether `file` is the one that the entry speaks of. @param {Unfinished} entry @param {File} file */
export const isSame = (entry, file) =>
  entry.name === file.name && entry.size === file.size && entry.lastModified === file.lastModified;

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
