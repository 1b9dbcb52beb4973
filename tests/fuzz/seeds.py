#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes what fuzzers begin with, DIRECTORY/FUZZER/*, from the corpora of the integration tests."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))

from corpus import CASES, FUTURE, PAST, Bytewise  # noqa: E402
from corpus_conf import CONFIGURATIONS  # noqa: E402
from corpus_store import FORGED  # noqa: E402

TOUCHED = b"2026-11-28 04:50:27.123456"
ROWS = (  # of each kind that store/row.h reads; None is NULL
    (b"key", b"value", b"5", b"text/plain", b"1025", None, b"0"),
    (b"key", b"value", b"5", b"text/plain", b"1025", TOUCHED, b"0"),
    (b"key", None, None, b"", b"1838941621374418947", TOUCHED, b"1", b"1024", b"1"),
    (b"key", b"text/plain", b"1025", b"0"),
    (b"0", b"3", b"1", b"1", b"4294967295", b"5", b"6", b"7", b"8"),
    (b"9", b"129", b"1025", b"0", b"5=hello3-bye1=-"),
    (b"9", b"0", b"1025", b"0", b""),
    (b"key", b"9", b"2049", b"7", b"text/plain", b"value"),
    (b"key", b"0", b"2049", b"1", b"", None),
    (TOUCHED, b"key", b"1"),
    (b"4", b"1", b"1", b"16777216", b"0", b"1", b"0", b"6", b"17"),
)

SMALL = 4096
SOCKET_EVERY = 6  # of the cases; each is run many times before AFL++ begins


def requests():
    for cases in CASES.values():
        for case in cases:
            data = b"".join(step.data if isinstance(step, Bytewise) else step for step in case.send
                            if isinstance(step, (bytes, Bytewise)))
            for name, value in ((b"KEY", b"abc"), (b"ETAG", b'"1"'), (b"PAST", PAST), (b"MODIFIED", PAST), (b"FUTURE", FUTURE)):
                data = data.replace(name, value)
            if 0 < len(data) <= SMALL:
                yield data


def seeds():
    for number, data in enumerate(requests()):
        head, _, body = data.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        yield "fuzz_guard", data
        yield "fuzz_parser", b"\x00" + data
        if lines[0].count(b" ") == 2:
            yield "fuzz_target", lines[0].split(b" ")[1]
        for line in lines[1:]:
            if line.startswith(b"Accept: "):
                yield "fuzz_accept", line[8:]
        if b"/bulk" in lines[0]:
            yield "fuzz_bulk", body.partition(b"\n")[0]
        if number % SOCKET_EVERY == 0:
            yield "socket", data
    for configuration in CONFIGURATIONS:
        if len(configuration.text) <= SMALL:
            yield "fuzz_conf", configuration.text
    for row in ROWS:  # a length before each field
        yield "fuzz_row", bytes([len(row)]) + b"".join(
            b"\xff" if field is None else bytes([len(field)]) + field for field in row)
    for _, token in FORGED:
        yield "fuzz_token", token


def main():
    for name, data in sorted(set(seeds())):
        directory = os.path.join(sys.argv[1], name)
        os.makedirs(directory, exist_ok=True)
        with open(os.path.join(directory, "%05d" % len(os.listdir(directory))), "wb") as file:
            file.write(data)


if __name__ == "__main__":
    main()
