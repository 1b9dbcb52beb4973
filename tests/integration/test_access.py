# SPDX-License-Identifier: MIT
"""Who may do what: tokens, hosts, origins; and that nothing shows what a token may not see."""
import hashlib
import json
import os
import re
import subprocess
import unittest

from harness import BINARY, SLACK, Server, SherdTest, shared_nodes, wait_until
from test_changes import Listener

ALICE, BOB, ROOT_TOKEN, SLOW = "alice-" + "x" * 37, "bob-" + "y" * 39, "root-" + "z" * 38, "slow-" + "s" * 38
JSON = {"Accept": "application/json"}


def sha256(token):
    return hashlib.sha256(token.encode()).hexdigest()


TOKENS = {
    "token-alice": {"sha256": sha256(ALICE), "read": "users/alice/, public/", "write": "users/alice/"},
    "token-bob": {"sha256": sha256(BOB), "read": "users/bob/", "write": "users/bob/, drop/"},
    "token-root": {"sha256": sha256(ROOT_TOKEN), "read": "*", "write": "*", "admin": "yes"},
    "token-slow": {"sha256": sha256(SLOW), "read": "*", "rate": 5},
}


def bearer(token, **headers):
    return {"Authorization": "Bearer " + token, **{name.replace("_", "-"): value for name, value in headers.items()}}


