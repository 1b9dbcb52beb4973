// SPDX-License-Identifier: MIT
// Whatever bytes a key has, a reader of the document must get exactly them back.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <libxml/HTMLparser.h>
#include <libxml/parser.h>
#include <sodium.h>
#include <stdlib.h>

#include "server/document.h"
#include "server/reply.h"
#include "server/target.h"
#include "store/key.h"

// K is the entry of a key in a table.
#define K(text)                                                                                    \
    {                                                                                              \
        (text), sizeof(text) - 1                                                                   \
    }

static const struct slice keys[] = {
    K("plain"),
    K(" leading and trailing "),
    K("\t"),
    K("\n"),
    K("\r"),
    K("a\r\nb"),
    K("\"'`"),
    K("\\u0041\\"),
    K("&amp;&lt;&#65;&"),
    K("<b>"),
    K("</script><script>alert(1)</script>"),
    K("<!--"),
    K("]]>"),
    K("<![CDATA[x]]>"),
    K("<?xml?>"),
    K("%41%"),
    K("a:"),
    K("a?b#c"),
    K("a/../b"),
    K("\0"),
    K("a\0b"),
    K("\x01\x1f"),
    K("\x7f"),
    K("\x80"),
    K("\xff\xfe"),
    K("a\xc3"),                                // a sequence cut short
    K("\xc0\xaf"),                             // overlong
    K("\xed\xa0\x80"),                         // a surrogate
    K("\xf4\x90\x80\x80"),                     // beyond U+10FFFF
    K("\xc3\xa4\xe2\x82\xac\xf0\x9f\x90\xa6"), // two, three and four bytes
    K("\xc2\x85\xe2\x80\xa8"),                 // NEL and LINE SEPARATOR
    K("\xef\xbb\xbf"
      "a"),            // a byte order mark
    K("\xef\xbf\xbd"), // U+FFFD
    K("\xef\xbf\xbe"), // U+FFFE
    K("\xef\xbf\xbf"), // U+FFFF
    K("a\xef\xbf\xbe"
      "b"),
    K("\xf0\x9f\xbf\xbe"), // U+1FFFE
    K("\xe2\x80\xae"
      "abc"), // RIGHT-TO-LEFT OVERRIDE
};

enum {
    KEYS = sizeof keys / sizeof keys[0],
};

static const struct slice next_page = K("/keys?after=a%26b&limit=2");
static const struct slice no_page = {NULL, 0};

static void write_list(enum format format, const struct listing_item *items, size_t count,
                       struct slice next, struct bytes *out)
{
    struct document_list list = {.format = format, .out = out};
    document_list_begin(&list);
    for (size_t i = 0; i < count; i++)
        document_list_item(&list, &items[i]);
    assert_int_equal(list.items, count);
    document_list_end(&list, next);
    assert_false(bytes_failed(out));
}

// write_keys writes all keys, every third one a folder, with their own bytes as type.
static void write_keys(enum format format, struct slice next, struct bytes *out)
{
    struct listing_item items[KEYS];
    for (size_t i = 0; i < KEYS; i++)
        items[i] = (struct listing_item){
            .key = keys[i], .type = keys[i], .version = UINT64_MAX - i, .folder = i % 3 == 2};
    write_list(format, items, KEYS, next, out);
}

static struct slice base64(struct slice text, unsigned char *out, size_t size)
{
    size_t len;
    assert_int_equal(sodium_base642bin(out, size, text.data, text.len, "\r\n", &len, NULL,
                                       sodium_base64_VARIANT_ORIGINAL),
                     0);
    return (struct slice){(char *)out, len};
}

// ---------------------------------------------------------------- JSON

static json_t *load(struct slice text)
{
    json_error_t error;
    json_t *value =
        json_loadb(text.data, text.len, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &error);
    if (!value)
        fail_msg("%s in %.*s", error.text, (int)text.len, text.data);
    return value;
}

