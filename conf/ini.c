// SPDX-License-Identifier: MIT
#include "conf/ini.h"

#include <assert.h>
#include <ini.h>
#include <stdlib.h>

#include "base/log.h"

#define COMMENT_FAULT                                                                              \
    "a semicolon after a blank would begin a comment and cut the value; put comments on lines of " \
    "their own, a password with these bytes in a password_file"

// The state of one ini_read: inih asks next_line for a line, and gives what it made of it to
// on_option, which compares.
struct scan {
    struct slice rest; // of the text
    struct ini *ini;
    struct faults *faults;
    struct slice section; // the one that lines belong to now; empty: none
    bool begun;           // a header was seen
    bool known;           // false: `section` was refused, inih does not know of it
    bool given;           // `expected` was given to inih, which has not yielded it yet
    struct ini_item expected;
    bool no_memory;
};

static bool is_control(char c)
{
    return ((unsigned char)c < 0x20 && c != '\t') || c == 0x7f;
}

static bool has_control(struct slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if (is_control(s.data[i]))
            return true;
    return false;
}

// has_comment is true where inih would take the rest of the line for a comment.
static bool has_comment(struct slice s)
{
    for (size_t i = 1; i < s.len; i++)
        if (s.data[i] == ';' && (s.data[i - 1] == ' ' || s.data[i - 1] == '\t'))
            return true;
    return false;
}

// is_comment of a line that is not empty.
static bool is_comment(struct slice line)
{
    return line.data[0] == '#' || line.data[0] == ';';
}

static void push(struct scan *s, struct ini_item item)
{
    struct ini *ini = s->ini;
    if (ini->count == ini->cap) {
        size_t cap = ini->cap ? 2 * ini->cap : 64;
        struct ini_item *grown = realloc(ini->item, cap * sizeof *grown);
        if (!grown) {
            s->no_memory = true;
            return;
        }
        ini->item = grown;
        ini->cap = cap;
    }
    ini->item[ini->count++] = item;
}

// begin_fault begins a fault of `line` with the place it is about, as far as it is known.
static struct bytes *begin_fault(struct faults *faults, unsigned line, struct slice section,
                                 struct slice name)
{
    struct bytes *out = faults_add(faults, line);
    if (section.len) {
        bytes_append_char(out, '[');
        log_escape(out, section);
        bytes_append_char(out, ']');
    }
    if (name.len) {
        if (section.len)
            bytes_append_char(out, ' ');
        log_escape(out, name);
    }
    if (section.len || name.len)
        bytes_append_text(out, ": ");
    return out;
}

static void refuse(struct scan *s, struct slice name, const char *why)
{
    bytes_append_text(begin_fault(s->faults, s->ini->lines, s->section, name), why);
}

// byte_fault returns what is wrong with the bytes of a line, NULL if nothing is.
static const char *byte_fault(struct slice line, size_t max)
{
    if (has_control(line))
        return "a control byte; only text and tabs may stand here";
    if (line.data[0] == ' ' || line.data[0] == '\t')
        return "an indented line; begin it in the first column";
    if (has_comment(line))
        return COMMENT_FAULT;
    if (line.len > max)
        return "the line is too long; at most 196 bytes, for a longer password use password_file";
    return NULL;
}

static const char *header_fault(struct slice line, struct slice name)
{
    if (name.data + name.len == line.data + line.len)
        return "a section without ]; write [name]";
    if (name.data + name.len + 1 != line.data + line.len)
        return "text after the section; put it on a line of its own";
    if (name.len == 0 || name.len > INI_SECTION_MAX)
        return "not the name of a section; 1 to 49 bytes";
    return NULL;
}

// scan_header takes a line that begins with [. True: inih is to read it.
static bool scan_header(struct scan *s, struct slice line, const char *wrong)
{
    struct slice name = {line.data + 1, line.len - 1};
    const char *end = memchr(name.data, ']', name.len);
    if (end)
        name.len = (size_t)(end - name.data);
    if (!wrong)
        wrong = header_fault(line, name);
    s->section = (struct slice){0};
    if (wrong)
        refuse(s, s->section, wrong);
    if (end)
        s->section = name;
    s->begun = true;
    s->known = !wrong;
    push(s, (struct ini_item){.line = s->ini->lines, .wrong = wrong, .section = s->section});
    return !wrong;
}

// is_name is true for what may be shown as a name: anything else could be part of a secret.
static bool is_name(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.data[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!letter && !(c >= '0' && c <= '9') && c != '_' && c != '-')
            return false;
    }
    return s.len > 0;
}

static const char *option_fault(const struct scan *s, struct slice name, struct slice value)
{
    if (!value.data)
        return "neither an option nor a comment; write name = value, or # before a comment";
    if (!is_name(name))
        return "not a name before =; letters, digits, _ and -, written name = value";
    if (value.len && value.data[0] == ';')
        return COMMENT_FAULT;
    if (!s->begun)
        return "an option outside of a section; write [section] above it";
    return NULL;
}

// scan_option takes a line that is neither comment nor header. True: inih is to read it.
static bool scan_option(struct scan *s, struct slice line, const char *wrong)
{
    struct slice value = line;
    struct slice name = slice_trim(slice_token(&value, '='));
    value = slice_trim(value);
    if (!wrong)
        wrong = option_fault(s, name, value);
    if (!value.data || !is_name(name))
        name = (struct slice){0};
    if (wrong)
        refuse(s, name, wrong);
    struct ini_item item = {.line = s->ini->lines, .section = s->section, .name = name};
    if (!wrong && s->known) {
        item.value = value;
        s->expected = item;
        s->given = true;
        return true;
    }
    item.wrong = true;
    if (name.len)
        push(s, item);
    return false;
}

