/** Uploads and groups of them in words. */

import { formatCount, formatDuration, formatSize, formatSpeed } from "./format.js";
import { fill, gettext, ngettext } from "./i18n.js";
import { protectionInWords } from "./protection.js";

/** @typedef {import("./upload.js").Upload} Upload @typedef {import("./group.js").Group} Group */

/** @param {Upload} upload */
export function stateInWords(upload) {
  switch (upload.state) {
    case "waiting":
      return gettext("Waiting on this device");
    case "held":
      return gettext("Not sent yet");
    case "announcing":
    case "connecting":
      return gettext("Connecting");
    case "queued":
      return placeInWords(upload.place);
    case "uploading":
      return upload.stored === upload.size ? gettext("Making the checksum") : gettext("Uploading");
    case "finishing":
      return gettext("Making the checksum");
    case "verifying":
      return gettext("Verifying");
    case "lost":
      return lostInWords(upload);
    case "paused":
      return gettext("Paused");
    case "done":
      return gettext("Complete");
    case "cancelled":
      return gettext("Cancelled");
    case "deleted":
      return gettext("Deleted");
    case "elsewhere":
      return gettext("This upload goes on in another tab or window.");
    case "unreadable":
      return gettext("The file can no longer be read: it was changed, moved or removed. Please choose it again.");
    default:
      return upload.message;
  }
}

/** @param {import("./connection.js").Place | null} place */
function placeInWords(place) {
  if (!place) return gettext("Connecting");
  switch (place.waiting_for) {
    case "paused":
      return gettext("Paused by an administrator");
    case "recovery":
      return gettext("The server is coming back after a restart");
  }
  const words =
    place.waiting_for === "storage"
      ? gettext("Waiting until the storage has room again")
      : fill(gettext("Number %(n)s in line"), { n: place.position });
  const reason = place.waiting_for === "memory" ? gettext("the server is short of memory") : "";
  const wait = place.eta_seconds
    ? fill(gettext("about %(time)s"), { time: formatDuration(place.eta_seconds) })
    : "";
  return [words, reason, wait].filter(Boolean).join(" · ");
}

/** @param {Upload} upload */
function lostInWords(upload) {
  const cause = upload.message || (navigator.onLine ? gettext("Connection lost.") : gettext("You are offline."));
  return `${cause} ${tryingAgain(upload.retryAt)}`;
}

/** @param {number} at milliseconds of `Date.now()` */
export function tryingAgain(at) {
  const seconds = Math.max(0, (at - Date.now()) / 1000);
  return fill(gettext("Trying again in %(time)s."), { time: formatDuration(seconds) });
}

/** Bytes, speed and time left, as far as they are known. @param {Upload} upload */
export function figuresInWords(upload) {
  if (upload.state === "done" || upload.size === 0) return formatSize(upload.size);
  if (upload.stored === 0 && upload.state !== "uploading") return formatSize(upload.size);
  const figures = [
    fill(gettext("%(stored)s of %(size)s"), { stored: formatSize(upload.stored), size: formatSize(upload.size) }),
  ];
  const speed = upload.speed;
  if (speed && upload.stored < upload.size) {
    const left = formatDuration((upload.size - upload.stored) / speed);
    figures.push(formatSpeed(speed), fill(gettext("%(time)s left"), { time: left }));
  }
  return figures.join(" · ");
}

/** Why bytes that were stored are sent again, so that nobody wonders at a bar that goes back. @param {Upload} upload */
export function setbackInWords({ setback, state }) {
  if (!setback || state !== "uploading") return "";
  if (setback.to > 0) return gettext("The storage lost the last part, which is sent again.");
  return setback.reason === "storage_full"
    ? gettext("The storage ran full. The file goes to another place, from its beginning.")
    : gettext("The storage failed in the middle. The file is sent again from its beginning.");
}

/**
 * What a new upload of a file of a batch is, so that nobody looks for it behind the batch's link; and what was set for
 * a single one. @param {Upload} upload
 */
export function apartInWords(upload) {
  const isSent = upload.isUnderWay || ["paused", "done"].includes(upload.state);
  if (!isSent) return "";
  const apart = upload.isApart ? gettext("A new upload, with a link of its own") : "";
  const how = upload.isBatched ? "" : protectionInWords(upload.protection ?? {});
  return [apart, how].filter(Boolean).join(" · ");
}

// --- Groups ---

/** @param {number} count */
export const filesInWords = (count) =>
  fill(ngettext("%(n)s file", "%(n)s files", count), { n: formatCount(count) });

/** What a group is called. @param {Group} group */
export const groupName = (group) => group.title || filesInWords(Math.max(group.tally.files, group.uploads.length));

/** In which states how many are. @param {Pick<import("./tally.js").Tally, "number" | "cleared">} tally */
export function countsInWords(tally) {
  const done = tally.number(["done"]) + tally.cleared;
  /** @type {[number, string][]} */
  const counts = [
    [tally.number(["uploading", "verifying", "finishing"]), gettext("%(n)s running")],
    [tally.number(["queued"]), gettext("%(n)s in line")],
    [tally.number(["waiting"]), gettext("%(n)s waiting on this device")],
    [tally.number(["held"]), gettext("%(n)s not sent yet")],
    [tally.number(["paused"]), gettext("%(n)s paused")],
    [tally.number(["lost"]), gettext("%(n)s without a connection")],
    [done, gettext("%(n)s complete")],
    [tally.number(["failed", "unreadable"]), gettext("%(n)s failed")],
    [tally.number(["refused"]), gettext("%(n)s refused")],
    [tally.number(["cancelled"]), gettext("%(n)s cancelled")],
  ];
  return counts
    .filter(([count]) => count > 0)
    .map(([count, words]) => fill(words, { n: formatCount(count) }))
    .join(" · ");
}

/** How many files it has, and in which states they are. @param {Group} group */
export function groupCounts(group) {
  const { tally } = group;
  const facts = group.title ? [filesInWords(tally.files)] : [];
  if (tally.open === 0) facts.push(formatSize(tally.size));
  return [...facts, countsInWords(tally)].filter(Boolean).join(" · ");
}

/** What became of a group that is over. @param {Group} group */
export function outcomeInWords(group) {
  const name = groupName(group);
  if (group.tally.number(["done"]) === group.uploads.length) return fill(gettext("%(name)s: complete."), { name });
  return fill(gettext("%(name)s: %(counts)s."), { name, counts: countsInWords(group.tally) });
}

/** Bytes, speed and time left of all of it together. @param {Group} group */
export function groupFigures(group) {
  const { tally } = group;
  if (tally.open === 0) return "";
  if (tally.stored === 0) return formatSize(tally.size);
  const figures = [
    fill(gettext("%(stored)s of %(size)s"), { stored: formatSize(tally.stored), size: formatSize(tally.size) }),
  ];
  const speed = group.rate.value;
  if (speed && speed > 0 && tally.left > 0) {
    figures.push(formatSpeed(speed), fill(gettext("%(time)s left"), { time: formatDuration(tally.left / speed) }));
  }
  return figures.join(" · ");
}
