/* SPDX-License-Identifier: Apache-2.0 */
#include "image/endpoint.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/str.h"
#include "image/store.h"

#define PEM_MAX     (4u << 20)
#define PATH_BYTES  4096
#define NAMES_MAX   64 /* files in one directory of certs.d */
#define ADDRESS_MAX 64
#define SYSTEM_CAS  "/etc/ssl/certs/ca-certificates.crt"

/* ---- hosts ---- */

/* Without the port, and without brackets. */
static bool address_of(const char *host, char out[ADDRESS_MAX])
{
	bool six = host[0] == '[';
	size_t len = six ? strcspn(host, "]") - 1 : strcspn(host, ":");

	if (len == 0 || len >= ADDRESS_MAX)
		return false;
	memcpy(out, host + six, len);
	out[len] = '\0';
	return true;
}

bool endpoint_is_loopback(const char *host)
{
	char name[ADDRESS_MAX];
	struct in_addr address;

	if (!address_of(host, name))
		return false;
	if (strcmp(name, "localhost") == 0 || strcmp(name, "::1") == 0)
		return true;
	return inet_pton(AF_INET, name, &address) == 1 && str_starts(name, "127.");
}

static bool in_subnet(const char *entry, const char *slash, const char *host)
{
	char net[ADDRESS_MAX], name[ADDRESS_MAX];
	unsigned char a[16], b[16];
	int64_t bits;

	size_t len = (size_t)(slash - entry);
	if (len >= sizeof(net) || !address_of(host, name))
		return false;
	memcpy(net, entry, len);
	net[len] = '\0';
	int family = strchr(net, ':') ? AF_INET6 : AF_INET;
	if (inet_pton(family, net, a) != 1 || inet_pton(family, name, b) != 1 ||
	    id_parse_int(slash + 1, "prefix", 0, family == AF_INET ? 32 : 128, &bits, NULL) < 0)
		return false;
	size_t whole = (size_t)bits / 8, rest = (size_t)bits % 8;
	return memcmp(a, b, whole) == 0 &&
	       (rest == 0 || ((a[whole] ^ b[whole]) >> (8 - rest)) == 0);
}

bool endpoint_names(const char *entry, const char *host)
{
	const char *slash = strchr(entry, '/');

	return slash ? in_subnet(entry, slash, host) : strcmp(entry, host) == 0;
}

/* It becomes part of a path and of a URL. */
static int check_host(const char *host, struct err *err)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789._-:[]";

	if (!*host || *host == '.' || host[strspn(host, allowed)] ||
	    strlen(host) >= ENDPOINT_HOST_MAX)
		return err_set(err, ERR_INVALID, "bad registry address \"%.100s\"", host);
	return 0;
}

/* ---- certs.d ---- */

struct listing {
	char *names[NAMES_MAX];
	size_t count;
	bool full;
};

