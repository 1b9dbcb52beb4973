# SPDX-License-Identifier: MIT
"""One key: exact statuses, versions, conditions, expiry, and rows that SQL clients write."""
import email.utils
import os
import subprocess
import time
import unittest

import harness
from harness import SherdTest, concurrently, wait_until

SYNC = os.environ.get("SHERD_SYNC") or os.path.join(os.path.dirname(harness.BINARY), "sherd-sync")
WRITERS = 32


class Puts(SherdTest):
    def test_the_first_put_creates_and_the_next_replaces(self):
        self.check(self.server.put("k", b"1"), 201)
        self.check(self.server.put("k", b"2"), 204)
        self.check(self.server.delete("k"), 204)
        self.check(self.server.put("k", b"3"), 201)
        self.check(self.server.put("k", b""), 204)
        self.check(self.server.put("k", b"4"), 204)

    def test_put_of_the_same_value_is_a_new_version(self):
        first, second = (self.put("same", b"v").version_tag for _ in range(2))
        self.assertGreater(int(second), int(first))

    def test_of_concurrent_puts_exactly_one_creates(self):
        for turn in range(10):
            answers = concurrently(WRITERS, lambda i, turn=turn: self.server.put("new-%d" % turn, b"%d" % i))
            statuses = sorted(answer.status for answer in answers)
            self.assertEqual([201] + [204] * (WRITERS - 1), [204 if s == 204 else s for s in statuses])
            self.assertEqual(WRITERS, len({answer.version_tag for answer in answers}))
            newest = max(range(WRITERS), key=lambda i, answers=answers: int(answers[i].version_tag))
            self.assertEqual(b"%d" % newest, self.value("new-%d" % turn))

    def test_a_pipelined_burst_of_puts_creates_once(self):
        request = b"PUT /keys/burst HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nv"
        answers = self.server.raw(request * 64, 64)
        self.assertEqual([201] + [204] * 63, [answer.status for answer in answers])

    def test_each_life_of_a_key_begins_with_one_201(self):
        def lives(i):
            statuses = []
            for _ in range(20):
                statuses.append(self.server.put("mortal", b"%d" % i).status)
                if i % 4 == 0:
                    statuses.append(-self.server.delete("mortal").status)
            return statuses
        everything = sum(concurrently(8, lives), [])
        self.assertLessEqual({201, 204, -204}, set(everything) | {204})
        self.assertLessEqual(everything.count(201), 1 + everything.count(-204))

    def test_put_answers_with_version_and_partition(self):
        answer = self.put("headers", b"v")
        self.assertRegex(answer.header("ETag"), '^"[1-9][0-9]*"$')
        self.assertIn(answer.partition, (1, 2, 3))
        self.assertEqual(answer.header("ETag"), self.server.get("headers").header("ETag"))
        self.assertEqual(answer.partition, self.server.get("headers").partition)
        self.assertEqual(answer.partition, self.server.delete("headers").partition)

    def test_all_partitions_get_keys(self):
        homes = [self.put("spread-%d" % i, b"").partition for i in range(300)]
        for partition in (1, 2, 3):
            self.assertGreater(homes.count(partition), 50)

    def test_the_home_holds_the_row_and_nobody_else(self):
        home = self.put("at-home", b"v").partition
        for node in self.nodes.all():
            rows = self.nodes.sql(node, "SELECT v FROM pairs WHERE k = 'at-home'")
            self.assertEqual([["v"]] if node == home else [], rows)

    def test_a_version_carries_time_and_partition(self):
        before = time.time()
        answer = self.put("clock", b"v")
        version = int(answer.version_tag)
        self.assertEqual(answer.partition, version & 1023)
        self.assertAlmostEqual(before, (version >> 10) / 1e6, delta=5)


