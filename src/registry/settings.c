/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/settings.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/log.h"
#include "base/str.h"

#define FILE_MAX  (1u << 20)
#define ARENA_MAX (4u << 20)
#define SECOND_NS 1000000000

enum type {
	TEXT,
	NUMBER,
	SIZE,     /* bytes, with k, m, g, t */
	DURATION, /* 90s, 10m, 24h; kept in seconds */
	BOOL,
	LIST, /* texts, one by one */
};

static const char *const type_names[] = {"TEXT", "NUMBER", "SIZE", "TIME", "yes|no", "TEXT"};

#define AT(member) offsetof(struct settings, member)
#define KIB(n)     ((int64_t)(n) << 10)
#define GIB(n)     ((int64_t)(n) << 30)
#define HOURS(n)   ((int64_t)(n)*3600)
#define NO_CEILING INT64_MAX

static const struct key {
	const char *name;
	enum type type;
	size_t offset;
	int64_t min, max;
	const char *otherwise; /* the default, as one would write it; NULL: none */
	const char *help;
} keys[] = {
	{"root", TEXT, AT(root), 0, 0, "/var/lib/buoy-registry", "directory for all content"},
	{"listen", TEXT, AT(listen), 0, 0, "127.0.0.1:5000", "IP:PORT to serve on"},
	{"config", TEXT, AT(config), 0, 0, NULL,
         "file with more of these keys, as \"key = value\""},
	{"log-level", TEXT, AT(log_level), 0, 0, "info", "error, warn, info or debug"},
	{"read-only", BOOL, AT(read_only), 0, 0, "no", "serve pulls alone"},
	{"check-references", BOOL, AT(check_references), 0, 0, "yes",
         "refuse manifests whose blobs and manifests are not there"},
	{"htpasswd", TEXT, AT(htpasswd), 0, 0, NULL, "file with users and bcrypt passwords"},
	{"rule", LIST, AT(rules), 0, 0, NULL,
         "\"PATTERN WHO pull,push,delete\": who may do what (all signed-in users everything)"},
	{"token-realm", TEXT, AT(token_realm), 0, 0, NULL, "URL where clients get a bearer token"},
	{"token-service", TEXT, AT(token_service), 0, 0, NULL,
         "this registry's name there: the audience of tokens"},
	{"token-issuer", TEXT, AT(token_issuer), 0, 0, NULL, "who must have issued them"},
	{"token-certs", TEXT, AT(token_certs), 0, 0, NULL,
         "file with certificates (PEM) whose keys sign tokens"},
	{"token-jwks", TEXT, AT(token_jwks), 0, 0, NULL,
         "file with a JSON web key set for the same"},
	{"token-serve", BOOL, AT(token_serve), 0, 0, "no",
         "hand out tokens at /token, to users and by rules"},
	{"tls-cert", TEXT, AT(tls_cert), 0, 0, NULL, "file with the certificate (PEM)"},
	{"tls-key", TEXT, AT(tls_key), 0, 0, NULL, "file with its key (PEM)"},
	{"gc-interval", DURATION, AT(gc_interval_s), 1, HOURS(24) * 365, "1h",
         "time between two collections of unused content"},
	{"gc-grace", DURATION, AT(gc_grace_s), 0, HOURS(24) * 365, "24h",
         "content that nothing refers to is kept for"},
	{"scrub-interval", DURATION, AT(scrub_interval_s), 1, HOURS(24) * 3650, "168h",
         "time between two rounds of reading all content again"},
	{"scrub-rate", SIZE, AT(scrub_rate), KIB(1), NO_CEILING, "16m",
         "bytes a second that such a round reads"},
	{"upstream", LIST, AT(upstreams), 0, 0, NULL,
         "\"PREFIX URL [USER PASSWORD-FILE]\": a registry to fetch from, and keep what was asked for"},
	{"upstream-ca", TEXT, AT(upstream_ca), 0, 0, NULL,
         "file with certificates (PEM) to trust for upstreams, and no others"},
	{"upstream-ttl", DURATION, AT(upstream_ttl_s), 0, HOURS(24) * 365, "10m",
         "an upstream's tag is asked for again after"},
	{"upstream-keep", DURATION, AT(upstream_keep_s), 1, HOURS(24) * 3650, "720h",
         "what nobody asked for in this time goes"},
	{"upstream-max", SIZE, AT(upstream_max), KIB(1), NO_CEILING, "100g",
         "bytes of upstreams' blobs that are kept: what was not asked for longest goes first"},
	{"webhook", LIST, AT(webhooks), 0, 0, NULL,
         "\"URL [SECRET-FILE]\": who is told of pushes and deletions"},
	{"quota", LIST, AT(quotas), 0, 0, NULL,
         "\"PATTERN SIZE [each]\": bytes that repositories may hold, together or each"},
	{"blob-max", SIZE, AT(blob_max), KIB(1), NO_CEILING, "64g", "largest blob"},
	{"manifest-max", SIZE, AT(manifest_max), KIB(1), 64 << 20, "4m", "largest manifest"},
	{"uploads-max", NUMBER, AT(uploads_max), 1, 1 << 20, "1024", "uploads at a time"},
	{"upload-expiry", DURATION, AT(upload_expiry_s), 1, HOURS(24) * 365, "1h",
         "an upload that nobody goes on with ends after"},
	{"repositories-max", NUMBER, AT(repositories_max), 1, 10000000, "100000", "repositories"},
	{"tags-max", NUMBER, AT(tags_max), 1, 10000000, "100000", "tags in one repository"},
	{"connections-max", NUMBER, AT(connections_max), 1, 1 << 20, "4096",
         "connections at a time"},
};