// scan_line looks at one line of the text. True: inih is to read it; false: it has nothing to say,
// or was refused.
static bool scan_line(struct scan *s, struct slice line, size_t max)
{
    struct slice body = slice_trim(line);
    if (body.len == 0)
        return false;
    if (is_comment(body) && !has_control(body))
        return false;
    const char *wrong = byte_fault(line, max);
    if (is_comment(body))
        refuse(s, (struct slice){0}, wrong);
    else if (wrong && body.data != line.data)
        refuse(s, (struct slice){0}, wrong); // whatever it is, it does not stand where it should
    else if (line.data[0] == '[')
        return scan_header(s, line, wrong);
    else
        return scan_option(s, line, wrong);
    return false;
}

// GCOVR_EXCL_BR_START: inih loses no line that it is given today
// expect_nothing finds the option that inih did not yield.
static void expect_nothing(struct scan *s)
{
    if (!s->given)
        return;
    s->given = false;
    s->expected.wrong = true;
    s->expected.value = (struct slice){0};
    bytes_append_text(
        begin_fault(s->faults, s->expected.line, s->expected.section, s->expected.name),
        "lost by the INI library; write name = value");
    push(s, s->expected);
}

// GCOVR_EXCL_BR_STOP

// cut_line takes the next line off the text, without its end.
static struct slice cut_line(struct scan *s)
{
    static const char mark[] = "\xef\xbb\xbf";
    struct slice line = slice_token(&s->rest, '\n');
    s->ini->lines++;
    if (line.len && s->rest.data && line.data[line.len - 1] == '\r')
        line.len--;
    if (s->ini->lines == 1 && slice_starts(line, slice_of(mark))) {
        refuse(s, (struct slice){0}, "a byte order mark; save the file as UTF-8 without it");
        line.data += strlen(mark);
        line.len -= strlen(mark);
    }
    return line;
}

// next_line gives inih one line of the text a call, an empty one in place of what it need not see.
static char *next_line(char *to, int size, void *stream)
{
    struct scan *s = stream;
    assert(size > 2);
    explicit_bzero(to, (size_t)size); // inih's own buffer, where a password may have been
    expect_nothing(s);
    if (s->rest.len == 0)
        return NULL;
    struct slice line = cut_line(s);
    size_t max = (size_t)size - 3 < INI_LINE_MAX ? (size_t)size - 3 : INI_LINE_MAX;
    size_t len = 0;
    if (scan_line(s, line, max)) {
        memcpy(to, line.data, line.len);
        len = line.len;
    }
    to[len] = '\n';
    to[len + 1] = 0;
    return to;
}

// GCOVR_EXCL_BR_START: the same
static bool as_expected(const struct scan *s, const char *section, const char *name,
                        const char *value)
{
    return s->given && slice_equal(s->expected.section, slice_of(section)) &&
           slice_equal(s->expected.name, slice_of(name)) && value &&
           slice_equal(s->expected.value, slice_of(value));
}

static int on_option(void *user, const char *section, const char *name, const char *value)
{
    struct scan *s = user;
    if (!as_expected(s, section, name, value))
        return 0; // and expect_nothing tells
    s->given = false;
    push(s, s->expected);
    return 1;
}

// GCOVR_EXCL_BR_STOP

static int by_place(const void *a, const void *b)
{
    const struct ini_item *x = *(struct ini_item *const *)a, *y = *(struct ini_item *const *)b;
    int order = slice_compare(x->section, y->section);
    if (!order)
        order = slice_compare(x->name, y->name);
    return order ? order : (x->line > y->line) - (x->line < y->line);
}

static bool same_place(const struct ini_item *a, const struct ini_item *b)
{
    return slice_equal(a->section, b->section) && slice_equal(a->name, b->name);
}

static enum error refuse_duplicates(const struct ini *ini, struct faults *faults)
{
    if (ini->count < 2)
        return ERROR_NONE;
    const struct ini_item **sorted = malloc(ini->count * sizeof *sorted);
    if (!sorted)
        return ERROR_MEMORY;
    for (size_t i = 0; i < ini->count; i++)
        sorted[i] = &ini->item[i];
    qsort(sorted, ini->count, sizeof *sorted, by_place);
    const struct ini_item *first = sorted[0];
    for (size_t i = 1; i < ini->count; i++) {
        const struct ini_item *item = sorted[i];
        if (!same_place(first, item))
            first = item;
        else if (item->section.len)
            bytes_format(begin_fault(faults, item->line, item->section, item->name),
                         "a duplicate; the first is in line %u, keep one of them", first->line);
    }
    free(sorted);
    return ERROR_NONE;
}

enum error ini_read(struct slice text, struct ini *ini, struct faults *faults)
{
    struct scan s = {.rest = text, .ini = ini, .faults = faults};
    *ini = (struct ini){0};
    int line = ini_parse_stream(next_line, &s, on_option, &s);
    // GCOVR_EXCL_BR_START: inih has nothing to refuse
    if (line == -2 || s.no_memory)
        return ERROR_MEMORY;
    if (line && !faults_any(faults))
        bytes_append_text(faults_add(faults, line > 0 ? (unsigned)line : ini->lines),
                          "refused by the INI library; write name = value");
    // GCOVR_EXCL_BR_STOP
    if (ini->lines == 0)
        ini->lines = 1;
    return refuse_duplicates(ini, faults);
}

void ini_fini(struct ini *ini)
{
    free(ini->item);
    *ini = (struct ini){0};
}

bool ini_holds(struct slice value)
{
    struct slice trimmed = slice_trim(value);
    return value.len <= INI_VALUE_MAX && trimmed.len == value.len && !has_control(value) &&
           !has_comment(value) && !(value.len && value.data[0] == ';');
}
