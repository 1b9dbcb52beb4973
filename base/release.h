// SPDX-License-Identifier: MIT
// The version of both programs, by semver.org: what docs/ promises is the interface.
#ifndef BASE_RELEASE_H
#define BASE_RELEASE_H

#define SHERD_VERSION "0.1.0"

#endif
