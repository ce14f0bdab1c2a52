/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/rotation.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/json.h"
#include "base/testing.h"

/* A cluster object, and what stands behind it. */
struct bench {
	struct ca_identity root, next;
	struct cluster cluster;
	struct rotation_draft now; /* whose parts the cluster borrows */
};

static void bench_init(struct bench *b)
{
	*b = (struct bench){.cluster = {.id = (char *)"c1"}};
	assert_int_equal(ca_make("c1", &b->root, NULL), 0);
	assert_int_equal(ca_make("c1", &b->next, NULL), 0);
	b->now.tls = rotation_tls(b->root.cert, b->root.cert, NULL);
	b->now.secret = json_object();
	json_set(b->now.secret, CA_KEY_FIELD, json_string(b->root.key));
	json_set(b->now.secret, "OneUse", json_array());
	b->cluster.spec_raw = json_object();
	rotation_apply(&b->now, &b->cluster);
}

static void bench_done(struct bench *b)
{
	json_free(b->cluster.spec_raw);
	rotation_draft_done(&b->now);
	ca_identity_done(&b->root);
	ca_identity_done(&b->next);
}

static void take(struct bench *b, struct rotation_draft *draft)
{
	rotation_draft_done(&b->now);
	b->now = *draft;
	rotation_apply(&b->now, &b->cluster);
}

static void begin(struct bench *b)
{
	struct rotation_draft draft = {0};

	assert_int_equal(rotation_begin(&b->cluster, &b->next, &draft, NULL), 0);
	take(b, &draft);
}

static void advance(struct bench *b)
{
	struct rotation_draft draft = {0};

	assert_int_equal(rotation_advance(&b->cluster, &draft, NULL), 0);
	take(b, &draft);
}

/* A node that says so of itself. */
static bool settled(const struct bench *b, const char *trust, const char *issuer)
{
	auto_type(json) tls = trust ? rotation_tls(trust, issuer, NULL) : NULL;
	struct node n = {.description = {.tls = tls}};

	return rotation_is_settled(&b->cluster, &n);
}

static void each_step_waits_for_what_it_needs(void **state)
{
	(void)state;
	struct bench b;

	bench_init(&b);
	assert_false(rotation_is_on(&b.cluster));
	assert_true(settled(&b, b.root.cert, b.root.cert));
	begin(&b);
	assert_true(rotation_is_on(&b.cluster));
	auto_free char *both = strdup(rotation_trust(&b.cluster));
	assert_string_equal(rotation_signer(&b.cluster), b.root.cert);
	assert_string_equal(json_get_string(b.cluster.tls, "TrustRoot"), b.root.cert);
	assert_false(settled(&b, b.root.cert, b.root.cert));
	assert_false(settled(&b, NULL, NULL)); /* one that has said nothing */
	assert_true(settled(&b, both, b.root.cert));
	advance(&b);
	assert_true(rotation_is_on(&b.cluster));
	assert_string_equal(rotation_signer(&b.cluster), b.next.cert);
	assert_string_equal(rotation_signer_key(&b.cluster), b.next.key);
	assert_string_equal(rotation_trust(&b.cluster), both);
	assert_false(settled(&b, both, b.root.cert));
	assert_true(settled(&b, both, b.next.cert));
	assert_null(b.cluster.tokens.worker); /* as they were */
	advance(&b);
	assert_false(rotation_is_on(&b.cluster));
	assert_string_equal(rotation_trust(&b.cluster), b.next.cert);
	assert_string_equal(rotation_signer_key(&b.cluster), b.next.key);
	assert_false(settled(&b, both, b.next.cert));
	assert_true(settled(&b, b.next.cert, b.next.cert));
	assert_null(json_get(b.cluster.secret, "OneUse"));
	assert_string_not_equal(b.cluster.tokens.worker, b.cluster.tokens.manager);
	bench_done(&b);
}

static void the_tokens_at_the_end_name_the_new_root(void **state)
{
	(void)state;
	struct bench b;
	uint8_t wanted[HASH_SIZE], got[HASH_SIZE];

	bench_init(&b);
	begin(&b);
	advance(&b);
	advance(&b);
	assert_int_equal(ca_digest(b.next.cert, wanted, NULL), 0);
	assert_int_equal(token_parse(b.cluster.tokens.worker, got, NULL), 0);
	assert_memory_equal(got, wanted, HASH_SIZE);
	assert_int_equal(token_parse(b.cluster.tokens.manager, got, NULL), 0);
	assert_memory_equal(got, wanted, HASH_SIZE);
	bench_done(&b);
}

static void one_that_is_called_off_takes_certificates_back_first(void **state)
{
	(void)state;
	struct bench b;
	struct rotation_draft draft = {0}, other = {0};
	struct err err = ERR_INIT;

	bench_init(&b);
	begin(&b);
	advance(&b);
	auto_free char *both = strdup(rotation_trust(&b.cluster));
	assert_int_equal(rotation_begin(&b.cluster, &b.root, &other, &err), -1);
	assert_int_equal(err.kind, ERR_CONFLICT);
	assert_int_equal(rotation_call_off(&b.cluster, &draft, NULL), 0);
	take(&b, &draft);
	assert_true(rotation_is_on(&b.cluster));
	assert_string_equal(rotation_trust(&b.cluster), both); /* some have certificates of it */
	assert_string_equal(rotation_signer(&b.cluster), b.root.cert);
	assert_false(settled(&b, both, b.next.cert));
	assert_true(settled(&b, both, b.root.cert));
	assert_int_equal(rotation_begin(&b.cluster, &b.root, &other, &err), -1);
	advance(&b);
	assert_false(rotation_is_on(&b.cluster));
	assert_string_equal(rotation_trust(&b.cluster), b.root.cert);
	assert_non_null(json_get(b.cluster.secret, "OneUse"));
	rotation_draft_done(&other);
	bench_done(&b);
}

