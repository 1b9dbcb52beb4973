# SPDX-License-Identifier: MIT
"""Start, stop, reload: what is refused, what is only a warning, what each says."""
import http.client
import os
import re
import socket
import subprocess
import threading
import time
import unittest

from harness import (BINARY, DEFINITION, PASSWORD, SLACK, STOP_SECONDS, Server, Transaction, config_text, password_sql,
                     shared_nodes, wait_until)
from wire import Ended

CONFIG = 78
NO_NAME = "no.such.name.invalid"


def definition_of(database):
    """database_definition.sql for another test database."""
    with open(DEFINITION, encoding="utf-8") as file:
        text = file.read()
    head = text[:text.index("CREATE DATABASE")]
    return head + text[text.index("CREATE DATABASE IF NOT EXISTS test_sherd"):].replace("test_sherd", database)


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as one:
            one.bind(("::1", 0))
        return True
    except OSError:
        return False


class StartTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.nodes = shared_nodes()
        cls.nodes.truncate()

    def server(self, overrides=None, partitions=2, **more):
        server = Server(self.nodes, overrides, partitions, **more)
        self.addCleanup(server.discard)
        return server

    def refused(self, overrides=None, **more):
        """The log of a server that must not start."""
        server = self.server(overrides, **more).launch()
        self.assertEqual(CONFIG, server.wait_for_end())
        self.assertNotIn("listening on", server.log())
        self.assertNotIn(PASSWORD, server.log())
        return server.log()

    def run_binary(self, server, *arguments):
        return subprocess.run([BINARY, "--config", server.config, *arguments], env=server.environment,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=10, encoding="utf-8")

    def broken_database(self, damage):
        """A database test_broken on node 2, as defined and then damaged."""
        self.addCleanup(self.nodes.sql, 2, "DROP DATABASE IF EXISTS test_broken", None)
        self.nodes.sql(2, "DROP DATABASE IF EXISTS test_broken;" + definition_of("test_broken"), None)
        self.nodes.sql(2, damage, "test_broken")
        return {"partition-2": {"database": "broken"}}