/* ---- values ---- */

static int bad(const struct key *k, const char *value, const char *allowed, struct err *err)
{
	return err_set(err, ERR_INVALID, "%s: bad value \"%s\": it must be %s", k->name, value,
	               allowed);
}

static int set_bool(const struct key *k, bool *to, const char *value, struct err *err)
{
	bool yes = str_eq(value, "yes") || str_eq(value, "true") || str_eq(value, "on");

	if (!yes && !str_eq(value, "no") && !str_eq(value, "false") && !str_eq(value, "off"))
		return bad(k, value, "yes or no", err);
	*to = yes;
	return 0;
}

static int set_number(const struct key *k, int64_t *to, const char *value, struct err *err)
{
	int64_t n = 0;
	char *end = NULL;

	if (k->type == SIZE && id_parse_size(value, &n, NULL) < 0)
		return bad(k, value, "a size as 512k, 4m or 10g", err);
	if (k->type == DURATION) {
		if (clock_parse_duration(value, &n, NULL) < 0)
			return bad(k, value, "a time as 30s, 10m or 24h", err);
		n /= SECOND_NS;
	}
	if (k->type == NUMBER) {
		n = strtoll(value, &end, 10);
		if (end == value || *end)
			return bad(k, value, "a whole number", err);
	}
	if (n < k->min || n > k->max)
		return err_set(err, ERR_INVALID,
		               "%s: %s is out of range: it must lie between %" PRId64
		               " and %" PRId64 "%s",
		               k->name, value, k->min, k->max,
		               k->type == SIZE       ? " bytes"
		               : k->type == DURATION ? " seconds"
		                                     : "");
	*to = n;
	return 0;
}

static int set_text(struct settings *s, const struct key *k, const char *value, struct err *err)
{
	void *to = (char *)s + k->offset;
	char *copy = arena_strdup(&s->arena, value, err);

	if (!copy)
		return -1;
	if (k->type == TEXT) {
		*(const char **)to = copy;
		return 0;
	}
	struct settings_list *list = to;
	if (list->count == SETTINGS_LIST_MAX)
		return err_set(err, ERR_LIMIT, "%s: more than %d", k->name, SETTINGS_LIST_MAX);
	list->items[list->count++] = copy;
	return 0;
}

static int set(struct settings *s, const struct key *k, const char *value, struct err *err)
{
	void *to = (char *)s + k->offset;

	if (k->type == TEXT || k->type == LIST)
		return set_text(s, k, value, err);
	return k->type == BOOL ? set_bool(k, to, value, err) : set_number(k, to, value, err);
}

