# SPDX-License-Identifier: MIT
"""Raw HTTP requests and what must come back: data for test_corpus.py.

A case sends bytes on a new connection and names the statuses that come back, in order. In its bytes
and names of keys, KEY stands for a key of the case's own (of three bytes too, so that lengths stay
right), ETAG and MODIFIED for the entity tag and Last-Modified of its pair, PAST and FUTURE for dates.

  send       bytes, or a list of steps: bytes (one write each) and the objects below
  expect     statuses; a tuple where the contract leaves a choice; Head(200) answers a HEAD;
             Maybe(100) may also not come
  then       KEPT: the connection takes another request; CLOSED: the server ends it; EITHER
  before     {key: value} that is stored first
  after      {key: value or ABSENT} that a fresh connection then finds
  stored_type  what SQL then writes into the pair's column `type`
  body       {index: bytes, Json or Lacks} of answers, header {index: {name: value or None}}, where `...` is anything
"""
import collections

KEPT, CLOSED, EITHER = "kept", "closed", "either"
ABSENT = None
FUTURE = b"Fri, 01 Jan 2100 00:00:00 GMT"
PAST = b"Sat, 01 Jan 2000 00:00:00 GMT"

Head = collections.namedtuple("Head", "status")
Maybe = collections.namedtuple("Maybe", "status")
Bytewise = collections.namedtuple("Bytewise", "data")  # a write a byte
Json = collections.namedtuple("Json", "text")  # a body with this value
Lacks = collections.namedtuple("Lacks", "data")  # a body without these bytes
Await = collections.namedtuple("Await", "count")  # goes on when so many answers have come
HALF_CLOSE, RESET = "half-close", "reset"
TRICKLE = "trickle"  # header lines, one every 100 ms, until the server answers

Case = collections.namedtuple("Case", "name send expect then before after body header stored_type")

CASES = collections.OrderedDict()  # category: list of cases


def category(name):
    CASES[name] = []


def case(name, send, expect, then=KEPT, before=None, after=None, body=None, header=None, stored_type=None):
    send = send if isinstance(send, list) else [send]
    list(CASES.values())[-1].append(
        Case(name, send, expect, then, before or {}, after or {}, body or {}, header or {}, stored_type))


def head(line, *fields):
    """A head of HTTP/1.1 with a Host."""
    return b"\r\n".join((line + b" HTTP/1.1", b"Host: x") + fields) + b"\r\n\r\n"


def get(*fields):
    return head(b"GET /keys/KEY", *fields)


def put(body, *fields):
    return head(b"PUT /keys/KEY", b"Content-Length: %d" % len(body), *fields) + body


def delete(*fields):
    return head(b"DELETE /keys/KEY", *fields)


def chunked(body, *fields):
    """A PUT whose chunked body is given as it goes over the wire."""
    return head(b"PUT /keys/KEY", b"Transfer-Encoding: chunked", *fields) + body


LIVE = head(b"GET /livez")
OLD = {"KEY": b"old"}
TEN = {"KEY": b"0123456789"}
SMUGGLED = head(b"DELETE /keys/KEY")  # what a confused parser would carry out
NOT_STORED = {"KEY": ABSENT}

# ---------------------------------------------------------------- Content-Length
category("framing")