class Partitions(StartTest):
    def check_names_partition_2(self, log):
        self.assertEqual(1, len([line for line in log.splitlines() if "partition-2" in line]), log)
        self.assertNotIn("partition-1", log)

    def test_a_wrong_password_is_refused(self):
        self.check_names_partition_2(self.refused({"partition-2": {"password": "not it"}}))

    def test_an_unknown_user_is_refused(self):
        self.check_names_partition_2(self.refused({"partition-2": {"user": "nobody_at_all"}}))

    def test_a_missing_database_is_refused(self):
        self.check_names_partition_2(self.refused({"partition-2": {"database": "nowhere"}}))

    def test_a_missing_table_is_refused(self):
        for table in ("pairs", "changes", "sherd_schema"):
            with self.subTest(table=table):
                self.check_names_partition_2(self.refused(self.broken_database("DROP TABLE " + table)))

    def test_a_missing_column_is_refused(self):
        for table, column in (("pairs", "type"), ("pairs", "seq"), ("pairs", "touched"), ("pairs", "ends"), ("changes", "ks")):
            with self.subTest(column=column):
                broken = self.broken_database("ALTER TABLE %s DROP COLUMN %s" % (table, column))
                self.check_names_partition_2(self.refused(broken))
        broken = self.broken_database("ALTER TABLE pairs DROP CONSTRAINT a_key_cannot_be_renamed_use_INSERT_and_DELETE,"
                                      " DROP COLUMN hash")
        self.check_names_partition_2(self.refused(broken))

    def test_a_dropped_trigger_is_refused_until_the_definition_is_loaded_again(self):
        broken = self.broken_database("DROP TRIGGER pairs_after_delete")
        log = self.refused(broken)
        self.check_names_partition_2(log)
        self.assertIn("the trigger pairs_after_delete is not there", log)
        self.nodes.sql(2, definition_of("test_broken"), None)
        server = self.server(broken).start_up()
        server.stop()

    def test_another_schema_version_is_refused(self):
        for change in ("UPDATE sherd_schema SET version = 99", "DELETE FROM sherd_schema",
                       "INSERT INTO sherd_schema VALUES (99)"):
            with self.subTest(change=change):
                self.check_names_partition_2(self.refused(self.broken_database(change)))

    def test_another_function_of_that_name_is_refused(self):
        log = self.refused(self.broken_database("DROP FUNCTION sherd_triggers;"
                                                "CREATE FUNCTION sherd_triggers() RETURNS TEXT RETURN 'five'"))
        self.check_names_partition_2(log)
        self.assertIn("unexpected answer to the check of the schema", log)

    def test_missing_rights_are_refused(self):
        broken = self.broken_database("REVOKE EXECUTE ON test_broken.* FROM sherd")
        self.check_names_partition_2(self.refused(broken))

    def test_a_partition_that_is_away_is_only_a_warning(self):
        self.addCleanup(self.nodes.start)
        self.nodes.kill(2)
        server = self.server().start()
        self.assertRegex(server.log(), "warn .*partition-2")
        self.assertEqual({200}, {server.request("GET", t).status for t in ("/livez", "/readyz", "/readyz?partition=1")})
        self.assertEqual(503, server.request("GET", "/readyz?partition=2").status)
        self.nodes.start(2)
        wait_until(server.all_up, 2, "partition 2 up")
        server.keys_on(2, 3, "late")
        server.stop()

    def test_a_name_that_does_not_resolve_is_one_partition_that_is_down(self):
        server = self.server({"partition-2": {"socket": None, "host": NO_NAME}})
        server.environment["RES_OPTIONS"] = "timeout:1 attempts:1"  # where no resolver answers
        server.start()
        self.assertRegex(server.log(), "warn .*partition-2 is down: the name %s cannot be resolved: " % NO_NAME)
        self.assertNotIn("partition-1", server.log())
        self.assertEqual(503, server.request("GET", "/readyz?partition=2").status)
        for i in range(20):
            self.assertEqual(201, server.put("named-%d" % i, b"v").status)
            self.assertEqual(200, server.get("named-%d" % i).status)
        server.configure("partition-2", socket=self.nodes.socket(2), host=None)
        server.hang_up()
        wait_until(server.all_up, 5, "partition 2 up")
        server.stop()

    def test_no_partition_at_all_is_only_a_warning(self):
        away = {"socket": "/nonexistent/mariadb.sock"}
        server = self.server({"partition-1": away, "partition-2": {"socket": None, "host": "127.0.0.1",
                                                                   "port": "1"}}).start()
        self.assertEqual(200, server.request("GET", "/livez").status)
        self.assertEqual(503, server.request("GET", "/readyz").status)
        self.assertEqual({503}, {server.put("k%d" % i, b"").status for i in range(20)})
        server.stop()

    def test_a_frozen_partition_does_not_hold_up_the_start(self):
        self.addCleanup(self.nodes.thaw, 2)
        self.nodes.freeze(2)
        began = time.monotonic()
        server = self.server({"store": {"timeout": "1s"}}).start()
        self.assertLess(time.monotonic() - began, 5)
        self.nodes.thaw(2)
        wait_until(server.all_up, 3, "partition 2 up")
        server.stop()

    def test_test_mode_and_live_mode_do_not_see_each_other(self):
        test, live = self.server().start_up(), self.server(test=False).start_up()
        self.assertEqual(201, test.put("only in test", b"v").status)
        self.assertEqual(404, live.get("only in test").status)
        self.assertEqual(("test", "live"), tuple(s.request("GET", "/status").json()["mode"] for s in (test, live)))
        test.stop()
        live.stop()


