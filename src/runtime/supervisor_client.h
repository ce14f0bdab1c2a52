/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* supervisor_client - what the two halves of launcher.h share: the connection that a launch leaves behind. */

struct err;
struct supervisor;

/* Takes fd over, also on failure: a connection to id's supervisor. */
struct supervisor *supervisor_adopt(int fd, const char *id, struct err *err);
