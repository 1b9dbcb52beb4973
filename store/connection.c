// SPDX-License-Identifier: MIT
#include "store/connection.h"

#include <assert.h>
#include <errmsg.h>
#include <errno.h>
#include <event2/event_struct.h>
#include <fcntl.h>
#include <mysql.h>
#include <netdb.h>
#include <openssl/err.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/process.h"
#include "store/check.h"
#include "store/lookup.h"
#include "store/query.h"

enum {
    // The library runs each call on a stack of its own, without a guard page; its default of 60 KiB
    // is too small for name services and TLS.
    STACK_BYTES = 256 * 1024,
    // Threads that connect through TLS: one that was given up on may stay while a partition drips.
    OPENINGS_MAX = 256,
};

// What is under way: the look-up of a name, or a call of the library.
enum step {
    STEP_LOOKUP,
    STEP_CONNECT,
    STEP_QUERY, // sends the statement and reads the head of its answer
    STEP_STORE, // reads the rows
};

struct connection {
    enum connection_state state;
    enum step step;
    bool checking;  // PREPARING: the session is set, the check is under way
    bool timed_out; // the deadline, or an abort, ended the call under way
    int refused;    // errno of a connection that was refused at once
    bool inside;    // a call of the owner is under way: callbacks must wait for the loop

    const struct conf_partition *partition; // that it was opened to
    char address[LOOKUP_ADDRESS_MAX];       // numeric; empty for a socket
    unsigned timeout_ms;
    unsigned open_ms; // time-out of connection_open
    uint64_t max_packet_needed;
    struct connection_events events;

    struct event_base *base;
    struct event io;
    struct event timer;
    struct event later; // calls finish_step from the loop
    short io_flags;     // what io waits for, 0 if it is not added
    int fd;

    MYSQL *mysql;            // NULL while closed, or while `opening` has it
    struct lookup *lookup;   // of the host's name; or NULL
    struct opening *opening; // a thread that connects through TLS; or NULL
    MYSQL *connected;
    int failed;
    MYSQL_RES *result;
    struct bytes sql; // the statement of PREPARING
    struct check check;
};

// A connection that a thread of its own makes: the library cannot suspend the handshake of TLS, nor
// the look-up of the name that the server's certificate must have. Two own it: the connection,
// which may give up, and the thread, which ends when the library's own time-outs do.
struct opening {
    atomic_uint owners;
    const struct conf_partition *partition;
    MYSQL *mysql; // until the connection takes it
    MYSQL *connected;
    int done; // eventfd, that the thread writes at its end
};

static atomic_uint openings;

static void finish_step(struct connection *c);
static void start_connect(struct connection *c);
static void on_io(evutil_socket_t fd, short what, void *context);

// ---------------------------------------------------------------- state

static void set_state(struct connection *c, enum connection_state state)
{
    static const unsigned legal[] = {
        [CONNECTION_CLOSED] = 1u << CONNECTION_CONNECTING,
        [CONNECTION_CONNECTING] = 1u << CONNECTION_PREPARING | 1u << CONNECTION_CLOSED,
        [CONNECTION_PREPARING] = 1u << CONNECTION_IDLE | 1u << CONNECTION_CLOSED,
        [CONNECTION_IDLE] = 1u << CONNECTION_BUSY | 1u << CONNECTION_CLOSED,
        [CONNECTION_BUSY] = 1u << CONNECTION_IDLE | 1u << CONNECTION_CLOSED,
    };
    assert(legal[c->state] & 1u << state);
    c->state = state;
}

static void unwatch(struct connection *c)
{
    if (c->io_flags)
        event_del(&c->io);
    c->io_flags = 0;
    c->fd = -1;
}

static void release_result(struct connection *c)
{
    if (c->result)
        mysql_free_result(c->result);
    c->result = NULL;
}

static void close_handle(MYSQL **mysql)
{
    if (!*mysql)
        return;
    int fd = mysql_get_socket(*mysql); // none if the library has closed it already
    if (fd >= 0)
        shutdown(fd, SHUT_WR); // the farewell of mysql_close could block on a full socket
    mysql_close(*mysql);
    *mysql = NULL;
}

