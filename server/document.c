// SPDX-License-Identifier: MIT
#include "server/document.h"

#include <libxml/xmlwriter.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "server/reply.h"
#include "server/target.h"

// ---------------------------------------------------------------- errors of the store

static const struct {
    unsigned status;
    const char *detail;
} store_errors[] = {
    [ERROR_NONE] = {200, ""},
    [ERROR_MEMORY] = {503, "out of memory; nothing was written"},
    [ERROR_SYSTEM] = {500, "internal error"},
    [ERROR_MALFORMED] = {500, "internal error"},
    [ERROR_TOO_LARGE] =
        {413, "the pair is larger than the partition's settings allow; nothing was written"},
    [ERROR_UNAVAILABLE] = {503, "the key's partition is unavailable; nothing was written"},
    [ERROR_OUTCOME] = {504,
                       "the partition went away during the write: it may or may not have happened"},
    [ERROR_PRECONDITION] =
        {412, "the key's present state does not meet the condition; nothing was written"},
    [ERROR_REJECTED] = {409, "the database refuses this pair; nothing was written"},
    [ERROR_MISCONFIGURED] = {503, "the key's partition is unavailable; nothing was written"},
};

unsigned document_status(enum error error)
{
    return store_errors[error].status;
}

const char *document_detail(enum error error)
{
    return store_errors[error].detail;
}

// ---------------------------------------------------------------- JSON

static int append_dump(const char *text, size_t len, void *context)
{
    bytes_append(context, text, len);
    return 0;
}

void document_append_json(struct bytes *out, json_t *value)
{
    if (!value || json_dump_callback(value, append_dump, out, JSON_COMPACT | JSON_ENCODE_ANY))
        out->failed = true;
    json_decref(value);
}

static json_t *base64_value(struct slice s)
{
    size_t size = sodium_base64_encoded_len(s.len, sodium_base64_VARIANT_ORIGINAL);
    char *text = malloc(size);
    if (!text)
        return NULL;
    sodium_bin2base64(text, size, (const unsigned char *)s.data, s.len,
                      sodium_base64_VARIANT_ORIGINAL);
    json_t *value = json_string(text);
    free(text);
    return value;
}

// is_plain tells whether JSON holds `s` as it is. Most keys and types are plain, and a list of them
// takes half the time when the library sees only the others.
static bool is_plain(struct slice s)
{
    bool plain = true;
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.data[i];
        plain = plain && c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
    }
    return plain;
}

void document_append_bytes(struct bytes *out, const char *name, struct slice s)
{
    bytes_append_char(out, '"');
    bytes_append_text(out, name);
    if (is_plain(s)) {
        bytes_append_slice(out, SLICE("\":\""));
        bytes_append_slice(out, s);
        bytes_append_char(out, '"');
        return;
    }
    json_t *value = json_stringn(s.data, s.len);
    bytes_append_text(out, value ? "\":" : "_base64\":");
    document_append_json(out, value ? value : base64_value(s));
}

void document_append_version(struct bytes *out, uint64_t version)
{
    bytes_append_slice(out, SLICE("\"version\":\""));
    bytes_append_number(out, version);
    bytes_append_char(out, '"');
}

static void json_item(struct bytes *out, const struct listing_item *item)
{
    bytes_append_char(out, '{');
    document_append_bytes(out, item->folder ? "prefix" : "key", item->key);
    if (!item->folder) {
        bytes_append_char(out, ',');
        document_append_bytes(out, "type", item->type);
        bytes_append_char(out, ',');
        document_append_version(out, item->version);
    }
    bytes_append_char(out, '}');
}

// ---------------------------------------------------------------- XML and HTML

