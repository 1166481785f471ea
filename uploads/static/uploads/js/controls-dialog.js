/** The dialog in which a sender changes who may have what was sent before, or withdraws its link. */

import { Problem } from "./api.js";
import { element, find, setText } from "./dom.js";
import { formatCount } from "./format.js";
import { fill, gettext, ngettext } from "./i18n.js";
import { lifeOptions } from "./protect-form.js";
import { endInWords, lifeInWords } from "./protection.js";

/** @typedef {import("./protection.js").Controls} Controls */

/**
 * @typedef {object} Subject a file or a batch
 * @property {string} name
 * @property {Controls} controls as they are
 * @property {(change: object) => Promise<unknown>} change throws `Problem`
 * @property {boolean} isBatch
 * @property {number | null} batchLife how long a file's batch has it kept where the file itself does not say, in seconds
 * @property {string[]} completed when what is kept from then on was complete; empty where that is not known
 * @property {number | null} kept seconds that the service keeps anything
 */

/**
 * Asks, and tells the server. Resolves with a sentence on what was done, or "" where nothing was.
 * @param {Subject} subject
 * @returns {Promise<string>}
 */
export function changeControls(subject) {
  const { name, controls, change, isBatch } = subject;
  return new Promise((resolve) => {
    const password = element("input", {
      id: "controls-password",
      type: "text",
      autocomplete: "off",
      spellcheck: "false",
      maxlength: 256,
      pattern: ".*\\S.*",
      placeholder: controls.password ? gettext("stays as it is") : gettext("none"),
    });
    const noPassword = element("input", { type: "checkbox", id: "controls-no-password" });
    noPassword.addEventListener("change", () => (password.disabled = noPassword.checked));
    const life = lifeSelect(subject);
    const most = element("input", {
      id: "controls-most",
      type: "number",
      min: 1,
      max: 1_000_000,
      value: controls.max_downloads ?? "",
      placeholder: gettext("no limit"),
    });
    const error = element("p", { class: "section-error", role: "alert" });
    let done = "";

    /** @param {object} body @param {string} sentence */
    async function tell(body, sentence) {
      try {
        await change(body);
        done = sentence;
        dialog.close();
      } catch (failure) {
        if (!(failure instanceof Problem)) throw failure;
        error.textContent = failure.message;
      }
    }

    function save() {
      const body = {
        ...(noPassword.checked ? { password: null } : password.value ? { password: password.value } : {}),
        ...changed("expires_in", chosenLife(life), controls.expires_in),
        ...changed("max_downloads", most.valueAsNumber || null, controls.max_downloads),
      };
      if (Object.keys(body).length === 0) return dialog.close();
      const saved = fill(gettext("The changes to %(name)s were saved."), { name });
      tell(body, "expires_in" in body ? `${saved} ${endOf(subject, life)}` : saved);
    }

    const withdraw = controls.revoked
      ? button(gettext("Restore the link"), "button", () =>
          tell({ revoked: false }, fill(gettext("The link of %(name)s works again."), { name })),
        )
      : button(gettext("Withdraw the link"), "button button-danger", () =>
          tell({ revoked: true }, fill(gettext("The link of %(name)s was withdrawn."), { name })),
        );
    withdraw.setAttribute("aria-describedby", "controls-link");
    const form = element(
      "form",
      { class: "controls" },
      field(controls.password ? gettext("New password") : gettext("Password"), password),
      ...(controls.password ? [element("label", { class: "check" }, noPassword, gettext("Remove the password"))] : []),
      field(gettext("Can be downloaded for"), life, hint(life)),
      field(
        isBatch ? gettext("Download limit, for the ZIP and for each file") : gettext("Download limit"),
        most,
        hint(most, `${countsInWords(controls)} ${gettext("With a limit there is no preview.")}`),
      ),
      error,
      element("p", { class: "hint", id: "controls-link" }, linkInWords(controls)),
      element(
        "div",
        { class: "dialog-buttons" },
        withdraw,
        button(gettext("Close"), "button", () => dialog.close()),
        element("button", { class: "button button-strong" }, gettext("Save")),
      ),
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      save();
    });
    const sayEnd = () => setText(find("#controls-life-hint", HTMLElement, form), endOf(subject, life));
    life.addEventListener("change", sayEnd);
    sayEnd();
    const dialog = element(
      "dialog",
      { class: "dialog", "aria-labelledby": "controls-title controls-name" },
      element("h2", { id: "controls-title" }, gettext("Protect and limit")),
      element("p", { id: "controls-name" }, element("bdi", {}, name)),
      form,
    );
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(done);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** @param {string} name @param {number | null} now @param {number | null} before */
const changed = (name, now, before) => (now === before ? {} : { [name]: now });

// --- How long ---

/** @param {Subject} subject */
function lifeSelect({ controls, batchLife, kept }) {
  const otherwise = batchLife && fill(gettext("As all that was sent with it: %(time)s"), { time: lifeInWords(batchLife) });
  return element("select", { id: "controls-life" }, ...lifeOptions(kept, controls.expires_in, otherwise || undefined));
}

/** @param {HTMLSelectElement} life */
const chosenLife = (life) => Number(life.value) || null;

/** Until when, with what is chosen. @param {Subject} subject @param {HTMLSelectElement} life */
const endOf = ({ completed, batchLife, kept }, life) => endInWords(completed, chosenLife(life) ?? batchLife, kept);

// --- Words ---

/** @param {Controls} controls */
function countsInWords({ downloads }) {
  const sentence = ngettext("Downloaded %(n)s time so far.", "Downloaded %(n)s times so far.", downloads);
  return fill(sentence, { n: formatCount(downloads) });
}

/** @param {Controls} controls */
const linkInWords = ({ revoked }) =>
  revoked
    ? gettext("You have withdrawn this link: nobody else can open it until you restore it.")
    : gettext("A link that you withdraw opens for nobody else. What was sent is kept, and you can restore the link.");

// --- Parts ---

/** @param {string} words @param {HTMLElement} input @param {HTMLElement[]} hints */
const field = (words, input, ...hints) =>
  element("div", { class: "field" }, element("label", { for: input.id }, words), input, ...hints);

/** What is said below a field. @param {HTMLElement} input @param {string} [words] */
function hint(input, words = "") {
  const id = `${input.id}-hint`;
  input.setAttribute("aria-describedby", id);
  return element("p", { class: "hint", id }, words);
}

/** @param {string} words @param {string} look @param {() => void} onclick */
const button = (words, look, onclick) => element("button", { type: "button", class: look, onclick }, words);