class Tokens(SherdTest):
    config = TOKENS

    def ask(self, method, target, token=None, body=None, **headers):
        return self.server.request(method, target, body, bearer(token, **headers) if token else headers)

    def fill(self, *keys):
        for key in keys:
            self.check(self.ask("PUT", "/keys/" + key, ROOT_TOKEN, b"value of " + key.encode()), 201, 204)

    def test_without_a_token_nothing_is_told(self):
        self.fill("public/1")
        for method, target, body in (
                ("GET", "/keys/public/1", None), ("GET", "/keys/public/none", None), ("PUT", "/keys/public/1", b"x"),
                ("DELETE", "/keys/public/1", None), ("GET", "/keys", None), ("POST", "/bulk", b"{}\n"),
                ("GET", "/changes", None), ("GET", "/status", None), ("GET", "/metrics", None), ("HEAD", "/keys/a", None)):
            for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic YTpi"}):
                with self.subTest("%s %s %s" % (method, target, headers)):
                    answer = self.check(self.server.request(method, target, body, headers), 401)
                    self.assertEqual('Bearer realm="sherd"', answer.header("WWW-Authenticate"))
                    self.assertNotIn(b"value", answer.body)
        self.assertEqual(b"value of public/1", self.check(self.ask("GET", "/keys/public/1", ROOT_TOKEN), 200).body)

    def test_what_everybody_may_ask(self):
        for target in ("/livez", "/readyz", "/"):
            self.check(self.server.request("GET", target), 200)
        self.check(self.server.request("OPTIONS", "/keys/a"), 204)

    def test_a_key_outside_looks_the_same_there_or_not(self):
        self.fill("users/bob/1")
        for method in ("GET", "HEAD", "PUT", "DELETE"):
            answers = [self.ask(method, "/keys/users/bob/" + name, ALICE, b"x" if method == "PUT" else None)
                       for name in ("1", "2")]
            self.assertEqual([403, 403], [answer.status for answer in answers])
            self.assertEqual(*(answer.body.replace(b"bob/2", b"bob/1") for answer in answers))
            self.assertEqual(*([line for line in answer.headers if line[0] != "date"] for answer in answers))
        self.assertEqual(b"value of users/bob/1", self.ask("GET", "/keys/users/bob/1", BOB).body)

    def test_reading_is_not_writing(self):
        self.fill("public/1", "drop/1")
        self.check(self.ask("GET", "/keys/public/1", ALICE), 200)
        self.check(self.ask("PUT", "/keys/public/1", ALICE, b"x"), 403)
        self.check(self.ask("DELETE", "/keys/public/1", ALICE), 403)
        self.check(self.ask("PUT", "/keys/drop/1", BOB, b"x"), 204)
        self.check(self.ask("GET", "/keys/drop/1", BOB), 403)
        self.check(self.ask("PUT", "/keys/users/alice", ALICE, b"x"), 403)  # not below the prefix
        self.check(self.ask("PUT", "/keys/users/alice/", ALICE, b"x"), 201, 204)

    def test_lists_have_what_may_be_read(self):
        mine = ["public/%02d" % i for i in range(30)] + ["users/alice/%02d" % i for i in range(30)]
        others = ["aaa", "private/1", "publi", "users/", "users/alicf", "users/bob/1", "zzz"]
        self.nodes.truncate()
        self.fill(*mine, *others)

        def listed(token, query):
            answer = self.check(self.ask("GET", "/keys" + query, token, Accept="application/json"), 200)
            keys = [item.get("key") or item.get("prefix") for item in json.loads(answer.body)["keys"]]
            return [key for key in keys if key in mine + others or key.endswith("/")]
        self.assertEqual(mine, listed(ALICE, "?limit=1000"))
        self.assertEqual(mine[:30], listed(ALICE, "?prefix=public/&limit=1000"))
        self.assertEqual([], listed(ALICE, "?prefix=private/"))
        self.assertEqual([], listed(ALICE, "?after=users/alicf"))
        self.assertEqual(["users/alice/29"], listed(ALICE, "?after=users/alice/28"))
        self.assertEqual(["public/", "users/"], listed(ALICE, "?delimiter=/"))
        self.assertEqual([], [key for key in listed(BOB, "?limit=1000") if not key.startswith("users/bob/")])
        seen, after = [], ""
        while True:  # page by page
            page = listed(ALICE, "?limit=7&after=" + after)
            seen += page
            if len(page) < 7:
                break
            after = page[-1]
        self.assertEqual(mine, seen)
        lines = self.ask("GET", "/keys", ALICE, Accept="application/x-ndjson").body.decode().splitlines()
        self.assertEqual(mine, [key for key in (json.loads(line)["key"] for line in lines) if key in mine + others])
        answer = self.check(self.ask("GET", "/keys/users/:", BOB), 200)
        self.assertEqual(["users/bob/1"], json.loads(answer.body))

    def test_clearing_needs_the_whole_prefix(self):
        self.fill("users/bob/1", "users/bob/2", "users/alice/1")
        self.check(self.ask("DELETE", "/keys/users/:", BOB), 403)
        self.fill("drop/1", "drop/2")
        self.check(self.ask("DELETE", "/keys/drop/:", BOB), 204)  # which he may not read
        self.check(self.ask("GET", "/keys/drop/1", ROOT_TOKEN), 404)
        self.check(self.ask("DELETE", "/keys/users/bob/:", BOB), 204)
        self.check(self.ask("GET", "/keys/users/bob/1", BOB), 404)
        self.check(self.ask("GET", "/keys/users/alice/1", ALICE), 200)

    def test_a_bulk_is_looked_at_line_by_line(self):
        self.fill("users/bob/1", "public/1")
        lines = [{"op": "get", "key": "public/1"}, {"op": "get", "key": "users/bob/1"},
                 {"op": "put", "key": "public/1", "value": "x"}, {"op": "put", "key": "users/alice/9", "value": "x"},
                 {"op": "delete", "key": "users/bob/1"}, {"op": "get", "key": "users/bob/none"}]
        body = "".join(json.dumps(line) + "\n" for line in lines)
        answer = self.check(self.ask("POST", "/bulk", ALICE, body), 200)
        results = [json.loads(line) for line in answer.body.decode().splitlines()]
        self.assertEqual([200, 403, 403], [result["status"] for result in results[:3]])
        self.assertIn(results[3]["status"], (201, 204))
        self.assertEqual([403, 403], [result["status"] for result in results[4:]])
        self.assertEqual(b"value of users/bob/1", self.ask("GET", "/keys/users/bob/1", BOB).body)

    def test_listeners_hear_what_they_may_read(self):
        self.fill("users/bob/before", "public/before")
        listeners = [Listener(self.server, query, bearer(ALICE)) for query in ("", "since=0", "prefix=users/")]
        try:
            self.fill("users/bob/heard", "private/heard", "public/heard", "users/alice/heard")
            wait_until(lambda: all(("put", "users/alice/heard") in listener.told() for listener in listeners), 10)
            told = [listener.told() for listener in listeners]
            self.assertEqual([("put", "public/heard"), ("put", "users/alice/heard")], told[0])
            self.assertIn(("put", "public/before"), told[1])
            self.assertEqual([("put", "users/alice/heard")], told[2])
            for _, key in sum(told, []):
                self.assertRegex(key, "^(public|users/alice)/")
            again = Listener(self.server, "since=" + listeners[0].token.split("..")[0], bearer(ROOT_TOKEN))
            again.close()
        finally:
            for listener in listeners:
                listener.close()

    def test_only_an_administrator_sees_the_machine(self):
        for target in ("/status", "/metrics"):
            self.check(self.ask("GET", target, ALICE), 403)
            self.check(self.ask("GET", target, ROOT_TOKEN), 200)

    def test_too_many_requests(self):
        statuses = [self.ask("GET", "/keys/public/none", SLOW).status for _ in range(40)]
        self.assertIn(429, statuses)
        self.assertIn(404, statuses)
        refused = next(answer for answer in (self.ask("GET", "/keys/public/none", SLOW) for _ in range(100))
                       if answer.status == 429)
        self.assertEqual("1", refused.header("Retry-After"))
        wait_until(lambda: self.ask("GET", "/keys/public/none", SLOW).status == 404, 5)
        self.check(self.ask("GET", "/keys/public/1", ROOT_TOKEN), 200, 404)  # nobody else is held up
        body = "".join(json.dumps({"op": "get", "key": "public/%d" % i}) + "\n" for i in range(100))
        wait_until(lambda: self.ask("POST", "/bulk", SLOW, body).status == 200, 5)
        lines = [json.loads(line)["status"] for line in wait_for_bulk(self, body)]
        self.assertIn(429, lines)

    def test_any_host_will_do(self):
        self.check(self.ask("GET", "/keys/public/none", ROOT_TOKEN, Host="db.example.com"), 404)


