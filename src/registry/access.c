/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/access.h"

#include <crypt.h>
#include <fnmatch.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/base64.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/hash.h"
#include "base/id.h"
#include "base/map.h"
#include "base/str.h"
#include "registry/settings.h"

#define FILE_MAX     (1u << 20)
#define HEADER_MAX   1024
#define REMEMBER_MS  60000
#define REMEMBER_MAX 64
#define KEY_SIZE     32

/* Of no password: who does not exist costs as much time as who does. */
#define NOBODY "$2b$10$54HWJTmuGVVOvckXg8Q85OrIHsthx2uJBh5jF3iexRrkKPiHnoQ56"

struct rule {
	char pattern[256], who[ACCESS_USER_MAX];
	unsigned actions;
};

struct known {
	uint8_t hash[HASH_SIZE];
	int64_t until_ms;
};

struct access {
	const char *path; /* borrowed; NULL: no users */
	struct rule *rules;
	size_t rule_count;
	uint8_t key[KEY_SIZE];
	pthread_mutex_t lock;             /* users, known; also: one bcrypt at a time */
	struct map *users;                /* name -> hash, owned; guarded by lock */
	struct known known[REMEMBER_MAX]; /* guarded by lock */
	size_t next;                      /* guarded by lock */
};

/* ---- rules ---- */

static int parse_actions(char *text, unsigned *actions, struct err *err)
{
	char *rest = text;

	for (char *word = strsep(&rest, ","); word; word = strsep(&rest, ","))
		if (str_eq(word, "pull"))
			*actions |= ACCESS_PULL;
		else if (str_eq(word, "push"))
			*actions |= ACCESS_PUSH;
		else if (str_eq(word, "delete"))
			*actions |= ACCESS_DELETE;
		else
			return err_set(err, ERR_INVALID,
			               "unknown action \"%s\": it must be pull, push or delete",
			               word);
	return 0;
}

static int parse_rule(const char *text, struct rule *rule, struct err *err)
{
	char actions[64], rest = 0;

	if (sscanf(text, "%255s %127s %63s %c", rule->pattern, rule->who, actions, &rest) != 3)
		return err_set(err, ERR_INVALID, "it must be PATTERN WHO ACTION[,ACTION]...");
	return parse_actions(actions, &rule->actions, err);
}

static int parse_rules(struct access *a, const struct settings_list *rules, struct err *err)
{
	a->rules = calloc(rules->count + 1, sizeof(*a->rules));
	if (!a->rules)
		return err_nomem(err);
	for (size_t i = 0; i < rules->count; i++)
		if (parse_rule(rules->items[i], &a->rules[i], err) < 0)
			return err_wrap(err, "rule \"%s\"", rules->items[i]);
	a->rule_count = rules->count;
	return 0;
}

static bool fits(const struct rule *rule, const char *user, const char *name,
                 enum access_action action)
{
	if (!(rule->actions & action) || fnmatch(rule->pattern, name, 0) != 0)
		return false;
	if (str_eq(rule->who, "anonymous"))
		return true;
	return user && (str_eq(rule->who, "*") || str_eq(rule->who, user));
}

/* ---- users ---- */

static void users_free(struct map *users)
{
	const char *name;
	void *hash;

	if (users)
		map_for_each (users, iter, &name, &hash)
			free(hash);
	map_free(users);
}

static int add_user(struct map *users, char *line, struct err *err)
{
	char *hash = strchr(line, ':');
	void *old = NULL;

	line[strcspn(line, "\r")] = '\0';
	if (*line == '\0' || *line == '#')
		return 0;
	if (!hash || hash == line || hash - line >= ACCESS_USER_MAX)
		return err_set(err, ERR_INVALID, "it must be user:hash");
	*hash++ = '\0';
	if (!str_starts(hash, "$2a$") && !str_starts(hash, "$2b$") && !str_starts(hash, "$2y$"))
		return err_set(err, ERR_INVALID,
		               "the password of %s is not a bcrypt hash (htpasswd -B makes one)",
		               line);
	char *copy = strdup(hash);
	if (!copy || map_set(users, line, copy, &old, err) < 0) {
		free(copy);
		return err_nomem(err);
	}
	free(old);
	return 0;
}

static struct map *read_users(const char *path, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(FILE_MAX);
	struct map *users = map_create(err);
	size_t number = 0;

	if (!users || fs_trusted_read(path, FILE_MAX, &text, err) < 0) {
		users_free(users);
		return NULL;
	}
	char *rest = text.data;
	for (char *line = strsep(&rest, "\n"); line; line = strsep(&rest, "\n")) {
		number++;
		if (add_user(users, line, err) < 0) {
			err_wrap(err, "%s, line %zu", path, number);
			users_free(users);
			return NULL;
		}
	}
	return users;
}

