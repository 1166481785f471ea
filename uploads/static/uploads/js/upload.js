/**
 * One file on its way: announced, sent over one connection after another, resumed by itself. Knows no page; a view
 * listens for `change` and reads.
 */

import { Problem, randomKey } from "./api.js";
import { pauseBefore } from "./backoff.js";
import { hasNoWayBack, holdsEverything, isRetryable, isSuperseded } from "./endings.js";
import { readableName } from "./format.js";
import { explain, explainEnding, explainLostProtection, maySucceedLater, PROTECTION_LOST } from "./refusals.js";
import { AT_THE_SERVER, OVER, PAUSABLE, UNDER_WAY } from "./states.js";
import { announce, withdraw } from "./ticket.js";
import { Transmission } from "./transmission.js";
import { forget, remember, settle } from "./unfinished.js";

/** @typedef {import("./states.js").State} State @typedef {import("./ticket.js").Ticket} Ticket
 * @typedef {import("./protection.js").Protection} Protection
 */

/** A cause that lasts longer than this is shown with a button, not waited for. */
export const LONGEST_WAIT_SECONDS = 15 * 60;
/** A lost upload that comes back sooner than this keeps its place among those at the server. */
const KEEPS_PLACE_SECONDS = 60;
/** A connection that held for this long makes its loss a new one, not one more in a row. */
const STEADY_MS = 30_000;

/**
 * For how long an upload lets the one chosen before it go first: a slow answer must not hold up the others. Well within
 * the 10 s that the server waits for `start`.
 */
const ORDER_MS = 6_000;

/** @param {number} ms */
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Tells of `change`, and of `holdback` (detail: code, message, retryAfter) when the server wants nothing from here. */
export class Upload extends EventTarget {
  /** @type {State} */
  #state = "waiting";
  #file;
  #key = "";
  /** @type {Ticket | null} */
  #ticket;
  #fromEarlier;
  /** Made when there is something to send: thousands of files may wait. @type {Transmission | null} */
  #transmission = null;
  #failures = 0;
  #connectedAt = 0;
  #keepsPlace = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  /** Grows whenever what is under way becomes void, so that a late answer is known as late. */
  #turn = 0;

  /** Resolved once the upload has asked for its place in line, or will not. */
  asked;
  /** The `asked` of the upload chosen before it: places are asked for in that order. @type {Promise<unknown>} */
  after = Promise.resolve();
  /** @type {() => void} */
  #tellAsked = () => {};

  /** The folders that the file lies in, "/" between them; may be empty. */
  path;
  /** Announced with others: it cannot start before they all are. */
  isBatched;
  /** Was of a batch and had to begin anew: the link of the batch does not lead to it. */
  isApart = false;
  stored = 0;
  /**
   * What the storage lost, in bytes, and the code of the cause, until it is there again.
   * @type {{from: number, to: number, reason: string} | null}
   */
  setback = null;
  /** @type {import("./connection.js").Place | null} */
  place = null;
  /** A sentence on what went wrong, or "". */
  message = "";
  /** When a lost upload tries again, in milliseconds of `Date.now()`. */
  retryAt = 0;
  /** Whether that moment is the page's own guess, and not one that the server named. */
  isGuessing = false;
  /** @type {import("./connection.js").Success | null} */
  result = null;
  /** Whether "try again" makes sense for a failed upload. */
  canRetry = false;
  /** The person may not send at all, and so none of the others either. */
  isBarred = false;
  /** Goes before others that wait on this device: somebody asked for it. */
  urgent = false;
  /** Who may have it; null where that was set before a reload, and is not known here. @type {Protection | null} */
  protection;

  /**
   * @param {import("./dropped.js").Chosen} chosen
   * @param {Ticket | null} [earlier] the upload of the same file to go on with, or to show as done
   * @param {boolean} [isBatched]
   * @param {Protection} [protection] of a new one
   */
  constructor({ file, path }, earlier = null, isBatched = earlier?.batch != null, protection = {}) {
    super();
    this.#file = file;
    this.path = path;
    this.name = readableName(file.name);
    this.isBatched = isBatched;
    this.#ticket = earlier;
    this.#fromEarlier = earlier !== null;
    this.protection = earlier?.isProtected ? null : protection;
    this.asked = new Promise((resolve) => {
      this.#tellAsked = () => resolve(undefined);
    });
    if (!earlier?.done) return;
    this.#state = "done";
    this.stored = file.size;
    this.result = { share_url: earlier.shareUrl, value: "", sha256: null, receipt: {} };
  }

  get state() {
    return this.#state;
  }

  get file() {
    return this.#file;
  }

  get size() {
    return this.#file.size;
  }

  /** Its standing at the server; null before it is announced, and when there is no way back to it. */
  get ticket() {
    return this.#ticket;
  }

  get fileId() {
    return this.#ticket?.fileId ?? null;
  }

  /** Bytes per second, or null while too little is known. */
  get speed() {
    return this.#state === "uploading" ? (this.#transmission?.speed ?? null) : null;
  }

