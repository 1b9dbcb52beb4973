// SPDX-License-Identifier: MIT
// What is chosen is among what may be; and a blank or a comma more changes nothing.
#include <assert.h>
#include <stdint.h>

#include "base/bytes.h"
#include "server/accept.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice accept = {(const char *)data, size};
    struct bytes more = {0};
    if (size > 4096)
        return 0;
    bytes_append_text(&more, " ,,\t");
    bytes_append_slice(&more, accept);
    for (unsigned among = 1; among < 1u << (FORMAT_EVENTS + 1); among = among << 1 | 1) {
        enum format format = accept_choose(accept, true, among);
        assert(format == FORMAT_NONE || format == FORMAT_JSON || among & 1u << format);
        assert(format == accept_choose(bytes_slice(&more), true, among));
    }
    bytes_fini(&more);
    return 0;
}
