# SPDX-License-Identifier: MIT
"""GET /changes: what listeners are told, of whose changes, in which order, and that nothing is missed."""
import base64
import http.client
import json
import os
import random
import re
import socket
import subprocess
import threading
import time
import unittest

from harness import BINARY, Server, Transaction, key_path, shared_nodes, wait_until
from test_fail import LIBRARY

SYNC = os.environ.get("SHERD_SYNC") or os.path.join(os.path.dirname(BINARY), "sherd-sync")
NDJSON = {"Accept": "application/x-ndjson"}


class Listener:
    """A stream of NDJSON; its events (without progress) are gathered by a thread."""

    def __init__(self, server, query="", headers=None, begun=True):
        self.connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        self.connection.request("GET", "/changes" + ("?" + query if query else ""), headers={**NDJSON, **(headers or {})})
        self.response = self.connection.getresponse()
        self.status = self.response.status
        self.events = []
        self.token = None
        self.progress = 0
        self.ended = False
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()
        if begun:
            wait_until(lambda: self.progress or self.ended, 10, "the stream has begun")

    def read(self):
        try:
            for line in self.response:
                event = json.loads(line)
                self.token = event["token"]
                if event["event"] == "progress":
                    self.progress += 1
                else:
                    self.events.append((time.monotonic(), event))
        except (OSError, http.client.HTTPException, ValueError, AttributeError):
            pass
        self.ended = True

    def told(self):
        return [(event["event"], key_of(event)) for _, event in list(self.events)]

    def last(self):
        """The last event of each key."""
        return {key_of(event): event for _, event in list(self.events)}

    def wait_for(self, count, seconds=10):
        wait_until(lambda: len(self.events) >= count, seconds, "%d events, are %d" % (count, len(self.events)))

    def close(self):
        if self.connection.sock:
            try:
                self.connection.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.thread.join(10)
        self.connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()


def sync(server):
    """Runs sherd-sync, which then keeps nothing of the logs that all have read."""
    server.configure("sync", keep_log=0)
    subprocess.run([SYNC, "--config", server.config], env=server.environment, check=True, timeout=60)


def more(wire):
    """What comes next on a connection."""
    assert wire.receive(10), "nothing came"
    data, wire.buffer = bytes(wire.buffer), b""
    return data


def key_of(event):
    return event["key"] if "key" in event else base64.b64decode(event["key_base64"])


def check_order(test, listener):
    """Of no key a lesser version behind a greater one."""
    greatest = {}
    for _, event in listener.events:
        key, version = key_of(event), int(event["version"])
        test.assertGreaterEqual(version, greatest.get(key, 0), event)
        greatest[key] = version


class WithServer(unittest.TestCase):
    overrides = {}
    partitions = 3

    def setUp(self):
        self.nodes = shared_nodes()
        self.nodes.start()
        self.nodes.truncate()
        self.server = self.new_server()

    def new_server(self):
        server = Server(self.nodes, self.overrides, self.partitions)
        self.addCleanup(server.discard)
        return server.start_up()

    def listen(self, query="", server=None, **options):
        listener = Listener(server or self.server, query, **options)
        self.addCleanup(listener.close)
        self.assertEqual(listener.status, 200)
        return listener

    def poll(self, query="", server=None, status=200, headers=None):
        answer = (server or self.server).request("GET", "/changes" + ("?" + query if query else ""), headers=headers)
        self.assertEqual(answer.status, status, answer.body)
        return answer.json()