  /** Whether it needs one of the few places that the page keeps at the server. */
  get isActive() {
    return AT_THE_SERVER.has(this.#state) || (this.#state === "lost" && this.#keepsPlace);
  }

  /** Whether it may start when its turn comes, even if others of its batch may not. */
  get isAnnounced() {
    return this.#ticket !== null || !this.isBatched;
  }

  get canPause() {
    return PAUSABLE.has(this.#state);
  }

  /** Whether it is over, well or not, and only its entry is left. */
  get isOver() {
    return OVER.has(this.#state);
  }

  /** Whether leaving the page would interrupt it. */
  get isUnderWay() {
    return UNDER_WAY.has(this.#state);
  }

  /** Its turn has come. */
  start() {
    clearTimeout(this.#timer);
    this.urgent = false;
    if (this.#ticket) this.#connect();
    else this.#announce();
  }

  pause() {
    this.#stop();
    this.#become("paused");
  }

  /** Back to where uploads wait for their turn, before the others; starts afresh where there is no way back. */
  again() {
    if (!this.#ticket && this.isOver) {
      this.#leaveBatch();
      this.#key = "";
    }
    this.#failures = 0;
    this.#rejoin();
  }

  /** Goes on with a file that was chosen again; as a new upload if it is not the same file. @param {File} file */
  useFile(file) {
    const same =
      file.name === this.#file.name && file.size === this.size && file.lastModified === this.#file.lastModified;
    this.#end();
    if (!same) {
      this.#tellCancelled(this.#ticket);
      this.#abandon();
    }
    this.#file = file;
    this.name = readableName(file.name);
    this.again();
  }

  cancel() {
    const ticket = this.#ticket;
    this.cancelledElsewhere();
    this.#tellCancelled(ticket);
  }

  /** It was cancelled at the server already. */
  cancelledElsewhere() {
    this.#end();
    this.#abandon();
    this.#become("cancelled");
  }

  /** The complete file was deleted. */
  deletedElsewhere() {
    this.result = null;
    this.#become("deleted");
  }

  /** Comes back now instead of at `retryAt`. */
  tryNow() {
    if (this.#state === "lost") this.#rejoin();
  }

  /** Waits for its turn, before those that never had one. */
  #rejoin() {
    this.#stop();
    this.urgent = true;
    this.#become("waiting");
  }

  // --- Of a batch ---

  /** The batch was announced. @param {Ticket} ticket */
  admit(ticket) {
    if (this.isOver) return this.#tellCancelled(ticket); // given up in the meantime
    this.#ticket = ticket;
    remember(ticket);
    this.#changed();
  }

  /** The server does not want this file in the batch. @param {string} reason @param {boolean} canRetry */
  refuse(reason, canRetry) {
    this.canRetry = canRetry;
    this.#become("refused", reason);
  }

  /** Others of the batch were refused: waits until somebody decides. */
  holdBack() {
    if (this.#state === "waiting") this.#become("held");
  }

  letGo() {
    if (this.#state === "held") this.#become("waiting");
  }

  /** The complete file is known from elsewhere. @param {import("./api.js").FileFacts} facts */
  completedElsewhere(facts) {
    if (!this.#ticket) return;
    this.#succeed({ share_url: this.#ticket.shareUrl, value: facts.download_url, sha256: facts.sha256, receipt: {} });
  }

  /** What it is now is a new upload. */
  #leaveBatch() {
    if (this.isBatched) this.isApart = true;
    this.isBatched = false;
  }

  /** The network may have changed under an open connection. */
  doubt() {
    this.#transmission?.doubt();
  }

  /** Lets go of everything, as when the entry leaves the list. */
  dispose() {
    this.#end();
  }

  // --- Announcing ---

  async #announce() {
    // Never sent anew without the password that it had.
    if (this.protection === null) return this.#fail(explainLostProtection(), PROTECTION_LOST);
    const turn = ++this.#turn;
    const key = (this.#key ||= randomKey());
    this.#become("announcing");
    try {
      const ticket = await announce(this.#file, this.path, key, this.protection);
      if (key !== this.#key) return this.#tellCancelled(ticket); // given up in the meantime
      if (turn !== this.#turn && this.#ticket) return; // a later answer has the newer token
      this.#ticket = ticket;
      remember(ticket);
      if (turn === this.#turn) this.#connect();
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      if (turn !== this.#turn) return;
      const message = explain(error);
      if (holdsEverything(error)) this.#yieldTo(error.code, message, error.retryAfter);
      else if (error.retryable) this.#comeBack(message, error.retryAfter);
      else this.#fail(message, error.code);
    }
  }

  // --- Sending ---

  /** @param {{quietly?: boolean}} [how] quietly: the view goes on to show what was last known */
  #connect({ quietly = false } = {}) {
    if (!this.#ticket) return;
    this.#turn += 1;
    this.#connectedAt = performance.now();
    if (!quietly) {
      this.place = null;
      this.#become("connecting");
    }
    this.#transmission ??= this.#newTransmission();
    this.#transmission.open(this.#ticket, Promise.race([this.after, wait(ORDER_MS)]));
  }

  #newTransmission() {
    return new Transmission(this.#file, {
      started: () => this.#tellAsked(),
      queued: (place) => {
        this.place = place;
        this.#become("queued");
      },
      ready: (offset) => {
        this.#fromEarlier = false;
        this.stored = offset;
        this.#become("uploading");
      },
      rewound: (offset, reason) => {
        this.setback = { from: Math.max(this.stored, this.setback?.from ?? 0), to: offset, reason };
      },
      progress: (stored) => {
        if (this.setback && stored > this.setback.from) this.setback = null; // made good
        if (stored > this.stored) this.#failures = 0; // it moves, so the next loss is a new one
        this.stored = stored;
        this.#changed();
      },
      isStored: () => this.stored === this.size,
      finishing: () => this.#become("finishing"),
      digested: () => this.#connect(),
      verifying: () => {
        this.stored = this.size;
        this.#become("verifying");
      },
      success: (success) => this.#succeed(success),
      cancelled: () => this.cancelledElsewhere(),
      unreadable: () => this.#becomeUnreadable(),
      ended: (ending) => this.#ended(ending),
    });
  }

  /** @param {import("./connection.js").Success} success */
  #succeed(success) {
    this.#end();
    this.stored = this.size;
    this.setback = null;
    this.result = success;
    if (this.#ticket) settle(this.#ticket);
    this.#become("done");
  }

  /** @param {import("./connection.js").Ending} ending */
  #ended(ending) {
    if (isSuperseded(ending)) {
      this.#release();
      return this.#become("elsewhere");
    }
    if (this.#fromEarlier && hasNoWayBack(ending)) {
      // What this browser remembered is over at the server: the person wants the file sent, so send it anew.
      this.#abandon();
      return this.#announce();
    }
    if (performance.now() - this.#connectedAt > STEADY_MS) this.#failures = 0;
    if (ending.silent && this.#failures === 0) {
      this.#failures = 1;
      return this.#connect({ quietly: true });
    }
    const message = explainEnding(ending);
    if (holdsEverything(ending)) return this.#yieldTo(ending.code, message, ending.retryAfter);
    if (isRetryable(ending)) return this.#comeBack(ending.detail && message, ending.retryAfter);
    if (hasNoWayBack(ending)) this.#abandon();
    this.#fail(message, ending.code);
  }

  // --- Ends and pauses ---

  /**
   * The server wants nothing from this page for a while: whoever decides whose turn it is hears of it.
   * @param {string} code @param {string} message @param {number | null} retryAfter seconds
   */
  #yieldTo(code, message, retryAfter) {
    this.#stop();
    this.urgent = true;
    this.dispatchEvent(new CustomEvent("holdback", { detail: { code, message, retryAfter } }));
    this.#become("waiting");
  }

  /** @param {string} message @param {number | null} retryAfter seconds */
  #comeBack(message, retryAfter) {
    if (retryAfter && retryAfter > LONGEST_WAIT_SECONDS) return this.#fail(message, "");
    this.#release();
    this.#failures += 1;
    const seconds = pauseBefore(this.#failures, retryAfter);
    this.#keepsPlace = seconds < KEEPS_PLACE_SECONDS;
    this.retryAt = Date.now() + seconds * 1000;
    this.isGuessing = !retryAfter;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#rejoin(), seconds * 1000);
    this.#become("lost", message);
  }

  /** @param {string} message @param {string} code of the cause */
  #fail(message, code) {
    this.#stop();
    this.canRetry = maySucceedLater(code);
    this.isBarred = code === "forbidden";
    this.#become("failed", message);
  }

  #becomeUnreadable() {
    this.#end();
    this.#become("unreadable");
  }

  /** @param {Ticket | null} ticket */
  async #tellCancelled(ticket) {
    const facts = ticket && (await withdraw(ticket));
    if (!facts || this.#state !== "cancelled") return;
    // It came too late: the file is there, and the person should know.
    this.result = { share_url: ticket.shareUrl, value: facts.download_url, sha256: facts.sha256, receipt: {} };
    this.stored = this.size;
    this.isApart = false;
    this.#become("done");
  }

  /** Forgets the upload at the server; the next try is a new one. */
  #abandon() {
    if (this.#ticket) {
      forget(this.#ticket.fileId);
      this.#leaveBatch();
    }
    this.#ticket = null;
    this.#fromEarlier = false;
    this.#key = "";
    this.stored = 0;
  }

  /** Stops what is under way; nothing late is listened to. */
  #stop() {
    this.#turn += 1;
    clearTimeout(this.#timer);
    this.#release();
  }

  #release() {
    this.#transmission?.pause();
    this.place = null;
  }

  /** Lets go of the digest as well: the file is not sent again as it is. */
  #end() {
    this.#stop();
    this.#transmission?.stop();
    this.#transmission = null;
  }

  /** @param {State} state @param {string} [message] */
  #become(state, message = "") {
    this.#state = state;
    if (!["waiting", "held", "announcing", "connecting"].includes(state)) this.#tellAsked();
    this.message = message;
    this.#changed();
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}
