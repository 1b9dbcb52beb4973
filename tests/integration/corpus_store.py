# SPDX-License-Identifier: MIT
"""More of the corpus: what goes into the store and comes out of it, and who may ask. See corpus.py for what a case is."""
import gzip
import hashlib
import json
import urllib.parse

from corpus import ABSENT, CLOSED, EITHER, LIVE, OLD, Await, Head, Json, Lacks, case, category, get, head, put


def quote(data):
    return urllib.parse.quote(data, safe="")


def path(key):
    return b"/keys/KEY" + quote(key).encode()


def put_to(key, value, *fields):
    return head(b"PUT " + path(key), b"Content-Length: %d" % len(value), *fields) + value


def is_text(data):
    try:
        return bool(data.decode("utf-8"))
    except UnicodeDecodeError:
        return False


# ---------------------------------------------------------------- collation: keys are bytes, whatever they look like
category("collation")

for name, one, other in [
        ("accent", "é", "e"), ("composed_or_not", "é", "e\u0301"), ("sharp_s", "ß", "ss"), ("dotted_i", "İ", "i"),
        ("dotless_i", "ı", "i"), ("full_width", "ａ", "a"), ("ligature", "ﬁ", "fi"), ("kelvin", "\u212a", "k"),
        ("soft_hyphen", "a\u00adb", "ab"), ("zero_width_joiner", "a\u200db", "ab"), ("byte_order_mark", "\ufeffa", "a"),
        ("right_to_left_mark", "a\u200f", "a"), ("kana", "か", "カ"), ("digits", "١", "1"), ("circled", "①", "1"),
        ("final_sigma", "ς", "σ"), ("latin_and_cyrillic", "a", "а"), ("beyond_the_basic_plane", "😀", "😁"),
        ("no_break_space", "a\u00a0", "a "), ("ideographic_space", "a\u3000", "a "), ("tab_last", "a\t", "a"),
        ("line_feed_last", "a\n", "a"), ("case_of_a_letter_with_accent", "É", "é"), ("unicode_quote", "ʼ", "'"),
        ("full_width_quote", "＇", "'"), ("not_utf_8", b"\xff", b"\xfe"), ("cut_utf_8", b"\xc3", "Ã"),
        ("latin_1_and_utf_8", b"\xe1", "á"), ("surrogates", b"\xed\xa0\x80", b"\xed\xa0\x81"),
        ("overlong", b"\xc1\x81", "A"), ("replacement_character", b"\xff", "\ufffd"), ("question_mark", "😀", "?"),
        ("ff_last", b"a\xff", b"a\xff\xff"), ("nul_last", b"a\x00", b"a\x00\x00")]:
    one, other = (data if isinstance(data, bytes) else data.encode("utf-8") for data in (one, other))
    case(name, put_to(one, b"one") + put_to(other, b"other") + head(b"DELETE " + path(one)) + head(b"GET " + path(one)),
         [201, 201, 204, 404], after={"KEY" + quote(other): b"other"})

# ---------------------------------------------------------------- SQL in keys, values, prefixes, types and bulks
category("sql")

INJECTIONS = [
    ("quote", b"'"), ("two_quotes", b"''"), ("double_quote", b'"'), ("backtick", b"`"), ("backslash", b"\\"),
    ("two_backslashes", b"\\\\"), ("backslash_and_quote", b"\\'"), ("quote_and_backslash", b"'\\"),
    ("backslash_and_nul", b"\\\x00"), ("backslash_zero", b"\\0"), ("backslash_z", b"\\Z"), ("backslash_n", b"\\N"),
    ("backslash_percent", b"\\%"), ("substitute", b"\x1a"), ("nul", b"\x00"), ("nul_and_quote", b"\x00'"),
    ("line_feed", b"\n"), ("crlf", b"\r\n"), ("comment", b"'-- "), ("hash", b"'#"), ("slash_star", b"'/*"),
    ("star_slash", b"*/'"), ("executed_comment", b"/*!50000 OR 1=1*/"), ("mariadb_comment", b"/*M!100000 OR 1=1*/"),
    ("or_true", b"' OR '1'='1"), ("or_true_unquoted", b" OR 1=1"), ("union", b"' UNION SELECT 1,2,3,4 -- "),
    ("stacked", b"'; DROP TABLE pairs; -- "), ("closed_row", b"'),('x','y"), ("sleep", b"' AND SLEEP(9) -- "),
    ("wildcard_percent", b"%"), ("wildcard_underscore", b"_"), ("placeholder", b"?"), ("named", b":v"), ("at", b"@@version"),
    ("hexadecimal", b"0x27"), ("x_literal", b"x'27'"), ("introducer", b"_gbk'"), ("null", b"NULL"), ("semicolon", b";"),
    ("delimiter", b"DELIMITER ;;"), ("source", b"\\! id"), ("format", b"%s%n%d"), ("dollar_quote", b"$$"),
    ("gbk_bf27", b"\xbf'"), ("gbk_bf5c27", b"\xbf\\'"), ("gbk_bf5c", b"\xbf\\"), ("sjis_955c", b"\x95\\"),
    ("sjis_835c27", b"\x83\\'"), ("big5_a55c", b"\xa5\\"), ("gb18030_8130", b"\x810\\'"), ("cut_utf_8_and_quote", b"\xe3'"),
    ("utf_8_quote_overlong", b"\xc0\xa7"), ("utf_16_quote", b"\x00'\x00 \x00O\x00R"), ("high_bytes_and_quote", b"\xff\xfe'"),
    ("escapes_only", b"'\\\x00\x1a\n\r\"" * 20), ("quotes_only", b"'" * 300), ("backslashes_only", b"\\" * 301)]