class Forms(WithServer):
    def test_events(self):
        with self.server.wire() as wire:
            wire.send(b"GET /changes HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n")
            text = b""
            while b"event: progress" not in text or not text.endswith(b"\n\n\r\n"):
                text += more(wire)
            self.assertIn(b"Content-Type: text/event-stream\r\n", text)
            self.assertIn(b"retry: 1000\n\n", text)
            self.server.put("a\nb", b"x", {"Content-Type": "text/plain"})
            text = b""
            while b"event: put" not in text or not text.endswith(b"\n\n\r\n"):
                text += more(wire)
        lines = [line for line in text.decode().replace("\r\n", "\n").split("\n") if ":" in line]
        self.assertEqual(lines[0], "event: put")
        self.assertRegex(lines[1], r"^id: [0-9._~a-z-]+$")
        event = json.loads(lines[2][len("data: "):])
        self.assertEqual((event["key"], event["type"]), ("a\nb", "text/plain"))

    def test_a_poll_answers_at_once_without_wait(self):
        answer = self.poll()
        self.assertEqual(answer["changes"], [])
        self.server.put("a", b"1")
        changes = self.poll("wait=10&since=" + answer["token"])["changes"]
        self.assertEqual([(c["event"], c["key"]) for c in changes], [("put", "a")])

    def test_a_poll_waits_for_a_change(self):
        token = self.poll()["token"]
        timer = threading.Timer(0.3, lambda: self.server.put("later", b"1"))
        timer.start()
        changes = self.poll("wait=30&since=" + token)["changes"]
        timer.join()
        self.assertEqual([c["key"] for c in changes], ["later"])

    def test_a_poll_ends_when_its_time_is_up(self):
        began = time.monotonic()
        self.assertEqual(self.poll("wait=1")["changes"], [])
        self.assertGreaterEqual(time.monotonic() - began, 0.9)

    def test_a_poll_that_waited_takes_no_more_than_its_limit(self):
        token = self.poll()["token"]
        timer = threading.Timer(0.3, lambda: self.nodes.sql(1, "INSERT INTO pairs(k,v) VALUES('a',1),('b',1),('c',1)"))
        timer.start()
        answer = self.poll("limit=2&wait=30&since=" + token)
        timer.join()
        rest = self.poll("wait=10&since=" + answer["token"])
        self.assertEqual([2, 1], [len(answer["changes"]), len(rest["changes"])])
        self.assertEqual({"a", "b", "c"}, {c["key"] for c in answer["changes"] + rest["changes"]})

    def test_a_silent_stream_is_told_that_it_is_alive(self):
        began, listener = time.monotonic(), self.listen()
        wait_until(lambda: listener.progress >= 2, 20, "a heartbeat after 15 s")
        self.assertGreater(time.monotonic() - began, 10)

    def test_pages_of_the_present_state_by_limit(self):
        for i in range(7):
            self.server.put("k%d" % i, b"v%d" % i, {"Content-Type": "text/plain"})
        since, found = "0", []
        for _ in range(10):
            answer = self.poll("limit=2&include=value&since=" + since)
            found += [(c["key"], c["value"]) for c in answer["changes"]]
            since = answer["token"]
            if not answer["changes"]:
                break
        self.assertEqual(sorted(set(found)), [("k%d" % i, "v%d" % i) for i in range(7)])
        self.server.put("k3", b"new")
        self.assertEqual([c["key"] for c in self.poll("wait=10&since=" + since)["changes"]], ["k3"])

    def test_a_poll_of_large_values_comes_in_pieces(self):
        """From the start, from the logs and as it happens: a megabyte and what follows it, then a token."""
        live = threading.Thread(target=lambda: found.append(self.poll("wait=20&include=value&limit=1000")))
        found = []
        live.start()
        wait_until(lambda: b"sherd_feed_listeners 1" in self.server.request("GET", "/metrics").body, 10, "a listener")
        past = self.poll()["token"]
        for i in range(60):
            self.server.put("large-%02d" % i, b"x" * 60000)
        live.join()
        self.assertGreaterEqual(len(found[0]["changes"]), 1)
        for since in ("0", past):
            keys = []
            while len(keys) < 60:
                answer = self.poll("include=value&limit=1000&since=" + since)
                self.assertTrue(0 < len(answer["changes"]) < 30, len(answer["changes"]))
                keys += [change["key"] for change in answer["changes"]]
                since = answer["token"]
            self.assertEqual(["large-%02d" % i for i in range(60)], sorted(keys))

    def test_values_keys_and_types(self):
        listener = self.listen("include=value")
        self.server.put("text", "grüße".encode(), {"Content-Type": "text/plain"})
        listener.wait_for(1)
        self.server.put(b"\xff\x00", b"\x80bytes")
        self.server.put("large", b"x" * 70000)
        self.server.put("short-lived", b"1", {"X-TTL": "100"})
        listener.wait_for(4)
        self.server.delete("text")
        listener.wait_for(5)
        told = {key_of(event): event for _, event in listener.events[1:]}
        put, binary, large = listener.events[0][1], told[b"\xff\x00"], told["large"]
        short, deleted = told["short-lived"], told["text"]
        self.assertEqual(put["value"], "grüße")
        self.assertEqual(base64.b64decode(binary["value_base64"]), b"\x80bytes")
        self.assertEqual(key_of(binary), b"\xff\x00")
        self.assertNotIn("value", large)
        self.assertGreater(short["expires"] / 1000, time.time() + 50)
        self.assertEqual((deleted["event"], deleted["key"]), ("delete", "text"))
        self.assertNotIn("value", deleted)

    def test_versions_are_those_of_the_tags(self):
        listener = self.listen()
        tag = self.server.put("a", b"1").header("ETag")
        listener.wait_for(1)
        self.assertEqual('"%s"' % listener.events[0][1]["version"], tag)

    def test_only_what_begins_with_the_prefix(self):
        listener = self.listen("prefix=a/%25")
        for key in ("a/%1", "a/1", "b", "a/%"):
            self.server.put(key, b"")
        listener.wait_for(2)
        self.assertEqual(listener.told(), [("put", "a/%1"), ("put", "a/%")])
        self.assertEqual(self.poll("since=0&prefix=b")["changes"][0]["key"], "b")

    def test_limit_ends_a_stream(self):
        for i in range(5):
            self.server.put("k%d" % i, b"")
        listener = self.listen("since=0&limit=3", begun=False)
        wait_until(lambda: listener.ended, 10, "the end")
        self.assertEqual(len(listener.events), 3)
        rest = self.listen("since=" + listener.token)
        self.assertEqual(sorted(key for _, key in rest.told()), ["k3", "k4"])
        live = self.listen("limit=2")
        for i in range(3):
            self.server.put("live-%d" % i, b"")
        wait_until(lambda: live.ended, 10, "the end of one that was live")
        self.assertEqual(len(live.events), 2)

    def test_what_is_refused(self):
        for query in ("since=x", "since=1", "since=1.", "since=1.2~3", "since=1.5~3~2", "since=1.5~5-4", "since=1.1_1.2",
                      "since=1001.1", "since=0.1", "since=1.1..%21", "since=1.99999999999999999999", "since=", "wait=301",
                      "wait=-1", "limit=0", "limit=100001", "limit=10001", "include=values", "prefix=%", "a=b",
                      "since=now&since=now", "prefix=" + "x" * 513):
            with self.subTest(query[:30]):
                self.poll(query, status=400)
        self.assertEqual(self.server.request("GET", "/changes", headers={"Accept": "text/html"}).status, 406)
        self.assertEqual(self.server.request("POST", "/changes", b"").status, 405)

    def test_head(self):
        for accept, kind in (("application/x-ndjson", "application/x-ndjson"), ("*/*", "application/json")):
            with self.server.wire() as wire:
                wire.send(("HEAD /changes HTTP/1.1\r\nHost: localhost\r\nAccept: %s\r\n\r\n" % accept).encode())
                answer = wire.response(head=True)
                self.assertEqual((answer.status, answer.header("Content-Type")), (200, kind))
                self.assertEqual(wire.request("GET", "/livez").status, 200)

    def test_what_is_refused_by_its_header(self):
        self.assertEqual(self.server.request("GET", "/changes?since=1.1", headers={"Last-Event-ID": "x"}).status, 400)


