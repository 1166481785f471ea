/** The receipt of a finished upload: who made which digest, and that they agree. */

import { copyButton } from "./copy-button.js";
import { element } from "./dom.js";
import { gettext } from "./i18n.js";

/**
 * @param {string} sha256
 * @param {Record<string, {sha256?: string | null, reason?: string | null}>} receipt by maker
 */
export function receiptParts(sha256, receipt) {
  /** @type {[string, string][]} */
  const makers = [
    ["browser", gettext("Made by your browser")],
    ["server", gettext("Made by the server")],
    ["storage", gettext("Made by the storage")],
  ];
  const rows = makers
    .filter(([maker]) => receipt[maker])
    .flatMap(([maker, words]) => {
      const { sha256: digest } = receipt[maker];
      const verdict = !digest ? gettext("none") : digest === sha256 ? gettext("the same") : gettext("different");
      return [element("dt", {}, words), element("dd", {}, verdict)];
    });
  return [
    element("p", { class: "digest-line" }, element("code", { class: "digest" }, sha256), " ", digestCopy(sha256)),
    element("dl", { class: "receipt-makers" }, ...rows),
  ];
}

/** @param {string} sha256 */
const digestCopy = (sha256) => copyButton(sha256, gettext("Copy"), gettext("Copy the SHA-256"));
