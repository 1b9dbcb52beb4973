# SPDX-License-Identifier: MIT
"""The design's ancestor: web.py and MySQLdb, threaded, a connection a thread and database server.

    server.py PORT THREADS SOCKET...
"""
import sys
import threading

import MySQLdb
import web

PORT, THREADS, SOCKETS = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
local = threading.local()


def cursor_of(key):
    if not hasattr(local, "cursors"):
        local.cursors = [MySQLdb.connect(unix_socket=socket, user="root", database="plain", autocommit=True).cursor()
                         for socket in SOCKETS]
    return local.cursors[ord(key[-1]) % len(SOCKETS)]


class Pair:
    def GET(self, key):
        cursor = cursor_of(key)
        if not cursor.execute("SELECT v FROM plain WHERE k = %s", (key,)):
            raise web.notfound()
        value, = cursor.fetchone()
        web.header("Content-Type", "application/octet-stream")
        web.header("Content-Length", str(len(value)))  # else chunks, in a send each
        return value

    def PUT(self, key):
        cursor_of(key).execute("INSERT INTO plain (k, v) VALUES (%s, %s) ON DUPLICATE KEY UPDATE v = VALUES(v)",
                               (key, web.data()))
        web.ctx.status = "204 No Content"
        return ""


if __name__ == "__main__":
    web.config.debug = False
    application = web.application(("/keys/(.*)", Pair))
    server = web.httpserver.WSGIServer(("127.0.0.1", PORT), application.wsgifunc())
    server.requests.min = THREADS
    server.keep_alive_conn_limit = 1000  # 10 unless said: every other answer would close its connection
    server.start()