// xml_text tells whether `s` can be written in XML 1.0: UTF-8 without control characters. Carriage
// return is left out because a reader would make a line feed of it.
static bool xml_text(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.data[i];
        bool noncharacter = c == 0xef && i + 2 < s.len && (unsigned char)s.data[i + 1] == 0xbf &&
                            (unsigned char)s.data[i + 2] >= 0xbe; // U+FFFE, U+FFFF
        if ((c < 0x20 && c != '\t' && c != '\n') || noncharacter)
            return false;
    }
    json_t *utf8 = json_stringn(s.len ? s.data : "", s.len); // jansson checks UTF-8 for us
    json_decref(utf8);
    return utf8 != NULL;
}

static int append_xml(void *context, const char *text, int len)
{
    bytes_append(context, text, (size_t)len);
    return len;
}

static xmlTextWriterPtr xml_open(struct bytes *out)
{
    xmlOutputBufferPtr buffer = xmlOutputBufferCreateIO(append_xml, NULL, out, NULL);
    xmlTextWriterPtr writer = buffer ? xmlNewTextWriter(buffer) : NULL;
    if (!writer) {
        out->failed = true;
        xmlOutputBufferClose(buffer);
    }
    return writer;
}

// must: where the library has no memory it says so, and what it wrote is no document.
static void must(struct bytes *out, int written)
{
    out->failed = out->failed || written < 0;
}

static void xml_close(xmlTextWriterPtr writer, struct bytes *out)
{
    if (!writer)
        return;
    must(out, xmlTextWriterFlush(writer));
    xmlFreeTextWriter(writer);
}

// xml_name writes `s` as the text of the open element, in base64 where XML cannot hold it.
static void xml_name(xmlTextWriterPtr w, struct slice s, struct bytes *out)
{
    if (!xml_text(s)) {
        must(out, xmlTextWriterWriteAttribute(w, BAD_CAST "encoding", BAD_CAST "base64"));
        must(out, xmlTextWriterWriteBase64(w, s.data, 0, (int)s.len));
        return;
    }
    char *text = strndup(s.len ? s.data : "", s.len);
    must(out, text ? xmlTextWriterWriteString(w, BAD_CAST text) : -1);
    free(text);
}

static void xml_attribute(xmlTextWriterPtr w, const char *name, struct slice value,
                          struct bytes *out)
{
    if (!xml_text(value))
        return;
    char *text = strndup(value.len ? value.data : "", value.len);
    must(out, text ? xmlTextWriterWriteAttribute(w, BAD_CAST name, BAD_CAST text) : -1);
    free(text);
}

static void xml_item(struct bytes *out, const struct listing_item *item)
{
    xmlTextWriterPtr w = xml_open(out);
    if (!w)
        return;
    must(out, xmlTextWriterStartElement(w, BAD_CAST(item->folder ? "prefix" : "key")));
    if (!item->folder) {
        must(out, xmlTextWriterWriteFormatAttribute(w, BAD_CAST "version", "%llu",
                                                    (unsigned long long)item->version));
        xml_attribute(w, "type", item->type, out);
    }
    xml_name(w, item->key, out);
    must(out, xmlTextWriterEndElement(w));
    xml_close(w, out);
    bytes_append_char(out, '\n');
}

static void html_link(xmlTextWriterPtr w, const char *path, struct slice name, const char *label,
                      struct bytes *out)
{
    struct bytes href = {0};
    bytes_append_text(&href, path);
    target_encode(&href, name);
    bytes_append_char(&href, '\0');
    if (!bytes_failed(&href)) {
        must(out, xmlTextWriterStartElement(w, BAD_CAST "a"));
        must(out, xmlTextWriterWriteAttribute(w, BAD_CAST "href", BAD_CAST href.data));
        must(out, xmlTextWriterWriteString(w, BAD_CAST label));
        must(out, xmlTextWriterEndElement(w));
    }
    bytes_fini(&href);
}

static void html_item(struct bytes *out, const struct listing_item *item)
{
    struct bytes label = {0};
    xmlTextWriterPtr w = xml_open(out);
    if (xml_text(item->key))
        bytes_append_slice(&label, item->key);
    else
        target_encode_printable(&label, item->key);
    bytes_append_char(&label, '\0');
    if (w && !bytes_failed(&label)) {
        must(out, xmlTextWriterStartElement(w, BAD_CAST "li"));
        html_link(w, item->folder ? "/keys?delimiter=%2F&prefix=" : "/keys/", item->key, label.data,
                  out);
        must(out, xmlTextWriterEndElement(w));
    }
    xml_close(w, out);
    bytes_append_char(out, '\n');
    bytes_fini(&label);
}

