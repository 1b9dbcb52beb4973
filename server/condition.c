// SPDX-License-Identifier: MIT
#include "server/condition.h"

struct date {
    int64_t year;
    int64_t month; // 1 to 12
    int64_t day;   // 1 to 31
    int64_t hour;
    int64_t minute;
    int64_t second;
    int64_t weekday; // 0 is Sunday
};

static const char day_names[] = "SunMonTueWedThuFriSat";
static const char month_names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
static const struct slice long_days[] = {
    {"Sunday", 6},   {"Monday", 6}, {"Tuesday", 7},  {"Wednesday", 9},
    {"Thursday", 8}, {"Friday", 6}, {"Saturday", 8},
};

// cut_tag cuts an entity tag off the start of *rest (RFC 9110, 8.8.3).
static enum error cut_tag(struct slice *rest, struct slice *opaque, bool *weak)
{
    *weak = slice_starts(*rest, SLICE("W/"));
    size_t begin = *weak ? 2 : 0;
    if (begin >= rest->len || rest->data[begin] != '"')
        return ERROR_MALFORMED;
    size_t end = ++begin;
    while (end < rest->len && (unsigned char)rest->data[end] > 0x20 && rest->data[end] != '"' &&
           rest->data[end] != 0x7f)
        end++;
    if (end == rest->len || rest->data[end] != '"')
        return ERROR_MALFORMED;
    *opaque = (struct slice){rest->data + begin, end - begin};
    *rest = slice_trim((struct slice){rest->data + end + 1, rest->len - end - 1});
    return ERROR_NONE;
}

// read_version is strict: tags are compared by their bytes, so "007" is not the tag of 7.
static bool read_version(struct slice opaque, uint64_t *version)
{
    unsigned long long number;
    if (opaque.len > 1 && opaque.data[0] == '0')
        return false;
    if (slice_number(opaque, UINT64_MAX, &number) != ERROR_NONE)
        return false;
    *version = number;
    return true;
}

static enum error add_tag(struct condition *c, struct slice opaque)
{
    uint64_t version;
    if (!read_version(opaque, &version))
        return ERROR_NONE;
    if (c->count == CONDITION_TAGS_MAX)
        return ERROR_TOO_LARGE;
    c->version[c->count++] = version;
    return ERROR_NONE;
}

// parse_list tolerates empty elements, as a recipient must (RFC 9110, 5.6.1.2).
static enum error parse_list(struct slice rest, enum condition_strength strength,
                             struct condition *out)
{
    bool some = false;
    while (rest.len > 0) {
        if (rest.data[0] == ',') {
            rest = slice_trim((struct slice){rest.data + 1, rest.len - 1});
            continue;
        }
        struct slice opaque;
        bool weak;
        enum error error = cut_tag(&rest, &opaque, &weak);
        if (error == ERROR_NONE && rest.len > 0 && rest.data[0] != ',')
            error = ERROR_MALFORMED;
        if (error == ERROR_NONE && (!weak || strength == CONDITION_WEAK))
            error = add_tag(out, opaque);
        if (error != ERROR_NONE)
            return error;
        some = true;
    }
    return some ? ERROR_NONE : ERROR_MALFORMED;
}

enum error condition_parse(struct slice value, enum condition_strength strength,
                           struct condition *out)
{
    struct slice rest = slice_trim(value);
    *out = (struct condition){.present = true};
    if (slice_equal(rest, SLICE("*"))) {
        out->any = true;
        return ERROR_NONE;
    }
    return parse_list(rest, strength, out);
}

bool condition_matches(const struct condition *c, uint64_t version)
{
    if (c->any)
        return true;
    for (size_t i = 0; i < c->count; i++)
        if (c->version[i] == version)
            return true;
    return false;
}

// days_from_civil: days since 1970-01-01 of a Gregorian date, after Howard Hinnant's
// "chrono-Compatible Low-Level Date Algorithms"; for years from 0 on. The year begins in March, so
// that the leap day is its last.
static int64_t days_from_civil(int64_t year, int64_t month, int64_t day)
{
    int64_t y = month <= 2 ? year - 1 + 400 : year + 400; // never negative
    int64_t year_of_era = y % 400;
    int64_t day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return (y / 400 - 1) * 146097 + day_of_era - 719468;
}

// civil_from_days is its inverse, for days from 0 on.
static void civil_from_days(int64_t days, struct date *date)
{
    int64_t z = days + 719468;
    int64_t day_of_era = z % 146097;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t month = (5 * day_of_year + 2) / 153;
    date->day = day_of_year - (153 * month + 2) / 5 + 1;
    date->month = month < 10 ? month + 3 : month - 9;
    date->year = z / 146097 * 400 + year_of_era + (date->month <= 2);
    date->weekday = (days + 4) % 7;
}

static bool cut_digits(struct slice *rest, size_t len, int64_t *number)
{
    unsigned long long n;
    if (rest->len < len || slice_number((struct slice){rest->data, len}, 9999, &n) != ERROR_NONE)
        return false;
    *rest = (struct slice){rest->data + len, rest->len - len};
    *number = (int64_t)n;
    return true;
}

static bool cut_literal(struct slice *rest, struct slice literal)
{
    if (!slice_starts(*rest, literal))
        return false;
    *rest = (struct slice){rest->data + literal.len, rest->len - literal.len};
    return true;
}

