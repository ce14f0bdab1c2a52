/* SPDX-License-Identifier: Apache-2.0 */
#include "image/endpoint.h"

#include <sys/stat.h>

#include "base/err.h"
#include "base/str.h"
#include "base/testing.h"
#include "image/store.h"

static void the_loopback_is_an_address_not_a_name_that_begins_like_one(void **state)
{
	static const char *const near[] = {"127.0.0.1",      "127.1.2.3:5000", "localhost",
	                                   "localhost:5000", "[::1]:5000",     "[::1]"};
	static const char *const far[] = {"127.0.0.1.example.org",
	                                  "localhost.example.org:5000",
	                                  "128.0.0.1",
	                                  "127.example.org",
	                                  "[::2]:5000",
	                                  "",
	                                  ":5000",
	                                  "[]"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(near); i++)
		assert_true(endpoint_is_loopback(near[i]));
	for (size_t i = 0; i < ARRAY_LEN(far); i++)
		assert_false(endpoint_is_loopback(far[i]));
}

static void an_entry_names_a_host_or_a_subnet(void **state)
{
	(void)state;
	assert_true(endpoint_names("reg.example:5000", "reg.example:5000"));
	assert_false(endpoint_names("reg.example", "reg.example:5000"));
	assert_false(endpoint_names("10.2.0.0/15", "10.1.2.3:5000"));
	assert_true(endpoint_names("10.0.0.0/15", "10.1.2.3:5000"));
	assert_true(endpoint_names("0.0.0.0/0", "8.8.8.8"));
	assert_true(endpoint_names("fd00::/8", "[fd12::1]:5000"));
	assert_false(endpoint_names("fd00::/8", "[fe80::1]:5000"));
	assert_false(endpoint_names("10.0.0.0/8", "10.example.org"));
	assert_false(endpoint_names("10.0.0.0/33", "10.0.0.1"));
	assert_false(endpoint_names("10.0.0.0/", "10.0.0.1"));
}

/* ---- with a store ---- */

static char *nothing[] = {NULL};

static void find(struct image_store *store, const char *host, const char *base, bool verify)
{
	struct endpoint e = {0};
	struct err err = ERR_INIT;

	assert_int_equal(endpoint_find(store, host, &e, &err), 0);
	assert_string_equal(e.base, base);
	assert_int_equal(e.verify, verify);
	assert_int_equal(e.lenient, !verify);
	assert_string_equal(endpoint_host(&e), host);
	if (e.lenient) {
		endpoint_switch(&e);
		assert_int_equal(str_starts(e.base, "https://"), !str_starts(base, "https://"));
		assert_string_equal(endpoint_host(&e), host);
		assert_false(e.verify);
	}
	endpoint_done(&e);
}

static void tls_is_for_all_but_the_loopback_and_what_was_named(void **state)
{
	const char *insecure[] = {"plain.example:5000", "10.0.0.0/8", NULL};
	struct image_store store = {
		.insecure = (char **)insecure, .mirrors = nothing, .certs = nothing};

	(void)state;
	find(&store, "reg.example", "https://reg.example", true);
	find(&store, "plain.example", "https://plain.example", true);
	find(&store, "plain.example:5000", "https://plain.example:5000", false);
	find(&store, "10.9.8.7", "https://10.9.8.7", false);
	find(&store, "127.0.0.1:5000", "http://127.0.0.1:5000", false);
	find(&store, "[::1]:5000", "http://[::1]:5000", false);
}

static void a_host_is_no_path_and_no_user(void **state)
{
	static const char *const bad[] = {"", "..", ".hidden", "a/b", "me@host", "a b", "h\n"};
	struct image_store store = {.insecure = nothing, .mirrors = nothing, .certs = nothing};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct endpoint e = {0};
		struct err err = ERR_INIT;
		assert_int_equal(endpoint_find(&store, bad[i], &e, &err), -1);
		assert_int_equal(err.kind, ERR_INVALID);
	}
}

