# SPDX-License-Identifier: MIT
"""Keys and values are bytes: what SQL, Unicode or a path might confuse stays distinct and comes back as it was."""
import random
import unittest

from harness import SherdTest, key_path, sql_bytes

KEYS = [key if isinstance(key, bytes) else key.encode("utf-8") for key in [
    "a", "A", "á", "a\u0301", "Á", "ª", "a ", " a", "a  ", "a\0", "\0a", "\0", "a\0b", "a\0\0", "ß", "ss", "SS", "ẞ",
    "ſs",
    "i", "I", "ı", "İ", "K", "\u212a", "Å", "\u212b", "ﬁ", "fi", "１", "1", "01", "1.0", "1e0", "+1", "0x1",
    "😀", "😁", "👨‍👩‍👧", "\u200b", "\ufeff", "\ufeffa", "\u202ea", "\u00a0", "\u3000", "\U0010ffff",
    "'", '"', "''", "`", "\\", "\\'", "\\\\", "\\0", "\\%", "%", "_", "%%", "a%", "a_", "--", "-- ", "#", "/*", "*/",
    "/*!1*/",
    ";", "'; DROP TABLE pairs; --", "' OR '1'='1", "x'61'", "0x61", "NULL", "null", "true", "?", ":name",
    "@sherd_node", "\x1a",
    "\n", "\r", "\r\n", "\t", "\b", "\x1b", "\x7f", "\x01", ".", "..", "...", "/", "//", "///", "../a", "a/../b",
    "a/./b", "a//b",
    "a/b", "/a", "a/", "~", "a?b", "a?ttl=1", "a#b", "a&b", "a+b", "a b", "a%20b", "%41", "%2541", "%00", "a:", ":",
    "::", "a:b",
    "con", "keys", "livez", "é" * 256, b"\xbf\x27", b"\xbf\x5c", b"\xbf", b"\xc0\xaf", b"\xc0\x80", b"\xed\xa0\x80",
    b"\xf8\x88",
    b"\xff", b"\xff\xff", b"\xfe", b"\x80", b"a\xff", b"\xe1", b"\x95\x5c", b"\x81\x30\x81\x30", bytes(range(256)),
    b"k" * 511, b"k" * 512, b"k" * 511 + b"l", b"\0" * 512, b"\0" * 511, b"\xff" * 512, b"'" * 512, b"\\" * 512,
    b" " * 512,
]]

VALUES = [
    b"", b"\0", b"\0\0", b" ", b"'", b"\\", b"'\\", b"\\'", b"\x1a", b"NULL", b"\xbf\x27", b"\r\n", b"0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"'); DROP TABLE pairs; -- ", b"x'00'", b"\xef\xbb\xbftext",
    b"\xff\xfe",
    bytes(range(256)), bytes(range(256)) * 16, b"\0" * 1000, b"'" * 100000, b"\\" * 100000, b"\xff" * 1048576,
]
SIZES = [1, 2, 249, 250, 251, 252, 253, 254, 255, 256, 257, 1023, 1024, 4095, 4096, 8191, 16383, 16384, 32767, 65535,
         65536, 65537,
         131071, 131072, 262144, 1000000, 1048575, 1048576]


def random_bytes(size, seed=1):
    return random.Random(seed * 100000007 + size).getrandbits(size * 8).to_bytes(size, "little") if size else b""