def wait_for_bulk(test, body):
    answers = []

    def asked():
        answers.append(test.ask("POST", "/bulk", SLOW, body))
        return answers[-1].status == 200
    wait_until(asked, 5)
    return answers[-1].body.decode().splitlines()


class Reload(unittest.TestCase):
    def test_tokens_come_and_go_without_a_restart(self):
        server = Server(shared_nodes(), TOKENS)
        try:
            server.start_up()
            self.assertEqual(404, server.get("users/alice/none", bearer(ALICE)).status)
            listener = Listener(server, "", bearer(ALICE))
            server.configure("token-alice", sha256=sha256("new"))
            server.hang_up()
            wait_until(lambda: server.get("users/alice/none", bearer(ALICE)).status == 401, 5)
            wait_until(lambda: all(server.get("users/alice/none", bearer("new")).status == 404 for _ in range(20)), 5)
            wait_until(lambda: listener.ended, 5, "the listener's end")
            self.assertEqual(404, server.get("users/bob/none", bearer(BOB)).status)
            listener.close()
            server.stop()
        finally:
            server.discard()

    def test_a_reload_that_changes_no_token_disturbs_nobody(self):
        server = Server(shared_nodes(), TOKENS)
        try:
            server.start_up()
            listener = Listener(server, "", bearer(ALICE))
            server.hang_up()
            wait_until(lambda: "configuration reloaded" in server.log(), 5)
            self.assertIn(server.put("users/alice/1", b"x", bearer(ALICE)).status, (201, 204))
            listener.wait_for(1)
            self.assertFalse(listener.ended)
            listener.close()
            server.stop()
        finally:
            server.discard()

    def test_a_bulk_does_not_outlive_its_token(self):
        server = Server(shared_nodes(), TOKENS)
        try:
            server.start_up()
            line = json.dumps({"op": "put", "key": "users/alice/1", "value": "x"}).encode() + b"\n"
            with server.wire() as wire:
                wire.send(b"POST /bulk HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + ALICE.encode() +
                          b"\r\nContent-Length: %d\r\n\r\n" % (2 * len(line)) + line)
                wait_until(lambda: server.get("users/alice/1", bearer(ALICE)).status == 200, 5)
                server.configure("token-alice", sha256=sha256("new"))
                server.hang_up()
                wait_until(lambda: all(server.get("none", bearer(ALICE)).status == 401 for _ in range(20)), 5)
                wire.send(line)
                statuses = [json.loads(result)["status"] for result in wire.response().body.decode().splitlines()]
            self.assertEqual(403, statuses[1])
            server.stop()
        finally:
            server.discard()

    def test_tokens_cannot_be_taken_away_where_others_can_connect(self):
        server = Server(shared_nodes(), {**TOKENS, "server": {"listen": "0.0.0.0:0"}})
        try:
            server.launch()
            wait_until(lambda: "listening on 0.0.0.0:" in server.log(), 10)
            server.sections = {name: options for name, options in server.sections.items() if name not in TOKENS}
            server.configure("server", listen="127.0.0.1:0")
            server.hang_up()
            wait_until(lambda: "there is no [token-NAME]" in server.log(), 5)
            server.port = int(server.log().split("listening on 0.0.0.0:")[1].split(",")[0])
            self.assertEqual(401, server.get("a").status)
            server.stop()
        finally:
            server.discard()

    def test_secrets_are_not_logged(self):
        server = Server(shared_nodes(), {**TOKENS, "server": {"log_level": "debug", "access_log": "-"}})
        try:
            server.start_up()
            server.get("users/alice/none", bearer(ALICE))
            server.get("users/alice/none", bearer("almost"))
            server.stop()
            self.assertNotIn(ALICE, server.log() if os.path.exists(server.log_path) else "")
        finally:
            server.discard()