class Sources(WithServer):
    def test_every_kind_of_sql_statement(self):
        listener = self.listen("include=value")
        sql = self.nodes.sql
        sql(1, "INSERT INTO pairs(k,v) VALUES('i','1')")
        sql(2, "INSERT INTO pairs(k,v) VALUES('u','1'); UPDATE pairs SET v='2' WHERE k='u'")
        sql(3, "INSERT INTO pairs(k,v) VALUES('d','1'); DO SLEEP(0.3); DELETE FROM pairs WHERE k='d'")
        sql(1, "INSERT INTO pairs(k,v) VALUES('r','1'); DO SLEEP(0.3); REPLACE INTO pairs(k,v) VALUES('r','2')")
        with self.assertRaisesRegex(AssertionError, "a_key_cannot_be_renamed_use_INSERT_and_DELETE"):
            sql(2, "INSERT INTO pairs(k,v) VALUES('n','1'); DO SLEEP(0.3); UPDATE pairs SET k='m' WHERE k='n'")
        sql(3, "INSERT INTO pairs(k,v) VALUES('t','1'); UPDATE pairs SET v=NULL WHERE k='t'")
        expected = {"i": "1", "u": "2", "d": None, "r": "2", "n": "1", "t": None}
        wait_until(lambda: {key: event.get("value") for key, event in listener.last().items()} == expected, 10,
                   "%r" % expected)
        check_order(self, listener)

    def test_changes_by_another_daemon(self):
        other = self.new_server()
        listener = self.listen()
        other.put("a", b"1")
        other.delete("a")
        listener.wait_for(1)
        wait_until(lambda: listener.last()["a"]["event"] == "delete", 10, "the delete")

    def test_a_bulk(self):
        listener = self.listen()
        lines = "".join('{"op":"put","key":"k%04d","value":"x"}\n' % i for i in range(3000))
        self.server.request("POST", "/bulk", lines.encode(), {"Content-Type": "application/x-ndjson"}, timeout=30)
        listener.wait_for(3000, 20)
        self.assertEqual(sorted(key for _, key in listener.told()), ["k%04d" % i for i in range(3000)])

    def test_sql_is_told_of_within_a_moment(self):
        listener = self.listen()
        delays = []
        client = Transaction(self.nodes, 2)
        self.addCleanup(client.end)
        for i in range(41):
            client.run("INSERT INTO pairs(k,v) VALUES('d%d','1')" % i)
            done = time.monotonic()
            listener.wait_for(i + 1)
            delays.append(listener.events[i][0] - done)
        self.assertLess(sorted(delays)[20], 0.05, delays)