static void one_that_has_given_nothing_out_can_be_replaced(void **state)
{
	(void)state;
	struct bench b;
	struct ca_identity third = {0};
	struct rotation_draft draft = {0};

	bench_init(&b);
	begin(&b);
	assert_int_equal(ca_make("c1", &third, NULL), 0);
	assert_int_equal(rotation_begin(&b.cluster, &third, &draft, NULL), 0);
	take(&b, &draft);
	advance(&b);
	assert_string_equal(rotation_signer(&b.cluster), third.cert);
	assert_null(strstr(rotation_trust(&b.cluster), b.next.cert));
	ca_identity_done(&third);
	bench_done(&b);
}

/* What a spec with this CAConfig asks for; -1: it is refused. */
static int wish_of(struct bench *b, struct json *config, struct err *err)
{
	auto_type(json) spec = json_object();
	struct ca_identity root = {0};
	enum rotation_wish wish;

	json_set(spec, "CAConfig", config);
	int rc = rotation_read(&b->cluster, spec, &wish, &root, err);
	if (rc == 0)
		assert_int_equal(root.cert != NULL, wish == ROTATION_BEGIN);
	ca_identity_done(&root);
	return rc < 0 ? -1 : (int)wish;
}

static struct json *given(const char *cert, const char *key)
{
	struct json *config = json_object();

	if (cert)
		json_set(config, "SigningCACert", json_string(cert));
	if (key)
		json_set(config, "SigningCAKey", json_string(key));
	return config;
}

static struct json *forced(int64_t count)
{
	struct json *config = json_object();

	json_set(config, "ForceRotate", json_int(count));
	return config;
}

static void a_spec_says_what_is_to_be_done(void **state)
{
	(void)state;
	struct bench b;

	bench_init(&b);
	assert_int_equal(wish_of(&b, json_object(), NULL), ROTATION_KEEP);
	assert_int_equal(wish_of(&b, forced(0), NULL), ROTATION_KEEP);
	assert_int_equal(wish_of(&b, forced(1), NULL), ROTATION_BEGIN);
	assert_int_equal(wish_of(&b, given(b.next.cert, b.next.key), NULL), ROTATION_BEGIN);
	assert_int_equal(wish_of(&b, given(b.root.cert, b.root.key), NULL), ROTATION_KEEP);
	begin(&b);
	assert_int_equal(wish_of(&b, given(b.next.cert, b.next.key), NULL), ROTATION_KEEP);
	assert_int_equal(wish_of(&b, given(b.next.cert, NULL), NULL), ROTATION_KEEP);
	assert_int_equal(wish_of(&b, given(b.root.cert, NULL), NULL), ROTATION_CALL_OFF);
	bench_done(&b);
}

static void what_cannot_be_done_is_refused(void **state)
{
	(void)state;
	struct bench b;
	struct err err = ERR_INIT;
	struct json *external = json_object(), *list = json_array();

	bench_init(&b);
	json_append(list, json_object());
	json_set(external, "ExternalCAs", list);
	assert_int_equal(wish_of(&b, external, &err), -1);
	assert_int_equal(err.kind, ERR_UNSUPPORTED);
	assert_int_equal(wish_of(&b, given(b.next.cert, NULL), &err), -1);
	assert_int_equal(err.kind, ERR_INVALID);
	assert_int_equal(wish_of(&b, given(NULL, b.next.key), &err), -1);
	assert_int_equal(wish_of(&b, given(b.next.cert, b.root.key), &err), -1);
	assert_string_equal(err.msg, "the key is not the root certificate's");
	assert_int_equal(wish_of(&b, given("no certificate", b.root.key), &err), -1);
	assert_int_equal(err.kind, ERR_INVALID);
	bench_done(&b);
}

static void a_key_is_not_kept_in_the_spec(void **state)
{
	(void)state;
	auto_type(json) spec = json_object();
	struct json *config = given("CERT", "KEY");

	json_set(config, "ForceRotate", json_int(3));
	json_set(spec, "Name", json_string("default"));
	json_set(spec, "CAConfig", config);
	auto_type(json) kept = rotation_clean_spec(spec, NULL);
	assert_string_equal(json_get_string(kept, "Name"), "default");
	assert_int_equal(json_count(json_get(kept, "CAConfig")), 1);
	assert_int_equal(json_get_int(json_get(kept, "CAConfig"), "ForceRotate", 0), 3);
}

TESTING_MAIN(TEST(each_step_waits_for_what_it_needs), TEST(the_tokens_at_the_end_name_the_new_root),
             TEST(one_that_is_called_off_takes_certificates_back_first),
             TEST(one_that_has_given_nothing_out_can_be_replaced),
             TEST(a_spec_says_what_is_to_be_done), TEST(what_cannot_be_done_is_refused),
             TEST(a_key_is_not_kept_in_the_spec))
