# SPDX-License-Identifier: MIT
"""POST /bulk: a line an operation, a line a result, in order, both streamed."""
import base64
import json
import threading
import unittest

from harness import SherdTest, wait_until

VERSION = "^[1-9][0-9]*$"


def line(op, key=None, **more):
    more.update({"op": op} if key is None else {"op": op, "key": key})
    return json.dumps(more).encode() + b"\n"


class BulkTest(SherdTest):
    def bulk(self, *lines, headers=None):
        """The results of lines (bytes), each with its end."""
        answer = self.check(self.server.request("POST", "/bulk", b"".join(lines), headers, timeout=60), 200)
        self.assertEqual("application/x-ndjson", answer.header("Content-Type"))
        self.assertTrue(answer.body == b"" or answer.body.endswith(b"\n"))
        return answer.lines()

    def statuses(self, *lines):
        return [result["status"] for result in self.bulk(*lines)]


class Operations(BulkTest):
    def test_put_get_delete_of_one_key_go_in_order(self):
        results = self.bulk(line("get", "k"), line("put", "k", value="1"), line("get", "k"),
                            line("put", "k", value="2"),
                            line("get", "k"), line("delete", "k"), line("get", "k"), line("delete", "k"),
                            line("put", "k", value="3"), line("get", "k"))
        self.assertEqual([404, 201, 200, 204, 200, 204, 404, 204, 201, 200], [r["status"] for r in results])
        self.assertEqual(["1", "2", "3"], [results[i]["value"] for i in (2, 4, 9)])
        self.assertEqual(["k"] * 10, [r["key"] for r in results])

    def test_results_have_the_documented_members(self):
        put, get, delete = self.bulk(line("put", "m", value="text"), line("get", "m"), line("delete", "m"))
        self.assertEqual({"key", "status", "version"}, set(put))
        self.assertEqual({"key", "status", "type", "value", "version"}, set(get))
        self.assertEqual(put["version"], get["version"])
        self.assertRegex(put["version"], VERSION)
        self.assertEqual("text/plain; charset=utf-8", get["type"])
        self.assertEqual(204, delete["status"])

    def test_bulk_and_single_requests_see_the_same(self):
        self.bulk(line("put", "same", value="välue", type="text/x"))
        answer = self.server.get("same")
        self.assertEqual(("välue".encode(), "text/x"), (answer.body, answer.header("Content-Type")))
        self.put("same", b"\xff\0")
        result = self.bulk(line("get", "same"))[0]
        self.assertEqual(b"\xff\0", base64.b64decode(result["value_base64"]))
        self.assertNotIn("value", result)
        self.assertEqual("application/octet-stream", result["type"])

    def test_any_bytes_go_as_base64(self):
        key, value = bytes(range(256)), bytes(range(256)) * 8
        encoded = base64.b64encode(key).decode()
        results = self.bulk(line("put", key_base64=encoded, value_base64=base64.b64encode(value).decode()),
                            line("get", key_base64=encoded), line("delete", key_base64=encoded))
        self.assertEqual([201, 200, 204], [r["status"] for r in results])
        self.assertEqual([encoded] * 3, [r["key_base64"] for r in results])
        self.assertEqual(value, base64.b64decode(results[1]["value_base64"]))
        self.assertEqual("application/octet-stream", results[1]["type"])

    def test_base64_of_text_is_the_same_key(self):
        results = self.bulk(line("put", key_base64="Yg==", value="v"), line("get", "b"))
        self.assertEqual([("b", 201), ("b", 200)], [(r["key"], r["status"]) for r in results])

    def test_json_escapes_are_the_bytes_they_name(self):
        results = self.bulk(b'{"op":"put","key":"\\u00e1\\ud83d\\ude00\\/\\n","value":"\\"\\\\\\t"}\n')
        self.assertEqual(["á😀/\n"], [r["key"] for r in results])
        self.assertEqual(b'"\\\t', self.value("á😀/\n"))

    def test_nul_in_a_key_and_a_value(self):
        statuses = self.statuses(b'{"op":"put","key":"n\\u0000n","value":"v\\u0000v"}\n')
        self.assertEqual([201], statuses)
        self.assertEqual(b"v\0v", self.value("n\0n"))

    def test_conditions(self):
        version = self.bulk(line("put", "c", value="1"))[0]["version"]
        self.assertEqual([412, 204, 412, 204, 412, 201, 412, 204, 412], self.statuses(
            line("put", "c", value="x", if_match="1"), line("put", "c", value="2", if_match=version),
            line("put", "c", value="x", if_match=version), line("put", "c", value="3", if_match="*"),
            line("put", "c", value="x", if_none_match="*"), line("put", "new", value="1", if_none_match="*"),
            line("delete", "c", if_match=version), line("delete", "c", if_match="*"),
            line("put", "c", value="x", if_match="*")))
        self.assertEqual(b"1", self.value("new"))

    def test_ttl(self):
        self.assertEqual([201, 201], self.statuses(line("put", "t", value="1", ttl=1),
                                                   line("put", "u", value="1", ttl=1000)))
        self.assertIn(int(self.server.get("u").header("X-TTL")), range(990, 1001))
        wait_until(lambda: self.statuses(line("get", "t")) == [404], 3, "expiry")

    def test_empty_values_and_no_lines(self):
        self.assertEqual([201, 201], self.statuses(line("put", "e", value=""), line("put", "e2", value_base64="")))
        self.assertEqual(b"", self.value("e"))
        self.assertEqual([], self.bulk())
        self.assertEqual([], self.bulk(b"\n\r\n\n"))

    def test_line_ends(self):
        lines = [line("put", "l", value="1")[:-1] + b"\r\n", b"\n", b"\r\n", line("get", "l"), line("delete", "l")[:-1]]
        self.assertEqual([201, 200, 204], self.statuses(*lines))

    def test_the_largest_key_and_value(self):
        value = "v" * (1 << 20)
        self.assertEqual([201, 414, 413, 201], self.statuses(
            line("put", "k" * 512, value=value), line("put", "k" * 513, value="v"),
            line("put", "larger", value=value + "v"),
            line("put", "next", value="v")))
        self.assertEqual(1 << 20, len(self.value("k" * 512)))
        self.check(self.server.get("larger"), 404)

    def test_a_largest_value_of_base64_fits(self):
        value = b"\xff" * (1 << 20)
        self.assertEqual([201], self.statuses(line("put", "b64", value_base64=base64.b64encode(value).decode())))
        self.assertEqual(value, self.value("b64"))

    def test_a_largest_value_of_escapes_fits_or_is_413(self):
        """Six bytes of JSON for each byte: the line is over 6 MiB."""
        body = b'{"op":"put","key":"esc","value":"' + b"\\u0001" * (1 << 20) + b'"}\n' + line("put", "behind",
                                                                                              value="v")
        first, second = self.statuses(body)
        self.assertIn(first, (201, 413))
        self.assertEqual(201, second)


