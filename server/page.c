// SPDX-License-Identifier: MIT
// What the page shows was written by anybody: it may not become a script, whatever it looks like.
// The page's own code sees to that; the policy below holds should it fail to.
#include "server/page.h"

#include <sodium.h>
#include <string.h>

#include "server/reply.h"

// EMBED puts a file of web/ into the binary, between two symbols.
#define EMBED(symbol, path)                                                                        \
    __asm__(".section .rodata\n"                                                                   \
            ".global page_" #symbol "\n"                                                           \
            "page_" #symbol ":\n"                                                                  \
            ".incbin \"" path "\"\n"                                                               \
            ".global page_" #symbol "_end\n"                                                       \
            "page_" #symbol "_end:\n"                                                              \
            ".byte 0\n"                                                                            \
            ".previous\n");                                                                        \
    extern const char page_##symbol[], page_##symbol##_end[]

EMBED(index, "web/index.html");
EMBED(css, "web/page.css");
EMBED(icon, "web/icon.svg");
EMBED(api, "web/api.js");
EMBED(chart, "web/chart.js");
EMBED(feed, "web/feed.js");
EMBED(keys, "web/keys.js");
EMBED(list, "web/list.js");
EMBED(listing, "web/listing.js");
EMBED(page, "web/page.js");
EMBED(partitions, "web/partitions.js");
EMBED(rows, "web/rows.js");
EMBED(show, "web/show.js");
EMBED(pair, "web/pair.js");

#define HTML       "text/html; charset=utf-8"
#define CSS        "text/css; charset=utf-8"
#define SVG        "image/svg+xml"
#define JAVASCRIPT "text/javascript; charset=utf-8"

struct file {
    const char *name; // below /page/; "" is the page itself
    const char *type;
    const char *data;
    const char *end;
    uint64_t hash; // its entity tag, which has the form of a version
};

static struct file files[] = {
    {"", HTML, page_index, page_index_end, 0},
    {"page.css", CSS, page_css, page_css_end, 0},
    {"icon.svg", SVG, page_icon, page_icon_end, 0},
    {"api.js", JAVASCRIPT, page_api, page_api_end, 0},
    {"chart.js", JAVASCRIPT, page_chart, page_chart_end, 0},
    {"feed.js", JAVASCRIPT, page_feed, page_feed_end, 0},
    {"keys.js", JAVASCRIPT, page_keys, page_keys_end, 0},
    {"list.js", JAVASCRIPT, page_list, page_list_end, 0},
    {"listing.js", JAVASCRIPT, page_listing, page_listing_end, 0},
    {"page.js", JAVASCRIPT, page_page, page_page_end, 0},
    {"partitions.js", JAVASCRIPT, page_partitions, page_partitions_end, 0},
    {"rows.js", JAVASCRIPT, page_rows, page_rows_end, 0},
    {"show.js", JAVASCRIPT, page_show, page_show_end, 0},
    {"pair.js", JAVASCRIPT, page_pair, page_pair_end, 0},
};

enum {
    FILES = sizeof files / sizeof files[0],
};

static struct slice content(const struct file *file)
{
    return (struct slice){file->data, (size_t)(file->end - file->data)};
}

void page_init(void)
{
    for (unsigned i = 0; i < FILES; i++) {
        struct slice bytes = content(&files[i]);
        unsigned char hash[crypto_generichash_BYTES_MIN];
        crypto_generichash(hash, sizeof hash, (const unsigned char *)bytes.data, bytes.len, NULL,
                           0);
        memcpy(&files[i].hash, hash, sizeof files[i].hash);
    }
}

static struct file *find(struct slice name)
{
    for (unsigned i = 0; i < FILES; i++)
        if (slice_equal(name, slice_of(files[i].name)))
            return &files[i];
    return NULL;
}

// A condition that is not understood is none: the answer is then the whole file.
static void read_condition(struct slice value, enum condition_strength strength,
                           struct condition *condition)
{
    if (!value.data || condition_parse(value, strength, condition))
        *condition = (struct condition){0};
}

static void get_begin(struct request *r, const struct head *head)
{
    // The page has the path `/` and no other.
    bool index = r->route.name.data == NULL;
    struct file *file = index ? &files[0] : r->route.name.len ? find(r->route.name) : NULL;
    if (!file) {
        reply_problem(r, 404, "the page has no such file");
        return;
    }
    read_condition(head->value[HEADER_IF_MATCH], CONDITION_STRONG, &r->conditions.match);
    read_condition(head->value[HEADER_IF_NONE_MATCH], CONDITION_WEAK, &r->conditions.none_match);
    r->state_of_handler = file;
}

// No script but the daemon's files, no form, no frame, no other host; and in browsers that know
// trusted types no text that is made into markup or code.
static void policy_headers(struct request *r)
{
    reply_headers(
        r, SLICE("Content-Security-Policy: default-src 'none'; script-src 'self'; "
                 "style-src 'self'; img-src 'self' blob:; connect-src 'self'; base-uri 'none'; "
                 "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; "
                 "trusted-types 'none'\r\n"
                 "X-Content-Type-Options: nosniff\r\n"
                 "Referrer-Policy: no-referrer\r\n"
                 "Cross-Origin-Opener-Policy: same-origin\r\n"));
}

static void get_end(struct request *r)
{
    const struct file *file = r->state_of_handler;
    enum condition_outcome outcome = condition_evaluate_read(&r->conditions, file->hash, INT64_MAX);
    if (outcome == CONDITION_FAILED) {
        reply_problem(r, 412, "the file has another entity tag");
        return;
    }
    reply_begin(r, outcome == CONDITION_NOT_MODIFIED ? 304 : 200);
    reply_header_format(r, "ETag", "\"%llu\"", (unsigned long long)file->hash);
    reply_headers(r, SLICE("Cache-Control: no-cache\r\n"));
    policy_headers(r);
    if (outcome == CONDITION_NOT_MODIFIED) {
        reply_empty(r);
        return;
    }
    reply_header(r, "Content-Type", slice_of(file->type));
    reply_body(r, content(file));
}

const struct handler page_get = {.begin = get_begin, .on_body = request_pass_over, .end = get_end};
