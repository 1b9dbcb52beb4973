// SPDX-License-Identifier: MIT
// A configuration as a file, and all options as a table.
#include "conf/conf.h"
#include "conf/options.h"
#include "conf/place.h"

// is_shown is false for what is not there, and for a password, the only secret, that has its file.
static bool is_shown(const struct option *o, const void *base)
{
    if (o->secret) {
        const struct conf_partition *p = base;
        return !p->password_file;
    }
    return option_is_set(o, base);
}

static void print_section(const struct conf *conf, size_t place, struct bytes *out)
{
    const void *base = place_base_in(conf, place);
    size_t count;
    const struct option *o = options_of(place_section(place), &count);
    place_title(conf, place, out);
    bytes_append_char(out, '\n');
    for (size_t i = 0; i < count; i++) {
        if (!is_shown(&o[i], base))
            continue;
        bytes_format(out, "%s = ", o[i].name);
        option_show(&o[i], base, out);
        if (!bytes_failed(out) && out->data[out->len - 1] == ' ')
            out->len--; // an empty value
        bytes_append_char(out, '\n');
    }
}

void conf_print(const struct conf *conf, struct bytes *out)
{
    for (size_t place = 0; place < PLACES; place++) {
        if (!place_exists(conf, place))
            continue;
        if (place)
            bytes_append_char(out, '\n');
        print_section(conf, place, out);
    }
}

static const char *default_of(const struct option *o)
{
    if (!o->fallback)
        return "required";
    return *o->fallback ? o->fallback : "none";
}

static void reference_of(enum option_section section, struct bytes *out)
{
    size_t count;
    const struct option *o = options_of(section, &count);
    bytes_append_text(out, "### [");
    options_title(section, out);
    bytes_append_text(out, "]\n\n| option | value | default | reload | meaning |\n"
                           "| --- | --- | --- | --- | --- |\n");
    for (size_t i = 0; i < count; i++) {
        bytes_format(out, "| `%s` | ", o[i].name);
        option_accepts(&o[i], out);
        bytes_format(out, " | %s | %s | %s |\n", default_of(&o[i]), o[i].reload ? "yes" : "no",
                     o[i].help);
    }
}

void conf_reference(struct bytes *out)
{
    reference_of(OPTION_STORE, out);
    bytes_append_char(out, '\n');
    reference_of(OPTION_SERVER, out);
    bytes_append_char(out, '\n');
    reference_of(OPTION_SYNC, out);
    bytes_append_char(out, '\n');
    reference_of(OPTION_PARTITION, out);
    bytes_append_char(out, '\n');
    reference_of(OPTION_TOKEN, out);
}
