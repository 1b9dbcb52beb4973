# SPDX-License-Identifier: MIT
"""The examples' client of Sherd, before a server that misbehaves after a plan."""
import http.server
import json
import socket
import threading
import unittest

from common import Store
from sherd import Refused, Unavailable


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.asked.append("%s %s" % (self.command, self.path))
        status, headers, body = self.server.plan.pop(0)
        if status is None:  # carried out perhaps, and nobody hears of it
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_PUT = do_DELETE = do_POST = answer

    def log_message(self, *_):
        pass


LOST = (None, {}, b"")
AWAY = (503, {}, b"")
UNKNOWN = (504, {}, b"")
TAKEN = (412, {}, b"")


def done(status, version="7", body=b"", **headers):
    return (status, {"ETag": '"%s"' % version, **headers}, body)


def events(*lines):
    """A stream that ends."""
    return (200, {}, b"".join(json.dumps(line).encode() + b"\n" for line in lines))


class Client(unittest.TestCase):
    def store(self, *plan, patience=5):
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.plan, self.server.asked = list(plan), []
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)
        return Store("http://127.0.0.1:%d" % self.server.server_port, patience)

    def test_a_write_is_tried_again_until_it_is_acknowledged(self):
        store = self.store(AWAY, LOST, UNKNOWN, (502, {}, b""), done(201))
        self.assertEqual("7", store.put("k", b"v"))
        self.assertEqual(["PUT /keys/k"] * 5, self.server.asked)

    def test_create_knows_its_own_pair_after_an_answer_was_lost(self):
        for lost in (LOST, UNKNOWN):
            self.assertEqual("7", self.store(lost, TAKEN, done(200, body=b"mine")).create("k", b"mine"))
            self.assertIsNone(self.store(lost, TAKEN, done(200, body=b"other")).create("k", b"mine"))
            self.assertIsNone(self.store(lost, TAKEN, (404, {}, b"")).create("k", b"mine"))

    def test_create_believes_the_first_answer(self):
        self.assertIsNone(self.store(TAKEN).create("k", b"mine"))
        self.assertEqual(["PUT /keys/k"], self.server.asked)

    def test_replace_knows_its_own_pair_after_an_answer_was_lost(self):
        self.assertEqual("8", self.store(LOST, TAKEN, done(200, "8", b"mine")).replace("k", b"mine", "7"))

    def test_patience_ends_and_refusals_are_final(self):
        with self.assertRaises(Unavailable):
            self.store(*[AWAY] * 100, patience=0.3).put("k", b"v")
        with self.assertRaises(Refused):
            self.store((413, {}, b"")).put("k", b"v")

    def test_a_certain_get_does_not_believe_that_there_is_nothing_while_a_partition_is_away(self):
        nothing = (404, {"Sherd-Stale": "1"}, b"")
        self.assertIsNone(self.store(nothing).get("k"))
        self.assertEqual(b"v", self.store(nothing, nothing, done(200, body=b"v")).get("k", certain=True).value)

    def test_changes_goes_on_with_the_last_token_and_starts_again_when_it_is_too_old(self):
        def put(token, key):
            return {"event": "put", "token": token, "key": key, "version": "1", "value": "v"}

        store = self.store(events({"event": "progress", "token": "1"}, put("2", "a")), AWAY, LOST, (400, {}, b""),
                           (200, {"Content-Length": "1000", "Connection": "close"}, b'{"event":"put","token":"broken'),
                           (410, {}, b""), events(put("3", "a"), put("4", "b")))
        found = []
        for event in store.changes("p/", stopped=lambda: len(found) == 5):
            found.append((event["event"], event.get("key")))
        self.assertEqual([("progress", None), ("put", "a"), ("restart", None), ("put", "a"), ("put", "b")], found)
        since = [asked.partition("since=")[2].partition("&")[0] for asked in self.server.asked]
        self.assertEqual(["now", "2", "2", "2", "2", "2", "0"], since)

    def test_keys_turns_pages(self):
        pages = [(200, {}, json.dumps({"keys": [{"key": key} for key in keys], "next": more}).encode())
                 for keys, more in (("ab", "/keys?more"), ("c", None))]
        self.assertEqual(["a", "b", "c"], list(self.store(*pages).keys("")))
        self.assertTrue(self.server.asked[1].startswith("GET /keys?prefix=&after=b&"))

    def test_values_in_the_order_of_the_keys(self):
        lines = (b'{"key":"a","status":200,"value":"x"}\n{"key":"b","status":404}\n'
                 b'{"key":"c","status":200,"value_base64":"/w=="}\n')
        self.assertEqual([b"x", None, b"\xff"], self.store((200, {}, lines)).values(["a", "b", "c"]))


if __name__ == "__main__":
    unittest.main()
