# SPDX-License-Identifier: MIT
"""The microblog, end to end through haproxy: what it does, and that it goes on while things die and are added."""
import html
import http.client
import json
import re
import threading
import unittest
import urllib.parse

from common import StackTest, load, wait_until

run = load("microblog", "run")

PASSWORD = "correct horse"


class Browser:
    """Keeps a cookie; asks the microblog through haproxy, or one backend."""

    def __init__(self, port):
        self.port = port
        self.cookie = None

    def ask(self, method, path, form=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            headers = {"Cookie": self.cookie or "", **(headers or {})}
            body = None
            if form is not None:
                body = urllib.parse.urlencode(form)
                headers = {"Origin": "http://127.0.0.1:%d" % self.port,
                           "Content-Type": "application/x-www-form-urlencoded", **headers}
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            if answer.headers["Set-Cookie"]:
                self.cookie = answer.headers["Set-Cookie"].partition(";")[0]
            return answer.status, answer.headers, answer.read().decode()
        finally:
            connection.close()

    def get(self, path="/"):
        status, _, text = self.ask("GET", path)
        return text if status == 200 else "status %d" % status

    def post(self, path, **form):
        return self.ask("POST", path, form)[0]

    def posts(self, path="/"):
        """The texts of all posts, newest first, page by page."""
        found, pages = [], 0
        while path:
            page = self.get(path)
            found += [html.unescape(text) for text in re.findall(r"<article.*?<p>(.*?)</p></article>", page, re.S)]
            older = re.search(r'rel="next" href="([^"]*)"', page)
            path, pages = older and html.unescape(older[1]), pages + 1
        return found, pages


class Live:
    """The live timeline as a browser's EventSource follows it, in a thread: it connects again where it was."""

    def __init__(self, port, since):
        self.port, self.since = port, since
        self.last_id = None
        self.posts = []  # (id, text) as they came
        self.refused = None
        self.closed = threading.Event()
        threading.Thread(target=self.follow, daemon=True).start()

    def texts(self):
        return {text for _, text in self.posts}

    def follow(self):
        while not self.closed.wait(0.1) and not self.refused:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
            try:
                connection.request("GET", "/live?" + urllib.parse.urlencode({"since": self.since}), headers={
                    "Last-Event-ID": self.last_id} if self.last_id else {})
                answer = connection.getresponse()
                if answer.status in (400, 410):
                    self.refused = answer.status
                while answer.status == 200 and (line := answer.readline().decode()):
                    name, _, value = line.strip().partition(": ")
                    if name == "data" and value:
                        event = json.loads(value)
                        self.posts.append((event["id"], event["text"]))
                    elif name == "id":
                        self.last_id = value
            except (OSError, http.client.HTTPException):
                pass
            finally:
                connection.close()


class Microblog(StackTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.programs = run.start(cls.stack)
        cls.port = cls.programs["port"]
        cls.clones = [cls.programs[name] for name in ("backend_1", "backend_2")]
        cls.daemons = [cls.programs[name] for name in ("daemon_1", "daemon_2")]

    def user(self, name):
        """A browser in which a new user is logged in."""
        browser = Browser(self.port)
        self.assertEqual(303, browser.post("/register", name=name, password=PASSWORD))
        self.assertIn("Post as " + name, browser.get())
        return browser

    def live(self, port, since):
        live = Live(port, since)
        self.addCleanup(live.closed.set)
        return live

    def place_of(self, page):
        """The place in the feed at which a page was made."""
        return html.unescape(re.search(r'data-since="([^"]*)"', page)[1])

    def together(self, *works):
        results = []
        threads = [threading.Thread(target=lambda work=work: results.append(work())) for work in works]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sorted(results)

    # ------------------------------------------------------------ users

    def test_a_name_is_given_once_though_many_ask_at_once(self):
        browsers = [Browser(clone.port) for clone in self.clones for _ in range(4)]
        statuses = self.together(*(lambda browser=browser: browser.post("/register", name="once", password=PASSWORD)
                                   for browser in browsers))
        self.assertEqual([303] + [409] * 7, statuses)

    def test_login_logout_and_a_wrong_password(self):
        self.user("login")
        browser = Browser(self.port)
        self.assertEqual(403, browser.post("/login", name="login", password="wrong horse"))
        self.assertEqual(403, browser.post("/login", name="nobody", password=PASSWORD))
        self.assertEqual(403, browser.post("/post", text="not logged in"))
        self.assertIsNone(browser.cookie)
        self.assertEqual(303, browser.post("/login", name="login", password=PASSWORD))
        for clone in self.clones:  # both know the session
            other = Browser(clone.port)
            other.cookie = browser.cookie
            self.assertIn("Post as login", other.get())
        before = browser.cookie
        self.assertEqual(303, browser.post("/logout"))
        browser.cookie = before
        self.assertNotIn("Post as", browser.get())

    def test_the_store_holds_neither_passwords_nor_tokens(self):
        browser = self.user("secret")
        rows = "\n".join("\t".join(row) for node in (1, 2) for row in self.sql(node, "SELECT k, v FROM pairs"))
        self.assertIn("user/secret", rows)
        self.assertNotIn(PASSWORD, rows)
        self.assertNotIn(browser.cookie.partition("=")[2], rows)

    def test_cookies_and_forms_are_for_our_own_pages(self):
        browser = Browser(self.port)
        _, headers, _ = browser.ask("POST", "/register", {"name": "cookie", "password": PASSWORD})
        for attribute in ("HttpOnly", "SameSite=Lax", "Path=/"):
            self.assertIn(attribute, headers["Set-Cookie"])
        for origin in ("http://evil.example", "null", ""):
            self.assertEqual(403, browser.ask("POST", "/post", {"text": "forged"}, {"Origin": origin})[0])
        self.assertNotIn("forged", browser.get())

    def test_bad_forms(self):
        browser = Browser(self.port)
        for name in ("", "UPPER", "a/b", "x" * 21, "\N{SNOWMAN}"):
            self.assertEqual(400, browser.post("/register", name=name, password=PASSWORD))
        self.assertEqual(400, browser.post("/register", name="short", password="1234567"))
        browser = self.user("forms")
        for text in ("", "  ", "x" * 501):
            self.assertEqual(400, browser.post("/post", text=text))
        for path in ("/nowhere", "/by/a%2fb", "/by/UPPER"):
            self.assertEqual("status 404", browser.get(path))
        for path in ("/?after=x", "/live?since=x"):
            self.assertEqual("status 400", browser.get(path))

    # ------------------------------------------------------------ posts

    def test_paging_newest_first(self):
        author, reader = self.user("pager"), Browser(self.port)
        texts = ["page %d" % number for number in range(45)]
        for text in texts:
            self.assertEqual(303, author.post("/post", text=text))
        self.assertEqual((texts[::-1], 3), reader.posts("/by/pager"))
        everything, _ = reader.posts()
        self.assertEqual(texts[::-1], [text for text in everything if text.startswith("page ")])

    def test_what_users_write_is_text(self):
        author = self.user("markup")
        text = "<script>alert(1)</script> & \"quotes\" {text} {forms} \N{SNOWMAN}\nsecond line"
        self.assertEqual(303, author.post("/post", text=text))
        page = author.get("/by/markup")
        self.assertNotIn("<script>alert", page)
        self.assertEqual(([text], 1), author.posts("/by/markup"))

    def test_the_live_timeline_comes_through_any_clone_and_goes_on_after_one_dies(self):
        author = self.user("live")
        since = self.place_of(author.get())
        author.post("/post", text="between page and stream")
        streams = [self.live(port, since) for port in (self.port, *(clone.port for clone in self.clones))]
        author.post("/post", text="live <b>")
        for live in streams:
            wait_until(lambda live=live: live.texts() == {"between page and stream", "live <b>"}, 5, "the events")
        one = self.clones[0]
        one.kill()
        self.addCleanup(lambda: one.process.poll() is None or one.start())
        wait_until(lambda: author.post("/post", text="after the death") == 303, 10, "a post")
        one.start()
        for live in streams:
            wait_until(lambda live=live: "after the death" in live.texts(), 5, "the event")

    # ------------------------------------------------------------ partitions

    def test_a_partition_dies_and_another_one_is_added(self):
        author, reader = self.user("survivor"), Browser(self.port)
        live = self.live(self.port, self.place_of(author.get()))
        texts = ["before %d" % number for number in range(10)]
        for text in texts:
            self.assertEqual(303, author.post("/post", text=text))
        self.assertEqual(0, self.stack.sync())

        self.stack.nodes("kill", 1)
        for number in range(10):
            texts.append("while one is dead %d" % number)
            self.assertEqual(303, author.post("/post", text=texts[-1]))
            self.assertEqual(texts[::-1], reader.posts("/by/survivor")[0])
        self.assertIn("Post as survivor", author.get())
        self.assertEqual(303, Browser(self.port).post("/login", name="survivor", password=PASSWORD))

        self.stack.nodes("start", 1)
        for daemon in self.daemons:
            wait_until(daemon.is_ready, 10, "both partitions are up")
        self.assertEqual(0, self.stack.sync())
        self.assertEqual(texts[::-1], reader.posts("/by/survivor")[0])

        self.stack.add_partition()
        for daemon in self.daemons:
            daemon.stop()
            self.stack.configure(daemon, **run.STORE_OPTIONS)
            daemon.start()
            texts.append("while one is added, %s" % daemon.name)
            self.assertEqual(303, author.post("/post", text=texts[-1]))
            self.assertEqual(texts[::-1], reader.posts("/by/survivor")[0])
        self.assertEqual(0, self.stack.sync())
        new = [text for (text,) in self.sql(3, "SELECT v FROM pairs WHERE k LIKE 'post/%' AND v LIKE '%survivor%'")]
        self.assertEqual(len(texts), len(new))  # replicas = all: the new one has every post

        homes = set()
        for number in range(20):
            texts.append("with three %d" % number)
            self.assertEqual(303, author.post("/post", text=texts[-1]))
        for node in (1, 2, 3):
            homes.update(int(version) & 1023 for (version,) in self.sql(
                node, "SELECT version FROM pairs WHERE k LIKE 'post/%' AND v LIKE '%with three%'"))
        self.assertEqual({1, 2, 3}, homes)
        self.assertEqual(texts[::-1], reader.posts("/by/survivor")[0])
        self.assertEqual(303, self.user("newcomer").post("/post", text="hello"))
        wait_until(lambda: live.texts() >= {*texts, "hello"} or live.refused, 10, "the live timeline told everything")
        self.assertIsNone(live.refused)


if __name__ == "__main__":
    unittest.main()
