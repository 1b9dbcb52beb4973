// SPDX-License-Identifier: MIT
// The sections of a configuration by number: store, server, sync, then the partitions, then the
// tokens. For conf/ alone.
#ifndef CONF_PLACE_H
#define CONF_PLACE_H

#include <stddef.h>

#include "base/bytes.h"
#include "conf/conf.h"
#include "conf/options.h"

enum {
    PLACE_STORE,
    PLACE_SERVER,
    PLACE_SYNC,
    PLACE_PARTITION,                                     // of partition 1
    PLACE_TOKEN = PLACE_PARTITION + CONF_PARTITIONS_MAX, // of the first in the file
    PLACES = PLACE_TOKEN + CONF_TOKENS_MAX,
};

// place_find returns the number of the section of that name, PLACES if there is none. A token that
// `conf` does not have yet is added.
size_t place_find(struct conf *conf, struct slice section);

// place_section returns whose options a section has.
enum option_section place_section(size_t place);

// place_base returns the struct that holds the options of a section.
void *place_base(struct conf *conf, size_t place);
const void *place_base_in(const struct conf *conf, size_t place);

// place_title appends `[store]`, `[partition-1]`.
void place_title(const struct conf *conf, size_t place, struct bytes *out);

// place_free_retired frees one of the retired, which is in no list, with its partitions.
void place_free_retired(const struct conf *conf, struct conf_retired **retired);

// place_exists tells whether `conf` has that section.
bool place_exists(const struct conf *conf, size_t place);

#endif
