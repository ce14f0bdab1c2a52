/* SPDX-License-Identifier: Apache-2.0 */
#include "oci/image.h"

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/testing.h"
#include "oci/digest.h"

#define A "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

#define CONFIG_PART "\"config\":{\"mediaType\":\"" OCI_CONFIG "\",\"digest\":\"" A "\",\"size\":7}"
#define LAYERS_PART                                                                                \
	"\"layers\":[{\"mediaType\":\"" OCI_LAYER_GZIP "\",\"digest\":\"" B "\",\"size\":9}]"
#define LIST_PART                                                                                  \
	"\"manifests\":[{\"mediaType\":\"" OCI_MANIFEST "\",\"digest\":\"" A "\",\"size\":7}]"
#define TYPED(type) "\"mediaType\":\"" type "\","
#define MANIFEST(x) "{\"schemaVersion\":2," x CONFIG_PART "," LAYERS_PART "}"
#define INDEX(x)    "{\"schemaVersion\":2," x LIST_PART "}"
#define CONFUSED(x) "{\"schemaVersion\":2," x CONFIG_PART "," LAYERS_PART "," LIST_PART "}"

static void no_document_can_be_taken_for_two_kinds(void **state)
{
	enum {
		BAD = -1
	};
	static const struct {
		const char *text, *type;
		int kind;
	} cases[] = {
		/* no type, vague types: the document decides */
		{MANIFEST(""), NULL, OCI_KIND_MANIFEST},
		{INDEX(""), NULL, OCI_KIND_INDEX},
		{MANIFEST(TYPED(OCI_MANIFEST)), "application/json", OCI_KIND_MANIFEST},
		{INDEX(TYPED(DOCKER_LIST)), "text/plain; charset=utf-8", OCI_KIND_INDEX},
		/* both agree */
		{MANIFEST(TYPED(OCI_MANIFEST)), OCI_MANIFEST, OCI_KIND_MANIFEST},
		{MANIFEST(TYPED(DOCKER_MANIFEST)), DOCKER_MANIFEST, OCI_KIND_MANIFEST},
		{INDEX(TYPED(OCI_INDEX)), OCI_INDEX, OCI_KIND_INDEX},
		{INDEX(TYPED(DOCKER_LIST)), DOCKER_LIST, OCI_KIND_INDEX},
		{MANIFEST(""), OCI_MANIFEST " ; charset=utf-8", OCI_KIND_MANIFEST},
		{MANIFEST(""), DOCKER_MANIFEST, OCI_KIND_MANIFEST},
		{INDEX(""), OCI_INDEX, OCI_KIND_INDEX},
		/* the type that came with it says otherwise */
		{MANIFEST(""), OCI_INDEX, BAD},
		{MANIFEST(TYPED(OCI_MANIFEST)), OCI_INDEX, BAD},
		{MANIFEST(TYPED(OCI_MANIFEST)), DOCKER_MANIFEST, BAD},
		{INDEX(""), OCI_MANIFEST, BAD},
		{INDEX(TYPED(OCI_INDEX)), DOCKER_LIST, BAD},
		{MANIFEST(""), "image/png", BAD},
		{MANIFEST(""), OCI_CONFIG, BAD},
		/* its own mediaType says otherwise */
		{MANIFEST(TYPED(OCI_INDEX)), NULL, BAD},
		{INDEX(TYPED(OCI_MANIFEST)), NULL, BAD},
		{INDEX(TYPED(OCI_MANIFEST)), OCI_MANIFEST, BAD},
		{MANIFEST(TYPED("image/png")), NULL, BAD},
		{MANIFEST("\"mediaType\":7,"), NULL, BAD},
		/* both at once, whatever it says */
		{CONFUSED(""), NULL, BAD},
		{CONFUSED(TYPED(OCI_MANIFEST)), OCI_MANIFEST, BAD},
		{CONFUSED(TYPED(OCI_INDEX)), OCI_INDEX, BAD},
		{"{\"schemaVersion\":2," CONFIG_PART "," LIST_PART "}", OCI_INDEX, BAD},
		/* twice the same key, another schema, nothing at all */
		{"{\"schemaVersion\":2," LAYERS_PART "," LAYERS_PART "}", NULL, BAD},
		{"{\"schemaVersion\":1,\"fsLayers\":[]}", NULL, BAD},
		{"{\"schemaVersion\":2}", OCI_MANIFEST, BAD},
		{"{}", NULL, BAD},
		{"[]", NULL, BAD},
		{"", NULL, BAD},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		enum oci_kind kind = OCI_KIND_MANIFEST;
		struct err err = ERR_INIT;
		int rc = oci_kind_of(cases[i].text, strlen(cases[i].text), cases[i].type, &kind,
		                     &err);

		if ((rc < 0) != (cases[i].kind == BAD) || (rc == 0 && (int)kind != cases[i].kind))
			fail_msg("case %zu as %s: %s", i, cases[i].type ? cases[i].type : "-",
			         rc < 0 ? err.msg : "taken");
	}
}

