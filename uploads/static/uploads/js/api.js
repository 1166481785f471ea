/** The HTTP half of the wire contract, as far as the pages need it. */

import { gettext } from "./i18n.js";

const ROOT = "/api/v1/";
const TIMEOUT_MS = 30_000;
/** A thousand files are announced, or cancelled, by one call. */
const BATCH_TIMEOUT_MS = 120_000;

/** A refusal by the server (RFC 9457), or `network` when no answer came. */
export class Problem extends Error {
  /**
   * @param {{code: string, detail: string, status?: number, retryable?: boolean, retry_after?: number | null}} body
   */
  constructor(body) {
    super(body.detail);
    this.code = body.code;
    this.status = body.status ?? 0;
    this.retryable = body.retryable ?? false;
    this.retryAfter = body.retry_after ?? null;
    /** @type {Record<string, any>} */
    this.body = body;
  }
}

/** Django's token: the cookie has the newest, a hidden field the page's first. */
function csrfToken() {
  const cookie = document.cookie.match(/(?:^|;\s*)csrftoken=([^;]+)/);
  if (cookie) return decodeURIComponent(cookie[1]);
  return /** @type {HTMLInputElement | null} */ (document.querySelector("[name=csrfmiddlewaretoken]"))?.value ?? "";
}

/**
 * Calls `path` under `/api/v1/` and returns the answer's JSON (null where it has none).
 * @param {string} method
 * @param {string} path
 * @param {{body?: object, token?: string, key?: string, timeout?: number}} [more] the bearer token; the idempotency key;
 *   milliseconds
 * @returns {Promise<any>}
 * @throws {Problem}
 */
async function call(method, path, { body, token, key, timeout = TIMEOUT_MS } = {}) {
  /** @type {Record<string, string>} */
  const headers = { Accept: "application/json" };
  if (method !== "GET") headers["X-CSRFToken"] = csrfToken();
  if (body) headers["Content-Type"] = "application/json";
  if (token) headers.Authorization = `Bearer ${token}`;
  if (key) headers["Idempotency-Key"] = key;
  let response, text;
  try {
    response = await fetch(ROOT + path, {
      method,
      headers,
      body: body && JSON.stringify(body),
      signal: AbortSignal.timeout(timeout),
    });
    text = await response.text();
  } catch {
    // fetch has one error for everything that keeps an answer away; there is no more to tell.
    throw new Problem({ code: "network", detail: gettext("The server cannot be reached."), retryable: true });
  }
  let answer = null;
  try {
    answer = text ? JSON.parse(text) : null;
  } catch {
    // A proxy's own page, not ours.
  }
  if (response.ok) return answer;
  if (typeof answer?.code === "string") throw new Problem({ ...answer, status: response.status });
  throw new Problem({
    code: "http",
    detail: gettext("The server gave an answer that this page does not understand."),
    status: response.status,
    retryable: response.status >= 500,
  });
}

/**
 * @typedef {object} Announced
 * @property {string} file_id
 * @property {string} upload_url
 * @property {string} upload_token
 * @property {string} share_url
 * @property {string} upload_expires_at
 */

/**
 * Announces a file. The same `key` with the same file gives the same upload, so that a lost answer does no harm.
 * @param {object} description `describe` of parts.js
 * @param {string} key
 * @returns {Promise<Announced>}
 */
export const initiate = (description, key) => call("POST", "upload/initiate", { body: description, key });

/**
 * Announces files that one link leads to: all of them, or none. `key` as above.
 * @param {object[]} files descriptions @param {string} title @param {string} key
 * @param {import("./protection.js").Protection} protection of the batch as a whole
 * @returns {Promise<{batch_id: string, batch_url: string, files: Announced[]}>}
 */
export const initiateBatch = (files, title, key, protection) => {
  const body = { ...(title ? { files, title } : { files }), ...protection };
  return call("POST", "batch/initiate", { body, key, timeout: BATCH_TIMEOUT_MS });
};

/** Cancels what is unfinished of a batch; any token of the batch will do. @param {string} id @param {string} token */
export const cancelBatch = (id, token) => call("POST", `batch/cancel/${id}`, { token, timeout: BATCH_TIMEOUT_MS });

/**
 * @typedef {object} FileFacts
 * @property {string} file_id
 * @property {string} filename
 * @property {number} size
 * @property {string} status
 * @property {number} offset
 * @property {string | null} sha256
 * @property {string} download_url
 */

/**
 * With the `token` of one of its uploads, what is locked is told too.
 * @param {string} id @param {string} [token]
 * @returns {Promise<{title: string, status: string, total_size: number, files: FileFacts[]}>}
 */
export const batchFacts = (id, token) => call("GET", `batch/${id}`, { token, timeout: BATCH_TIMEOUT_MS });

/** @param {string} id @param {string} [token] */
export const cancelUpload = (id, token) => call("POST", `upload/cancel/${id}`, { token });

/** @param {string} id @param {string} token @returns {Promise<{status: string, offset: number, size: number}>} */
export const uploadStatus = (id, token) => call("GET", `upload/status/${id}`, { token });

/** With its upload's `token`, what is locked is told too. @param {string} id @param {string} [token] */
export const fileFacts = (id, token) => call("GET", `files/${id}/meta`, { token });

/** @param {string} id */
export const deleteFile = (id) => call("DELETE", `files/${id}`);

/** Changes who may have a file, or a batch: what is not named stays. @param {string} id @param {object} body */
export const changeFile = (id, body) => call("PATCH", `files/${id}`, { body });

/** @param {string} id @param {object} body */
export const changeBatch = (id, body) => call("PATCH", `batch/${id}`, { body });

/** @param {string | null} [cursor] */
export const myFiles = (cursor) => call("GET", cursor ? `files?cursor=${encodeURIComponent(cursor)}` : "files");

export const quotaInfo = () => call("GET", "upload/quota-info");

/** This page as the server would make it now; null where it cannot at the moment. @returns {Promise<string | null>} */
export async function pageNow() {
  try {
    const answer = await fetch(location.href);
    return answer.status === 429 || answer.status >= 500 ? null : await answer.text();
  } catch {
    return null; // no network
  }
}

/** A random key; `randomUUID` is missing where a page came over plain HTTP from another machine. */
export function randomKey() {
  if (crypto.randomUUID) return crypto.randomUUID();
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
