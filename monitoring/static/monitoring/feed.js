/** The socket that brings the snapshots. It reconnects by itself, and always knows how old the last one is. */

import { pauseBefore } from "../uploads/js/backoff.js";

/** The server sends at least every 5 s; after this the numbers are old, whatever the socket says. */
const SILENCE_SECONDS = 9;
/** The server's close code for somebody who is signed in as staff no longer. */
const NO_LONGER_STAFF = 4403;

export class Feed {
  /**
   * @param {string} address
   * @param {(snapshot: any) => void} onSnapshot
   * @param {() => void} onChange called when the feed becomes live, is lost, or is ended, and each second while it is lost
   */
  constructor(address, onSnapshot, onChange) {
    this.address = address;
    this.onSnapshot = onSnapshot;
    this.onChange = onChange;
    /** @type {"connecting" | "live" | "lost" | "signed-out"} */
    this.state = "connecting";
    /** @type {WebSocket | null} */
    this.socket = null;
    /** When the last snapshot came, on the clock of `performance`; NaN before the first. */
    this.receivedAt = NaN;
    this.openedAt = 0;
    this.failures = 0;
    this.retry = 0;
    setInterval(() => this.tick(), 1000);
    addEventListener("online", () => this.connectSoon(0));
    document.addEventListener("visibilitychange", () => document.hidden || this.connectSoon(0));
    this.connect();
  }

  /** Seconds since the last snapshot. */
  get age() {
    return (performance.now() - this.receivedAt) / 1000;
  }

  connect() {
    clearTimeout(this.retry);
    this.retry = 0;
    this.openedAt = performance.now();
    const socket = new WebSocket(this.address);
    this.socket = socket;
    socket.onmessage = (event) => {
      if (socket !== this.socket) return;
      this.receivedAt = performance.now();
      this.failures = 0;
      this.enter("live");
      this.onSnapshot(JSON.parse(event.data));
    };
    socket.onclose = (event) => {
      if (socket === this.socket) this.lost(event.code);
    };
  }

  /** @param {number} code */
  lost(code) {
    this.socket = null;
    this.failures += 1;
    if (code === NO_LONGER_STAFF) {
      this.enter("signed-out");
      return;
    }
    this.enter("lost");
    this.connectSoon(pauseBefore(this.failures));
    this.askWhetherSignedOut();
  }

  /** A refused handshake tells a script nothing, but the page itself would now lead to the sign-in page. */
  async askWhetherSignedOut() {
    try {
      const answer = await fetch(location.href, { method: "HEAD", redirect: "manual", cache: "no-store" });
      if (answer.type === "opaqueredirect" && this.state === "lost") {
        clearTimeout(this.retry);
        this.enter("signed-out");
      }
    } catch {
      // No answer at all: the network or the server is away, and the next try will tell.
    }
  }

  /** @param {number} seconds */
  connectSoon(seconds) {
    if (this.socket || this.state === "signed-out") return;
    clearTimeout(this.retry);
    this.retry = setTimeout(() => this.connect(), seconds * 1000);
  }

  tick() {
    const since = Number.isNaN(this.receivedAt) ? this.openedAt : Math.max(this.receivedAt, this.openedAt);
    if (this.socket && (performance.now() - since) / 1000 > SILENCE_SECONDS) {
      const silent = this.socket;
      this.lost(1006);
      silent.close();
    }
    if (this.state === "lost") this.onChange();
  }

  /** @param {Feed["state"]} state */
  enter(state) {
    if (state === this.state) return;
    this.state = state;
    this.onChange();
  }
}