class Keys(SherdTest):
    def test_all_keys_are_distinct_and_come_back(self):
        self.assertEqual(len(KEYS), len(set(KEYS)))
        for i, key in enumerate(KEYS):
            self.check(self.server.put(key, b"value %d" % i), 201)
        for i, key in enumerate(KEYS):
            with self.subTest(key=key):
                self.assertEqual(b"value %d" % i, self.value(key))
        listed = [line.encode("ascii") for line in self.listed_lines()]
        self.assertEqual([percent(key) for key in sorted(KEYS)], listed)
        self.check_rows()
        for i, key in enumerate(KEYS):
            self.check(self.server.put(key, b"again %d" % i), 204)
        for i, key in enumerate(KEYS):
            self.assertEqual(b"again %d" % i, self.value(key))
            self.check(self.server.delete(key), 204)
            self.check(self.server.get(key), 404)

    def listed_lines(self):
        answer = self.server.request("GET", "/keys?limit=10000", headers={"Accept": "text/plain"})
        return self.check(answer, 200).body.decode("ascii").split("\n")[:-1]

    def check_rows(self):
        """The rows that a SQL client sees have the same keys, once each."""
        rows = [row[0] for node in self.nodes.all()
                for row in self.nodes.sql(node, "SELECT HEX(k) FROM pairs")]
        self.assertEqual(sorted(key.hex().upper() for key in KEYS), sorted(rows))

    def test_keys_of_one_statement_are_kept_apart(self):
        """Pipelined reads of confusable keys leave in one batch."""
        keys = [b"batch-" + key for key in KEYS if len(key) < 500]
        for key in keys:
            self.put(key, b"<" + key + b">")
        with self.server.wire() as wire:
            wire.send(b"".join(b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % key_path(key).encode() for key in keys))
            for key in keys:
                self.assertEqual(b"<" + key + b">", wire.response().body)

    def test_513_bytes_are_too_long(self):
        for key in (b"k" * 513, b"\xff" * 513):
            self.check(self.server.put(key, b""), 414)
            self.check(self.server.get(key), 414)
            self.check(self.server.delete(key), 414)


def percent(key):
    """A key in text/plain: percent-encoded where it is not printable ASCII."""
    return b"".join(b"%c" % c if 0x20 <= c <= 0x7e and c != 0x25 else b"%%%02X" % c for c in key)


class Values(SherdTest):
    def check_round_trip(self, key, value):
        self.put(key, value)
        response = self.check(self.server.get(key), 200)
        self.assertTrue(value == response.body, "%d bytes differ" % len(value))
        self.assertEqual(str(len(value)), response.header("Content-Length"))

    def test_any_value_comes_back(self):
        for i, value in enumerate(VALUES):
            self.check_round_trip("value-%d" % i, value)

    def test_any_size_comes_back(self):
        for size in SIZES:
            self.check_round_trip("size-%d" % size, random_bytes(size))

    def test_a_value_is_the_row_of_sql(self):
        for i, value in enumerate(VALUES[:-3]):
            key = "row-%d" % i
            home = self.put(key, value).partition
            rows = self.nodes.sql(home, "SELECT HEX(v) FROM pairs WHERE k = '%s'" % key)
            self.assertEqual([[value.hex().upper()]], rows)

    def test_any_value_of_one_batch_comes_back(self):
        """Pipelined reads of many sizes and bytes leave in few statements, each value stays with its key."""
        values = VALUES + [random_bytes(size, 2) for size in SIZES[:20]]
        for i, value in enumerate(values):
            self.put("mixed-%d" % i, value)
        with self.server.wire(30) as wire:
            wire.send(b"".join(b"GET /keys/mixed-%d HTTP/1.1\r\nHost: localhost\r\n\r\n" % i for i in range(len(values))))
            for value in values:
                self.assertTrue(value == wire.response().body)

    def test_chunks_of_any_size_make_the_same_value(self):
        value = random_bytes(300000, 3)
        for size in (1000, 4096, 65536, 299999):
            body = b"".join(b"%x\r\n%s\r\n" % (len(part), part)
                            for part in (value[i:i + size] for i in range(0, len(value), size)))
            self.check(self.server.raw(b"PUT /keys/chunks-%d HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
                                       b"%s0\r\n\r\n" % (size, body))[0], 201)
            self.assertTrue(value == self.value("chunks-%d" % size))

    def test_any_content_type_comes_back(self):
        for i, name in enumerate(["text/plain", "TEXT/plain; charset=UTF-8", "a", "';--", "\\", "x/y; q='%s'",
                                  "a/b;c=\"d;e\"", "%00"]):
            self.put("type-%d" % i, b"v", {"Content-Type": name})
            self.assertEqual(name, self.server.get("type-%d" % i).header("Content-Type"))


