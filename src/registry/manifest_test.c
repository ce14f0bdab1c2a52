/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/manifest.h"

#include "base/err.h"
#include "base/testing.h"
#include "oci/image.h"

#define HEX          "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define DIGEST       "sha256:" HEX
#define WIDE         "sha512:" HEX HEX
#define DESC(digest) "{\"mediaType\":\"a/b\",\"digest\":\"" digest "\",\"size\":2}"

static int parse(const char *text, const char *type, struct manifest *m)
{
	struct err err = ERR_INIT;
	int rc = manifest_parse(text, strlen(text), type, m, &err);

	assert_true(rc == 0 || err.kind == ERR_INVALID);
	return rc;
}

static void refused(const char *text, const char *type)
{
	struct manifest m;

	assert_int_equal(parse(text, type, &m), -1);
}

static int count(void *arg, enum manifest_part part, const char *digest)
{
	int *counts = arg;

	assert_true(digest_any_ok(digest));
	counts[part]++;
	return 0;
}

static void parts_and_subject_are_found(void **state)
{
	struct manifest m;
	int counts[2] = {0};

	(void)state;
	assert_int_equal(
		parse("{\"schemaVersion\":2,\"config\":" DESC(DIGEST) ",\"layers\":[" DESC(
			      WIDE) ","
	                            "{\"mediaType\":\"application/vnd.oci.image.layer.nondistributable.v1.tar\","
	                            "\"digest\":\"" DIGEST
	                            "\",\"size\":1,\"urls\":[\"https://x\"]}],"
	                            "\"subject\":" DESC(WIDE) "}",
	              OCI_MANIFEST, &m),
		0);
	assert_string_equal(m.subject, WIDE);
	assert_string_equal(m.artifact_type, "a/b"); /* the config's, when there is none */
	assert_string_equal(m.type, OCI_MANIFEST);
	assert_int_equal(manifest_each(&m, count, counts), 0);
	assert_int_equal(counts[MANIFEST_BLOB], 2); /* without the layer that lies elsewhere */
	assert_int_equal(counts[MANIFEST_MANIFEST], 0);
	manifest_done(&m);
}

static void an_index_lists_manifests(void **state)
{
	struct manifest m;
	int counts[2] = {0};

	(void)state;
	assert_int_equal(parse("{\"schemaVersion\":2,\"mediaType\":\"" OCI_INDEX
	                       "\",\"manifests\":[" DESC(DIGEST) "]}",
	                       OCI_INDEX "; charset=utf-8", &m),
	                 0);
	assert_true(m.is_index);
	assert_null(m.artifact_type);
	assert_int_equal(manifest_each(&m, count, counts), 0);
	assert_int_equal(counts[MANIFEST_MANIFEST], 1);
	manifest_done(&m);
}

static void one_digest_has_one_meaning(void **state)
{
	(void)state;
	refused("{\"schemaVersion\":2,\"config\":" DESC(DIGEST) ",\"layers\":[],\"manifests\":[]}",
	        OCI_MANIFEST);
	refused("{\"schemaVersion\":2,\"config\":" DESC(DIGEST) ",\"layers\":[]}", OCI_INDEX);
	refused("{\"schemaVersion\":2,\"manifests\":[]}", OCI_MANIFEST);
	refused("{\"schemaVersion\":2,\"mediaType\":\"" OCI_INDEX "\",\"manifests\":[]}",
	        DOCKER_LIST);
}

static void damage_is_refused(void **state)
{
	(void)state;
	refused("", OCI_MANIFEST);
	refused("[]", OCI_MANIFEST);
	refused("{}", NULL);
	refused("{\"schemaVersion\":1,\"config\":" DESC(DIGEST) "}", OCI_MANIFEST);
	refused("{\"schemaVersion\":2,\"config\":" DESC("sha256:abc") "}", OCI_MANIFEST);
	refused("{\"schemaVersion\":2,\"config\":{\"digest\":\"" DIGEST "\"}}", OCI_MANIFEST);
	refused("{\"schemaVersion\":2,\"config\":" DESC(DIGEST) ",\"layers\":{}}", OCI_MANIFEST);
	refused("{\"schemaVersion\":2,\"config\":" DESC(DIGEST) ",\"layers\":[1]}", OCI_MANIFEST);
	refused("{\"schemaVersion\":2,\"config\":" DESC(DIGEST) ",\"subject\":" DESC("../x") "}",
	        OCI_MANIFEST);
}

TESTING_MAIN(TEST(parts_and_subject_are_found), TEST(an_index_lists_manifests),
             TEST(one_digest_has_one_meaning), TEST(damage_is_refused))
