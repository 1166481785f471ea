/** The dialog in which a sender changes who may have what was sent before, or withdraws its link. */

import { Problem } from "./api.js";
import { element } from "./dom.js";
import { formatCount } from "./format.js";
import { fill, gettext, ngettext } from "./i18n.js";
import { lifeOptions } from "./protect-form.js";

/** @typedef {import("./protection.js").Controls} Controls */

/**
 * Asks, and tells the server. Resolves with a sentence on what was done, or "" where nothing was.
 * @param {string} name of the file or batch
 * @param {Controls} controls as they are
 * @param {(change: object) => Promise<unknown>} change throws `Problem`
 * @param {string} counted what it is that downloads are counted of
 * @returns {Promise<string>}
 */
export function changeControls(name, controls, change, counted) {
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
    const life = element("select", { id: "controls-life" }, ...lifeOptions(controls.expires_in));
    const most = element("input", {
      id: "controls-most",
      type: "number",
      min: 1,
      max: 1_000_000,
      value: controls.max_downloads ?? "",
      placeholder: gettext("any number"),
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
        ...changed("expires_in", Number(life.value) || null, controls.expires_in),
        ...changed("max_downloads", most.valueAsNumber || null, controls.max_downloads),
      };
      if (Object.keys(body).length === 0) dialog.close();
      else tell(body, fill(gettext("The protection of %(name)s was changed."), { name }));
    }

    const withdraw = controls.revoked
      ? button(gettext("Give the link back"), "button", () =>
          tell({ revoked: false }, fill(gettext("The link of %(name)s works again."), { name })),
        )
      : button(gettext("Withdraw the link"), "button button-danger", () =>
          tell({ revoked: true }, fill(gettext("The link of %(name)s was withdrawn."), { name })),
        );
    const form = element(
      "form",
      { class: "controls" },
      field(gettext("Password"), password),
      ...(controls.password
        ? [element("label", { class: "check" }, noPassword, gettext("Take the password away"))]
        : []),
      field(gettext("Can be downloaded for"), life),
      field(counted, most, countsInWords(controls)),
      error,
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
    const dialog = element(
      "dialog",
      { class: "dialog", "aria-labelledby": "controls-name" },
      element("h2", { id: "controls-name" }, element("bdi", {}, name)),
      ...(controls.revoked
        ? [element("p", { class: "section-note" }, gettext("This link is withdrawn, and leads nowhere until you give it back."))]
        : []),
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

/** @param {Controls} controls */
function countsInWords({ downloads }) {
  const sentence = ngettext("Downloaded %(n)s time so far.", "Downloaded %(n)s times so far.", downloads);
  return fill(sentence, { n: formatCount(downloads) });
}

/** @param {string} words @param {HTMLElement} input @param {string} [hint] */
function field(words, input, hint = "") {
  if (hint) input.setAttribute("aria-describedby", `${input.id}-hint`);
  return element(
    "div",
    { class: "field" },
    element("label", { for: input.id }, words),
    input,
    ...(hint ? [element("p", { class: "hint", id: `${input.id}-hint` }, hint)] : []),
  );
}

/** @param {string} words @param {string} look @param {() => void} onclick */
const button = (words, look, onclick) => element("button", { type: "button", class: look, onclick }, words);