static void close_connection(struct connection *c)
{
    set_state(c, CONNECTION_CLOSED);
    event_del(&c->timer);
    event_del(&c->later);
    unwatch(c);
    lookup_free(&c->lookup);
    release_result(c);
    close_handle(&c->mysql);
}

// ---------------------------------------------------------------- waiting

static void set_timer(struct connection *c, unsigned ms)
{
    struct timeval tv = {ms / 1000, ms % 1000 * 1000};
    evtimer_add(&c->timer, &tv);
}

// wait_for has the loop watch the socket for what the library waits for. The socket changes while
// the library tries addresses, and stays registered between statements: reading is what they mostly
// wait for, and an idle connection becomes readable when the server ends it.
static void wait_for(struct connection *c, int wanted)
{
    short flags = EV_PERSIST;
    if (wanted & MYSQL_WAIT_READ)
        flags |= EV_READ;
    if (wanted & MYSQL_WAIT_WRITE)
        flags |= EV_WRITE;
    int fd = mysql_get_socket(c->mysql);
    if (fd == c->fd && flags == c->io_flags)
        return;
    unwatch(c);
    c->fd = fd;
    c->io_flags = flags;
    event_assign(&c->io, c->base, fd, flags, on_io, c);
    event_add(&c->io, NULL);
}

// step_done takes what a _start or _cont returned: 0, and the step is over, or what to wait for.
// When the library has closed the socket, its number may soon be that of a client's: the loop would
// take that one for watched already, and never hear of it.
static void step_done(struct connection *c, int wanted)
{
    if (mysql_get_socket(c->mysql) != c->fd)
        unwatch(c);
    if (wanted)
        wait_for(c, wanted);
    else if (c->inside)
        event_active(&c->later, EV_TIMEOUT, 0);
    else
        finish_step(c);
}

// forget_errors: before each call, for the library takes an error that another connection left on
// this thread for one of its own.
static void forget_errors(const struct connection *c)
{
    if (c->partition->tls == CONF_TLS_REQUIRED)
        ERR_clear_error();
}

static int step_continue(struct connection *c, int happened)
{
    forget_errors(c);
    switch (c->step) { // GCOVR_EXCL_BR_LINE: all are there
    case STEP_LOOKUP:  // the library has no part in it
        break;
    case STEP_CONNECT:
        return mysql_real_connect_cont(&c->connected, c->mysql, happened);
    case STEP_QUERY:
        return mysql_real_query_cont(&c->failed, c->mysql, happened);
    case STEP_STORE:
        return mysql_store_result_cont(&c->result, c->mysql, happened);
    }
    abort();
}

static void start_query(struct connection *c, struct slice sql)
{
    c->step = STEP_QUERY;
    forget_errors(c);
    step_done(c, mysql_real_query_start(&c->failed, c->mysql, sql.data, sql.len));
}

// ---------------------------------------------------------------- opening

static void fail_open(struct connection *c, enum error error, const char *why)
{
    struct bytes text = {0}; // `why` may lie in the handle that is closed now
    bytes_append(&text, why, strlen(why) + 1);
    close_connection(c);
    c->events.on_closed(c, error, bytes_failed(&text) ? "out of memory" : text.data,
                        c->events.context);
    bytes_fini(&text);
}

static void fail_open_with_library_error(struct connection *c)
{
    if (c->refused)
        fail_open(c, ERROR_UNAVAILABLE, strerror(c->refused));
    else if (c->timed_out)
        fail_open(c, ERROR_UNAVAILABLE, "no answer in time while connecting");
    else
        fail_open(
            c, check_code_is_final(mysql_errno(c->mysql)) ? ERROR_MISCONFIGURED : ERROR_UNAVAILABLE,
            mysql_error(c->mysql));
}

static void fail_lookup(struct connection *c, const char *why)
{
    struct bytes text = {0};
    bytes_format(&text, "the name %s cannot be resolved: %s", c->partition->host, why);
    bytes_append_char(&text, '\0');
    fail_open(c, ERROR_UNAVAILABLE, bytes_failed(&text) ? "out of memory" : text.data);
    bytes_fini(&text);
}

