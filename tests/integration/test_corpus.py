# SPDX-License-Identifier: MIT
"""Runs the corpus: a test for each case, a class with a server for each group of categories."""
import json
import os
import subprocess
import tempfile
import time
import unittest

import corpus
from corpus import (ABSENT, CASES, CLOSED, FUTURE, HALF_CLOSE, KEPT, LIVE, PAST, RESET, TRICKLE, Await, Bytewise, Head,
                    Json, Lacks, Maybe)
from corpus_conf import CONFIGURATIONS, SECRET
from corpus_store import OWNER, TOKENS
from harness import BINARY, SherdTest, shared_nodes, sql_bytes
from wire import Ended


class Exchange:
    """Reads answers on a wire and holds them against what a case expects."""

    def __init__(self, wire, expect):
        self.wire = wire
        self.expect = list(expect)
        self.got = []

    def read(self):
        """Takes the next answer; expectations that may be absent are passed over."""
        response = self.wire.response(head=isinstance(self.expect[0], Head), seconds=SECONDS)
        self.got.append(response)
        while self.expect:
            expected = self.expect.pop(0)
            if response.status in statuses_of(expected):
                return
            if not isinstance(expected, Maybe):
                raise AssertionError("expected %s, got %r" % (expected, response))
        raise AssertionError("not expected: %r" % response)

    def read_all(self):
        while self.expect:
            try:
                self.read()
            except Ended as end:
                if all(isinstance(e, Maybe) for e in self.expect):
                    return
                raise AssertionError("expected %r after %d answers: %s" % (self.expect[0], len(self.got), end))


SECONDS = 8
LIVE_HERE = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"


def statuses_of(expected):
    if isinstance(expected, (Head, Maybe)):
        expected = expected.status
    return expected if isinstance(expected, tuple) else (expected,)


