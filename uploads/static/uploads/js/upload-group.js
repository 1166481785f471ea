/**
 * `<ddx-upload-group>`: the files of one batch under a head that speaks of all of them, or single uploads without one.
 * The link of a batch stands there as soon as there is one.
 */

import { announce } from "./announce.js";
import { confirmed } from "./confirm.js";
import { copyButton } from "./copy-button.js";
import { element, setText } from "./dom.js";
import { formatCount } from "./format.js";
import { fill, gettext, ngettext } from "./i18n.js";
import { protectionInWords } from "./protection.js";
import { restOf, rowsOf } from "./rows-shown.js";
import { OVER, PAUSABLE, SETTLED } from "./states.js";
import { UploadRow } from "./upload-row.js";
import { groupCounts, groupFigures, groupName, outcomeInWords, tryingAgain } from "./words.js";

/** @typedef {import("./upload.js").Upload} Upload @typedef {import("./group.js").Group} Group */

const STEPS = 1000;
let numbered = 0;

/** The buttons of a group, and when each makes sense. @type {Record<string, (group: Group) => boolean>} */
const SHOWN = {
  send: (group) => group.standing === "refused" && group.canSend,
  now: (group) => group.standing === "lost",
  pause: (group) => group.tally.number(PAUSABLE) > 0,
  resume: (group) => group.tally.number(["paused"]) > 0,
  retry: (group) => group.standing !== "refused" && group.failed.length > 0,
  clear: (group) => group.tally.number(group.tally.open ? SETTLED : OVER) > 0,
  cancel: (group) => group.tally.open > 0,
};

export class UploadGroup extends HTMLElement {
  /** @type {Group | null} */
  #group = null;
  #most = 0;
  /** @type {Map<Upload, UploadRow>} */
  #rows = new Map();
  #isOver = false;
  #title = element("bdi");
  #counts = element("p", { class: "group-counts" });
  #bar = element("progress", { max: STEPS });
  #figures = element("p", { class: "group-figures" });
  #link = element("div", { class: "group-link", hidden: true });
  #note = element("p", { class: "section-note group-note" });
  #message = element("p", { class: "group-message" });
  #actions = element("div", { class: "section-actions" });
  /** @type {Record<string, HTMLButtonElement>} */
  #buttons = {};
  #shownButtons = "";
  #before = element("p", { class: "rest rest-before" });
  #list = element("ul", { class: "rows" });
  #after = element("p", { class: "rest rest-after" });

