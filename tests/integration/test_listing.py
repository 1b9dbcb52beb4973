# SPDX-License-Identifier: MIT
"""Lists: all keys of all partitions in byte order, in pages, in every form."""
import base64
import html.parser
import json
import unittest
import urllib.parse
import xml.etree.ElementTree

from harness import SherdTest, Transaction, concurrently, wait_until
from test_bytes import percent

FORMS = {"application/json": "application/json", "text/plain": "text/plain", "text/html": "text/html",
         "application/xml": "application/xml", "application/x-ndjson": "application/x-ndjson"}


def key_of(row, name="key"):
    """The bytes of a row's key (or folded prefix)."""
    if name + "_base64" in row:
        return base64.b64decode(row[name + "_base64"], validate=True)
    return row[name].encode("utf-8")


def row_of(row):
    return ("key", key_of(row)) if "version" in row else ("prefix", key_of(row, "prefix"))


def folded(keys, prefix=b"", delimiter=b""):
    """What a list of `keys` holds by the contract: the model of this module's tests."""
    rows = []
    for key in sorted(keys):
        if not key.startswith(prefix):
            continue
        at = key.find(delimiter, len(prefix)) if delimiter else -1
        row = ("key", key) if at < 0 else ("prefix", key[:at + len(delimiter)])
        if row not in rows[-1:]:
            rows.append(row)
    return rows


class ListTest(SherdTest):
    def list(self, query="", accept=None):
        answer = self.server.request("GET", "/keys" + query, None, {"Accept": accept} if accept else None)
        return self.check(answer, 200)

    def page(self, **parameters):
        """One page of JSON: its rows and the address of the next."""
        query = urllib.parse.urlencode(parameters, quote_via=urllib.parse.quote)
        answer = self.list("?" + query if query else "")
        body = answer.json()
        self.assertEqual({"keys", "next"}, set(body))
        self.check_link(answer, body["next"])
        return [row_of(row) for row in body["keys"]], body["next"]

    def check_link(self, answer, address):
        if address is None:
            self.assertIsNone(answer.header("Link"))
        else:
            self.assertEqual('<%s>; rel="next"' % address, answer.header("Link"))
            self.assertTrue(address.startswith("/keys?"), address)

    def walk(self, pages=10000, **parameters):
        """All rows, along the next links."""
        rows, address = self.page(**parameters)
        while address:
            pages -= 1
            self.assertGreater(pages, 0, "endless pages")
            answer = self.check(self.server.request("GET", address), 200)
            more = [row_of(row) for row in answer.json()["keys"]]
            self.assertLessEqual(len(more), int(parameters.get("limit", 1000)))
            rows += more
            address = answer.json()["next"]
            self.check_link(answer, address)
        return rows

    def put_all(self, keys):
        keys = list(keys)

        def put(part):
            with self.server.wire() as wire:
                for key in keys[part::8]:
                    self.check(wire.request("PUT", "/keys/" + urllib.parse.quote(key), b"v"), 201, 204)
        concurrently(8, put)


