/** The live page: tiles, alerts, running uploads and the line, repainted from each snapshot. */

import { element, find, setText } from "../uploads/js/dom.js";
import { fill, gettext, ngettext } from "../uploads/js/i18n.js";
import { Feed } from "./feed.js";
import { count, duration, percent, size, speed } from "./figures.js";
import { paintFile, Rows } from "./rows.js";
import { steering } from "./steer.js";

const page = find("#ddx-live", HTMLElement);
const status = find("#ddx-status", HTMLElement);
const alerts = find("#ddx-alerts", HTMLUListElement);

const LABELS = {
  cancel: gettext("Cancel"),
  release: gettext("Release slot"),
  pause: gettext("Pause"),
  unpause: gettext("Resume"),
  to_front: gettext("To the front"),
};
/** @type {Record<string, string>} */
const STAGES = {
  starting: gettext("starting"),
  receiving: gettext("receiving"),
  paused: gettext("paused"),
  verifying: gettext("verifying"),
  lost: gettext("connection lost, slot kept"),
};

/** @param {any} upload */
const addressOf = (upload) => (page.dataset.file ?? "").replace("00000000-0000-0000-0000-000000000000", upload.id);

const steer = page.dataset.maySteer === "yes" ? steering(page.dataset.steer ?? "") : null;

const running = new Rows(
  find("#ddx-running tbody", HTMLTableSectionElement),
  [
    { name: "file", label: gettext("File") },
    { name: "stage", label: gettext("Stage") },
    { name: "progress", label: gettext("Stored"), className: "ddx-progress" },
    { name: "received", label: gettext("Received"), className: "ddx-number" },
    { name: "rate", label: gettext("Rate"), className: "ddx-number" },
    { name: "held", label: gettext("Slot held for"), className: "ddx-number" },
  ],
  ({ cells }, upload) => {
    paintFile(cells.file, upload, addressOf(upload));
    if (!cells.stage.firstElementChild) cells.stage.append(element("span", { class: "ddx-state" }));
    const stage = /** @type {HTMLElement} */ (cells.stage.firstElementChild);
    stage.className = `ddx-state ddx-${upload.stage}`;
    setText(stage, STAGES[upload.stage] ?? upload.stage);
    paintProgress(cells.progress, upload);
    setText(cells.received, size(upload.received));
    setText(cells.rate, upload.stage === "receiving" ? speed(upload.rate) : "–");
    setText(cells.held, duration(upload.held_seconds));
  },
  steer,
  LABELS,
);

const queued = new Rows(
  find("#ddx-queued tbody", HTMLTableSectionElement),
  [
    { name: "position", label: gettext("Place"), className: "ddx-number" },
    { name: "file", label: gettext("File") },
    { name: "size", label: gettext("Size"), className: "ddx-number" },
    { name: "reason", label: gettext("Waits") },
    { name: "waited", label: gettext("Since"), className: "ddx-number" },
    { name: "eta", label: gettext("Expected in"), className: "ddx-number" },
  ],
  ({ cells }, upload) => {
    setText(cells.position, count(upload.position));
    paintFile(cells.file, upload, addressOf(upload));
    setText(cells.size, upload.size === null ? "–" : size(upload.size));
    setText(cells.reason, upload.connected ? upload.reason : `${upload.reason} (${gettext("connection lost")})`);
    setText(cells.waited, duration(upload.waited_seconds));
    setText(cells.eta, upload.eta_seconds === null ? "–" : duration(upload.eta_seconds));
  },
  steer,
  LABELS,
);

/** @param {HTMLTableCellElement} cell @param {any} upload */
function paintProgress(cell, upload) {
  if (!cell.firstElementChild) cell.append(element("progress", { max: "100" }), element("span"));
  const bar = /** @type {HTMLProgressElement} */ (cell.children[0]);
  bar.value = upload.percent;
  bar.setAttribute("aria-label", upload.name);
  setText(
    cell.children[1],
    fill(gettext("%(percent)s, %(stored)s of %(size)s"), {
      percent: percent(upload.percent),
      stored: size(upload.stored),
      size: upload.size === null ? "?" : size(upload.size),
    }),
  );
}

/** @param {string} id @param {string} figure @param {string} words @param {number} [share] of the meter, 0 to 100 */
function tile(id, figure, words, share) {
  const node = find(`#${id}`, HTMLElement);
  setText(find(".ddx-figure", HTMLElement, node), figure);
  setText(find(".ddx-words", HTMLElement, node), words);
  const meter = node.querySelector("meter");
  if (meter && share !== undefined) meter.value = share;
  return node;
}

