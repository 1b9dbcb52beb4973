// SPDX-License-Identifier: MIT
// A pair: its value in the form that suits it, its editor, and what to do when it changes elsewhere.
import * as api from "./api.js";
import { newer, parse, show, time as timeOf } from "./keys.js";
import { $, fillKey, hex, indentJSON, make, say, size, span, time } from "./show.js";

const IMAGES = ["image/png", "image/jpeg", "image/gif", "image/webp", "image/avif", "image/bmp", "image/x-icon"];
const WHOLE_MAX = 4 * 1024 * 1024; // text and hex beyond that are for other programs
const HEX_MAX = 256 * 1024;
const EDIT_MAX = 1024 * 1024;
const TEXT_TYPE = "text/plain; charset=utf-8";

const bare = (type) => type.split(";")[0].trim().toLowerCase();

// The text of UTF-8, null if the bytes are none. `part`: a character may be cut off at the end.
function textOf(bytes, part) {
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes, { stream: part });
    // eslint-disable-next-line no-control-regex
    return /[\0-\x08\x0e-\x1f]/.test(text) ? null : text;
  } catch {
    return null;
  }
}

// A textarea knows only LF: what the lines ended with before, null if with this and that.
function lineEnd(text) {
  const crlf = text.split("\r\n").length - 1;
  const cr = text.split("\r").length - 1;
  const lf = text.split("\n").length - 1;
  if (cr === 0) return "\n";
  return cr === crlf && lf === crlf ? "\r\n" : null;
}

export class Pair {
  // on.changed(change): this page wrote; on.closed(); on.opened(key): a key that was created; sure(text, yes): asks.
  constructor(on) {
    this.on = on;
    this.key = null; // null: closed, or a new key is being written
    this.value = null; // as api.get gave it
    this.form = null; // how it is shown
    this.editing = false;
    $("close").addEventListener("click", () => this.on.closed());
    $("edit").addEventListener("click", () => this.edit());
    $("delete").addEventListener("click", () => this.remove(this.key, this.value.version));
    $("download").addEventListener("click", (event) => this.download(event));
    $("whole").addEventListener("click", () => this.load(true));
    $("cancel").addEventListener("click", () => this.cancel());
    $("editor").addEventListener("submit", (event) => {
      event.preventDefault();
      this.save();
    });
    $("file").addEventListener("change", () => this.onFile());
    $("text").addEventListener("input", () => this.hintText());
    window.addEventListener("beforeunload", (event) => this.dirty() && event.preventDefault());
  }

  // A link cannot carry the token: the value is fetched, and the browser saves that.
  async download(event) {
    if (!api.signedIn()) return;
    event.preventDefault();
    const { key } = this; // another may be open when it has come
    const { download } = $("download");
    try {
      const link = make("a", { href: URL.createObjectURL(await api.whole(key)), download });
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    } catch (error) {
      if (this.key === key) this.notice(error.message);
    }
  }

  // ---------------------------------------------------------------- opening and closing

  get open() {
    return !$("pair").hidden;
  }

  // `focus` is moved to it unless the page has just been loaded.
  async show(key, focus = true) {
    this.reset();
    this.key = key;
    $("pair").hidden = false;
    fillKey($("name"), key);
    const address = api.address(key);
    $("download").hidden = !address;
    if (address) {
      $("download").href = address;
      $("download").download = show(key).split("/").at(-1);
    }
    if (focus) $("name").focus({ preventScroll: true });
    await this.load(false);
  }

  hide() {
    this.reset();
    $("pair").hidden = true;
  }

  reset() {
    this.abort?.abort();
    this.key = this.value = this.form = null;
    this.wholeWanted = false;
    this.stopEditing();
    this.notice();
    this.picture();
    for (const id of ["facts", "content", "forms", "name"]) $(id).replaceChildren();
    $("shown").hidden = true;
    $("part").hidden = true;
    clearTimeout(this.expiry);
  }

  // Whether it may be left; asks if something would be lost.
  async leave() {
    return !this.dirty() || this.on.sure("Leave without saving what you wrote?", "Discard it");
  }

  // ---------------------------------------------------------------- loading and showing

  async load(whole) {
    const { key } = this;
    this.abort?.abort();
    this.abort = new AbortController();
    this.wholeWanted = whole;
    try {
      const value = await api.get(key, whole, this.abort.signal);
      if (key !== this.key) return;
      const image = IMAGES.includes(bare(value.type)); // a part of a picture is none
      if (image && value.size > value.bytes.length) return void (await this.load(true));
      this.notice();
      this.fill(value);
    } catch (error) {
      if (error.name === "AbortError" || key !== this.key) return;
      if (error.status === 404) this.absent("There is no such key.");
      else this.notice(error.message, ["Try again", () => this.load(whole)]);
    }
  }

  absent(text) {
    this.value = null;
    clearTimeout(this.expiry);
    this.picture();
    $("shown").hidden = true;
    $("facts").replaceChildren();
    this.notice(text, ["Create it", () => this.create(this.key)]);
  }