// ---------------------------------------------------------------- lists

static const struct {
    const char *type;
    const char *problem_type;
    const char *begin;
} formats[] = {
    [FORMAT_NONE] = {"application/json", "application/problem+json", ""},
    [FORMAT_JSON] = {"application/json", "application/problem+json", "{\"keys\":["},
    [FORMAT_TEXT] = {"text/plain; charset=utf-8", "text/plain; charset=utf-8", ""},
    [FORMAT_HTML] = {"text/html; charset=utf-8", "text/html; charset=utf-8",
                     "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"/>"
                     "<title>Keys</title></head><body><h1>Keys</h1>\n<ul>\n"},
    [FORMAT_XML] = {"application/xml", "application/problem+xml",
                    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<list>\n<keys>\n"},
    [FORMAT_NDJSON] = {"application/x-ndjson", "application/problem+json", ""},
    [FORMAT_EVENTS] = {"text/event-stream", "application/problem+json", ""},
};

const char *document_type(enum format format)
{
    return formats[format].type;
}

void document_list_begin(struct document_list *list)
{
    list->items = 0;
    bytes_append_text(list->out, formats[list->format].begin);
}

void document_list_item(struct document_list *list, const struct listing_item *item)
{
    struct bytes *out = list->out;
    switch (list->format) {
    case FORMAT_TEXT:
        target_encode_printable(out, item->key);
        bytes_append_char(out, '\n');
        break;
    case FORMAT_HTML:
        html_item(out, item);
        break;
    case FORMAT_XML:
        xml_item(out, item);
        break;
    case FORMAT_NDJSON:
        json_item(out, item);
        bytes_append_char(out, '\n');
        break;
    default:
        if (list->items)
            bytes_append_char(out, ',');
        json_item(out, item);
    }
    list->items++;
}

static void end_json(struct bytes *out, struct slice next)
{
    bytes_append_text(out, "],\"next\":");
    // json_dumps of a bare string needs JSON_ENCODE_ANY; an address has nothing to escape.
    if (next.len) {
        bytes_append_char(out, '"');
        bytes_append_slice(out, next);
        bytes_append_text(out, "\"}\n");
    } else {
        bytes_append_text(out, "null}\n");
    }
}

static void end_xml(struct bytes *out, struct slice next)
{
    xmlTextWriterPtr w = xml_open(out);
    bytes_append_text(out, "</keys>\n");
    if (w && next.len) {
        must(out, xmlTextWriterStartElement(w, BAD_CAST "next"));
        xml_name(w, next, out);
        must(out, xmlTextWriterEndElement(w));
    }
    xml_close(w, out);
    bytes_append_text(out, "</list>\n");
}

static void end_html(struct bytes *out, struct slice next)
{
    bytes_append_text(out, "</ul>\n");
    if (next.len) {
        xmlTextWriterPtr w = xml_open(out);
        char *address = strndup(next.data, next.len);
        if (w && address) {
            must(out, xmlTextWriterStartElement(w, BAD_CAST "a"));
            must(out, xmlTextWriterWriteAttribute(w, BAD_CAST "rel", BAD_CAST "next"));
            must(out, xmlTextWriterWriteAttribute(w, BAD_CAST "href", BAD_CAST address));
            must(out, xmlTextWriterWriteString(w, BAD_CAST "Next page"));
            must(out, xmlTextWriterEndElement(w));
        }
        free(address);
        xml_close(w, out);
    }
    bytes_append_text(out, "</body></html>\n");
}

void document_list_end(struct document_list *list, struct slice next)
{
    switch (list->format) {
    case FORMAT_TEXT:
    case FORMAT_NDJSON:
        break;
    case FORMAT_HTML:
        end_html(list->out, next);
        break;
    case FORMAT_XML:
        end_xml(list->out, next);
        break;
    default:
        end_json(list->out, next);
    }
}

// ---------------------------------------------------------------- problems

static const struct {
    unsigned status;
    const char *name;
} problems[] = {
    {400, "bad-request"},
    {401, "token-needed"},
    {403, "forbidden"},
    {404, "not-found"},
    {405, "method-not-allowed"},
    {406, "not-acceptable"},
    {408, "timeout"},
    {409, "conflict"},
    {410, "changes-trimmed"},
    {411, "length-required"},
    {412, "precondition-failed"},
    {413, "too-large"},
    {414, "uri-too-long"},
    {415, "unsupported-media-type"},
    {416, "range-not-satisfiable"},
    {417, "expectation-failed"},
    {421, "misdirected"},
    {429, "too-many-requests"},
    {431, "headers-too-large"},
    {501, "not-implemented"},
    {503, "unavailable"},
    {504, "outcome-unknown"},
    {505, "version-not-supported"},
};

static void problem_type(unsigned status, char *type, size_t size)
{
    const char *name = "internal";
    for (size_t i = 0; i < sizeof problems / sizeof problems[0]; i++)
        if (problems[i].status == status)
            name = problems[i].name;
    snprintf(type, size, "urn:problem-type:sherd:%s", name);
}

static void problem_xml(unsigned status, const char *type, const char *detail, struct bytes *out)
{
    xmlTextWriterPtr w = xml_open(out);
    if (!w)
        return;
    must(out, xmlTextWriterStartDocument(w, NULL, "UTF-8", NULL));
    must(out,
         xmlTextWriterStartElementNS(w, NULL, BAD_CAST "problem", BAD_CAST "urn:ietf:rfc:7807"));
    must(out, xmlTextWriterWriteElement(w, BAD_CAST "type", BAD_CAST type));
    must(out, xmlTextWriterWriteElement(w, BAD_CAST "title", BAD_CAST reply_reason(status)));
    must(out, xmlTextWriterWriteFormatElement(w, BAD_CAST "status", "%u", status));
    must(out, xmlTextWriterWriteElement(w, BAD_CAST "detail", BAD_CAST detail));
    must(out, xmlTextWriterEndDocument(w));
    xml_close(w, out);
}

static void problem_html(unsigned status, const char *detail, struct bytes *out)
{
    xmlTextWriterPtr w = xml_open(out);
    bytes_append_text(out, "<!DOCTYPE html>\n");
    if (!w)
        return;
    must(out, xmlTextWriterStartElement(w, BAD_CAST "html"));
    must(out, xmlTextWriterWriteElement(w, BAD_CAST "title", BAD_CAST reply_reason(status)));
    must(out, xmlTextWriterStartElement(w, BAD_CAST "body"));
    must(out,
         xmlTextWriterWriteFormatElement(w, BAD_CAST "h1", "%u %s", status, reply_reason(status)));
    must(out, xmlTextWriterWriteElement(w, BAD_CAST "p", BAD_CAST detail));
    must(out, xmlTextWriterEndElement(w));
    must(out, xmlTextWriterEndElement(w));
    xml_close(w, out);
}

const char *document_problem(enum format format, unsigned status, const char *detail,
                             struct bytes *out)
{
    char type[64];
    problem_type(status, type, sizeof type);
    switch (format) {
    case FORMAT_TEXT:
        bytes_format(out, "%u %s: %s\n", status, reply_reason(status), detail);
        break;
    case FORMAT_HTML:
        problem_html(status, detail, out);
        break;
    case FORMAT_XML:
        problem_xml(status, type, detail, out);
        break;
    default:
        document_append_json(out, json_pack("{s:s, s:s, s:i, s:s}", "type", type, "title",
                                            reply_reason(status), "status", (int)status, "detail",
                                            detail));
        bytes_append_char(out, '\n');
    }
    return formats[format].problem_type;
}
