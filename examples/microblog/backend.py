#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""backend: the microblog's web server.   backend.py PORT STORE-URL

It keeps nothing: users, sessions and posts are in the store, so any number of clones give the same answers and any
of them may die.

    user/NAME           {"salt", "hash", "n", "r", "p"}; made by a create-only PUT: a name is given once
    session/HASH        the user's name; HASH is the SHA-256 of the token in the cookie, so that who reads the store
                        cannot take a session over; ends by its TTL
    post/ID             {"name", "text", "ms"}; ID is inverted time and something random: lists begin with the newest
    by/NAME/ID          empty; the posts of one user
"""
import hashlib
import hmac
import html
import http.server
import json
import os
import re
import secrets
import sys
import threading
import time
import urllib.parse

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
from sherd import Refused, Store, TokenTooOld, Unavailable  # noqa: E402

NAME = re.compile(r"[a-z0-9_]{1,20}")
ID = re.compile(r"\d{13}-[0-9a-f]{16}")
PAGE = 20
LONGEST_POST = 500
LONGEST_FORM = 10000
SESSION_SECONDS = 7 * 24 * 3600
SCRYPT = {"n": 2 ** 14, "r": 8, "p": 5}  # 16 MiB and some 0.2 s for each try
hashing = threading.BoundedSemaphore(2)  # a flood of logins takes no more memory than this
NOBODY = {"salt": "", "hash": "", **SCRYPT}

store = Store("")  # set by main


# ---------------------------------------------------------------- users and sessions

def password_hash(password, user):
    with hashing:
        return hashlib.scrypt(password.encode(), salt=bytes.fromhex(user["salt"]), n=user["n"], r=user["r"],
                              p=user["p"], maxmem=64 * 1024 * 1024).hex()


def register(name, password):
    """Whether the name was free. Of two who ask at once, at two clones, one gets it."""
    user = {"salt": secrets.token_hex(16), **SCRYPT}
    user["hash"] = password_hash(password, user)
    return store.create("user/" + name, json.dumps(user).encode()) is not None


def password_is_right(name, password):
    pair = store.get("user/" + name)
    user = json.loads(pair.value) if pair else NOBODY  # nobody takes as long: the time does not tell who is registered
    return hmac.compare_digest(password_hash(password, user), user["hash"])


def session_key(token):
    return "session/" + hashlib.sha256(token.encode()).hexdigest()


def log_in(name):
    """The token of a new session."""
    token = secrets.token_urlsafe(32)
    store.put(session_key(token), name.encode(), ttl=SESSION_SECONDS)
    return token


def user_of(token):
    pair = store.get(session_key(token)) if token else None
    return pair.value.decode() if pair else None


# ---------------------------------------------------------------- posts

def post(name, text):
    """Nobody else makes this ID, so plain PUTs may be tried again, and need no particular partition. First what lists
    the post under its author, then the post: should we die between, there is no post, and nobody was told of one."""
    ms = time.time_ns() // 1000000
    ident = "%013d-%s" % (9999999999999 - ms, secrets.token_hex(8))
    store.put("by/%s/%s" % (name, ident), b"")
    store.put("post/" + ident, json.dumps({"name": name, "text": text, "ms": ms}).encode())


def timeline(prefix, after):
    """A page of posts, newest first, and the ID behind which the next page begins, or None."""
    keys, more = store.page(prefix, prefix + after if after else "", PAGE)
    idents = [key[len(prefix):] for key in keys]
    values = store.values(["post/" + ident for ident in idents])
    posts = [{**json.loads(value), "id": ident} for ident, value in zip(idents, values) if value]
    return posts, idents[-1] if more else None


# ---------------------------------------------------------------- HTTP

class Problem(Exception):
    def __init__(self, status, text):
        super().__init__(text)
        self.status = status


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60  # a browser that says nothing

    def do_GET(self):
        self.answer({"/": self.show_all, "/live": self.live, "/live.js": self.script, "/healthz": self.health})

    def do_POST(self):
        self.answer({"/register": self.do_register, "/login": self.do_login, "/logout": self.do_logout,
                     "/post": self.do_post})

    def answer(self, pages):
        """Finds the page and runs it; whatever goes wrong is told."""
        url = urllib.parse.urlsplit(self.path)
        self.query = dict(urllib.parse.parse_qsl(url.query))
        self.form = {}
        try:
            if self.command == "POST":
                self.read_form()
            if self.command == "GET" and url.path.startswith("/by/"):
                self.show_user(url.path[4:])
            elif url.path in pages:
                pages[url.path]()
            else:
                raise Problem(404, "There is no such page.")
        except Problem as problem:
            self.send(problem.status, page(None, "<p>%s</p>" % html.escape(str(problem))))
        except Unavailable as problem:
            print(problem, file=sys.stderr)
            self.send(503, page(None, "<p>The store does not answer. If you posted, look whether it is there.</p>"))

    def read_form(self):
        """The form of a POST. Only our own pages may send one: a browser says in Origin whose page it was."""
        try:
            length = int(self.headers.get("Content-Length", ""))
        except ValueError:
            length = -1
        if not 0 <= length <= LONGEST_FORM:
            self.close_connection = True
            raise Problem(400, "Too long.")
        body = self.rfile.read(length)
        origin = urllib.parse.urlsplit(self.headers.get("Origin", ""))
        if not origin.netloc or origin.netloc != self.headers.get("Host"):
            raise Problem(403, "That did not come from one of our pages.")
        self.form = dict(urllib.parse.parse_qsl(body.decode(errors="replace"), keep_blank_values=True))

    # ------------------------------------------------------------ pages

    def show_all(self):
        # The token first, then the list: what is posted between the two is told by the feed.
        token = None if "after" in self.query else store.token("post/")
        self.show("post/", "/", token)

    def show_user(self, name):
        if not NAME.fullmatch(name):
            raise Problem(404, "There is no such user.")
        self.show("by/%s/" % name, "/by/" + name, None)

    def show(self, prefix, path, token):
        after = self.query.get("after", "")
        if after and not ID.fullmatch(after):
            raise Problem(400, "There is no such page.")
        posts, older = timeline(prefix, after)
        text = '<section id="posts"%s>%s</section>' % (
            ' data-since="%s"' % html.escape(token) if token else "", "".join(map(article, posts)))
        if older:
            text += '<p><a rel="next" href="%s?after=%s">Older</a></p>' % (path, older)
        self.send(200, page(user_of(self.token()), text))

    def live(self):
        """New posts as server-sent events: Sherd's feed, handed on. Its tokens are our event ids, so a browser that
        comes back (Last-Event-ID), to whichever clone, goes on where it was."""
        since = self.headers.get("Last-Event-ID") or self.query.get("since") or "now"
        stream = store.stream("post/", since)
        try:
            event = next(stream, None)
        except TokenTooOld:
            raise Problem(410, "Load the page again.") from None
        except Refused:
            raise Problem(400, "That is no token.") from None
        except OSError as problem:
            raise Unavailable(repr(problem)) from None
        self.close_connection = True
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Cache-Control", "no-cache")
        self.send_header("Connection", "close")
        self.end_headers()
        try:
            while event:
                self.wfile.write(live_event(event).encode())
                event = next(stream, None)
        except OSError:
            pass  # the browser left, or the daemon: it comes back
        finally:
            stream.close()

    def script(self):
        with open(os.path.join(HERE, "live.js"), "rb") as file:
            self.send(200, file.read(), "text/javascript; charset=utf-8")

    def health(self):
        self.send(200, b"ok\n", "text/plain")

    # ------------------------------------------------------------ forms

    def do_register(self):
        name, password = self.credentials()
        if len(password) < 8:
            raise Problem(400, "A password has at least 8 characters.")
        if not register(name, password):
            raise Problem(409, "That name is taken.")
        self.welcome(name)

    def do_login(self):
        name, password = self.credentials()
        if not password_is_right(name, password):
            raise Problem(403, "Name or password is wrong.")
        self.welcome(name)

    def credentials(self):
        name, password = self.form.get("name", ""), self.form.get("password", "")
        if not NAME.fullmatch(name):
            raise Problem(400, "A name has 1 to 20 of a-z, 0-9 and _.")
        return name, password

    def welcome(self, name):
        """A new session, whatever the browser had before."""
        self.go_home(log_in(name), SESSION_SECONDS)

    def do_logout(self):
        if self.token():
            store.delete(session_key(self.token()))
        self.go_home("", 0)

    def do_post(self):
        name, text = user_of(self.token()), self.form.get("text", "").strip()
        if not name:
            raise Problem(403, "Log in first.")
        if not 0 < len(text) <= LONGEST_POST:
            raise Problem(400, "A post has 1 to %d characters." % LONGEST_POST)
        post(name, text)
        self.go_home()

    # ------------------------------------------------------------ answers

    def token(self):
        """The session token that the browser sent."""
        found = re.search(r"(?:^|; )session=([\w-]{43})(?:;|$)", self.headers.get("Cookie", ""), re.ASCII)
        return found and found[1]

    def go_home(self, token=None, seconds=0):
        """See /; a token of a session goes into a cookie that no script reads and no other site's form sends."""
        headers = {"Location": "/"}
        if token is not None:
            secure = "; Secure" if self.headers.get("X-Forwarded-Proto") == "https" else ""
            headers["Set-Cookie"] = "session=%s; Path=/; Max-Age=%d; HttpOnly; SameSite=Lax%s" % (token, seconds, secure)
        self.send(303, b"", headers=headers)

    def send(self, status, body, kind="text/html; charset=utf-8", headers=None):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Content-Security-Policy", "default-src 'none'; script-src 'self'; connect-src 'self'; "
                         "style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def live_event(event):
    """Only what is public: posts are. A comment where there is nothing to tell, so that a dead connection shows."""
    if event["event"] == "put" and event["value"]:
        ident = event["key"].partition("/")[2]
        data = json.dumps({"id": ident, **json.loads(event["value"])})
        return "id: %s\nevent: post\ndata: %s\n\n" % (event["token"], data)
    return "id: %s\nevent: progress\ndata:\n\n" % event["token"]


