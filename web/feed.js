// SPDX-License-Identifier: MIT
// The changes below a prefix, as they happen (docs/feed.md).
import { encode, fromJSON } from "./keys.js";

const SILENCE_MS = 40_000; // without a word for so long the connection is dead: it speaks every 15 s
const HIDDEN_MS = 30_000; // a tab that nobody looks at gives its connection back: a browser has six for a server
const RETRY_MS = [500, 1000, 2000, 5000, 10_000];

export class Feed {
  // on.begin: the changes from here on will come, those before may not have; asks for a fresh list.
  // on.change: { event, key, version, type, expires }, in order per key, perhaps more than once.
  // on.state: "live", "waiting" (for the server to come back), "off" (it has no feed).
  constructor(prefix, on) {
    this.prefix = prefix;
    this.on = on;
    this.token = null;
    this.failures = 0;
    this.onVisibility = () => this.visibility();
    document.addEventListener("visibilitychange", this.onVisibility);
    this.open();
  }

  close() {
    document.removeEventListener("visibilitychange", this.onVisibility);
    this.closed = true;
    this.stop();
  }

  stop() {
    clearTimeout(this.timer);
    this.source?.close();
    this.source = null;
  }

  address() {
    return `/changes?prefix=${encode(this.prefix)}&since=${this.token ? encode(this.token) : "now"}`;
  }

  open() {
    this.stop();
    const source = (this.source = new EventSource(this.address()));
    source.addEventListener("progress", (message) => this.progress(message));
    for (const event of ["put", "delete"]) source.addEventListener(event, (message) => this.change(event, message));
    source.addEventListener("error", () => {
      if (source !== this.source) return;
      this.on.state("waiting");
      if (source.readyState === EventSource.CLOSED) this.refused();
    });
    this.listen();
  }

  listen() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.open(), SILENCE_MS);
  }

  heard(message) {
    const begun = this.token === null;
    this.token = message.lastEventId || this.token;
    this.failures = 0;
    this.listen();
    this.on.state("live");
    if (begun && this.token) this.on.begin();
  }

  progress(message) {
    this.heard(message);
  }

  change(event, message) {
    this.heard(message);
    const data = JSON.parse(message.data);
    this.on.change({ event, key: fromJSON(data, "key"), version: data.version, type: data.type, expires: data.expires });
  }

  // An EventSource does not tell why it was refused: ask once more, for a short answer.
  async refused() {
    const answer = await fetch(`${this.address()}&limit=1`, { headers: { Accept: "application/json" } }).catch(() => null);
    if (this.closed) return;
    const lost = answer?.status === 410 || answer?.status === 400; // too long away, or another store now
    if (lost) this.token = null;
    if (answer?.status === 404) this.on.state("off");
    const pause = RETRY_MS[Math.min(this.failures++, RETRY_MS.length - 1)];
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.open(), answer?.status === 410 ? 0 : pause);
  }

  visibility() {
    clearTimeout(this.hiding);
    if (document.hidden) this.hiding = setTimeout(() => this.stop(), HIDDEN_MS);
    else if (!this.source) this.open();
  }
}