class BadLines(BulkTest):
    bad = [
        b"", b"{", b"}", b"[]", b"1", b'"put"', b"null", b"not json", b"\xff\xfe",
        b'{"op":"put","key":"bad","value":"v"',
        b'{"op":"put","key":"bad","value":"v"}x', b'{"op":"put","key":"bad","value":"v"} {"op":"get","key":"a"}',
        b"{'op':'put','key':'bad','value':'v'}", b'{"op":"put","key":"bad","value":"\xff"}',
        b'{"op":"put","key":"b\xc3","value":"v"}',
        b'{"op":"put","key":"bad","value":"\\ud800"}', b'{"op":"put","key":"bad","value":"a\x01b"}', b'{}',
        b'{"op":"put"}',
        b'{"key":"bad","value":"v"}', b'{"op":"get"}', b'{"op":"PUT","key":"bad","value":"v"}',
        b'{"op":"post","key":"bad"}',
        b'{"op":"put","key":"bad"}', b'{"op":"put","key":"","value":"v"}', b'{"op":"put","key":1,"value":"v"}',
        b'{"op":"put","key":null,"value":"v"}', b'{"op":"put","key":"bad","value":1}',
        b'{"op":"put","key":"bad","value":null}',
        b'{"op":"put","key":"bad","value":{}}', b'{"op":1,"key":"bad","value":"v"}',
        b'{"op":"put","key":"bad","key_base64":"YQ==","value":"v"}',
        b'{"op":"put","key":"bad","value":"v","value_base64":"dg=="}', b'{"op":"put","key_base64":"!","value":"v"}',
        b'{"op":"put","key_base64":"YQ","value":"v"}', b'{"op":"put","key_base64":"","value":"v"}',
        b'{"op":"put","key":"bad","value_base64":"d g=="}',
        b'{"op":"put","key":"bad","value":"v","ttl":0}', b'{"op":"put","key":"bad","value":"v","ttl":-1}',
        b'{"op":"put","key":"bad","value":"v","ttl":1.5}', b'{"op":"put","key":"bad","value":"v","ttl":"60"}',
        b'{"op":"put","key":"bad","value":"v","ttl":3153600001}',
        b'{"op":"put","key":"bad","value":"v","ttl":99999999999999999999}',
        b'{"op":"put","key":"bad","value":"v","if_match":1}', b'{"op":"put","key":"bad","value":"v","if_match":"abc"}',
        b'{"op":"put","key":"bad","value":"v","if_none_match":"1"}',
        b'{"op":"put","key":"bad","value":"v","if_match":"*","if_none_match":"*"}',
        b'{"op":"put","key":"bad","value":"v","type":1}', b'{"op":"put","key":"bad","value":"v","type":"'
        + b"t" * 129 + b'"}',
        b'{"op":"put","key":"bad","value":"v","type":"a\\r\\nSet-Cookie: x"}',
        b'{"op":"put","key":"bad","value":"v","type":"a\\u0000"}',
        b'{"op":"put","op":"get","key":"bad","value":"v"}', b'{"op":"put","key":"bad","key":"other","value":"v"}',
        b'{"op":"put","key":"bad","value":"v","surprise":1}', b"[" * 100000, b'{"a":' * 5000,
    ]

    def test_a_bad_line_is_400_and_the_rest_goes_on(self):
        for i, bad in enumerate(self.bad[1:]):
            with self.subTest(line=bad[:100]):
                results = self.bulk(line("put", "good", value=str(i)), bad + b"\n", line("get", "good"))
                self.assertEqual(3, len(results), results)
                self.assertEqual(400, results[1]["status"], results[1])
                self.assertIsInstance(results[1].get("detail"), str)
                self.assertEqual(str(i), results[2]["value"])
        self.check(self.server.get("bad"), 404)

    def test_a_line_too_long_is_413_and_the_rest_goes_on(self):
        long = b'{"op":"put","key":"bad","value":"' + b"v" * (40 << 20) + b'"}\n'
        self.put("good", b"")
        self.assertEqual([204, 413, 200], self.statuses(line("put", "good", value="v"), long, line("get", "good")))
        self.check(self.server.get("bad"), 404)

    def test_a_long_line_without_an_end(self):
        self.assertEqual([413], self.statuses(b"x" * (40 << 20)))

    def test_other_content_types_do_not_matter(self):
        self.assertEqual(200, self.bulk(line("put", "good", value="v"), line("get", "good"),
                                        headers={"Content-Type": "text/plain"})[1]["status"])

    def test_a_content_encoding_is_415(self):
        self.check(self.server.request("POST", "/bulk", b"x", {"Content-Encoding": "gzip"}), 415)


