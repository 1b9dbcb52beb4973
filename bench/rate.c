// SPDX-License-Identifier: MIT
// An HTTP client that keeps to a rate: requests have a time at which they are to be sent, and their
// latency counts from that time, also if all connections were still busy then. A server that stalls
// is so seen to stall by all who would have asked it meanwhile (no coordinated omission).
//
// Each answer is compared with what it has to be; one that is wrong ends the run. At a low rate it
// is what watches the answers while another client makes the load. With --each it writes every key
// once, as fast as the server goes.
//
// A request is a text in which $key, $value, $key64 and $value64 stand for those of bench/pair.h
// and their base64. An answer is right if its body is a text of the same kind, or has it in it
// where the text begins with three dots; of $value all but the ten last digits has to be as it was
// written.
#include <argp.h>
#include <arpa/inet.h>
#include <errno.h>
#include <llhttp.h>
#include <netinet/tcp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/random.h"
#include "bench/latency.h"
#include "bench/pair.h"

enum {
    CONNECTIONS_MAX = 10000,
    RATE_MAX = 10000000,
    SECONDS_MAX = 3600,
    GRACE_US = 5000000, // for answers after the end
    EVENTS = 256,
};

struct work {
    const char *request;
    const char *answer; // NULL: only the status counts
};

struct options {
    unsigned port;
    struct work read, write;
    unsigned writes; // percent of the requests
    unsigned rate;
    unsigned seconds;
    unsigned connections;
    unsigned keys, first;
    unsigned size;
    unsigned seed;
    const char *prefix;
    bool each;
};

struct connection {
    int fd;
    const struct work *work; // that waits for its answer; NULL: idle
    uint32_t number;         // of its key
    int64_t due;             // when it was to be sent
    bool complete;
    llhttp_t parser;
    struct bytes body;
};

static struct options o;
static int epoll;
static struct connection *connections;
static struct connection **idle; // a ring, so that all are used
static unsigned idle_first, idle_count;
static unsigned long long sent, answered;
static struct latency latency;
static llhttp_settings_t settings;
static struct bytes text;
static char value[VALUE_MAX + 1];
static char base64[VALUE_MAX * 2];

__attribute__((noreturn, format(printf, 1, 2))) static void die(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("rate: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(EXIT_OTHER);
}

// --- Texts -------------------------------------------------------------------------------------

static void append_base64(const char *data, size_t len)
{
    sodium_bin2base64(base64, sizeof base64, (const uint8_t *)data, len,
                      sodium_base64_VARIANT_ORIGINAL);
    bytes_append_text(&text, base64);
}

// append_name appends what `name` stands for and returns its length.
static size_t append_name(const char *name, uint32_t number, size_t value_len)
{
    char key[KEY_LEN + 1];
    pair_key(key, o.prefix, number);
    if (strncmp(name, "$key64", 6) == 0) {
        append_base64(key, KEY_LEN);
        return 6;
    }
    if (strncmp(name, "$key", 4) == 0) {
        bytes_append(&text, key, KEY_LEN);
        return 4;
    }
    pair_value(value, o.size, key, o.seed * UINT64_C(1000000) + sent % 1000000);
    if (strncmp(name, "$value64", 8) == 0) {
        append_base64(value, value_len);
        return 8;
    }
    if (strncmp(name, "$value", 6) != 0)
        die("what is %s?", name);
    bytes_append(&text, value, value_len);
    return 6;
}

// expand makes `text` of a template. Without `digits` a value is cut before them, and its base64
// has to be cut at a multiple of three.
static void expand(const char *template, uint32_t number, bool digits)
{
    bytes_clear(&text);
    while (true) {
        size_t plain = strcspn(template, "$");
        bytes_append(&text, template, plain);
        template += plain;
        if (!*template)
            break;
        template += append_name(template, number, digits ? o.size : o.size - DIGITS_LEN);
    }
    if (bytes_failed(&text))
        die("out of memory");
}

static bool right(const struct connection *c)
{
    const struct bytes *body = &c->body;
    const char *answer = c->work->answer;
    if (c->parser.status_code / 100 != 2)
        return false;
    if (!answer)
        return true;
    if (strcmp(answer, "$value") == 0) {
        char key[KEY_LEN + 1];
        pair_key(key, o.prefix, c->number);
        return pair_right(body->data, body->len, o.size, key);
    }
    expand(answer, c->number, false);
    if (strncmp(answer, "...", 3) == 0)
        return memmem(body->data, body->len, text.data + 3, text.len - 3);
    return slice_equal(bytes_slice(body), bytes_slice(&text));
}

// --- Connections -------------------------------------------------------------------------------

static int on_body(llhttp_t *parser, const char *at, size_t len)
{
    struct connection *c = parser->data;
    bytes_append(&c->body, at, len);
    return 0;
}

static int on_complete(llhttp_t *parser)
{
    struct connection *c = parser->data;
    c->complete = true;
    return llhttp_should_keep_alive(parser) ? 0 : -1;
}

static void put_idle(struct connection *c)
{
    idle[(idle_first + idle_count++) % o.connections] = c;
}

static void open_all(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)o.port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    epoll = epoll_create1(0);
    connections = calloc(o.connections, sizeof *connections);
    idle = calloc(o.connections, sizeof *idle);
    if (!connections || !idle)
        die("out of memory");
    llhttp_settings_init(&settings);
    settings.on_body = on_body;
    settings.on_message_complete = on_complete;
    for (unsigned i = 0; i < o.connections; i++) {
        struct connection *c = &connections[i];
        c->fd = socket(AF_INET, SOCK_STREAM, 0);
        if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&address, sizeof address) != 0)
            die("port %u: %s", o.port, strerror(errno));
        setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &event) != 0)
            die("epoll: %s", strerror(errno));
        llhttp_init(&c->parser, HTTP_RESPONSE, &settings);
        c->parser.data = c;
        put_idle(c);
    }
}

