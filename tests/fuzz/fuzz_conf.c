// SPDX-License-Identifier: MIT
// libFuzzer target: any bytes as a configuration, in and outside of test mode. What parses must
// parse again after conf_print, to the same print; what does not must say why, a line a fault.
#include <stdint.h>
#include <stdlib.h>

#include "conf/conf.h"

// No file can lie below it: relative password files are not there.
static const char path[] = "/dev/null/fuzz.cfg";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool promise)
{
    if (!promise)
        abort();
}

// names_file is true if some option could name an existing password file.
static bool names_file(struct slice text)
{
    static const char name[] = "password_file";
    while (text.len) {
        struct slice value = slice_token(&text, '\n');
        struct slice option = slice_token(&value, '=');
        value = slice_trim(value);
        if (memmem(option.data, option.len, name, strlen(name)) && slice_starts(value, SLICE("/")))
            return true;
    }
    return false;
}

static void check_reason(const struct bytes *why)
{
    struct slice rest = bytes_slice(why);
    require(rest.len && rest.data[rest.len - 1] == '\n');
    while (rest.len)
        require(slice_starts(slice_token(&rest, '\n'), SLICE("/dev/null/fuzz.cfg:")));
}

static void check_print(const struct conf *conf)
{
    struct bytes first = {0}, second = {0}, why = {0};
    struct conf *again;
    conf_print(conf, &first);
    require(conf_parse(path, bytes_slice(&first), conf->test, &again, &why) == ERROR_NONE);
    conf_print(again, &second);
    require(slice_equal(bytes_slice(&first), bytes_slice(&second)));
    conf_free(&again);
    bytes_fini(&first);
    bytes_fini(&second);
    bytes_fini(&why);
}

static void run(struct slice text, bool test)
{
    struct conf *conf;
    struct bytes why = {0};
    enum error error = conf_parse(path, text, test, &conf, &why);
    require(error == ERROR_NONE || error == ERROR_MALFORMED);
    require((error == ERROR_NONE) == (conf != NULL));
    if (conf)
        check_print(conf);
    else
        check_reason(&why);
    conf_free(&conf);
    bytes_fini(&why);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice text = {(const char *)data, size};
    if (names_file(text))
        return 0;
    run(text, false);
    run(text, true);
    return 0;
}