static void finish_lookup(struct connection *c)
{
    const char *why = "no answer in time";
    const char *address = c->lookup ? lookup_address(c->lookup, &why) : NULL;
    if (!address) {
        fail_lookup(c, c->refused ? strerror(c->refused) : why);
        return;
    }
    snprintf(c->address, sizeof c->address, "%s", address);
    lookup_free(&c->lookup);
    start_connect(c);
}

static void start_prepare(struct connection *c, bool checking)
{
    c->checking = checking;
    bytes_clear(&c->sql);
    if (checking)
        query_check(&c->sql);
    else
        query_session(&c->sql, c->timeout_ms);
    if (bytes_failed(&c->sql))
        fail_open(c, ERROR_UNAVAILABLE, "out of memory");
    else
        start_query(c, bytes_slice(&c->sql));
}

static void finish_check(struct connection *c)
{
    struct row row;
    struct bytes problem = {0};
    if (!connection_row(c, &row) || row_check(&row, &c->check))
        bytes_append_text(&problem, "unexpected answer to the check of the schema");
    else
        check_problem(&c->check, c->max_packet_needed, &problem);
    bytes_append_char(&problem, '\0');
    release_result(c);
    if (bytes_failed(&problem)) {
        fail_open(c, ERROR_UNAVAILABLE, "out of memory");
    } else if (problem.len > 1) {
        fail_open(c, ERROR_MISCONFIGURED, problem.data);
    } else {
        event_del(&c->timer);
        set_state(c, CONNECTION_IDLE);
        wait_for(c, MYSQL_WAIT_READ);
        c->events.on_open(c, c->events.context);
    }
    bytes_fini(&problem);
}

// ---------------------------------------------------------------- steps

// The library's own errors (2000 to 2999, and some from 5000 on), or an abort, mean that the
// connection is lost; all others are the server's words.
static bool lost(struct connection *c)
{
    unsigned code = mysql_errno(c->mysql);
    return c->timed_out || (code >= CR_MIN_ERROR && code <= CR_MAX_ERROR) ||
           (code >= CER_MIN_ERROR && code <= CR_MARIADB_LAST_ERROR);
}

static void finish_statement(struct connection *c, bool failed)
{
    struct answer answer = {.error = ERROR_NONE, .text = ""};
    struct bytes text = {0};
    event_del(&c->timer);
    if (failed) {
        bytes_append_text(&text, mysql_error(c->mysql));
        bytes_append_char(&text, '\0');
        answer.error = lost(c) ? ERROR_OUTCOME : ERROR_REJECTED;
        answer.code = mysql_errno(c->mysql);
        answer.text = bytes_failed(&text) ? "out of memory" : text.data;
        answer.timed_out = c->timed_out;
    }
    if (answer.error == ERROR_OUTCOME) {
        close_connection(c);
    } else {
        set_state(c, CONNECTION_IDLE);
        wait_for(c, MYSQL_WAIT_READ);
    }
    c->events.on_answer(c, &answer, c->events.context);
    if (c->state == CONNECTION_IDLE)
        release_result(c);
    bytes_fini(&text);
}

static void finish_rows(struct connection *c)
{
    bool failed = !c->result && mysql_errno(c->mysql);
    if (c->state == CONNECTION_BUSY)
        finish_statement(c, failed);
    else if (failed)
        fail_open_with_library_error(c);
    else if (c->checking)
        finish_check(c);
    else
        start_prepare(c, true);
}

static void finish_step(struct connection *c)
{
    switch (c->step) { // GCOVR_EXCL_BR_LINE: all are there
    case STEP_LOOKUP:
        finish_lookup(c);
        break;
    case STEP_CONNECT:
        if (c->connected) {
            set_state(c, CONNECTION_PREPARING);
            start_prepare(c, false);
        } else {
            fail_open_with_library_error(c);
        }
        break;
    case STEP_QUERY:
        if (!c->failed) {
            c->step = STEP_STORE;
            forget_errors(c);
            step_done(c, mysql_store_result_start(&c->result, c->mysql));
        } else if (c->state == CONNECTION_BUSY) {
            finish_statement(c, true);
        } else {
            fail_open_with_library_error(c);
        }
        break;
    case STEP_STORE:
        finish_rows(c);
        break;
    }
}

