// SPDX-License-Identifier: MIT
#ifndef SERVER_RELEASE_H
#define SERVER_RELEASE_H

#include "base/release.h"

#endif