class Quoting(SherdTest):
    """Random keys and values of what SQL gives a meaning, many to a statement; the servers' parser is the judge."""

    PIECES = [b"'", b'"', b"`", b"\\", b"\0", b"\x1a", b"\n", b"\r", b"\b", b"\t", b"%", b"_", b";", b",", b"(", b")", b"--", b"-- ", b"#",
              b"/*", b"*/", b"/*!", b"''", b"\\'", b"'\\", b"',NULL),('", b"');", b"\xbf", b"\x95", b"\x81", b"\xff", b"\xc3", b"a", b"0x",
              b"NULL", b"?", b"@a", b":a", b"\\0", b"\\Z", b"{", b"}"]
    ROUNDS = 10
    PAIRS = 200

    def text(self, chance, most):
        return b"".join(chance.choices(self.PIECES, k=chance.randint(1, most)))[:512]

    def test_any_bytes_of_a_batch_are_read_as_they_are(self):
        for seed in range(self.ROUNDS):
            chance = random.Random(seed)
            with self.subTest(seed=seed):
                pairs = {b"%d:" % seed + self.text(chance, 12): self.text(chance, 60) for _ in range(self.PAIRS)}
                self.write(pairs)
                self.assertEqual(pairs, self.rows(b"%d:" % seed))

    def write(self, pairs):
        with self.server.wire(30) as wire:
            wire.send(b"".join(b"PUT %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s"
                               % (key_path(key).encode(), len(value), value) for key, value in pairs.items()))
            for key in pairs:
                self.check(wire.response(), 201)

    def rows(self, prefix):
        return {bytes.fromhex(key): bytes.fromhex(value) for node in self.nodes.all() for key, value in
                self.nodes.sql(node, "SELECT HEX(k),HEX(v) FROM pairs WHERE LEFT(k,%d)=%s" % (len(prefix), sql_bytes(prefix)))}


class LargeValues(SherdTest):
    config = {"server": {"max_value": "16M"}, "store": {"timeout": "10s"}}  # it is about bytes, however slow

    def test_16_mib_come_back(self):
        value = random_bytes(16 << 20)
        with self.server.wire(60) as wire:
            self.check(wire.request("PUT", "/keys/large", value), 201)
            response = self.check(wire.request("GET", "/keys/large"), 200)
            self.assertTrue(value == response.body)
            part = self.check(wire.request("GET", "/keys/large", None, {"Range": "bytes=16777200-"}), 206)
            self.assertEqual(value[16777200:], part.body)

    def test_16_mib_that_sql_must_escape_come_back(self):
        value = b"'\\\0\x1a" * (4 << 20)
        with self.server.wire(60) as wire:
            self.check(wire.request("PUT", "/keys/escaped", value), 201)
            self.assertTrue(value == wire.request("GET", "/keys/escaped").body)

    def test_16_mib_and_1_are_too_large(self):
        with self.server.wire(60) as wire:
            self.check(wire.request("PUT", "/keys/larger", b"m" * ((16 << 20) + 1)), 413)
        self.check(self.server.get("larger"), 404)

    def test_packet_edges_come_back(self):
        for size in (16777215 - 1000, 16777215 - 600, 16777215 - 100, 16777215, 1 << 22, (1 << 20) * 8 - 1):
            value = b"e" * size
            with self.server.wire(60) as wire:
                self.check(wire.request("PUT", "/keys/edge", value), 201, 204)
                self.assertTrue(value == wire.request("GET", "/keys/edge").body, size)

    def test_a_value_that_sql_wrote_beyond_max_value_is_served(self):
        home = self.put("dba", b"").partition
        self.nodes.sql(home, "UPDATE pairs SET v = REPEAT('x', 20000000) WHERE k = %s" % sql_bytes("dba"))
        self.assertEqual(20000000, len(self.value("dba")))


if __name__ == "__main__":
    unittest.main()
