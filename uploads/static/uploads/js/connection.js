import { FileBlocks, Unreadable } from "./file-blocks.js";

/**
 * One socket of one upload (wire.md, "WebSocket"): says `start`, keeps to the window, obeys rewinds and pauses, and
 * tells its listener. It never reconnects; a new connection is a new object.
 */

/**
 * @typedef {object} Place where the upload stands in the server's line
 * @property {number} position from 1
 * @property {string} waiting_for
 * @property {number | null} eta_seconds
 *
 * @typedef {object} Success
 * @property {string} share_url
 * @property {string} value where to download
 * @property {string | null} sha256
 * @property {Record<string, any>} receipt
 *
 * @typedef {object} Ending
 * @property {number} closeCode
 * @property {string} code the cause: from the message, else the close reason; may be empty
 * @property {string} detail the server's sentence; may be empty
 * @property {boolean | null} retryable null where the server said nothing
 * @property {number | null} retryAfter seconds
 * @property {boolean} silent given up from here, because nothing was heard for long
 *
 * @typedef {object} Listener
 * @property {() => void} started it has asked for its place
 * @property {(place: Place) => void} queued
 * @property {(offset: number) => void} ready the sending begins, or goes back, at `offset`
 * @property {(offset: number, reason: string) => void} rewound the storage lost what was behind `offset`; `ready` follows
 * @property {(stored: number) => void} progress
 * @property {(start: number, block: Uint8Array<ArrayBuffer>) => Promise<void>} sent a block of the file is on its way,
 *   and is the listener's; the next is not sent before it says so
 * @property {() => void} sentAll every byte is on its way: time for `finish`
 * @property {() => void} unreadable the file can no longer be read, and the connection was given up
 * @property {() => void} verifying
 * @property {(success: Success) => void} success
 * @property {() => void} cancelled
 * @property {(ending: Ending) => void} ended the socket closed without success
 */

const OPEN_MS = 20_000;
/** A line may stand still for long; a dead network may say nothing for ever. */
const SILENT_IN_LINE_MS = 60_000;
const SILENT_WITH_BYTES_OUT_MS = 45_000;
const SILENT_WHEN_DOUBTED_MS = 6_000;
const WATCH_MS = 2_000;
/** Of our own, so that the server keeps the slot for the next connection; 1000 would give it up. */
const CLOSE_TO_RECONNECT = 4000;