static void send_next(int64_t due)
{
    struct connection *c = idle[idle_first];
    idle_first = (idle_first + 1) % o.connections;
    idle_count--;
    bool writes = o.each || random_below(100) < o.writes;
    c->work = writes ? &o.write : &o.read;
    c->number = o.first + (o.each ? (uint32_t)sent : random_below(o.keys));
    c->due = due;
    c->complete = false;
    bytes_clear(&c->body);
    expand(c->work->request, c->number, true);
    sent++;
    for (size_t done = 0; done < text.len;) {
        ssize_t n = send(c->fd, text.data + done, text.len - done, MSG_NOSIGNAL);
        if (n < 0)
            die("send: %s", strerror(errno));
        done += (size_t)n;
    }
}

static void receive(struct connection *c)
{
    static char buffer[65536];
    ssize_t n = recv(c->fd, buffer, sizeof buffer, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0)
        die("a connection was closed: %s", n ? strerror(errno) : "its end");
    if (!c->work)
        die("an answer that nobody asked for: %.*s", (int)n, buffer);
    if (llhttp_execute(&c->parser, buffer, (size_t)n) != HPE_OK)
        die("%s: %s", llhttp_errno_name(c->parser.error), c->parser.reason);
    if (!c->complete)
        return;
    if (!right(c))
        die("wrong answer for key %u: %d %.*s", c->number, c->parser.status_code,
            (int)(c->body.len < 400 ? c->body.len : 400), c->body.len ? c->body.data : "");
    latency_add(&latency, clock_us() - c->due);
    answered++;
    c->work = NULL;
    put_idle(c);
}

// --- The run -----------------------------------------------------------------------------------

// wait_for takes what comes in, until the time is over or something came.
static void wait_for(int64_t us)
{
    struct epoll_event events[EVENTS];
    struct timespec time = {.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000};
    int count = epoll_pwait2(epoll, events, EVENTS, &time, NULL);
    if (count < 0 && errno != EINTR)
        die("epoll: %s", strerror(errno));
    for (int i = 0; i < count; i++)
        receive(events[i].data.ptr);
}

static double run(void)
{
    int64_t begin = clock_us(), now = begin;
    unsigned long long total = o.each ? o.keys : (unsigned long long)o.rate * o.seconds;
    int64_t until = begin + o.seconds * INT64_C(1000000) + GRACE_US;
    while (answered < total && (o.each || now < until)) {
        int64_t due = o.each ? now : begin + (int64_t)(sent * 1000000 / o.rate);
        if (sent < total && idle_count && due <= now) {
            send_next(due);
            continue;
        }
        wait_for(sent < total && idle_count ? due - now : 100000);
        now = clock_us();
    }
    // Who has no answer yet has waited at least until now.
    for (unsigned i = 0; i < o.connections; i++)
        if (connections[i].work)
            latency_add(&latency, now - connections[i].due);
    for (; sent < total; sent++)
        latency_add(&latency, now - (begin + (int64_t)(sent * 1000000 / o.rate)));
    return (double)(now - begin) / 1e6;
}

// --- The command line --------------------------------------------------------------------------

