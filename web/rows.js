// SPDX-License-Identifier: MIT
// The rows of a list, in the order of their bytes, as far as they were fetched. A row is a key
// { name, type, version } or a folder { name, folder: true }. Pure: knows neither server nor screen.
import { fromJSON, newer } from "./keys.js";

const FEW = 32; // changes that are put in one by one; more of them are merged

const byName = (a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0);

export function rowOf(item) {
  if ("prefix" in item || "prefix_base64" in item) return { name: fromJSON(item, "prefix"), folder: true };
  return { name: fromJSON(item, "key"), type: item.type, version: item.version };
}

export class Rows {
  constructor(prefix, delimiter) {
    this.prefix = prefix;
    this.delimiter = delimiter;
    this.all = [];
    this.reach = ""; // rows up to here were fetched; null: all
  }

  // Where the row of that name is or would be.
  position(name) {
    let low = 0;
    let high = this.all.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.all[middle].name < name) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  find(name) {
    const row = this.all[this.position(name)];
    return row?.name === name ? row : null;
  }

  // Takes a further page; `more` tells whether others follow it.
  addPage(items, more) {
    const rows = items.map(rowOf);
    const last = rows.at(-1)?.name ?? this.reach;
    // A change may have brought one of them already.
    const known = new Map(this.all.slice(this.position(rows[0]?.name ?? last)).map((row) => [row.name, row]));
    const fresh = rows.filter((row) => !known.has(row.name));
    this.all = known.size ? this.all.concat(fresh).sort(byName) : this.all.concat(fresh);
    this.reach = more ? last : null;
  }

  // Takes changes in their order: [{ event, key, type, version }]. Returns the folders that may have
  // become empty; whoever asked for that looks and calls drop().
  apply(changes, now = 0) {
    const added = new Map();
    const gone = new Set();
    const doubtful = new Set();
    for (const change of changes) {
      if (!change.key.startsWith(this.prefix)) continue;
      const cut = this.delimiter ? change.key.indexOf(this.delimiter, this.prefix.length) : -1;
      const name = cut < 0 ? change.key : change.key.slice(0, cut + this.delimiter.length);
      if (this.reach !== null && name > this.reach) continue; // its page will bring it
      const row = added.get(name) ?? (gone.has(name) ? null : this.find(name));
      if (cut >= 0) {
        if (change.event === "delete") doubtful.add(name);
        else if (!row) added.set(name, { name, folder: true, touched: now });
      } else if (change.event === "delete") {
        if (!row || newer(row.version, change.version)) continue;
        added.delete(name);
        gone.add(name);
      } else if (!row) {
        added.set(name, { name, type: change.type, version: change.version, touched: now });
      } else if (newer(change.version, row.version)) {
        Object.assign(row, { type: change.type, version: change.version, touched: now });
      }
    }
    this.merge([...added.values()], gone);
    return [...doubtful].filter((name) => this.find(name));
  }

  merge(added, gone) {
    if (added.length + gone.size > FEW) {
      this.all = this.all.filter((row) => !gone.has(row.name)).concat(added).sort(byName);
      return;
    }
    for (const name of gone) this.drop(name);
    for (const row of added) this.all.splice(this.position(row.name), 0, row);
  }

  drop(name) {
    const at = this.position(name);
    if (this.all[at]?.name === name) this.all.splice(at, 1);
  }
}