static bool nothing_to_read(int fd)
{
    char byte;
    return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 &&
           (errno == EAGAIN || errno == EWOULDBLOCK);
}

static void on_io(evutil_socket_t fd, short what, void *context)
{
    struct connection *c = context;
    (void)fd;
    if (event_pending(&c->later, EV_TIMEOUT, NULL)) // the call is over, its end not yet told
        return;
    if (c->state == CONNECTION_IDLE && nothing_to_read(fd))
        return; // what made it ready was read in the same turn, by finish_step from on_later
    if (c->state == CONNECTION_IDLE) { // nobody asked: the server ended it, or is out of step
        fail_open(c, ERROR_UNAVAILABLE, "the server ended the connection");
        return;
    }
    int happened =
        (what & EV_READ ? MYSQL_WAIT_READ : 0) | (what & EV_WRITE ? MYSQL_WAIT_WRITE : 0);
    step_done(c, step_continue(c, happened));
}

static void on_later(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    finish_step(context);
}

static void release_opening(struct opening **opening)
{
    struct opening *o = *opening;
    *opening = NULL;
    if (atomic_fetch_sub(&o->owners, 1) > 1)
        return;
    close_handle(&o->mysql);
    close(o->done);
    free(o);
    atomic_fetch_sub(&openings, 1);
}

// end_call makes the library's suspended call return: its socket is shut, and a time-out reported.
// Threads are left behind.
static void end_call(struct connection *c)
{
    c->timed_out = true;
    unwatch(c);
    lookup_free(&c->lookup);
    if (c->opening)
        release_opening(&c->opening);
    if (!c->mysql)
        return;
    int fd = mysql_get_socket(c->mysql);
    if (fd >= 0)
        shutdown(fd, SHUT_RDWR);
    while (step_continue(c, MYSQL_WAIT_READ | MYSQL_WAIT_WRITE | MYSQL_WAIT_TIMEOUT))
        ; // each turn fails one of the few reads and writes that are left
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
    struct connection *c = context;
    (void)fd;
    (void)what;
    if (event_pending(&c->later, EV_TIMEOUT, NULL)) // it ended just now, or was aborted
        return;
    end_call(c);
    finish_step(c);
}

// ---------------------------------------------------------------- life

enum error connection_new(struct event_base *base, unsigned timeout_ms, uint64_t max_packet_needed,
                          const struct connection_events *events, struct connection **connection)
{
    struct connection *c = calloc(1, sizeof *c);
    *connection = c;
    if (!c)
        return ERROR_MEMORY;
    c->state = CONNECTION_CLOSED;
    c->timeout_ms = timeout_ms;
    c->max_packet_needed = max_packet_needed;
    c->events = *events;
    c->base = base;
    c->fd = -1;
    evtimer_assign(&c->timer, base, on_timer, c);
    evtimer_assign(&c->later, base, on_later, c);
    return ERROR_NONE;
}

void connection_free(struct connection **connection)
{
    struct connection *c = *connection;
    if (!c)
        return;
    *connection = NULL;
    bool suspended = c->state != CONNECTION_CLOSED && c->state != CONNECTION_IDLE &&
                     !event_pending(&c->later, EV_TIMEOUT, NULL);
    if (suspended)
        end_call(c);
    if (c->state != CONNECTION_CLOSED)
        close_connection(c);
    bytes_fini(&c->sql);
    free(c);
}

// refused_at_once tries whether a connection is refused while it is begun, and leaves the reason in
// errno. The library (3.3) closes the descriptor of such a connection twice, and between the two
// another thread may have got its number: so it never gets to see one.
static bool refused_at_once(const struct connection *c)
{
    struct sockaddr_storage address = {0};
    struct sockaddr_un *local = (struct sockaddr_un *)&address;
    socklen_t len = sizeof *local;
    if (c->address[0]) {
        char port[8];
        const struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                                       .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
        struct addrinfo *found;
        snprintf(port, sizeof port, "%u", c->partition->port);
        if (getaddrinfo(c->address, port, &hints, &found))
            return false;
        len = found->ai_addrlen;
        memcpy(&address, found->ai_addr, len);
        freeaddrinfo(found);
    } else {
        local->sun_family = AF_UNIX;
        snprintf(local->sun_path, sizeof local->sun_path, "%s", c->partition->socket);
    }
    int fd = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    bool refused =
        fd < 0 || (connect(fd, (struct sockaddr *)&address, len) && errno != EINPROGRESS);
    int reason = errno;
    if (fd >= 0)
        close(fd);
    errno = reason;
    return refused;
}