class Configuration(StartTest):
    def test_an_unknown_option_is_refused_with_file_and_line(self):
        server = self.server()
        server.write_config(config_text(server.sections).replace("[server]", "[server]\nlisteen = x"))
        server.launch()
        self.assertEqual(CONFIG, server.wait_for_end())
        self.assertIn("%s:5: " % server.config, server.log())
        self.assertIn("listeen", server.log())

    def test_every_fault_is_told(self):
        server = self.server({"server": {"threads": "many", "max_value": "17M"}, "nonsense": {"x": "y"}})
        done = self.run_binary(server, "--check-config")
        self.assertEqual(CONFIG, done.returncode)
        for word in ("threads", "max_value", "nonsense"):
            self.assertRegex(done.stderr, re.escape(server.config) + ":[0-9]+: .*" + word)

    def test_a_missing_file_is_refused(self):
        server = self.server()
        os.unlink(server.config)
        server.launch()
        self.assertEqual(CONFIG, server.wait_for_end())
        self.assertIn(server.config, server.log())

    def test_faults_of_many_kinds_are_refused(self):
        for overrides in ({"store": {"partitions": 3}}, {"store": {"partitions": 1}}, {"partition-2": None},
                          {"partition-1": {"user": None}},
                          {"partition-1": {"host": "x"}}, {"partition-1": {"socket": None}},
                          {"server": {"listen": "nonsense"}},
                          {"server": {"log_level": "loud"}}, {"store": {"timeout": "1"}},
                          {"server": {"allow_clear": "true"}}):
            with self.subTest(overrides=overrides):
                done = self.run_binary(self.server(overrides), "--check-config")
                self.assertEqual(CONFIG, done.returncode)
                self.assertIn("configuration.cfg", done.stderr)

    def test_check_config_says_nothing_about_a_right_file(self):
        done = self.run_binary(self.server(), "--check-config")
        self.assertEqual((0, "", ""), (done.returncode, done.stdout, done.stderr))

    def test_check_config_needs_no_partition(self):
        away = {"partition-1": {"socket": "/nonexistent"}}
        self.assertEqual(0, self.run_binary(self.server(away), "--check-config").returncode)

    def test_print_config_shows_everything_but_passwords(self):
        done = self.run_binary(self.server({"server": {"threads": 1}}), "--print-config")
        self.assertEqual(0, done.returncode)
        self.assertEqual(2, done.stdout.count("password = ********\n"))
        self.assertNotIn(PASSWORD, done.stdout + done.stderr)
        for line in ("partitions = 2", "threads = 1", "max_value = 1M", "[partition-2]",
                     "socket = " + self.nodes.socket(2)):
            self.assertIn("\n" + line + "\n", "\n" + done.stdout)

    def test_print_config_can_be_read_again(self):
        for test in (False, True):
            with self.subTest(test=test):
                server = self.server(test=test)
                first = self.run_binary(server, "--print-config").stdout
                server.write_config(first)
                self.assertEqual(first, self.run_binary(server, "--print-config").stdout)

    def test_a_password_file_is_read(self):
        server = self.server({"partition-1": {"password": None, "password_file": "secret"}})
        path = os.path.join(server.directory, "secret")
        with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="utf-8") as file:
            file.write(PASSWORD + "\n")
        server.start_up().stop()

    def test_passwords_of_any_bytes_work(self):
        self.addCleanup(self.nodes.sql, 1, password_sql("sherd", PASSWORD))
        for password in ("pässwörd", "a'b\"c\\d`e", "#no comment", "=equals=", "tab\tinside", "%s%n$HOME"):
            with self.subTest(password=password):
                self.nodes.sql(1, password_sql("sherd", password.replace("\\", "\\\\")))
                self.server({"partition-1": {"password": password}}).start_up().stop()

    def test_an_address_in_use_is_exit_1_and_a_clear_line(self):
        first = self.server().start_up()
        second = self.server({"server": {"listen": "127.0.0.1:%d" % first.port}}).launch()
        self.assertEqual(1, second.wait_for_end())
        self.assertRegex(second.log(), "error .*127.0.0.1:%d.*in use" % first.port)
        self.assertEqual(200, first.request("GET", "/livez").status)
        first.stop()

    def test_a_name_to_listen_on_that_is_no_address_is_exit_1(self):
        server = self.server({"server": {"listen": NO_NAME + ":80", "insecure": "yes"}})
        server.environment["RES_OPTIONS"] = "timeout:1 attempts:1"  # where no resolver answers
        server.launch()
        self.assertEqual(1, server.wait_for_end(), server.log())
        self.assertIn("listen = %s:80" % NO_NAME, server.log())

    @unittest.skipUnless(has_ipv6(), "without IPv6")
    def test_ipv6(self):
        server = self.server({"server": {"listen": "[::1]:0"}}).launch()
        wait_until(lambda: "listening on [::1]:" in server.log(), 10, "the server listens")
        port = int(re.search(r"listening on \[::1\]:(\d+)", server.log()).group(1))
        connection = http.client.HTTPConnection("::1", port, timeout=10)
        connection.request("GET", "/livez")
        self.assertEqual(200, connection.getresponse().status)
        connection.close()
        server.stop()
        self.assertIn("others could connect", self.refused({"server": {"listen": "[::]:0"}}))

    @unittest.skipUnless(has_ipv6(), "without IPv6")
    def test_an_address_of_everybody_without_tls_is_a_warning(self):
        tokens = {"token-a": {"sha256": "0" * 64, "read": "*"}}
        for more, warned in (({"listen": "[::]:0"}, True), ({"listen": "[::1]:0"}, False),
                             ({"listen": "127.0.0.1:0", "insecure": "yes"}, False)):
            server = self.server({"server": more, **tokens}).launch()
            wait_until(lambda: "listening on" in server.log(), 10, "the server listens")
            server.terminate()
            self.assertEqual(0, server.wait_for_end())
            self.assertEqual(warned, "travel in clear" in server.log(), more)

    def test_standard_output_that_is_full_is_exit_1(self):
        server = self.server()
        for arguments in (["--print-config"], ["--new-token", "a"]):
            with open("/dev/full", "wb") as full:
                done = subprocess.run([BINARY, "--config", server.config, *arguments], env=server.environment,
                                      stdin=subprocess.DEVNULL, stdout=full, stderr=subprocess.PIPE, timeout=10 * SLACK, check=False)
            self.assertEqual(1, done.returncode)
            self.assertIn(b"standard output: No space left on device", done.stderr)

    def test_a_wrong_command_line_is_exit_64(self):
        self.assertEqual(64, self.run_binary(self.server(), "--nonsense").returncode)
        self.assertEqual(64, self.run_binary(self.server(), "surplus").returncode)

    def test_help_and_version_are_exit_0(self):
        for argument in ("--help", "--version"):
            done = self.run_binary(self.server(), argument)
            self.assertEqual(0, done.returncode)
            self.assertIn("sherd-server", done.stdout)


