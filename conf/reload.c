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

bool conf_partition_equal(const struct conf_partition *a, const struct conf_partition *b)
{
    return options_equal(OPTION_PARTITION, a, b);
}

static bool same_partitions(const struct conf *conf, const struct conf_partition *next)
{
    for (unsigned i = 0; i < conf->store.partitions; i++)
        if (!conf_partition_equal(&conf->partition[i], &next[i]))
            return false;
    return true;
}

// tell_clash tells of the first partition that would be where an earlier one is: what may change
// goes together with what needs a restart.
static bool tell_clash(const struct conf_partition *partition, unsigned count, struct bytes *why)
{
    for (unsigned i = 0; i < count; i++)
        for (unsigned j = 0; j < i; j++)
            if (conf_same_database(&partition[j], &partition[i])) {
                bytes_format(why,
                             "[partition-%u]: would be the same server and database as "
                             "[partition-%u]: the partitions need a restart\n",
                             i + 1, j + 1);
                return true;
            }
    return false;
}

// mix_partitions makes the partitions of `conf` with what may change of them as in `fresh`.
static enum error mix_partitions(const struct conf *conf, const struct conf *fresh,
                                 struct bytes *why, struct conf_retired **mixed)
{
    unsigned count = conf->store.partitions;
    struct conf_retired *m = calloc(1, sizeof *m);
    *mixed = m;
    if (!m || !(m->partition = calloc(count, sizeof *m->partition)))
        return ERROR_MEMORY;
    for (unsigned i = 0; i < count; i++) {
        const struct conf_partition *old = &conf->partition[i];
        const struct conf_partition *new = i < fresh->store.partitions ? &fresh->partition[i] : old;
        if (conf_partition_exists(old) != conf_partition_exists(new)) {
            bytes_format(why, "[partition-%u]: with or without a server: needs a restart\n", i + 1);
            new = old;
        }
        m->partition[i].id = old->id;
        if (options_copy(OPTION_PARTITION, &m->partition[i], old, new))
            return ERROR_MEMORY;
    }
    return ERROR_NONE;
}

// next_partitions sets *next to what the partitions of `conf` become, NULL if they stay as they
// are.
static enum error next_partitions(const struct conf *conf, const struct conf *fresh,
                                  struct bytes *why, struct conf_retired **next)
{
    enum error error = mix_partitions(conf, fresh, why, next);
    if (error || same_partitions(conf, (*next)->partition) ||
        tell_clash((*next)->partition, conf->store.partitions, why))
        place_free_retired(conf, next);
    return error;
}

static void exchange_partitions(struct conf *conf, struct conf_retired *next)
{
    if (!next)
        return;
    struct conf_partition *before = conf->partition;
    conf->partition = next->partition;
    next->partition = before;
    next->next = conf->retired;
    conf->retired = next;
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
    struct conf_retired *next;
    for (size_t place = 0; place < PLACE_TOKEN; place++)
        if (place_exists(conf, place) && place_exists(fresh, place))
            tell_differences(conf, fresh, place, why);
    // No option of [store] may change while running; the tests hold it so.
    enum error error = next_partitions(conf, fresh, why, &next);
    if (!error && bytes_failed(why))
        error = ERROR_MEMORY;
    if (!error)
        error = adopt_section(conf, fresh, PLACE_SERVER);
    if (!error)
        error = adopt_section(conf, fresh, PLACE_SYNC);
    if (error) {
        place_free_retired(conf, &next);
        return error;
    }
    exchange_partitions(conf, next);
    exchange_tokens(conf, fresh);
    return ERROR_NONE;
}