static void a_manifest_is_parsed(void **state)
{
	auto_arena struct arena arena = ARENA_INIT(1 << 20);
	static const char text[] = MANIFEST(TYPED(OCI_MANIFEST) "\"annotations\":{\"k\":\"v\"},");
	struct oci_manifest m = {0};
	struct err err = ERR_INIT;

	(void)state;
	if (oci_manifest_parse(text, strlen(text), &arena, &m, &err) < 0)
		fail_msg("%s", err.msg);
	assert_string_equal(m.config.digest, A);
	assert_int_equal(m.config.size, 7);
	assert_int_equal(m.layers.count, 1);
	const struct oci_descriptor *layer = m.layers.items;
	assert_string_equal(layer->digest, B);
	assert_string_equal(layer->media_type, OCI_LAYER_GZIP);
	assert_string_equal(m.annotations.items[0].value, "v");
}

static void a_manifest_is_written_as_it_was_read(void **state)
{
	auto_arena struct arena arena = ARENA_INIT(1 << 20);
	static const char text[] = MANIFEST(TYPED(OCI_MANIFEST));
	auto_buf struct buf out = BUF_INIT(10000);
	struct oci_manifest m = {0};

	(void)state;
	assert_int_equal(oci_manifest_parse(text, strlen(text), &arena, &m, NULL), 0);
	assert_int_equal(json_encode_text(&oci_manifest_table, &m, &out, NULL), 0);
	assert_string_equal(buf_str(&out), text);
}

static void bad_manifests_are_refused(void **state)
{
	static const char *const bad[] = {
		INDEX(""),
		"{\"schemaVersion\":3," CONFIG_PART "," LAYERS_PART "}",
		"{\"schemaVersion\":2," CONFIG_PART "}",
		"{\"schemaVersion\":2," LAYERS_PART "}",
		"{\"schemaVersion\":2," CONFIG_PART ",\"layers\":[{\"mediaType\":\"x\",\"digest\":"
		"\"sha256:../../x\",\"size\":1}]}",
		"{\"schemaVersion\":2," CONFIG_PART
		",\"layers\":[{\"mediaType\":\"x\",\"digest\":\"" B "\",\"size\":-1}]}",
		"{\"schemaVersion\":2," CONFIG_PART ",\"layers\":[{\"digest\":\"" B
		"\",\"size\":1}]}",
		"{\"schemaVersion\":2," CONFIG_PART ",\"layers\":[7]}",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		auto_arena struct arena arena = ARENA_INIT(1 << 20);
		struct oci_manifest m = {.schema_version = 42};
		struct err err = ERR_INIT;

		if (oci_manifest_parse(bad[i], strlen(bad[i]), &arena, &m, &err) == 0)
			fail_msg("taken: %s", bad[i]);
		assert_int_equal(err.kind, ERR_INVALID);
		assert_int_equal(m.schema_version, 42);
	}
}

static void too_many_layers_are_refused(void **state)
{
	(void)state;
	for (int count = OCI_LAYERS_MAX; count <= OCI_LAYERS_MAX + 1; count++) {
		auto_arena struct arena arena = ARENA_INIT(1 << 20);
		auto_buf struct buf text = BUF_INIT(1 << 20);
		struct oci_manifest m = {0};
		struct err err = ERR_INIT;

		buf_add(&text, "{\"schemaVersion\":2," CONFIG_PART ",\"layers\":[");
		for (int i = 0; i < count; i++)
			buf_addf(&text, "%s{\"mediaType\":\"x\",\"digest\":\"" B "\",\"size\":1}",
			         i ? "," : "");
		buf_add(&text, "]}");
		int rc = oci_manifest_parse(text.data, text.len, &arena, &m, &err);
		assert_int_equal(rc, count > OCI_LAYERS_MAX ? -1 : 0);
		if (rc < 0)
			assert_int_equal(err.kind, ERR_LIMIT);
	}
}

#define ENTRY(digest, platform)                                                                    \
	"{\"mediaType\":\"" OCI_MANIFEST "\",\"digest\":\"" digest "\",\"size\":1" platform "}"
#define ON(os, arch, more) ",\"platform\":{\"os\":\"" os "\",\"architecture\":\"" arch "\"" more "}"
#define C                  "sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"
#define D                  "sha256:dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"

