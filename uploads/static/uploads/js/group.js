/**
 * Uploads that stand together in the list: the files of one batch, or single ones. A batch is announced as a whole,
 * and says itself what became of that. Knows no page.
 */

import { batchFacts, cancelBatch, initiateBatch, Problem, randomKey } from "./api.js";
import { pauseBefore } from "./backoff.js";
import { holdsEverything } from "./endings.js";
import { gettext } from "./i18n.js";
import { leftOut } from "./left-out.js";
import { describe, titleInWords } from "./parts.js";
import { Rate } from "./rate.js";
import { explain, maySucceedLater } from "./refusals.js";
import { FAILED, OVER, SETTLED } from "./states.js";
import { Tally } from "./tally.js";
import { ticketOf } from "./ticket.js";
import { remembered } from "./unfinished.js";
import { LONGEST_WAIT_SECONDS } from "./upload.js";

/** @typedef {import("./upload.js").Upload} Upload @typedef {import("./unfinished.js").BatchNote} BatchNote
 * @typedef {import("./protection.js").Protection} Protection
 */

/**
 * single: its uploads are announced one by one. new: waits for its turn. lost: tries again at `retryAt`. refused:
 * somebody has to decide.
 * @typedef {"single" | "new" | "announcing" | "lost" | "refused" | "announced"} Standing
 */

/** Tells of `change` (detail: the upload, or null for the group itself) and `holdback` (as an upload does). */
export class Group extends EventTarget {
  /** @type {Standing} */
  #standing = "single";
  #title = "";
  /** @type {{number: number, of: number} | null} */
  #part = null;
  /** @type {Upload[]} */
  #uploads = [];
  /** The order in which they were chosen. @type {Map<Upload, number>} */
  #order = new Map();
  #counted = 0;
  #key = "";
  /** What the announcement under way speaks of; the same again where its answer was lost. @type {Upload[] | null} */
  #announced = null;
  #failures = 0;
  #turn = 0;
  #token = "";
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  tally = new Tally();
  rate = new Rate();
  /** Its standing at the server. @type {BatchNote | null} */
  batch = null;
  /** What went wrong with the group as a whole, or "". */
  message = "";
  retryAt = 0;
  /** Whether announcing what is left of it makes sense. */
  canSend = false;
  /** Whether it is announced at once, and not when its turn nears. */
  isEager = true;
  /** What was asked for before sending. @type {Protection} */
  protection = {};

  /**
   * A batch that is still to be announced. @param {string} title
   * @param {{number: number, of: number} | null} part where many files became several batches
   * @param {Protection} [protection] of the batch as a whole
   */
  static ofNew(title, part, protection = {}) {
    const group = new Group();
    group.#standing = "new";
    group.#title = title;
    group.#part = part;
    group.protection = protection;
    group.isEager = !part || part.number === 1;
    return group;
  }

  /** A batch that was announced before. @param {import("./ticket.js").Ticket} ticket of any of its files */
  static ofEarlier({ batch, token }) {
    const group = new Group();
    group.#standing = "announced";
    group.batch = batch ?? null;
    group.#title = batch?.title ?? "";
    group.#token = token;
    return group;
  }

  get standing() {
    return this.#standing;
  }

  get isBatch() {
    return this.#standing !== "single";
  }

