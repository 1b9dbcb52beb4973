// SPDX-License-Identifier: MIT
#include "conf/secret.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

const char *secret_problem(int fd)
{
    struct stat st;
    if (fstat(fd, &st)) // GCOVR_EXCL_BR_LINE: of an open file it works
        return strerror(errno);
    if (S_ISREG(st.st_mode) && (st.st_mode & (S_IRGRP | S_IWGRP | S_IROTH | S_IWOTH)))
        return "others than its owner may read or write it";
    return NULL;
}