class Streams(BulkTest):
    count = 20000

    def test_results_come_while_lines_go(self):
        """Each line is answered before the next is sent: nothing waits for the end."""
        with self.server.wire() as wire:
            wire.send(b"POST /bulk HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
            results, head = b"", None
            for i in range(20):
                text = line("put", "slow-%d" % i, value="v")
                wire.send(b"%x\r\n%s\r\n" % (len(text), text))
                head = head or wire.head()
                while results.count(b"\n") <= i:
                    results += wire.chunk()
            wire.send(b"0\r\n\r\n")
            while wire.chunk():
                pass
            self.assertEqual([201] * 20, [json.loads(r)["status"] for r in results.splitlines()])
            self.check(wire.request("GET", "/livez"), 200)

    def test_a_line_may_come_in_pieces(self):
        text = line("put", "pieces", value="välue" * 10) + line("get", "pieces")
        body = b"".join(b"1\r\n%c\r\n" % c for c in text)
        answer = self.server.raw(b"POST /bulk HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" + body
                                 + b"0\r\n\r\n")[0]
        self.assertEqual([201, 200], [r["status"] for r in answer.lines()])

    def test_20000_lines_are_answered_in_order_while_they_go(self):
        """A reader of its own takes the results while this thread sends."""
        results = []
        with self.server.wire(60) as wire:
            def read():
                wire.head()
                pending = b""
                while True:
                    chunk = wire.chunk()
                    if not chunk:
                        return
                    lines = (pending + chunk).split(b"\n")
                    pending = lines.pop()
                    results.extend(json.loads(text) for text in lines)
            reader = threading.Thread(target=read)
            wire.socket.setblocking(True)
            wire.socket.sendall(b"POST /bulk HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
            reader.start()
            for begin in range(0, self.count, 500):
                text = b"".join(line("put", "stream-%d" % i, value="value %d" % i) for i in range(begin, begin + 500))
                wire.socket.sendall(b"%x\r\n%s\r\n" % (len(text), text))
            wire.socket.sendall(b"0\r\n\r\n")
            reader.join(60)
            self.assertFalse(reader.is_alive())
        self.assertEqual(["stream-%d" % i for i in range(self.count)], [r["key"] for r in results])
        self.assertEqual({201}, {r["status"] for r in results})
        got = self.bulk(*[line("get", "stream-%d" % i) for i in range(self.count)])
        self.assertEqual(["value %d" % i for i in range(self.count)], [r["value"] for r in got])

    def test_one_key_in_20000_lines_keeps_its_order(self):
        lines = []
        for i in range(self.count // 4):
            lines += [line("put", "one", value="%d" % i), line("get", "one"), line("delete", "one"), line("get", "one")]
        results = self.bulk(*lines)
        self.assertEqual([201, 200, 204, 404] * (self.count // 4), [r["status"] for r in results])
        self.assertEqual(["%d" % i for i in range(self.count // 4)], [r["value"] for r in results[1::4]])

    def test_a_client_that_does_not_read_is_waited_for(self):
        self.put("wide", b"w" * 1000000)
        with self.server.wire(60) as wire:
            wire.send(b"POST /bulk HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % (200 * len(line("get",
                                                                                                        "wide"))))
            wire.socket.setblocking(True)
            wire.socket.sendall(line("get", "wide") * 200)
            self.check(self.server.request("GET", "/livez"), 200)
            wire.socket.setblocking(False)
            self.assertEqual(200, wire.response().body.count(b"\n"))

    def test_a_broken_off_bulk_has_done_whole_lines_only(self):
        with self.server.wire() as wire:
            wire.send(b"POST /bulk HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10000\r\n\r\n"
                      + line("put", "whole", value="v")
                      + line("put", "half", value="v")[:-1])
            wire.head()
            wire.chunk()
            wire.abort()
        self.assertEqual(b"v", self.value("whole"))
        self.check(self.server.get("half"), 404)


if __name__ == "__main__":
    unittest.main()
