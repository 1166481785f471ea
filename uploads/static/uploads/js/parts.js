/** How files that were chosen together are divided into batches, and what those are called. Knows no page. */

import { fill, gettext } from "./i18n.js";

/** @typedef {import("./dropped.js").Chosen} Chosen */

/** The server's limits (wire.md): files in a batch, and, with some room, bytes of a request. */
const MOST_FILES = 1000;
const MOST_BYTES = 1.9 * 1024 * 1024;
/** Shorter than the server's limit, so that there is room for "part 12 of 34". */
const TITLE_CHARACTERS = 200;

/**
 * What the announcement says of a file.
 * @param {File} file @param {string} [path]
 */
export function describe(file, path = "") {
  /** @type {Record<string, string | number>} */
  const body = { filename: file.name, size: file.size };
  if (file.type) body.content_type = file.type;
  if (path) body.path = path;
  return body;
}

/** The folder that all of them lie in, at the top; empty where there is none. @param {Chosen[]} chosen */
export function commonFolder(chosen) {
  const [first] = (chosen[0]?.path ?? "").split("/");
  const isCommon = chosen.every(({ path }) => path === first || path.startsWith(`${first}/`));
  return isCommon ? Array.from(first).slice(0, TITLE_CHARACTERS).join("") : "";
}

/** Divides them into as few announcements as the server's limits allow, in their order. @param {Chosen[]} chosen */
export function divide(chosen) {
  const encoder = new TextEncoder();
  /** @type {Chosen[][]} */
  const parts = [];
  let bytes = Infinity;
  for (const one of chosen) {
    const length = encoder.encode(JSON.stringify(describe(one.file, one.path))).length + 1;
    if (bytes + length > MOST_BYTES || parts[parts.length - 1].length === MOST_FILES) {
      parts.push([]);
      bytes = 0;
    }
    parts[parts.length - 1].push(one);
    bytes += length;
  }
  return parts;
}

/**
 * What a batch is called; empty where it has no name. @param {string} title
 * @param {{number: number, of: number} | null} part
 */
export function titleInWords(title, part) {
  if (!part) return title;
  const values = { title, n: part.number, all: part.of };
  return title
    ? fill(gettext("%(title)s, part %(n)s of %(all)s"), values)
    : fill(gettext("Part %(n)s of %(all)s"), values);
}