class Reload(StartTest):
    def test_head_timeout_and_log_level_take_effect(self):
        server = self.server().start_up()
        self.assertFalse(self.heads_time_out(server))
        self.reload(server, head_timeout="200ms", log_level="error")
        quiet = len(server.log())
        self.reload(server, head_timeout="100ms")
        self.assertEqual("", server.log()[quiet:])
        server.configure("server", log_level="info")
        server.hang_up()
        wait_until(lambda: "reload" in server.log()[quiet:], 5, "a line about the reload")
        server.stop()

    def reload(self, server, **options):
        server.configure("server", **options)
        server.hang_up()
        wait_until(lambda: self.heads_time_out(server), 5, "the new deadline in all threads")

    def heads_time_out(self, server):
        """Whether half a head is answered 408 soon, on 20 connections."""
        wires = [server.wire() for _ in range(20)]
        try:
            for wire in wires:
                wire.send(b"GET /")
            return all(wire.response(seconds=1.5).status == 408 for wire in wires)
        except Ended:
            return False
        finally:
            for wire in wires:
                wire.close()

    def test_allow_clear_takes_effect(self):
        for node in (1, 2):
            self.addCleanup(self.nodes.sql, node, "DROP DATABASE IF EXISTS clearable", None)
            self.nodes.sql(node, definition_of("clearable"), None)
        database = {"database": "clearable"}
        server = self.server({"partition-1": database, "partition-2": database}, test=False).start_up()
        self.assertEqual(201, server.put("clear/1", b"v").status)
        self.assertEqual(403, server.request("DELETE", "/keys/clear/:").status)
        self.assertEqual(200, server.get("clear/1").status)
        server.configure("server", allow_clear="yes")
        server.hang_up()
        wait_until(lambda: server.request("DELETE", "/keys/clear/:").status == 204, 5, "clearing")
        self.assertEqual(404, server.get("clear/1").status)
        server.stop()

    def test_an_invalid_file_changes_nothing_and_says_why(self):
        server = self.server().start_up()
        before = len(server.log())
        server.write_config(config_text(server.sections).replace("[server]",
                                                                 "[server]\nhead_timeout = 100ms\nlisteen = x"))
        server.hang_up()
        wait_until(lambda: "listeen" in server.log()[before:], 5, "the fault in the log")
        self.assertIn(server.config + ":", server.log()[before:])
        self.assertFalse(self.heads_time_out(server))
        server.stop()

    def test_a_missing_file_changes_nothing(self):
        server = self.server().start_up()
        before = len(server.log())
        os.unlink(server.config)
        server.hang_up()
        wait_until(lambda: server.config in server.log()[before:], 5, "the fault in the log")
        self.assertEqual(200, server.request("GET", "/livez").status)
        server.stop()

    def test_what_needs_a_restart_is_told(self):
        server = self.server().start_up()
        before = len(server.log())
        server.configure("server", threads=1)
        server.configure("partition-1", database="another")
        server.hang_up()
        wait_until(lambda: "reloaded" in server.log()[before:], 5, "the reload")
        for words in ("[server] threads = 1", "[partition-1] database = test_another"):
            self.assertIn(words + ": needs a restart", server.log()[before:])
        self.assertEqual(201, server.put("k3", b"v").status)
        server.stop()

    def test_reloads_under_load_disturb_nobody(self):
        server = self.server().start_up()
        statuses, stopping = [], threading.Event()

        def load():
            with server.wire() as wire:
                while not stopping.is_set():
                    statuses.append(wire.request("PUT", "/keys/load", b"v").status)
        thread = threading.Thread(target=load)
        thread.start()
        for i in range(20):
            server.configure("server", head_timeout=1000 + i)
            server.hang_up()
            wait_until(lambda: server.log().count("configuration reloaded") > i, 5, "the reload")
        stopping.set()
        thread.join()
        self.assertLessEqual(set(statuses), {201, 204})
        server.stop()

    def test_the_access_log_is_opened_anew(self):
        server = self.server()
        path = os.path.join(server.directory, "access")
        server.configure("server", access_log=path)
        server.start_up()
        server.request("GET", "/keys/first")
        wait_until(lambda: "/keys/first" in text_of(path), 5, "a line")
        os.rename(path, path + ".1")
        server.hang_up()
        wait_until(lambda: os.path.exists(path), 5, "a new file")
        server.request("GET", "/keys/second")
        wait_until(lambda: "/keys/second" in text_of(path), 5, "a line in the new file")
        server.stop()

    def test_an_access_log_that_cannot_be_opened_is_only_a_warning(self):
        server = self.server({"server": {"access_log": "/nowhere/at/all"}}).start_up()
        self.assertIn("/nowhere/at/all: No such file or directory", server.log())
        self.assertEqual(404, server.get("k").status)
        server.stop()