static void an_index_is_searched_by_platform(void **state)
{
	auto_arena struct arena arena = ARENA_INIT(1 << 20);
	static const char text[] =
		"{\"schemaVersion\":2,\"manifests\":[" ENTRY(B, ON("unknown", "unknown", "")) "," ENTRY(
			A,
			ON("linux", "amd64",
	                   "")) "," ENTRY(C,
	                                  ON("linux", "arm",
	                                     ",\"variant\":\"v7\"")) "," ENTRY(D,
	                                                                       ON("linux", "arm64",
	                                                                          ",\"variant\":\"v8\"")) "]}";
	static const struct {
		const char *platform, *digest;
	} cases[] = {
		{"linux/amd64", A},    {"linux/x86_64", A},    {"amd64", A},
		{"linux/arm/v7", C},   {"linux/arm", C},       {"linux/arm64", D},
		{"linux/arm64/v8", D}, {"linux/arm/v6", NULL}, {"windows/amd64", NULL},
		{"linux/", NULL},      {"/amd64", NULL},       {"a/b/c/d", NULL},
	};
	struct oci_index index = {0};
	struct err err = ERR_INIT;

	(void)state;
	if (oci_index_parse(text, strlen(text), &arena, &index, &err) < 0)
		fail_msg("%s", err.msg);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct oci_descriptor *d = oci_index_select(&index, cases[i].platform, &err);

		if (!cases[i].digest)
			assert_null(d);
		else
			assert_string_equal(d ? d->digest : err.msg, cases[i].digest);
	}
	assert_null(oci_index_select(&index, "linux/s390x", &err));
	assert_int_equal(err.kind, ERR_NOT_FOUND);
	assert_string_equal(err.msg,
	                    "no image for linux/s390x: there is linux/amd64, linux/arm/v7, "
	                    "linux/arm64/v8");
}

static void a_config_is_parsed(void **state)
{
	auto_arena struct arena arena = ARENA_INIT(1 << 20);
	static const char text[] =
		"{\"created\":\"2026-01-02T03:04:05Z\",\"architecture\":\"amd64\",\"os\":\"linux\","
		"\"config\":{\"User\":\"www\",\"ExposedPorts\":{\"80/tcp\":{}},\"Env\":[\"A=b\"],"
		"\"Entrypoint\":null,\"Cmd\":[\"sh\"],\"Volumes\":null,\"WorkingDir\":\"/w\","
		"\"Labels\":{\"l\":\"1\"},\"Healthcheck\":{\"Test\":[\"NONE\"],\"Interval\":5},"
		"\"Hostname\":\"\"},\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"" A "\"]},"
		"\"history\":[{\"created_by\":\"x\"},{\"empty_layer\":true}],\"os.features\":[]}";
	struct oci_config c = {0};
	struct err err = ERR_INIT;

	(void)state;
	if (oci_config_parse(text, strlen(text), &arena, &c, &err) < 0)
		fail_msg("%s", err.msg);
	assert_string_equal(c.config.user, "www");
	assert_non_null(json_get(c.config.exposed_ports, "80/tcp"));
	assert_false(c.config.entrypoint.present);
	assert_string_equal(c.config.cmd.items[0], "sh");
	assert_int_equal(c.config.healthcheck->interval, 5);
	assert_string_equal(c.rootfs.diff_ids.items[0], A);
	assert_true(((struct oci_history *)c.history.items)[1].empty_layer);
}

static void bad_configs_are_refused(void **state)
{
#define ROOT "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[]}"
	static const char *const bad[] = {
		"{}",
		"{\"rootfs\":{\"type\":\"other\",\"diff_ids\":[]}}",
		"{\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"sha256:..\"]}}",
		"{\"config\":{\"Env\":\"A=b\"}," ROOT "}",
		"{\"config\":{\"Volumes\":[]}," ROOT "}",
		"{\"config\":{\"ExposedPorts\":7}," ROOT "}",
		"{\"config\":{\"Healthcheck\":{\"Retries\":-1}}," ROOT "}",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		auto_arena struct arena arena = ARENA_INIT(1 << 20);
		struct oci_config c = {0};
		struct err err = ERR_INIT;

		if (oci_config_parse(bad[i], strlen(bad[i]), &arena, &c, &err) == 0)
			fail_msg("taken: %s", bad[i]);
		assert_int_equal(err.kind, ERR_INVALID);
	}
}

static void chain_ids_follow_the_specification(void **state)
{
	char *ids[] = {(char *)A, (char *)B, NULL};
	struct json_strings list = {.items = ids, .count = 2, .present = true};
	char chain[72], expected[DIGEST_TEXT_MAX];

	(void)state;
	assert_string_equal(oci_chain_id(&list, 0, chain), "");
	assert_string_equal(oci_chain_id(&list, 1, chain), A);
	digest_of(A " " B, strlen(A " " B), expected);
	assert_string_equal(oci_chain_id(&list, 2, chain), expected);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(no_document_can_be_taken_for_two_kinds),
		TEST(a_manifest_is_parsed),
		TEST(a_manifest_is_written_as_it_was_read),
		TEST(bad_manifests_are_refused),
		TEST(too_many_layers_are_refused),
		TEST(an_index_is_searched_by_platform),
		TEST(a_config_is_parsed),
		TEST(bad_configs_are_refused),
		TEST(chain_ids_follow_the_specification),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
