/** `<ddx-quota>`: what may still be sent today. Nothing is shown where nothing is limited. */

import { Problem, quotaInfo } from "./api.js";
import { element } from "./dom.js";
import { formatClock, formatCount, formatSize, formatTime } from "./format.js";
import { fill, gettext, ngettext } from "./i18n.js";

/** Thousands of uploads end within a minute; nobody reads a meter that often. */
const PAUSE_MS = 4000;
/** Where nothing is limited, an admin may still switch a limit on. */
const PAUSE_WHEN_FREE_MS = 60_000;
const STEPS = 1000;

/**
 * @typedef {object} Quota the answer of `upload/quota-info`
 * @property {{file_bytes: number | null, daily_bytes: number | null, daily_files: number | null, concurrent: number}} limits
 * @property {number} used_bytes
 * @property {number} reserved_bytes
 * @property {number} files
 * @property {string} resets_at
 * @property {string} [override_until] until when these are limits of the person's own
 */

export class QuotaMeter extends HTMLElement {
  #words = element("p", { class: "hint quota-words" });
  #bar = element("progress", { max: STEPS, class: "quota-bar" });
  #askedAt = -Infinity;
  #pause = PAUSE_MS;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  connectedCallback() {
    this.#bar.setAttribute("aria-label", gettext("Used today"));
    this.replaceChildren(this.#bar, this.#words);
    this.refresh();
  }

  /** Asks again, soon: at once when the last time is long ago. */
  refresh() {
    if (this.#timer !== undefined) return;
    const wait = Math.max(0, this.#askedAt + this.#pause - performance.now());
    this.#timer = setTimeout(() => this.#ask(), wait);
  }

  async #ask() {
    this.#timer = undefined;
    this.#askedAt = performance.now();
    try {
      this.#show(await quotaInfo());
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      // The limits are told again by whatever is refused.
    }
  }

  /** @param {Quota} quota */
  #show(quota) {
    const { file_bytes: fileBytes, daily_bytes: dailyBytes, daily_files: dailyFiles } = quota.limits;
    const used = quota.used_bytes + quota.reserved_bytes;
    const sentences = [];
    if (dailyBytes != null) sentences.push(bytesInWords(used, dailyBytes, quota.resets_at));
    if (dailyFiles != null) sentences.push(filesInWords(quota.files, dailyFiles, dailyBytes == null ? quota.resets_at : null));
    if (fileBytes != null) sentences.push(fill(gettext("Up to %(size)s a file."), { size: formatSize(fileBytes) }));
    if (quota.override_until) {
      sentences.push(fill(gettext("These limits are yours until %(time)s."), { time: formatTime(quota.override_until) }));
    }
    this.#words.textContent = sentences.join(" ");
    const share = Math.max(part(used, dailyBytes), part(quota.files, dailyFiles));
    this.#bar.value = Math.round(share * STEPS);
    this.#bar.hidden = dailyBytes == null && dailyFiles == null;
    this.#pause = this.#bar.hidden ? PAUSE_WHEN_FREE_MS : PAUSE_MS;
    this.hidden = sentences.length === 0;
    this.toggleAttribute("data-full", share === 1);
    this.dispatchEvent(new CustomEvent("quota", { detail: quota }));
  }
}

/** @param {number} used @param {number | null} limit */
function part(used, limit) {
  if (limit == null) return 0;
  return limit ? Math.min(1, used / limit) : 1;
}

/** @param {number} used @param {number} limit @param {string} resetsAt */
function bytesInWords(used, limit, resetsAt) {
  const values = { used: formatSize(used), limit: formatSize(limit), time: formatClock(resetsAt) };
  if (used >= limit) return fill(gettext("Today's %(limit)s are used up; the count starts anew at %(time)s."), values);
  return fill(gettext("%(used)s of %(limit)s used today; the count starts anew at %(time)s."), values);
}

/** @param {number} used @param {number} limit @param {string | null} resetsAt */
function filesInWords(used, limit, resetsAt) {
  const values = { used: formatCount(used), limit: formatCount(limit) };
  const sentence = fill(
    ngettext("%(used)s of %(limit)s file sent today.", "%(used)s of %(limit)s files sent today.", limit),
    values,
  );
  if (!resetsAt) return sentence;
  return `${sentence} ${fill(gettext("The count starts anew at %(time)s."), { time: formatClock(resetsAt) })}`;
}

customElements.define("ddx-quota", QuotaMeter);
