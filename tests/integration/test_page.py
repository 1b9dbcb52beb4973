# SPDX-License-Identifier: MIT
"""The page as a resource of HTTP; tests/page looks at it in a browser."""
import glob
import os
import re
import unittest

from harness import ROOT, SherdTest

POLICY = {
    "default-src": "'none'", "script-src": "'self'", "style-src": "'self'", "img-src": "'self' blob:",
    "connect-src": "'self'", "base-uri": "'none'", "form-action": "'none'", "frame-ancestors": "'none'",
    "require-trusted-types-for": "'script'", "trusted-types": "'none'",
}
TYPES = {".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml",
         ".js": "text/javascript; charset=utf-8"}


def files():
    """(target, type, content) of every file of web/."""
    for path in sorted(glob.glob(os.path.join(ROOT, "web", "*"))):
        name = os.path.basename(path)
        with open(path, "rb") as file:
            yield ("/" if name == "index.html" else "/page/" + name, TYPES[os.path.splitext(name)[1]], file.read())


class Page(SherdTest):
    def test_every_file_is_served_as_it_is(self):
        for target, kind, content in files():
            with self.subTest(target):
                answer = self.check(self.server.request("GET", target), 200)
                self.assertEqual(kind, answer.header("Content-Type"))
                self.assertEqual(content, answer.body)

    def test_head_tells_the_length(self):
        for target, _, content in files():
            answer = self.check(self.server.request("HEAD", target), 200)
            self.assertEqual(str(len(content)), answer.header("Content-Length"))

    def test_nothing_from_elsewhere_may_run(self):
        for target, _, _ in files():
            answer = self.server.request("GET", target)
            policy = dict(part.strip().split(" ", 1) for part in answer.header("Content-Security-Policy").split(";"))
            self.assertEqual(POLICY, policy)
            self.assertEqual("nosniff", answer.header("X-Content-Type-Options"))
            self.assertEqual("no-referrer", answer.header("Referrer-Policy"))
            self.assertEqual("same-origin", answer.header("Cross-Origin-Opener-Policy"))
            self.assertEqual("same-origin", answer.header("Cross-Origin-Resource-Policy"))

    def test_a_file_that_one_has_is_not_sent_again(self):
        tags = set()
        for target, _, _ in files():
            tag = self.server.request("GET", target).header("ETag")
            self.assertRegex(tag, '^"[0-9]+"$')
            tags.add(tag)
            for known in (tag, "W/" + tag, '"x", ' + tag, "*"):
                answer = self.check(self.server.request("GET", target, None, {"If-None-Match": known}), 304)
                self.assertEqual(tag, answer.header("ETag"))
                self.assertEqual("no-cache", answer.header("Cache-Control"))
                self.assertIsNotNone(answer.header("Content-Security-Policy"))
            for other in ('"1"', '"x"', "nonsense"):
                self.check(self.server.request("GET", target, None, {"If-None-Match": other}), 200)
        self.assertEqual(len(list(files())), len(tags))

    def test_if_match_of_another_content_is_412(self):
        tag = self.server.request("GET", "/").header("ETag")
        self.check(self.server.request("GET", "/", None, {"If-Match": tag}), 200)
        self.check(self.server.request("GET", "/", None, {"If-Match": '"1"'}), 412)

    def test_a_query_changes_nothing(self):
        self.check(self.server.request("GET", "/?x=1"), 200)

    def test_other_methods_are_405(self):
        for target in ("/", "/page/page.js"):
            for method in ("PUT", "POST", "DELETE"):
                answer = self.check(self.server.request(method, target, b""), 405)
                self.assertEqual("GET, HEAD, OPTIONS", answer.header("Allow"))
            answer = self.check(self.server.request("OPTIONS", target), 204)
            self.assertEqual("GET, HEAD, OPTIONS", answer.header("Allow"))

    def test_what_is_not_there_is_404(self):
        for target in ("/page", "/page/", "/page/x", "/page/page.js/", "/page/../page/page.js", "/page/%70age.js",
                       "/page/index.html", "/favicon.ico", "//"):
            self.check(self.server.request("GET", target), 404)

    def test_keys_named_like_its_files_are_keys(self):
        self.put("page/page.js", b"mine", {"Content-Type": "text/javascript"})
        self.assertEqual(b"mine", self.value("page/page.js"))
        self.assertNotEqual(b"mine", self.server.request("GET", "/page/page.js").body)

    def test_the_page_names_nothing_outside(self):
        for target, _, content in files():
            text = content.decode("utf-8").replace("http://www.w3.org/2000/svg", "")
            self.assertNotRegex(text, r"https?://|[\"'(]//", target)
            self.assertNotRegex(text, r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function", target)
        page = self.server.request("GET", "/").body.decode("utf-8")
        for address in re.findall(r"(?:src|href)=\"([^\"#][^\"]*)\"", page):
            self.check(self.server.request("GET", address), 200)


if __name__ == "__main__":
    unittest.main()
