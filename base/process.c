// SPDX-License-Identifier: MIT
#include "base/process.h"

#include <errno.h>
#include <grp.h>
#include <pthread.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#ifdef __has_feature
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif

void process_hide(void)
{
    static const struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
#ifdef __SANITIZE_ADDRESS__ // it looks for leaks from outside
    prctl(PR_SET_DUMPABLE, 1);
#else
    prctl(PR_SET_DUMPABLE, 0);
#endif
}

unsigned long long process_files(unsigned long long wanted)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files)) // GCOVR_EXCL_BR_LINE: it works
        return wanted;                    // it will be seen
    if (files.rlim_cur < wanted) {
        files.rlim_cur = wanted < files.rlim_max ? wanted : files.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &files)) // GCOVR_EXCL_BR_LINE: below the maximum it works
            getrlimit(RLIMIT_NOFILE, &files);
    }
    return files.rlim_cur;
}

static enum error complain(const char *user, const char *what, struct bytes *why)
{
    bytes_format(why, "user = %s: %s\n", user, what);
    return ERROR_SYSTEM;
}

enum error process_become(const char *user, struct bytes *why)
{
    const struct passwd *entry = getpwnam(user);
    if (!entry)
        return complain(user, "there is no such user", why);
    if (geteuid() == entry->pw_uid && getuid() == entry->pw_uid)
        return ERROR_NONE;
    if (initgroups(user, entry->pw_gid) || setgid(entry->pw_gid) || setuid(entry->pw_uid))
        return complain(user, strerror(errno), why);
    if (entry->pw_uid && setuid(0) == 0) // GCOVR_EXCL_BR_LINE: Linux lets nobody
        return complain(user, "root again at once", why);
    process_hide(); // which a change of user undoes
    return ERROR_NONE;
}

int process_detach(void *(*run)(void *context), void *context)
{
    pthread_attr_t attributes;
    pthread_t thread;
    int code = pthread_attr_init(&attributes);
    if (code)
        return code;
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    code = pthread_create(&thread, &attributes, run, context);
    pthread_attr_destroy(&attributes);
    return code;
}