class Gets(SherdTest):
    def test_head_answers_like_get_without_the_body(self):
        self.put("k", b"0123456789", {"Content-Type": "text/plain", "X-TTL": "1000"})
        for headers in ({}, {"If-Match": "*"}):
            get, head = (self.server.request(m, "/keys/k", None, headers) for m in ("GET", "HEAD"))
            self.assertEqual(dict(get.headers, date="", **{"x-ttl": ""}), dict(head.headers, date="", **{"x-ttl": ""}))
            self.assertEqual("10", head.header("Content-Length"))

    def test_head_of_an_absent_key_is_404(self):
        self.check(self.server.request("HEAD", "/keys/none"), 404)

    def test_all_headers_of_a_value(self):
        self.put("k", b"<script>", {"Content-Type": "text/html"})
        answer = self.check(self.server.get("k"), 200)
        expected = {"Content-Type": "text/html", "Accept-Ranges": "bytes", "Cache-Control": "no-cache",
                    "X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox", "X-TTL": None}
        self.assertEqual(expected, {name: answer.header(name) for name in expected})

    def test_last_modified_is_the_second_of_the_version(self):
        self.put("k", b"v")
        answer = self.server.get("k")
        modified = email.utils.parsedate_to_datetime(answer.header("Last-Modified")).timestamp()
        self.assertEqual((int(answer.version_tag) >> 10) // 1000000, int(modified))

    def test_the_default_type_is_octet_stream(self):
        self.put("k2", b"v")
        self.assertEqual("application/octet-stream", self.server.get("k2").header("Content-Type"))

    def test_a_put_replaces_the_type_too(self):
        self.put("k3", b"v", {"Content-Type": "text/plain"})
        self.put("k3", b"v")
        self.assertEqual("application/octet-stream", self.server.get("k3").header("Content-Type"))

    def test_an_unchanged_value_is_304(self):
        tag = self.put("k4", b"v").header("ETag")
        answer = self.check(self.server.get("k4", {"If-None-Match": tag}), 304)
        self.assertEqual(tag, answer.header("ETag"))
        self.put("k4", b"w")
        self.check(self.server.get("k4", {"If-None-Match": tag}), 200)

    def test_one_range_is_206_at_both_ends_of_a_large_value(self):
        value = bytes(range(256)) * 4096
        self.put("large", value)
        for first, last in ((0, 0), (0, 65535), (65535, 65537), (524288, 1048575), (1048575, 1048575)):
            answer = self.check(self.server.get("large", {"Range": "bytes=%d-%d" % (first, last)}), 206)
            self.assertTrue(value[first:last + 1] == answer.body)
            self.assertEqual("bytes %d-%d/1048576" % (first, last), answer.header("Content-Range"))


class CompareAndSwap(SherdTest):
    def test_if_match_writes_over_the_version_it_names_only(self):
        first = self.put("k", b"1").header("ETag")
        second = self.check(self.server.put("k", b"2", {"If-Match": first}), 204).header("ETag")
        self.check(self.server.put("k", b"3", {"If-Match": first}), 412)
        self.assertEqual(b"2", self.value("k"))
        self.check(self.server.put("k", b"4", {"If-Match": second}), 204)

    def test_if_match_deletes_the_version_it_names_only(self):
        first = self.put("d", b"1").header("ETag")
        second = self.put("d", b"2").header("ETag")
        self.check(self.server.delete("d", {"If-Match": first}), 412)
        self.assertEqual(b"2", self.value("d"))
        self.check(self.server.delete("d", {"If-Match": second}), 204)
        self.check(self.server.get("d"), 404)

    def test_a_deleted_key_matches_nothing(self):
        tag = self.put("gone", b"1").header("ETag")
        self.check(self.server.delete("gone"), 204)
        self.check(self.server.put("gone", b"2", {"If-Match": tag}), 412)
        self.check(self.server.put("gone", b"2", {"If-Match": "*"}), 412)
        self.check(self.server.delete("gone", {"If-Match": tag}), 412)
        self.check(self.server.put("gone", b"2", {"If-None-Match": "*"}), 201)

    def test_a_tag_among_others_matches(self):
        tag = self.put("many", b"1").header("ETag")
        self.check(self.server.put("many", b"2", {"If-Match": '"1", %s, "3"' % tag}), 204)

    def test_of_concurrent_creators_exactly_one_succeeds(self):
        for turn in range(10):
            key = "create-%d" % turn
            if turn % 2:  # a tombstone is there
                self.put(key, b"before")
                self.check(self.server.delete(key), 204)
            answers = concurrently(WRITERS, lambda i, key=key: self.server.put(key, b"%d" % i, {"If-None-Match": "*"}))
            statuses = [answer.status for answer in answers]
            self.assertEqual([201] + [412] * (WRITERS - 1), sorted(statuses))
            self.assertEqual(b"%d" % statuses.index(201), self.value(key))

    def test_of_concurrent_swaps_of_one_version_exactly_one_succeeds(self):
        tag = self.put("swap", b"old").header("ETag")
        answers = concurrently(WRITERS, lambda i: self.server.put("swap", b"%d" % i, {"If-Match": tag}))
        statuses = [answer.status for answer in answers]
        self.assertEqual([204] + [412] * (WRITERS - 1), sorted(statuses))
        self.assertEqual(b"%d" % statuses.index(204), self.value("swap"))

    def test_of_concurrent_deletes_of_one_version_exactly_one_succeeds(self):
        tag = self.put("drop", b"old").header("ETag")
        answers = concurrently(WRITERS, lambda i: self.server.delete("drop", {"If-Match": tag}))
        self.assertEqual([204] + [412] * (WRITERS - 1), sorted(answer.status for answer in answers))

    def test_a_counter_of_concurrent_swaps_loses_nothing(self):
        self.put("counter", b"0")

        def add(_):
            done = 0
            with self.server.wire() as wire:
                while done < 20:
                    now = wire.request("GET", "/keys/counter")
                    after = wire.request("PUT", "/keys/counter", b"%d" % (int(now.body) + 1),
                                         {"If-Match": now.header("ETag")})
                    self.check(after, 204, 412)
                    done += after.status == 204
        concurrently(6, add)
        self.assertEqual(b"120", self.value("counter"))

    def test_conditional_and_plain_writes_of_one_batch_keep_their_order(self):
        with self.server.wire() as wire:
            for i in range(50):
                wire.send(b"PUT /keys/o%d HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nIf-None-Match: *\r\n\r\n1" % i)
                wire.send(b"PUT /keys/o%d HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nIf-None-Match: *\r\n\r\n2" % i)
                wire.send(b"PUT /keys/o%d HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\n3" % i)
            self.assertEqual([201, 412, 204] * 50, [wire.response().status for _ in range(150)])


class Expiry(SherdTest):
    def test_an_expired_pair_is_absent_and_put_creates_it_anew(self):
        self.check(self.server.put("short", b"v", {"X-TTL": "1"}), 201)
        self.check(self.server.get("short"), 200)
        wait_until(lambda: self.server.get("short").status == 404, 3, "expiry")
        self.check(self.server.request("HEAD", "/keys/short"), 404)
        self.check(self.server.put("short", b"w"), 201)
        self.assertIsNone(self.server.get("short").header("X-TTL"))

    def test_an_expired_pair_matches_no_condition(self):
        tag = self.server.put("cas", b"v", {"X-TTL": "1"}).header("ETag")
        wait_until(lambda: self.server.get("cas").status == 404, 3, "expiry")
        self.check(self.server.put("cas", b"w", {"If-Match": tag}), 412)
        self.check(self.server.put("cas", b"w", {"If-Match": "*"}), 412)
        self.check(self.server.put("cas", b"w", {"If-None-Match": "*"}), 201)

    def test_a_pair_lives_its_time(self):
        self.server.put("full", b"v", {"X-TTL": "2"})
        began = time.monotonic()
        wait_until(lambda: self.server.get("full").status == 404, 5, "expiry")
        self.assertGreater(time.monotonic() - began, 1.5)

    def test_x_ttl_tells_the_seconds_left(self):
        for ttl in (100, 3153600000):
            self.put("left", b"v", {"X-TTL": str(ttl)})
            self.assertIn(int(self.server.get("left").header("X-TTL")), range(ttl - 5, ttl + 1))

    def test_a_ttl_in_the_query_is_the_same(self):
        self.check(self.server.request("PUT", "/keys/query?ttl=100", b"v"), 201)
        self.assertIn(int(self.server.get("query").header("X-TTL")), range(95, 101))

    def test_a_put_without_ttl_never_expires(self):
        self.put("kept", b"v", {"X-TTL": "1"})
        self.put("kept", b"w")
        self.put("gauge", b"v", {"X-TTL": "1"})
        wait_until(lambda: self.server.get("gauge").status == 404, 3, "expiry")
        self.assertEqual(b"w", self.value("kept"))


class Sql(SherdTest):
    """Any SQL connection may write; it is seen over HTTP at once, with a new version."""

    def setUp(self):
        self.first = self.put("k", b"old", {"Content-Type": "text/plain"})
        self.home = self.first.partition

    def sql(self, text):
        return self.nodes.sql(self.home, text)

    def check_new_version(self):
        answer = self.check(self.server.get("k"), 200)
        self.assertGreater(int(answer.version_tag), int(self.first.version_tag))
        self.check(self.server.put("k", b"x", {"If-Match": self.first.header("ETag")}), 412)
        self.check(self.server.put("k", b"x", {"If-Match": answer.header("ETag")}), 204)

    def test_an_update_is_seen_with_a_new_version(self):
        self.sql("UPDATE pairs SET v = 'new' WHERE k = 'k'")
        self.assertEqual(b"new", self.value("k"))
        self.check_new_version()

    def test_an_update_of_the_same_value_is_a_new_version_too(self):
        self.sql("UPDATE pairs SET v = v, type = 'text/html' WHERE k = 'k'")
        self.assertEqual("text/html", self.server.get("k").header("Content-Type"))
        self.check_new_version()

    def test_a_replace_is_seen_with_a_new_version(self):
        self.sql("REPLACE INTO pairs (k, v) VALUES ('k', 'new')")
        self.assertEqual(b"new", self.value("k"))
        self.check_new_version()

    def test_an_upsert_is_seen_with_a_new_version(self):
        self.sql("INSERT INTO pairs (k, v) VALUES ('k', 'new') ON DUPLICATE KEY UPDATE v = VALUES(v)")
        self.assertEqual(b"new", self.value("k"))
        self.check_new_version()

    def test_a_delete_is_seen_and_put_creates_anew(self):
        self.sql("DELETE FROM pairs WHERE k = 'k'")
        self.check(self.server.get("k"), 404)
        self.check(self.server.put("k", b"v", {"If-Match": self.first.header("ETag")}), 412)
        self.check(self.server.put("k", b"v"), 201)

    def test_v_set_to_null_is_a_delete(self):
        self.sql("UPDATE pairs SET v = NULL WHERE k = 'k'")
        self.check(self.server.get("k"), 404)
        self.check(self.server.put("k", b"v"), 201)

    def test_an_expiry_in_the_past_hides_the_pair(self):
        self.sql("UPDATE pairs SET expires = 1000 WHERE k = 'k'")
        self.check(self.server.get("k"), 404)
        self.check(self.server.put("k", b"v"), 201)

    def test_a_row_of_a_dba_is_readable(self):
        self.sql("DELETE FROM pairs WHERE k = 'k'; INSERT INTO pairs (k, v) VALUES ('k', 'y')")
        answer = self.check(self.server.get("k"), 200)
        self.assertEqual(b"y", answer.body)
        self.assertEqual("application/octet-stream", answer.header("Content-Type"))
        self.assertGreater(int(answer.version_tag), int(self.first.version_tag))

    def test_a_rename_is_refused(self):
        other = next(k for k in ("r-%d" % i for i in range(99)) if self.put(k, b"there").partition == self.home)
        self.sql("DELETE FROM pairs WHERE k = '%s'" % other)
        with self.assertRaisesRegex(AssertionError, "ERROR 4025 .*a_key_cannot_be_renamed_use_INSERT_and_DELETE"):
            self.sql("UPDATE pairs SET k = '%s' WHERE k = 'k'" % other)
        self.check(self.server.get(other), 404)
        answer = self.check(self.server.get("k"), 200)
        self.assertEqual((b"old", self.first.version_tag), (answer.body, answer.version_tag))

    def test_a_version_of_the_clients_own_is_not_taken(self):
        self.sql("UPDATE pairs SET version = 18446744073709551615 WHERE k = 'k'")
        self.assertLess(int(self.server.get("k").version_tag), 2 ** 63)
        self.check_new_version()

    def sync(self):
        subprocess.run([SYNC, "--config", self.server.config], env=self.server.environment, check=True, timeout=60)

    def test_every_write_of_anybody_is_in_the_change_log(self):
        self.sync()
        self.sql("TRUNCATE changes")
        self.put("k", b"http")
        self.sql("UPDATE pairs SET v = 'sql' WHERE k = 'k'")
        self.sync()  # what SQL wrote is logged when it is stamped
        self.check(self.server.delete("k"), 204)
        self.sql("INSERT INTO pairs (k, v) VALUES ('k', 'sql') ON DUPLICATE KEY UPDATE v = VALUES(v)")
        self.sync()
        self.sql("DELETE FROM pairs WHERE k = 'k'")
        self.sync()
        log = self.sql("SELECT op, ks FROM changes WHERE ks <> '' ORDER BY seq")
        self.assertEqual([["1", "1=k"], ["1", "1=k"], ["1", "1-k"], ["1", "1=k"], ["1", "1-k"]], log)


class Refusals(SherdTest):
    """A constraint or trigger of the team's own: 409, and nobody else in the batch is harmed."""

    set_up = "ALTER TABLE pairs ADD CONSTRAINT no_secrets CHECK (v <> 'forbidden')"
    undo = "ALTER TABLE pairs DROP CONSTRAINT no_secrets"

    def setUp(self):
        for node in self.nodes.all():
            self.nodes.sql(node, "TRUNCATE pairs; " + self.set_up)
            self.addCleanup(self.nodes.sql, node, self.undo)

    def test_a_refused_pair_is_409_and_not_stored(self):
        self.check(self.server.put("k", b"forbidden"), 409)
        self.check(self.server.get("k"), 404)
        self.check(self.server.put("k", b"fine"), 201)
        self.check(self.server.put("k", b"forbidden"), 409)
        self.assertEqual(b"fine", self.value("k"))

    def test_a_refused_pair_harms_no_other_of_its_batch(self):
        def write(i):
            with self.server.wire() as wire:
                return [wire.request("PUT", "/keys/b%d-%d" % (i, n), b"forbidden" if n % 5 == i % 5 else b"fine").status
                        for n in range(10)]
        for i, statuses in enumerate(concurrently(16, write)):
            self.assertEqual([409 if n % 5 == i % 5 else 201 for n in range(10)], statuses)


class RefusalsOfATrigger(Refusals):
    set_up = """CREATE TRIGGER no_secrets BEFORE INSERT ON pairs FOR EACH ROW
                IF NEW.v = 'forbidden' THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no secrets'; END IF"""
    undo = "DROP TRIGGER no_secrets"

    def setUp(self):
        for node in self.nodes.all():
            self.nodes.sql(node, "TRUNCATE pairs;\nDELIMITER //\n%s //\nDELIMITER ;" % self.set_up)
            self.addCleanup(self.nodes.sql, node, self.undo)


if __name__ == "__main__":
    unittest.main()