class Load:
    """Clients that read and write both partitions until they are told to stop; what they were answered."""

    def __init__(self, server):
        self.server = server
        self.keys = server.keys_on(1, 3, "load") + server.keys_on(2, 3, "load")
        self.statuses = []
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(i,)) for i in range(6)]
        for thread in self.threads:
            thread.start()

    def run(self, number):
        with self.server.wire() as wire:
            while not self.stopping.is_set():
                for key in self.keys:
                    for method, headers in (("GET", {}), ("PUT", {}), ("PUT", {"If-Match": "*"})):
                        body = b"by %d" % number if method == "PUT" else None
                        self.statuses.append(wire.request(method, "/keys/" + key, body, headers).status)

    def stop(self):
        """The different answers."""
        self.stopping.set()
        for thread in self.threads:
            thread.join()
        return set(self.statuses)


class PartitionReload(StartTest):
    """How partition 2 is reached changes by SIGHUP; it is also reached through TCP."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            cls.port = found.getsockname()[1]
        cls.addClassCleanup(cls.nodes.start, 2)
        cls.addClassCleanup(cls.nodes.stop, 2)
        cls.nodes.stop(2)
        cls.nodes.tool("start", 2, "--skip-networking=0", "--bind-address=127.0.0.1", "--port=%d" % cls.port)

    def setUp(self):
        self.nodes.truncate()
        self.addCleanup(self.nodes.sql, 2, password_sql("sherd", PASSWORD))

    def sessions(self):
        """The ids of the server's sessions on node 2, each with where it comes from."""
        rows = self.nodes.sql(2, "SELECT id, host FROM information_schema.processlist WHERE user = 'sherd'")
        return {int(number): host for number, host in rows}

    def reload(self, server, **options):
        """Returns when all of the connections to partition 2 are others."""
        before = self.sessions()
        server.configure("partition-2", **options)
        server.hang_up()
        wait_until(lambda: len(self.sessions()) == len(before) and not self.sessions().keys() & before.keys(), 10,
                   "other connections")

    def test_a_password_changes_without_a_failed_request(self):
        server = self.server().start_up()
        load = Load(server)
        for i in range(5):
            self.nodes.sql(2, password_sql("sherd", "rotated %d" % i))
            self.reload(server, password="rotated %d" % i)
        self.assertLessEqual(load.stop(), {200, 201, 204})
        self.assertGreater(len(load.statuses), 100)
        self.assertNotIn("is down", server.log())
        self.assertNotIn("rotated", server.log())
        server.stop()

    def test_a_user_changes(self):
        self.nodes.sql(2, "CREATE OR REPLACE USER other IDENTIFIED BY 'its own';"
                       "GRANT SELECT,INSERT,UPDATE,DELETE,EXECUTE ON test_sherd.* TO other")
        self.addCleanup(self.nodes.sql, 2, "DROP USER other")
        server = self.server().start_up()
        server.configure("partition-2", user="other", password="its own")
        server.hang_up()
        wait_until(lambda: not self.sessions(), 10, "no connection of the user of before")
        self.assertEqual(1, server.log().count("partition-2 has other settings"))
        self.assertNotIn("partition-1 has", server.log())
        self.assertEqual("second", self.wrote(server, b"second"))
        server.stop()

    def wrote(self, server, value):
        """What is on node 2 after a PUT."""
        key = server.keys_on(2, 1, "wrote")[0]
        self.assertEqual(204, server.put(key, value).status)
        return self.nodes.sql(2, "SELECT v FROM pairs WHERE k = '%s'" % key)[0][0]

    def test_a_partition_moves_without_a_failed_request(self):
        server = self.server().start_up()
        self.assertEqual({"localhost"}, set(self.sessions().values()))
        load = Load(server)
        for host in ("127.0.0.1", "localhost"):  # a number, a name
            self.reload(server, socket=None, host=host, port=self.port)
            self.assertEqual({"127.0.0.1"}, {client.split(":")[0] for client in self.sessions().values()})
            self.reload(server, socket=self.nodes.socket(2), host=None, port=None)
            self.assertEqual({"localhost"}, set(self.sessions().values()))
        self.assertLessEqual(load.stop(), {200, 201, 204})
        self.assertNotIn("is down", server.log())
        self.assertEqual("moved", self.wrote(server, b"moved"))
        server.stop()

    def test_a_statement_under_way_ends_first(self):
        server = self.server({"store": {"timeout": "20s"}}).start_up()
        key = server.keys_on(2, 1, "busy")[0]
        transaction = Transaction(self.nodes, 2)
        self.addCleanup(transaction.end)
        transaction.run("BEGIN; UPDATE pairs SET v = 'x' WHERE k = '%s'" % key)
        before = self.sessions()
        with server.wire() as wire:
            wire.send(b"PUT /keys/%s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nafter" % key.encode())
            waiting = "SELECT 1 FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'"
            wait_until(lambda: self.nodes.sql(2, waiting), 5, "the PUT waits")
            server.configure("partition-2", socket=None, host="127.0.0.1", port=self.port)
            server.hang_up()
            wait_until(lambda: len(before.keys() & self.sessions().keys()) == 1, 5, "only the busy one is left")
            transaction.run("ROLLBACK")
            self.assertEqual(204, wire.response().status)
        wait_until(lambda: not before.keys() & self.sessions().keys(), 5, "none is left")
        self.assertEqual(b"after", server.get(key).body)
        server.stop()

    def test_a_mistake_is_mended_while_it_is_tried(self):
        server = self.server().start_up()
        count = len(self.sessions())
        with socket.create_server(("127.0.0.1", 0)) as silent:
            silent.settimeout(5 * SLACK)
            server.configure("partition-2", socket=None, host="127.0.0.1", port=silent.getsockname()[1])
            server.hang_up()
            with silent.accept()[0]:
                server.configure("partition-2", socket=self.nodes.socket(2), host=None, port=None)
                server.hang_up()
                wait_until(lambda: len(self.sessions()) == count, 5, "all connections")
        wait_until(server.all_up, 5, "partition 2 up")
        self.assertEqual("mended", self.wrote(server, b"mended"))
        server.stop()

    def test_a_wrong_password_is_a_partition_that_is_down_until_it_is_right(self):
        server = self.server().start_up()
        server.configure("partition-2", password="not it")
        server.hang_up()
        wait_until(lambda: "partition-2 is down: Access denied" in server.log(), 5, "down")
        self.assertEqual(503, server.request("GET", "/readyz?partition=2").status)
        self.assertEqual({201}, {server.put("without-%d" % i, b"v").status for i in range(20)})
        server.configure("partition-2", password=PASSWORD)
        server.hang_up()
        wait_until(server.all_up, 5, "partition 2 up")
        self.assertNotIn("not it", server.log())
        server.stop()

    def test_a_name_that_does_not_resolve_is_a_partition_that_is_down(self):
        server = self.server()
        server.environment["RES_OPTIONS"] = "timeout:1 attempts:1"  # where no resolver answers
        server.start_up()
        server.configure("partition-2", socket=None, host=NO_NAME)
        server.hang_up()
        wait_until(lambda: "partition-2 is down: the name %s cannot be resolved: " % NO_NAME in server.log(), 5, "down")
        self.assertEqual({201}, {server.put("nameless-%d" % i, b"v").status for i in range(20)})
        server.stop()

    def test_a_file_of_tls_that_cannot_be_read_changes_nothing(self):
        server = self.server().start_up()
        before = self.sessions()
        server.configure("partition-2", socket=None, host="localhost", port=self.port, tls="required", tls_ca="missing")
        server.hang_up()
        wait_until(lambda: "the old configuration stays" in server.log(), 5, "a line")
        self.assertRegex(server.log(), "error .*partition-2: .*/missing: No such file")
        self.assertTrue(server.all_up())
        self.assertEqual(before, self.sessions())
        server.stop()

    def test_the_same_settings_disturb_no_connection(self):
        server = self.server().start_up()
        before = self.sessions()
        server.hang_up()
        wait_until(lambda: "configuration reloaded" in server.log(), 5, "the reload")
        self.assertEqual(200, server.request("GET", "/readyz").status)
        self.assertEqual(before, self.sessions())
        server.stop()