static const struct key *find(const char *name, size_t len, struct err *err)
{
	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		if (strlen(keys[i].name) == len && memcmp(keys[i].name, name, len) == 0)
			return &keys[i];
	err_set(err, ERR_INVALID, "unknown key \"%.*s\" (see buoy-registry --help)", (int)len,
	        name);
	return NULL;
}

/* ---- the file ---- */

static char *trim(char *text)
{
	text += strspn(text, " \t\r");
	size_t n = strlen(text);
	while (n > 0 && strchr(" \t\r", text[n - 1]))
		text[--n] = '\0';
	return text;
}

static int parse_line(struct settings *s, char *line, struct err *err)
{
	char *text = trim(line), *equals = strchr(text, '=');

	if (*text == '\0' || *text == '#')
		return 0;
	if (!equals)
		return err_set(err, ERR_INVALID, "it must be key = value");
	*equals = '\0';
	char *name = trim(text);
	const struct key *k = find(name, strlen(name), err);
	if (!k)
		return -1;
	if (str_eq(k->name, "config"))
		return err_set(err, ERR_INVALID, "a file names no other file");
	return set(s, k, trim(equals + 1), err);
}

int settings_parse_text(char *text, const char *where, struct settings *out, struct err *err)
{
	char *rest = NULL;
	size_t number = 0;

	for (char *p = text; p; p = rest) {
		rest = strchr(p, '\n');
		if (rest)
			*rest++ = '\0';
		number++;
		if (parse_line(out, p, err) < 0)
			return err_wrap(err, "%s, line %zu", where, number);
	}
	return 0;
}

static int parse_file(struct settings *s, const char *path, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(FILE_MAX);

	if (fs_trusted_read(path, FILE_MAX, &text, err) < 0)
		return err_wrap(err, "configuration");
	buf_add(&text, "\n");
	if (buf_check(&text, err) < 0)
		return -1;
	if (strlen(text.data) != text.len)
		return err_set(err, ERR_INVALID, "%s: it is not a text file", path);
	return settings_parse_text(text.data, path, s, err);
}

/* ---- the command line ---- */

/* The value of argument *i, "--key=value" or "--key value", whose key is name[0..len). NULL: there is none. */
static const char *value_of(int argc, char **argv, int *i, size_t len)
{
	const char *rest = argv[*i] + 2 + len;

	if (*rest == '=')
		return rest + 1;
	return *i + 1 < argc ? argv[++*i] : NULL;
}

/* With only_config: looks for --config alone. */
static int parse_arguments(int argc, char **argv, bool only_config, struct settings *s,
                           struct err *err)
{
	for (int i = 1; i < argc; i++) {
		if (!str_starts(argv[i], "--"))
			return err_set(err, ERR_INVALID,
			               "unexpected argument \"%s\" (see buoy-registry --help)",
			               argv[i]);
		size_t len = strcspn(argv[i] + 2, "=");
		const struct key *k = find(argv[i] + 2, len, err);
		const char *name = argv[i] + 2;
		if (!k)
			return -1;
		const char *value = value_of(argc, argv, &i, len);
		if (!value)
			return err_set(err, ERR_INVALID, "--%s: its value is missing", name);
		if (only_config == str_eq(k->name, "config") && set(s, k, value, err) < 0)
			return -1;
	}
	return 0;
}

static int set_defaults(struct settings *s, struct err *err)
{
	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		if (keys[i].otherwise && set(s, &keys[i], keys[i].otherwise, err) < 0)
			return -1;
	return 0;
}

static int parse_all(int argc, char **argv, struct settings *s, struct err *err)
{
	enum log_level level;

	if (set_defaults(s, err) < 0 || parse_arguments(argc, argv, true, s, err) < 0)
		return -1;
	if (s->config && parse_file(s, s->config, err) < 0)
		return -1;
	if (parse_arguments(argc, argv, false, s, err) < 0)
		return -1;
	if (!s->tls_cert != !s->tls_key)
		return err_set(err, ERR_INVALID, "tls-cert and tls-key go together");
	return log_parse_level(s->log_level, &level, err);
}

int settings_parse(int argc, char **argv, struct settings *out, enum settings_action *action,
                   struct err *err)
{
	struct settings s = {.arena = ARENA_INIT(ARENA_MAX)};

