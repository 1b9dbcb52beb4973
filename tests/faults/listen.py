# SPDX-License-Identifier: MIT
"""The listeners: each a thread that hears GET /changes from the beginning to the end, through whatever clone is there.

A listener that loses its stream, or is tired of it, goes on at another clone with its last token. What it hears is
written down: `told` operations, and `deaf` where a 410 made it begin anew with the present state.
"""
import base64
import http.client
import json
import random
import socket
import threading
import time
import traceback

from history import value_id

READ_SECONDS = 20    # a heartbeat comes every 15
PATIENCE_SECONDS = 6  # mean, with one clone


class Listener(threading.Thread):
    def __init__(self, number, seed, clones, history, problems):
        super().__init__(name="listener-%d" % number, daemon=True)
        self.clones, self.history, self.problems = clones, history, problems
        self.random = random.Random("listen/%s/%d" % (seed, number))
        self.at = number % len(clones)
        self.token = "0"
        self.values = number % 2 == 0
        self.connection = None
        self.stopping = threading.Event()
        self.streams = self.heard = 0

    def run(self):
        try:
            while not self.stopping.is_set():
                self.listen()
                self.at = (self.at + 1) % len(self.clones)
                self.stopping.wait(0.05)
        except Exception:  # the harness itself is broken
            self.problems.append("%s: %s" % (self.name, traceback.format_exc()))

    def listen(self):
        clone = self.clones[self.at]
        name, port = clone.name, clone.port
        if not port:
            return
        until = time.monotonic() + self.random.expovariate(1 / PATIENCE_SECONDS)
        try:
            self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=READ_SECONDS)
            self.connection.request("GET", "/changes?since=%s%s" % (self.token, "&include=value" if self.values else ""),
                                    headers={"Accept": "application/x-ndjson"})
            answer = self.connection.getresponse()
            if answer.status == 200:
                self.streams += 1
                self.hear(name, answer, until)
            elif answer.status == 410:
                self.history.add(kind="deaf", client=self.name, clone=name, begin=time.monotonic_ns())
                self.token = "0"
            elif answer.status != 503:
                self.problems.append("%s: %d %s" % (self.name, answer.status, answer.read()))
        except (OSError, http.client.HTTPException, AttributeError):
            pass  # the clone ended, or this stopped
        finally:
            self.connection.close()

    def hear(self, clone, answer, until):
        for line in answer:
            if not line.endswith(b"\n"):
                return
            event = json.loads(line)
            self.token = event["token"]
            if event["event"] != "progress":
                self.note(clone, event)
            if time.monotonic() > until or self.stopping.is_set():
                return

    def note(self, clone, event):
        self.heard += 1
        key = event["key"] if "key" in event else base64.b64decode(event["key_base64"]).decode("utf-8", "replace")
        value = event.get("value")
        if "value_base64" in event:
            value = base64.b64decode(event["value_base64"])
        read = value_id(value.encode() if isinstance(value, str) else value) if value is not None else None
        self.history.add(kind="told", client=self.name, clone=clone, key=key, version=int(event["version"]),
                         status=event["event"], read=read, begin=0, end=time.monotonic_ns())

    def stop(self):
        self.stopping.set()
        connection = self.connection
        if connection and connection.sock:
            try:
                connection.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