int access_reload(struct access *a, struct err *err)
{
	if (!a->path)
		return 0;
	struct map *users = read_users(a->path, err);
	if (!users)
		return -1;
	pthread_mutex_lock(&a->lock);
	struct map *old = a->users;
	a->users = users;
	memset(a->known, 0, sizeof(a->known));
	pthread_mutex_unlock(&a->lock);
	users_free(old);
	return 0;
}

struct access *access_open(const char *htpasswd, const struct settings_list *rules, struct err *err)
{
	auto_type(access) a = calloc(1, sizeof(*a));

	if (!a) {
		err_nomem(err);
		return NULL;
	}
	pthread_mutex_init(&a->lock, NULL);
	id_random(a->key, sizeof(a->key));
	a->path = htpasswd;
	if (rules->count > 0 && !htpasswd) {
		err_set(err, ERR_INVALID, "rules need users: set htpasswd");
		return NULL;
	}
	if (parse_rules(a, rules, err) < 0 || access_reload(a, err) < 0)
		return NULL;
	return move_ptr(a);
}

void access_free(struct access *a)
{
	if (!a)
		return;
	users_free(a->users);
	free(a->rules);
	pthread_mutex_destroy(&a->lock);
	free(a);
}

/* ---- checking ---- */

/* Takes the same time wherever they differ. */
static bool same(const void *a, const void *b, size_t len)
{
	const uint8_t *x = a, *y = b;
	unsigned differ = 0;

	for (size_t i = 0; i < len; i++)
		differ |= x[i] ^ y[i];
	return differ == 0;
}

static bool bcrypt_fits(const char *password, const char *hash)
{
	struct crypt_data *data = calloc(1, sizeof(*data));
	const char *got = data ? crypt_rn(password, hash, data, (int)sizeof(*data)) : NULL;
	bool ok = got && strlen(got) == strlen(hash) && same(got, hash, strlen(hash));

	free(data);
	return ok;
}

/* With the lock held. */
static bool password_fits(struct access *a, const char *user, const char *password)
{
	int64_t now = clock_mono_ms();
	const char *hash = map_find(a->users, user);
	auto_type(hash) h = hash_create(NULL);
	char hex[HASH_HEX_MAX];
	uint8_t mark[HASH_SIZE];

	if (!h)
		return false;
	hash_add(h, a->key, sizeof(a->key));
	hash_add(h, user, strlen(user) + 1);
	hash_add(h, password, strlen(password));
	hash_bytes(hash_hex(h, hex), HASH_HEX_MAX - 1, mark);
	for (size_t i = 0; i < REMEMBER_MAX; i++)
		if (a->known[i].until_ms > now && same(a->known[i].hash, mark, sizeof(mark)))
			return true;
	if (!bcrypt_fits(password, hash ? hash : NOBODY) || !hash)
		return false;
	struct known *slot = &a->known[a->next++ % REMEMBER_MAX];
	memcpy(slot->hash, mark, sizeof(mark));
	slot->until_ms = now + REMEMBER_MS;
	return true;
}

bool access_sign_in(struct access *a, const char *authorization, char user[ACCESS_USER_MAX])
{
	auto_buf struct buf text = BUF_INIT(HEADER_MAX);
	size_t len = authorization ? strlen(authorization) : 0;

	if (len <= 6 || len > HEADER_MAX || strncasecmp(authorization, "Basic ", 6) != 0 ||
	    base64_decode(authorization + 6, len - 6, &text, NULL) < 0)
		return false;
	char *colon = memchr(buf_str(&text), ':', text.len);
	if (!colon || strlen(text.data) != text.len || colon - text.data >= ACCESS_USER_MAX)
		return false;
	*colon = '\0';
	pthread_mutex_lock(&a->lock);
	bool ok = password_fits(a, text.data, colon + 1);
	pthread_mutex_unlock(&a->lock);
	if (ok)
		memcpy(user, text.data, strlen(text.data) + 1);
	return ok;
}

enum access_verdict access_check(struct access *a, const char *authorization, const char *name,
                                 enum access_action action)
{
	char user[ACCESS_USER_MAX];

	if (!a->path)
		return ACCESS_YES;
	bool known = access_sign_in(a, authorization, user);
	/* Credentials that do not fit never pass as nobody's: the client shall learn that they are wrong. */
	if (!known && authorization)
		return ACCESS_SIGN_IN;
	if (!name || a->rule_count == 0)
		return known ? ACCESS_YES : ACCESS_SIGN_IN;
	for (size_t i = 0; i < a->rule_count; i++)
		if (fits(&a->rules[i], known ? user : NULL, name, action))
			return ACCESS_YES;
	return known ? ACCESS_NO : ACCESS_SIGN_IN;
}
