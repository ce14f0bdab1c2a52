/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may join: by the tokens that stand in the cluster object, or by one that is good for one machine and a while.
 * Those are in the object's secret part, [{"Token", "Role", "Until"}], and are struck out before the machine is let in,
 * so that two that come at once do not both get in.
 */

#include "base/clock.h"
#include "base/err.h"
#include "base/json.h"
#include "base/str.h"
#include "cluster/leader_state.h"
#include "cluster/token.h"

#define LIST       "OneUse"
#define TOKENS_MAX 1000
#define NS_PER_S   1000000000

static int64_t now_s(void)
{
	return clock_wall_ns() / NS_PER_S;
}

/* Those that are still good, but for `used`; owned. */
static struct json *good_ones(const struct cluster *cluster, const struct json *used)
{
	const struct json *list = json_get(cluster->secret, LIST);
	struct json *good = json_array();

	for (size_t i = 0; i < json_count(list); i++) {
		struct json *item = json_at(list, i);

		if (item != used && json_get_int(item, "Until", 0) > now_s())
			json_append(good, json_ref(item));
	}
	return good;
}

int leader_set_secret(struct control *c, const char *field, struct json *value, struct err *err)
{
	const struct cluster *now = control_cluster(c);
	auto_type(json) secret = json_object();
	struct json *other;
	const char *key;

	if (!now) {
		json_free(value);
		return err_set(err, ERR_INTERNAL, "the cluster has no object");
	}
	for (void *iter = NULL; json_next(now->secret, &iter, &key, &other);)
		if (!str_eq(key, field))
			json_set(secret, key, json_ref(other));
	if (json_set(secret, field, value) < 0)
		return err_nomem(err);
	struct cluster next = *now;
	next.secret = secret;
	return control_cluster_set(c, leader_now(), &next, now->version.index, err);
}

static int add(struct control *c, const struct leader_one_use *wanted, char text[TOKEN_MAX],
               struct err *err)
{
	const struct cluster *now = control_cluster(c);
	uint8_t digest[HASH_SIZE];

	if (!now)
		return err_set(err, ERR_INTERNAL, "the cluster has no object");
	if (ca_digest(json_get_string(now->tls, "TrustRoot"), digest, err) < 0)
		return -1;
	struct json *list = good_ones(now, NULL), *item = json_object();
	if (json_count(list) >= TOKENS_MAX) {
		json_free(list);
		json_free(item);
		return err_set(err, ERR_LIMIT, "%d one-use tokens wait for their machines already",
		               TOKENS_MAX);
	}
	json_set(item, "Token", json_string(token_make(digest, text)));
	json_set(item, "Role", json_string(wanted->manager ? "manager" : "worker"));
	json_set(item, "Until", json_int(now_s() + wanted->seconds));
	json_append(list, item);
	return leader_set_secret(c, LIST, list, err);
}

int leader_make_one_use(struct leader *leader, const struct leader_one_use *wanted,
                        char text[TOKEN_MAX], struct err *err)
{
	if (wanted->manager && !leader->url)
		return err_set(err, ERR_UNSUPPORTED,
		               "this cluster keeps its state on one machine and cannot take a "
		               "second manager");
	if (wanted->seconds < 1)
		return err_set(err, ERR_INVALID, "a token must be good for a second at least");
	struct control *c = leader_enter(leader, err);
	if (!c)
		return -1;
	int rc = add(c, wanted, text, err);
	leader_exit(leader);
	return rc;
}

/* All are compared: the time tells nothing. */
static const struct json *find(const struct cluster *cluster, const char *token)
{
	const struct json *list = json_get(cluster->secret, LIST), *found = NULL;

	for (size_t i = 0; i < json_count(list); i++) {
		const struct json *item = json_at(list, i);
		const char *text = json_get_string(item, "Token");

		if (text && token_equal(token, text) && json_get_int(item, "Until", 0) > now_s())
			found = item;
	}
	return found;
}

int leader_token_role(struct leader *leader, const char *token, struct err *err)
{
	const struct cluster *cluster = control_cluster(leader->control);

	if (!token || !cluster)
		return err_set(err, ERR_DENIED, "invalid join token");
	if (token_equal(token, cluster->tokens.worker))
		return 0;
	if (token_equal(token, cluster->tokens.manager))
		return 1;
	const struct json *one = find(cluster, token);
	if (!one)
		return err_set(err, ERR_DENIED, "invalid join token");
	int role = str_eq(json_get_string(one, "Role"), "manager");
	return leader_set_secret(leader->control, LIST, good_ones(cluster, one), err) < 0 ? -1
	                                                                                  : role;
}
