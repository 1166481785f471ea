/** The state of an upload in words. */

import { formatDuration, formatSize, formatSpeed } from "./format.js";
import { fill, gettext } from "./i18n.js";

/** @typedef {import("./upload.js").Upload} Upload */

/** @param {Upload} upload */
export function stateInWords(upload) {
  switch (upload.state) {
    case "waiting":
      return gettext("Waiting on this device");
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
    case "storage":
      return gettext("Waiting until the storage has room again");
  }
  const words = fill(gettext("Number %(n)s in line"), { n: place.position });
  const reason = place.waiting_for === "memory" ? gettext("the server is short of memory") : "";
  const wait = place.eta_seconds
    ? fill(gettext("about %(time)s"), { time: formatDuration(place.eta_seconds) })
    : "";
  return [words, reason, wait].filter(Boolean).join(" · ");
}

/** @param {Upload} upload */
function lostInWords(upload) {
  const seconds = Math.max(0, (upload.retryAt - Date.now()) / 1000);
  const cause = upload.message || (navigator.onLine ? gettext("Connection lost.") : gettext("You are offline."));
  return `${cause} ${fill(gettext("Trying again in %(time)s."), { time: formatDuration(seconds) })}`;
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