/** @param {any} snapshot */
function paintTiles({ slots, memory, buffers, today, storage, accounts, drive, workers, machines, queued_in_all: waiting }) {
  tile(
    "ddx-slots",
    slots.known ? `${count(slots.used)} / ${count(slots.total)}` : "?",
    slots.known
      ? fill(gettext("%(each)s per person, kept in: %(backend)s"), { each: slots.per_person, backend: slots.backend })
      : gettext("The slot store cannot be reached."),
    slots.total ? (100 * slots.used) / slots.total : 0,
  );
  const line = waiting ? gettext("in the line") : gettext("Nobody waits.");
  tile("ddx-waiting", slots.known ? count(waiting) : "?", slots.known ? line : "");
  const node = tile(
    "ddx-memory",
    percent(memory.percent),
    fill(gettext("%(used)s of %(total)s, measured by: %(source)s"), {
      used: size(memory.used),
      total: size(memory.total),
      source: memory.source,
    }),
    memory.percent,
  );
  const ceiling = { ceiling: percent(memory.ceiling_percent), reserved: size(memory.reserved_bytes) };
  const admitting = memory.reserved_bytes
    ? fill(gettext("New uploads start up to %(ceiling)s, and leave %(reserved)s free."), ceiling)
    : fill(gettext("New uploads start up to %(ceiling)s."), ceiling);
  setText(find(".ddx-more", HTMLElement, node), memory.admitting ? admitting : gettext("New uploads wait for memory."));
  node.classList.toggle("ddx-bad", !memory.admitting);
  const held = tile(
    "ddx-buffers",
    size(buffers.in_use_bytes),
    fill(gettext("of at most %(limit)s, in chunks of %(chunk)s"), {
      limit: size(buffers.limit_bytes),
      chunk: size(buffers.chunk_size),
    }),
    (100 * buffers.in_use_bytes) / buffers.limit_bytes,
  );
  const several =
    machines > 1 ? gettext("%(workers)s workers on %(machines)s machines") : gettext("%(workers)s workers on one machine");
  setText(
    find(".ddx-more", HTMLElement, held),
    workers > 1 ? fill(several, { workers: count(workers), machines: count(machines) }) : "",
  );
  const announced = ngettext("upload, %(size)s stored;", "uploads, %(size)s stored;", today.attempted);
  const ended = gettext("%(completed)s completed, %(failed)s failed (%(rate)s)");
  tile(
    "ddx-today",
    count(today.attempted),
    `${fill(announced, { size: size(today.stored_bytes) })} ${fill(ended, {
      completed: count(today.completed),
      failed: count(today.failed),
      rate: percent(today.failure_rate_percent),
    })}`,
  );
  const isOut = accounts.length > 0 && accounts.every((/** @type {any} */ account) => !account.works && account.until);
  const works = isOut ? gettext("waiting") : gettext("working");
  const stored = tile(
    "ddx-storage",
    storage.ok ? works : gettext("failing"),
    storage.ok ? storage.name : storage.detail,
  );
  stored.classList.toggle("ddx-bad", !storage.ok);
  setText(find(".ddx-more", HTMLElement, stored), inWords(accounts, drive));
}

/**
 * How Drive stands, how many accounts can be used, and what is wrong with the others.
 * @param {any[]} accounts @param {{words: string} | null} drive
 */
function inWords(accounts, drive) {
  if (!accounts.length) return "";
  const working = accounts.filter((account) => account.works).length;
  const sum = fill(ngettext("%(working)s of %(all)s account works", "%(working)s of %(all)s accounts work", accounts.length), {
    working: count(working),
    all: count(accounts.length),
  });
  const whole = drive && drive.words ? [drive.words] : [];
  return [...whole, sum, ...accounts.filter((account) => !account.works).map(withTime)].join(" · ");
}

/** @param {{name: string, words: string, until: string | null}} account */
function withTime({ name, words, until }) {
  const left = until ? (Date.parse(until) - Date.now()) / 1000 : 0;
  return left >= 1 ? `${name}: ${words} (${duration(left)})` : `${name}: ${words}`;
}

/** @param {{code: string, sentence: string}[]} found */
function paintAlerts(found) {
  const sentences = found.map((alert) => alert.sentence);
  alerts.hidden = !found.length;
  // Repainted only when they change: they are read aloud.
  if ([...alerts.children].map((item) => item.textContent).join("\n") === sentences.join("\n")) return;
  alerts.replaceChildren(...found.map((alert) => element("li", { "data-code": alert.code }, alert.sentence)));
}

/** What stands in place of an empty table: nobody, or nobody knows. @param {string} id @param {any[]} rows @param {boolean} known */
function paintNone(id, rows, known) {
  const none = find(id, HTMLElement);
  none.dataset.nobody ??= none.textContent ?? "";
  none.hidden = rows.length > 0;
  setText(none, known ? none.dataset.nobody : gettext("The slot store cannot be reached."));
}

/** @param {any} snapshot */
function paint(snapshot) {
  paintAlerts(snapshot.alerts);
  paintTiles(snapshot);
  running.show(snapshot.running);
  queued.show(snapshot.queued);
  find("#ddx-running", HTMLElement).hidden = !snapshot.running.length;
  paintNone("#ddx-none-running", snapshot.running, snapshot.slots.known);
  find("#ddx-queued", HTMLElement).hidden = !snapshot.queued.length;
  paintNone("#ddx-none-queued", snapshot.queued, snapshot.slots.known);
  const more = snapshot.queued_in_all - snapshot.queued.length;
  const rest = find("#ddx-more-queued", HTMLElement);
  rest.hidden = !more;
  setText(rest, fill(ngettext("and %(n)s more", "and %(n)s more", more), { n: count(more) }));
}

function paintStatus() {
  page.dataset.feed = feed.state;
  if (feed.state === "live") {
    setText(status, gettext("Live"));
  } else if (feed.state === "connecting") {
    setText(status, gettext("Connecting…"));
  } else if (feed.state === "signed-out") {
    const again = element("a", { href: location.href }, gettext("Sign in again"));
    status.replaceChildren(`${gettext("You are no longer signed in; these numbers are old.")} `, again);
  } else if (Number.isNaN(feed.age)) {
    setText(status, gettext("There is no connection. Trying again…"));
  } else {
    const words = gettext("Connection lost; the numbers are from %(time)s ago. Trying again…");
    setText(status, fill(words, { time: duration(feed.age) }));
  }
}

const scheme = location.protocol === "https:" ? "wss" : "ws";
const feed = new Feed(`${scheme}://${location.host}${page.dataset.socket}`, paint, () => paintStatus());
paintStatus();