class Nothing_is_missed(WithServer):
    def test_from_a_token_on(self):
        first = self.listen()
        self.server.put("a", b"1")
        first.wait_for(1)
        first.close()
        self.server.put("b", b"1")
        self.server.delete("a")
        self.nodes.sql(2, "INSERT INTO pairs(k,v) VALUES('c','1')")
        for server in (self.server, self.new_server()):
            again = self.listen("since=" + first.token, server=server)
            again.wait_for(3)
            self.assertEqual(sorted(again.told()), [("delete", "a"), ("put", "b"), ("put", "c")])
        by_header = self.listen("since=now", headers={"Last-Event-ID": first.token})
        by_header.wait_for(3)

    def test_large_values_of_the_past_wait_for_their_reader(self):
        token, count = self.poll()["token"], 600
        body = b"".join(b'{"op":"put","key":"large-%d","value":"%s"}\n' % (i, b"x" * 60000) for i in range(count))
        with self.server.wire(60) as wire:
            self.assertEqual(200, wire.request("POST", "/bulk", body).status)
        before = self.server.memory("VmRSS")
        self.server.forget_most()
        with self.server.wire() as reader:
            reader.send(b"GET /changes?include=value&since=%s HTTP/1.1\r\nHost: localhost\r\n"
                        b"Accept: application/x-ndjson\r\n\r\n" % token.encode())
            wait_until(lambda: b"sherd_feed_listeners 1" in self.server.request("GET", "/metrics").body, 10, "a listener")
            seen, text = set(), b""
            while len(seen) < count:
                text += more(reader)
                seen |= {int(number) for number in re.findall(rb'"key":"large-(\d+)"', text)}
                text = text[-100:]
        if os.path.exists(LIBRARY):  # sanitizers keep what was freed
            self.assertLess(self.server.memory("VmHWM") - before, 18 << 20, "all of it would be 36 MB")

    def test_a_transaction_that_commits_late(self):
        listener = self.listen()
        slow = Transaction(self.nodes, 1)
        self.addCleanup(slow.end)
        slow.run("BEGIN; INSERT INTO pairs(k,v) VALUES('slow','1')")
        self.nodes.sql(1, "INSERT INTO pairs(k,v) VALUES('fast','1')")
        listener.wait_for(1)
        self.assertEqual(listener.told(), [("put", "fast")])
        token = listener.token
        slow.run("COMMIT")
        listener.wait_for(2)
        self.assertEqual(listener.told()[1], ("put", "slow"))
        again = self.listen("since=" + token)
        self.assertEqual(again.told(), [("put", "slow")])

    def test_what_lies_behind_a_version_that_was_ahead_is_not_told_to_a_new_feed(self):
        """Another server may have told of that version before this feed began."""
        self.nodes.sql(2, "INSERT INTO pairs(k,v,version,created,touched) SELECT 'ahead','new',@v:=(TIMESTAMPDIFF(MICROSECOND,"
                          "'1970-01-01',UTC_TIMESTAMP(6))+3000000)<<10|2,@v,NULL")
        listener = self.listen(server=self.new_server())
        self.nodes.sql(1, "INSERT INTO pairs(k,v) VALUES('ahead','old'),('marker','1')")
        listener.wait_for(1)
        self.assertEqual(listener.told(), [("put", "marker")])

    def test_a_batch_that_commits_late(self):
        listener = self.listen()
        slow = Transaction(self.nodes, 1)
        self.addCleanup(slow.end)
        slow.run("SET @sherd_version=1<<60, @sherd_seq=1<<60")  # as a PUT does it, but for the time that it takes
        slow.run("BEGIN; INSERT INTO pairs(k,v,version,seq,touched) VALUES('slow','1',"
                 "@sherd_version:=sherd_log('4=slow',1,0,18446744073709551615,NULL),@sherd_seq,NULL)")
        self.nodes.sql(1, "INSERT INTO pairs(k,v) VALUES('fast','1')")
        listener.wait_for(1)
        self.assertEqual(listener.told(), [("put", "fast")])
        token = listener.token
        self.assertIn("~", token)
        slow.run("COMMIT")
        listener.wait_for(2)
        self.assertEqual(listener.told()[1], ("put", "slow"))
        again = self.listen("since=" + token)
        self.assertEqual(again.told(), [("put", "slow")])

    def test_a_batch_comes_in_pieces_and_each_key_once(self):
        """By polls whose limit ends in the middle of a batch, with and without values."""
        token, count = self.poll()["token"], 700
        lines = "".join('{"op":"put","key":"k%03d","value":"%d"}\n' % (i, i) for i in range(count))
        self.server.request("POST", "/bulk", lines.encode(), {"Content-Type": "application/x-ndjson"}, timeout=30)
        for query, limit in (("", 7), ("&include=value", 90), ("&prefix=k1", 9)):
            keys, since = [], token
            while True:
                answer = self.poll("limit=%d&since=%s%s" % (limit, since, query))
                self.assertLessEqual(len(answer["changes"]), limit)
                if not answer["changes"]:
                    break
                keys += [change["key"] for change in answer["changes"]]
                since = answer["token"]
            self.assertEqual(["k%03d" % i for i in range(count) if query != "&prefix=k1" or 100 <= i < 200], sorted(keys))

    def test_listeners_that_begin_while_batches_are_told(self):
        """What they are told by the logs and by the journal fits together in the middle of a batch, too."""
        token = self.poll()["token"]
        lines = "".join('{"op":"put","key":"k%05d","value":"x"}\n' % i for i in range(6000))
        writer = threading.Thread(target=lambda: self.server.request("POST", "/bulk", lines.encode(),
                                                                     {"Content-Type": "application/x-ndjson"}, timeout=60))
        writer.start()
        listeners = []
        while writer.is_alive():
            listeners.append(self.listen("since=" + token))
        writer.join()
        for listener in listeners:
            wait_until(lambda listener=listener: len(listener.last()) == 6000, 20, "all keys")
            check_order(self, listener)

    def test_what_is_locked_before_it_has_its_version_stops_nobody(self):
        self.nodes.sql(1, "INSERT INTO pairs(k,v) VALUES('locked','1')")
        holder = Transaction(self.nodes, 1)
        self.addCleanup(holder.end)
        holder.run("BEGIN; SELECT k FROM pairs WHERE k='locked' FOR UPDATE")
        listener = self.listen()
        self.nodes.sql(1, "INSERT INTO pairs(k,v) VALUES('free','1'),('gone','1')")
        wait_until(lambda: {"free", "gone"} <= set(listener.last()), 5, "what SQL wrote beside it")
        self.nodes.sql(1, "DELETE FROM pairs WHERE k='gone'")
        wait_until(lambda: listener.last()["gone"]["event"] == "delete", 5, "what SQL deleted beside it")
        self.server.put("put", b"1")
        wait_until(lambda: "put" in listener.last(), 5, "a PUT")
        self.assertEqual([], self.poll("since=" + listener.token)["changes"])
        self.assertNotIn("locked", listener.last())
        entries = self.nodes.sql(1, "SELECT COUNT(*) FROM changes")
        time.sleep(0.5)  # some 20 polls, of which none writes
        self.assertEqual(entries, self.nodes.sql(1, "SELECT COUNT(*) FROM changes"))
        holder.run("COMMIT")
        wait_until(lambda: "locked" in listener.last(), 5, "what was locked")
        check_order(self, listener)

    def test_an_entry_that_is_spoilt_is_passed_over(self):
        listener = self.listen()
        self.server.put("a", b"1")
        for spoilt in ("x", "0=", "5=abc", "1=b2-", "99999999999999999999=a", "513=" + "x" * 513):
            self.nodes.sql(1, "INSERT INTO changes(op,version,ks) VALUES(1,1,'%s')" % spoilt)
        self.nodes.sql(1, "INSERT INTO changes(op,version,ks) VALUES(1,UNIX_TIMESTAMP()*1024000000,'6-absent?')")
        wait_until(lambda: "absent" in listener.last(), 10, "the key before the spoilt end")
        self.server.put("z", b"1")
        wait_until(lambda: {"a", "z"} <= set(listener.last()), 10, "what is before and behind")
        self.assertEqual(listener.last()["a"]["event"], "put")

    def test_a_transaction_that_began_before_the_listener(self):
        slow = Transaction(self.nodes, 1)
        self.addCleanup(slow.end)
        slow.run("BEGIN; INSERT INTO pairs(k,v) VALUES('slow','1')")
        self.nodes.sql(1, "INSERT INTO pairs(k,v) VALUES('fast','1')")
        listener = self.listen()
        slow.run("COMMIT")
        # What SQL committed just before may be told too: it is heard of when it has got its version.
        wait_until(lambda: ("put", "slow") in listener.told(), 10, "the late one")
        self.assertLessEqual(len(listener.told()), 2)
        self.assertLessEqual(set(listener.told()), {("put", "fast"), ("put", "slow")})

    def test_what_was_rolled_back_is_waited_for_no_longer(self):
        listener = self.listen()
        failed = Transaction(self.nodes, 1)
        self.addCleanup(failed.end)
        failed.run("BEGIN; INSERT INTO pairs(k,v) VALUES('never','1')")
        self.nodes.sql(1, "INSERT INTO pairs(k,v) VALUES('fast','1')")
        listener.wait_for(1)
        failed.run("ROLLBACK")
        wait_until(lambda: "~" not in self.poll()["token"], 20, "the gap is filled")
        self.assertEqual(listener.told(), [("put", "fast")])

    def test_the_present_state_then_what_changes_while_it_is_told(self):
        lines = "".join('{"op":"put","key":"k%05d","value":"0"}\n' % i for i in range(5000))
        self.server.request("POST", "/bulk", lines.encode(), {"Content-Type": "application/x-ndjson"}, timeout=60)
        stop = threading.Event()
        chance = random.Random(1)

        def write():
            with self.server.wire() as wire:
                while not stop.is_set():
                    key = "k%05d" % chance.randrange(5200)
                    if chance.random() < 0.2:
                        wire.request("DELETE", key_path(key))
                    else:
                        wire.request("PUT", key_path(key), b"%d" % chance.randrange(10**9))
        writer = threading.Thread(target=write)
        writer.start()
        try:
            listeners = [self.listen("since=0" + more) for more in ("", "&include=value", "&prefix=k00")]
        finally:
            stop.set()
            writer.join()
        self.compare(listeners[0], "")
        self.compare(listeners[1], "", values=True)
        self.compare(listeners[2], "k00")

    def compare(self, listener, prefix, values=False):
        """What the listener knows at the end is what the store has."""
        present, after = {}, ""
        while True:
            page = self.server.request("GET", "/keys?limit=10000&prefix=%s&after=%s" % (prefix, after)).json()
            present.update((item["key"], item["version"]) for item in page["keys"])
            if not page["next"]:
                break
            after = page["keys"][-1]["key"]
        def known():
            return {key: event for key, event in listener.last().items() if event["event"] == "put"}
        wait_until(lambda: {key: event["version"] for key, event in known().items()} == present, 20, "all changes")
        check_order(self, listener)
        if values:
            for key, event in list(known().items())[:50]:
                self.assertEqual(self.server.get(key).body.decode(), event["value"])

    def test_a_trimmed_log_is_said(self):
        token = self.poll()["token"]
        for i in range(30):
            self.server.put("k%d" % i, b"")
        in_list = self.poll("since=0&limit=30")["token"]
        listener = self.listen()
        sync(self.server)
        problem = self.poll("since=" + token, status=410)
        self.assertEqual(problem["type"], "urn:problem-type:sherd:changes-trimmed")
        for old in (token, in_list):  # the list goes on with nothing, and is not begun for that
            answer = self.server.request("GET", "/changes?since=" + old, headers=NDJSON)
            self.assertEqual(answer.status, 410, old)
        self.server.put("after", b"")
        listener.wait_for(1)
        self.assertEqual(listener.told(), [("put", "after")])

    def test_a_log_that_began_anew_ends_the_streams(self):
        for i in range(30):
            self.server.put("k%d" % i, b"")
        listener = self.listen()
        for node in self.nodes.all():
            self.nodes.sql(node, "TRUNCATE changes; INSERT INTO pairs(k,v) VALUES('new','1')")
        wait_until(lambda: listener.ended, 10, "the end")
        self.poll("since=" + listener.token, status=410)
        self.assertEqual(self.poll("since=0&prefix=new")["changes"][0]["key"], "new")

    def test_a_slow_reader_is_dropped_and_harms_nobody(self):
        other = self.listen("include=value")
        with self.server.wire() as slow:
            slow.send(b"GET /changes?include=value HTTP/1.1\r\nHost: localhost\r\nAccept: application/x-ndjson\r\n\r\n")
            wait_until(lambda: b"progress" in more(slow), 10, "the stream has begun")
            value = b"v" * 60000
            for i in range(1000):
                self.server.put("k%d" % (i % 50), value)
            wait_until(lambda: len(other.last()) == 50, 20, "all keys")
            self.server.put("end", b"")
            wait_until(lambda: "end" in other.last(), 10, "the last change")
            text = b""
            while not text.endswith(b"0\r\n\r\n"):
                text = text[-100:] + more(slow)
        metrics = self.server.request("GET", "/metrics").body.decode()
        self.assertIn("sherd_feed_dropped_total 1\n", metrics)

    def test_the_end_of_the_server_ends_the_streams(self):
        listeners = [self.listen(), self.listen("since=0")]
        began = time.monotonic()
        self.server.stop()
        self.assertLess(time.monotonic() - began, 3)
        for listener in listeners:
            wait_until(lambda: listener.ended, 5, "the end")

    def test_the_end_of_the_server_ends_the_polls(self):
        """One that was told nothing has no token to go on with: it is to ask again."""
        with self.server.wire() as wire:
            wire.send(b"GET /changes?wait=60 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            wait_until(lambda: b"sherd_feed_listeners 1" in self.server.request("GET", "/metrics").body, 10, "a listener")
            self.server.stop()
            self.assertIn(b" 503 ", more(wire))

    def test_the_end_of_the_server_ends_those_who_wait_for_the_feed(self):
        for node in self.nodes.all():
            self.nodes.freeze(node)
            self.addCleanup(self.nodes.thaw, node)
        with self.server.wire() as poll, self.server.wire() as stream:
            for wire, accept in ((poll, b"application/json"), (stream, b"application/x-ndjson")):
                wire.send(b"GET /changes?since=0 HTTP/1.1\r\nHost: localhost\r\nAccept: " + accept + b"\r\n\r\n")
            wait_until(lambda: b"sherd_feed_listeners 2" in self.server.request("GET", "/metrics").body, 10, "both listen")
            self.server.terminate()
            self.assertEqual(0, self.server.wait_for_end(), self.server.log())
            self.assertIn(b" 503 ", more(poll))

    def test_a_thousand_listeners(self):
        wires = [self.server.wire() for _ in range(1000)]
        try:
            for wire in wires:
                wire.send(b"GET /changes HTTP/1.1\r\nHost: localhost\r\nAccept: application/x-ndjson\r\n\r\n")
            for wire in wires:
                text = b""
                while b"progress" not in text:
                    text += more(wire)
            began = time.monotonic()
            self.server.put("one", b"1")
            for wire in wires:
                text = b""
                while b'"one"' not in text:
                    text += more(wire)
            self.assertLess(time.monotonic() - began, 1)
        finally:
            for wire in wires:
                wire.close()


class Partitions_go_away(WithServer):
    def test_a_killed_partition_and_its_return(self):
        listener = self.listen()
        keys = self.server.keys_on(2, 5, "k")
        wait_until(lambda: set(keys) <= set(listener.last()), 10, "the first writes")
        before = len(listener.events)
        self.nodes.kill(2)
        self.addCleanup(self.nodes.start)
        for key in keys:
            wait_until(lambda key=key: self.server.put(key, b"diverted").status in (201, 204), 10, "a diverted write")
        wait_until(lambda: len({key_of(event) for _, event in listener.events[before:]} & set(keys)) == 5, 10,
                   "the diverted writes")
        other = self.listen("since=" + listener.token, server=self.new_server_with_one_away())
        self.nodes.start(2)
        wait_until(self.server.all_up, 20, "partition 2 is back")
        self.nodes.sql(2, "INSERT INTO pairs(k,v) VALUES('back','1')")
        for each in (listener, other):
            wait_until(lambda each=each: "back" in each.last(), 10, "what the partition has after its return")
            check_order(self, each)
        self.assertEqual(self.poll("since=" + listener.token)["changes"], [])

    def new_server_with_one_away(self):
        server = Server(self.nodes, self.overrides, self.partitions)
        self.addCleanup(server.discard)
        return server.start()

    def test_what_a_partition_had_when_it_went_away_is_told_when_it_comes_back(self):
        token = self.poll()["token"]
        self.nodes.sql(3, "INSERT INTO pairs(k,v) VALUES('before','1')")
        self.server.put("other", b"1")
        self.nodes.kill(3)
        self.addCleanup(self.nodes.start)
        server = self.new_server_with_one_away()
        listener = self.listen("since=" + token, server=server)
        self.listen(server=server)  # one that is owed nothing
        self.assertNotIn("before", listener.last())
        with server.wire() as wire:
            wire.send(b"GET /changes?wait=60&since=%s HTTP/1.1\r\nHost: localhost\r\n\r\n" % listener.token.encode())
            self.nodes.start(3)
            wire.receive(30)
            self.assertIn(b" 200 ", wire.buffer, "a poll that waits ends: asked again, it is told more")
        wait_until(lambda: "before" in listener.last(), 20, "the change from before")
        listener.wait_for(1)

        def polled():
            """A thread that does not know yet that the partition is back ends its poll as soon as it does."""
            again = self.poll("since=" + token + "&wait=10", server=server)
            return "before" in [change["key"] for change in again["changes"]]
        wait_until(polled, 10, "the same by a poll")

    def test_what_only_a_partition_has_that_is_away_from_the_beginning(self):
        keys = self.server.keys_on(3, 4, "k")
        self.nodes.kill(3)
        self.addCleanup(self.nodes.start)
        server = self.new_server_with_one_away()
        listener = self.listen("since=0", server=server)
        self.assertFalse(set(keys) & set(listener.last()))
        token = listener.token
        for query in ("", "&limit=1", "&include=value"):  # a list that breaks off, and one that is over at once
            listed = self.listen("since=0" + query, server=server)
            self.assertEqual("3", listed.response.getheader("Sherd-Stale"), query)
        for prefix in ("", "nothing"):
            answer = server.request("GET", "/changes?since=0&prefix=" + prefix)
            self.assertEqual("3", answer.header("Sherd-Stale"), prefix)
        self.nodes.start(3)
        wait_until(lambda: set(keys) <= set(listener.last()), 20, "the keys of partition 3")
        again = self.listen("since=" + token, server=server)
        wait_until(lambda: set(keys) <= set(again.last()), 20, "the same from the token")

    def test_without_any_partition_a_listener_is_sent_away(self):
        for node in self.nodes.all():
            self.nodes.kill(node)
        self.addCleanup(self.nodes.start)
        server = self.new_server_with_one_away()
        self.assertEqual(503, self.poll(server=server, status=503)["status"])

    def test_a_token_that_claims_to_know_the_future_holds_nothing_back(self):
        token = self.poll()["token"]
        forged = "_".join(position.split("v")[0] + "v9223372036854775807" for position in token.split("_"))
        listener = self.listen("since=" + forged)
        self.server.put("k", b"v")
        wait_until(lambda: "k" in listener.last(), 20, "the change")

    def test_a_token_of_more_partitions_than_a_daemon_has(self):
        """It is about to join, and this daemon has no section for it yet."""
        self.assertEqual(self.poll("since=1.0_4.0", status=503)["status"], 503)

    def test_an_older_row_of_a_returned_partition_is_not_told_behind_a_newer_one(self):
        key = self.server.keys_on(1, 1, "k")[0]
        token = self.poll()["token"]
        self.server.put(key, b"older")
        self.nodes.kill(1)
        self.addCleanup(self.nodes.start)
        wait_until(lambda: self.server.put(key, b"newer").status in (201, 204), 10, "a diverted write")
        server = self.new_server_with_one_away()
        listener = self.listen("since=" + token, server=server)
        wait_until(lambda: key in listener.last(), 10, "the newer")
        newer = listener.last()[key]["version"]
        self.nodes.start(1)
        self.nodes.sql(1, "INSERT INTO pairs(k,v) VALUES('mark','1')")
        wait_until(lambda: "mark" in listener.last(), 20, "the mark")
        self.assertEqual(listener.last()[key]["version"], newer)
        check_order(self, listener)


if __name__ == "__main__":
    unittest.main()