static bool json_has(const json_t *object, const char *name, struct slice expected)
{
    char encoded[40];
    unsigned char buffer[KEY_MAX];
    const json_t *value = json_object_get(object, name);
    snprintf(encoded, sizeof encoded, "%s_base64", name);
    const json_t *base64_value = json_object_get(object, encoded);
    assert_int_equal(!value, base64_value != NULL); // one of them, not both
    if (value)
        return slice_equal((struct slice){json_string_value(value), json_string_length(value)},
                           expected);
    return slice_equal(base64(slice_of(json_string_value(base64_value)), buffer, sizeof buffer),
                       expected);
}

static void expect_json_item(const json_t *item, size_t i)
{
    char version[24];
    bool folder = i % 3 == 2;
    assert_true(json_has(item, folder ? "prefix" : "key", keys[i]));
    assert_int_equal(json_object_size(item), folder ? 1 : 3);
    if (folder)
        return;
    assert_true(json_has(item, "type", keys[i]));
    snprintf(version, sizeof version, "%llu", (unsigned long long)(UINT64_MAX - i));
    assert_string_equal(json_string_value(json_object_get(item, "version")), version);
}

static void document_list__in_json_gives_back_every_key(void **state)
{
    (void)state;
    struct bytes out = {0};
    write_keys(FORMAT_JSON, next_page, &out);
    json_t *list = load(bytes_slice(&out));
    json_t *items = json_object_get(list, "keys");
    assert_int_equal(json_array_size(items), KEYS);
    for (size_t i = 0; i < KEYS; i++)
        expect_json_item(json_array_get(items, i), i);
    assert_string_equal(json_string_value(json_object_get(list, "next")), next_page.data);
    json_decref(list);
    bytes_fini(&out);
}

static void document_list__in_ndjson_gives_a_line_an_item(void **state)
{
    (void)state;
    struct bytes out = {0};
    write_keys(FORMAT_NDJSON, next_page, &out);
    struct slice rest = bytes_slice(&out);
    for (size_t i = 0; i < KEYS; i++) {
        json_t *item = load(slice_token(&rest, '\n'));
        expect_json_item(item, i);
        json_decref(item);
    }
    assert_int_equal(rest.len, 0);
    bytes_fini(&out);
}

// member loads the object that has nothing but `s` as "a".
static json_t *member(struct slice s)
{
    struct bytes out = {0};
    bytes_append_char(&out, '{');
    document_append_bytes(&out, "a", s);
    bytes_append_char(&out, '}');
    json_t *object = load(bytes_slice(&out));
    bytes_fini(&out);
    assert_int_equal(json_object_size(object), 1);
    return object;
}

static void document_append_bytes__gives_back_every_byte(void **state)
{
    (void)state;
    for (int c = 0; c < 0x100; c++) {
        char text[] = {'x', (char)c, 'y'};
        json_t *object = member((struct slice){text, sizeof text});
        const json_t *value = json_object_get(object, c < 0x80 ? "a" : "a_base64");
        assert_non_null(value);
        if (c < 0x80) {
            assert_int_equal(json_string_length(value), sizeof text);
            assert_memory_equal(json_string_value(value), text, sizeof text);
        }
        json_decref(object);
    }
}

static void document_append_version__is_a_string(void **state)
{
    (void)state;
    struct bytes out = {0};
    document_append_version(&out, UINT64_MAX);
    assert_true(slice_equal(bytes_slice(&out), SLICE("\"version\":\"18446744073709551615\"")));
    bytes_fini(&out);
}

static void document_append_bytes__takes_base64_only_where_it_must(void **state)
{
    (void)state;
    struct bytes out = {0};
    bytes_append_char(&out, '{');
    document_append_bytes(&out, "a", SLICE("\xc3\xa4"));
    bytes_append_char(&out, ',');
    document_append_bytes(&out, "b", SLICE("\xff"));
    bytes_append_char(&out, ',');
    document_append_bytes(&out, "c", (struct slice){NULL, 0});
    bytes_append_char(&out, ',');
    document_append_bytes(&out, "d", SLICE("\xff\xff\xff\xff"));
    bytes_append_char(&out, '}');
    json_t *again = load(bytes_slice(&out));
    assert_int_equal(json_object_size(again), 4);
    assert_string_equal(json_string_value(json_object_get(again, "a")), "\xc3\xa4");
    assert_string_equal(json_string_value(json_object_get(again, "b_base64")), "/w==");
    assert_string_equal(json_string_value(json_object_get(again, "c")), "");
    assert_string_equal(json_string_value(json_object_get(again, "d_base64")), "/////w==");
    assert_null(memchr(out.data, '\n', out.len));
    json_decref(again);
    bytes_fini(&out);
}