static const struct argp_option argp_options[] = {
    {"port", 'p', "N", 0, "Of the server, on this machine", 0},
    {"read", 'r', "TEXT", 0, "The request that reads", 0},
    {"read-answer", 'R', "TEXT", 0, "What it is answered", 0},
    {"write", 'w', "TEXT", 0, "The request that writes", 0},
    {"write-answer", 'W', "TEXT", 0, "What it is answered", 0},
    {"writes", 'x', "PERCENT", 0, "How many of the requests write (0)", 0},
    {"each", 'e', NULL, 0, "Write each key once, as fast as it goes", 0},
    {"rate", 'a', "N", 0, "Requests a second (100)", 0},
    {"seconds", 'n', "N", 0, "For how long (5)", 0},
    {"connections", 'c', "N", 0, "How many (64)", 0},
    {"keys", 'k', "N", 0, "How many keys there are (200000)", 0},
    {"first", 'f', "N", 0, "The number of the first of them (0)", 0},
    {"prefix", 'P', "TEXT", 0, "Of the keys, four bytes (key:)", 0},
    {"size", 's', "N", 0, "Of the values, a multiple of ten (100)", 0},
    {"seed", 'S', "N", 0, "Which random keys; the first four digits of written values (1)", 0},
    {0},
};

static unsigned number_of(const char *argument, unsigned max, struct argp_state *state)
{
    unsigned long long number;
    if (slice_number(slice_of(argument), max, &number) != ERROR_NONE)
        argp_error(state, "%s is not a number up to %u", argument, max);
    return (unsigned)number;
}

static error_t parse(int option, char *argument, struct argp_state *state)
{
    switch (option) {
    case 'p':
        o.port = number_of(argument, UINT16_MAX, state);
        break;
    case 'r':
        o.read.request = argument;
        break;
    case 'R':
        o.read.answer = argument;
        break;
    case 'w':
        o.write.request = argument;
        break;
    case 'W':
        o.write.answer = argument;
        break;
    case 'x':
        o.writes = number_of(argument, 100, state);
        break;
    case 'e':
        o.each = true;
        break;
    case 'a':
        o.rate = number_of(argument, RATE_MAX, state);
        break;
    case 'n':
        o.seconds = number_of(argument, SECONDS_MAX, state);
        break;
    case 'c':
        o.connections = number_of(argument, CONNECTIONS_MAX, state);
        break;
    case 'k':
        o.keys = number_of(argument, KEYS_MAX, state);
        break;
    case 'f':
        o.first = number_of(argument, KEYS_MAX, state);
        break;
    case 'P':
        o.prefix = argument;
        break;
    case 's':
        o.size = number_of(argument, VALUE_MAX, state);
        break;
    case 'S':
        o.seed = number_of(argument, 9999, state);
        break;
    case ARGP_KEY_ARG:
        argp_error(state, "what is %s?", argument);
        break;
    case ARGP_KEY_END:
        if (!o.port || !o.rate || !o.connections || !o.keys || o.first + o.keys > KEYS_MAX)
            argp_error(state, "port, rate, connections and keys have to be more than 0");
        if (o.size < VALUE_MIN || o.size % KEY_LEN || strlen(o.prefix) != PREFIX_LEN)
            argp_error(state, "a size is a multiple of ten, a prefix has four bytes");
        if ((!o.read.request && !o.each && o.writes < 100) ||
            (!o.write.request && (o.each || o.writes)))
            argp_error(state, "--read or --write is missing");
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

int main(int argc, char **argv)
{
    static const struct argp argp = {
        .options = argp_options,
        .parser = parse,
        .doc = "Asks an HTTP server at a fixed rate and prints the latencies (microseconds, from "
               "when a request was to be sent) as a line of JSON.",
    };
    o = (struct options){.rate = 100,
                         .seconds = 5,
                         .connections = 64,
                         .keys = 200000,
                         .size = 100,
                         .seed = 1,
                         .prefix = "key:"};
    argp_err_exit_status = EXIT_USAGE;
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    random_seed(o.seed);
    prctl(PR_SET_TIMERSLACK, 1); // nanosecond: else the kernel may wake us 50 us late
    open_all();
    double seconds = run();
    printf("{\"rate\":%u,\"achieved\":%.1f,\"requests\":%llu,\"unanswered\":%llu,\"p50\":%llu,"
           "\"p99\":%llu,\"p99.9\":%llu,\"max\":%llu}\n",
           o.rate, (double)answered / seconds, sent, sent - answered,
           (unsigned long long)latency_at(&latency, 0.5),
           (unsigned long long)latency_at(&latency, 0.99),
           (unsigned long long)latency_at(&latency, 0.999), (unsigned long long)latency.max);
    return EXIT_OK;
}
