// SPDX-License-Identifier: MIT
#include "server/accept.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum { FORMATS = FORMAT_EVENTS + 1 };

enum specificity { UNNAMED, ANY, TYPE, EXACT };

struct media {
    struct slice type;
    struct slice subtype;
    enum format format;
};

// The first entry of a format is what it is for a wildcard.
static const struct media medias[] = {
    {{"application", 11}, {"json", 4}, FORMAT_JSON},
    {{"application", 11}, {"problem+json", 12}, FORMAT_JSON},
    {{"text", 4}, {"plain", 5}, FORMAT_TEXT},
    {{"text", 4}, {"html", 4}, FORMAT_HTML},
    {{"application", 11}, {"xml", 3}, FORMAT_XML},
    {{"text", 4}, {"xml", 3}, FORMAT_XML},
    {{"application", 11}, {"problem+xml", 11}, FORMAT_XML},
    {{"application", 11}, {"x-ndjson", 8}, FORMAT_NDJSON},
    {{"application", 11}, {"jsonl", 5}, FORMAT_NDJSON},
    {{"text", 4}, {"event-stream", 12}, FORMAT_EVENTS},
};

struct wish {
    struct slice type;
    struct slice subtype;
    unsigned quality; // thousandths
    unsigned place;   // in the header
};

// What is known of a format so far: the wish that decides it.
struct claim {
    enum specificity specificity;
    unsigned quality;
    unsigned place;
};

// cut_element is slice_token, but a separator inside a quoted string does not count.
static struct slice cut_element(struct slice *rest, char separator)
{
    bool quoted = false;
    for (size_t i = 0; i < rest->len; i++) {
        char c = rest->data[i];
        if (c == '"')
            quoted = !quoted;
        else if (c == '\\' && quoted)
            i++;
        else if (c == separator && !quoted) {
            struct slice element = {rest->data, i};
            *rest = (struct slice){rest->data + i + 1, rest->len - i - 1};
            return element;
        }
    }
    struct slice last = *rest;
    *rest = (struct slice){NULL, 0};
    return last;
}

// read_quality reads a qvalue into *quality: 0 to 1 with up to three decimals (RFC 9110, 12.4.2).
static bool read_quality(struct slice text, unsigned *quality)
{
    unsigned long long decimals = 0;
    struct slice rest = text;
    struct slice whole = slice_token(&rest, '.');
    if (whole.len != 1 || (whole.data[0] != '0' && whole.data[0] != '1') || rest.len > 3)
        return false;
    if (rest.len > 0 && slice_number(rest, 999, &decimals) != ERROR_NONE)
        return false;
    for (size_t i = rest.len; i < 3; i++)
        decimals *= 10;
    *quality = (unsigned)decimals + (whole.data[0] == '1' ? 1000 : 0);
    return *quality <= 1000;
}

// read_wish reads one media range; false if it is malformed. What follows q is not a parameter.
static bool read_wish(struct slice element, struct wish *wish)
{
    struct slice rest = element;
    struct slice subtype = slice_trim(cut_element(&rest, ';'));
    wish->quality = 1000;
    wish->type = slice_token(&subtype, '/');
    wish->subtype = subtype;
    while (rest.data) {
        struct slice value = slice_trim(cut_element(&rest, ';'));
        struct slice name = slice_token(&value, '=');
        if (slice_equal_nocase(name, SLICE("q")))
            return read_quality(value, &wish->quality) && wish->type.len && wish->subtype.len;
    }
    return wish->type.len && wish->subtype.len;
}

static enum specificity covers(const struct wish *wish, const struct media *media, bool first)
{
    if (slice_equal_nocase(wish->type, media->type) &&
        slice_equal_nocase(wish->subtype, media->subtype))
        return EXACT;
    if (!first || !slice_equal(wish->subtype, SLICE("*")))
        return UNNAMED;
    if (slice_equal_nocase(wish->type, media->type))
        return TYPE;
    return slice_equal(wish->type, SLICE("*")) ? ANY : UNNAMED;
}

static void apply(const struct wish *wish, struct claim claims[FORMATS])
{
    for (size_t i = 0; i < COUNT(medias); i++) {
        bool first = i == 0 || medias[i - 1].format != medias[i].format;
        enum specificity specificity = covers(wish, &medias[i], first);
        struct claim *claim = &claims[medias[i].format];
        if (specificity == UNNAMED || specificity < claim->specificity)
            continue;
        if (specificity > claim->specificity || wish->quality > claim->quality)
            *claim = (struct claim){specificity, wish->quality, wish->place};
    }
}

static bool is_better(const struct claim *a, const struct claim *b)
{
    if (a->quality != b->quality)
        return a->quality > b->quality;
    if (a->specificity != b->specificity)
        return a->specificity > b->specificity;
    return a->place < b->place;
}

static enum format best(const struct claim claims[FORMATS], unsigned among)
{
    enum format best = FORMAT_NONE; // its claim has quality 0, as a refused one
    for (enum format format = FORMAT_JSON; format <= FORMAT_EVENTS; format++)
        if (among & 1u << format && claims[format].quality > 0 &&
            is_better(&claims[format], &claims[best]))
            best = format;
    return best;
}

enum format accept_choose(struct slice accept, bool present, unsigned among)
{
    struct claim claims[FORMATS] = {{UNNAMED, 0, 0}};
    struct wish wish = {.place = 0};
    bool usable = false;
    for (struct slice rest = accept; present && rest.data; wish.place++) {
        if (!read_wish(cut_element(&rest, ','), &wish))
            continue;
        usable = true;
        apply(&wish, claims);
    }
    return usable ? best(claims, among) : FORMAT_JSON;
}
