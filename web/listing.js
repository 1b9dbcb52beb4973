// SPDX-License-Identifier: MIT
// What is listed below a prefix: pages of keys, and the changes to them as they happen.
import * as api from "./api.js";
import { Feed } from "./feed.js";
import { Rows } from "./rows.js";

const FIRST_PAGE = 200; // enough for any screen
const NEXT_PAGE = 2000;
const REFRESH_PAGE = 10_000;
const ROWS_MAX = 500_000; // more than anybody scrolls, and less than browsers can lay out
const FEED_MS = 300; // so long the first page waits for the feed
const DRAW_MS = 15; // changes that come within it are drawn together
const SWEEP_MS = 1000;

export class Listing {
  // on.listed(): the first page is there; on.update(): rows changed; on.change(change), after it is in the
  // rows; on.missed(): changes were missed, and the rows are listed anew; on.state(state): see Feed.
  constructor(prefix, delimiter, on) {
    this.prefix = prefix;
    this.on = on;
    this.rows = new Rows(prefix, delimiter);
    this.query = { prefix, delimiter };
    this.abort = new AbortController();
    this.listed = false;
    this.next = null; // what api.list() takes for the next page
    this.problem = null;
    this.loading = 0; // pages that are under way or wait for each other
    this.pages = Promise.resolve(); // the last of them
    this.queue = []; // changes that are not in the rows yet
    this.replay = []; // changes since the page under way was asked for: it may not have them
    this.checking = new Map(); // folder → whether it has to be looked at once more
    this.mortal = new Map(); // key → the change that said when it expires
    this.sweeper = setInterval(() => this.sweep(), SWEEP_MS);
    this.begin();
  }

  close() {
    this.abort.abort();
    this.feed.close();
    clearTimeout(this.drawing);
    clearInterval(this.sweeper);
  }

  get closed() {
    return this.abort.signal.aborted;
  }

  // What is listed after the feed has begun misses nothing; but nobody waits long for a feed.
  async begin() {
    await new Promise((resolve) => {
      setTimeout(resolve, FEED_MS);
      this.feed = new Feed(this.prefix, {
        begin: () => (this.listed || this.loading ? this.refresh() : resolve()),
        change: (change) => this.changed(change),
        state: (state) => {
          this.on.state(state);
          if (state !== "live") resolve();
        },
      });
    });
    if (!this.closed) this.first();
  }

  // ---------------------------------------------------------------- pages

  // work() asks for pages, when those before have come. What changes meanwhile is applied to them.
  load(work) {
    this.loading++;
    this.pages = this.pages.then(async () => {
      this.replay = [];
      this.problem = null;
      try {
        this.abort.signal.throwIfAborted();
        await work();
        this.check(this.rows.apply(this.replay));
      } catch (error) {
        if (error.name !== "AbortError") this.problem = error.message;
      }
      this.loading--;
    });
    return this.pages;
  }

  page(items, next, rows) {
    // Only an address on this server, whatever the body says.
    this.next = next?.startsWith("/keys?") ? next.replace(/limit=\d+/, `limit=${NEXT_PAGE}`) : null;
    rows.addPage(items, this.next !== null);
  }

  async first() {
    await this.load(async () => {
      const { keys, next } = await api.list({ ...this.query, limit: FIRST_PAGE }, this.abort.signal);
      this.page(keys, next, this.rows);
      this.listed = true;
    });
    if (!this.closed) this.on.listed();
  }

  async more() {
    if (this.loading || this.problem || !this.next || this.full) return;
    await this.load(async () => {
      const { keys, next } = await api.list(this.next, this.abort.signal);
      this.page(keys, next, this.rows);
    });
    if (!this.closed) this.on.update();
  }

  get full() {
    return this.rows.all.length >= ROWS_MAX;
  }

  // Lists anew what was listed, because changes may have been missed.
  async refresh() {
    const { rows } = this;
    await this.load(async () => {
      const fresh = new Rows(rows.prefix, rows.delimiter);
      let query = { ...this.query, limit: Math.min(REFRESH_PAGE, Math.max(FIRST_PAGE, rows.all.length)) };
      do {
        const { keys, next } = await api.list(query, this.abort.signal);
        this.page(keys, next, fresh);
        query = this.next?.replace(/limit=\d+/, `limit=${REFRESH_PAGE}`);
      } while (query && (rows.reach === null || fresh.reach < rows.reach) && fresh.all.length < ROWS_MAX);
      Object.assign(rows, { all: fresh.all, reach: fresh.reach });
      this.listed = true;
    });
    if (!this.closed) this.on.missed();
  }

  // ---------------------------------------------------------------- changes

  // From the feed, or of this page's own making.
  changed(change) {
    this.queue.push(change);
    if (this.loading) this.replay.push(change);
    this.drawing ??= setTimeout(() => this.draw(), DRAW_MS);
  }

  draw() {
    this.drawing = null;
    const changes = this.queue;
    this.queue = [];
    this.check(this.rows.apply(changes, Date.now()));
    for (const change of changes)
      if (change.expires) this.mortal.set(change.key, change);
      else if (this.mortal.get(change.key)?.version !== change.version) this.mortal.delete(change.key);
    this.on.update();
    for (const change of changes) this.on.change(change);
  }

  // No change tells of an expiry.
  sweep() {
    let swept = false;
    for (const [key, change] of this.mortal) {
      if (change.expires > Date.now()) continue;
      this.mortal.delete(key);
      if (this.rows.find(key)?.version !== change.version) continue;
      this.rows.drop(key);
      swept = true;
    }
    if (swept) this.on.update();
  }

  // Looks whether folders in which something was deleted have anything left.
  check(folders) {
    for (const folder of folders) {
      if (this.checking.has(folder)) this.checking.set(folder, true);
      else this.checkOne(folder);
    }
  }

  async checkOne(folder) {
    let page;
    do {
      this.checking.set(folder, false);
      page = await api.list({ prefix: folder, limit: 1 }, this.abort.signal).catch(() => null);
    } while (this.checking.get(folder) && !this.closed);
    this.checking.delete(folder);
    if (this.closed || page?.keys.length !== 0) return;
    this.rows.drop(folder);
    this.on.update();
  }
}
