/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/spec.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base64.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/str.h"

#define ENV_FILE_MAX  (4u << 20)
#define WORD_MAX      (1u << 20)
#define SPEC_MAX      4096
#define DATA_TEXT_MAX (2u << 20)
#define NANO          1000000000.0

/* ---- ports ---- */

struct port_spec {
	char ip[64], host[32], container[32];
	char proto[8];
};

static int port_bad(const char *text, struct err *err)
{
	return err_set(
		err, ERR_INVALID,
		"port '%s': not [IP:][HOST:]CONTAINER[/tcp|/udp|/sctp] with ports 1 to 65535",
		text);
}

static int parse_range(const char *whole, const char *text, int64_t *first, int64_t *last,
                       struct err *err)
{
	const char *dash = strchr(text, '-');
	char low[16];

	snprintf(low, sizeof(low), "%.*s", (int)(dash ? dash - text : (int)strlen(text)), text);
	if (id_parse_int(low, "port", 0, 65535, first, NULL) < 0 ||
	    id_parse_int(dash ? dash + 1 : low, "port", 0, 65535, last, NULL) < 0 || *last < *first)
		return port_bad(whole, err);
	return 0;
}

static int copy(char *out, size_t size, const char *text, size_t len, const char *whole,
                struct err *err)
{
	if (len >= size)
		return port_bad(whole, err);
	memcpy(out, text, len);
	out[len] = '\0';
	return 0;
}

/* From the right: container port, host port, address (which may hold colons in brackets). */
static int split_port(const char *text, struct port_spec *out, struct err *err)
{
	const char *slash = strrchr(text, '/');
	const char *end = slash ? slash : text + strlen(text);
	const char *colon = memrchr(text, ':', (size_t)(end - text));

	*out = (struct port_spec){.proto = "tcp"};
	if (slash &&
	    copy(out->proto, sizeof(out->proto), slash + 1, strlen(slash + 1), text, err) < 0)
		return -1;
	if (!str_eq(out->proto, "tcp") && !str_eq(out->proto, "udp") && !str_eq(out->proto, "sctp"))
		return port_bad(text, err);
	const char *start = colon ? colon + 1 : text;
	if (copy(out->container, sizeof(out->container), start, (size_t)(end - start), text, err) <
	    0)
		return -1;
	if (!colon)
		return 0;
	const char *before = memrchr(text, ':', (size_t)(colon - text));
	if (before && before > text && *text == '[' && before[-1] != ']')
		before = NULL;
	start = before ? before + 1 : text;
	if (copy(out->host, sizeof(out->host), start, (size_t)(colon - start), text, err) < 0)
		return -1;
	if (!before)
		return 0;
	bool brackets = *text == '[' && before[-1] == ']';
	return copy(out->ip, sizeof(out->ip), text + brackets,
	            (size_t)(before - text) - 2 * (size_t)brackets, text, err);
}

struct port_range {
	struct port_spec spec;
	int64_t host, container, count; /* host 0: any */
	bool host_is_range;             /* several to choose from for one port */
	int64_t host_last;
};

static int parse_port(const char *text, struct port_range *out, struct err *err)
{
	struct port_range r = {0};
	int64_t last;

	if (split_port(text, &r.spec, err) < 0 ||
	    parse_range(text, r.spec.container, &r.container, &last, err) < 0)
		return -1;
	if (r.container == 0)
		return port_bad(text, err);
	r.count = last - r.container + 1;
	if (*r.spec.host) {
		if (parse_range(text, r.spec.host, &r.host, &r.host_last, err) < 0)
			return -1;
		r.host_is_range = r.count == 1 && r.host_last > r.host;
		if (!r.host_is_range && r.host_last - r.host + 1 != r.count)
			return err_set(err, ERR_INVALID, "port '%s': the ranges differ in length",
			               text);
	}
	*out = r;
	return 0;
}