def name_of(number):
    """Three bytes, so that no case's key begins with another's."""
    digits = "abcdefghijklmnopqrstuvwxyz0123456789"
    return digits[number // 1296] + digits[number // 36 % 36] + digits[number % 36]


class CorpusTest(SherdTest):
    config = {"server": {"insecure": "yes"}}  # hosts of all kinds come
    headers = None  # of requests before and after a case

    def run_case(self, number, case):
        key = name_of(number)
        for name, value in case.before.items():
            self.check(self.server.request("PUT", "/keys/" + name.replace("KEY", key), value, self.headers), 201, 204)
        if case.stored_type is not None:
            for node in self.nodes.all():
                self.nodes.sql(node, "UPDATE pairs SET type = %s WHERE k = %s" % (sql_bytes(case.stored_type), sql_bytes(key)))
        fill = self.filler(key, case)
        with self.server.wire() as wire:
            exchange = Exchange(wire, case.expect)
            for step in case.send:
                self.take_step(wire, exchange, step, fill)
            if RESET not in case.send:
                exchange.read_all()
                self.check_answers(case, exchange.got, fill)
                self.check_connection(case, wire, exchange.got)
        self.check_after(case, key)

    def filler(self, key, case):
        """A function that puts the case's key, entity tag and dates into bytes."""
        changes = [(b"KEY", key.encode()), (b"PAST", PAST), (b"FUTURE", FUTURE)]
        if "KEY" in case.before:
            pair = self.server.request("HEAD", "/keys/" + key, None, self.headers)
            changes += [(b"ETAG", pair.header("ETag").encode()),
                        (b"MODIFIED", pair.header("Last-Modified").encode())]

        def fill(data):
            for old, new in changes:
                data = data.replace(old, new)
            return data
        return fill

    def take_step(self, wire, exchange, step, fill):
        if isinstance(step, bytes):
            wire.send(fill(step))
        elif isinstance(step, Bytewise):
            wire.byte_by_byte(fill(step.data))
        elif isinstance(step, Await):
            while len(exchange.got) < step.count:
                exchange.read()
        elif step == TRICKLE:
            self.trickle(wire)
        elif step == HALF_CLOSE:
            wire.half_close()
        elif step == RESET:
            wire.abort()

    def trickle(self, wire):
        wire.send(LIVE[:-2])
        deadline = time.monotonic() + SECONDS
        while not wire.receive(0.1) and not wire.ended and time.monotonic() < deadline:
            wire.send(b"X: y\r\n")

    def check_answers(self, case, got, fill):
        for i, body in case.body.items():
            if isinstance(body, Json):
                self.assertEqual(json.loads(fill(body.text.encode())), got[i].json(), got[i])
            elif isinstance(body, Lacks):
                self.assertNotIn(fill(body.data), got[i].body, got[i])
            elif body is not ...:
                self.assertEqual(fill(body), got[i].body, got[i])
        for i, headers in case.header.items():
            for name, value in headers.items():
                found = got[i].header(name)
                if value is ...:
                    self.assertIsNotNone(found, (name, got[i]))
                else:
                    self.assertEqual(value, found, (name, got[i]))

    def check_connection(self, case, wire, got):
        """Kept or closed as the case says; and in any case as the last answer said."""
        sent = b"".join(step for step in case.send if isinstance(step, bytes))
        closed = case.then == CLOSED
        if case.then == corpus.EITHER:
            closed = bool(got) and got[-1].closes
        if closed:
            self.assertTrue(wire.is_closed(SECONDS), "not closed after %r" % got[-1:])
            if got and case.then == CLOSED and HALF_CLOSE not in case.send and b"HTTP/1.0" not in sent and \
                    case.name not in SILENTLY_CLOSED:
                self.assertTrue(got[-1].closes, "closed, but did not say so: %r" % got[-1])
            return
        if case.then == KEPT and b"HTTP/1.0" not in sent:
            self.assertFalse(got and got[-1].closes, "will close: %r" % got[-1:])
        wire.send(LIVE_HERE)
        try:
            self.check(wire.response(), 200)
        except Ended as end:
            self.fail("not kept after %r: %s" % (got[-1:], end))

    def check_after(self, case, key):
        for name, value in case.after.items():
            response = self.server.request("GET", "/keys/" + name.replace("KEY", key), None, self.headers)
            if value is ABSENT:
                self.check(response, 404)
            else:
                self.check(response, 200)
                self.assertEqual(value, response.body)


SILENTLY_CLOSED = ["no_second_request"]  # an idle connection: the answer before it could not know


class Corpus(CorpusTest):
    """The categories that need no server of their own."""


class Deadlines(CorpusTest):
    config = {"server": {"insecure": "yes", "head_timeout": "400ms", "idle_timeout": "1s"}}


class Authorization(CorpusTest):
    config = TOKENS
    headers = {"Authorization": "Bearer " + OWNER.decode()}


class Browsers(CorpusTest):
    config = {}


class StrangeSql(CorpusTest):
    """Partitions whose DBA prefers other rules for what a literal is, and tells every client so."""
    rules = (("sql_mode", "NO_BACKSLASH_ESCAPES,ANSI_QUOTES,PIPES_AS_CONCAT,IGNORE_SPACE,NO_ZERO_DATE"),
             ("character_set_server", "gbk"), ("collation_connection", "gbk_chinese_ci"),
             ("init_connect", "SET NAMES gbk, sql_mode = 'NO_BACKSLASH_ESCAPES', sql_select_limit = 1, sql_safe_updates = 1, max_join_size = 2"))

    @classmethod
    def setUpClass(cls):
        for node in shared_nodes().all():
            for name, value in cls.rules:
                was = shared_nodes().sql(node, "SELECT @@GLOBAL.%s" % name)[0][0]
                cls.addClassCleanup(cls.set_rule, node, name, was)
                cls.set_rule(node, name, value)
        super().setUpClass()

    @staticmethod
    def set_rule(node, name, value):
        shared_nodes().sql(node, "SET GLOBAL %s = %s" % (name, sql_bytes(value)))


CLASSES = {"deadlines": [Deadlines], "authorization": [Authorization], "browsers": [Browsers], "sql": [Corpus, StrangeSql],
           "collation": [Corpus, StrangeSql]}


def add_tests():
    """A method for each case: test_framing__two_lengths."""
    number = 0
    for category, cases in CASES.items():
        for case in cases:
            def test(self, number=number, case=case):
                self.run_case(number, case)
            for cls in CLASSES.get(category, [Corpus]):
                name = "test_%s__%s" % (category, case.name)
                assert not hasattr(cls, name), name
                setattr(cls, name, test)
            number += 1


add_tests()


class Configurations(unittest.TestCase):
    def check(self, case):
        with tempfile.TemporaryDirectory(prefix="sherd-conf-") as directory:
            with open(os.path.join(directory, "f"), "wb") as file:
                file.write(case.text)
            os.chmod(file.name, 0o600)
            done = subprocess.run([BINARY, "--check-config", "--config", file.name], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                  stdin=subprocess.DEVNULL, timeout=10)
        said = done.stderr.decode("utf-8", "replace")
        self.assertEqual(b"", done.stdout)
        self.assertNotIn(SECRET.decode(), said)
        self.assertTrue(said.replace("\n", "").isprintable(), said)
        if case.says is None:
            self.assertEqual((0, ""), (done.returncode, said))
        else:
            self.assertEqual(78, done.returncode, said)
            self.assertIn(case.says, said)


for conf_case in CONFIGURATIONS:
    setattr(Configurations, "test_" + conf_case.name, lambda self, case=conf_case: self.check(case))


class ChangedTokens(SherdTest):
    """A token that a client cut or changed is answered, by the contract, and harms nobody."""

    def ask(self, token):
        with self.server.wire() as wire:
            wire.send(b"GET /changes?wait=0&since=%s HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n\r\n" % token + LIVE_HERE)
            answer = wire.response()
            self.check(answer, 200, 400, 410, 503)
            self.check(wire.response(), 200)
            return answer

    def tokens(self):
        """Tokens of all kinds: of now, with entries read, in the middle of a list."""
        for i in range(30):
            self.put("token-%d" % i, b"v")
        yield self.ask(b"now").json()["token"]
        first = self.check(self.server.request("GET", "/changes?since=0&wait=0&limit=5", None, {"Accept": "application/json"}), 200)
        yield first.json()["token"]

    def test_cut_anywhere_and_changed_anywhere(self):
        for token in map(str.encode, self.tokens()):
            self.check(self.ask(token), 200)
            for i in range(len(token)):
                self.ask(token[:i])
                self.ask(token[i + 1:])
                for other in b"0.9_~tvA":
                    self.ask(token[:i] + bytes([other]) + token[i + 1:])
                    self.ask(token[:i] + bytes([other]) + token[i:])



class Order(SherdTest):
    """Answers of different partitions come back in the order of their requests."""

    def test_pipelined_gets_of_many_keys_are_answered_in_order(self):
        keys = ["order-%d" % i for i in range(300)]
        for key in keys:
            self.put(key, key.encode())
        with self.server.wire() as wire:
            wire.send(b"".join(b"GET /keys/%s HTTP/1.1\r\nHost: localhost\r\n\r\n" % key.encode() for key in keys))
            self.assertEqual(keys, [wire.response().body.decode() for _ in keys])

    def test_pipelined_writes_of_many_keys_are_answered_in_order(self):
        with self.server.wire() as wire:
            for i in range(100):
                wire.send(b"PUT /keys/w%d HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%d" % (i, len(str(i)), i))
                wire.send(b"GET /keys/w%d HTTP/1.1\r\nHost: localhost\r\n\r\n" % i)
            for i in range(100):
                self.check(wire.response(), 201)
                self.assertEqual(str(i).encode(), wire.response().body)

    def test_a_client_that_does_not_read_gets_everything_later(self):
        self.put("large", b"L" * 1000000)
        with self.server.wire(30) as slow, self.server.wire() as other:
            slow.socket.sendall(b"GET /keys/large HTTP/1.1\r\nHost: localhost\r\n\r\n" * 100)
            self.check(other.request("GET", "/livez"), 200)
            for _ in range(100):
                self.assertEqual(1000000, len(slow.response().body))


if __name__ == "__main__":
    unittest.main()
