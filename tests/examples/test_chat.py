# SPDX-License-Identifier: MIT
"""The chat: a daemon dies while everybody talks, and nobody loses a message."""
import collections
import http.client
import os
import subprocess
import sys
import threading
import unittest

from common import EXAMPLES, StackTest, Store, load, wait_until

run = load("chat", "run")
client = load("chat", "client.py")

MEMBERS, MESSAGES, HERE_SECONDS = 6, 60, 3


class Chat(StackTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        _, cls.port, *cls.daemons = run.start(cls.stack)
        cls.url = "http://127.0.0.1:%d" % cls.port

    def join(self, room, name, on_message=lambda *_: None):
        member = client.Room(self.url, room, name, on_message, HERE_SECONDS)
        self.addCleanup(member.left.set)
        return member

    def request(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        self.addCleanup(connection.close)
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read() if method != "HEAD" else b""

    def test_nobody_loses_a_message_when_a_daemon_dies(self):
        seen = collections.defaultdict(list)  # name: keys in the order in which they were shown
        members = [self.join("busy", "member-%d" % n, lambda key, *_, n=n: seen[n].append(key)) for n in range(MEMBERS)]
        names = sorted(member.name for member in members)
        for member in members:
            self.assertTrue(member.told.wait(20))
            wait_until(lambda member=member: member.members() == names, 10, "everybody sees everybody")

        sent = {member.name: [] for member in members}
        talkers = [threading.Thread(target=lambda member=member: [sent[member.name].append(member.send("%s %d" % (
            member.name, number))) for number in range(MESSAGES)]) for member in members]
        for talker in talkers:
            talker.start()
        wait_until(lambda: min(map(len, sent.values())) >= MESSAGES // 3, 20, "they talk")
        streams = [self.stack.connections()[daemon.name] for daemon in self.daemons]
        self.assertGreater(min(streams), 1)  # each has listeners
        self.daemons[0].kill()
        killed_at = sum(map(len, sent.values()))
        for talker in talkers:
            talker.join(30)
        self.assertEqual([MESSAGES] * MEMBERS, list(map(len, sent.values())))
        self.assertLess(killed_at, MEMBERS * MESSAGES)

        every = sorted(key for keys in sent.values() for key in keys)
        for number, member in enumerate(members):
            wait_until(lambda member=member: len(member.messages) >= len(every), 20, member.name + " hears everything")
            self.assertEqual(every, sorted(seen[number]))  # each once
            for talker in members:
                said = [(key, text) for key, name, text in member.history() if name == talker.name]
                texts = ["%s %d" % (talker.name, number) for number in range(MESSAGES)]
                self.assertEqual(list(zip(sent[talker.name], texts)), said)
            wait_until(lambda member=member: member.members() == names, 10, "everybody is still here")

        self.daemons[0].start()
        late = self.join("busy", "late")
        self.assertTrue(late.told.wait(20))
        wait_until(lambda: [key for key, *_ in late.history()] == every, 10, "the history")
        print("%d messages to %d members, %d of them when the daemon died" % (len(every), MEMBERS, killed_at))

    def test_presence(self):
        here, leaver, goner = (self.join("presence", name) for name in ("here", "leaver", "goner"))
        wait_until(lambda: here.members() == ["goner", "here", "leaver"], 10, "all are here")
        leaver.leave()
        wait_until(lambda: here.members() == ["goner", "here"], 2, "one leaves")
        goner.left.set()  # says nothing any more
        wait_until(lambda: here.members() == ["here"], 2 * HERE_SECONDS, "one is gone")

    def test_rooms_are_apart(self):
        one, other = self.join("one", "member"), self.join("other", "member")
        key = one.send("hello")
        wait_until(lambda: key in one.messages, 10, "the message")
        self.assertTrue(other.told.wait(10))
        self.assertEqual([], other.history())

    def test_what_is_not_a_message_is_passed_over(self):
        room = self.join("odd", "member")
        store = Store(self.url)
        for number, value in enumerate((b"no JSON", b"[]", b"\xff", b'{"name":"only"}', b"null")):
            store.put("chat/odd/m/%013d-0123456789abcdef" % number, value)
        store.put("chat/odd/elsewhere", b"")
        key = room.send("\N{SNOWMAN} <b>")
        wait_until(lambda: room.history() == [(key, "member", "\N{SNOWMAN} <b>")], 10, "the message")

    def test_the_terminal(self):
        def start(name):
            program = os.path.join(EXAMPLES, "chat", "client.py")
            process = subprocess.Popen([sys.executable, program, self.url, "terminal", name], text=True,
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            self.addCleanup(process.stdout.close)
            self.addCleanup(process.wait)
            self.addCleanup(process.kill)
            self.addCleanup(process.stdin.close)
            return process

        ann, bob = start("ann"), start("bob")
        ann.stdin.write("hello \x1b[31mred\n")
        ann.stdin.flush()
        for process in (ann, bob):
            self.assertRegex(process.stdout.readline(), r"^\d\d:\d\d:\d\d ann: hello \?\[31mred\n$")

    def test_the_page_and_nothing_but_the_chat(self):
        status, headers, body = self.request("GET", "/")
        self.assertEqual((200, "text/html; charset=utf-8"), (status, headers["Content-Type"]))
        with open(os.path.join(EXAMPLES, "chat", "page.html"), "rb") as file:
            self.assertEqual(file.read(), body)
        for method, path in (("GET", "/keys"), ("GET", "/keys/other"), ("PUT", "/keys/other"), ("POST", "/bulk"),
                             ("GET", "/keys?prefix=a"), ("GET", "/changes"), ("GET", "/changes?prefix="),
                             ("GET", "/metrics")):
            self.assertEqual(403, self.request(method, path, b"" if method != "GET" else None)[0], (method, path))
        self.join("seen", "member").send("hello")
        status, _, body = self.request("GET", "/keys?prefix=chat%2F&delimiter=/")
        self.assertEqual(200, status)
        self.assertIn(b'"chat/seen/"', body)


if __name__ == "__main__":
    unittest.main()