int spec_port(const char *text, struct json *exposed, struct json *bindings, struct err *err)
{
	struct port_range r;

	if (parse_port(text, &r, err) < 0)
		return -1;
	for (int64_t i = 0; i < r.count; i++) {
		char key[64], host[32] = "";
		snprintf(key, sizeof(key), "%lld/%s", (long long)r.container + i, r.spec.proto);
		if (r.host_is_range)
			snprintf(host, sizeof(host), "%s", r.spec.host);
		else if (r.host > 0)
			snprintf(host, sizeof(host), "%lld", (long long)r.host + i);
		struct json *binding = json_object();
		json_set(binding, "HostIp", json_string(r.spec.ip));
		json_set(binding, "HostPort", json_string(host));
		json_set(exposed, key, json_object());
		if (!json_get(bindings, key))
			json_set(bindings, key, json_array());
		json_append(json_get(bindings, key), binding);
	}
	return 0;
}

/* "a=b,c": the next pair, or false. `text` moves on. */
static bool next_pair(const char **text, char key[64], char value[SPEC_MAX])
{
	size_t len = strcspn(*text, ",");
	const char *equals = memchr(*text, '=', len);
	size_t key_len = equals ? (size_t)(equals - *text) : len;

	if (len == 0)
		return false;
	snprintf(key, 64, "%.*s", (int)key_len, *text);
	snprintf(value, SPEC_MAX, "%.*s", equals ? (int)(len - key_len - 1) : 0,
	         equals ? equals + 1 : "");
	*text += len;
	*text += **text == ',';
	return true;
}

static struct json *port_config(int64_t target, int64_t published, const char *proto,
                                const char *mode)
{
	struct json *port = json_object();

	json_set(port, "Protocol", json_string(proto));
	json_set(port, "TargetPort", json_int(target));
	if (published > 0)
		json_set(port, "PublishedPort", json_int(published));
	json_set(port, "PublishMode", json_string(mode));
	return port;
}

static int long_port(const char *text, struct json *list, struct err *err)
{
	char key[64], value[SPEC_MAX], proto[8] = "tcp", mode[16] = "ingress";
	int64_t target = 0, published = 0;

	for (const char *p = text; next_pair(&p, key, value);) {
		int rc = 0;
		if (str_eq(key, "target"))
			rc = id_parse_int(value, "target", 1, 65535, &target, err);
		else if (str_eq(key, "published"))
			rc = id_parse_int(value, "published", 0, 65535, &published, err);
		else if (str_eq(key, "protocol") && strlen(value) < sizeof(proto))
			snprintf(proto, sizeof(proto), "%.7s", value);
		else if (str_eq(key, "mode") && (str_eq(value, "host") || str_eq(value, "ingress")))
			snprintf(mode, sizeof(mode), "%.15s", value);
		else
			rc = err_set(err, ERR_INVALID,
			             "port '%s': %s=%s is not one of target, published, protocol, "
			             "mode=ingress|host",
			             text, key, value);
		if (rc < 0)
			return -1;
	}
	if (target == 0)
		return err_set(err, ERR_INVALID, "port '%s': target is missing", text);
	return json_append(list, port_config(target, published, proto, mode));
}

int spec_service_port(const char *text, struct json *list, struct err *err)
{
	struct port_range r;

	if (strchr(text, '='))
		return long_port(text, list, err);
	if (parse_port(text, &r, err) < 0)
		return -1;
	if (*r.spec.ip || r.host_is_range)
		return err_set(err, ERR_INVALID,
		               "port '%s': a service is published on every address, on one port",
		               text);
	for (int64_t i = 0; i < r.count; i++)
		json_append(list, port_config(r.container + i, r.host ? r.host + i : 0,
		                              r.spec.proto, "ingress"));
	return 0;
}

/* ---- volumes and mounts ---- */