static void document_append_json__fails_without_a_value(void **state)
{
    (void)state;
    struct bytes out = {0};
    document_append_json(&out, NULL);
    assert_true(bytes_failed(&out));
    bytes_fini(&out);
}

// ---------------------------------------------------------------- XML and HTML

static xmlNodePtr child(xmlNodePtr parent, const char *name, size_t index)
{
    for (xmlNodePtr n = parent->children; n; n = n->next)
        if (n->type == XML_ELEMENT_NODE && (!name || !xmlStrcmp(n->name, BAD_CAST name)) &&
            index-- == 0)
            return n;
    return NULL;
}

static bool node_has(xmlNodePtr node, struct slice expected)
{
    unsigned char buffer[KEY_MAX];
    xmlChar *text = xmlNodeGetContent(node);
    xmlChar *encoding = xmlGetProp(node, BAD_CAST "encoding");
    struct slice content = slice_of((char *)text);
    if (encoding) {
        assert_string_equal((char *)encoding, "base64");
        content = base64(content, buffer, sizeof buffer);
    }
    bool same = slice_equal(content, expected);
    xmlFree(text);
    xmlFree(encoding);
    return same;
}

static void expect_attribute(xmlNodePtr node, const char *name, const char *expected)
{
    xmlChar *value = xmlGetProp(node, BAD_CAST name);
    if (expected)
        assert_string_equal((char *)value, expected);
    else
        assert_null(value);
    xmlFree(value);
}

static xmlDocPtr read_xml(const struct bytes *out)
{
    xmlDocPtr doc = xmlReadMemory(out->data, (int)out->len, NULL, NULL, XML_PARSE_NONET);
    assert_non_null(doc);
    return doc;
}

static void document_list__in_xml_gives_back_every_key(void **state)
{
    (void)state;
    struct bytes out = {0};
    write_keys(FORMAT_XML, next_page, &out);
    xmlDocPtr doc = read_xml(&out);
    xmlNodePtr root = xmlDocGetRootElement(doc), items = child(root, "keys", 0);
    assert_string_equal((const char *)root->name, "list");
    for (size_t i = 0; i < KEYS; i++) {
        bool folder = i % 3 == 2;
        char version[24];
        xmlNodePtr item = child(items, NULL, i);
        assert_non_null(item);
        assert_string_equal((const char *)item->name, folder ? "prefix" : "key");
        if (!node_has(item, keys[i]))
            fail_msg("key %zu came back otherwise", i);
        snprintf(version, sizeof version, "%llu", (unsigned long long)(UINT64_MAX - i));
        expect_attribute(item, "version", folder ? NULL : version);
        xmlChar *type = xmlGetProp(item, BAD_CAST "type");
        if (type) // left out where XML cannot say it
            assert_true(slice_equal(slice_of((char *)type), keys[i]));
        xmlFree(type);
    }
    assert_null(child(items, NULL, KEYS));
    assert_true(node_has(child(root, "next", 0), next_page));
    xmlFreeDoc(doc);
    bytes_fini(&out);
}

static void document_list__in_xml_names_every_type_that_it_can(void **state)
{
    (void)state;
    struct listing_item item = {.key = SLICE("a"), .type = SLICE("a/b; c=\"<&'>\t\n\xc3\xa4")};
    struct bytes out = {0};
    write_list(FORMAT_XML, &item, 1, no_page, &out);
    xmlDocPtr doc = read_xml(&out);
    xmlNodePtr root = xmlDocGetRootElement(doc);
    expect_attribute(child(child(root, "keys", 0), "key", 0), "type", item.type.data);
    assert_null(child(root, "next", 0));
    xmlFreeDoc(doc);
    bytes_fini(&out);
}