def text_of(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


class Stop(StartTest):
    def locked_put(self, server):
        """A connection with a PUT that waits for a row's lock, and the transaction that holds it."""
        key = server.keys_on(1, 1, "locked-" + self.id().split(".")[-1])[0]
        transaction = Transaction(self.nodes, 1)
        self.addCleanup(transaction.end)
        transaction.run("BEGIN; UPDATE pairs SET v = 'x' WHERE k = '%s'" % key)
        wire = server.wire()
        self.addCleanup(wire.close)
        wire.send(b"PUT /keys/%s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nafter" % key.encode())
        waiting = "SELECT 1 FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'"
        wait_until(lambda: self.nodes.sql(1, waiting), 5,
                   "the PUT waits")
        return key, wire, transaction

    def test_sigterm_finishes_a_slow_request(self):
        server = self.server({"store": {"timeout": "10s"}}).start_up()
        key, wire, transaction = self.locked_put(server)
        server.terminate()
        wait_until(lambda: "stopping" in server.log(), 5, "stopping")
        self.assertFalse(wire.receive(0.1))
        transaction.run("ROLLBACK")
        response = wire.response()
        self.assertEqual(204, response.status)
        self.assertTrue(wire.is_closed())
        self.assertEqual(0, server.wait_for_end())
        self.assertEqual([["after"]], self.nodes.sql(1, "SELECT v FROM pairs WHERE k = '%s'" % key))

    def test_sigterm_does_not_wait_for_ever(self):
        server = self.server({"store": {"timeout": "60s"}, "server": {"stop_timeout": "500ms"}}).start_up()
        _, wire, _ = self.locked_put(server)
        began = time.monotonic()
        server.terminate()
        self.assertEqual(0, server.wait_for_end())
        self.assertLess(time.monotonic() - began, STOP_SECONDS)
        try:
            self.assertIn(wire.response().status, (503, 504))
        except Ended:
            pass  # without an answer nothing is claimed

    def test_sigterm_ends_idle_connections_at_once(self):
        server = self.server().start_up()
        wires = [server.wire() for _ in range(50)]
        for wire in wires:
            self.addCleanup(wire.close)
            self.assertEqual(200, wire.request("GET", "/livez").status)
        began = time.monotonic()
        server.terminate()
        self.assertEqual(0, server.wait_for_end())
        self.assertLess(time.monotonic() - began, 2)
        self.assertTrue(all(wire.is_closed() for wire in wires))

    def test_sigterm_takes_no_new_connection(self):
        server = self.server({"store": {"timeout": "10s"}}).start_up()
        _, wire, transaction = self.locked_put(server)
        server.terminate()
        wait_until(lambda: self.refuses(server), 5, "no new connection")
        transaction.run("ROLLBACK")
        self.assertEqual(204, wire.response().status)
        self.assertEqual(0, server.wait_for_end())

    def refuses(self, server):
        try:
            with server.wire() as wire:
                return wire.request("GET", "/livez").status == 503
        except (OSError, Ended):
            return True

    def test_sigint_is_the_same(self):
        server = self.server().start_up()
        server.process.send_signal(2)
        self.assertEqual(0, server.wait_for_end())

    def test_two_signals_at_once_are_as_good_as_one(self):
        server = self.server().start_up()
        server.terminate()
        server.terminate()
        self.assertEqual(0, server.wait_for_end())

    def test_an_acknowledged_write_outlives_kill_9(self):
        server = self.server().start_up()
        answered = {}
        with server.wire() as wire:
            for i in range(500):
                wire.send(b"PUT /keys/kill%d HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nv" % i)
            for i in range(200):
                answered[i] = wire.response().status
            server.process.kill()
        server.process.wait()
        other = self.server().start_up()
        self.assertEqual({201}, set(answered.values()))
        self.assertEqual({200}, {other.get("kill%d" % i).status for i in answered})
        other.stop()


class Limits(StartTest):
    def test_clients_beyond_the_limit_do_not_harm_the_others(self):
        server = self.server({"server": {"clients": 10, "threads": 1}}).start_up()
        wires = [wait_until(lambda: self.admitted(server), 5, "room for a client") for _ in range(10)]
        with server.wire(2) as more:
            more.send(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
            try:
                self.assertEqual(503, more.response().status)
            except (Ended, OSError):
                pass  # closed without an answer, or not taken yet
        for wire in wires:
            self.assertEqual(200, wire.request("GET", "/livez").status)
        for wire in wires:
            wire.close()
        wait_until(lambda: not self.is_full(server), 5, "room for a client")
        server.stop()

    def admitted(self, server):
        """A connection that is served; none while the server has not seen earlier ones end."""
        wire = server.wire()
        self.addCleanup(wire.close)
        return wire if wire.request("GET", "/livez").status == 200 else None

    def is_full(self, server):
        try:
            return server.request("GET", "/livez", timeout=1).status != 200
        except (Ended, OSError):
            return True

    def test_a_full_queue_is_503(self):
        server = self.server({"store": {"queue": 1, "connections": 1, "timeout": "5s"},
                              "server": {"threads": 1}}).start_up()
        keys = server.keys_on(1, 3, "queue")
        transaction = Transaction(self.nodes, 1)
        self.addCleanup(transaction.end)
        transaction.run("BEGIN; UPDATE pairs SET v = 'x' WHERE k = '%s'" % keys[0])
        wires = [server.wire() for _ in range(20)]
        for wire in wires:
            self.addCleanup(wire.close)
            wire.send(b"PUT /keys/%s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nv" % keys[0].encode())
        wait_until(lambda: any(wire.receive(0) or wire.buffer for wire in wires), 3, "a 503")
        transaction.run("ROLLBACK")
        statuses = sorted(wire.response().status for wire in wires)
        self.assertEqual({204, 503}, set(statuses))
        server.stop()


if __name__ == "__main__":
    unittest.main()