  fill(value) {
    this.value = value;
    $("shown").hidden = this.editing;
    this.fillFacts();
    this.fillForms();
    const rest = value.size - value.bytes.length;
    $("part").hidden = rest === 0;
    $("part-text").textContent = `The first ${size(value.bytes.length)} of ${size(value.size)}.`;
    $("whole").hidden = value.size > WHOLE_MAX;
    clearTimeout(this.expiry);
    // No change tells of an expiry: look again when it is due.
    if (value.ttl !== null && value.ttl < 86_400) this.expiry = setTimeout(() => this.refresh(), value.ttl * 1000 + 50);
  }

  fillFacts() {
    const { type, size: bytes, version, ttl, partition, stale } = this.value;
    const changed = timeOf(version);
    const facts = [
      ["Type", type],
      ["Size", bytes < 1024 ? `${bytes} bytes` : `${size(bytes)} (${bytes.toLocaleString("en")} bytes)`],
      ["Version", version],
      ["Changed", time(changed)],
      ["Expires", ttl === null ? "never" : `${time(Date.now() + ttl * 1000)} (in ${span(ttl)})`],
      ["Partition", partition ?? "unknown"],
    ];
    if (stale) facts.push(["Stale", `partition ${stale} could know something newer`]);
    $("facts").replaceChildren(...facts.map(([name, text]) => make("div", {}, make("dt", {}, name), make("dd", {}, text))));
  }

