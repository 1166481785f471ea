/**
 * `<ddx-upload-list>`: the uploads of this page, in their groups. All is brought up to date together, at most four
 * times a second, and only what changed, so that thousands stay smooth.
 */

import { announce } from "./announce.js";
import { copyButton } from "./copy-button.js";
import { find, setText } from "./dom.js";
import { formatCount } from "./format.js";
import { fill, gettext, ngettext } from "./i18n.js";
import { OVER, PAUSABLE, SETTLED } from "./states.js";
import { UploadGroup } from "./upload-group.js";
import { countsInWords } from "./words.js";

/** @typedef {import("./upload.js").Upload} Upload @typedef {import("./group.js").Group} Group */

const REFRESH_MS = 250;
/** Rows of uploads that nothing is to be said of: on the whole page, of one group at most and at least. */
const MOST_ROWS = 400;
const MOST_ROWS_OF_ONE = 200;
const LEAST_ROWS_OF_ONE = 10;

export class UploadList extends HTMLElement {
  /** @type {import("./queue.js").UploadQueue | null} */
  #queue = null;
  /** @type {Map<Group, {view: UploadGroup, rows: number}>} */
  #views = new Map();
  /** What changed of each group since the last refresh. @type {Map<Group, Set<Upload>>} */
  #dirty = new Map();
  #scheduled = false;
  #refreshedAt = 0;

  /** @param {import("./queue.js").UploadQueue} queue */
  show(queue) {
    this.#queue = queue;
    queue.addEventListener("groups", () => this.#renew(queue));
    queue.addEventListener("change", (event) => {
      const { group, upload } = (/** @type {CustomEvent} */ (event).detail);
      this.#mark(group, upload);
    });
    this.addEventListener("removeupload", (event) => queue.remove([(/** @type {CustomEvent} */ (event).detail)]));
    this.addEventListener("cleargroup", (event) => queue.remove((/** @type {CustomEvent} */ (event).detail).finished));
    this.addEventListener("trynow", () => queue.tryNow());
    this.#on("pause-all", () => queue.pauseAll());
    this.#on("resume-all", () => queue.resumeAll());
    this.#on("clear", () => queue.remove(queue.groups.flatMap((group) => group.finished)));
    // Whoever presses a button sees at once what it did; this hears of it after the button itself.
    this.addEventListener("click", () => requestAnimationFrame(() => this.#refresh()));
    // The seconds until the next try count down though nothing changes.
    setInterval(() => {
      for (const group of queue.groups) {
        if (group.standing === "lost") this.#mark(group, null);
        for (const upload of group.tally.in("lost")) this.#mark(group, upload);
      }
    }, 1000);
  }

  /** @param {string} name @param {() => void} onclick */
  #on(name, onclick) {
    find(`[data-action=${name}]`, HTMLButtonElement, this).addEventListener("click", onclick);
  }

  /** The list of groups changed, or what is in them. @param {import("./queue.js").UploadQueue} queue */
  #renew(queue) {
    const place = find(".groups", HTMLElement, this);
    const known = new Set(queue.groups);
    for (const [group, { view }] of this.#views) {
      if (known.has(group)) continue;
      const hadFocus = view.contains(document.activeElement);
      view.remove();
      this.#views.delete(group);
      this.#dirty.delete(group);
      if (hadFocus) this.focus();
    }
    let added = 0;
    for (const group of queue.groups) {
      added += group.uploads.length - (this.#views.get(group)?.view.count ?? 0);
      if (this.#views.has(group)) this.#views.get(group)?.view.refresh(null);
      else place.append(this.#newView(group));
    }
    const sentence = ngettext("%(n)s file added.", "%(n)s files added.", added);
    if (added > 0) announce(fill(sentence, { n: formatCount(added) }));
    this.#refresh();
  }

  /** @param {Group} group */
  #newView(group) {
    const taken = [...this.#views.values()].reduce((sum, { rows }) => sum + rows, 0);
    const rows = Math.max(LEAST_ROWS_OF_ONE, Math.min(MOST_ROWS_OF_ONE, MOST_ROWS - taken));
    const view = /** @type {UploadGroup} */ (document.createElement("ddx-upload-group"));
    view.show(group, rows);
    this.#views.set(group, { view, rows });
    return view;
  }

  /** @param {Group} group @param {Upload | null} upload */
  #mark(group, upload) {
    let dirty = this.#dirty.get(group);
    if (!dirty) this.#dirty.set(group, (dirty = new Set()));
    if (upload) dirty.add(upload);
    if (this.#scheduled) return;
    this.#scheduled = true;
    const wait = Math.max(0, this.#refreshedAt + REFRESH_MS - performance.now());
    setTimeout(() => this.#refresh(), wait);
  }

  #refresh() {
    this.#scheduled = false;
    this.#refreshedAt = performance.now();
    for (const [group, uploads] of this.#dirty) this.#views.get(group)?.view.refresh(uploads);
    this.#dirty.clear();
    this.#summarise();
  }

  #summarise() {
    const groups = this.#queue?.groups ?? [];
    this.hidden = groups.length === 0;
    const number = (/** @type {Iterable<import("./states.js").State>} */ states) =>
      groups.reduce((sum, { tally }) => sum + tally.number(states), 0);
    const cleared = groups.reduce((sum, { tally }) => sum + tally.cleared, 0);
    const isOneBatch = groups.length === 1 && groups[0].isBatch;
    setText(find(".list-summary", HTMLElement, this), isOneBatch ? "" : countsInWords({ number, cleared }));
    // A batch that stands alone has its own.
    this.#toggle("pause-all", !isOneBatch && number(PAUSABLE) > 1);
    this.#toggle("resume-all", !isOneBatch && number(["paused"]) > 1);
    this.#toggle("clear", !isOneBatch && groups.reduce((sum, { tally }) => sum + tally.number(tally.open ? SETTLED : OVER), 0) > 1);
    this.#offerLinks(groups.flatMap(linksOf));
  }

  /** @param {string} name @param {boolean} isShown */
  #toggle(name, isShown) {
    find(`[data-action=${name}]`, HTMLButtonElement, this).hidden = !isShown;
  }

  /** @param {string[]} links in the order chosen */
  #offerLinks(links) {
    const place = find(".all-links", HTMLElement, this);
    if (links.length < 2) return place.replaceChildren();
    const text = links.join("\n");
    const button = place.firstElementChild;
    if (button) button.setAttribute("text", text);
    else place.replaceChildren(copyButton(text, gettext("Copy all links")));
  }
}

/** Those that lead to all that is sent: one of each batch, and those of single files. @param {Group} group */
function linksOf(group) {
  if (group.batch) return [group.batch.url];
  return group.isBatch ? [] : [...group.tally.in("done")].map((upload) => upload.result?.share_url ?? "");
}

customElements.define("ddx-upload-list", UploadList);
