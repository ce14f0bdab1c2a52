/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/address.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/id.h"
#include "base/str.h"

/* Where the port begins, or NULL. "::1" alone has none. */
static const char *port_of(const char *text)
{
	const char *close = strchr(text, ']'), *colon = strrchr(text, ':');

	if (*text == '[')
		return close && close[1] == ':' ? close + 2 : NULL;
	return colon && strchr(text, ':') == colon ? colon + 1 : NULL;
}

static bool is_ip(const char *text)
{
	struct in6_addr any;

	return inet_pton(AF_INET, text, &any) == 1 || inet_pton(AF_INET6, text, &any) == 1;
}

static int split(const char *text, char host[ADDRESS_MAX], const char **port, struct err *err)
{
	*port = port_of(text);
	size_t len = *port ? (size_t)(*port - 1 - text) : strlen(text);

	if (*text == '[' && len >= 2) {
		text++;
		len -= 2;
	}
	if (len >= ADDRESS_MAX - 10)
		return err_set(err, ERR_INVALID, "invalid address: longer than %d bytes",
		               ADDRESS_MAX);
	memcpy(host, text, len);
	host[len] = '\0';
	return 0;
}

int address_complete(const char *text, const char *any, uint16_t port, char out[ADDRESS_MAX],
                     struct err *err)
{
	char host[ADDRESS_MAX];
	const char *given;
	int64_t number = port;

	if (split(text, host, &given, err) < 0)
		return -1;
	if (*host == '\0' && any)
		snprintf(host, sizeof(host), "%s", any);
	if (!is_ip(host))
		return err_set(err, ERR_INVALID, "invalid address \"%s\": must be IP:PORT or an IP",
		               text);
	if (given && id_parse_int(given, "port", 1, 65535, &number, err) < 0)
		return -1;
	snprintf(out, ADDRESS_MAX, strchr(host, ':') ? "[%.80s]:%u" : "%.80s:%u", host,
	         (unsigned)number);
	return 0;
}

int address_host(const char *address, char out[ADDRESS_MAX], struct err *err)
{
	const char *port;

	return split(address, out, &port, err);
}

uint16_t address_port(const char *address)
{
	const char *port = port_of(address);
	int64_t number = 0;

	if (port)
		(void)id_parse_int(port, "port", 1, 65535, &number, NULL);
	return (uint16_t)number;
}

static bool fits(const struct ifaddrs *i, const char *name)
{
	if (!i->ifa_addr || i->ifa_addr->sa_family != AF_INET || !(i->ifa_flags & IFF_UP))
		return false;
	/* Our own bridges come and go, and nobody else reaches them. */
	return name ? str_eq(i->ifa_name, name)
	            : !(i->ifa_flags & IFF_LOOPBACK) && !str_starts(i->ifa_name, "buoy") &&
	                       !str_starts(i->ifa_name, "by-") &&
	                       !str_starts(i->ifa_name, "docker") &&
	                       !str_starts(i->ifa_name, "br-");
}

int address_of_interface(const char *name, char ip[ADDRESS_MAX], struct err *err)
{
	struct ifaddrs *all = NULL;
	bool found = false;

	if (getifaddrs(&all) < 0)
		return err_sys(err, "network interfaces");
	for (const struct ifaddrs *i = all; i && !found; i = i->ifa_next)
		found = fits(i, name) && getnameinfo(i->ifa_addr, sizeof(struct sockaddr_in), ip,
		                                     ADDRESS_MAX, NULL, 0, NI_NUMERICHOST) == 0;
	freeifaddrs(all);
	if (found)
		return 0;
	return name ? err_set(err, ERR_INVALID,
	                      "invalid advertise address \"%s\": not an IP, and no interface of "
	                      "that name has one",
	                      name)
	            : err_set(err, ERR_INVALID,
	                      "could not choose an IP address to advertise since this system has "
	                      "none that others could reach - specify one with --advertise-addr");
}