/* Docker resolves "./x" where the client is. */
static int absolute(const char *source, size_t len, struct buf *out, struct err *err)
{
	if (*source == '.') {
		auto_free char *here = getcwd(NULL, 0);
		if (!here)
			return err_sys(err, "current directory");
		buf_addf(out, "%s/", here);
	} else if (*source == '~') {
		const char *home = getenv("HOME");
		buf_add(out, home ? home : "");
		source++;
		len--;
	}
	buf_add_mem(out, source, len);
	return buf_check(out, err);
}

int spec_volume(const char *text, struct json *binds, struct json *volumes, struct err *err)
{
	const char *colon = strchr(text, ':');
	auto_buf struct buf bind = BUF_INIT(SPEC_MAX * 2);

	if (!colon) {
		if (*text != '/')
			return err_set(
				err, ERR_INVALID,
				"volume '%s': not [SOURCE:]/TARGET[:ro]; the target is absolute",
				text);
		return json_set(volumes, text, json_object());
	}
	if (colon == text || colon[1] != '/')
		return err_set(err, ERR_INVALID,
		               "volume '%s': not SOURCE:/TARGET[:ro]; the target is absolute",
		               text);
	if (absolute(text, (size_t)(colon - text), &bind, err) < 0)
		return -1;
	buf_add(&bind, colon);
	return buf_check(&bind, err) < 0 ? -1 : json_append(binds, json_string(buf_str(&bind)));
}

/* Options that belong to one type of mount. */
static int mount_option(struct json *mount, const char *key, const char *value, struct err *err)
{
	struct json *options = json_object();
	int64_t number;

	if (str_eq(key, "bind-propagation")) {
		json_set(options, "Propagation", json_string(value));
		return json_set(mount, "BindOptions", options);
	}
	if (str_eq(key, "volume-nocopy")) {
		json_set(options, "NoCopy", json_bool(!str_eq(value, "false")));
		return json_set(mount, "VolumeOptions", options);
	}
	if (str_eq(key, "tmpfs-size") && id_parse_size(value, &number, err) == 0) {
		json_set(options, "SizeBytes", json_int(number));
		return json_set(mount, "TmpfsOptions", options);
	}
	json_free(options);
	return err_set(err, ERR_INVALID,
	               "mount option '%s': known are type, source, target, readonly, "
	               "bind-propagation, volume-nocopy and tmpfs-size",
	               key);
}

static int mount_pair(struct json *mount, const char *key, const char *value, struct err *err)
{
	auto_buf struct buf path = BUF_INIT(SPEC_MAX * 2);

	if (str_eq(key, "type"))
		return json_set(mount, "Type", json_string(value));
	if (str_eq(key, "source") || str_eq(key, "src")) {
		if (absolute(value, strlen(value), &path, err) < 0)
			return -1;
		return json_set(mount, "Source", json_string(buf_str(&path)));
	}
	if (str_eq(key, "target") || str_eq(key, "dst") || str_eq(key, "destination"))
		return json_set(mount, "Target", json_string(value));
	if (str_eq(key, "readonly") || str_eq(key, "ro"))
		return json_set(mount, "ReadOnly",
		                json_bool(!str_eq(value, "false") && !str_eq(value, "0")));
	return mount_option(mount, key, value, err);
}

struct json *spec_mount(const char *text, struct err *err)
{
	auto_type(json) mount = json_object();
	char key[64], value[SPEC_MAX];

	json_set(mount, "Type", json_string("volume"));
	for (const char *p = text; next_pair(&p, key, value);) {
		if (mount_pair(mount, key, value, err) < 0) {
			err_wrap(err, "mount '%s'", text);
			return NULL;
		}
	}
	if (!json_get(mount, "Target")) {
		err_set(err, ERR_INVALID, "mount '%s': target is missing", text);
		return NULL;
	}
	return move_ptr(mount);
}

/* ---- environment and labels ---- */