static MYSQL *new_handle(void)
{
    static const size_t stack = STACK_BYTES;
    static const my_bool no = 0;
    MYSQL *mysql = mysql_init(NULL);
    if (!mysql)
        return NULL;
    // Without the memory for it the library would crash when it connects.
    if (mysql_options(mysql, MYSQL_OPT_NONBLOCK, &stack)) {
        mysql_close(mysql);
        return NULL;
    }
    mysql_options(mysql, MYSQL_OPT_RECONNECT, &no);
    mysql_options(mysql, MYSQL_SET_CHARSET_NAME, "binary");
    return mysql;
}

// ---------------------------------------------------------------- through TLS

static void set_tls(MYSQL *mysql, const struct conf_partition *p, unsigned timeout_ms)
{
    static const my_bool yes = 1;
    static const unsigned tcp = MYSQL_PROTOCOL_TCP; // localhost would be a socket
    const unsigned seconds = (timeout_ms + 999) / 1000;
    mysql_options(mysql, MYSQL_OPT_PROTOCOL, &tcp);
    mysql_options(mysql, MYSQL_OPT_SSL_ENFORCE, &yes);
    mysql_options(mysql, MYSQL_OPT_SSL_VERIFY_SERVER_CERT, &yes);
    mysql_options(mysql, MARIADB_OPT_TLS_VERSION, "TLSv1.2,TLSv1.3");
    mysql_options(mysql, MARIADB_OPT_TLS_PASSPHRASE, ""); // else it would ask the terminal
    mysql_options(mysql, MYSQL_OPT_SSL_CA, p->tls_ca);
    if (p->tls_certificate) {
        mysql_options(mysql, MYSQL_OPT_SSL_CERT, p->tls_certificate);
        mysql_options(mysql, MYSQL_OPT_SSL_KEY, p->tls_key);
    }
    mysql_options(mysql, MYSQL_OPT_CONNECT_TIMEOUT, &seconds);
    mysql_options(mysql, MYSQL_OPT_READ_TIMEOUT, &seconds);
    mysql_options(mysql, MYSQL_OPT_WRITE_TIMEOUT, &seconds);
}

// connect_here gives the library the name, not the address: it is what it looks for in the
// certificate. The library leaves a socket with TLS blocking.
static void *connect_here(void *context)
{
    static const uint64_t one = 1;
    struct opening *o = context;
    const struct conf_partition *p = o->partition;
    o->connected =
        mysql_real_connect(o->mysql, p->host, p->user, p->password, p->database, p->port, NULL, 0);
    if (o->connected) {
        int fd = mysql_get_socket(o->mysql);
        fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    }
    if (write(o->done, &one, sizeof one) < 0) // GCOVR_EXCL_BR_LINE: an eventfd takes it
        abort();
    release_opening(&o);
    mysql_thread_end();
    return NULL;
}

static void on_opened(evutil_socket_t fd, short what, void *context)
{
    struct connection *c = context;
    uint64_t count;
    (void)what;
    if (read(fd, &count, sizeof count) < 0) // GCOVR_EXCL_BR_LINE: it was readable
        abort();                            // from here on the thread's work is seen
    unwatch(c);
    c->mysql = c->opening->mysql;
    c->connected = c->opening->connected;
    c->opening->mysql = NULL;
    release_opening(&c->opening);
    finish_step(c);
}