  // Which forms suit the value, the best first.
  formsOf({ bytes, size: total, type }) {
    const part = bytes.length < total;
    const text = textOf(bytes, part);
    const forms = new Map();
    if (IMAGES.includes(bare(type))) forms.set("Image", () => this.picture(new Blob([bytes], { type: bare(type) })));
    if (text !== null && !part && (/json/i.test(type) || /^\s*[{[]/.test(text))) {
      try {
        const indented = indentJSON(text);
        forms.set("JSON", () => make("pre", {}, indented));
      } catch {
        // it is shown as what it is
      }
    }
    if (text !== null) forms.set("Text", () => make("pre", {}, text));
    forms.set("Hex", () => this.hexOf(bytes));
    return forms;
  }

  hexOf(bytes) {
    const rest = bytes.length > HEX_MAX ? `\n… ${size(bytes.length - HEX_MAX)} more` : "";
    return make("pre", { class: "hex" }, hex(bytes.subarray(0, HEX_MAX)) + rest);
  }

  fillForms() {
    this.forms = this.formsOf(this.value);
    const names = [...this.forms.keys()];
    // The same buttons stay: one of them may have the focus.
    if (names.join() !== Array.from($("forms").children, (button) => button.textContent).join()) {
      $("forms").replaceChildren(...names.map((name) => {
        const button = make("button", { type: "button" }, name);
        button.addEventListener("click", () => this.showForm(name));
        return button;
      }));
    }
    this.showForm(this.forms.has(this.form) ? this.form : names[0]);
  }

  showForm(name) {
    this.form = name;
    for (const button of $("forms").children) button.setAttribute("aria-pressed", String(button.textContent === name));
    this.picture();
    $("content").replaceChildren(this.value.size ? this.forms.get(name)() : make("p", { class: "empty" }, "empty"));
  }

  // Makes the picture of a blob and forgets the one before.
  picture(blob) {
    if (this.url) URL.revokeObjectURL(this.url);
    this.url = blob ? URL.createObjectURL(blob) : null;
    if (!blob) return null;
    const image = make("img", { alt: "the value as a picture", src: this.url });
    image.addEventListener("error", () => {
      image.replaceWith(make("p", { class: "empty" }, "This is no picture that the browser understands."));
    });
    return image;
  }

  refresh() {
    if (this.key !== null && !this.editing) this.load(this.wholeWanted);
  }

  // ---------------------------------------------------------------- changes from elsewhere

  // A change of this key, made by anybody, perhaps by this page.
  heard(change) {
    if (change.key !== this.key) return;
    if (this.saving) {
      this.meanwhile = change; // whether it is our own is known when the answer is there
      return;
    }
    if (this.value && !newer(change.version, this.value.version)) return;
    if (this.editing) this.conflict(change.event === "delete");
    else if (change.event === "delete") {
      this.absent("It was deleted.");
      say(`${show(change.key)} was deleted`);
    } else this.load(this.wholeWanted);
  }

  conflict(deleted) {
    const what = deleted ? "This key was deleted" : "This value was changed";
    this.notice(`${what} since you opened it. Nothing of yours was saved.`,
      [deleted ? "Drop mine" : "Drop mine, show theirs", () => this.takeTheirs()],
      ["Save mine over it", () => this.overwrite()]);
  }

  takeTheirs() {
    this.stopEditing();
    this.load(this.wholeWanted);
    $("name").focus({ preventScroll: true });
  }

  async overwrite() {
    try {
      await this.save(await api.currentVersion(this.key));
    } catch (error) {
      this.notice(error.message);
    }
  }

  // ---------------------------------------------------------------- editing

  // A new pair; its key, or what the key shall begin with.
  create(key, prefix = "") {
    this.reset();
    $("pair").hidden = false;
    $("name").textContent = "New key";
    this.startEditing({ key: show(key ?? prefix), type: TEXT_TYPE, ttl: null, text: "" });
    $(key === null ? "key" : "text").focus();
  }

  edit() {
    const { bytes, size: total, type, ttl } = this.value;
    const text = total <= EDIT_MAX ? textOf(bytes, false) : null;
    const whole = bytes.length === total;
    this.startEditing({ key: null, type, ttl, text: whole ? text : null });
    if (!whole) $("text-hint").textContent = "Too large to edit here (show all of it first), but a file can replace it.";
    else if (text === null) $("text-hint").textContent = "This value is no text, but a file can replace it.";
    $(whole && text !== null ? "text" : "file").focus();
  }

  startEditing({ key, type, ttl, text }) {
    this.editing = true;
    this.notice();
    $("editor").hidden = false;
    $("shown").hidden = true;
    $("key-label").hidden = key === null;
    $("key").required = key !== null;
    $("key").value = key ?? "";
    $("type").value = type;
    $("ttl").value = ttl ?? "";
    $("file").value = "";
    $("text-label").hidden = text === null;
    $("text").value = text ?? "";
    $("save").textContent = key === null ? "Save" : "Create";
    this.lineEnd = lineEnd(text ?? "");
    this.textBefore = $("text").value;
    this.hintText();
  }

  stopEditing() {
    this.editing = false;
    $("editor").hidden = true;
    $("shown").hidden = !this.value;
  }

  dirty() {
    return this.editing && ($("text").value !== this.textBefore || $("file").files.length > 0);
  }

  async cancel() {
    if (!(await this.leave())) return;
    if (this.key === null) return void this.on.closed();
    this.stopEditing();
    this.notice();
    await this.load(this.wholeWanted);
    $("edit").focus();
  }

  onFile() {
    const file = $("file").files[0];
    if (file?.type) $("type").value = file.type;
    this.hintText();
  }

  hintText() {
    const hints = [];
    if ($("file").files.length) hints.push("The file will be the value, not the text.");
    else if ($("text").value !== this.textBefore) {
      if (this.lineEnd === null) hints.push("Its lines end in different ways; saved, all will end with LF.");
      if (/json/i.test($("type").value)) hints.push(this.problemOfJSON());
    }
    $("text-hint").textContent = hints.join(" ");
  }

  problemOfJSON() {
    try {
      JSON.parse($("text").value);
      return "";
    } catch {
      return "This is no valid JSON (yet).";
    }
  }

  async bytesToSave() {
    const file = $("file").files[0];
    if (file) return new Uint8Array(await file.arrayBuffer());
    if ($("text-label").hidden) return null;
    return new TextEncoder().encode($("text").value.replaceAll("\n", this.lineEnd ?? "\n"));
  }

  // `match` is the version that the pair must have; null: it must not be there.
  async save(match = this.value?.version ?? null) {
    const creates = this.key === null;
    const key = creates ? parse($("key").value) : this.key;
    const bytes = await this.bytesToSave();
    if (!bytes) return this.notice("Choose a file that shall be the value.");
    const type = $("type").value.trim();
    const ttl = $("ttl").value;
    this.saving = true;
    this.meanwhile = null;
    $("save").disabled = true;
    try {
      const { status, version } = await api.put(key, bytes, { type, ttl, match });
      this.stopEditing();
      this.on.changed({ event: "put", key, version, type: type || "application/octet-stream" });
      say(status === 202 ? "Saved, on fewer partitions than asked for" : "Saved");
      if (creates) this.on.opened(key);
      else {
        await this.load(this.wholeWanted);
        $("name").focus({ preventScroll: true });
      }
    } catch (error) {
      this.failed(error, key, creates);
    } finally {
      this.saving = false;
      $("save").disabled = false;
      if (this.meanwhile) this.heard(this.meanwhile);
    }
  }

  failed(error, key, creates) {
    if (error.status === 412 && creates) this.notice("This key is there already.", ["Show it", () => this.on.opened(key)]);
    else if (error.status === 412) this.conflict(false);
    else this.notice(error instanceof api.Problem ? error.message : `It cannot be sent: ${error.message}`);
  }

  // ---------------------------------------------------------------- deleting

  async remove(key, version) {
    if (!(await this.on.sure(`Delete ${show(key)}?`, "Delete"))) return;
    try {
      const done = await api.remove(key, version);
      say(`Deleted ${show(key)}`);
      this.on.changed({ event: "delete", key, version: done.version });
      if (this.key === key) this.on.closed();
    } catch (error) {
      const changed = error.status === 412;
      const text = changed ? "It was changed meanwhile, and not deleted." : error.message;
      if (this.key !== key) return say(text);
      if (changed) await this.load(this.wholeWanted);
      this.notice(text);
    }
  }

  // ---------------------------------------------------------------- telling

  // Buttons are [text, action]; without a text the notice goes.
  notice(text = "", ...buttons) {
    $("notice-text").textContent = text;
    $("notice-buttons").replaceChildren(...buttons.map(([name, action]) => {
      const button = make("button", { type: "button" }, name);
      button.addEventListener("click", action);
      return button;
    }));
    $("notice").hidden = !text;
  }
}