class Pages(ListTest):
    keys = sorted({b"%d" % i for i in range(40)} | {b"a/%d" % i for i in range(20)} | {b"a/%d/%d" % (i, j)
                                                                                       for i in range(4)
                                                                                       for j in range(5)}
                  | {b"b//%d" % i for i in range(5)} | {b"\xff", b"\xff\xff", b"\xff\xffa", b"\xfe\xff", b"\xff/a",
                                                        b"\xff/b"}
                  | {b"\0", b"\0\0", b"\0a", b"a", b"a/", b"a0", b"a.", b"A", "á".encode(), b"a::b", b"a::c", b"a:d",
                     b" ", b"'", b"%", b"_"}
                  | {b"p\xff", b"p\xffq", b"p\xff\xff", b"q", b"k" * 512, b"k" * 511, b"\xff" * 512})

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        ListTest.put_all(cls(), cls.keys)

    def runTest(self):
        """Lets setUpClass make an instance."""

    def test_all_keys_come_in_byte_order(self):
        rows, address = self.page(limit=10000)
        self.assertEqual([("key", key) for key in self.keys], rows)
        self.assertIsNone(address)

    def test_pages_of_any_size_make_the_whole(self):
        for limit in (1, 2, 3, 7, 50, len(self.keys) - 1, len(self.keys), len(self.keys) + 1):
            with self.subTest(limit=limit):
                self.assertEqual([("key", key) for key in self.keys], self.walk(limit=limit))

    def test_a_prefix_narrows(self):
        for prefix in (b"a", b"a/", b"a/1", b"\xff", b"\xff\xff", b"p\xff", b"\0", b"k", b"k" * 512, b"zzz",
                       "á".encode(), b"%", b"_", b"'",
                       b" ", b"\xff" * 512, b"\xff" * 511):
            with self.subTest(prefix=prefix):
                for limit in (1, 3, 1000):
                    self.assertEqual(folded(self.keys, prefix), self.walk(prefix=prefix, limit=limit))

    def test_a_delimiter_folds(self):
        for prefix in (b"", b"a", b"a/", b"a/1", b"b", b"b/", b"\xff", b"a:"):
            for delimiter in (b"/", b":", b"::", b"//", b"\xff", b"1", b"none", b"\0", b"/1/"):
                with self.subTest(prefix=prefix, delimiter=delimiter):
                    for limit in (1, 2, 5, 1000):
                        self.assertEqual(folded(self.keys, prefix, delimiter),
                                         self.walk(prefix=prefix, delimiter=delimiter, limit=limit))

    def test_after_begins_behind_a_key_that_need_not_exist(self):
        for after in (b"a", b"a/", b"a/1", b"a/10", b"\xff", b"\xff" * 512, b"zzz", b"\0", b"nowhere"):
            with self.subTest(after=after):
                rows, _ = self.page(after=after, limit=1000)
                self.assertEqual([("key", key) for key in self.keys if key > after], rows)

    def test_after_and_prefix_together(self):
        for after, prefix in ((b"a/1", b"a"), (b"0", b"a"), (b"z", b"a"), (b"a/", b"a/")):
            rows, _ = self.page(after=after, prefix=prefix, limit=1000)
            self.assertEqual([("key", k) for k in self.keys if k > after and k.startswith(prefix)], rows)

    def test_the_last_page_has_no_next(self):
        rows, address = self.page(prefix="a/1", limit=len(folded(self.keys, b"a/1")) + 1)
        self.assertEqual(folded(self.keys, b"a/1"), rows)
        self.assertIsNone(address)

    def test_head_answers_like_get(self):
        for query in ("", "?limit=3", "?prefix=none"):
            get, head = self.list(query), self.server.request("HEAD", "/keys" + query)
            self.check(head, 200)
            for name in ("Content-Type", "Link"):
                self.assertEqual(get.header(name), head.header(name))

    def test_a_colon_lists_full_keys_of_a_prefix(self):
        for prefix in (b"", b"a", b"a/", b"a:", b"a::", b"none", b"q", b"\0"):
            expected = [key for key in self.keys if key.startswith(prefix)]
            answer = self.check(self.server.request("GET", "/keys/%s:" % urllib.parse.quote(prefix, safe="/:")), 200)
            self.assertEqual("application/json", answer.header("Content-Type"))
            for key, text in zip(expected, answer.json()):
                self.assertEqual(key, text.encode() if is_utf_8(key) else urllib.parse.unquote_to_bytes(text))
            self.assertEqual(len(expected), len(answer.json()))

    def test_every_form_tells_the_same_keys(self):
        expected = folded(self.keys, b"", b"/")
        for accept, read in {"application/json": from_json, "application/x-ndjson": from_lines,
                             "application/xml": from_xml,
                             "text/plain": from_text}.items():
            with self.subTest(accept=accept):
                answer = self.list("?limit=10000&delimiter=/", accept)
                self.assertEqual(accept, answer.header("Content-Type").split(";")[0])
                if accept == "text/plain":
                    self.assertEqual([percent(name) for _, name in expected], read(answer.body))
                else:
                    self.assertEqual(expected, read(answer.body))

    def test_every_form_has_the_next_link(self):
        for accept in FORMS:
            with self.subTest(accept=accept):
                answer = self.list("?limit=5", accept)
                rows, address = self.page(limit=5)
                self.assertEqual('<%s>; rel="next"' % address, answer.header("Link"))
                if accept == "application/xml":
                    self.assertEqual(address, xml.etree.ElementTree.fromstring(answer.body).findtext("next"))
                if accept == "text/html":
                    self.assertIn(address, Links(answer.body).addresses)

    def test_html_is_well_formed_and_links_to_every_key(self):
        answer = self.list("?limit=10000", "text/html")
        self.assertTrue(answer.header("Content-Type").startswith("text/html"))
        links = Links(answer.body)
        self.assertEqual([], links.open)
        found = {urllib.parse.unquote_to_bytes(a[len("/keys/"):]) for a in links.addresses if a.startswith("/keys/")}
        self.assertLessEqual(set(self.keys), found)

    def test_rows_tell_type_and_version(self):
        put = self.check(self.server.put("typed", b"v", {"Content-Type": "text/plain; x=\"<&>\""}), 201, 204)
        self.addCleanup(self.server.delete, "typed")
        row = {"key": "typed", "type": "text/plain; x=\"<&>\"", "version": put.version_tag}
        self.assertEqual([row], self.list("?prefix=typed").json()["keys"])
        self.assertEqual([row], self.list("?prefix=typed", "application/x-ndjson").lines())
        element = xml.etree.ElementTree.fromstring(self.list("?prefix=typed", "application/xml").body).find("keys/key")
        self.assertEqual({"type": row["type"], "version": row["version"]}, dict(element.attrib))


