# SPDX-License-Identifier: MIT
"""What makes load, and what watches the answers meanwhile: wrk, build/bench/rate, build/bench/direct, build/bench/rows."""
import base64
import collections
import http.client
import json
import os
import re
import socket
import subprocess

from machine import BUILD, ROOT, Void

CONNECTIONS = 64
PATIENCE = 10  # seconds; servers under full load leave single requests for two
WATCH_RATE = 100  # answers a second that are compared while others make load

# The pairs of one size (bench/pair.h).
Shape = collections.namedtuple("Shape", "prefix size keys")
SHAPES = {100: Shape("key:", 100, 200000), 1000: Shape("1kb:", 1000, 200000), 10000: Shape("10k:", 10000, 20000)}


def key_of(shape, number):
    return "%s%06d" % (shape.prefix, number)


def stable_of(shape, key):
    """A value without its ten last digits."""
    return key * ((shape.size - 10) // 10)


def request(method, path, body="", size=0, headers=()):
    """A request as bench/rate.c and bench/wrk.lua take it; `size` is that of the values."""
    lines = ["%s %s HTTP/1.1" % (method, path), "Host: 127.0.0.1", *headers]
    if method != "GET":
        sample = body.replace("$value64", "=" * ((size + 2) // 3 * 4)).replace("$value", "=" * size)
        lines.append("Content-Length: %d" % len(sample.replace("$key64", "=" * 16).replace("$key", "=" * 10)))
    return "\r\n".join(lines) + "\r\n\r\n" + body


def for_key(text, key):
    return text.replace("$key64", base64.b64encode(key.encode()).decode()).replace("$key", key)


def run(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True,
                          errors="replace")
    if done.returncode:
        raise Void("%s: %s" % (os.path.basename(command[0]), done.stdout[-2000:]))
    return done.stdout


# --- HTTP ----------------------------------------------------------------------------------------------------------

def rate_command(peer, shape, seed, *options):
    command = [os.path.join(BUILD, "bench", "rate"), "--port", str(peer.port), "--prefix", shape.prefix,
               "--size", str(shape.size), "--keys", str(shape.keys), "--seed", str(seed), "--read", peer.read(),
               "--write", peer.write(shape.size)]
    if peer.read_answer:
        command += ["--read-answer", peer.read_answer]
    if peer.write_answer:
        command += ["--write-answer", peer.write_answer]
    return command + [str(option) for option in options]


def fill(peer, shape):
    """Writes each key once, through the front door; returns how many a second."""
    return json.loads(run(rate_command(peer, shape, 0, "--each")))["achieved"]


def at_rate(peer, shape, rate, seconds, seed, *options):
    """Open loop; returns achieved rate and latencies in microseconds. Later options win."""
    return json.loads(run(rate_command(peer, shape, seed, "--rate", max(1, int(rate)), "--seconds", seconds,
                                       "--connections", CONNECTIONS, *options)))


def closed(peer, shape, seconds, seed, writes=0):
    """As many requests a second as it goes, by wrk, while another client compares answers.

    An answer that takes longer than PATIENCE seconds is an error.
    """
    watch = subprocess.Popen(rate_command(peer, shape, seed, "--rate", WATCH_RATE, "--seconds", seconds,
                                          "--connections", 2),
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True)
    try:
        rate, wrote = wrk(peer, shape, seconds, seed, writes)
        output = watch.communicate(timeout=60)[0]
    finally:
        watch.kill()
        watch.wait()
    if watch.returncode:
        raise Void("%s, while it was measured: %s" % (peer.title, output))
    if writes:
        read_back(peer, shape, seed, wrote)
    return rate


def wrk(peer, shape, seconds, seed, writes):
    command = ["wrk", "-t2", "-c%d" % CONNECTIONS, "-d%ds" % seconds, "--timeout", "%ds" % PATIENCE,
               "-s", os.path.join(ROOT, "bench", "wrk.lua"), "http://127.0.0.1:%d" % peer.port, "--",
               "read=" + peer.read(), "write=" + peer.write(shape.size), "writes=%d" % writes, "prefix=" + shape.prefix,
               "keys=%d" % shape.keys, "size=%d" % shape.size, "seed=%d" % seed]
    output = run(command)
    if "Socket errors" in output or "Non-2xx" in output:
        raise Void("%s: %s" % (peer.title, output))
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", output).group(1))
    return rate, re.findall(r"^wrote (\S+)", output, re.MULTILINE)


def ask(port, text):
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(text.encode())
        response = http.client.HTTPResponse(connection)
        response.begin()
        return response.status, response.read()


def read_back(peer, shape, seed, wrote):
    """Each key that this run wrote must have a value of this run: its digits begin with the seed."""
    if not wrote:
        raise Void("%s: nothing to read back" % peer.title)
    for key in wrote[:100]:
        status, body = ask(peer.port, for_key(peer.read(), key))
        stable, digits = stable_of(shape, key).encode(), 10
        if "$value64" in peer.read_answer:
            stable, digits = base64.b64encode(stable), 16
        place = body.find(stable)
        got = body[place + len(stable):][:digits]
        if digits == 16:
            got = base64.b64decode(got)
        if status != 200 or place < 0 or not got.startswith(b"%04d" % seed):
            raise Void("%s: %s was written in run %d and has %d %r" % (peer.title, key, seed, status, body[-40:]))


# --- Databases -----------------------------------------------------------------------------------------------------

def direct(nodes, shape, seconds, seed, threads, *options):
    """What a client of the databases gets, from the plain tables; checks each answer itself."""
    command = [os.path.join(BUILD, "bench", "direct"), "--prefix", shape.prefix, "--size", shape.size,
               "--keys", shape.keys, "--seconds", seconds, "--seed", seed, "--threads", threads, *options]
    for node in nodes.all():
        command += ["--socket", nodes.socket(node)]
    return json.loads(run([str(word) for word in command]))


def rows(nodes, node, database, shape, seconds, seed, count, *options):
    """Overwrites batches of `count` rows in one database; returns how many rows. Checks each answer itself."""
    command = [os.path.join(BUILD, "bench", "rows"), "--socket", nodes.socket(node), "--database", database,
               "--size", shape.size, "--keys", shape.keys, "--seconds", seconds, "--seed", seed, "--rows", count,
               *options]
    return json.loads(run([str(word) for word in command]))["rows"]
