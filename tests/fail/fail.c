// SPDX-License-Identifier: MIT
// A library to load before a program (LD_PRELOAD) that makes its n-th call of a kind fail, once. A
// test holds the other end of the page that SHERD_FAIL names: it says which call, and sees whether
// that came, and how much memory is allocated.
//
// Kinds: an allocation (NULL), one that the program itself makes, not a library for it, a statement
// (the server refuses it), bytes to or from a socket that was connected, thus a database's
// (ECONNRESET).
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <mysql.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum kind { ALLOCATION, OWN_ALLOCATION, STATEMENT, SOCKET, KINDS };
enum { DESCRIPTORS = 4096 };

struct page {
    atomic_long left[KINDS];  // 0: none fails; 1: the next
    atomic_long fired[KINDS]; // so far
    atomic_long alive;        // allocations
};

static struct page no_page;
static struct page *page = &no_page;
static atomic_bool connected[DESCRIPTORS];
static uintptr_t program, program_end; // where it lies in memory

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *p, size_t size);
void __libc_free(void *p);

static bool fails(enum kind kind)
{
    long left = atomic_load(&page->left[kind]);
    while (left > 0 && !atomic_compare_exchange_weak(&page->left[kind], &left, left - 1))
        ;
    if (left != 1)
        return false;
    atomic_fetch_add(&page->fired[kind], 1);
    return true;
}

static bool no_memory(void *caller)
{
    uintptr_t at = (uintptr_t)caller;
    bool own = at >= program && at < program_end;
    if (!fails(ALLOCATION) && !(own && fails(OWN_ALLOCATION)))
        return false;
    errno = ENOMEM;
    return true;
}

static void *counted(void *p)
{
    if (p)
        atomic_fetch_add(&page->alive, 1);
    return p;
}

void *malloc(size_t size)
{
    return no_memory(__builtin_return_address(0)) ? NULL : counted(__libc_malloc(size));
}

void *calloc(size_t count, size_t size)
{
    return no_memory(__builtin_return_address(0)) ? NULL : counted(__libc_calloc(count, size));
}

void *realloc(void *p, size_t size)
{
    if (no_memory(__builtin_return_address(0)))
        return NULL;
    void *moved = __libc_realloc(p, size);
    return p ? moved : counted(moved);
}

void free(void *p)
{
    if (p)
        atomic_fetch_sub(&page->alive, 1);
    __libc_free(p);
}

int mysql_real_query_start(int *failed, MYSQL *mysql, const char *sql, unsigned long len)
{
    static int (*real)(int *, MYSQL *, const char *, unsigned long);
    static const char wrong[] = "refused by a test";
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "mysql_real_query_start");
    if (fails(STATEMENT))
        return real(failed, mysql, wrong, sizeof wrong - 1);
    return real(failed, mysql, sql, len);
}

int connect(int fd, const struct sockaddr *address, socklen_t len)
{
    static int (*real)(int, const struct sockaddr *, socklen_t);
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "connect");
    if (fd >= 0 && fd < DESCRIPTORS)
        connected[fd] = true;
    return real(fd, address, len);
}

int close(int fd)
{
    static int (*real)(int);
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "close");
    if (fd >= 0 && fd < DESCRIPTORS)
        connected[fd] = false;
    return real(fd);
}

static bool breaks(int fd)
{
    if (fd < 0 || fd >= DESCRIPTORS || !connected[fd] || !fails(SOCKET))
        return false;
    shutdown(fd, SHUT_RDWR);
    errno = ECONNRESET;
    return true;
}

ssize_t recv(int fd, void *to, size_t len, int flags)
{
    static ssize_t (*real)(int, void *, size_t, int);
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "recv");
    return breaks(fd) ? -1 : real(fd, to, len, flags);
}

ssize_t send(int fd, const void *from, size_t len, int flags)
{
    static ssize_t (*real)(int, const void *, size_t, int);
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "send");
    return breaks(fd) ? -1 : real(fd, from, len, flags);
}

// The program has done its work: what is allocated now, a coverage report writes.
void mysql_server_end(void)
{
    static void (*real)(void);
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "mysql_server_end");
    for (int kind = 0; kind < KINDS; kind++)
        atomic_store(&page->left[kind], 0);
    real();
}

// The first is the program.
static int on_object(struct dl_phdr_info *object, size_t size, void *context)
{
    (void)size;
    (void)context;
    program = object->dlpi_addr;
    for (int i = 0; i < object->dlpi_phnum; i++)
        if (object->dlpi_phdr[i].p_type == PT_LOAD)
            program_end = program + object->dlpi_phdr[i].p_vaddr + object->dlpi_phdr[i].p_memsz;
    return 1;
}

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("SHERD_FAIL");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *mapped = MAP_FAILED;
    if (fd >= 0)
        mapped = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (mapped == MAP_FAILED)
        abort();
    dl_iterate_phdr(on_object, NULL);
    ((struct page *)mapped)->alive = no_page.alive;
    page = mapped;
    close(fd);
}
