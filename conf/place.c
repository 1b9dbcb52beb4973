// SPDX-License-Identifier: MIT
#include "conf/place.h"

enum option_section place_section(size_t place)
{
    return place < PLACE_PARTITION ? (enum option_section)place : OPTION_PARTITION;
}

void *place_base(struct conf *conf, size_t place)
{
    switch (place_section(place)) {
    case OPTION_STORE:
        return &conf->store;
    case OPTION_SERVER:
        return &conf->server;
    case OPTION_SYNC:
        return &conf->sync;
    case OPTION_PARTITION:
        break;
    }
    return &conf->partition[place - PLACE_PARTITION];
}

const void *place_base_in(const struct conf *conf, size_t place)
{
    switch (place_section(place)) {
    case OPTION_STORE:
        return &conf->store;
    case OPTION_SERVER:
        return &conf->server;
    case OPTION_SYNC:
        return &conf->sync;
    case OPTION_PARTITION:
        break;
    }
    return &conf->partition[place - PLACE_PARTITION];
}

void place_title(size_t place, struct bytes *out)
{
    bytes_append_char(out, '[');
    if (place < PLACE_PARTITION)
        options_title(place_section(place), out);
    else
        bytes_format(out, "partition-%zu", place - PLACE_PARTITION + 1);
    bytes_append_char(out, ']');
}

size_t place_find(struct slice section)
{
    struct slice prefix = SLICE("partition-");
    unsigned long long id;
    if (slice_equal(section, SLICE("store")))
        return PLACE_STORE;
    if (slice_equal(section, SLICE("server")))
        return PLACE_SERVER;
    if (slice_equal(section, SLICE("sync")))
        return PLACE_SYNC;
    if (!slice_starts(section, prefix))
        return PLACES;
    struct slice digits = {section.data + prefix.len, section.len - prefix.len};
    if (slice_number(digits, CONF_PARTITIONS_MAX, &id) || digits.data[0] == '0')
        return PLACES;
    return PLACE_PARTITION + (size_t)id - 1;
}

size_t place_count(const struct conf *conf)
{
    return PLACE_PARTITION + (conf->partition ? conf->store.partitions : 0);
}
