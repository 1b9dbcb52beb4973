// SPDX-License-Identifier: MIT
// A running configuration takes from a fresh one what may change.
#include <stdlib.h>

#include "conf/conf.h"
#include "conf/options.h"
#include "conf/place.h"

// New texts for the options that may change; NULL as in struct conf_server.
struct adoption {
    char *text[OPTIONS_MAX];
};

static bool copy_texts(const struct option *o, size_t count, const void *fresh, struct adoption *a)
{
    for (size_t i = 0; i < count; i++) {
        const char *text = option_is_text(&o[i]) && o[i].reload ? option_text(&o[i], fresh) : NULL;
        if (text && !(a->text[i] = strdup(text)))
            return false;
    }
    return true;
}

static enum error adopt_section(struct conf *conf, const struct conf *fresh, size_t place)
{
    void *base = place_base(conf, place);
    struct adoption a = {{0}};
    size_t count;
    const struct option *o = options_of(place_section(place), &count);
    if (!copy_texts(o, count, place_base_in(fresh, place), &a)) {
        for (size_t i = 0; i < count; i++)
            free(a.text[i]);
        return ERROR_MEMORY;
    }
    for (size_t i = 0; i < count; i++) {
        if (!o[i].reload)
            continue;
        if (option_is_text(&o[i]))
            option_set_text(&o[i], base, a.text[i]);
        else
            option_copy(&o[i], base, place_base_in(fresh, place));
    }
    return ERROR_NONE;
}

static void tell_differences(const struct conf *conf, const struct conf *fresh, size_t place,
                             struct bytes *why)
{
    const void *old = place_base_in(conf, place), *new = place_base_in(fresh, place);
    size_t count;
    const struct option *o = options_of(place_section(place), &count);
    for (size_t i = 0; i < count; i++) {
        if (o[i].reload || option_equal(&o[i], old, new))
            continue;
        place_title(fresh, place, why);
        bytes_format(why, " %s", o[i].name);
        if (!o[i].secret && option_is_set(&o[i], new)) {
            bytes_append_text(why, " = ");
            option_show(&o[i], new, why);
        }
        bytes_append_text(why, ": needs a restart\n");
    }
}

static void exchange_tokens(struct conf *conf, struct conf *fresh)
{
    struct conf_token *token = conf->token;
    unsigned tokens = conf->tokens;
    conf->token = fresh->token;
    conf->tokens = fresh->tokens;
    fresh->token = token;
    fresh->tokens = tokens;
}

enum error conf_adopt(struct conf *conf, struct conf *fresh, struct bytes *why)
{
    for (size_t place = 0; place < PLACE_TOKEN; place++)
        if (place_exists(conf, place) && place_exists(fresh, place))
            tell_differences(conf, fresh, place, why);
    if (bytes_failed(why))
        return ERROR_MEMORY;
    // No option of [store] and the partitions may change while running; the tests hold it so.
    enum error error = adopt_section(conf, fresh, PLACE_SERVER);
    if (!error)
        error = adopt_section(conf, fresh, PLACE_SYNC);
    if (!error)
        exchange_tokens(conf, fresh);
    return error;
}
