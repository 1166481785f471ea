/** An upload's standing at the server: its id, its secret, and where to send the bytes. */

import { cancelUpload, fileFacts, initiate, Problem } from "./api.js";
import { describe } from "./parts.js";
import { forget } from "./unfinished.js";

/** @typedef {import("./unfinished.js").Unfinished} Ticket @typedef {import("./unfinished.js").BatchNote} BatchNote */

/**
 * What an announced file is known by from now on.
 * @param {import("./api.js").Announced} answer @param {File} file @param {string} path
 * @param {BatchNote | null} [batch]
 * @param {import("./protection.js").Protection} [protection] of it there is kept only whether there is any
 * @returns {Ticket}
 */
export const ticketOf = (answer, file, path, batch = null, protection = {}) => ({
  fileId: answer.file_id,
  token: answer.upload_token,
  uploadUrl: answer.upload_url,
  shareUrl: answer.share_url,
  expiresAt: answer.upload_expires_at,
  name: file.name,
  size: file.size,
  lastModified: file.lastModified,
  path,
  batch,
  isProtected: Object.keys(protection).length > 0,
});

/**
 * Announces one file; the same key and file give the same upload again, with a new token.
 * @param {File} file @param {string} path @param {string} key
 * @param {import("./protection.js").Protection} protection
 * @returns {Promise<Ticket>}
 * @throws {Problem}
 */
export const announce = async (file, path, key, protection) =>
  ticketOf(await initiate({ ...describe(file), ...protection }, key), file, path, null, protection);

/**
 * Cancels at the server. Where that came too late, because the file is complete, returns the file's facts.
 * @param {Ticket} ticket
 */
export async function withdraw(ticket) {
  forget(ticket.fileId);
  try {
    await cancelUpload(ticket.fileId, ticket.token);
    return null;
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    // Gone already, or nobody can be told: what is left of it expires by itself.
    return error.code === "wrong_state" ? completedFacts(ticket) : null;
  }
}

/** @param {Ticket} ticket */
async function completedFacts(ticket) {
  const facts = await fileFacts(ticket.fileId, ticket.token);
  return facts.status === "completed" ? facts : null;
}
