#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""client: the chat in a terminal.   client.py URL ROOM NAME

All of a room lies under one prefix, and one feed tells all of it:

    chat/ROOM/m/TIME-RANDOM    a message, {"name", "text"}; TIME is milliseconds since 1970, so keys sort by time
    chat/ROOM/here/NAME        NAME is here; ends by itself when it is not renewed
"""
import json
import os
import re
import secrets
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from sherd import Store, Unavailable  # noqa: E402

KEEP_SECONDS = 7 * 24 * 3600  # how long messages are kept: the history
WORD = re.compile(r"[A-Za-z0-9_-]{1,40}")
MESSAGE = re.compile(r"m/\d{13}-[0-9a-f]{16}")


class Room:
    """A room as one member sees it. `messages` and `here` are kept up to date by a thread."""

    def __init__(self, url, room, name, on_message=lambda *_: None, here_seconds=15):
        if not all(WORD.fullmatch(word) for word in (room, name)):
            raise ValueError("rooms and names have 1 to 40 letters, digits, _ or -")
        self.store = Store(url)
        self.prefix = "chat/%s/" % room
        self.name = name
        self.messages = {}   # key: (name, text); sorted by key they are sorted by time
        self.here = {}       # name: when its presence ends, seconds since 1970
        self.told = threading.Event()  # the history has come
        self.left = threading.Event()
        self.on_message, self.here_seconds = on_message, here_seconds
        self.last_time = 0
        threading.Thread(target=self._listen, daemon=True).start()
        self.staying = threading.Thread(target=self._stay, daemon=True)
        self.staying.start()

    def send(self, text):
        """Returns the key of the message when it is stored, and not before."""
        # Never twice the same time: what one member sends stays in order, also if the clock is set back.
        self.last_time = max(time.time_ns() // 1000000, self.last_time + 1)
        key = "%sm/%013d-%s" % (self.prefix, self.last_time, secrets.token_hex(8))
        value = json.dumps({"name": self.name, "text": text})
        # Tried again until there is an answer. Nobody else has this key, so one that is taken is our own from an
        # earlier try: that one was stored, its answer got lost.
        self.store.create(key, value.encode(), ttl=KEEP_SECONDS)
        return key

    def members(self):
        return sorted(name for name, until in self.here.copy().items() if until > time.time())

    def history(self):
        """[(key, name, text)], newest last."""
        return [(key, *self.messages[key]) for key in sorted(self.messages.copy())]

    def leave(self):
        self.left.set()
        self.staying.join()
        self.store.delete(self.prefix + "here/" + self.name)

    def _listen(self):
        for event in self.store.changes(self.prefix, since="0", stopped=self.left.is_set):
            if event["event"] == "progress":
                self.told.set()  # the first comes when all that is there has been told
            elif event["event"] == "restart":
                self.here.clear()
            else:
                self._take(event)

    def _take(self, event):
        key, rest = event["key"], event["key"][len(self.prefix):]
        if rest.startswith("here/") and WORD.fullmatch(rest[5:]):
            # That a pair expired is no event: whoever cares looks at the clock.
            self.here[rest[5:]] = event.get("expires", 0) / 1000
        elif event["event"] == "put" and MESSAGE.fullmatch(rest) and key not in self.messages:  # it may be told twice
            try:
                message = json.loads(event["value"])
                name, text = str(message["name"]), str(message["text"])
            except (ValueError, TypeError, KeyError):
                return  # anybody may have written anything there
            self.messages[key] = (name, text)
            self.on_message(key, name, text)

    def _stay(self):
        while not self.left.is_set():
            try:
                self.store.put(self.prefix + "here/" + self.name, b"", ttl=self.here_seconds)
            except Unavailable:
                pass
            self.left.wait(self.here_seconds / 3)


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__.splitlines()[0])

    def show(key, name, text):
        when = time.localtime(int(key.rpartition("/")[2].partition("-")[0]) / 1000)
        line = "%s %s: %s" % (time.strftime("%H:%M:%S", when), name, text)
        print("".join(c if c.isprintable() else "?" for c in line), flush=True)  # it must not steer our terminal

    room = Room(*sys.argv[1:], on_message=show)
    try:
        for line in sys.stdin:
            if line.strip() == "/who":
                print("here: " + ", ".join(room.members()), flush=True)
            elif line.strip():
                room.send(line.rstrip("\n"))
    except KeyboardInterrupt:
        pass
    finally:
        room.leave()


if __name__ == "__main__":
    main()