  /** Empty where it has none. */
  get title() {
    return titleInWords(this.#title, this.#part);
  }

  /** Which of several batches it is, where the files chosen were too many for one. */
  get part() {
    return this.#part;
  }

  get uploads() {
    return /** @type {readonly Upload[]} */ (this.#uploads);
  }

  /** @param {Upload} upload */
  orderOf(upload) {
    return this.#order.get(upload) ?? 0;
  }

  /** @param {Upload[]} uploads */
  add(uploads) {
    for (const upload of uploads) {
      this.#order.set(upload, (this.#counted += 1));
      this.tally.count(upload);
      upload.addEventListener("change", () => this.#heard(upload));
      upload.addEventListener("holdback", (event) => this.#holdBack(/** @type {CustomEvent} */ (event).detail));
    }
    this.#uploads.push(...uploads);
  }

  /** @param {Upload} upload */
  #heard(upload) {
    if (!this.#order.has(upload)) return; // it has left the list
    const isNewState = this.tally.count(upload);
    if (isNewState && upload.state === "failed" && upload.isBarred) {
      for (const other of this.tally.list(["waiting"])) other.refuse(upload.message, true);
    }
    this.#changed(upload);
    if (isNewState && this.batch && this.tally.open === 0) remembered(); // forgets what is over
  }

  /** Takes uploads off the list. @param {Set<Upload>} gone */
  remove(gone) {
    this.#uploads = this.#uploads.filter((upload) => !gone.has(upload));
    for (const upload of gone) {
      this.tally.drop(upload);
      this.#order.delete(upload);
    }
    this.#changed(null);
  }

  // --- Whose turn it is ---

  /** The next to start, or undefined. @param {boolean} urgent only what somebody asked for */
  next(urgent) {
    const upload = urgent ? this.tally.firstUrgent : this.tally.firstWaiting;
    return upload?.isAnnounced ? upload : undefined;
  }

  /** Whether it waits to be announced, and has something to send. */
  get wantsAnnouncing() {
    return this.#standing === "new" && this.tally.firstWaiting?.isAnnounced === false;
  }

  // --- Announcing ---

  async announce() {
    const turn = ++this.#turn;
    const uploads = (this.#announced ??= this.#uploads.filter((upload) => !upload.isAnnounced && !upload.isOver));
    this.#key ||= randomKey();
    this.#become("announcing");
    try {
      const files = uploads.map((upload) => describe(upload.file, upload.path));
      const answer = await initiateBatch(files, this.title, this.#key, this.protection);
      this.#token = answer.files[0].upload_token;
      const isGivenUp = turn !== this.#turn || uploads.every((upload) => upload.isOver);
      if (isGivenUp) cancelBatch(answer.batch_id, this.#token).catch(() => {}); // or it expires by itself
      else this.#admit(uploads, answer);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      if (turn === this.#turn) this.#hearRefusal(error, uploads);
    }
  }

  /** @param {Upload[]} uploads @param {Awaited<ReturnType<typeof initiateBatch>>} answer */
  #admit(uploads, answer) {
    this.batch = { id: answer.batch_id, url: answer.batch_url, title: this.title, files: uploads.length };
    this.#failures = 0;
    for (const [index, upload] of uploads.entries()) {
      upload.admit(ticketOf(answer.files[index], upload.file, upload.path, this.batch, this.protection));
    }
    this.#become("announced");
  }

  /** @param {Problem} problem @param {Upload[]} uploads */
  #hearRefusal(problem, uploads) {
    const { code, retryAfter } = problem;
    if (holdsEverything(problem)) {
      this.#holdBack({ code, message: problem.message, retryAfter });
      return this.#become("new");
    }
    const isDay = code === "daily_limit_exceeded";
    if (problem.retryable && !isDay && (retryAfter ?? 0) <= LONGEST_WAIT_SECONDS) {
      this.#failures += 1;
      const milliseconds = pauseBefore(this.#failures, retryAfter) * 1000;
      this.retryAt = Date.now() + milliseconds;
      this.#timer = setTimeout(() => this.tryNow(), milliseconds);
      return this.#become("lost", problem.message);
    }
    this.#leaveOut(problem, uploads, isDay);
  }

  /**
   * Nothing of the batch was announced: says which files are why, and leaves the others to somebody's decision.
   * @param {Problem} problem @param {Upload[]} uploads @param {boolean} isDay what has no room today may have it later
   */
  #leaveOut(problem, uploads, isDay) {
    this.#announced = null;
    this.#key = "";
    const out = leftOut(problem, uploads);
    const canTryAgain = maySucceedLater(problem.code);
    for (const [upload, reason] of out) if (!upload.isOver) upload.refuse(reason, isDay);
    for (const upload of uploads) {
      if (out.size > 0 || canTryAgain) upload.holdBack();
      else if (!upload.isOver) upload.refuse(gettext("Not sent"), false);
    }
    this.canSend = this.tally.number(["held"]) > 0;
    this.#become("refused", out.size > 0 && !isDay ? "" : explain(problem));
  }

  /** Announces those that nobody refused. */
  sendOthers() {
    this.isEager = true;
    this.#standing = "new";
    this.message = "";
    for (const upload of this.tally.list(["held"])) upload.letGo();
    this.#changed(null);
  }

  tryNow() {
    if (this.#standing !== "lost") return;
    clearTimeout(this.#timer);
    this.isEager = true;
    this.#become("new");
  }

  // --- All at once ---

  pauseAll() {
    // Those that wait go first, so that none of them takes the place of one just paused.
    for (const upload of this.tally.list(["waiting"])) upload.pause();
    for (const upload of this.#uploads) if (upload.canPause) upload.pause();
  }

  resumeAll() {
    for (const upload of this.#uploads) if (upload.state === "paused") upload.again();
  }

  get failed() {
    return this.tally.list(FAILED).filter((upload) => upload.canRetry && upload.state !== "unreadable");
  }

  retryFailed() {
    for (const upload of this.failed) upload.again();
  }

  /** Cancels whatever is not over. Nothing more is sent even where the server cannot be told. */
  async cancelAll() {
    this.#turn += 1;
    clearTimeout(this.#timer);
    this.pauseAll();
    for (const upload of this.#uploads) if (!upload.isOver && (!upload.isBatched || !upload.fileId)) upload.cancel();
    this.canSend = false;
    if (!this.batch) return this.#become("refused");
    try {
      await cancelBatch(this.batch.id, this.#token);
      const facts = new Map((await batchFacts(this.batch.id, this.#token)).files.map((file) => [file.file_id, file]));
      for (const upload of this.#uploads) this.#learn(upload, facts.get(upload.fileId ?? ""));
      this.message = "";
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      this.message = error.message;
    }
    this.#changed(null);
  }

  /** @param {Upload} upload @param {import("./api.js").FileFacts | undefined} facts what the server says of it */
  #learn(upload, facts) {
    if (!facts || SETTLED.has(upload.state)) return;
    if (facts.status === "completed") upload.completedElsewhere(facts);
    else if (facts.status === "cancelled") upload.cancelledElsewhere();
  }

  /** Those of which only the entry is left; all of them where nothing is open. */
  get finished() {
    return this.tally.list(this.tally.open ? SETTLED : OVER);
  }

  // ---

  /** @param {import("./hold.js").Cause} cause */
  #holdBack(cause) {
    this.dispatchEvent(new CustomEvent("holdback", { detail: cause }));
  }

  /** @param {Standing} standing @param {string} [message] */
  #become(standing, message = "") {
    this.#standing = standing;
    this.message = message;
    this.#changed(null);
  }

  /** @param {Upload | null} upload */
  #changed(upload) {
    this.dispatchEvent(new CustomEvent("change", { detail: upload }));
  }
}