# ---------------------------------------------------------------- HTML: what users wrote goes through html.escape

POST_FORMS = """<form method="post" action="/post"><textarea name="text" maxlength="%d" required></textarea>
<button>Post as %s</button></form>
<form method="post" action="/logout"><button>Log out</button></form>"""

LOGIN_FORM = """<form method="post">
<input name="name" placeholder="name" required pattern="[a-z0-9_]{1,20}" autocomplete="username">
<input name="password" type="password" placeholder="password" required minlength="8" autocomplete="current-password">
<button formaction="/login">Log in</button> <button formaction="/register">Register</button></form>"""


def article(item):
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(item["ms"] / 1000))
    return '<article data-id="%s"><a href="/by/%s">%s</a> <time>%s</time><p>%s</p></article>' % tuple(
        html.escape(word) for word in (item["id"], item["name"], item["name"], when, item["text"]))


def page(user, text):
    with open(os.path.join(HERE, "page.html"), encoding="utf-8") as file:
        template = file.read()
    forms = POST_FORMS % (LONGEST_POST, html.escape(user)) if user else LOGIN_FORM
    return template.replace("{forms}", forms).replace("{text}", text).encode()


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128

    def handle_error(self, *_):
        if not isinstance(sys.exc_info()[1], OSError):  # else the browser left
            super().handle_error(*_)


def main():
    global store
    if len(sys.argv) != 3:
        sys.exit(__doc__.splitlines()[0])
    store = Store(sys.argv[2], patience=8)
    Server(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()


if __name__ == "__main__":
    main()