static bool cut_name(struct slice *rest, const char *names, int64_t count, int64_t *index)
{
    for (*index = 0; *index < count; ++*index)
        if (cut_literal(rest, (struct slice){names + 3 * *index, 3}))
            return true;
    return false;
}

static bool cut_long_day(struct slice *rest, int64_t *index)
{
    for (*index = 0; *index < 7; ++*index)
        if (cut_literal(rest, long_days[*index]))
            return true;
    return false;
}

// cut_day reads asctime's day, padded with a space.
static bool cut_day(struct slice *rest, int64_t *day)
{
    return cut_literal(rest, SLICE(" ")) ? cut_digits(rest, 1, day) : cut_digits(rest, 2, day);
}

static bool cut_short_year(struct slice *rest, int64_t *year)
{
    if (!cut_digits(rest, 2, year))
        return false;
    *year += *year < 69 ? 2000 : 1900;
    return true;
}

static bool cut_month(struct slice *rest, int64_t *month)
{
    bool found = cut_name(rest, month_names, 12, month);
    ++*month;
    return found;
}

static bool cut_field(struct slice *rest, char code, struct date *date)
{
    switch (code) {
    case 'a':
        return cut_name(rest, day_names, 7, &date->weekday);
    case 'A':
        return cut_long_day(rest, &date->weekday);
    case 'b':
        return cut_month(rest, &date->month);
    case 'd':
        return cut_digits(rest, 2, &date->day);
    case 'e':
        return cut_day(rest, &date->day);
    case 'Y':
        return cut_digits(rest, 4, &date->year);
    case 'y':
        return cut_short_year(rest, &date->year);
    case 'H':
        return cut_digits(rest, 2, &date->hour);
    case 'M':
        return cut_digits(rest, 2, &date->minute);
    default:
        return cut_digits(rest, 2, &date->second);
    }
}

// read_date is strptime without its leniency and without the locale.
static bool read_date(struct slice value, const char *format, struct date *date)
{
    for (const char *f = format; *f; f++) {
        if (*f == '%' ? !cut_field(&value, *++f, date) : !cut_literal(&value, (struct slice){f, 1}))
            return false;
    }
    return value.len == 0;
}

static bool is_real(const struct date *date, int64_t days)
{
    struct date same;
    if (days < 0) // before 1970 nothing of ours was modified
        return false;
    civil_from_days(days, &same);
    return same.year == date->year && same.month == date->month && same.day == date->day &&
           same.weekday == date->weekday && date->hour < 24 && date->minute < 60 &&
           date->second <= 60; // 60 is a leap second
}

struct condition_date condition_date_parse(struct slice value)
{
    static const char *const formats[] = {
        "%a, %d %b %Y %H:%M:%S GMT", // IMF-fixdate
        "%A, %d-%b-%y %H:%M:%S GMT", // RFC 850
        "%a %b %e %H:%M:%S %Y",      // asctime
    };
    value = slice_trim(value);
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        struct date date = {0};
        if (!read_date(value, formats[i], &date))
            continue;
        int64_t days = days_from_civil(date.year, date.month, date.day);
        int64_t seconds = days * 86400 + date.hour * 3600 + date.minute * 60 + date.second;
        if (is_real(&date, days))
            return (struct condition_date){true, seconds};
    }
    return (struct condition_date){false, 0};
}

static void put_digits(char *out, size_t len, int64_t number)
{
    while (len-- > 0) {
        out[len] = (char)('0' + number % 10);
        number /= 10;
    }
}

void condition_date_format(int64_t seconds, char out[CONDITION_DATE_SIZE])
{
    const int64_t end = 253402300799; // 9999-12-31 23:59:59
    int64_t at = seconds < 0 ? 0 : seconds > end ? end : seconds;
    struct date date;
    civil_from_days(at / 86400, &date);
    memcpy(out, "Sun, 06 Nov 1994 08:49:37 GMT", CONDITION_DATE_SIZE);
    memcpy(out, day_names + 3 * date.weekday, 3);
    put_digits(out + 5, 2, date.day);
    memcpy(out + 8, month_names + 3 * (date.month - 1), 3);
    put_digits(out + 12, 4, date.year);
    put_digits(out + 17, 2, at / 3600 % 24);
    put_digits(out + 20, 2, at / 60 % 60);
    put_digits(out + 23, 2, at % 60);
}

enum condition_outcome condition_evaluate_read(const struct conditions *c, uint64_t version,
                                               int64_t modified_seconds)
{
    if (c->match.present) {
        if (!condition_matches(&c->match, version))
            return CONDITION_FAILED;
    } else if (c->unmodified_since.present && modified_seconds > c->unmodified_since.seconds) {
        return CONDITION_FAILED;
    }
    if (c->none_match.present)
        return condition_matches(&c->none_match, version) ? CONDITION_NOT_MODIFIED : CONDITION_PASS;
    if (c->modified_since.present && modified_seconds <= c->modified_since.seconds)
        return CONDITION_NOT_MODIFIED;
    return CONDITION_PASS;
}

bool condition_allows_range(struct slice if_range, uint64_t version, int64_t modified_seconds)
{
    struct slice rest = slice_trim(if_range), opaque;
    uint64_t named;
    bool weak;
    if (cut_tag(&rest, &opaque, &weak) == ERROR_NONE)
        return rest.len == 0 && !weak && read_version(opaque, &named) && named == version;
    struct condition_date date = condition_date_parse(if_range);
    return date.present && date.seconds == modified_seconds;
}