def is_utf_8(data):
    try:
        data.decode("utf-8")
        return True
    except UnicodeDecodeError:
        return False


def from_json(body):
    return [row_of(row) for row in json.loads(body)["keys"]]


def from_lines(body):
    return [row_of(json.loads(line)) for line in body.decode("utf-8").split("\n")[:-1]]


def from_text(body):
    return body.split(b"\n")[:-1]


def from_xml(body):
    root = xml.etree.ElementTree.fromstring(body).find("keys")
    return [(child.tag, base64.b64decode(child.text) if child.get("encoding") == "base64" else (child.text
                                                                                                or "").encode())
            for child in root]


class Links(html.parser.HTMLParser):
    """The addresses in a page, and the elements that it leaves open or closes in the wrong order."""

    void = {"meta", "link", "br", "hr", "img", "input"}

    def __init__(self, body):
        super().__init__()
        self.addresses, self.open, self.wrong = [], [], []
        self.feed(body.decode("utf-8"))
        self.close()
        self.open += self.wrong

    def handle_starttag(self, tag, attrs):
        if tag == "a":
            self.addresses.append(dict(attrs)["href"])
        if tag not in self.void:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if self.open and self.open[-1] == tag:
            self.open.pop()
        elif tag not in self.void:
            self.wrong.append("/" + tag)


class Hidden(ListTest):
    def test_deleted_and_expired_keys_are_not_listed(self):
        self.put_all([b"h/%d" % i for i in range(20)])
        for i in range(0, 20, 2):
            self.check(self.server.delete("h/%d" % i), 204)
        self.put("h/short", b"v", {"X-TTL": "1"})
        wait_until(lambda: self.server.get("h/short").status == 404, 3, "expiry")
        expected = folded([b"h/%d" % i for i in range(1, 20, 2)])
        for limit in (1, 3, 100):
            self.assertEqual(expected, self.walk(prefix="h/", limit=limit))
        self.assertEqual([key.decode() for _, key in expected], self.server.request("GET", "/keys/h/:").json())

    def test_a_folder_of_deleted_keys_is_not_listed(self):
        self.put_all([b"f/a/%d" % i for i in range(10)] + [b"f/b/1"])
        for i in range(10):
            self.server.delete("f/a/%d" % i)
        for limit in (1, 2, 10):
            self.assertEqual([("prefix", b"f/b/")], self.walk(prefix="f/", delimiter="/", limit=limit))

    def test_thousands_of_tombstones_do_not_stop_a_page(self):
        for node in self.nodes.all():
            self.nodes.sql(node, "INSERT INTO pairs (k, v) "
                                 "SELECT CONCAT('t/', LPAD(seq, 6, '0')), NULL FROM seq_1_to_8000")
        self.put("t/999999", b"v")
        for limit in (1, 1000):
            self.assertEqual([("key", b"t/999999")], self.walk(prefix="t/", limit=limit))

    def test_rows_of_sql_are_listed(self):
        home = self.put("sql/a", b"").partition
        self.nodes.sql(home, "INSERT INTO pairs (k, v) VALUES ('sql/b', 'v'), ('sql/c', NULL)")
        self.assertEqual([("key", b"sql/a"), ("key", b"sql/b")], self.walk(prefix="sql/"))


