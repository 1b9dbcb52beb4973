// SPDX-License-Identifier: MIT
// The version of this release, by semver.org: what docs/ promise is the interface.
#ifndef SERVER_RELEASE_H
#define SERVER_RELEASE_H

#define SHERD_VERSION "0.1.0"

#endif
