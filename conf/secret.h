// SPDX-License-Identifier: MIT
// Files that nobody but their owner may see into: the configuration, passwords, keys.
#ifndef CONF_SECRET_H
#define CONF_SECRET_H

// secret_problem returns what is wrong with an open file that is to hold secrets, NULL if nothing
// is. The text is constant, or strerror's.
const char *secret_problem(int fd);

#endif