/** The socket's address for a path of this server. @param {string} path */
function socketUrl(path) {
  const url = new URL(path, location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return url;
}

export class Connection {
  #socket;
  #file;
  /** @type {Listener | null} */
  #listener;
  #phase = /** @type {"opening" | "line" | "sending" | "held" | "verifying" | "left"} */ ("opening");
  #wasReady = false;
  #sent = 0;
  #finishSaid = false;
  #received = 0;
  #window = 0;
  #chunk = 0;
  #heardAt = performance.now();
  #doubted = false;
  /** Grows when the sending begins anew or stops, so that an older run knows that it is over. */
  #run = 0;
  /** Makes a run that waits for room look again. @type {() => void} */
  #wake = () => {};
  #watch;
  /** @type {{code?: string, value?: string, retryable?: boolean, retry_after?: number | null} | null} */
  #error = null;

  /**
   * @param {string} path @param {string} token @param {File} file @param {Listener} listener
   * @param {Promise<unknown>} turn when it may ask for its place in line
   */
  constructor(path, token, file, listener, turn) {
    this.#file = file;
    this.#listener = listener;
    this.#socket = new WebSocket(socketUrl(path));
    this.#socket.onopen = () => {
      this.#phase = "line";
      this.#heardAt = performance.now();
      turn.then(() => {
        if (this.#phase !== "line") return;
        this.#say({ type: "start", token });
        this.#listener?.started();
      });
    };
    this.#socket.onmessage = (event) => {
      this.#heardAt = performance.now();
      this.#doubted = false;
      if (typeof event.data === "string") this.#hear(JSON.parse(event.data));
    };
    this.#socket.onclose = (event) => this.#end(event.code, event.reason);
    this.#watch = setInterval(() => this.#look(), WATCH_MS);
  }

  /** Ends the upload's use of this socket: slot and place are free at once. Nothing more is told. */
  pause() {
    this.#leave(1000);
  }

  /** Says that all is sent. Ignored where a rewind or a pause came in between. @param {string | null} sha256 */
  finish(sha256) {
    if (this.#phase !== "sending" || this.#sent !== this.#file.size || this.#finishSaid) return;
    this.#finishSaid = true;
    this.#say(sha256 ? { type: "finish", sha256 } : { type: "finish" });
  }

  /** The network may have changed: be content with a shorter silence until the server is heard again. */
  doubt() {
    this.#doubted = true;
  }

  /** @param {object} message */
  #say(message) {
    this.#socket.send(JSON.stringify(message));
  }

  /** @param {any} message */
  #hear(message) {
    switch (message.type) {
      case "queued":
        // After `ready` this is an admin's pause: what was sent and not yet received may be dropped.
        this.#phase = this.#wasReady ? "held" : "line";
        this.#stopSending();
        this.#listener?.queued(message);
        break;
      case "ready":
        this.#chunk = message.chunk_size;
        this.#window = message.window;
        this.#goFrom(message.offset, this.#wasReady);
        this.#wasReady = true;
        break;
      case "progress":
        this.#received = message.received;
        this.#listener?.progress(message.stored);
        this.#wake();
        break;
      case "rewind":
        this.#listener?.rewound(message.offset, message.reason);
        this.#goFrom(message.offset, true);
        break;
      case "verifying":
        this.#phase = "verifying";
        this.#listener?.verifying();
        break;
      case "success":
        this.#tell((listener) => listener.success(message));
        break;
      case "cancelled":
        this.#tell((listener) => listener.cancelled());
        break;
      case "error":
        this.#error = message;
        // The socket stays open after `incomplete`; its true offset is learnt by coming back.
        if (message.code === "incomplete") this.#lose(false);
    }
  }

  /** @param {number} offset @param {boolean} resume the server waits for `resume` before it takes bytes again */
  #goFrom(offset, resume) {
    this.#phase = "sending";
    this.#finishSaid = false;
    this.#sent = this.#received = offset;
    if (resume) this.#say({ type: "resume", offset });
    this.#listener?.ready(offset);
    this.#send(offset);
  }

  #stopSending() {
    this.#run += 1;
    this.#wake();
  }

  /** Reads the file from `offset` on and sends it as the window allows. @param {number} offset */
  async #send(offset) {
    this.#stopSending();
    const run = this.#run;
    const blocks = new FileBlocks(this.#file, offset);
    try {
      for (let block; run === this.#run && (block = await blocks.next()); ) {
        const start = offset;
        offset += block.length; // of which nothing is left when the listener has it
        if (run === this.#run) await this.#sendBlock(start, block, run);
      }
      if (run === this.#run) this.#listener?.sentAll();
    } catch (error) {
      if (!(error instanceof Unreadable)) throw error;
      if (run !== this.#run) return;
      const listener = this.#listener;
      this.pause();
      listener?.unreadable();
    } finally {
      blocks.stop();
    }
  }

  /** @param {number} start @param {Uint8Array<ArrayBuffer>} block @param {number} run */
  async #sendBlock(start, block, run) {
    for (let from = 0; from < block.length; ) {
      const to = Math.min(from + this.#chunk, block.length);
      // A chunk is at most half a window, so that waiting for room for a whole one never stalls.
      while (start + to > this.#received + this.#window) {
        await new Promise((resolve) => (this.#wake = () => resolve(undefined)));
        if (run !== this.#run) break;
      }
      if (this.#socket.readyState !== WebSocket.OPEN) this.#stopSending();
      if (run !== this.#run) break;
      this.#socket.send(block.subarray(from, to));
      this.#sent = start + to;
      from = to;
    }
    await this.#listener?.sent(start, block);
  }

  /** Finds a connection that is dead though nobody said so. */
  #look() {
    const silence = performance.now() - this.#heardAt;
    const bytesOut = this.#phase === "sending" && this.#sent > this.#received;
    let limit = Infinity;
    if (this.#phase === "opening") limit = OPEN_MS;
    else if (bytesOut) limit = this.#doubted ? SILENT_WHEN_DOUBTED_MS : SILENT_WITH_BYTES_OUT_MS;
    else if (this.#phase !== "sending") limit = this.#doubted ? SILENT_WHEN_DOUBTED_MS : SILENT_IN_LINE_MS;
    if (silence > limit) this.#lose(true);
  }

  /** @param {boolean} silent */
  #lose(silent) {
    const listener = this.#listener;
    this.#leave(CLOSE_TO_RECONNECT);
    listener?.ended({ ...this.#ending(1006, ""), silent });
  }

  /** @param {number} code @param {string} reason */
  #end(code, reason) {
    this.#tell((listener) => {
      if (code === 1000 && (reason === "cancelled" || this.#error?.code === "cancelled")) listener.cancelled();
      else listener.ended(this.#ending(code, reason));
    });
  }

  /** @param {number} closeCode @param {string} reason @returns {Ending} */
  #ending(closeCode, reason) {
    const error = this.#error;
    return {
      closeCode,
      code: error?.code ?? reason,
      detail: error?.value ?? "",
      retryable: error?.retryable ?? null,
      retryAfter: error?.retry_after ?? null,
      silent: false,
    };
  }

  /** The last word to the listener. @param {(listener: Listener) => void} word */
  #tell(word) {
    const listener = this.#listener;
    this.#listener = null;
    clearInterval(this.#watch);
    this.#stopSending();
    if (listener) word(listener);
  }

  /** @param {number} code */
  #leave(code) {
    this.#listener = null;
    clearInterval(this.#watch);
    this.#phase = "left";
    this.#stopSending();
    this.#socket.close(code);
  }
}