int spec_env(const char *text, struct json *list, struct err *err)
{
	auto_buf struct buf pair = BUF_INIT(1u << 20);
	const char *value;

	if (*text == '=' || *text == '\0')
		return err_set(err, ERR_INVALID, "environment '%s': not KEY=VALUE or KEY", text);
	if (strchr(text, '='))
		return json_append(list, json_string(text));
	value = getenv(text);
	if (!value)
		return 0;
	buf_addf(&pair, "%s=%s", text, value);
	return buf_check(&pair, err) < 0 ? -1 : json_append(list, json_string(buf_str(&pair)));
}

int spec_env_file(const char *path, struct json *list, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(ENV_FILE_MAX);
	char *save = NULL;

	if (fs_trusted_read(path, ENV_FILE_MAX, &text, err) < 0)
		return -1;
	if (text.len == 0)
		return 0;
	for (char *line = strtok_r(text.data, "\r\n", &save); line;
	     line = strtok_r(NULL, "\r\n", &save)) {
		line += strspn(line, " \t");
		if (*line && *line != '#' && spec_env(line, list, err) < 0)
			return err_wrap(err, "%s", path);
	}
	return 0;
}

int spec_label(const char *text, struct json *map, struct err *err)
{
	const char *equals = strchr(text, '=');
	auto_free char *key = strndup(text, equals ? (size_t)(equals - text) : strlen(text));

	if (!key)
		return err_nomem(err);
	if (!*key)
		return err_set(err, ERR_INVALID, "label '%s': not KEY=VALUE", text);
	return json_set(map, key, json_string(equals ? equals + 1 : ""));
}

/* ---- limits ---- */

struct json *spec_ulimit(const char *text, struct err *err)
{
	const char *equals = strchr(text, '=');
	const char *colon = equals ? strchr(equals, ':') : NULL;
	char name[32], soft_text[24];
	int64_t soft = 0, hard = 0;

	if (equals) {
		snprintf(name, sizeof(name), "%.*s", (int)(equals - text), text);
		snprintf(soft_text, sizeof(soft_text), "%.*s",
		         (int)(colon ? colon - equals - 1 : (int)strlen(equals + 1)), equals + 1);
	}
	if (!equals || id_parse_int(soft_text, "limit", -1, INT64_MAX, &soft, NULL) < 0 ||
	    id_parse_int(colon ? colon + 1 : soft_text, "limit", -1, INT64_MAX, &hard, NULL) < 0) {
		err_set(err, ERR_INVALID, "ulimit '%s': not NAME=SOFT[:HARD]", text);
		return NULL;
	}
	struct json *limit = json_object();
	json_set(limit, "Name", json_string(name));
	json_set(limit, "Soft", json_int(soft));
	json_set(limit, "Hard", json_int(hard));
	return limit;
}

struct json *spec_restart(const char *text, struct err *err)
{
	const char *colon = strchr(text, ':');
	size_t len = colon ? (size_t)(colon - text) : strlen(text);
	int64_t count = 0;
	char name[32];

	snprintf(name, sizeof(name), "%.*s", (int)len, text);
	if (colon && (!str_eq(name, "on-failure") ||
	              id_parse_int(colon + 1, "count", 0, INT32_MAX, &count, NULL) < 0)) {
		err_set(err, ERR_INVALID,
		        "restart '%s': not no, always, unless-stopped or on-failure[:COUNT]", text);
		return NULL;
	}
	struct json *policy = json_object();
	json_set(policy, "Name", json_string(name));
	json_set(policy, "MaximumRetryCount", json_int(count));
	return policy;
}

int spec_cpus(const char *text, int64_t *nano, struct err *err)
{
	char *end;
	double value = strtod(text, &end);

	if (end == text || *end || !(value > 0) || value > 1e6)
		return err_set(err, ERR_INVALID, "cpus '%s': not a number above 0, as in 1.5",
		               text);
	*nano = (int64_t)(value * NANO + 0.5);
	return 0;
}

struct json *spec_list(const struct args *args, const char *flag)
{
	size_t count = args_count(args, flag);
	struct json *list = count ? json_array() : NULL;

