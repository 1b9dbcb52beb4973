// SPDX-License-Identifier: MIT
#include "store/check.h"

#include "store/query.h"

void check_problem(const struct check *check, uint64_t max_packet_needed, struct bytes *why)
{
    if (check->schema_version != QUERY_SCHEMA_VERSION)
        bytes_format(why,
                     "schema version is %llu, this program needs %d: load database_definition.sql",
                     (unsigned long long)check->schema_version, QUERY_SCHEMA_VERSION);
    else if (check->triggers != QUERY_TRIGGERS)
        bytes_append_text(why, "the trigger pairs_after_delete is not there: load "
                               "database_definition.sql");
    else if (check->max_packet < max_packet_needed)
        bytes_format(why,
                     "max_allowed_packet is %llu, max_value needs %llu: raise the one or lower "
                     "the other",
                     (unsigned long long)check->max_packet, (unsigned long long)max_packet_needed);
    else if (!check->binary)
        bytes_append_text(why, "the session is not in character set binary: is "
                               "skip-character-set-client-handshake set?");
    else if (check->statement_log)
        bytes_append_text(why, "binlog_format is STATEMENT: MIXED or ROW is needed");
}

bool check_code_is_final(unsigned code)
{
    switch (code) {
    case 1044: // access to the database denied
    case 1045: // wrong user or password
    case 1049: // no such database
    case 1054: // no such column
    case 1142: // a right on a table is missing
    case 1143: // a right on a column is missing
    case 1146: // no such table
    case 1193: // no such system variable: too old a server
    case 1251: // the account's way to sign in is too new for the client
    case 1305: // no such function
    case 1370: // a right on the function is missing
    case 1449: // the definer of function or triggers does not exist
    case 1698: // the account may not sign in with a password
    case 2059: // the account's way to sign in is not known to the client
        return true;
    default:
        return false;
    }
}
