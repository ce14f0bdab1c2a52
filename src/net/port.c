/* SPDX-License-Identifier: Apache-2.0 */
#include "net/port.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>

#include "base/cidr.h"
#include "base/err.h"
#include "base/map.h"
#include "base/str.h"

#define KEY_MAX 40

struct port_table {
	struct map *fds; /* "tcp/0.0.0.0/80" -> descriptor + 1 */
};

struct port_table *port_table_create(struct err *err)
{
	auto_type(port_table) table = calloc(1, sizeof(*table));

	if (!table) {
		(void)err_nomem(err);
		return NULL;
	}
	table->fds = map_create(err);
	return table->fds ? move_ptr(table) : NULL;
}

static void close_value(void *value)
{
	int fd = (int)(intptr_t)value - 1;

	if (fd >= 0)
		close(fd);
}

void port_table_free(struct port_table *table)
{
	const char *key;
	void *value;

	if (!table)
		return;
	if (table->fds) {
		map_for_each (table->fds, iter, &key, &value)
			close_value(value);
	}
	map_free(table->fds);
	free(table);
}

static const char *make_key(const char *proto, uint32_t ip, uint16_t port, char key[KEY_MAX])
{
	char text[CIDR_IP_MAX];

	snprintf(key, KEY_MAX, "%.4s/%s/%u", proto, cidr_format_ip(ip, text), port);
	return key;
}

int port_check_proto(const char *proto, struct err *err)
{
	if (str_eq(proto, "tcp") || str_eq(proto, "udp") || str_eq(proto, "sctp"))
		return 0;
	return err_set(err, ERR_INVALID, "invalid protocol \"%.20s\": use tcp, udp or sctp",
	               proto ? proto : "");
}

static int open_socket(const char *proto)
{
	if (str_eq(proto, "udp"))
		return socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, IPPROTO_UDP);
	if (str_eq(proto, "sctp"))
		return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_SCTP);
	return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP);
}

/* Old connections in TIME_WAIT hold a port against a plain bind, a listening server does so as well.
 * To tell them apart, listen for an instant: that is refused only by the latter. */
static int bind_over_time_wait(int fd, const struct sockaddr_in *addr)
{
	int one = 1;

	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
	    bind(fd, (const struct sockaddr *)addr, sizeof(*addr)) < 0 || listen(fd, 0) < 0)
		return -1;
	return shutdown(fd, SHUT_RD); /* stays bound, listens no more */
}

static int bind_port(const char *proto, uint32_t ip, uint16_t port)
{
	struct sockaddr_in addr = {
		.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(ip)};
	auto_close int fd = open_socket(proto);

	if (fd < 0)
		return -1;
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0)
		return move_fd(&fd);
	if (errno != EADDRINUSE || !str_eq(proto, "tcp") || port == 0)
		return -1;
	return bind_over_time_wait(fd, &addr) == 0 ? move_fd(&fd) : -1;
}

static int bound_port(int fd, uint16_t *port, struct err *err)
{
	struct sockaddr_in addr = {0};
	socklen_t len = sizeof(addr);

	if (getsockname(fd, (struct sockaddr *)&addr, &len) < 0)
		return err_sys(err, "look at a bound port");
	*port = ntohs(addr.sin_port);
	return 0;
}

static int bind_failed(const struct port_wish *wish, struct err *err)
{
	char ip[CIDR_IP_MAX];

	cidr_format_ip(wish->ip, ip);
	if (errno == EADDRNOTAVAIL)
		return err_set(err, ERR_INVALID,
		               "cannot publish on %s: this machine does not have that address", ip);
	if (errno == EPROTONOSUPPORT || errno == ESOCKTNOSUPPORT)
		return err_set(err, ERR_UNSUPPORTED,
		               "cannot publish a port by %s: this kernel does not support it",
		               wish->proto);
	if (errno != EADDRINUSE)
		return err_sys(err, "bind for %s:%u failed", ip, wish->first);
	if (wish->last > wish->first)
		return err_set(err, ERR_CONFLICT,
		               "Bind for %s:%u-%u failed: all ports are allocated", ip, wish->first,
		               wish->last);
	return err_set(err, ERR_CONFLICT, "Bind for %s:%u failed: port is already allocated", ip,
	               wish->first);
}

int port_hold(struct port_table *table, const struct port_wish *wish, uint16_t *port,
              struct err *err)
{
	uint32_t last = wish->last > wish->first ? wish->last : wish->first;
	auto_close int fd = -1;
	uint16_t chosen = 0;
	char key[KEY_MAX];

	for (uint32_t p = wish->first; fd < 0 && p <= last; p++) {
		fd = bind_port(wish->proto, wish->ip, (uint16_t)p);
		if (fd < 0 && errno != EADDRINUSE)
			break;
	}
	if (fd < 0)
		return bind_failed(wish, err);
	if (bound_port(fd, &chosen, err) < 0)
		return -1;
	make_key(wish->proto, wish->ip, chosen, key);
	// NOLINTNEXTLINE(performance-no-int-to-ptr) the table keeps small numbers, never dereferenced
	if (map_set(table->fds, key, (void *)(intptr_t)(fd + 1), NULL, err) < 0)
		return -1;
	(void)move_fd(&fd);
	*port = chosen;
	return 0;
}

void port_release(struct port_table *table, const char *proto, uint32_t ip, uint16_t port)
{
	char key[KEY_MAX];

	close_value(map_remove(table->fds, make_key(proto, ip, port, key)));
}

bool port_is_held(const struct port_table *table, const char *proto, uint32_t ip, uint16_t port)
{
	char key[KEY_MAX];

	return map_find(table->fds, make_key(proto, ip, port, key)) != NULL;
}