static int add_name(void *arg, int dir_fd, const char *name, unsigned char type)
{
	struct listing *l = arg;

	(void)dir_fd, (void)type;
	if (!str_ends(name, ".crt") && !str_ends(name, ".cert") && !str_ends(name, ".key"))
		return 0;
	l->full = l->count == NAMES_MAX;
	if (l->full)
		return 1;
	l->names[l->count] = strdup(name);
	return l->names[l->count++] ? 0 : 1;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void listing_done(struct listing *l)
{
	for (size_t i = 0; i < l->count; i++)
		free(l->names[i]);
}

static bool has(const struct listing *l, const char *name)
{
	for (size_t i = 0; i < l->count; i++)
		if (str_eq(l->names[i], name))
			return true;
	return false;
}

static int read_file(const char *dir, const char *name, struct buf *out, struct err *err)
{
	auto_buf struct buf path = BUF_INIT(PATH_BYTES);

	buf_addf(&path, "%s/%s", dir, name);
	return buf_check(&path, err) < 0 ? -1 : fs_trusted_read(buf_str(&path), PEM_MAX, out, err);
}

/* The name with another ending. */
static void partner(const char *name, const char *ending, const char *other, char out[256])
{
	(void)snprintf(out, 256, "%.*s%s", (int)(strlen(name) - strlen(ending)), name, other);
}

static int take_pair(const char *dir, const char *cert, const char *key, struct endpoint *out,
                     struct err *err)
{
	auto_buf struct buf c = BUF_INIT(PEM_MAX), k = BUF_INIT(PEM_MAX);

	if (out->cert_pem)
		return err_set(err, ERR_UNSUPPORTED,
		               "%s: more than one client certificate; keep the one to be shown",
		               dir);
	if (read_file(dir, cert, &c, err) < 0 || read_file(dir, key, &k, err) < 0)
		return -1;
	out->cert_pem = buf_take(&c, err);
	out->key_pem = buf_take(&k, err);
	return out->cert_pem && out->key_pem ? 0 : -1;
}

static int take_file(const char *dir, const struct listing *l, const char *name,
                     struct endpoint *out, struct buf *cas, struct err *err)
{
	char other[256];

	if (str_ends(name, ".crt")) {
		buf_add(cas, "\n");
		return read_file(dir, name, cas, err);
	}
	if (str_ends(name, ".key")) {
		partner(name, ".key", ".cert", other);
		return has(l, other) ? 0
		                     : err_set(err, ERR_INVALID,
		                               "%s: missing client certificate %s for key %s", dir,
		                               other, name);
	}
	partner(name, ".cert", ".key", other);
	if (!has(l, other))
		return err_set(err, ERR_INVALID,
		               "%s: missing key %s for client certificate %s. CA certificates must "
		               "use the extension .crt",
		               dir, other, name);
	return take_pair(dir, name, other, out, err);
}

/* Those of certs.d count beside the system's, as with docker. */
static int take_cas(struct buf *own, struct endpoint *out, struct err *err)
{
	auto_buf struct buf all = BUF_INIT(2 * PEM_MAX);

	if (own->len == 0)
		return 0;
	(void)fs_trusted_read(SYSTEM_CAS, PEM_MAX, &all, NULL); /* not everywhere */
	buf_add_mem(&all, own->data, own->len);
	out->ca_pem = buf_take(&all, err);
	return out->ca_pem ? 0 : -1;
}

int endpoint_read_certs(const char *dir, struct endpoint *out, struct err *err)
{
	struct err why = ERR_INIT;
	auto_close int fd = fs_trusted_open_dir(dir, false, &why);
	auto_buf struct buf cas = BUF_INIT(PEM_MAX);
	struct listing l = {.count = 0};

	if (fd < 0 && why.kind == ERR_NOT_FOUND)
		return 0;
	if (fd < 0) {
		if (err)
			*err = why;
		return -1;
	}
	int rc = fs_list(fd, add_name, &l, err);
	if (rc > 0)
		rc = l.full ? err_set(err, ERR_LIMIT, "%s: more than %d certificates", dir,
		                      NAMES_MAX)
		            : err_nomem(err);
	qsort(l.names, l.count, sizeof(l.names[0]), by_name);
	for (size_t i = 0; rc == 0 && i < l.count; i++)
		rc = take_file(dir, &l, l.names[i], out, &cas, err);
	if (rc == 0)
		rc = take_cas(&cas, out, err);
	listing_done(&l);
	return rc;
}

static int find_certs(const struct image_store *store, const char *host, struct endpoint *out,
                      struct err *err)
{
	for (char **base = store->certs; *base; base++) {
		auto_buf struct buf dir = BUF_INIT(PATH_BYTES);

		buf_addf(&dir, "%s/%s", *base, host);
		if (buf_check(&dir, err) < 0 || endpoint_read_certs(buf_str(&dir), out, err) < 0)
			return -1;
		if (out->ca_pem || out->cert_pem)
			return 0;
	}
	return 0;
}

/* ---- the rules ---- */

static void set_base(struct endpoint *e, bool https, const char *host)
{
	(void)snprintf(e->base, sizeof(e->base), "%s://%.*s", https ? "https" : "http",
	               ENDPOINT_HOST_MAX - 1, host);
}

static bool is_insecure(const struct image_store *store, const char *host)
{
	for (char **s = store->insecure; *s; s++)
		if (endpoint_names(*s, host))
			return true;
	return false;
}

int endpoint_find(const struct image_store *store, const char *host, struct endpoint *out,
                  struct err *err)
{
	struct endpoint e = {.verify = true};

	if (check_host(host, err) < 0)
		return -1;
	if (find_certs(store, host, &e, err) < 0) {
		endpoint_done(&e);
		return -1;
	}
	bool insecure = is_insecure(store, host);
	bool near = !insecure && !e.ca_pem && endpoint_is_loopback(host);
	e.verify = !insecure && !near;
	e.lenient = !e.verify;
	set_base(&e, !near, host);
	*out = e;
	return 0;
}

int endpoint_of_url(const struct image_store *store, const char *url, struct endpoint *out,
                    struct err *err)
{
	bool https = str_starts(url, "https://");
	char host[ENDPOINT_HOST_MAX];

	if (!https && !str_starts(url, "http://"))
		return err_set(err, ERR_INVALID, "%.200s: not https://HOST or http://HOST", url);
	url += strlen(https ? "https://" : "http://");
	size_t n = strcspn(url, "/");
	if (n >= sizeof(host) || strcspn(url, "/") + strspn(url + n, "/") != strlen(url))
		return err_set(err, ERR_INVALID, "%.200s: a host and nothing behind it", url);
	memcpy(host, url, n);
	host[n] = '\0';
	if (endpoint_find(store, host, out, err) < 0)
		return -1;
	set_base(out, https, host);
	out->lenient = false;
	return 0;
}

const char *endpoint_mirror_url(const char *entry)
{
	const char *equals = strchr(entry, '='), *scheme = strstr(entry, "://");

	return equals && scheme && equals < scheme ? equals + 1 : entry;
}

const char *endpoint_mirror(const struct image_store *store, const char *domain, size_t i)
{
	for (char **m = store->mirrors; *m; m++) {
		const char *url = endpoint_mirror_url(*m);
		size_t n = url > *m ? (size_t)(url - *m) - 1 : 0;
		bool mine = n > 0 ? strlen(domain) == n && strncmp(domain, *m, n) == 0
		                  : strcmp(domain, "docker.io") == 0;
		if (mine && i-- == 0)
			return url;
	}
	return NULL;
}

int endpoint_copy(const struct endpoint *from, struct endpoint *out, struct err *err)
{
	struct endpoint e = *from;

	e.ca_pem = from->ca_pem ? strdup(from->ca_pem) : NULL;
	e.cert_pem = from->cert_pem ? strdup(from->cert_pem) : NULL;
	e.key_pem = from->key_pem ? strdup(from->key_pem) : NULL;
	if ((from->ca_pem && !e.ca_pem) || (from->cert_pem && !e.cert_pem) ||
	    (from->key_pem && !e.key_pem)) {
		endpoint_done(&e);
		return err_nomem(err);
	}
	*out = e;
	return 0;
}

void endpoint_done(struct endpoint *e)
{
	free(e->ca_pem);
	free(e->cert_pem);
	if (e->key_pem)
		explicit_bzero(e->key_pem, strlen(e->key_pem));
	free(e->key_pem);
	*e = (struct endpoint){0};
}

const char *endpoint_host(const struct endpoint *e)
{
	const char *at = strstr(e->base, "://");

	return at ? at + strlen("://") : e->base;
}

void endpoint_switch(struct endpoint *e)
{
	char host[ENDPOINT_HOST_MAX];

	(void)snprintf(host, sizeof(host), "%.*s", ENDPOINT_HOST_MAX - 1, endpoint_host(e));
	set_base(e, str_starts(e->base, "http://"), host);
	e->lenient = false;
}