for name, fields in [
        ("content_length_twice_and_different", [b"Content-Length: 3", b"Content-Length: 4"]),
        ("content_length_twice_and_equal", [b"Content-Length: 3", b"Content-Length: 3"]),
        ("content_length_twice_in_other_case", [b"Content-Length: 3", b"CONTENT-LENGTH: 4"]),
        ("content_length_as_a_list_of_equals", [b"Content-Length: 3, 3"]),
        ("content_length_as_a_list", [b"Content-Length: 3, 4"]),
        ("content_length_with_plus", [b"Content-Length: +3"]),
        ("content_length_negative", [b"Content-Length: -3"]),
        ("content_length_hexadecimal", [b"Content-Length: 0x3"]),
        ("content_length_empty", [b"Content-Length:"]),
        ("content_length_fraction", [b"Content-Length: 3.0"]),
        ("content_length_exponent", [b"Content-Length: 3e0"]),
        ("content_length_with_a_gap", [b"Content-Length: 3 3"]),
        ("content_length_with_a_parameter", [b"Content-Length: 3;x"]),
        ("content_length_quoted", [b'Content-Length: "3"']),
        ("content_length_in_other_digits", [b"Content-Length: \xd9\xa3"]),
        ("content_length_with_vertical_tab", [b"Content-Length: \x0b3"]),
        ("content_length_name_with_space", [b"Content-Length : 3"]),
        ("content_length_name_with_tab", [b"Content-Length\t: 3"]),
        ("content_length_folded", [b"Content-Length:\r\n 3"]),
        ("content_length_then_chunked", [b"Content-Length: 3", b"Transfer-Encoding: chunked"]),
        ("chunked_then_content_length", [b"Transfer-Encoding: chunked", b"Content-Length: 3"]),
        ("chunked_with_length_zero", [b"Content-Length: 0", b"Transfer-Encoding: chunked"]),
        ("chunked_not_last", [b"Transfer-Encoding: chunked, gzip"]),
        ("chunked_twice_in_two_lines", [b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"]),
        ("chunked_folded", [b"Transfer-Encoding:\r\n chunked"]),
        ("transfer_encoding_with_space_before_colon", [b"Transfer-Encoding : chunked"]),
        ("transfer_encoding_with_vertical_tab", [b"Transfer-Encoding: \x0bchunked"]),
        ("transfer_encoding_with_nul", [b"Transfer-Encoding: chunked\x00"]),
]:
    case(name, head(b"PUT /keys/KEY", *fields) + b"3\r\nabc\r\n0\r\n\r\n" + LIVE, [400], CLOSED,
         after=NOT_STORED)

# RFC 9112, 6.3: where chunked is not the last coding, MUST be 400; 6.1: a coding not understood, SHOULD be 501.
for name, status, fields in [
        ("unknown_coding", 400, [b"Transfer-Encoding: xchunked"]),
        ("coding_chunkedx", 400, [b"Transfer-Encoding: chunkedx"]),
        ("coding_identity", 400, [b"Transfer-Encoding: identity"]),
        ("coding_gzip_alone", 400, [b"Transfer-Encoding: gzip"]),
        ("coding_empty", 400, [b"Transfer-Encoding:"]),
        ("coding_with_a_gap", 400, [b"Transfer-Encoding: chun ked"]),
        ("coding_with_parameter", (400, 501), [b"Transfer-Encoding: chunked;q=1"]),
        ("coding_quoted", (400, 501), [b'Transfer-Encoding: "chunked"']),
        ("coding_chunked_chunked", 400, [b"Transfer-Encoding: chunked, chunked"]),
        ("coding_gzip_below_chunked", 501, [b"Transfer-Encoding: gzip, chunked"]),
        ("coding_gzip_below_chunked_in_two_lines", (400, 501), [b"Transfer-Encoding: gzip",
                                                                b"Transfer-Encoding: chunked"]),
        ("coding_identity_below_chunked", (400, 501), [b"Transfer-Encoding: identity, chunked"]),
]:
    case(name, head(b"PUT /keys/KEY", *fields) + b"3\r\nabc\r\n0\r\n\r\n" + LIVE, [status], CLOSED, after=NOT_STORED)

for name, field in [("coding_in_upper_case", b"TRANSFER-ENCODING: CHUNKED"),
                    ("coding_between_blanks", b"Transfer-Encoding:   chunked  "),
                    ("coding_without_a_blank", b"Transfer-Encoding:chunked"),
                    ("coding_with_empty_elements", b"Transfer-Encoding: , chunked ,")]:
    case(name, head(b"PUT /keys/KEY", field) + b"3\r\nabc\r\n0\r\n\r\n" + LIVE,
         [201, 200] if name != "coding_with_empty_elements" else [(201, 400), Maybe(200)],
         KEPT if name != "coding_with_empty_elements" else EITHER)
case("chunked_in_http_1_0", b"PUT /keys/KEY HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"
     b"3\r\nabc\r\n0\r\n\r\n", [400], CLOSED, after=NOT_STORED)
case("content_length_of_2_to_the_64_plus_3", head(b"PUT /keys/KEY", b"Content-Length: 18446744073709551619")
     + b"abc" + LIVE, [(400, 413)], CLOSED, after=NOT_STORED)
case("content_length_of_40_digits", head(b"PUT /keys/KEY", b"Content-Length: " + b"9" * 40)
     + b"abc" + LIVE, [(400, 413)], CLOSED, after=NOT_STORED)
case("content_length_of_2_to_the_63", head(b"PUT /keys/KEY", b"Content-Length: 9223372036854775808")
     + b"abc" + LIVE, [(400, 413)], CLOSED, after=NOT_STORED)
case("content_length_of_1_tb", head(b"PUT /keys/KEY", b"Content-Length: 1099511627776")
     + b"abc" + LIVE, [413], CLOSED, after=NOT_STORED)
case("content_length_with_leading_zeros", head(b"PUT /keys/KEY", b"Content-Length: 0003") + b"abc",
     [201], after={"KEY": b"abc"})
case("content_length_between_blanks", head(b"PUT /keys/KEY", b"Content-Length:   3  ") + b"abc",
     [201], after={"KEY": b"abc"})
# Tabs are blanks too (RFC 9112, 5), but not to every parser: refusing them where they frame a body is safe.
case("content_length_between_tabs", head(b"PUT /keys/KEY", b"Content-Length:\t3\t") + b"abc", [(201, 400)], EITHER)
case("coding_between_tabs", head(b"PUT /keys/KEY", b"Transfer-Encoding:\tchunked\t") + b"0\r\n\r\n", [(201, 400)],
     EITHER)
case("content_length_without_a_blank", head(b"PUT /keys/KEY", b"Content-Length:3") + b"abc",
     [201], after={"KEY": b"abc"})
case("content_length_zero_is_an_empty_value", put(b""), [201], after={"KEY": b""})
case("put_without_length", head(b"PUT /keys/KEY"), [411], EITHER, after=NOT_STORED)
case("put_without_length_in_http_1_0", b"PUT /keys/KEY HTTP/1.0\r\n\r\nabc", [411], CLOSED, after=NOT_STORED)
case("bulk_without_length", head(b"POST /bulk"), [411], EITHER)
case("put_in_http_1_0", b"PUT /keys/KEY HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc", [201], CLOSED,
     after={"KEY": b"abc"})

# ---------------------------------------------------------------- chunks
category("chunks")

for name, body, value in [
        ("one_chunk", b"3\r\nabc\r\n0\r\n\r\n", b"abc"),
        ("two_chunks", b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", b"abcde"),
        ("no_chunk", b"0\r\n\r\n", b""),
        ("leading_zeros", b"0003\r\nabc\r\n000\r\n\r\n", b"abc"),
        ("lower_case_size", b"a\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
        ("upper_case_size", b"A\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
        ("crlf_in_a_chunk", b"5\r\na\r\n\r\n\r\n0\r\n\r\n", b"a\r\n\r\n"),
        ("looks_like_a_request", b"%X\r\n%s\r\n0\r\n\r\n" % (len(LIVE), LIVE), LIVE),
        ("an_extension", b"3;name=value\r\nabc\r\n0;last\r\n\r\n", b"abc"),
        ("a_quoted_extension", b'3;name="a;b"\r\nabc\r\n0\r\n\r\n', b"abc"),
        ("a_trailer", b"3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n", b"abc"),
        ("two_trailers", b"3\r\nabc\r\n0\r\nX-Sum: 1\r\nX-More:\r\n\r\n", b"abc"),
        ("a_thousand_chunks", b"1\r\nz\r\n" * 1000 + b"0\r\n\r\n", b"z" * 1000),
]:
    case("with_" + name, chunked(body) + LIVE, [201, 200], after={"KEY": value}, body={1: ...})

for name, body in [
        ("plus", b"+3\r\nabc\r\n0\r\n\r\n"),
        ("minus", b"-1\r\nabc\r\n0\r\n\r\n"),
        ("0x", b"0x3\r\nabc\r\n0\r\n\r\n"),
        ("no_size", b"\r\nabc\r\n0\r\n\r\n"),
        ("only_an_extension", b";a=b\r\nabc\r\n0\r\n\r\n"),
        ("no_hexadecimal_digit", b"g\r\nabc\r\n0\r\n\r\n"),
        ("blank_before_the_size", b" 3\r\nabc\r\n0\r\n\r\n"),
        ("tab_before_the_size", b"\t3\r\nabc\r\n0\r\n\r\n"),
        ("blank_in_the_size", b"0 3\r\nabc\r\n0\r\n\r\n"),
        ("underscore_in_the_size", b"0_3\r\nabc\r\n0\r\n\r\n"),
        ("comma_in_the_size", b"0,3\r\nabc\r\n0\r\n\r\n"),
        ("nul_after_the_size", b"3\x00\r\nabc\r\n0\r\n\r\n"),
        ("bare_lf_after_the_size", b"3\nabc\r\n0\r\n\r\n"),
        ("bare_cr_after_the_size", b"3\rabc\r\n0\r\n\r\n"),
        ("cr_cr_lf_after_the_size", b"3\r\r\nabc\r\n0\r\n\r\n"),
        ("bare_lf_in_an_extension", b"3;a\nabc\r\n0\r\n\r\n"),
        ("bare_cr_in_an_extension", b"3;a\rb\r\nabc\r\n0\r\n\r\n"),
        ("nul_in_an_extension", b"3;a\x00b\r\nabc\r\n0\r\n\r\n"),
        ("no_crlf_after_a_chunk", b"3\r\nabc0\r\n\r\n"),
        ("other_bytes_after_a_chunk", b"3\r\nabcXX0\r\n\r\n"),
        ("bare_lf_after_a_chunk", b"3\r\nabc\n0\r\n\r\n"),
        ("bare_cr_after_a_chunk", b"3\r\nabc\r0\r\n\r\n"),
        ("longer_chunk_than_its_size", b"3\r\nabcd\r\n0\r\n\r\n"),
        ("bare_lf_after_the_last_chunk", b"3\r\nabc\r\n0\n\r\n"),
        ("bare_lf_at_the_end", b"3\r\nabc\r\n0\r\n\n"),
        ("bare_lf_after_a_trailer", b"3\r\nabc\r\n0\r\nX: y\n\r\n"),
        ("folded_trailer", b"3\r\nabc\r\n0\r\nX: y\r\n z\r\n\r\n"),
        ("trailer_beginning_with_a_blank", b"3\r\nabc\r\n0\r\n X: y\r\n\r\n"),
        ("trailer_with_space_before_the_colon", b"3\r\nabc\r\n0\r\nX : y\r\n\r\n"),
        ("trailer_without_a_name", b"3\r\nabc\r\n0\r\n: y\r\n\r\n"),
        ("trailer_without_a_colon", b"3\r\nabc\r\n0\r\nX\r\n\r\n"),
        ("nul_in_a_trailer", b"3\r\nabc\r\n0\r\nX: y\x00\r\n\r\n"),
]:
    case("with_" + name, chunked(body) + LIVE, [400], CLOSED, after=NOT_STORED)

for name, size in [("2_to_the_64", b"10000000000000000"), ("2_to_the_64_plus_3", b"10000000000000003"),
                   ("2_to_the_64_minus_1", b"FFFFFFFFFFFFFFFF"), ("2_to_the_32_times_2_to_the_64", b"1" + b"0" * 24)]:
    case("of_" + name, chunked(size + b"\r\nabc\r\n0\r\n\r\n") + LIVE, [(400, 413)], CLOSED, after=NOT_STORED)

# RFC 9112, 7.1.1 lets a recipient parse and drop blanks before an extension; refusing is safe too.
case("with_blank_after_the_size", chunked(b"3 \r\nabc\r\n0\r\n\r\n"), [(201, 400)], EITHER)
case("with_blank_before_an_extension", chunked(b"3 ;a\r\nabc\r\n0\r\n\r\n"), [(201, 400)], EITHER)
# RFC 9112, 7.1.1: the total length of extensions has to be limited.
case("with_an_extension_of_1_mb", chunked(b"3;" + b"a" * 1000000 + b"\r\nabc\r\n0\r\n\r\n"), [(400, 413, 431)],
     CLOSED, after=NOT_STORED)
case("with_a_trailer_of_1_mb", chunked(b"3\r\nabc\r\n0\r\nX: " + b"y" * 1000000 + b"\r\n\r\n"), [(400, 413, 431)],
     CLOSED, after=NOT_STORED)
case("with_10000_trailers", chunked(b"3\r\nabc\r\n0\r\n" + b"X: y\r\n" * 10000 + b"\r\n"), [(400, 413, 431)],
     CLOSED, after=NOT_STORED)
case("with_a_size_of_1000_zeros", chunked(b"0" * 1000 + b"3\r\nabc\r\n0\r\n\r\n"), [(201, 400)], EITHER)
case("with_framing_in_a_trailer", chunked(b"3\r\nabc\r\n0\r\nContent-Length: 57\r\n\r\n") + LIVE,
     [(201, 400), Maybe(200)], EITHER)

# ---------------------------------------------------------------- bodies
category("bodies")

SENT_WITH_BODY = b"Content-Length: %d" % len(SMUGGLED)
case("a_body_with_get_is_not_a_request", get(SENT_WITH_BODY) + SMUGGLED, [(200, 400)], EITHER, before=OLD, after=OLD)
case("a_body_with_head_is_not_a_request", head(b"HEAD /keys/KEY", SENT_WITH_BODY) + SMUGGLED, [Head((200, 400))],
     EITHER, before=OLD, after=OLD)
case("a_chunked_body_with_get_is_not_a_request", get(b"Transfer-Encoding: chunked") +
     b"%x\r\n%s\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED), [(200, 400)], EITHER, before=OLD, after=OLD)
case("a_body_with_delete_is_not_a_request", head(b"DELETE /keys/KEY2", SENT_WITH_BODY) + SMUGGLED, [(204, 400)],
     EITHER, before=OLD, after=OLD)
case("a_body_with_405_is_not_a_request", head(b"POST /keys/KEY", SENT_WITH_BODY) + SMUGGLED, [405], EITHER,
     before=OLD, after=OLD)
case("a_body_with_404_is_not_a_request", head(b"PUT /nowhere", SENT_WITH_BODY) + SMUGGLED, [404], EITHER,
     before=OLD, after=OLD)
case("a_body_with_501_is_not_a_request", head(b"BREW /keys/KEY", SENT_WITH_BODY) + SMUGGLED, [501], EITHER,
     before=OLD, after=OLD)
case("a_body_with_415_is_not_a_request", head(b"PUT /keys/KEY", SENT_WITH_BODY, b"Content-Encoding: gzip") + SMUGGLED,
     [415], EITHER, before=OLD, after=OLD)
case("a_body_with_412_is_not_a_request",
     head(b"PUT /keys/KEY", SENT_WITH_BODY, b"If-None-Match: *") + SMUGGLED + LIVE, [412, 200], before=OLD, after=OLD)
case("a_body_with_a_bad_key_is_not_a_request", head(b"PUT /keys/%zz", SENT_WITH_BODY) + SMUGGLED, [400], EITHER,
     before=OLD, after=OLD)
case("a_body_behind_close_is_not_a_request", get(b"Connection: close") + SMUGGLED, [200], CLOSED, before=OLD, after=OLD)
case("a_length_of_max_value", put(b"m" * (1 << 20)), [201], after={"KEY": b"m" * (1 << 20)})
case("a_length_of_max_value_and_1", put(b"m" * ((1 << 20) + 1)), [413], EITHER, after=NOT_STORED)
case("chunks_of_max_value", chunked(b"100000\r\n" + b"m" * (1 << 20) + b"\r\n0\r\n\r\n"), [201],
     after={"KEY": b"m" * (1 << 20)})
case("chunks_of_max_value_and_1", chunked(b"100001\r\n" + b"m" * ((1 << 20) + 1) + b"\r\n0\r\n\r\n"), [413], EITHER,
     after=NOT_STORED)
case("many_chunks_beyond_max_value", chunked((b"1000\r\n" + b"m" * 4096 + b"\r\n") * 257 + b"0\r\n\r\n"), [413], EITHER,
     after=NOT_STORED)
case("a_body_of_8_mb_is_refused_all_the_same", put(b"m" * (8 << 20)), [413], EITHER, after=NOT_STORED)
case("body_byte_by_byte", [head(b"PUT /keys/KEY", b"Content-Length: 5"), Bytewise(b"hello")], [201],
     after={"KEY": b"hello"})
case("chunks_byte_by_byte", [chunked(b""), Bytewise(b"5;x\r\nhello\r\n0\r\nA: b\r\n\r\n")], [201],
     after={"KEY": b"hello"})
case("head_byte_by_byte", [Bytewise(put(b"hello") + get())], [201, 200], body={1: b"hello"})
case("head_and_body_in_two_writes", [head(b"PUT /keys/KEY", b"Content-Length: 5"), b"hello"], [201],
     after={"KEY": b"hello"})
case("an_incomplete_body_then_half_close", [head(b"PUT /keys/KEY", b"Content-Length: 9") + b"hello", HALF_CLOSE],
     [Maybe(400)], CLOSED, after=NOT_STORED)
case("incomplete_chunks_then_half_close", [chunked(b"5\r\nhello\r\n"), HALF_CLOSE], [Maybe(400)], CLOSED,
     after=NOT_STORED)
case("chunks_without_the_last_crlf_then_half_close", [chunked(b"5\r\nhello\r\n0\r\n"), HALF_CLOSE], [Maybe(400)],
     CLOSED, after=NOT_STORED)
case("an_incomplete_head_then_half_close", [put(b"")[:-2], HALF_CLOSE], [Maybe(400)], CLOSED, after=NOT_STORED)
case("an_incomplete_body_then_reset", [head(b"PUT /keys/KEY", b"Content-Length: 9") + b"hello", RESET], [],
     after=NOT_STORED)
case("incomplete_chunks_then_reset", [chunked(b"5\r\nhello\r\n"), RESET], [], after=NOT_STORED)
case("half_close_after_a_put", [put(b"hello"), HALF_CLOSE], [201], CLOSED, after={"KEY": b"hello"})
case("half_close_after_chunks", [chunked(b"5\r\nhello\r\n0\r\n\r\n"), HALF_CLOSE], [201], CLOSED,
     after={"KEY": b"hello"})

category("expect")
case("continue_is_answered_before_the_body", [head(b"PUT /keys/KEY", b"Content-Length: 5", b"Expect: 100-continue"),
                                              Await(1), b"hello"], [100, 201], after={"KEY": b"hello"})
case("continue_of_chunks", [chunked(b"", b"Expect: 100-continue"), Await(1), b"5\r\nhello\r\n0\r\n\r\n"], [100, 201],
     after={"KEY": b"hello"})
case("continue_in_other_case", [head(b"PUT /keys/KEY", b"Content-Length: 5", b"Expect: 100-Continue"), Await(1),
                                b"hello"], [100, 201], after={"KEY": b"hello"})
case("continue_with_the_body_already_there", put(b"hello", b"Expect: 100-continue") + get(), [Maybe(100), 201, 200],
     after={"KEY": b"hello"})
case("continue_without_a_body", get(b"Expect: 100-continue") + LIVE, [Maybe(100), 200, 200], before=OLD)
case("continue_of_nothing", put(b"", b"Expect: 100-continue"), [Maybe(100), 201], after={"KEY": b""})
case("continue_is_ignored_in_http_1_0", b"PUT /keys/KEY HTTP/1.0\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
     b"hello", [201], CLOSED, after={"KEY": b"hello"})
case("continue_behind_a_get", [get() + head(b"PUT /keys/KEY", b"Content-Length: 5", b"Expect: 100-continue"), Await(2),
                               b"hello"], [200, 100, 204], before=OLD, after={"KEY": b"hello"})
for name, line, fields, status in [
        ("a_value_too_large", b"PUT /keys/KEY", [b"Content-Length: 99999999"], 413),
        ("a_bad_key", b"PUT /keys/%zz", [b"Content-Length: 5"], 400),
        ("an_unknown_path", b"PUT /nowhere", [b"Content-Length: 5"], 404),
        ("a_method_not_allowed", b"POST /keys/KEY", [b"Content-Length: 5"], 405),
        ("a_content_encoding", b"PUT /keys/KEY", [b"Content-Length: 5", b"Content-Encoding: br"], 415),
        ("a_bad_ttl", b"PUT /keys/KEY", [b"Content-Length: 5", b"X-TTL: soon"], 400)]:
    case("no_continue_for_" + name, [head(line, b"Expect: 100-continue", *fields)], [status], EITHER, after=NOT_STORED)
case("an_unknown_expectation", put(b"hello", b"Expect: wonders"), [417], EITHER, after=NOT_STORED)
case("an_unknown_expectation_beside_continue", put(b"hello", b"Expect: 100-continue, wonders"), [417], EITHER,
     after=NOT_STORED)

# ---------------------------------------------------------------- the request line
category("request_line")

for name, line in [
        ("two_blanks_before_the_target", b"GET  /livez HTTP/1.1"),
        ("two_blanks_after_the_target", b"GET /livez  HTTP/1.1"),
        ("tabs", b"GET\t/livez\tHTTP/1.1"),
        ("leading_blank", b" GET /livez HTTP/1.1"),
        ("trailing_blank", b"GET /livez HTTP/1.1 "),
        ("blank_in_the_target", b"GET /li vez HTTP/1.1"),
        ("no_target", b"GET HTTP/1.1"),
        ("no_method", b" /livez HTTP/1.1"),
        ("only_a_method", b"GET"),
        ("relative_target", b"GET livez HTTP/1.1"),
        ("authority_form_with_get", b"GET x:80 HTTP/1.1"),
        ("asterisk_with_get", b"GET * HTTP/1.1"),
        ("fragment", b"GET /livez#x HTTP/1.1"),
        ("nul_in_the_target", b"GET /keys/a\x00b HTTP/1.1"),
        ("control_byte_in_the_target", b"GET /keys/a\x01b HTTP/1.1"),
        ("del_in_the_target", b"GET /keys/a\x7fb HTTP/1.1"),
        ("tab_in_the_target", b"GET /keys/a\tb HTTP/1.1"),
        ("bare_cr_in_the_target", b"GET /keys/a\rb HTTP/1.1"),
        ("vertical_tab_in_the_target", b"GET /keys/a\x0bb HTTP/1.1"),
        ("raw_utf_8_in_the_target", b"GET /keys/\xc3\xa1 HTTP/1.1"),
        ("raw_latin_1_in_the_target", b"GET /keys/\xe1 HTTP/1.1"),
        ("control_byte_in_the_method", b"G\x01T /livez HTTP/1.1"),
        ("delimiter_in_the_method", b"G(T /livez HTTP/1.1"),
        ("nul_in_the_method", b"GET\x00 /livez HTTP/1.1"),
        ("no_minor_version", b"GET /livez HTTP/1"),
        ("version_ending_with_a_dot", b"GET /livez HTTP/1."),
        ("version_of_two_digits", b"GET /livez HTTP/1.10"),
        ("version_with_leading_zero", b"GET /livez HTTP/01.1"),
        ("version_with_comma", b"GET /livez HTTP/1,1"),
        ("version_with_a_blank", b"GET /livez HTTP /1.1"),
        ("version_with_a_letter", b"GET /livez HTTP/1.1x"),
        ("version_of_another_protocol", b"GET /livez HTP/1.1"),
        ("authority_without_host", b"GET http:///livez HTTP/1.1"),
        ("connect_with_a_path", b"CONNECT /livez HTTP/1.1"),
        ("connect_without_port", b"CONNECT example.com HTTP/1.1"),
]:
    case(name, line + b"\r\nHost: x\r\n\r\n" + LIVE, [400], CLOSED)

case("version_in_lower_case", b"GET /livez http/1.1\r\nHost: x\r\n\r\n", [(400, 505)], CLOSED)
case("http_0_9", b"GET /livez\r\n\r\n", [(400, 505)], CLOSED)
case("http_0_9_by_name", b"GET /livez HTTP/0.9\r\n\r\n", [505], CLOSED)
case("http_1_2", b"GET /livez HTTP/1.2\r\nHost: x\r\n\r\n", [505], CLOSED)
case("http_2_0", b"GET /livez HTTP/2.0\r\nHost: x\r\n\r\n", [505], CLOSED)
case("http_3_0", b"GET /livez HTTP/3.0\r\nHost: x\r\n\r\n", [505], CLOSED)
case("http_2_preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00", [505], CLOSED)
case("bare_lf_after_the_request_line", b"GET /livez HTTP/1.1\nHost: x\r\n\r\n", [400], CLOSED)
case("bare_lf_everywhere", b"GET /livez HTTP/1.1\nHost: x\n\n", [400], CLOSED)
case("bare_cr_after_the_request_line", b"GET /livez HTTP/1.1\rHost: x\r\n\r\n", [400], CLOSED)
case("absolute_form", head(b"GET http://x/livez"), [200])
case("absolute_form_wins_over_host", head(b"GET http://other.example:81/livez"), [200])
case("absolute_form_in_upper_case", head(b"GET HTTP://x/livez"), [200])
case("absolute_form_of_a_key", put(b"v") + head(b"GET http://x/keys/KEY"), [201, 200], body={1: b"v"})
case("absolute_form_without_a_path", head(b"GET http://x"), [(200, 404)])
case("absolute_form_with_user", head(b"GET http://me@x/livez"), [(200, 400)], EITHER)
case("asterisk_with_options", head(b"OPTIONS *"), [204], header={0: {"Allow": ...}})
case("an_empty_line_first", b"\r\n" + LIVE, [200])
case("two_empty_lines_first", b"\r\n\r\n" + LIVE, [200])
case("an_empty_line_between_requests", LIVE + b"\r\n" + LIVE, [200, 200])
case("many_empty_lines_first", b"\r\n" * 1000 + LIVE, [(200, 400)], EITHER)
case("a_bare_lf_first", b"\n" + LIVE, [400], CLOSED)
case("a_bare_cr_first", b"\r" + LIVE, [400], CLOSED)
case("a_uri_of_1_mb", b"GET /keys/" + b"a" * 1000000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", [414], CLOSED)
case("a_uri_of_17_kb", b"GET /keys/" + b"a" * 17000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", [414], CLOSED)
case("an_endless_line", b"a" * 200000, [(400, 414, 501)], CLOSED)
case("a_tls_client", bytes.fromhex("16030100a5010000a10303") + bytes(range(160)), [400], CLOSED)
case("an_ssh_client", b"SSH-2.0-OpenSSH_9.2\r\n\r\n", [400], CLOSED)
case("nul_bytes", b"\x00" * 100 + b"\r\n\r\n", [400], CLOSED)

# ---------------------------------------------------------------- methods
category("methods")

case("get", get(), [200], before=OLD, body={0: b"old"})
case("head", head(b"HEAD /keys/KEY"), [Head(200)], before=OLD, header={0: {"Content-Length": "3"}})
case("head_of_an_absent_key", head(b"HEAD /keys/KEY"), [Head(404)])
case("delete_of_an_absent_key", delete(), [204])
case("put_then_delete", put(b"v") + delete() + get(), [201, 204, 404], after=NOT_STORED)
case("lower_case_method", b"get /livez HTTP/1.1\r\nHost: x\r\n\r\n", [501], EITHER)
case("mixed_case_method", b"Get /livez HTTP/1.1\r\nHost: x\r\n\r\n", [501], EITHER)
case("unknown_method", head(b"BREW /livez"), [501], EITHER)
case("known_method_and_more", head(b"GETS /livez"), [501], EITHER)
case("very_long_method", head(b"A" * 1000 + b" /livez"), [(400, 501)], EITHER)
case("connect", b"CONNECT example.com:80 HTTP/1.1\r\nHost: example.com:80\r\n\r\n", [405], EITHER,
     header={0: {"Allow": ...}})
case("propfind", head(b"PROPFIND /keys/KEY"), [(405, 501)], EITHER)
for method in (b"PATCH", b"TRACE", b"POST"):
    case("%s_of_a_key" % method.decode().lower(), head(method + b" /keys/KEY", b"Content-Length: 0"), [405], EITHER,
         header={0: {"Allow": "GET, HEAD, PUT, DELETE, OPTIONS"}})
for target, methods, allow in [(b"/keys", b"PUT POST DELETE PATCH", "GET, HEAD, OPTIONS"),
                               (b"/livez", b"PUT POST DELETE", "GET, HEAD, OPTIONS"),
                               (b"/readyz", b"POST", "GET, HEAD, OPTIONS"),
                               (b"/status", b"POST", "GET, HEAD, OPTIONS"),
                               (b"/metrics", b"POST", "GET, HEAD, OPTIONS"),
                               (b"/bulk", b"GET PUT DELETE", "POST, OPTIONS"),
                               (b"/keys/KEY:", b"PUT POST", "GET, HEAD, DELETE, OPTIONS")]:
    for method in methods.split():
        case("%s_of_%s" % (method.decode().lower(), target.decode().strip("/").replace("/KEY:", "_prefix")),
             head(method + b" " + target, b"Content-Length: 0"), [405], EITHER, header={0: {"Allow": allow}})
for target in (b"/livez", b"/readyz", b"/status", b"/metrics", b"/keys"):
    case("get_and_head_of_" + target.decode()[1:], head(b"GET " + target) + head(b"HEAD " + target), [200, Head(200)])
for target in (b"/keys/KEY", b"/keys", b"/bulk", b"/livez", b"/keys/KEY:"):
    case("options_of_" + target.decode().strip("/").replace("/KEY", "_key").replace(":", "_and_colon"),
         head(b"OPTIONS " + target), [204], header={0: {"Allow": ...}})
case("options_with_a_body", head(b"OPTIONS /livez", SENT_WITH_BODY) + SMUGGLED, [(204, 400)], EITHER, before=OLD,
     after=OLD)

# ---------------------------------------------------------------- paths and keys
category("paths")

for name, target in [("nothing", b"/nothing"), ("key", b"/key/a"), ("upper_case", b"/Keys/a"), ("keysa", b"/keysa"),
                     ("livez_slash", b"/livez/"), ("slash_livez", b"//livez"), ("dot_livez", b"/./livez"),
                     ("dots_livez", b"/x/../livez"), ("favicon", b"/favicon.ico")]:
    case("unknown_" + name, head(b"GET " + target), [404])
case("no_key", head(b"GET /keys/"), [400], EITHER)
case("no_key_to_put", head(b"PUT /keys/", b"Content-Length: 0"), [400], EITHER)
for name, key in [("bad_digits", b"%zz"), ("bad_second_digit", b"%4g"), ("nothing", b"a%"), ("one_digit", b"a%4"),
                  ("another_percent", b"%%41"), ("a_sign", b"%+1"), ("a_u", b"%u0041")]:
    case("percent_and_" + name, head(b"GET /keys/" + key), [400], EITHER)
    case("put_of_percent_and_" + name, head(b"PUT /keys/" + key, b"Content-Length: 1") + b"v", [400], EITHER)
for name, key, same in [
        ("slash_and_2f", b"KEY/b", b"KEY%2Fb"), ("2f_in_both_cases", b"KEY%2fb", b"KEY%2Fb"),
        ("letters_and_percent", b"KEYab", b"KEY%61%62"), ("colon_and_3a", b"KEY:b", b"KEY%3Ab"),
        ("tilde_and_7e", b"KEY~", b"KEY%7E"), ("last_colon", b"KEY%3A", b"KEY%3a"),
        ("plus_and_2b", b"KEY+b", b"KEY%2Bb"), ("sub_delims", b"KEY!$&'()*+,;=@",
                                                b"KEY%21%24%26%27%28%29%2A%2B%2C%3B%3D%40")]:
    case("one_key_" + name, head(b"PUT /keys/" + key, b"Content-Length: 1") + b"v" + head(b"GET /keys/" + same),
         [201, 200], body={1: b"v"})
for name, key, other in [
        ("plus_and_blank", b"KEY+b", b"KEY%20b"), ("dot_dot", b"KEY/x/../b", b"KEY/b"), ("dot", b"KEY/./b", b"KEY/b"),
        ("two_slashes", b"KEY//b", b"KEY/b"), ("slash_last", b"KEY/", b"KEY"), ("decoded_once", b"KEY%2541", b"KEYA"),
        ("nul_last", b"KEY%00", b"KEY"), ("nul_inside", b"KEY%00a", b"KEY%00b"),
        ("overlong_slash", b"KEY%C0%AF", b"KEY/"),
        ("case", b"KEYa", b"KEYA"), ("blank_last", b"KEY%20", b"KEY"), ("colon_last", b"KEY%3A", b"KEY")]:
    case("two_keys_" + name, head(b"PUT /keys/" + key, b"Content-Length: 1") + b"v" + head(b"GET /keys/" + other)
         + head(b"GET /keys/" + key), [201, 404, 200], body={2: b"v"})
case("dots_from_keys_lead_nowhere", head(b"GET /keys/../livez"), [404])
case("a_key_of_512_bytes", head(b"PUT /keys/KEY" + b"a" * 509, b"Content-Length: 1") + b"v", [201])
case("a_key_of_512_encoded_bytes", head(b"PUT /keys/KEY" + b"%ff" * 509, b"Content-Length: 1") + b"v", [201])
case("a_key_of_513_bytes", head(b"PUT /keys/KEY" + b"a" * 510, b"Content-Length: 1") + b"v", [414], EITHER)
case("a_key_of_513_encoded_bytes", head(b"GET /keys/KEY" + b"%ff" * 510), [414], EITHER)
case("a_long_key_to_delete", head(b"DELETE /keys/" + b"a" * 600), [414], EITHER)
case("a_raw_colon_last_lists", head(b"GET /keys/KEY:"), [200], before={"KEY1": b"", "other": b""},
     body={0: Json('["KEY1"]')}, header={0: {"Content-Type": "application/json"}})
case("a_raw_colon_last_lists_nothing", head(b"GET /keys/KEY:"), [200], body={0: Json("[]")})
case("a_raw_colon_last_clears", head(b"DELETE /keys/KEY:"), [204], before={"KEY1": b"1", "KEY2": b"2", "k": b"3"},
     after={"KEY1": ABSENT, "KEY2": ABSENT, "k": b"3"})
case("only_a_colon_lists", head(b"GET /keys/:"), [200], before=OLD)
case("two_colons_last_are_a_prefix_with_one", head(b"GET /keys/KEY::"), [200], before={"KEY%3Aa": b"", "KEYb": b""},
     body={0: Json('["KEY:a"]')})

# ---------------------------------------------------------------- query strings
category("queries")

case("behind_a_key", head(b"GET /keys/KEY?x=1"), [400], EITHER, before=OLD)
case("ttl_with_get", head(b"GET /keys/KEY?ttl=60"), [400], EITHER, before=OLD)
case("ttl_with_delete", head(b"DELETE /keys/KEY?ttl=60"), [400], EITHER, before=OLD, after=OLD)
case("empty_behind_a_key", head(b"GET /keys/KEY?"), [(200, 400)], EITHER, before=OLD)
case("question_mark_encoded_is_a_key", head(b"PUT /keys/KEY%3Fx=1", b"Content-Length: 1") + b"v", [201],
     after={"KEY%3Fx=1": b"v", "KEY": ABSENT})
case("ttl", head(b"PUT /keys/KEY?ttl=60", b"Content-Length: 1") + b"v" + get(), [201, 200], header={1: {"X-TTL": ...}})
case("ttl_largest", head(b"PUT /keys/KEY?ttl=3153600000", b"Content-Length: 1") + b"v" + get(), [201, 200],
     header={1: {"X-TTL": ...}})
case("ttl_and_equal_header", head(b"PUT /keys/KEY?ttl=60", b"Content-Length: 1", b"X-TTL: 60") + b"v", [201])
case("ttl_and_other_header", head(b"PUT /keys/KEY?ttl=60", b"Content-Length: 1", b"X-TTL: 61") + b"v", [400], EITHER,
     after=NOT_STORED)
BAD_TTLS = [("zero", b"0"), ("negative", b"-1"), ("plus", b"+60"), ("empty", b""), ("word", b"abc"),
            ("fraction", b"1.5"),
            ("too_large", b"3153600001"), ("overflowing", b"18446744073709551617"), ("hexadecimal", b"0x10"),
            ("exponent", b"1e3"), ("unit", b"60s")]
for name, ttl in BAD_TTLS + [("blank", b"%2060")]:
    case("ttl_" + name, head(b"PUT /keys/KEY?ttl=" + ttl, b"Content-Length: 1") + b"v", [400], EITHER, after=NOT_STORED)
for name, query in [("no_value", b"ttl"), ("twice", b"ttl=5&ttl=6"), ("unknown", b"x=1"), ("and_unknown", b"ttl=5&x=1"),
                    ("upper_case", b"TTL=60"), ("bad_percent", b"ttl=%zz")]:
    case("put_with_" + name, head(b"PUT /keys/KEY?" + query, b"Content-Length: 1") + b"v", [400], EITHER,
         after=NOT_STORED)
for name, query in [
        ("unknown", b"x=1"), ("limit_zero", b"limit=0"), ("limit_too_large", b"limit=10001"),
        ("limit_word", b"limit=abc"),
        ("limit_empty", b"limit="), ("limit_without_value", b"limit"), ("limit_plus", b"limit=+1"),
        ("limit_negative", b"limit=-1"), ("limit_fraction", b"limit=1.0"),
        ("limit_overflow", b"limit=18446744073709551617"),
        ("limit_twice", b"limit=1&limit=1"), ("prefix_twice", b"prefix=a&prefix=a"),
        ("after_twice", b"after=a&after=b"),
        ("delimiter_twice", b"delimiter=/&delimiter=/"), ("prefix_bad_percent", b"prefix=%zz"),
        ("after_bad_percent", b"after=%4"), ("delimiter_empty", b"delimiter="),
        ("delimiter_too_long", b"delimiter=" + b"a" * 513), ("upper_case_name", b"Prefix=a")]:
    case("list_with_" + name, head(b"GET /keys?" + query), [400], EITHER)
for name, query in [("limit_one", b"limit=1"), ("limit_largest", b"limit=10000"),
                    ("all", b"prefix=KEY&after=KEY&limit=5&delimiter=/"),
                    ("nothing", b""), ("prefix_empty", b"prefix="), ("delimiter_encoded", b"delimiter=%2F%2f"),
                    ("delimiter_of_512", b"delimiter=" + b"a" * 512), ("prefix_encoded", b"prefix=%00%ff%26"),
                    ("plus_that_is_a_plus", b"prefix=KEY+")]:
    case("list_with_" + name, head(b"GET /keys?" + query), [200])
case("behind_a_colon", head(b"GET /keys/KEY:?x=1"), [400], EITHER)

# ---------------------------------------------------------------- headers
category("headers")

for name, fields in [
        ("folded", b"Host: x\r\nX-A: b\r\n c"), ("folded_with_tab", b"Host: x\r\nX-A: b\r\n\tc"),
        ("folded_host", b"Host:\r\n x"), ("folded_and_empty", b"Host: x\r\nX-A: b\r\n "),
        ("first_line_folded", b" Host: x"),
        ("bare_lf", b"Host: x\nX-A: b"), ("bare_lf_before_the_end", b"Host: x\n"),
        ("bare_cr", b"Host: x\r\nX-A: b\rX-C: d"),
        ("bare_cr_last", b"Host: x\r\nX-A: b\r"), ("nul_in_a_value", b"Host: x\r\nX-A: b\x00c"),
        ("control_byte_in_a_value", b"Host: x\r\nX-A: b\x01c"), ("del_in_a_value", b"Host: x\r\nX-A: b\x7fc"),
        ("no_name", b"Host: x\r\n: b"), ("space_before_the_colon", b"Host: x\r\nX-A : b"),
        ("tab_before_the_colon", b"Host: x\r\nX-A\t: b"), ("space_in_the_name", b"Host: x\r\nX A: b"),
        ("no_colon", b"Host: x\r\nX-A"), ("delimiter_in_the_name", b"Host: x\r\nX(A): b"),
        ("nul_in_the_name", b"Host: x\r\nX\x00A: b"), ("utf_8_in_the_name", b"Host: x\r\nX\xc3\xa1: b"),
        ("quote_in_the_name", b'Host: x\r\nX"A: b'), ("bracket_in_the_name", b"Host: x\r\nX[A]: b"),
        ("no_host", b"X-A: b"), ("two_hosts", b"Host: x\r\nHost: y"), ("two_equal_hosts", b"Host: x\r\nHost: x"),
        ("two_hosts_in_two_cases", b"Host: x\r\nX-A: b\r\nHOST: x"), ("host_with_blank", b"Host: a b"),
        ("host_with_comma", b"Host: a,b"), ("host_with_slash", b"Host: a/b"), ("host_with_user", b"Host: me@x"),
        ("host_with_question_mark", b"Host: a?b"), ("host_with_hash", b"Host: a#b"),
        ("host_with_bad_port", b"Host: x:80a"),
        ("host_with_two_ports", b"Host: x:80:81"), ("host_with_open_bracket", b"Host: [::1"),
        ("host_with_non_ascii", b"Host: \xc3\xa1")]:
    case(name, b"GET /livez HTTP/1.1\r\n" + fields + b"\r\n\r\n" + LIVE, [400], CLOSED)
for name, fields in [
        ("host_with_port", b"Host: x:8080"), ("host_with_empty_port", b"Host: x:"),
        ("host_ipv4", b"Host: 127.0.0.1:80"),
        ("host_ipv6", b"Host: [::1]:80"), ("host_with_underscore", b"Host: my_service"),
        ("host_without_blank", b"Host:x"),
        ("host_last", b"X-A: b\r\nHost: x"), ("host_in_other_case", b"hOsT: x"), ("empty_value", b"Host: x\r\nX-A:"),
        ("blank_value", b"Host: x\r\nX-A: \t "), ("tab_in_a_value", b"Host: x\r\nX-A: b\tc"),
        ("obs_text_in_a_value", b"Host: x\r\nX-A: \xff\x80"), ("all_token_bytes",
                                                               b"Host: x\r\n!#$%&'*+-.^_`|~09azAZ: b"),
        ("colon_in_a_value", b"Host: x\r\nX-A: :b:"), ("same_header_twice", b"Host: x\r\nX-A: b\r\nX-A: c")]:
    case(name, b"GET /livez HTTP/1.1\r\n" + fields + b"\r\n\r\n", [200])
case("empty_host", b"GET /livez HTTP/1.1\r\nHost:\r\n\r\n", [(200, 400)], EITHER)
case("no_host_in_http_1_0", b"GET /livez HTTP/1.0\r\n\r\n", [200], CLOSED)
case("no_host_but_absolute_form", b"GET http://x/livez HTTP/1.1\r\n\r\n", [400], CLOSED)


def filled(total):
    """A head of exactly `total` bytes."""
    start = b"GET /livez HTTP/1.1\r\nHost: x\r\nX-A: "
    return start + b"a" * (total - len(start) - 4) + b"\r\n\r\n"


case("a_head_of_16_kib", filled(16384), [200])
case("a_head_of_16_kib_and_1", filled(16385), [431], CLOSED)
case("a_head_of_1_mb", filled(1000000), [431], CLOSED)
case("a_head_of_16_kib_byte_by_byte_at_the_end", [filled(16384)[:-6], Bytewise(filled(16384)[-6:])], [200])
case("a_hundred_headers", b"GET /livez HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 99 + b"\r\n", [200])
case("a_hundred_and_one_headers", b"GET /livez HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 100 + b"\r\n", [431], CLOSED)
case("an_unending_head", b"GET /livez HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 4000, [431], CLOSED)
case("range_twice", get(b"Range: bytes=0-1", b"Range: bytes=2-3"), [400], EITHER, before=TEN)
case("x_ttl_twice", put(b"v", b"X-TTL: 5", b"X-TTL: 6"), [400], EITHER, after=NOT_STORED)
case("x_ttl_twice_and_equal", put(b"v", b"X-TTL: 5", b"x-ttl: 5"), [400], EITHER, after=NOT_STORED)
case("content_type_twice", put(b"v", b"Content-Type: a/b", b"Content-Type: c/d"), [400], EITHER, after=NOT_STORED)
case("x_ttl", put(b"v", b"X-TTL: 60") + get(), [201, 200], header={1: {"X-TTL": ...}})
case("x_ttl_between_blanks", put(b"v", b"X-TTL: \t60 \t") + get(), [201, 200], header={1: {"X-TTL": ...}})
case("no_x_ttl", put(b"v") + get(), [201, 200], header={1: {"X-TTL": None}})
case("x_ttl_with_get_means_nothing", get(b"X-TTL: 60"), [200], before=OLD)
case("x_ttl_with_delete_means_nothing", delete(b"X-TTL: 60"), [204], before=OLD, after=NOT_STORED)
for name, ttl in BAD_TTLS + [("list", b"5, 5")]:
    case("x_ttl_" + name, put(b"v", b"X-TTL: " + ttl), [400], EITHER, after=NOT_STORED)
case("content_type_of_128_bytes", put(b"v", b"Content-Type: a/" + b"b" * 126) + get(), [201, 200],
     header={1: {"Content-Type": "a/" + "b" * 126}})
case("content_type_of_129_bytes", put(b"v", b"Content-Type: a/" + b"b" * 127), [400], EITHER, after=NOT_STORED)
case("content_type_is_kept_as_it_is", put(b"v", b"Content-Type: Text/HTML;  charset=\"x\"") + get(), [201, 200],
     header={1: {"Content-Type": 'Text/HTML;  charset="x"', "X-Content-Type-Options": "nosniff",
                 "Content-Security-Policy": "sandbox", "Cache-Control": "no-cache"}})
case("no_content_type", put(b"v") + get(), [201, 200], header={1: {"Content-Type": "application/octet-stream"}})
case("content_type_with_obs_text", put(b"v", b"Content-Type: a/b;x=\xff") + get(), [(201, 400), Maybe((200, 404))],
     EITHER)
case("content_encoding_gzip", put(b"v", b"Content-Encoding: gzip"), [415], EITHER, after=NOT_STORED)
case("content_encoding_list", put(b"v", b"Content-Encoding: identity, gzip"), [415], EITHER, after=NOT_STORED)
case("content_encoding_identity", put(b"v", b"Content-Encoding: identity"), [201], after={"KEY": b"v"})
case("content_range", put(b"v", b"Content-Range: bytes 0-0/1"), [400], EITHER, after=NOT_STORED)
case("accept_does_not_matter_to_a_value", get(b"Accept: image/png"), [200], before=OLD, body={0: b"old"})
case("accept_encoding_does_not_matter_to_a_value", get(b"Accept-Encoding: gzip, identity;q=0"), [200], before=OLD,
     body={0: b"old"})
for name, accept, status, form in [
        ("png", b"image/png", 406, ...), ("nothing", b"*/*;q=0", 406, ...),
        ("json_refused", b"application/json;q=0", (200, 406), ...),
        ("anything", b"*/*", 200, "application/json"), ("json", b"application/json", 200, "application/json"),
        ("text", b"text/plain", 200, ...), ("html", b"text/html", 200, ...), ("xml", b"application/xml", 200, ...),
        ("ndjson", b"application/x-ndjson", 200, "application/x-ndjson"), ("jsonl", b"application/jsonl", 200, ...),
        ("quality", b"text/html;q=0.1, application/json;q=0.2", 200, "application/json"),
        ("browser", b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", 200, ...),
        ("malformed", b";;,/,q=", 200, "application/json"), ("png_or_anything", b"image/png, */*;q=0.1", 200,
                                                             "application/json")]:
    case("accept_%s_of_a_list" % name, head(b"GET /keys?limit=1", b"Accept: " + accept), [status],
         header={0: {"Content-Type": form}})
case("accept_of_an_error_is_json", get(), [404], header={0: {"Content-Type": "application/problem+json"}})
case("accept_unknown_of_an_error", get(b"Accept: application/octet-stream"), [404])
case("accept_text_of_an_error", get(b"Accept: text/plain"), [404], header={0: {"Content-Type": ...}})
case("upgrade_to_websocket_is_ignored", head(b"GET /livez", b"Connection: Upgrade", b"Upgrade: websocket"), [200])
case("upgrade_to_h2c_is_ignored", head(b"GET /livez", b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c",
                                       b"HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA") + LIVE, [200, 200])
case("upgrade_with_a_body_is_ignored", put(b"v", b"Connection: Upgrade", b"Upgrade: x") + get(), [201, 200],
     body={1: b"v"})

# ---------------------------------------------------------------- conditions
category("conditions")

for name, value in [("unquoted", b"abc"), ("number", b"123"), ("half_quoted", b'"1'), ("without_comma", b'"1" "2"'),
                    ("star_and_more", b'*, "1"'), ("lower_case_weak", b'w/"1"'), ("weak_with_blank", b'W/ "1"'),
                    ("seventeen", b", ".join(b'"%d"' % i for i in range(1, 18))), ("two_stars", b"**")]:
    case("if_match_" + name, put(b"v", b"If-Match: " + value), [400], EITHER, before=OLD, after=OLD)
    case("if_none_match_%s_of_get" % name, get(b"If-None-Match: " + value), [400], EITHER, before=OLD)
case("if_match_sixteen", put(b"v", b"If-Match: " + b",".join(b'"%d"' % i for i in range(1, 17))), [412], before=OLD,
     after=OLD)
case("if_match_in_two_lines", put(b"v", b'If-Match: "1"', b"If-Match: ETAG"), [204], before=OLD, after={"KEY": b"v"})
case("if_match_with_empty_elements", put(b"v", b'If-Match: , ETAG ,, "1",'), [204], before=OLD, after={"KEY": b"v"})
case("if_match_the_etag", put(b"v", b"If-Match: ETAG"), [204], before=OLD, after={"KEY": b"v"})
case("if_match_another_etag", put(b"v", b'If-Match: "1"'), [412], before=OLD, after=OLD)
case("if_match_no_version", put(b"v", b'If-Match: "abc"'), [412], before=OLD, after=OLD)
case("if_match_the_etag_with_zeros", put(b"v", b'If-Match: "01"'), [412], before=OLD, after=OLD)
case("if_match_weak_never_matches", put(b"v", b"If-Match: W/ETAG"), [412], before=OLD, after=OLD)
case("if_match_star", put(b"v", b"If-Match: *"), [204], before=OLD, after={"KEY": b"v"})
case("if_match_star_of_an_absent_key", put(b"v", b"If-Match: *"), [412], after=NOT_STORED)
case("if_match_of_an_absent_key", put(b"v", b'If-Match: "1"'), [412], after=NOT_STORED)
case("if_none_match_star", put(b"v", b"If-None-Match: *"), [201], after={"KEY": b"v"})
case("if_none_match_star_of_a_present_key", put(b"v", b"If-None-Match: *"), [412], before=OLD, after=OLD)
case("if_none_match_the_etag_to_put", put(b"v", b"If-None-Match: ETAG"), [412], before=OLD, after=OLD)
case("if_none_match_weak_to_put", put(b"v", b"If-None-Match: W/ETAG"), [412], before=OLD, after=OLD)
case("if_none_match_another_to_put", put(b"v", b'If-None-Match: "1"'), [204], before=OLD, after={"KEY": b"v"})
case("if_none_match_another_to_put_absent", put(b"v", b'If-None-Match: "1"'), [201], after={"KEY": b"v"})
case("if_unmodified_since_long_ago_to_put", put(b"v", b"If-Unmodified-Since: PAST"), [412], before=OLD, after=OLD)
case("if_unmodified_since_the_future_to_put", put(b"v", b"If-Unmodified-Since: FUTURE"), [204], before=OLD,
     after={"KEY": b"v"})
case("if_unmodified_since_is_second_to_if_match", put(b"v", b"If-Match: ETAG", b"If-Unmodified-Since: PAST"), [204],
     before=OLD, after={"KEY": b"v"})
case("delete_if_match", delete(b"If-Match: ETAG"), [204], before=OLD, after=NOT_STORED)
case("delete_if_match_another", delete(b'If-Match: "1"'), [412], before=OLD, after=OLD)
case("delete_if_match_star", delete(b"If-Match: *"), [204], before=OLD, after=NOT_STORED)
case("delete_if_match_star_of_an_absent_key", delete(b"If-Match: *"), [412])
case("delete_if_unmodified_since_long_ago", delete(b"If-Unmodified-Since: PAST"), [412], before=OLD, after=OLD)
case("get_if_match", get(b"If-Match: ETAG"), [200], before=OLD)
case("get_if_match_another", get(b'If-Match: "1"'), [412], before=OLD)
case("get_if_match_of_an_absent_key", get(b'If-Match: "1"'), [404])
case("get_if_none_match", get(b"If-None-Match: ETAG"), [304], before=OLD,
     header={0: {"ETag": ..., "Cache-Control": ...}})
case("get_if_none_match_weak", get(b"If-None-Match: W/ETAG"), [304], before=OLD)
case("get_if_none_match_in_a_list", get(b'If-None-Match: "1", ETAG'), [304], before=OLD)
case("get_if_none_match_star", get(b"If-None-Match: *"), [304], before=OLD)
case("get_if_none_match_star_of_an_absent_key", get(b"If-None-Match: *"), [404])
case("get_if_none_match_another", get(b'If-None-Match: "1"'), [200], before=OLD)
case("head_if_none_match", head(b"HEAD /keys/KEY", b"If-None-Match: ETAG"), [Head(304)], before=OLD)
case("get_if_modified_since_now", get(b"If-Modified-Since: MODIFIED"), [304], before=OLD)
case("get_if_modified_since_the_future", get(b"If-Modified-Since: FUTURE"), [304], before=OLD)
case("get_if_modified_since_long_ago", get(b"If-Modified-Since: PAST"), [200], before=OLD)
case("get_if_modified_since_no_date", get(b"If-Modified-Since: yesterday"), [200], before=OLD)
case("get_if_modified_since_is_second_to_if_none_match", get(b'If-None-Match: "1"', b"If-Modified-Since: FUTURE"),
     [200],
     before=OLD)
case("get_if_modified_since_in_rfc_850_form", get(b"If-Modified-Since: Thursday, 01-Jan-60 00:00:00 GMT"), [304],
     before=OLD)
case("get_if_modified_since_in_asctime_form", get(b"If-Modified-Since: Fri Jan  1 00:00:00 2100"), [304], before=OLD)
case("get_if_unmodified_since_long_ago", get(b"If-Unmodified-Since: PAST"), [412], before=OLD)
case("get_if_unmodified_since_now", get(b"If-Unmodified-Since: MODIFIED"), [200], before=OLD)

# ---------------------------------------------------------------- ranges
category("ranges")

for name, value, span in [
        ("first_bytes", b"bytes=0-3", (0, 3)), ("from", b"bytes=4-", (4, 9)), ("suffix", b"bytes=-3", (7, 9)),
        ("one_byte", b"bytes=0-0", (0, 0)), ("last_byte", b"bytes=9-9", (9, 9)),
        ("beyond_the_end", b"bytes=5-100", (5, 9)),
        ("longer_suffix", b"bytes=-100", (0, 9)), ("all", b"bytes=0-", (0, 9)), ("all_exactly", b"bytes=0-9", (0, 9)),
        ("end_beyond_64_bits", b"bytes=2-18446744073709551616", (2, 9)), ("leading_zeros", b"bytes=0000-0003", (0, 3)),
        ("suffix_beyond_64_bits", b"bytes=-18446744073709551617", (0, 9))]:
    case(name, get(b"Range: " + value), [206], before=TEN, body={0: b"0123456789"[span[0]:span[1] + 1]},
         header={0: {"Content-Range": "bytes %d-%d/10" % span}})
for name, value in [("behind_the_end", b"bytes=10-"), ("far_behind_the_end", b"bytes=100-200"),
                    ("suffix_of_nothing", b"bytes=-0"),
                    ("start_beyond_64_bits", b"bytes=18446744073709551616-")]:
    case(name, get(b"Range: " + value), [416], before=TEN, header={0: {"Content-Range": "bytes */10"}})
for name, value in [("backwards", b"bytes=5-3"), ("no_range", b"bytes="), ("words", b"bytes=a-b"),
                    ("several", b"bytes=0-1,4-5"),
                    ("other_unit", b"items=0-3"), ("no_equals", b"bytes 0-3"), ("only_a_dash", b"bytes=-"),
                    ("negative", b"bytes=-1-3"),
                    ("hexadecimal", b"bytes=0x0-0x3"), ("plus", b"bytes=+0-3"), ("two_dashes", b"bytes=0--3"),
                    ("one_number", b"bytes=3"),
                    ("fraction", b"bytes=0-3.5"), ("trailing_word", b"bytes=0-3 x"), ("none", b"none")]:
    case("ignored_" + name, get(b"Range: " + value), [200], before=TEN, body={0: TEN["KEY"]})
case("unit_in_upper_case", get(b"Range: BYTES=0-3"), [(200, 206)], before=TEN)
case("with_an_empty_element", get(b"Range: bytes=,0-3"), [(200, 206)], before=TEN)
case("from_0_of_nothing", get(b"Range: bytes=0-"), [416], before={"KEY": b""},
     header={0: {"Content-Range": "bytes */0"}})
case("first_byte_of_nothing", get(b"Range: bytes=0-0"), [416], before={"KEY": b""})
case("suffix_of_an_empty_value", get(b"Range: bytes=-5"), [(200, 416)], before={"KEY": b""})
case("empty_suffix_of_an_empty_value", get(b"Range: bytes=-0"), [416], before={"KEY": b""})
case("ignored_with_head", head(b"HEAD /keys/KEY", b"Range: bytes=0-3"), [Head(200)], before=TEN)
case("ignored_with_put", put(b"new", b"Range: bytes=0-1"), [204], before=TEN, after={"KEY": b"new"})
case("ignored_with_livez", head(b"GET /livez", b"Range: bytes=0-0"), [200])
case("of_an_absent_key", get(b"Range: bytes=0-3"), [404])
case("if_range_holds", get(b"Range: bytes=0-3", b"If-Range: ETAG"), [206], before=TEN, body={0: b"0123"})
case("if_range_fails", get(b"Range: bytes=0-3", b'If-Range: "1"'), [200], before=TEN, body={0: TEN["KEY"]})
case("if_range_weak", get(b"Range: bytes=0-3", b"If-Range: W/ETAG"), [200], before=TEN)
case("if_range_failing_never_416", get(b"Range: bytes=50-", b'If-Range: "1"'), [200], before=TEN)
case("if_range_alone", get(b"If-Range: ETAG"), [200], before=TEN)
case("if_range_old_date", get(b"Range: bytes=0-3", b"If-Range: PAST"), [200], before=TEN)
# RFC 9110, 13.1.5 and 8.8.2.2: a date of the same second is no strong validator, both answers are right.
case("if_range_date", get(b"Range: bytes=0-3", b"If-Range: MODIFIED"), [(200, 206)], before=TEN)
case("and_if_none_match", get(b"Range: bytes=0-3", b"If-None-Match: ETAG"), [304], before=TEN)
case("and_if_match", get(b"Range: bytes=0-3", b'If-Match: "1"'), [412], before=TEN)

# ---------------------------------------------------------------- pipelining
category("pipelining")

case("50_gets", get() * 50, [200] * 50, before=OLD, body={0: b"old", 49: b"old"})
case("500_requests", LIVE * 500, [200] * 500)
case("put_then_get", put(b"new") + get(), [204, 200], before=OLD, body={1: b"new"})
case("put_get_delete_get_put_get", put(b"1") + get() + delete() + get() + put(b"2") + get(),
     [201, 200, 204, 404, 201, 200],
     body={1: b"1", 5: b"2"})
case("get_then_put", get() + put(b"new") + get(), [200, 204, 200], before=OLD, body={0: b"old", 2: b"new"})
case("20_puts_then_get", b"".join(put(b"%d" % i) for i in range(20)) + get(), [201] + [204] * 19 + [200],
     body={20: b"19"})
case("20_chunked_puts_then_get", chunked(b"1\r\na\r\n0\r\n\r\n") * 20 + get(), [201] + [204] * 19 + [200],
     body={20: b"a"})
case("head_among_gets", get() + head(b"HEAD /keys/KEY") + get(), [200, Head(200), 200], before=OLD, body={2: b"old"})
case("fast_behind_slow", put(b"v") + LIVE + get() + LIVE, [201, 200, 200, 200], body={2: b"v"})
case("errors_do_not_end_it", get() + head(b"GET /nothing") + delete() + LIVE, [404, 404, 204, 200])
case("a_bad_request_ends_it", get() + b"BAD REQUEST\r\n\r\n" + put(b"new"), [200, 400], CLOSED, before=OLD, after=OLD)
case("a_bad_header_ends_it", LIVE + put(b"new", b"X-A : b") + put(b"new"), [200, 400], CLOSED, before=OLD, after=OLD)
case("a_bad_length_ends_it", LIVE + put(b"new", b"Content-Length: 4") + put(b"new"), [200, 400], CLOSED, before=OLD,
     after=OLD)
case("a_bad_chunk_ends_it", get() + chunked(b"zz\r\n") + put(b"new"), [200, 400], CLOSED, before=OLD, after=OLD)
case("a_write_before_a_bad_request_is_done", put(b"new") + b"\x00\r\n\r\n", [204, 400], CLOSED, before=OLD,
     after={"KEY": b"new"})
case("16_gets_then_a_bad_request", get() * 16 + b"BAD\r\n\r\n", [200] * 16 + [400], CLOSED, before=OLD)
case("40_gets_then_a_bad_request", get() * 40 + b"BAD\r\n\r\n", [200] * 40 + [400], CLOSED, before=OLD)
case("close_ends_it", LIVE + head(b"GET /livez", b"Connection: close") + put(b"new"), [200, 200], CLOSED, before=OLD,
     after=OLD)
case("http_1_0_ends_it", b"GET /livez HTTP/1.0\r\n\r\n" + put(b"new"), [200], CLOSED, before=OLD, after=OLD)
case("split_in_the_middle", [get() + get()[:9], get()[9:] + get()[:1], get()[1:]], [200, 200, 200], before=OLD)
case("split_in_a_body", [LIVE + put(b"hello")[:-2], b"lo" + get()[:7], get()[7:]], [200, 201, 200], body={2: b"hello"})
case("a_large_put_then_get", put(b"L" * 1000000) + get(), [201, 200], body={1: b"L" * 1000000})
case("20_large_gets", get() * 20, [200] * 20, before={"KEY": b"L" * 1000000},
     body={0: b"L" * 1000000, 19: b"L" * 1000000})
case("a_list_between_gets", get() + head(b"GET /keys?prefix=KEY", b"Accept: text/plain") + get(), [200, 200, 200],
     before=OLD,
     body={1: b"KEY\n", 2: b"old"})
case("a_bulk_between_gets", get() + head(b"POST /bulk", b"Content-Length: 26") + b'{"op":"get","key":"none"}\n' + get(),
     [200, 200, 200], before=OLD, body={2: b"old"})
case("everything_and_half_close", [get() * 5 + put(b"new") + get(), HALF_CLOSE], [200] * 5 + [204, 200], CLOSED,
     before=OLD,
     body={6: b"new"})
case("a_reset_harms_nobody", [get() * 16, RESET], [], before=OLD, after=OLD)

# ---------------------------------------------------------------- connections
category("connections")

for name, field in [("close", b"Connection: close"), ("close_in_other_case", b"cOnNeCtIoN: CLOSE"),
                    ("close_behind_keep_alive", b"Connection: keep-alive, close"),
                    ("close_in_a_list", b"Connection: x ,close, y"),
                    ("close_in_a_second_line", b"Connection: x\r\nConnection: close")]:
    case(name, head(b"GET /livez", field), [200], CLOSED)
for name, field in [("keep_alive", b"Connection: keep-alive"), ("an_unknown_option", b"Connection: closed"),
                    ("an_empty_option", b"Connection:"), ("te", b"Connection: TE\r\nTE: trailers")]:
    case(name, head(b"GET /livez", field), [200])
case("proxy_connection", head(b"GET /livez", b"Proxy-Connection: close"), [200], EITHER)
case("http_1_0_ends", b"GET /livez HTTP/1.0\r\nHost: x\r\n\r\n", [200], CLOSED)
case("http_1_0_keep_alive", b"GET /livez HTTP/1.0\r\nHost: x\r\nConnection: Keep-Alive\r\n\r\n" + LIVE, [200, 200],
     header={0: {"Connection": ...}})
case("http_1_0_keep_alive_and_close", b"GET /livez HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", [200], CLOSED)
case("http_1_0_list_is_not_chunked", b"GET /keys HTTP/1.0\r\nAccept: application/x-ndjson\r\n\r\n", [200], CLOSED,
     header={0: {"Transfer-Encoding": None}}, before=OLD)
case("http_1_0_array_is_not_chunked", b"GET /keys/KEY: HTTP/1.0\r\n\r\n", [200], CLOSED,
     header={0: {"Transfer-Encoding": None}},
     before={"KEY1": b""}, body={0: Json('["KEY1"]')})
case("half_close_after_a_get", [get(), HALF_CLOSE], [200], CLOSED, before=OLD, body={0: b"old"})
case("half_close_after_a_missing_key", [get(), HALF_CLOSE], [404], CLOSED)
case("half_close_after_a_list", [head(b"GET /keys?limit=3"), HALF_CLOSE], [200], CLOSED)
case("half_close_of_nothing", [HALF_CLOSE], [], CLOSED)
case("half_close_after_an_answer", [get(), Await(1), HALF_CLOSE], [200], CLOSED, before=OLD)
case("reset_after_a_request", [get(), RESET], [])
case("reset_in_a_head", [get()[:9], RESET], [])
case("close_with_put", put(b"v", b"Connection: close"), [201], CLOSED, after={"KEY": b"v"})
case("close_with_an_error", get(b"Connection: close"), [404], CLOSED)
case("an_error_keeps_it", get() * 3, [404] * 3)

# ---------------------------------------------------------------- deadlines: on a server with short ones
category("deadlines")

case("an_unfinished_head", [LIVE[:20]], [408], CLOSED)
case("an_unfinished_second_head", [LIVE, Await(1), LIVE[:20]], [200, 408], CLOSED)
case("an_unfinished_request_line", [b"G"], [408], CLOSED)
case("a_head_that_trickles", [TRICKLE], [408], CLOSED)
case("no_request_at_all", [b""], [], CLOSED)
case("no_second_request", [LIVE], [200], CLOSED)
case("a_body_that_never_comes", [head(b"PUT /keys/KEY", b"Content-Length: 5") + b"hell"], [408], CLOSED,
     after=NOT_STORED)
case("chunks_that_never_end", [chunked(b"5\r\nhello\r\n")], [408], CLOSED, after=NOT_STORED)
case("a_continued_body_that_never_comes", [head(b"PUT /keys/KEY", b"Content-Length: 5", b"Expect: 100-continue")],
     [100, 408], CLOSED, after=NOT_STORED)
