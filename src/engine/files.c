/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/files.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/str.h"
#include "engine/check.h"

#define FILE_MAX (1u << 20)

void files_paths(struct container *c, struct files *out)
{
	const char *root = c->engine->root;

	snprintf(out->hosts, sizeof(out->hosts), "%s/containers/%s/hosts", root, c->id);
	snprintf(out->hostname, sizeof(out->hostname), "%s/containers/%s/hostname", root, c->id);
	snprintf(out->resolv_conf, sizeof(out->resolv_conf), "%s/containers/%s/resolv.conf", root,
	         c->id);
}

static const char *first_gateway(const struct netinfo *info)
{
	for (size_t i = 0; i < info->network_count; i++)
		if (!str_empty(info->networks[i].endpoint.gateway))
			return info->networks[i].endpoint.gateway;
	return "127.0.0.1";
}

static int add_extra_hosts(const struct json_strings *extra, const struct netinfo *info,
                           struct buf *out, struct err *err)
{
	for (size_t i = 0; i < extra->count; i++) {
		const char *entry = extra->items[i];
		size_t n = strcspn(entry, ":=");
		if (!entry[n] || n == 0)
			return err_set(err, ERR_INVALID, "bad format for add-host: \"%s\"", entry);
		const char *ip = entry + n + 1;
		if (str_eq(ip, "host-gateway"))
			ip = first_gateway(info);
		if (ip[strspn(ip, "0123456789abcdefABCDEF:.[]")] || !*ip)
			return err_set(err, ERR_INVALID, "invalid IP address in add-host: \"%s\"",
			               ip);
		buf_addf(out, "%s\t%.*s\n", ip, (int)n, entry);
	}
	return 0;
}

static int write_hosts(const struct config *config, const struct netinfo *info, struct buf *out,
                       struct err *err)
{
	const struct api_config *c = &config->create.config;

	buf_add(out, "127.0.0.1\tlocalhost\n"
	             "::1\tlocalhost ip6-localhost ip6-loopback\n"
	             "fe00::\tip6-localnet\n"
	             "ff00::\tip6-mcastprefix\n"
	             "ff02::1\tip6-allnodes\n"
	             "ff02::2\tip6-allrouters\n");
	if (add_extra_hosts(&config->create.host.extra_hosts, info, out, err) < 0)
		return -1;
	for (size_t i = 0; i < info->network_count && !str_empty(c->hostname); i++) {
		const char *ip = info->networks[i].endpoint.ip_address;
		if (str_empty(ip))
			continue;
		if (str_empty(c->domainname))
			buf_addf(out, "%s\t%s\n", ip, c->hostname);
		else
			buf_addf(out, "%s\t%s.%s %s\n", ip, c->hostname, c->domainname,
			         c->hostname);
	}
	return 0;
}

static int write_resolv(struct container *c, const struct config *config, bool host_mode,
                        struct buf *out, struct err *err)
{
	const struct api_host_config *h = &config->create.host;

	if (host_mode && !h->dns.count && !h->dns_search.count && !h->dns_options.count) {
		(void)fs_trusted_read("/etc/resolv.conf", FILE_MAX, out, NULL);
		return 0;
	}
	struct net_dns dns = {
		.servers = h->dns.count ? (const char *const *)h->dns.items : NULL,
		.search = h->dns_search.count ? (const char *const *)h->dns_search.items : NULL,
		.options = h->dns_options.count ? (const char *const *)h->dns_options.items : NULL,
	};
	return net_resolv_conf(c->engine->net, c->id, &dns, out, err);
}

static int put(int dir, const char *name, struct buf *text, struct err *err)
{
	if (buf_check(text, err) < 0)
		return -1;
	/* In place and not by rename: a running container has this very file mounted. */
	auto_close int fd = fs_open(dir, name, O_WRONLY | O_CREAT | O_TRUNC, 0644, err);
	if (fd < 0 || fs_write_all(fd, buf_str(text), text->len, err) < 0)
		return -1;
	if (fchmod(fd, 0644) < 0)
		return err_sys(err, "%s", name);
	return 0;
}

int files_write(struct container *c, const struct config *config, struct files *out,
                struct err *err)
{
	auto_buf struct buf hosts = BUF_INIT(FILE_MAX), hostname = BUF_INIT(FILE_MAX);
	auto_buf struct buf resolv = BUF_INIT(FILE_MAX);
	const char *mode = endpoints_mode(&config->create.host);
	const char *other = check_mode_container(mode);
	auto_type(netinfo) info = container_netinfo(c);

	if (other) {
		auto_type(container) owner = container_get(c->engine, other, err);
		if (!owner)
			return -1;
		files_paths(owner, out);
		return 0;
	}
	files_paths(c, out);
	auto_close int dir = container_dir(c, err);
	if (dir < 0 || write_hosts(config, info, &hosts, err) < 0 ||
	    write_resolv(c, config, str_eq(mode, "host") || str_eq(mode, "none"), &resolv, err) < 0)
		return -1;
	buf_addf(&hostname, "%s\n",
	         config->create.config.hostname ? config->create.config.hostname : "");
	if (put(dir, "hosts", &hosts, err) < 0 || put(dir, "hostname", &hostname, err) < 0 ||
	    put(dir, "resolv.conf", &resolv, err) < 0)
		return -1;
	return 0;
}
