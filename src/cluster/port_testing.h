/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* port_testing - a port of the loopback for a test program, or for one that it starts. */

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "base/testing.h"

/* Stays ours until the program ends: the socket is bound and does not listen, so that whoever sets SO_REUSEADDR, as servers
 * do, can listen there, and no connection or other test that wants any port gets this one before. */
static inline int testing_port(void)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(sa);
	int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	/* Afterwards: so the port was nobody else's. */
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
	return ntohs(sa.sin_port);
}