for name, text in INJECTIONS:
    field = [b"Content-Type: a/b; x=" + text] if text.isascii() and text.decode().isprintable() and len(text) < 99 else []
    again = b'{"op":"put","key":"KEY%s","value":"%s"}\n' % ((json.dumps(text.decode())[1:-1].encode(),) * 2) \
        if is_text(text) else None
    case(name, put_to(text, text, *field) + head(b"GET " + path(text)) + head(b"GET " + path(text) + b":") +
         head(b"GET /keys?prefix=KEY%s&after=KEY%s&delimiter=%s" % ((quote(text).encode(),) * 3)) +
         head(b"DELETE " + path(text)) + head(b"GET " + path(text)) +
         (head(b"POST /bulk", b"Content-Length: %d" % len(again)) + again if again else put_to(text, text)),
         [201, 200, 200, 200, 204, 404, 200 if again else 201], before={"KEY": b"old"},
         after={"KEY": b"old", "KEY" + quote(text): text},
         body={1: text, 2: Json(json.dumps(["KEY" + text.decode()])) if is_text(text) else ...})

# ---------------------------------------------------------------- values are opaque
category("values")

BOMB = gzip.compress(bytes(100 << 20), mtime=0)
for size in (0, 1, 250, 251, 252, 253, 255, 256, 16383, 16384, 16385, 65534, 65535, 65536, 65537, 131072, 262143, 262144,
             (1 << 20) - 1):
    case("%d_bytes" % size, put(b"s" * size) + get(), [201, 200], body={1: b"s" * size})
for name, value in [
        ("one_nul", b"\x00"), ("a_run_of_nul", b"\x00" * 300000), ("nul_and_text", b"a\x00b\x00"), ("all_bytes", bytes(range(256)) * 9),
        ("all_ff", b"\xff" * 70000), ("all_escaped_in_sql", b"'\\\x00\x1a" * 60000), ("a_gzip_bomb", BOMB),
        ("a_zip_of_nothing", b"PK\x05\x06" + bytes(18)), ("the_end_of_chunks", b"0\r\n\r\n"), ("an_answer", b"HTTP/1.1 200 OK\r\n\r\n"),
        ("a_request", LIVE), ("crlf", b"\r\n" * 50), ("null_of_sql", b"NULL"), ("n_of_dumps", b"\\N"), ("json", b'{"a":1}'),
        ("a_number", b"1e400"), ("a_byte_order_mark", b"\xef\xbb\xbf"), ("utf_16", "ü".encode("utf-16")), ("not_utf_8", b"\xc3\x28"),
        ("nested_entities", b'<!DOCTYPE a [<!ENTITY b "b"><!ENTITY c "&b;&b;">]><a>&c;</a>'), ("an_escape_sequence", b"\x1b[2J"),
        ("java_serialized", b"\xac\xed\x00\x05"), ("a_pickle", b"cos\nsystem\n(S'id'\ntR.")]:
    case(name, put(value) + get(b"Accept-Encoding: gzip, deflate, br"), [201, 200], body={1: value},
         header={1: {"Content-Encoding": None, "Content-Length": str(len(value))}})