static void document_list__in_xml_breaks_no_long_key(void **state)
{
    (void)state;
    static char key[KEY_MAX];
    memset(key, 0xff, sizeof key);
    struct listing_item item = {.key = {key, sizeof key}};
    struct bytes out = {0};
    write_list(FORMAT_XML, &item, 1, no_page, &out);
    xmlDocPtr doc = read_xml(&out);
    assert_true(node_has(child(child(xmlDocGetRootElement(doc), "keys", 0), "key", 0), item.key));
    xmlFreeDoc(doc);
    bytes_fini(&out);
}

// find returns the index-th element of that name, in the order of the document.
static xmlNodePtr find(xmlNodePtr node, const char *name, size_t *index)
{
    for (; node; node = node->next) {
        if (node->type == XML_ELEMENT_NODE && !xmlStrcmp(node->name, BAD_CAST name) &&
            (*index)-- == 0)
            return node;
        xmlNodePtr below =
            node->type == XML_ELEMENT_NODE ? find(node->children, name, index) : NULL;
        if (below)
            return below;
    }
    return NULL;
}

static void document_list__in_html_links_every_key(void **state)
{
    (void)state;
    struct bytes out = {0};
    write_keys(FORMAT_HTML, next_page, &out);
    htmlDocPtr doc = htmlReadMemory(out.data, (int)out.len, NULL, "UTF-8",
                                    HTML_PARSE_NONET | HTML_PARSE_NOERROR | HTML_PARSE_NOWARNING);
    assert_non_null(doc);
    for (size_t i = 0; i < KEYS; i++) {
        size_t index = i, len;
        char key[KEY_MAX];
        struct slice path = i % 3 == 2 ? SLICE("/keys?delimiter=%2F&prefix=") : SLICE("/keys/");
        xmlNodePtr link = find(xmlDocGetRootElement(doc), "a", &index);
        xmlChar *href = xmlGetProp(link, BAD_CAST "href");
        struct slice name = slice_of((char *)href);
        assert_true(slice_starts(name, path));
        name = (struct slice){name.data + path.len, name.len - path.len};
        assert_true(name.data[name.len - 1] != ':'); // that would be the prefix
        assert_null(memchr(name.data, '?', name.len));
        assert_null(memchr(name.data, '&', name.len));
        assert_int_equal(target_decode(name, key, sizeof key, &len), ERROR_NONE);
        assert_true(slice_equal((struct slice){key, len}, keys[i]));
        xmlFree(href);
    }
    size_t index = KEYS;
    xmlNodePtr next = find(xmlDocGetRootElement(doc), "a", &index);
    expect_attribute(next, "rel", "next");
    expect_attribute(next, "href", next_page.data);
    index = 0;
    assert_null(find(xmlDocGetRootElement(doc), "script", &index));
    xmlFreeDoc(doc);
    bytes_fini(&out);
}

static void document_list__in_html_escapes_labels(void **state)
{
    (void)state;
    static const struct listing_item items[] = {{.key = K("<i>\"&")}, {.key = K("\xff<")}};
    struct bytes out = {0};
    write_list(FORMAT_HTML, items, 2, no_page, &out);
    static const struct slice expected =
        K("<ul>\n<li><a href=\"/keys/%3Ci%3E%22%26\">&lt;i&gt;&quot;&amp;</a></li>\n"
          "<li><a href=\"/keys/%FF%3C\">%FF&lt;</a></li>\n</ul>\n</body></html>\n");
    struct slice got = bytes_slice(&out);
    assert_true(got.len > expected.len);
    got = (struct slice){got.data + got.len - expected.len, expected.len};
    if (!slice_equal(got, expected))
        fail_msg("%.*s", (int)got.len, got.data);
    bytes_fini(&out);
}

// ---------------------------------------------------------------- text and the empty list