	for (size_t i = 0; i < count; i++)
		json_append(list, json_string(args_at(args, flag, i)));
	return list;
}

/* ---- words ---- */

/* Takes one word off *text. 0: there is none. */
static int next_word(const char **text, struct buf *word, struct err *err)
{
	const char *p = *text + strspn(*text, " \t\n");
	char quote = 0;

	buf_clear(word);
	if (!*p)
		return 0;
	for (; *p && (quote || !strchr(" \t\n", *p)); p++) {
		if (quote ? *p == quote : *p == '"' || *p == '\'')
			quote = (char)(quote ? 0 : *p);
		else if (*p == '\\' && quote != '\'' && p[1])
			buf_add_mem(word, ++p, 1);
		else
			buf_add_mem(word, p, 1);
	}
	if (quote)
		return err_set(err, ERR_INVALID, "a %c is not closed", quote);
	*text = p;
	return buf_check(word, err) < 0 ? -1 : 1;
}

int spec_words(const char *text, struct json *list, struct err *err)
{
	auto_buf struct buf word = BUF_INIT(WORD_MAX);
	int rc;

	while ((rc = next_word(&text, &word, err)) > 0)
		if (json_append(list, json_string(buf_str(&word))) < 0)
			return err_nomem(err);
	return rc;
}

/* ---- values ---- */

static struct json *whole(const char *text, struct err *err)
{
	int64_t n;

	return id_parse_int(text, "value", 0, INT32_MAX, &n, err) < 0 ? NULL : json_int(n);
}

static struct json *truth(const char *text, struct err *err)
{
	if (str_eq(text, "true") || str_eq(text, "false"))
		return json_bool(*text == 't');
	return err_set(err, ERR_INVALID, "'%.60s': not true or false", text), NULL;
}

static struct json *duration(const char *text, struct err *err)
{
	int64_t ns;

	if (clock_parse_duration(text, &ns, err) < 0)
		return NULL;
	return ns < 0 ? (err_set(err, ERR_INVALID, "%s: below 0", text), NULL) : json_int(ns);
}

static struct json *size(const char *text, struct err *err)
{
	int64_t bytes;

	return id_parse_size(text, &bytes, err) < 0 ? NULL : json_int(bytes);
}

static struct json *cpus(const char *text, struct err *err)
{
	int64_t nano = 0;

	if (!str_eq(text, "0") && spec_cpus(text, &nano, err) < 0)
		return NULL;
	return json_int(nano);
}

static struct json *ratio(const char *text, struct err *err)
{
	char *end;
	double value = strtod(text, &end);

	if (end == text || *end || !(value >= 0 && value <= 1))
		return err_set(err, ERR_INVALID, "'%.60s': not a number from 0 to 1", text), NULL;
	return json_double(value);
}

struct json *spec_value(enum spec_kind kind, const char *text, struct err *err)
{
	static struct json *(*const readers[SPEC_KINDS])(const char *text, struct err *err) = {
		[SPEC_INT] = whole, [SPEC_BOOL] = truth, [SPEC_DURATION] = duration,
		[SPEC_SIZE] = size, [SPEC_CPUS] = cpus,  [SPEC_RATIO] = ratio,
	};

	return readers[kind] ? readers[kind](text, err) : json_string(text);
}

struct json *spec_part(struct json *object, const char *key)
{
	if (!json_is_object(json_get(object, key)))
		(void)json_set(object, key, json_object());
	return json_get(object, key);
}

int spec_data(const struct buf *data, const char *template_driver, struct json *spec,
              struct err *err)
{
	auto_buf struct buf text = BUF_INIT(DATA_TEXT_MAX);

	base64_encode(data->data, data->len, &text);
	if (buf_check(&text, err) < 0)
		return -1;
	if (template_driver)
		json_set(spec_part(spec, "Templating"), "Name", json_string(template_driver));
	return json_set(spec, "Data", json_string(buf_str(&text))) < 0 ? err_nomem(err) : 0;
}