for name, kind, value in [
        ("html_with_a_script", b"text/html", b"<script>alert(1)</script>"),
        ("svg_with_a_script", b"image/svg+xml", b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'),
        ("xhtml", b"application/xhtml+xml", b"<html/>"), ("xml_with_a_stylesheet", b"text/xml", b"<?xml-stylesheet href='x'?><a/>"),
        ("a_script", b"text/javascript", b"alert(1)"), ("a_pdf", b"application/pdf", b"%PDF-1.4"),
        ("no_type_that_looks_like_html", b"", b"<html><script>alert(1)</script>"),
        ("a_wrong_type_that_looks_like_html", b"image/png", b"<html><script>alert(1)</script>"),
        ("multipart", b"multipart/x-mixed-replace; boundary=x", b"--x\r\nContent-Type: text/html\r\n\r\n<script>")]:
    case(name, put(value, *[b"Content-Type: " + kind] if kind else []) + get(), [201, 200], body={1: value},
         header={1: {"Content-Security-Policy": "sandbox", "X-Content-Type-Options": "nosniff",
                     "Content-Type": kind.decode() or "application/octet-stream"}})

# ---------------------------------------------------------------- headers that were stored
category("stored_headers")

# By SQL anything can be in the column `type`.
for name, stored in [
        ("crlf", b"a/b\r\nSet-Cookie: a=b"), ("crlf_crlf", b"a/b\r\n\r\n<script>"), ("lf", b"a/b\nSet-Cookie: a=b"), ("cr", b"a/b\rX: y"),
        ("nul", b"a/b\x00c"), ("escape", b"\x1b[2J"), ("del", b"a/b\x7f"), ("tab", b"a/b\tc"), ("only_crlf", b"\r\n"), ("empty", b""),
        ("unicode_line_separator_cut", b"a/b\x0a\x0d"), ("vertical_tab", b"a/b\x0bX: y")]:
    case("type_of_sql_with_" + name, get() + LIVE, [200, 200], before={"KEY": b"v"}, stored_type=stored,
         header={0: {"Content-Type": "application/octet-stream", "Set-Cookie": None, "X": None}}, body={0: b"v", 1: b"ok\n"})
for form in (b"application/json", b"text/html", b"application/xml", b"application/x-ndjson"):
    case("type_of_sql_in_%s" % form.decode().replace("/", "_"), head(b"GET /keys?prefix=KEY&limit=9", b"Accept: " + form) + LIVE, [200, 200],
         before={"KEY": b"v"}, stored_type=b"a/b\r\nSet-Cookie: \x00<script>\"'\xff", header={0: {"Set-Cookie": None}},
         body={0: Lacks(b"<script>"), 1: b"ok\n"} if b"json" not in form else {0: Lacks(b"\r"), 1: b"ok\n"})
for name, key in [("a_script", b"<script>alert(1)</script>"), ("an_attribute", b'" onmouseover="alert(1)'), ("an_entity", b"&lt;b&gt;"),
                  ("a_comment", b"--><script>"), ("crlf", b"\r\nSet-Cookie: a=b"), ("a_javascript_url", b"javascript:alert(1)")]:
    for form in (b"text/html", b"application/xml"):
        case("key_with_%s_in_%s" % (name, form.decode().split("/")[1]), put_to(key, b"v") +
             head(b"GET /keys?prefix=KEY&limit=1", b"Accept: " + form), [201, 200],
             body={1: Lacks(key)} if name != "a_javascript_url" else {1: Lacks(b'"javascript:')}, header={1: {"Set-Cookie": None}})
case("crlf_in_a_key_does_not_reach_link", put_to(b"\r\nSet-Cookie: a", b"1") + put_to(b"\r\nSet-Cookie: b", b"2") +
     head(b"GET /keys?prefix=KEY&limit=1"), [201, 201, 200], header={2: {"Set-Cookie": None, "Link": ...}})
for name, text in [("crlf", b"a\\r\\nSet-Cookie: x"), ("lf", b"a\\nX: y"), ("nul", b"a\\u0000"), ("del", b"a\\u007f"), ("tab", b"a\\tb")]:
    line = b'{"op":"put","key":"KEY","value":"v","type":"%s"}\n' % text
    case("type_of_a_bulk_with_" + name, head(b"POST /bulk", b"Content-Length: %d" % len(line)) + line, [200], after={"KEY": ABSENT},
         body={0: Lacks(b'"status":201')})

# ---------------------------------------------------------------- tokens of lists and of changes, forged or cut
category("tokens")

EVENTS = b"Accept: text/event-stream"
JSON = b"Accept: application/json"
FORGED = [
    ("a_word", b"yesterday"), ("a_negative", b"-1"), ("one", b"1"), ("a_dot", b"."), ("an_underscore", b"_"), ("two_dots_only", b".."),
    ("partition_without_number", b"1."), ("number_without_partition", b".5"), ("mark_without_number", b"1.-7"), ("no_mark", b"1.5-"),
    ("no_time", b"1.t"), ("no_newest", b"1.5-7v"), ("newest_twice", b"1.5-7v1v1"), ("partition_zero", b"0.5-7"),
    ("partition_negative", b"-1.5-7"), ("partition_plus", b"+1.5-7"), ("partition_twice", b"1.5-7_1.5-7"), 
    ("number_beyond_64_bits", b"1.18446744073709551616-7"), ("mark_beyond_24_bits", b"1.5-16777217"),
    ("time_beyond_64_bits", b"1.t99999999999999999999"), ("hexadecimal", b"1.0x5-7"), ("a_blank", b"1.5-7%20"),
    ("nul", b"1.5-7%00"), ("crlf", b"1.5-7%0d%0aX:%20y"), ("utf_8", b"1.%D9%A5-7"), ("gap_beyond_the_end", b"1.5-7~9"), ("gap_zero", b"1.5-7~0"),
    ("gaps_backwards", b"1.9-7~5~3"), ("gap_twice", b"1.9-7~5~5"), ("gap_reversed", b"1.9-7~5-3"), ("gap_empty", b"1.9-7~"),
    ("gap_open", b"1.9-7~5-"), ("quote", b"1.5-7'"), ("key_not_base64", b"1.5-7..*"),
    ("key_with_padding", b"1.5-7..YQ=="), ("key_of_one_letter", b"1.5-7..a"), ("key_twice", b"1.5-7..YQ..YQ"),
    ("key_of_600_bytes", b"1.5-7.." + b"YWFh" * 200), ("a_separator_last", b"1.5-7_"), ("two_separators", b"1.5-7__2.5-7"),
    ("a_long_token", b"1.5-7" + b"~1" * 5000), ("a_comma", b"1.5-7,2.5-7"), ("json", b'{"1":5}'.replace(b'"', b"%22").replace(b"{", b"%7b").replace(b"}", b"%7d"))]
for name, token in FORGED:
    case("since_" + name, head(b"GET /changes?wait=0&since=" + token, JSON) + LIVE, [400, 200])
for name, token in [("mark_zero", b"1.5-0"), ("partitions_backwards", b"2.5-7_1.5-7"), ("number_with_zeros", b"1.0005-7"), ("gap_touching", b"1.9-7~4~5")]:
    case("since_with_" + name, head(b"GET /changes?wait=0&since=" + token, JSON) + LIVE, [(200, 400, 410), 200])  # means what it says
for name, query, status in [
        ("since_empty", b"since=", 400), ("since_twice", b"since=0&since=0", 400), ("since_of_a_partition_that_is_not", b"since=4.5-7", 503),
        ("since_of_the_far_future", b"since=1.t18446744073709551615", (200, 400, 410)), ("since_of_another_log", b"since=1.999999-7", (200, 410)),
        ("since_0", b"since=0", 200), ("since_now", b"since=now", 200), ("limit_0", b"limit=0", 400), ("limit_10001", b"limit=10001", 400),
        ("include_other", b"include=key", 400), ("wait_301", b"wait=301", 400), ("unknown", b"cursor=1", 400), ("prefix_bad", b"prefix=%g0", 400)]:
    case("changes_" + name, head(b"GET /changes?%s%s" % (query, b"&wait=0" if b"wait" not in query else b""), JSON) + LIVE, [status, 200])
for name, event in [("crlf", b"1.5-7\tX"), ("a_word", b"last"), ("a_number", b"42"), ("quotes", b"'1.5-7'"), ("obs_text", b"\xff")]:
    case("last_event_id_" + name, head(b"GET /changes", EVENTS, b"Last-Event-ID: " + event), [400], EITHER)
case("last_event_id_twice", head(b"GET /changes", EVENTS, b"Last-Event-ID: 0", b"Last-Event-ID: 0"), [400], EITHER)
for name, after in [("nul", b"%00"), ("ff", b"%ff" * 512), ("quote", b"%27"), ("behind_the_prefix", b"zzzz"), ("before_the_prefix", b"%01")]:
    case("list_after_" + name, head(b"GET /keys?prefix=KEY&after=" + after), [200])
for name, after in [("513_bytes", b"a" * 513), ("cut_percent", b"a%4"), ("no_percent", b"%")]:
    case("list_after_" + name, head(b"GET /keys?prefix=KEY&after=" + after), [(400, 414)], EITHER)

# ---------------------------------------------------------------- authorization, on a server with these tokens
category("authorization")

READER, WRITER, OWNER = (name + b"x" * (43 - len(name)) for name in (b"reader-", b"writer-", b"owner-"))
TOKENS = {"token-reader": {"read": "mine/"}, "token-writer": {"write": "mine/"},
          "token-owner": {"read": "*", "write": "*", "admin": "yes"}}
for section, token in zip(TOKENS.values(), (READER, WRITER, OWNER)):
    section["sha256"] = hashlib.sha256(token).hexdigest()
MINE = {"mine/KEY": b"mine", "KEY": b"others'"}


def ask(line, token, body=None, *fields):
    length = [b"Content-Length: %d" % len(body)] if body is not None else []
    bearer = [b"Authorization: Bearer " + token] if token else []
    return head(line, *length, *bearer, *fields) + (body or b"")


for name, value in [
        ("nothing", None), ("empty", b""), ("only_the_scheme", b"Bearer"), ("the_scheme_and_a_blank", b"Bearer "), ("no_scheme", OWNER),
        ("another_scheme", b"Basic " + OWNER), ("digest", b'Digest username="owner"'), ("a_scheme_that_begins_so", b"BearerX " + OWNER),
        ("no_blank", b"Bearer" + OWNER), ("a_wrong_token", b"Bearer " + b"x" * 43), ("one_byte_less", b"Bearer " + OWNER[:-1]),
        ("one_byte_more", b"Bearer " + OWNER + b"x"), ("upper_case", b"Bearer " + OWNER.upper()), ("a_word_more", b"Bearer " + OWNER + b" x"),
        ("two_in_a_list", b"Bearer " + OWNER + b", Bearer " + OWNER), ("quoted", b'Bearer "' + OWNER + b'"'), ("a_tab", b"Bearer\t" + OWNER),
        ("its_hash", b"Bearer " + TOKENS["token-owner"]["sha256"].encode()), ("its_name", b"Bearer owner"), ("8_kb", b"Bearer " + b"x" * 8192),
        ("obs_text", b"Bearer " + b"\xff" * 43), ("a_json_web_token_of_none", b"Bearer eyJhbGciOiJub25lIn0.eyJhZG1pbiI6dHJ1ZX0."),
        ("percent_encoded", b"Bearer %6f" + OWNER[1:]), ("sql", b"Bearer ' OR 1=1 -- ")]:
    case("401_for_" + name, head(b"GET /keys/KEY", *[b"Authorization: " + value] if value is not None else []), [401], before=MINE,
         header={0: {"WWW-Authenticate": 'Bearer realm="sherd"'}}, body={0: Lacks(b"others'")})
for name, field in [("in_lower_case", b"authorization: bearer " + OWNER), ("in_upper_case", b"AUTHORIZATION: BEARER " + OWNER),
                    ("behind_two_blanks", b"Authorization: Bearer  " + OWNER)]:
    case("a_token_" + name, head(b"GET /keys/KEY", field), [200], before=MINE, body={0: b"others'"})
case("a_token_twice", head(b"GET /keys/KEY", *[b"Authorization: Bearer " + OWNER] * 2), [(400, 401)], EITHER, before=MINE)
case("a_wrong_token_and_the_right_one", head(b"GET /keys/KEY", b"Authorization: Bearer x", b"Authorization: Bearer " + OWNER), [(400, 401)], EITHER)
case("a_token_in_the_query", head(b"GET /keys/KEY?access_token=" + OWNER), [(400, 401)], EITHER, before=MINE, body={0: Lacks(b"others'")})
case("a_token_in_the_address", head(b"GET http://owner:%s@x/keys/KEY" % OWNER), [(400, 401)], EITHER, before=MINE, body={0: Lacks(b"others'")})
case("a_token_in_a_cookie", head(b"GET /keys/KEY", b"Cookie: token=" + OWNER), [401], before=MINE)
case("a_token_for_the_proxy", head(b"GET /keys/KEY", b"Proxy-Authorization: Bearer " + OWNER), [401], before=MINE)
for name, field in [("x_forwarded_for", b"X-Forwarded-For: 127.0.0.1"), ("forwarded", b"Forwarded: for=127.0.0.1"), ("x_real_ip", b"X-Real-IP: 127.0.0.1"),
                    ("x_original_url", b"X-Original-URL: /livez"), ("x_rewrite_url", b"X-Rewrite-URL: /livez"), ("x_remote_user", b"X-Remote-User: owner"),
                    ("host", b"X-Forwarded-Host: localhost"), ("method_override", b"X-HTTP-Method-Override: OPTIONS")]:
    case("401_whatever_%s_says" % name, head(b"GET /keys/KEY", field), [401], before=MINE)
case("a_connection_does_not_stay_signed_in", ask(b"GET /keys/KEY", OWNER) + get() + ask(b"GET /keys/KEY", OWNER), [200, 401, 200], before=MINE)
case("a_body_behind_401_is_not_a_request", head(b"PUT /keys/KEY", b"Content-Length: %d" % len(LIVE)) + LIVE, [401], EITHER, before=MINE, after=MINE)
case("no_continue_for_401", head(b"PUT /keys/KEY", b"Content-Length: 5", b"Expect: 100-continue"), [401], EITHER, before=MINE, after=MINE)
case("no_continue_for_403", ask(b"PUT /keys/KEY", WRITER, None, b"Content-Length: 5", b"Expect: 100-continue"), [403], EITHER, before=MINE, after=MINE)
case("continue_with_a_token", [ask(b"PUT /keys/mine/KEY", WRITER, None, b"Content-Length: 5", b"Expect: 100-continue"), Await(1), b"hello"], [100, 204],
     before=MINE, after={"mine/KEY": b"hello"})
for name, key, status in [
        ("below_the_prefix", b"mine/KEY", 200), ("of_others", b"KEY", 403), ("of_others_that_is_not", b"KEY2", 403), ("the_prefix_cut", b"mine", 403),
        ("the_prefix_itself", b"mine/", 404), ("encoded", b"%6Di%6ee%2fKEY", 200), ("in_upper_case", b"MINE/KEY", 403), ("with_two_slashes", b"mine//KEY", 404),
        ("with_a_slash_before", b"/mine/KEY", 403), ("with_dots_is_a_name_below", b"mine/../KEY", 404), ("with_dots_before", b"x/../mine/KEY", 403),
        ("with_encoded_dots", b"mine/%2e%2e/KEY", 404), ("with_nul_before", b"%00mine/KEY", 403), ("with_an_overlong_slash", b"mine%C0%AFKEY", 403),
        ("with_a_backslash", b"mine%5CKEY", 403), ("encoded_twice", b"mine%252FKEY", 403), ("full_width", b"%EF%BD%8Dine/KEY", 403), ("with_a_blank", b"%20mine/KEY", 403)]:
    case("a_key_" + name, ask(b"GET /keys/" + key, READER), [status], before=MINE, body={0: Lacks(b"others'")})
for name, line, token, body in [
        ("write_with_read", b"PUT /keys/mine/KEY", READER, b"x"), ("delete_with_read", b"DELETE /keys/mine/KEY", READER, None),
        ("read_with_write", b"GET /keys/mine/KEY", WRITER, None), ("write_elsewhere", b"PUT /keys/KEY", WRITER, b"x"),
        ("delete_elsewhere", b"DELETE /keys/KEY", WRITER, None), ("clear_more_than_may_be_written", b"DELETE /keys/m:", WRITER, None),
        ("clear_everything", b"DELETE /keys/:", WRITER, None), ("status", b"GET /status", READER, None), ("metrics", b"GET /metrics", WRITER, None)]:
    case("403_for_" + name, ask(line, token, body), [403], EITHER, before=MINE, after=MINE, body={0: Lacks(b"others'")})
case("a_condition_tells_nothing", ask(b"GET /keys/KEY", READER, None, b"If-None-Match: *") + ask(b"GET /keys/KEY2", READER, None, b"If-None-Match: *"), [403, 403], before=MINE)
case("a_condition_of_a_write_tells_nothing", ask(b"PUT /keys/KEY", WRITER, b"x", b"If-None-Match: *") + ask(b"PUT /keys/KEY2", WRITER, b"x", b"If-Match: *"), [403, 403], EITHER, before=MINE, after=MINE)
case("a_conditional_write_without_read_tells_no_more_than_its_status", ask(b"PUT /keys/mine/KEY", WRITER, b"x", b'If-Match: "1"'), [412], before=MINE, after=MINE, body={0: Lacks(b"mine\n")})
case("a_range_of_others", ask(b"GET /keys/KEY", READER, None, b"Range: bytes=0-0"), [403], before=MINE, header={0: {"Content-Range": None}})
case("head_of_others", ask(b"HEAD /keys/KEY", READER), [Head(403)], before=MINE, header={0: {"ETag": None}})
case("a_list_shows_what_may_be_read", ask(b"GET /keys?prefix=mine/KEY", READER, None, b"Accept: text/plain"), [200], before=MINE, body={0: b"mine/KEY\n"})
case("a_list_of_others_is_empty", ask(b"GET /keys?prefix=KEY", READER, None, b"Accept: text/plain"), [200], before=MINE, body={0: b""})
case("a_folded_list_of_others_is_empty", ask(b"GET /keys?prefix=KEY&delimiter=/", READER, None, b"Accept: text/plain"), [200], before={"KEY/a": b""}, body={0: b""})
case("a_colon_of_others_is_empty", ask(b"GET /keys/KEY:", READER), [200], before=MINE, body={0: Json("[]")})
case("a_list_without_read", ask(b"GET /keys?prefix=mine/", WRITER, None, b"Accept: text/plain"), [(200, 403)], before=MINE, body={0: Lacks(b"KEY")})
LINES = b'{"op":"get","key":"KEY"}\n{"op":"put","key":"KEY","value":"x"}\n{"op":"delete","key":"KEY"}\n'
case("a_bulk_of_others", ask(b"POST /bulk", WRITER, LINES), [200], before=MINE, after=MINE, body={0: Lacks(b'"status":2')})
case("changes_of_others", ask(b"GET /changes?since=0&wait=0&prefix=KEY", READER, None, JSON), [200], before=MINE, body={0: Lacks(b'"KEY"')})
for name, line, status in [("livez", b"GET /livez", 200), ("readyz", b"GET /readyz", 200), ("the_page", b"GET /", 200), ("options", b"OPTIONS /keys/KEY", 204)]:
    case("no_token_for_" + name, head(line), [status])

# ---------------------------------------------------------------- browsers, on a server without tokens for this machine
category("browsers")


def of(host, line=b"GET /keys/KEY", *fields):
    return b"\r\n".join((line + b" HTTP/1.1", b"Host: " + host) + fields) + b"\r\n\r\n"


def write(*fields):
    return of(b"localhost", b"PUT /keys/KEY", b"Content-Length: 1", *fields) + b"x"


for name, host in [("localhost", b"localhost"), ("a_port", b"localhost:8080"), ("upper_case", b"LocalHost"), ("ipv4", b"127.0.0.1"),
                   ("another_of_127", b"127.8.9.10:1"), ("ipv6", b"[::1]"), ("ipv6_and_port", b"[::1]:8080")]:
    case("host_" + name, of(host), [200], before=OLD)
for name, host in [("a_name", b"example.com"), ("a_name_that_may_point_here", b"127.0.0.1.nip.io"), ("a_name_below_localhost", b"evil.localhost"),
                   ("localhost_below_a_name", b"localhost.evil.example"), ("localhost_with_a_dot", b"localhost."), ("any_ipv4", b"0.0.0.0"),
                   ("any_ipv6", b"[::]"), ("mapped_ipv4", b"[::ffff:127.0.0.1]"), ("a_short_ipv4", b"127.1"), ("a_decimal_ipv4", b"2130706433"),
                   ("a_hexadecimal_ipv4", b"0x7f.0.0.1"), ("five_parts", b"127.0.0.1.1"), ("a_name_of_one_label_behind", b"127.0.0.1.com"), ("a_padded_name", b"127.0.0.000123.xyz"), ("a_part_too_large", b"127.0.0.256"),
                   ("a_word_behind_127", b"127.example.com"), ("an_empty_part", b"127.0..1"), ("a_private_address", b"10.0.0.1"), ("link_local", b"169.254.169.254")]:
    case("host_is_not_" + name, of(host), [421], EITHER, before=OLD, body={0: Lacks(b"old")})
case("the_target_counts_more_than_host", of(b"localhost", b"GET http://example.com/keys/KEY"), [421], EITHER, before=OLD)
case("no_host_in_http_1_0_is_no_browser", b"GET /keys/KEY HTTP/1.0\r\n\r\n", [200], CLOSED, before=OLD)
case("a_write_to_another_host", of(b"example.com", b"PUT /keys/KEY", b"Content-Length: 1") + b"x", [421], EITHER, before=OLD, after=OLD)
for name, fields in [
        ("another_origin", [b"Origin: https://evil.example"]), ("null", [b"Origin: null"]), ("an_empty_origin", [b"Origin:"]),
        ("another_port", [b"Origin: http://localhost:3000"]), ("another_name_of_this_machine", [b"Origin: http://127.0.0.1"]),
        ("a_name_that_begins_so", [b"Origin: http://localhost.evil.example"]), ("a_user", [b"Origin: http://localhost@evil.example"]),
        ("a_file", [b"Origin: file://localhost"]), ("an_extension", [b"Origin: chrome-extension://localhost"]), ("a_path", [b"Origin: http://localhost/"]),
        ("two_origins_in_one", [b"Origin: http://localhost http://evil.example"]), ("cross_site", [b"Sec-Fetch-Site: cross-site"]),
        ("a_form", [b"Origin: https://evil.example", b"Content-Type: application/x-www-form-urlencoded"]),
        ("a_beacon", [b"Origin: https://evil.example", b"Content-Type: text/plain"]),
        ("a_navigation", [b"Sec-Fetch-Site: cross-site", b"Sec-Fetch-Mode: navigate"])]:
    case("no_write_from_" + name, write(*fields), [403], EITHER, before=OLD, after=OLD)
for name, line, body in [("delete", b"DELETE /keys/KEY", None), ("clear", b"DELETE /keys/KEY:", None), ("bulk", b"POST /bulk", b'{"op":"delete","key":"KEY"}\n')]:
    case("no_%s_from_another_origin" % name, of(b"localhost", line, b"Origin: https://evil.example", b"Content-Length: %d" % len(body or b"")) + (body or b""),
         [403], EITHER, before=OLD, after=OLD)
case("two_origin_lines", write(b"Origin: http://localhost", b"Origin: https://evil.example"), [(400, 403)], EITHER, before=OLD, after=OLD)
for name, fields in [("its_own_page", [b"Origin: http://localhost", b"Sec-Fetch-Site: same-origin"]), ("no_browser", []), ("the_address_bar", [b"Sec-Fetch-Site: none"])]:
    case("a_write_from_" + name, write(*fields), [204], before=OLD, after={"KEY": b"x"})
for name, fields in [("a_foreign_page", [b"Origin: https://evil.example"]), ("an_image", [b"Sec-Fetch-Site: cross-site", b"Sec-Fetch-Dest: image"])]:
    case("a_read_from_%s_may_not_be_looked_at" % name, of(b"localhost", b"GET /keys/KEY", *fields), [200], before=OLD,
         header={0: {"Access-Control-Allow-Origin": None, "Access-Control-Allow-Credentials": None, "X-Content-Type-Options": "nosniff",
                     "Cross-Origin-Resource-Policy": "same-origin"}})
case("whether_a_key_is_there_may_not_be_looked_at", of(b"localhost", b"GET /keys/KEY", b"Sec-Fetch-Site: cross-site") + of(b"localhost", b"GET /keys"), [404, 200],
     header={i: {"Cross-Origin-Resource-Policy": "same-origin"} for i in (0, 1)})
case("a_preflight_allows_nothing", of(b"localhost", b"OPTIONS /keys/KEY", b"Origin: https://evil.example", b"Access-Control-Request-Method: PUT"), [204],
     header={0: {"Access-Control-Allow-Origin": None, "Access-Control-Allow-Methods": None}})
case("a_preflight_to_a_private_network", of(b"localhost", b"OPTIONS /keys/KEY", b"Origin: https://evil.example", b"Access-Control-Request-Method: GET",
                                            b"Access-Control-Request-Private-Network: true"), [204], header={0: {"Access-Control-Allow-Private-Network": None}})
for name, line in [("method", b"GET /keys/KEY?_method=DELETE"), ("jsonp", b"GET /keys?callback=alert"), ("delete", b"GET /keys/KEY?delete")]:
    case("a_query_does_not_change_the_" + name, of(b"localhost", line), [400], EITHER, before=OLD, after=OLD)
case("a_header_does_not_change_the_method", of(b"localhost", b"GET /keys/KEY", b"X-HTTP-Method-Override: DELETE"), [200], before=OLD, after=OLD)
case("a_service_worker_is_sandboxed", of(b"localhost", b"GET /keys/KEY", b"Service-Worker: script"), [200], before=OLD,
     header={0: {"Service-Worker-Allowed": None, "Content-Security-Policy": "sandbox"}})
case("a_websocket_from_a_page", of(b"localhost", b"GET /keys/KEY", b"Connection: Upgrade", b"Upgrade: websocket", b"Origin: https://evil.example",
                                   b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="), [200], before=OLD)
case("trace_shows_no_header", of(b"localhost", b"TRACE /keys/KEY", b"Cookie: secret"), [(405, 501)], EITHER, body={0: Lacks(b"secret")})
