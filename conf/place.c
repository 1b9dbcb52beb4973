// SPDX-License-Identifier: MIT
#include "conf/place.h"

#include <stdlib.h>

enum option_section place_section(size_t place)
{
    if (place < PLACE_PARTITION)
        return (enum option_section)place;
    return place < PLACE_TOKEN ? OPTION_PARTITION : OPTION_TOKEN;
}

void *place_base(struct conf *conf, size_t place)
{
    switch (place_section(place)) { // GCOVR_EXCL_BR_LINE: all are there
    case OPTION_STORE:
        return &conf->store;
    case OPTION_SERVER:
        return &conf->server;
    case OPTION_SYNC:
        return &conf->sync;
    case OPTION_PARTITION:
        return &conf->partition[place - PLACE_PARTITION];
    case OPTION_TOKEN:
        break;
    }
    return &conf->token[place - PLACE_TOKEN];
}

const void *place_base_in(const struct conf *conf, size_t place)
{
    return place_base((struct conf *)conf, place); // which changes nothing
}

void place_title(const struct conf *conf, size_t place, struct bytes *out)
{
    bytes_append_char(out, '[');
    if (place < PLACE_PARTITION)
        options_title(place_section(place), out);
    else if (place < PLACE_TOKEN)
        bytes_format(out, "partition-%zu", place - PLACE_PARTITION + 1);
    else
        bytes_format(out, "token-%s", conf->token[place - PLACE_TOKEN].name);
    bytes_append_char(out, ']');
}

static size_t find_partition(struct slice digits)
{
    unsigned long long id;
    if (slice_number(digits, CONF_PARTITIONS_MAX, &id) || digits.data[0] == '0')
        return PLACES;
    return PLACE_PARTITION + (size_t)id - 1;
}

bool conf_is_token_name(struct slice name)
{
    for (size_t i = 0; i < name.len; i++) {
        char c = name.data[i];
        if ((c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_')
            return false;
    }
    return name.len > 0 && name.len <= CONF_TOKEN_NAME_MAX;
}

static size_t find_token(struct conf *conf, struct slice name)
{
    if (!conf_is_token_name(name))
        return PLACES;
    unsigned at = 0;
    while (at < conf->tokens && !slice_equal(slice_of(conf->token[at].name), name))
        at++;
    if (at == CONF_TOKENS_MAX)
        return PLACES;
    if (at == conf->tokens) {
        memcpy(conf->token[at].name, name.data, name.len);
        conf->tokens++;
    }
    return PLACE_TOKEN + at;
}

size_t place_find(struct conf *conf, struct slice section)
{
    struct slice rest = section, kind = slice_token(&rest, '-');
    if (slice_equal(section, SLICE("store")))
        return PLACE_STORE;
    if (slice_equal(section, SLICE("server")))
        return PLACE_SERVER;
    if (slice_equal(section, SLICE("sync")))
        return PLACE_SYNC;
    if (rest.data && slice_equal(kind, SLICE("partition")))
        return find_partition(rest);
    if (rest.data && slice_equal(kind, SLICE("token")))
        return find_token(conf, rest);
    return PLACES;
}

void place_free_retired(const struct conf *conf, struct conf_retired **retired)
{
    struct conf_retired *r = *retired;
    if (!r)
        return;
    *retired = NULL;
    for (unsigned i = 0; r->partition && i < conf->store.partitions; i++)
        options_fini(OPTION_PARTITION, &r->partition[i]);
    free(r->partition);
    free(r);
}

bool place_exists(const struct conf *conf, size_t place)
{
    if (place < PLACE_PARTITION)
        return true;
    if (place < PLACE_TOKEN)
        return conf->partition && place - PLACE_PARTITION < conf->store.partitions;
    return conf->token && place - PLACE_TOKEN < conf->tokens;
}