class Clearing(ListTest):
    config = {"store": {"timeout": "6s"}}  # a statement that waits for a lock ends after half of it

    def test_a_colon_clears_a_prefix_and_nothing_else(self):
        keys = [b"c/%d" % i for i in range(2500)]
        self.put_all(keys + [b"c", b"c0", b"b/9", b"c/\xff"])
        self.check(self.server.request("DELETE", "/keys/c/:"), 204)
        self.assertEqual([("key", b"b/9"), ("key", b"c"), ("key", b"c0")], self.walk())
        self.check(self.server.put("c/1", b"v"), 201)

    def test_only_a_colon_clears_everything(self):
        self.put_all([b"x", b"y/z", b"\xff\xff", b"\0"])
        self.check(self.server.request("DELETE", "/keys/:"), 204)
        self.assertEqual([], self.walk())

    def test_what_cannot_be_cleared_is_said_and_cleared_later(self):
        self.put_all([b"lock/%d" % i for i in range(20)])
        node = 1 + next(i for i in range(3) if self.nodes.sql(i + 1, "SELECT 1 FROM pairs"))
        transaction = Transaction(self.nodes, node)
        self.addCleanup(transaction.end)
        transaction.run("BEGIN; SELECT * FROM pairs FOR UPDATE")
        with self.server.wire() as wire:  # one that does not wait for its answer
            wire.send(b"DELETE /keys/lock/: HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = self.check(self.server.request("DELETE", "/keys/lock/:"), 503)
        self.assertEqual(str(node), answer.header("Sherd-Partition"))
        self.assertIn("not all keys may have been removed", answer.json()["detail"])
        left = self.walk()
        self.assertTrue(left and len(left) < 20, left)
        transaction.run("ROLLBACK")
        wait_until(lambda: self.server.request("DELETE", "/keys/lock/:").status == 204, 10, "all removed")
        self.assertEqual([], self.walk())

    def test_head_of_a_stream_has_no_body(self):
        self.put_all([b"h/%d" % i for i in range(3000)])
        for accept in ("application/x-ndjson", "text/plain", "application/json", "text/html", "application/xml"):
            with self.server.wire() as wire:
                for _ in range(2):  # on one connection: what followed would be taken for the second answer
                    self.check(wire.request("HEAD", "/keys?prefix=h/", None, {"Accept": accept}), 200)

    def test_clearing_nothing_is_fine(self):
        self.check(self.server.request("DELETE", "/keys/nothing:"), 204)


class Many(ListTest):
    count = 20000

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.keys = sorted(b"many/%d" % i for i in range(cls.count))
        body = b"".join(b'{"op":"put","key":"%s","value":"v"}\n' % key for key in cls.keys)
        with cls.server.wire(60) as wire:
            lines = wire.request("POST", "/bulk", body).lines()
        assert [line["status"] for line in lines] == [201] * cls.count, lines[:3]

    def test_lines_without_limit_stream_all(self):
        answer = self.list("", "application/x-ndjson")
        self.assertEqual("chunked", answer.header("Transfer-Encoding"))
        self.assertEqual([("key", key) for key in self.keys], from_lines(answer.body))
        self.assertIsNone(answer.header("Link"))

    def test_lines_without_limit_fold_and_narrow_too(self):
        answer = self.list("?prefix=many/1&delimiter=1", "application/x-ndjson")
        self.assertEqual(folded(self.keys, b"many/1", b"1"), from_lines(answer.body))

    def test_a_colon_streams_all(self):
        answer = self.check(self.server.request("GET", "/keys/:"), 200)
        self.assertEqual([key.decode() for key in self.keys], answer.json())

    def test_pages_make_the_whole(self):
        self.assertEqual([("key", key) for key in self.keys], self.walk(limit=3000))

    def test_a_page_has_1000_rows_unless_told(self):
        self.assertEqual(1000, len(self.page()[0]))

    def test_a_stream_that_nobody_reads_delays_nobody(self):
        with self.server.wire() as wire:
            wire.socket.sendall(b"GET /keys HTTP/1.1\r\nHost: localhost\r\nAccept: application/x-ndjson\r\n\r\n" * 16)
            self.assertEqual(1000, len(self.page()[0]))
            for _ in range(16):
                self.assertEqual(self.count, wire.response().body.count(b"\n"))

    def test_a_stream_that_is_broken_off_harms_nobody(self):
        for _ in range(10):
            with self.server.wire() as wire:
                wire.send(b"GET /keys HTTP/1.1\r\nHost: localhost\r\nAccept: application/x-ndjson\r\n\r\n")
                wire.head()
                wire.abort()
        self.assertEqual(1000, len(self.page()[0]))


class OneAway(ListTest):
    """With one owner a key, a list needs all partitions."""

    config = {"store": {"replicas": 1}}

    def test_a_list_is_503_while_a_partition_is_away(self):
        self.put_all([b"a", b"b", b"c", b"d", b"e"])
        self.addCleanup(self.nodes.start)
        self.nodes.kill(3)
        wait_until(lambda: self.server.request("GET", "/readyz?partition=3").status == 503, 5, "partition 3 down")
        for target in ("/keys", "/keys/:"):
            answer = self.check(self.server.request("GET", target), 503)
            self.assertGreater(int(answer.header("Retry-After")), 0)
        self.nodes.start()
        wait_until(self.server.all_up, 3, "all partitions up")
        self.assertEqual(folded([b"a", b"b", b"c", b"d", b"e"]), self.walk())


if __name__ == "__main__":
    unittest.main()
