// SPDX-License-Identifier: MIT
// What a partition says of itself when a connection is opened, and whether Sherd can work with it.
#ifndef STORE_CHECK_H
#define STORE_CHECK_H

#include <stdint.h>

#include "base/bytes.h"

struct check {
    uint64_t schema_version;
    uint64_t triggers;        // that are ours
    uint64_t flush_at_commit; // innodb_flush_log_at_trx_commit; only 1 survives a power loss
    uint64_t max_packet;      // bytes; max_allowed_packet
    uint64_t read_only;
    uint64_t binary;        // the session's character set is binary
    uint64_t statement_log; // binlog_format=STATEMENT, which cannot log what READ COMMITTED writes
    uint64_t now_us;        // its clock, microseconds since 1970 UTC
};

// check_problem appends what makes the partition unusable and what would be right; nothing when it
// can be used. `max_packet_needed` in bytes.
void check_problem(const struct check *check, uint64_t max_packet_needed, struct bytes *why);

// check_code_is_final is true for the server's error numbers (while a connection is opened) that no
// further try will mend: wrong password, missing database, table, function or right.
bool check_code_is_final(unsigned code);

#endif