class NewToken(unittest.TestCase):
    def make(self, name):
        return subprocess.run([BINARY, "--new-token", name], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=10 * SLACK)

    def test_it_works_where_its_section_is_pasted(self):
        done = self.make("carol")
        self.assertEqual((0, ""), (done.returncode, done.stderr))
        token = re.search("Bearer (\\S{43})", done.stdout).group(1)
        section = done.stdout[done.stdout.index("[token-carol]"):]
        server = Server(shared_nodes(), {})
        try:
            with open(server.config, encoding="utf-8") as file:
                server.write_config(file.read() + section)
            server.start_up()
            self.assertEqual(404, server.get("none-such", bearer(token)).status)
            self.assertEqual(403, server.put("none-such", b"x", bearer(token)).status)
            self.assertEqual(401, server.get("none-such").status)
            server.stop()
        finally:
            server.discard()

    def test_each_is_another(self):
        self.assertNotEqual(self.make("a").stdout, self.make("a").stdout)

    def test_a_name_that_is_none(self):
        for name in ("", "A", "a b", "a" * 33, "ä"):
            with self.subTest(name):
                done = self.make(name)
                self.assertEqual((64, ""), (done.returncode, done.stdout))


class Hosts(SherdTest):
    """Without tokens, on the loopback address."""

    def test_other_names_are_not_served(self):
        for host in ("example.com", "sherd.test:8080", "localhost.example.com"):
            for method, target in (("GET", "/keys"), ("GET", "/"), ("PUT", "/keys/a"), ("GET", "/livez"),
                                   ("OPTIONS", "/keys/a")):
                answer = self.server.request(method, target, b"x" if method == "PUT" else None, {"Host": host})
                self.check(answer, 421)
        self.check(self.server.get("a"), 404)

    def test_names_of_this_machine_are(self):
        for host in ("localhost", "127.0.0.1:%d" % self.server.port, "[::1]", "LOCALHOST:1"):
            self.check(self.server.request("GET", "/keys", None, {"Host": host}), 200)

    def test_the_target_counts_more_than_host(self):
        self.check(self.server.request("GET", "http://example.com/keys", None, {"Host": "localhost"}), 421)
        self.check(self.server.request("GET", "http://localhost/keys", None, {"Host": "example.com"}), 200)

    def test_changes_from_pages_of_others_are_refused(self):
        for headers in ({"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
            for method, target in (("PUT", "/keys/a"), ("DELETE", "/keys/a"), ("POST", "/bulk")):
                body = None if method == "DELETE" else b"x"
                self.check(self.server.request(method, target, body, headers), 403)
        self.check(self.server.get("a"), 404)
        self.check(self.server.put("b", b"x", {"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"}), 201, 204)

    def test_pages_of_others_may_not_read_answers(self):
        for method in ("GET", "OPTIONS"):
            answer = self.server.request(method, "/keys", None, {"Origin": "https://app.example"})
            self.assertIsNone(answer.header("Access-Control-Allow-Origin"))


class Cors(SherdTest):
    config = {"server": {"cors_origins": "https://app.example, http://localhost:3000"}}

    def test_a_page_that_is_configured_may_ask(self):
        origin = {"Origin": "https://app.example", "Sec-Fetch-Site": "cross-site"}
        for answer in (self.server.put("a", b"x", origin), self.server.get("a", origin), self.server.get("none", origin),
                       self.server.request("GET", "/keys", None, origin)):
            self.assertEqual("https://app.example", answer.header("Access-Control-Allow-Origin"))
            self.assertEqual("Origin", answer.header("Vary"))
            self.assertIn("ETag", answer.header("Access-Control-Expose-Headers"))

    def test_browsers_ask_before(self):
        answer = self.check(self.server.request("OPTIONS", "/keys/a", None, {
            "Origin": "http://localhost:3000", "Access-Control-Request-Method": "PUT",
            "Access-Control-Request-Headers": "authorization,if-match"}), 204)
        self.assertEqual("http://localhost:3000", answer.header("Access-Control-Allow-Origin"))
        self.assertIn("PUT", answer.header("Access-Control-Allow-Methods"))
        self.assertIn("Authorization", answer.header("Access-Control-Allow-Headers"))

    def test_others_may_not(self):
        answer = self.check(self.server.put("c", b"x", {"Origin": "https://evil.example"}), 403)
        self.assertIsNone(answer.header("Access-Control-Allow-Origin"))


class Binding(unittest.TestCase):
    def test_an_open_address_needs_a_decision(self):
        server = Server(shared_nodes(), {"server": {"listen": "0.0.0.0:0"}})
        try:
            server.launch()
            self.assertEqual(78, server.wait_for_end())
            self.assertIn("insecure = yes", server.log())
        finally:
            server.discard()

    def test_insecure_serves_everybody_and_says_so(self):
        server = Server(shared_nodes(), {"server": {"insecure": "yes"}})
        try:
            server.start_up()
            self.assertEqual(200, server.request("GET", "/keys", None, {"Host": "example.com"}).status)
            self.assertRegex(server.log(), "warn.*everybody who can connect")
            server.stop()
        finally:
            server.discard()