static void document_list__in_text_gives_a_printable_line_a_key(void **state)
{
    (void)state;
    struct bytes out = {0};
    write_keys(FORMAT_TEXT, next_page, &out);
    struct slice rest = bytes_slice(&out);
    for (size_t i = 0; i < KEYS; i++) {
        char key[KEY_MAX];
        size_t len;
        struct slice line = slice_token(&rest, '\n');
        for (size_t at = 0; at < line.len; at++)
            assert_true(line.data[at] >= ' ' && line.data[at] <= '~');
        assert_int_equal(target_decode(line, key, sizeof key, &len), ERROR_NONE);
        assert_true(slice_equal((struct slice){key, len}, keys[i]));
    }
    assert_int_equal(rest.len, 0);
    bytes_fini(&out);
}

static void document_list__without_items_is_a_document_too(void **state)
{
    (void)state;
    static const struct {
        enum format format;
        const char *text;
    } cases[] = {
        {FORMAT_JSON, "{\"keys\":[],\"next\":null}\n"},
        {FORMAT_TEXT, ""},
        {FORMAT_NDJSON, ""},
        {FORMAT_XML,
         "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<list>\n<keys>\n</keys>\n</list>\n"},
        {FORMAT_HTML, "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"/>"
                      "<title>Keys</title></head><body><h1>Keys</h1>\n<ul>\n</ul>\n"
                      "</body></html>\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct bytes out = {0};
        write_list(cases[i].format, NULL, 0, no_page, &out);
        assert_true(slice_equal(bytes_slice(&out), slice_of(cases[i].text)));
        bytes_fini(&out);
    }
}

static void document_type__names_each_format(void **state)
{
    (void)state;
    assert_string_equal(document_type(FORMAT_JSON), "application/json");
    assert_string_equal(document_type(FORMAT_TEXT), "text/plain; charset=utf-8");
    assert_string_equal(document_type(FORMAT_HTML), "text/html; charset=utf-8");
    assert_string_equal(document_type(FORMAT_XML), "application/xml");
    assert_string_equal(document_type(FORMAT_NDJSON), "application/x-ndjson");
}

// ---------------------------------------------------------------- problems

static const char detail[] = "a <b> & \"c\"";

static void expect_problem(enum format format, const char *type, const char *text)
{
    struct bytes out = {0};
    assert_string_equal(document_problem(format, 404, detail, &out), type);
    assert_false(bytes_failed(&out));
    if (!slice_equal(bytes_slice(&out), slice_of(text)))
        fail_msg("%.*s", (int)out.len, out.data);
    bytes_fini(&out);
}

static void document_problem__is_escaped_in_each_format(void **state)
{
    (void)state;
    static const char json[] =
        "{\"type\":\"urn:problem-type:sherd:not-found\",\"title\":\"Not Found\",\"status\":404,"
        "\"detail\":\"a <b> & \\\"c\\\"\"}\n";
    expect_problem(FORMAT_JSON, "application/problem+json", json);
    expect_problem(FORMAT_NDJSON, "application/problem+json", json);
    expect_problem(FORMAT_NONE, "application/problem+json", json); // even for nothing acceptable
    expect_problem(FORMAT_TEXT, "text/plain; charset=utf-8", "404 Not Found: a <b> & \"c\"\n");
    expect_problem(FORMAT_HTML, "text/html; charset=utf-8",
                   "<!DOCTYPE html>\n<html><title>Not Found</title><body><h1>404 Not Found</h1>"
                   "<p>a &lt;b&gt; &amp; &quot;c&quot;</p></body></html>");
}

static void document_problem__in_xml_is_that_of_rfc_7807(void **state)
{
    (void)state;
    struct bytes out = {0};
    assert_string_equal(document_problem(FORMAT_XML, 404, detail, &out), "application/problem+xml");
    xmlDocPtr doc = read_xml(&out);
    xmlNodePtr root = xmlDocGetRootElement(doc);
    assert_string_equal((const char *)root->name, "problem");
    assert_string_equal((const char *)root->ns->href, "urn:ietf:rfc:7807");
    assert_true(node_has(child(root, "type", 0), SLICE("urn:problem-type:sherd:not-found")));
    assert_true(node_has(child(root, "title", 0), SLICE("Not Found")));
    assert_true(node_has(child(root, "status", 0), SLICE("404")));
    assert_true(node_has(child(root, "detail", 0), SLICE(detail)));
    xmlFreeDoc(doc);
    bytes_fini(&out);
}

// Every status that a client may meet has a type and a title of its own.
static void document_problem__knows_every_status(void **state)
{
    (void)state;
    static const unsigned statuses[] = {400, 403, 404, 405, 406, 408, 409, 411, 412, 413,
                                        414, 415, 416, 417, 431, 500, 501, 503, 504, 505};
    struct bytes seen = {0};
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++) {
        struct bytes out = {0};
        document_problem(FORMAT_JSON, statuses[i], "x", &out);
        json_t *problem = load(bytes_slice(&out));
        const char *type = json_string_value(json_object_get(problem, "type"));
        const char *title = json_string_value(json_object_get(problem, "title"));
        assert_int_equal(json_integer_value(json_object_get(problem, "status")), statuses[i]);
        assert_true(slice_starts(slice_of(type), SLICE("urn:problem-type:sherd:")));
        assert_string_not_equal(title, "Unknown");
        if (seen.len && memmem(seen.data, seen.len, type, strlen(type) + 1))
            fail_msg("%u has a type that another status has: %s", statuses[i], type);
        bytes_append(&seen, type, strlen(type) + 1);
        json_decref(problem);
        bytes_fini(&out);
    }
    bytes_fini(&seen);
}

