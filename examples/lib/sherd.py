# SPDX-License-Identifier: MIT
"""A small client of Sherd: what the examples need of docs/http.md and docs/feed.md, with Python's standard library.

Whatever fails for a while (a daemon dies, a partition is away) is tried again for `patience` seconds. A try of which no
answer came may have been carried out, so all that is here may safely be done twice.
"""
import base64
import collections
import http.client
import json
import random
import time
import urllib.parse

Answer = collections.namedtuple("Answer", "status headers body")
Pair = collections.namedtuple("Pair", "value version")


class Unavailable(Exception):
    """No answer within the patience. A write may or may not have happened."""


class Refused(Exception):
    """An answer that no other try would change."""


class TokenTooOld(Exception):
    """The change logs no longer reach back so far."""


class Store:
    """A store behind the URL of a daemon, or of a load balancer before several. Any number of threads may use it."""

    def __init__(self, url, patience=20):
        self.address = urllib.parse.urlsplit(url).netloc
        self.patience = patience

    # ------------------------------------------------------------ keys; values are bytes

    def get(self, key, certain=False):
        """The pair, or None. `certain` takes None for no answer while a partition is away that might have the pair."""
        answer, _ = self.ask("GET", path_of(key), expect=lambda answer: answer.status == 200 or answer.status == 404
                             and not (certain and "Sherd-Stale" in answer.headers))
        return Pair(answer.body, version_of(answer)) if answer.status == 200 else None

    def put(self, key, value, ttl=None):
        """Stores the value, whatever was there; its version. A second try may come after somebody else's write: give
        keys that others write too to create and replace."""
        return version_of(self.ask("PUT", path_of(key), value, ttl_header(ttl))[0])

    def create(self, key, value, ttl=None):
        """Stores a new pair; its version, or None if there is one already. No two callers may give the same value (put
        something random into it): after an answer that got lost the value tells whose pair is there."""
        return self._only_if({"If-None-Match": "*"}, key, value, ttl)

    def replace(self, key, value, version, ttl=None):
        """Stores the value where the pair still has that version; its new version, or None. The value as in create."""
        return self._only_if({"If-Match": '"%s"' % version}, key, value, ttl)

    def _only_if(self, condition, key, value, ttl):
        answer, again = self.ask("PUT", path_of(key), value, {**condition, **ttl_header(ttl)}, done_or(412))
        if answer.status != 412:
            return version_of(answer)
        pair = self.get(key) if again else None  # was it an earlier try of ours that succeeded?
        return pair.version if pair and pair.value == value else None

    def delete(self, key, version=None):
        """Deletes the pair, or (with `version`) only that version of it."""
        self.ask("DELETE", path_of(key), None, {"If-Match": '"%s"' % version} if version else {}, done_or(412))

    def values(self, keys):
        """The values of many keys by one request; None where there is no pair."""
        lines = "".join(json.dumps({"op": "get", "key": key}) + "\n" for key in keys)
        answer, _ = self.ask("POST", "/bulk", lines.encode())
        return [value_of(json.loads(line)) for line in answer.body.splitlines()]

    def page(self, prefix, after="", limit=1000):
        """Keys that begin with `prefix`, in byte order, those behind `after`; and whether there may be more."""
        query = urllib.parse.urlencode({"prefix": prefix, "after": after, "limit": limit}, quote_via=urllib.parse.quote)
        answer, _ = self.ask("GET", "/keys?" + query)
        page = json.loads(answer.body)
        return [row["key"] for row in page["keys"]], page["next"] is not None

    def keys(self, prefix):
        """All of them."""
        after, more = "", True
        while more:
            keys, more = self.page(prefix, after)
            yield from keys
            after = keys[-1] if keys else ""

    # ------------------------------------------------------------ the feed

    def token(self, prefix):
        """Where the feed is now: changes(since=token) tells all that happens after this call."""
        query = urllib.parse.urlencode({"prefix": prefix, "since": "now"}, quote_via=urllib.parse.quote)
        answer, _ = self.ask("GET", "/changes?" + query, headers={"Accept": "application/json"})
        return json.loads(answer.body)["token"]

    def changes(self, prefix, since="now", stopped=lambda: False):
        """Yields what changes below the prefix, for ever or until stopped(); goes on by itself after whatever breaks.
        An event may come twice. {"event": "restart"} says: forget what you know, all of it is told anew."""
        while not stopped():
            try:
                for event in self.stream(prefix, since):
                    since = event["token"]
                    yield event
                    if stopped():
                        return
            except TokenTooOld:
                since = "0"
                yield {"event": "restart"}
            except Refused:
                if since in ("now", "0"):
                    raise
                # A token that this daemon does not understand: it may not have heard yet of a new partition.
            except (OSError, http.client.HTTPException, Unavailable):
                pass
            time.sleep(random.uniform(0.1, 0.5))

    def stream(self, prefix, since):
        """The events of one connection, {"event", "token", "key", "version", "value", "expires"}; values are bytes."""
        query = urllib.parse.urlencode({"prefix": prefix, "since": since, "include": "value"},
                                       quote_via=urllib.parse.quote)
        connection = http.client.HTTPConnection(self.address, timeout=40)  # something comes every 15 seconds
        try:
            connection.request("GET", "/changes?" + query, headers={"Accept": "application/x-ndjson"})
            response = connection.getresponse()
            if response.status == 410:
                raise TokenTooOld
            if response.status in (502, 503, 504):
                raise Unavailable("GET /changes: %d" % response.status)
            if response.status != 200:
                raise Refused("GET /changes: %d" % response.status)
            while (line := response.readline()).endswith(b"\n"):
                event = json.loads(line)
                yield {**event, "value": value_of(event)}
        finally:
            connection.close()

    # ------------------------------------------------------------ requests

    def ask(self, method, path, body=None, headers=None, expect=lambda answer: answer.status // 100 == 2):
        """The answer that was expected, and whether there were tries before it that may have been carried out."""
        tries, deadline = 0, time.monotonic() + self.patience
        while True:
            try:
                answer = self.once(method, path, body, headers or {})
                if expect(answer):
                    return answer, tries > 0
                problem = "%s %s: %d %s" % (method, path, answer.status, answer.body.decode(errors="replace"))
                if answer.status not in (502, 503, 504) and "Sherd-Stale" not in answer.headers:
                    raise Refused(problem)
            except (OSError, http.client.HTTPException) as error:
                problem = "%s %s: %r" % (method, path, error)
            pause = random.uniform(0.5, 1) * min(1, 0.05 * 2 ** tries)
            tries += 1
            if time.monotonic() + pause > deadline:
                raise Unavailable(problem)
            time.sleep(pause)

    def once(self, method, path, body, headers):
        """One try, on a connection of its own: none is kept that might have died meanwhile."""
        connection = http.client.HTTPConnection(self.address, timeout=10)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()


def done_or(status):
    return lambda answer: answer.status // 100 == 2 or answer.status == status


def path_of(key):
    return "/keys/" + urllib.parse.quote(key)


def ttl_header(seconds):
    return {"X-TTL": str(seconds)} if seconds else {}


def version_of(answer):
    return answer.headers["ETag"].strip('"')


def value_of(row):
    """The bytes of a value in JSON; None if there are none."""
    if "value_base64" in row:
        return base64.b64decode(row["value_base64"])
    return row["value"].encode() if "value" in row else None