// open_in_thread returns what is wrong if the thread cannot be started, as errno does.
static int open_in_thread(struct connection *c)
{
    struct opening *o = atomic_load(&openings) < OPENINGS_MAX ? calloc(1, sizeof *o) : NULL;
    if (!o)
        return EAGAIN;
    o->partition = c->partition;
    o->done = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (o->done < 0) {
        free(o);
        return errno;
    }
    atomic_store(&o->owners, 2);
    atomic_fetch_add(&openings, 1);
    o->mysql = c->mysql;
    c->mysql = NULL;
    set_tls(o->mysql, c->partition, c->open_ms);
    int code = process_detach(connect_here, o);
    if (code) {
        atomic_store(&o->owners, 1);
        release_opening(&o);
        return code;
    }
    c->opening = o;
    c->fd = o->done;
    c->io_flags = EV_READ;
    event_assign(&c->io, c->base, c->fd, EV_READ, on_opened, c);
    event_add(&c->io, NULL);
    return 0;
}

bool connection_opening(void)
{
    return atomic_load(&openings) > 0 || lookup_running();
}

// ---------------------------------------------------------------- to where

static void start_connect(struct connection *c)
{
    const struct conf_partition *p = c->partition;
    bool tls = p->tls == CONF_TLS_REQUIRED;
    c->step = STEP_CONNECT;
    c->mysql = new_handle();
    c->refused = !c->mysql ? ENOMEM : refused_at_once(c) ? errno : 0;
    if (tls && !c->refused)
        c->refused = open_in_thread(c);
    if (c->refused)
        event_active(&c->later, EV_TIMEOUT, 0);
    else if (!tls)
        step_done(c, mysql_real_connect_start(&c->connected, c->mysql,
                                              c->address[0] ? c->address : NULL, p->user,
                                              p->password, p->database, p->port, p->socket, 0));
}

static void on_lookup(evutil_socket_t fd, short what, void *context)
{
    struct connection *c = context;
    (void)fd;
    (void)what;
    unwatch(c);
    finish_step(c);
}

static void start_lookup(struct connection *c)
{
    c->step = STEP_LOOKUP;
    c->refused = lookup_new(c->partition->host, &c->lookup);
    if (c->refused) {
        event_active(&c->later, EV_TIMEOUT, 0);
        return;
    }
    c->fd = lookup_fd(c->lookup);
    c->io_flags = EV_READ;
    event_assign(&c->io, c->base, c->fd, EV_READ, on_lookup, c);
    event_add(&c->io, NULL);
}

// ---------------------------------------------------------------- the interface

void connection_open(struct connection *c, const struct conf_partition *p, unsigned timeout_ms)
{
    bool named = p->host && lookup_needed(p->host);
    set_state(c, CONNECTION_CONNECTING);
    c->partition = p;
    c->open_ms = timeout_ms;
    c->timed_out = false;
    c->connected = NULL;
    snprintf(c->address, sizeof c->address, "%s", p->host && !named ? p->host : "");
    set_timer(c, timeout_ms);
    c->inside = true;
    if (named)
        start_lookup(c);
    else
        start_connect(c);
    c->inside = false;
}

void connection_query(struct connection *c, struct slice sql)
{
    release_result(c);
    set_state(c, CONNECTION_BUSY);
    c->timed_out = false;
    set_timer(c, c->timeout_ms);
    c->inside = true;
    start_query(c, sql);
    c->inside = false;
}

void connection_abort(struct connection *c)
{
    assert(c->state != CONNECTION_CLOSED && c->state != CONNECTION_IDLE);
    if (event_pending(&c->later, EV_TIMEOUT, NULL))
        return;
    end_call(c);
    event_active(&c->later, EV_TIMEOUT, 0);
}

void connection_close(struct connection *c)
{
    assert(c->state == CONNECTION_IDLE);
    close_connection(c);
}

bool connection_row(struct connection *c, struct row *row)
{
    MYSQL_ROW fields = c->result ? mysql_fetch_row(c->result) : NULL;
    if (!fields)
        return false;
    row->field = fields;
    row->length = mysql_fetch_lengths(c->result);
    row->fields = mysql_num_fields(c->result);
    return true;
}

bool connection_refused(const struct connection *c)
{
    return c->refused != 0;
}

enum connection_state connection_state(const struct connection *c)
{
    return c->state;
}

const struct check *connection_check(const struct connection *c)
{
    return &c->check;
}