  /** @param {Group} group @param {number} most how many rows it may have of uploads that nothing is to be said of */
  show(group, most) {
    this.#group = group;
    this.#most = most;
    const id = `group-${(numbered += 1)}`;
    if (group.isBatch) {
      this.setAttribute("role", "group");
      this.setAttribute("aria-labelledby", id);
      this.append(
        element(
          "div",
          { class: "group-head" },
          element("h3", { id }, this.#title),
          this.#counts,
          this.#bar,
          this.#figures,
          this.#link,
          this.#note,
          this.#message,
          this.#actions,
        ),
      );
    }
    this.append(this.#before, this.#list, this.#after);
    this.refresh(null);
  }

  /** How many uploads it speaks of. */
  count = 0;

  /** Brings it up to date. @param {Set<Upload> | null} dirty the uploads that changed; null where the list did */
  refresh(dirty) {
    const group = this.#group;
    if (!group) return;
    this.count = group.uploads.length;
    for (const upload of dirty ?? []) this.#rows.get(upload)?.render();
    this.#chooseRows(group);
    if (group.isBatch) this.#renderHead(group);
  }

  // --- Rows ---

  /** @param {Group} group */
  #chooseRows(group) {
    const wanted = rowsOf(group, this.#most);
    const kept = new Set(wanted);
    let next = null;
    for (const [upload, row] of this.#rows) {
      if (kept.has(upload)) continue;
      const item = row.parentElement;
      if (item?.contains(document.activeElement)) next = item.nextElementSibling ?? item.previousElementSibling;
      item?.remove();
      this.#rows.delete(upload);
    }
    this.#placeRows(wanted, !group.isBatch);
    // The keyboard must not fall back to the top of the page.
    if (next) (next.querySelector("button") ?? this.closest("ddx-upload-list") ?? this).focus();
    this.#renderRest(restOf(group, wanted));
  }

  /** @param {Upload[]} wanted in their order @param {boolean} speaks */
  #placeRows(wanted, speaks) {
    let place = this.#list.firstElementChild;
    for (const upload of wanted) {
      const item = this.#rows.get(upload)?.parentElement;
      if (item && item === place) {
        place = item.nextElementSibling;
      } else if (item) {
        this.#list.insertBefore(item, place);
      } else {
        const row = /** @type {UploadRow} */ (document.createElement("ddx-upload-row"));
        row.show(upload, speaks);
        this.#rows.set(upload, row);
        this.#list.insertBefore(element("li", {}, row), place);
      }
    }
  }

  /** @param {ReturnType<typeof restOf>} rest */
  #renderRest(rest) {
    const more = (/** @type {number} */ count, /** @type {string} */ words) =>
      count > 0 ? [fill(words, { n: formatCount(count) })] : [];
    const before = [
      ...more(rest.complete, gettext("%(n)s more are complete")),
      ...more(rest.cancelled, gettext("%(n)s more are cancelled")),
    ];
    const after = [
      ...more(rest.failed, gettext("%(n)s more failed")),
      ...more(rest.paused, gettext("%(n)s more are paused")),
      ...more(rest.waiting, gettext("%(n)s more wait on this device")),
    ];
    setText(this.#before, before.join(" · "));
    setText(this.#after, after.join(" · "));
  }

  // --- The head ---

  /** @param {Group} group */
  #renderHead(group) {
    const { tally } = group;
    group.rate.add(tally.stored);
    setText(this.#title, groupName(group));
    setText(this.#counts, groupCounts(group));
    setText(this.#figures, groupFigures(group));
    this.#bar.value = tally.size ? Math.floor((tally.stored / tally.size) * STEPS) : tally.open ? 0 : STEPS;
    this.#bar.setAttribute("aria-label", fill(gettext("Progress of %(name)s"), { name: groupName(group) }));
    this.#bar.hidden = tally.files === 0;
    this.dataset.standing = group.standing;
    const isOver = tally.open === 0;
    this.toggleAttribute("data-over", isOver);
    this.#offerLink(group);
    setText(this.#note, noteOf(group));
    const message = messageOf(group);
    if (group.standing === "refused" && message && message !== this.#message.textContent) announce(message);
    setText(this.#message, message);
    this.#showButtons(group);
    if (isOver && !this.#isOver) announce(outcomeInWords(group));
    this.#isOver = isOver;
  }

  /** @param {Group} group */
  #offerLink(group) {
    if (!group.batch || !this.#link.hidden) return;
    const { url } = group.batch;
    this.#link.hidden = false;
    this.#link.append(
      element(
        "div",
        { class: "link-line" },
        element("a", { class: "batch-link", href: url }, url.replace(/^https?:\/\//, "")),
        copyButton(url, gettext("Copy link"), fill(gettext("Copy link of %(name)s"), { name: groupName(group) })),
      ),
    );
    announce(fill(gettext("The link of %(name)s is ready."), { name: groupName(group) }));
  }

  /** @param {Group} group */
  #showButtons(group) {
    const names = Object.keys(SHOWN).filter((name) => SHOWN[name](group));
    for (const name of names) setText((this.#buttons[name] ??= this.#button(name, group)), wordsOn(name, group));
    const key = names.join(" ");
    if (this.#shownButtons === key) return;
    this.#shownButtons = key;
    const held = document.activeElement;
    const hadFocus = held instanceof HTMLElement && this.#actions.contains(held);
    this.#actions.replaceChildren(...names.map((name) => this.#buttons[name]));
    // Pause becomes resume under the finger; the keyboard must not fall back to the top of the page.
    if (hadFocus) (held.isConnected ? held : this.#actions.querySelector("button"))?.focus();
  }

  /** @param {string} which @param {Group} group */
  #button(which, group) {
    /** @type {Record<string, () => void>} */
    const acts = {
      send: () => group.sendOthers(),
      now: () => group.tryNow(),
      pause: () => group.pauseAll(),
      resume: () => group.resumeAll(),
      retry: () => group.retryFailed(),
      cancel: () => this.#cancelAll(group),
      clear: () => this.dispatchEvent(new CustomEvent("cleargroup", { bubbles: true, detail: group })),
    };
    const look = which === "send" ? "button button-small button-strong" : "button button-small";
    return element("button", { type: "button", class: look, "data-action": which, onclick: acts[which] });
  }

  /** @param {Group} group */
  async #cancelAll(group) {
    const { open } = group.tally;
    const question = fill(
      ngettext(
        "Cancel %(n)s file that is not complete? What was sent of it is lost.",
        "Cancel %(n)s files that are not complete? What was sent of them is lost.",
        open,
      ),
      { n: formatCount(open) },
    );
    if (!(await confirmed(question, gettext("Cancel all"), ngettext("Keep it", "Keep them", open)))) return;
    await group.cancelAll();
    this.dispatchEvent(new CustomEvent("cancelledgroup", { bubbles: true, detail: group }));
  }
}

/** @param {string} name @param {Group} group */
function wordsOn(name, group) {
  switch (name) {
    case "send":
      if (group.tally.number(["refused"]) === 0) return gettext("Try again");
      return fill(
        ngettext("Send the other %(n)s file", "Send the other %(n)s files", group.tally.number(["held"])),
        { n: formatCount(group.tally.number(["held"])) },
      );
    case "now":
      return gettext("Try now");
    case "pause":
      return gettext("Pause all");
    case "resume":
      return gettext("Resume all");
    case "retry":
      return gettext("Retry failed");
    case "cancel":
      return gettext("Cancel all");
    default:
      return group.tally.open ? gettext("Clear finished") : gettext("Remove from the list");
  }
}

/** What the link is good for, or why there is none yet; and why there are several. @param {Group} group */
function noteOf(group) {
  const links = group.part?.of;
  const several = links
    ? fill(gettext("So many files do not fit behind one link: each of the %(n)s parts has its own."), { n: formatCount(links) })
    : "";
  const protection = protectionInWords(group.protection);
  const limits = protection ? fill(gettext("Protection and limits: %(how)s."), { how: protection }) : "";
  const secret = group.batch && group.protection.password
    ? gettext("The link does not contain the password: pass it on in another way.")
    : "";
  return [linkInWords(group), limits, secret, several].filter(Boolean).join(" ");
}

/** @param {Group} group */
function linkInWords(group) {
  if (group.standing === "announcing") return gettext("The link is being made.");
  if (group.standing === "new") return gettext("The link comes when the turn of these files nears.");
  if (!group.batch) return "";
  const { tally } = group;
  const apart = group.uploads.filter((upload) => upload.isApart && upload.state === "done").length;
  const complete = tally.number(["done"]) + tally.cleared - apart;
  if (tally.open) return gettext("You can share this link now: each file can be downloaded from it as soon as it is complete.");
  if (complete === 0) return gettext("Nothing can be downloaded from this link.");
  // What was cancelled or refused stands in the list, but not behind the link.
  const listed = group.uploads.length + tally.cleared;
  if (complete === listed) return gettext("You can share this link: all of these files can be downloaded from it.");
  const sentence = ngettext(
    "You can share this link: %(n)s of these files can be downloaded from it.",
    "You can share this link: %(n)s of these files can be downloaded from it.",
    complete,
  );
  return fill(sentence, { n: formatCount(complete) });
}

/** @param {Group} group */
function messageOf(group) {
  if (group.standing === "lost") return `${group.message} ${tryingAgain(group.retryAt)}`;
  if (group.standing !== "refused") return group.message;
  const refused = group.tally.number(["refused"]);
  if (refused === 0 || group.tally.number(["held"]) === 0) return group.message;
  const sentence = ngettext(
    "%(n)s file was refused, so none of them was sent yet.",
    "%(n)s files were refused, so none of them was sent yet.",
    refused,
  );
  return `${fill(sentence, { n: formatCount(refused) })} ${group.message}`.trim();
}

customElements.define("ddx-upload-group", UploadGroup);
