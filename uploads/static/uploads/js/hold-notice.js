/** `<ddx-hold>`: says that the page waits because the server asked for it, why, and until when. */

import { announce } from "./announce.js";
import { element, setText } from "./dom.js";
import { formatClock, formatDuration } from "./format.js";
import { fill, gettext } from "./i18n.js";

/** Beyond this the time of day says more than a countdown. */
const COUNTDOWN_MS = 60 * 60 * 1000;

export class HoldNotice extends HTMLElement {
  /** @type {import("./hold.js").Hold | null} */
  #hold = null;
  #words = element("p", { class: "notice-words" });
  #when = element("p", { class: "notice-when" });

  /** @param {import("./hold.js").Hold} hold @param {() => void} tryNow */
  show(hold, tryNow) {
    this.#hold = hold;
    const button = element(
      "button",
      { type: "button", class: "button button-small", onclick: tryNow },
      gettext("Try now"),
    );
    this.append(element("div", {}, this.#words, this.#when), button);
    hold.addEventListener("change", () => {
      const isNew = this.hidden;
      this.#render();
      if (hold.isOn && isNew) announce(`${hold.message} ${gettext("Nothing is lost; it goes on by itself.")}`);
    });
    setInterval(() => hold.isOn && this.#render(), 1000);
  }

  #render() {
    const hold = this.#hold;
    this.hidden = !hold?.isOn;
    if (!hold?.isOn) return;
    const left = hold.until - Date.now();
    const when =
      left > COUNTDOWN_MS
        ? fill(gettext("It goes on by itself at %(time)s."), { time: formatClock(new Date(hold.until)) })
        : fill(gettext("It goes on by itself in %(time)s."), { time: formatDuration(left / 1000) });
    setText(this.#words, hold.message);
    setText(this.#when, when);
  }
}

customElements.define("ddx-hold", HoldNotice);