static void mirrors_are_of_one_registry(void **state)
{
	const char *mirrors[] = {"https://one", "ghcr.io=https://two:5000", "http://three/",
	                         "docker.io=https://four", NULL};
	struct image_store store = {
		.insecure = nothing, .mirrors = (char **)mirrors, .certs = nothing};
	struct endpoint e = {0};

	(void)state;
	assert_string_equal(endpoint_mirror(&store, "docker.io", 0), "https://one");
	assert_string_equal(endpoint_mirror(&store, "docker.io", 1), "http://three/");
	assert_string_equal(endpoint_mirror(&store, "docker.io", 2), "https://four");
	assert_null(endpoint_mirror(&store, "docker.io", 3));
	assert_string_equal(endpoint_mirror(&store, "ghcr.io", 0), "https://two:5000");
	assert_null(endpoint_mirror(&store, "ghcr.io", 1));
	assert_null(endpoint_mirror(&store, "quay.io", 0));

	assert_int_equal(endpoint_of_url(&store, "http://three/", &e, NULL), 0);
	assert_string_equal(e.base, "http://three");
	assert_true(e.verify && !e.lenient);
	endpoint_done(&e);
	assert_int_equal(endpoint_of_url(&store, "three", &e, NULL), -1);
	assert_int_equal(endpoint_of_url(&store, "https://h/v2", &e, NULL), -1);
	assert_int_equal(endpoint_of_url(&store, "https://u:p@h", &e, NULL), -1);
	assert_int_equal(endpoint_of_url(&store, "https://", &e, NULL), -1);
}

/* ---- certs.d ---- */

struct place {
	char dir[64], host_dir[96];
	int fd;
	char *list[2];
	struct image_store store;
};

static int make(void **state)
{
	struct place *p = calloc(1, sizeof(*p));

	(void)snprintf(p->dir, sizeof(p->dir), "/tmp/endpoint.XXXXXX");
	assert_non_null(mkdtemp(p->dir));
	(void)snprintf(p->host_dir, sizeof(p->host_dir), "%s/127.0.0.1:5000", p->dir);
	assert_int_equal(mkdir(p->host_dir, 0700), 0);
	p->fd = open(p->host_dir, O_RDONLY | O_DIRECTORY);
	p->list[0] = p->dir;
	p->store = (struct image_store){.insecure = nothing, .mirrors = nothing, .certs = p->list};
	*state = p;
	return 0;
}

static int drop(void **state)
{
	struct place *p = *state;

	close(p->fd);
	assert_int_equal(testing_remove_tree(p->dir), 0);
	free(p);
	return 0;
}

static void refuse(struct place *p, const char *words)
{
	struct endpoint e = {0};
	struct err err = ERR_INIT;

	assert_int_equal(endpoint_find(&p->store, "127.0.0.1:5000", &e, &err), -1);
	assert_non_null(strstr(err.msg, words));
	assert_null(e.cert_pem);
}

static void a_ca_makes_even_the_loopback_verified(void **state)
{
	struct place *p = *state;
	struct endpoint e = {0}, copy = {0};

	find(&p->store, "127.0.0.1:5000", "http://127.0.0.1:5000", false);
	testing_write(p->fd, "b.crt", "second\n");
	testing_write(p->fd, "a.crt", "first");
	testing_write(p->fd, "notes.txt", "nothing");
	assert_int_equal(endpoint_find(&p->store, "127.0.0.1:5000", &e, NULL), 0);
	assert_string_equal(e.base, "https://127.0.0.1:5000");
	assert_true(e.verify && str_ends(e.ca_pem, "\nfirst\nsecond\n"));
	assert_null(e.cert_pem);
	assert_int_equal(endpoint_copy(&e, &copy, NULL), 0);
	assert_string_equal(copy.ca_pem, e.ca_pem);
	endpoint_done(&copy);
	endpoint_done(&e);
	find(&p->store, "127.0.0.1:5001", "http://127.0.0.1:5001", false);
}

static void certificate_and_key_come_in_pairs(void **state)
{
	struct place *p = *state;
	struct endpoint e = {0};

	testing_write(p->fd, "client.cert", "CERT");
	refuse(p, "missing key client.key for client certificate client.cert. CA certificates must "
	          "use the extension .crt");
	testing_write(p->fd, "client.key", "KEY");
	assert_int_equal(endpoint_find(&p->store, "127.0.0.1:5000", &e, NULL), 0);
	assert_string_equal(e.cert_pem, "CERT");
	assert_string_equal(e.key_pem, "KEY");
	endpoint_done(&e);
	testing_write(p->fd, "other.key", "KEY");
	refuse(p, "missing client certificate other.cert for key other.key");
	testing_write(p->fd, "other.cert", "CERT");
	refuse(p, "more than one client certificate");
}

TESTING_MAIN(TEST(the_loopback_is_an_address_not_a_name_that_begins_like_one),
             TEST(an_entry_names_a_host_or_a_subnet),
             TEST(tls_is_for_all_but_the_loopback_and_what_was_named),
             TEST(a_host_is_no_path_and_no_user), TEST(mirrors_are_of_one_registry),
             TEST_WITH(a_ca_makes_even_the_loopback_verified, make, drop),
             TEST_WITH(certificate_and_key_come_in_pairs, make, drop))
