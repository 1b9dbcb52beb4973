# SPDX-License-Identifier: MIT
"""Runs corpus.py: a test for each case, a class with a server for each group of categories."""
import json
import time
import unittest

import corpus
from corpus import (ABSENT, CASES, CLOSED, FUTURE, HALF_CLOSE, KEPT, LIVE, PAST, RESET, TRICKLE, Await, Bytewise, Head,
                    Json, Maybe)
from harness import SherdTest
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


def statuses_of(expected):
    if isinstance(expected, (Head, Maybe)):
        expected = expected.status
    return expected if isinstance(expected, tuple) else (expected,)


def name_of(number):
    """Three bytes, so that no case's key begins with another's."""
    digits = "abcdefghijklmnopqrstuvwxyz0123456789"
    return digits[number // 1296] + digits[number // 36 % 36] + digits[number % 36]


class CorpusTest(SherdTest):
    def run_case(self, number, case):
        key = name_of(number)
        for name, value in case.before.items():
            self.check(self.server.request("PUT", "/keys/" + name.replace("KEY", key), value), 201, 204)
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
            pair = self.server.request("HEAD", "/keys/" + key)
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
        wire.send(LIVE)
        try:
            self.check(wire.response(), 200)
        except Ended as end:
            self.fail("not kept after %r: %s" % (got[-1:], end))

    def check_after(self, case, key):
        for name, value in case.after.items():
            response = self.server.request("GET", "/keys/" + name.replace("KEY", key))
            if value is ABSENT:
                self.check(response, 404)
            else:
                self.check(response, 200)
                self.assertEqual(value, response.body)


SILENTLY_CLOSED = ["no_second_request"]  # an idle connection: the answer before it could not know


class Corpus(CorpusTest):
    """All but deadlines: those need a server of their own."""


class Deadlines(CorpusTest):
    config = {"server": {"head_timeout": "400ms", "idle_timeout": "1s"}}


def add_tests():
    """A method for each case: test_framing__two_lengths."""
    number = 0
    for category, cases in CASES.items():
        for case in cases:
            def test(self, number=number, case=case):
                self.run_case(number, case)
            setattr(Deadlines if category == "deadlines" else Corpus, "test_%s__%s" % (category, case.name), test)
            number += 1


add_tests()


class Order(SherdTest):
    """Answers of different partitions come back in the order of their requests."""

    def test_pipelined_gets_of_many_keys_are_answered_in_order(self):
        keys = ["order-%d" % i for i in range(300)]
        for key in keys:
            self.put(key, key.encode())
        with self.server.wire() as wire:
            wire.send(b"".join(b"GET /keys/%s HTTP/1.1\r\nHost: x\r\n\r\n" % key.encode() for key in keys))
            self.assertEqual(keys, [wire.response().body.decode() for _ in keys])

    def test_pipelined_writes_of_many_keys_are_answered_in_order(self):
        with self.server.wire() as wire:
            for i in range(100):
                wire.send(b"PUT /keys/w%d HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%d" % (i, len(str(i)), i))
                wire.send(b"GET /keys/w%d HTTP/1.1\r\nHost: x\r\n\r\n" % i)
            for i in range(100):
                self.check(wire.response(), 201)
                self.assertEqual(str(i).encode(), wire.response().body)

    def test_a_client_that_does_not_read_gets_everything_later(self):
        self.put("large", b"L" * 1000000)
        with self.server.wire(30) as slow, self.server.wire() as other:
            slow.socket.sendall(b"GET /keys/large HTTP/1.1\r\nHost: x\r\n\r\n" * 100)
            self.check(other.request("GET", "/livez"), 200)
            for _ in range(100):
                self.assertEqual(1000000, len(slow.response().body))


if __name__ == "__main__":
    unittest.main()
