// SPDX-License-Identifier: MIT
#include "store/recent.h"

#include <stdlib.h>

#include "base/random.h"

enum error recent_init(struct recent *recent, size_t keys)
{
    recent->forgotten = 0;
    recent->places = (keys + RECENT_WAYS - 1) / RECENT_WAYS;
    recent->place = calloc(recent->places, sizeof *recent->place);
    for (size_t i = 0; i < sizeof recent->seed; i++)
        recent->seed[i] = (unsigned char)random_below(256);
    return recent->place ? ERROR_NONE : ERROR_MEMORY;
}

void recent_fini(struct recent *recent)
{
    free(recent->place);
    *recent = (struct recent){0};
}

static struct recent_key *find_place(const struct recent *recent, struct slice key, uint64_t *hash)
{
    _Static_assert(sizeof *hash == crypto_shorthash_BYTES, "64 bits");
    crypto_shorthash((unsigned char *)hash, (const unsigned char *)key.data, key.len, recent->seed);
    return recent->place[*hash % recent->places];
}

uint64_t recent_version(const struct recent *recent, struct slice key)
{
    uint64_t hash;
    const struct recent_key *place = find_place(recent, key, &hash);
    for (int i = 0; i < RECENT_WAYS; i++)
        if (place[i].version && place[i].hash == hash)
            return place[i].version;
    return 0;
}

void recent_note(struct recent *recent, struct slice key, uint64_t version)
{
    uint64_t hash;
    struct recent_key *place = find_place(recent, key, &hash), *oldest = place;
    for (int i = 0; i < RECENT_WAYS; i++) {
        if (place[i].version && place[i].hash == hash) {
            place[i].version = version;
            return;
        }
        if (place[i].version < oldest->version)
            oldest = &place[i];
    }
    if (recent->forgotten < oldest->version)
        recent->forgotten = oldest->version;
    *oldest = (struct recent_key){hash, version};
}
