# SPDX-License-Identifier: MIT
"""Hostile and broken configuration files, and what `sherd-server --check-config` says of them: data for test_corpus.py."""
import collections

Configuration = collections.namedtuple("Configuration", "name text says")  # what it says of it: None if it is right
SECRET = b"do-not-show-me"
STORE = b"[store]\npartitions = 1\n"
PARTITION = b"[partition-1]\nhost = db1\nuser = u\npassword = " + SECRET + b"\n"
RIGHT = STORE + PARTITION
HASH = b"a" * 64
TOKEN = b"[token-a]\nsha256 = " + HASH + b"\nread = *\n"

CONFIGURATIONS = [Configuration(*fields) for fields in [
    # what is right
    ("the_smallest", RIGHT, None), ("crlf", RIGHT.replace(b"\n", b"\r\n"), None), ("no_last_line_feed", RIGHT[:-1], None),
    ("no_blanks", RIGHT.replace(b" = ", b"="), None), ("tabs", RIGHT.replace(b" = ", b"\t=\t"), None), ("comments", b"# a\n; b\n" + RIGHT, None),
    ("comments_in_any_bytes", b"# \xff\xfe\n" + RIGHT, None), ("empty_lines", b"\n\n" + RIGHT + b"\n\n", None),
    ("sections_in_any_order", PARTITION + STORE, None), ("equals_in_a_value", RIGHT.replace(SECRET, b"a=b=c"), None),
    ("quotes_are_part_of_a_value", RIGHT.replace(SECRET, b"\"a'b\""), None), ("hash_in_a_value", RIGHT.replace(SECRET, b"a # b"), None),
    ("a_backslash", RIGHT.replace(SECRET, b"a\\"), None), ("a_password_that_is_not_utf_8", RIGHT.replace(SECRET, b"\xff\x80"), None),
    ("a_percent", RIGHT.replace(SECRET, b"%s%n"), None), ("a_thousand_comments", b"# x\n" * 1000 + RIGHT, None),
    ("a_token", RIGHT + TOKEN, None), ("tokens_on_any_address", RIGHT + TOKEN + b"[server]\nlisten = 0.0.0.0:80\n", None),
    # files
    ("nothing", b"", "f:1: [store] partitions: missing"), ("only_blanks", b"  \n\t\n", "[store] partitions: missing"),
    ("a_byte_order_mark", b"\xef\xbb\xbf" + RIGHT, "f:1: a byte order mark"), ("utf_16", RIGHT.decode("latin-1").encode("utf-16"), "f:1: "),
    ("nul_bytes", b"\x00" * 100, "f:1: "), ("a_program", b"\x7fELF\x02\x01\x01" + bytes(99), "f:1: "), ("a_gigantic_line", b"a" * 100000, "f:1: "),
    ("too_long", b"#" * 99 + b"\n" + RIGHT * 30000, "too long"), ("json", b'{"store": {"partitions": 1}}\n', "f:1: "), ("yaml", b"store:\n  partitions: 1\n", "f:1: "),
    # lines
    ("nul_in_a_value", RIGHT.replace(SECRET, b"a\x00b"), "f:6: [partition-1] password: a control byte"),
    ("escape_in_a_value", RIGHT.replace(SECRET, b"a\x1b[2J"), "f:6: [partition-1] password: a control byte"),
    ("cr_in_a_value", RIGHT.replace(SECRET, b"a\rb"), "f:6: [partition-1] password: a control byte"),
    ("an_indented_line", RIGHT.replace(b"password", b" password"), "f:6: [partition-1]: an indented line"),
    ("a_comment_behind_a_value", RIGHT.replace(SECRET, SECRET + b" ; x"), "f:6: [partition-1] password: a semicolon after a blank"),
    ("a_long_line", RIGHT.replace(SECRET, SECRET * 20), "f:6: [partition-1] password: the line is too long"),
    ("no_equals", RIGHT + SECRET + b"\n", "f:7: [partition-1]: neither an option nor a comment"), ("a_colon_for_equals", RIGHT.replace(b"host = ", b"host: "), "f:4: [partition-1]: neither an option"),
    ("no_name", RIGHT + b"= x\n", "f:7: [partition-1]: not a name before ="), ("a_name_of_other_bytes", RIGHT + b"\xc3\xa4 = x\n", "f:7: [partition-1]: not a name before ="),
    ("a_name_with_a_blank", RIGHT + b"pass word = x\n", "f:7: [partition-1]: not a name"), ("an_option_first", b"threads = 1\n" + RIGHT, "f:1: threads: an option outside of a section"),
    ("no_bracket", RIGHT + b"[server\n", "f:7: a section without ]"), ("text_behind_a_section", RIGHT + b"[server] x\n", "f:7: text after the section"),
    ("an_empty_section", RIGHT + b"[]\n", "f:7: not the name of a section"), ("a_long_section", RIGHT + b"[" + b"a" * 99 + b"]\n", "f:7: not the name of a section"),
    ("a_section_twice", RIGHT + STORE, "f:7: [store]: a duplicate; the first is in line 1"), ("an_option_twice", RIGHT + b"password = x\n", "f:7: [partition-1] password: a duplicate"),
    ("a_section_in_upper_case", RIGHT + b"[SERVER]\n", "f:7: [SERVER]: unknown section"), ("an_option_in_upper_case", RIGHT + b"[server]\nListen = x\n", "f:8: [server] Listen: unknown option"),
    ("an_option_of_another_section", RIGHT + b"[server]\npassword = " + SECRET + b"\n", "f:8: [server] password: unknown option"),
    # values
    ("a_negative_number", RIGHT + b"[server]\nthreads = -1\n", "f:8: [server] threads = -1: "), ("a_hexadecimal_number", RIGHT + b"[server]\nthreads = 0x10\n", "f:8: [server] threads = 0x10: "),
    ("a_number_beyond_64_bits", RIGHT + b"[server]\nclients = 18446744073709551617\n", "f:8: [server] clients = 18446744073709551617: "),
    ("a_size_beyond_64_bits", RIGHT + b"[server]\nmax_value = 99999999999999999999M\n", "f:8: [server] max_value = "), ("a_fraction", RIGHT + b"[store]\n", "a duplicate"),
    ("an_unknown_unit", RIGHT + b"[server]\nhead_timeout = 1 parsec\n", "f:8: [server] head_timeout = 1 parsec: not a duration"),
    ("a_word_for_yes", RIGHT + b"[server]\ninsecure = true\n", "f:8: [server] insecure = true: not understood; yes or no"),
    ("too_many_partitions", STORE.replace(b"1", b"1001") + PARTITION, "f:2: [store] partitions = 1001: out of bounds"),
    ("partition_zero", RIGHT + b"[partition-0]\n", "f:7: [partition-0]: unknown section"), ("partition_with_zeros", RIGHT + b"[partition-01]\n", "f:7: [partition-01]: unknown section"),
    ("a_partition_beyond", RIGHT + PARTITION.replace(b"1", b"2"), "f:7: [partition-2]: beyond partitions = 1"), ("no_partition", STORE, "[partition-1]: missing"),
    ("the_same_partition_twice", b"[store]\npartitions = 2\n" + PARTITION + PARTITION.replace(b"partition-1", b"partition-2"), "the same server and database as [partition-1]"),
    ("host_and_socket", RIGHT + b"socket = /s\n", "both host and socket"), ("a_host_with_a_blank", RIGHT.replace(b"db1", b"d b"), "f:4: [partition-1] host = d b: "),
    ("a_host_with_a_port", RIGHT.replace(b"db1", b"db1:3306"), "f:4: [partition-1] host = db1:3306: "), ("a_database_with_a_backtick", RIGHT + b"database = a`b\n", "f:7: [partition-1] database = "),
    ("a_database_with_a_dot", RIGHT + b"database = a.b\n", "f:7: [partition-1] database = a.b: "), ("a_database_of_tests", RIGHT + b"database = test_a\n", "f:7: [partition-1] database"),
    ("a_password_and_a_file", RIGHT + b"password_file = x\n", "both password and password_file"), ("a_password_file_that_is_not", RIGHT.replace(b"password = " + SECRET, b"password_file = /nonexistent"), "password_file"),
    ("a_password_file_of_the_system", RIGHT.replace(b"password = " + SECRET, b"password_file = /dev/zero"), "password_file"),
    ("a_password_file_that_is_a_directory", RIGHT.replace(b"password = " + SECRET, b"password_file = /tmp"), "password_file"),
    # who and where
    ("an_open_address", RIGHT + b"[server]\nlisten = 0.0.0.0:80\n", "insecure = yes"), ("an_open_address_of_ipv6", RIGHT + b"[server]\nlisten = [::]:80\n", "insecure = yes"),
    ("a_name_that_may_be_loopback", RIGHT + b"[server]\nlisten = 127.example.com:80\n", None),  # the address is looked at when it is known
    ("a_port_beyond", RIGHT + b"[server]\nlisten = 127.0.0.1:65536\n", "f:8: [server] listen"), ("a_listen_without_port", RIGHT + b"[server]\nlisten = 127.0.0.1\n", "f:8: [server] listen"),
    ("a_token_itself_for_its_hash", RIGHT + b"[token-a]\nread = *\nsha256 = " + b"b" * 43 + b"\n", "f:9: [token-a] sha256"), ("a_hash_of_other_digits", RIGHT + TOKEN.replace(HASH, b"g" * 64), "f:8: [token-a] sha256"),
    ("a_token_that_may_nothing", RIGHT + b"[token-a]\nsha256 = " + HASH + b"\n", "it may do nothing"), ("a_token_without_hash", RIGHT + b"[token-a]\nread = *\n", "[token-a] sha256: missing"),
    ("two_tokens_of_one_hash", RIGHT + TOKEN + TOKEN.replace(b"-a", b"-b"), "that of [token-a]"), ("a_token_of_a_bad_name", RIGHT + TOKEN.replace(b"token-a", b"token-A b"), "unknown section"),
    ("a_token_of_no_name", RIGHT + TOKEN.replace(b"token-a", b"token-"), "unknown section"), ("a_prefix_with_a_bad_percent", RIGHT + TOKEN.replace(b"= *", b"= a, %g0"), "not prefixes"),
    ("an_empty_prefix_between_others", RIGHT + TOKEN.replace(b"= *", b"= a,,b"), "not prefixes"), ("an_origin_with_a_path", RIGHT + b"[server]\ncors_origins = https://a.example/x\n", "f:8: [server] cors_origins"),
    ("any_origin", RIGHT + b"[server]\ncors_origins = *\n", "f:8: [server] cors_origins"), ("the_origin_null", RIGHT + b"[server]\ncors_origins = null\n", "f:8: [server] cors_origins"),
    ("a_certificate_without_key", RIGHT + b"[server]\ntls_certificate = a.pem\n", "tls_key"), ("tls_to_a_socket", RIGHT.replace(b"host = db1", b"socket = /s") + b"tls = required\ntls_ca = a\n", "not for a socket"),
    ("tls_without_ca", RIGHT + b"tls = required\n", "required without tls_ca"), ("tls_that_may_be", RIGHT + b"tls = preferred\n", "f:7: [partition-1] tls = preferred: "),
]]