	*action = SETTINGS_RUN;
	for (int i = 1; i < argc; i++)
		if (str_eq(argv[i], "--help") || str_eq(argv[i], "-h"))
			*action = SETTINGS_HELP;
		else if (str_eq(argv[i], "--version"))
			*action = SETTINGS_VERSION;
	if (argc == 2 && str_eq(argv[1], "manpage"))
		*action = SETTINGS_MANPAGE;
	if (argc == 2 && str_eq(argv[1], "completion"))
		*action = SETTINGS_COMPLETION;
	if (*action == SETTINGS_RUN && parse_all(argc, argv, &s, err) < 0) {
		settings_done(&s);
		return -1;
	}
	*out = s;
	return 0;
}

void settings_done(struct settings *s)
{
	arena_done(&s->arena);
	*s = (struct settings){0};
}

/* ---- help ---- */

void settings_help(int fd)
{
	dprintf(fd,
	        "buoy-registry - a registry of container images\n\n"
	        "Usage: buoy-registry [--KEY VALUE]...\n\n"
	        "Each key may stand in the file that --config names, as a line \"key = value\"; those "
	        "marked + may be repeated.\n\n");
	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		char left[48];

		snprintf(left, sizeof(left), "--%s %s%s", keys[i].name, type_names[keys[i].type],
		         keys[i].type == LIST ? " +" : "");
		dprintf(fd, "  %-28s %s", left, keys[i].help);
		if (keys[i].otherwise)
			dprintf(fd, " (%s)", keys[i].otherwise);
		dprintf(fd, "\n");
	}
	dprintf(fd, "  %-28s %s\n  %-28s %s\n", "--help", "this text", "--version", "the version");
}

void settings_completion(int fd)
{
	dprintf(fd,
	        "# bash completion of buoy-registry\n"
	        "_buoy_registry() {\n"
	        "\tcase $3 in\n"
	        "\t--root | --config | --htpasswd | --tls-cert | --tls-key | --token-certs | --token-jwks | --upstream-ca)\n"
	        "\t\tCOMPREPLY=($(compgen -f -- \"$2\")) ;;\n"
	        "\t--log-level) COMPREPLY=($(compgen -W 'error warn info debug' -- \"$2\")) ;;\n"
	        "\t*) COMPREPLY=($(compgen -W '--help --version");
	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		dprintf(fd, " --%s", keys[i].name);
	dprintf(fd, "' -- \"$2\")) ;;\n\tesac\n}\ncomplete -F _buoy_registry buoy-registry\n");
}

void settings_manpage(int fd)
{
	dprintf(fd,
	        ".TH BUOY-REGISTRY 8 \"\" \"buoy %s\" \"System Administration\"\n"
	        ".SH NAME\nbuoy-registry \\- registry of container images\n"
	        ".SH SYNOPSIS\n.B buoy-registry\n[\\fB\\-\\-\\fIKEY VALUE\\fR]...\n"
	        ".SH DESCRIPTION\nServes the OCI distribution specification 1.1 over HTTP/1.1: images\n"
	        "are pushed, pulled, listed and deleted. Content lies in OCI image layouts below the\n"
	        "root, each blob once; a push that was answered survives a power cut. SIGTERM ends it;\n"
	        "SIGHUP makes it read certificates, passwords and keys of tokens again.\n"
	        ".PP\nEach key may also stand in the file that \\fB\\-\\-config\\fR names, as a line\n"
	        "\\(dqkey = value\\(dq; \\(dq#\\(dq begins a comment. The command line goes before the file.\n"
	        ".SH KEYS\n",
	        BUOY_VERSION);
	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		const struct key *k = &keys[i];

		dprintf(fd, ".TP\n\\fB\\-\\-%s\\fR \\fI%s\\fR\n%s%s", k->name, type_names[k->type],
		        k->help, k->type == LIST ? "; repeatable" : "");
		if (k->otherwise)
			dprintf(fd, " (default: %s)", k->otherwise);
		if (k->type == NUMBER)
			dprintf(fd, "; %" PRId64 " to %" PRId64, k->min, k->max);
		dprintf(fd, "\n");
	}
	dprintf(fd, ".SH SEE ALSO\n.BR buoy (1),\n.BR buoyd (8)\n");
}