static void document_status__never_claims_more_than_is_known(void **state)
{
    (void)state;
    static const struct {
        enum error error;
        unsigned status;
    } cases[] = {
        {ERROR_MEMORY, 503},       {ERROR_SYSTEM, 500},      {ERROR_MALFORMED, 500},
        {ERROR_TOO_LARGE, 413},    {ERROR_UNAVAILABLE, 503}, {ERROR_OUTCOME, 504},
        {ERROR_PRECONDITION, 412}, {ERROR_REJECTED, 409},    {ERROR_MISCONFIGURED, 503},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(document_status(cases[i].error), cases[i].status);
        assert_true(strlen(document_detail(cases[i].error)) > 0);
    }
    assert_null(strstr(document_detail(ERROR_OUTCOME), "nothing was written"));
    assert_non_null(strstr(document_detail(ERROR_UNAVAILABLE), "nothing was written"));
}

// reply_reason: of all that is ever sent.
static void reply_reason__of_every_status(void **state)
{
    (void)state;
    static const unsigned statuses[] = {200, 201, 202, 204, 206, 304, 400, 401, 403, 404,
                                        405, 406, 408, 409, 410, 411, 412, 413, 414, 415,
                                        416, 417, 421, 429, 431, 500, 501, 503, 504, 505};
    assert_string_equal(reply_reason(202), "Accepted");
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++)
        assert_string_not_equal(reply_reason(statuses[i]), reply_reason(299));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reply_reason__of_every_status),
        cmocka_unit_test(document_list__in_json_gives_back_every_key),
        cmocka_unit_test(document_list__in_ndjson_gives_a_line_an_item),
        cmocka_unit_test(document_append_bytes__gives_back_every_byte),
        cmocka_unit_test(document_append_bytes__takes_base64_only_where_it_must),
        cmocka_unit_test(document_append_version__is_a_string),
        cmocka_unit_test(document_append_json__fails_without_a_value),
        cmocka_unit_test(document_list__in_xml_gives_back_every_key),
        cmocka_unit_test(document_list__in_xml_names_every_type_that_it_can),
        cmocka_unit_test(document_list__in_xml_breaks_no_long_key),
        cmocka_unit_test(document_list__in_html_links_every_key),
        cmocka_unit_test(document_list__in_html_escapes_labels),
        cmocka_unit_test(document_list__in_text_gives_a_printable_line_a_key),
        cmocka_unit_test(document_list__without_items_is_a_document_too),
        cmocka_unit_test(document_type__names_each_format),
        cmocka_unit_test(document_problem__is_escaped_in_each_format),
        cmocka_unit_test(document_problem__in_xml_is_that_of_rfc_7807),
        cmocka_unit_test(document_problem__knows_every_status),
        cmocka_unit_test(document_status__never_claims_more_than_is_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
