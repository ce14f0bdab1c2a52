/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/spec.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/testing.h"

/* Compares a document with its compact text. */
static void expect_json(const struct json *doc, const char *expected)
{
	auto_buf struct buf text = BUF_INIT(1u << 16);

	assert_int_equal(json_write(doc, &text, NULL), 0);
	assert_string_equal(buf_str(&text), expected);
}

static void expect_port(const char *text, const char *expected)
{
	auto_type(json) exposed = json_object();
	auto_type(json) bindings = json_object();

	assert_int_equal(spec_port(text, exposed, bindings, NULL), 0);
	expect_json(bindings, expected);
	assert_int_equal(json_count(exposed), json_count(bindings));
}

static void ports_are_taken_apart(void **state)
{
	(void)state;
	expect_port("80", "{\"80/tcp\":[{\"HostIp\":\"\",\"HostPort\":\"\"}]}");
	expect_port("8080:80", "{\"80/tcp\":[{\"HostIp\":\"\",\"HostPort\":\"8080\"}]}");
	expect_port("127.0.0.1:53:53/udp",
	            "{\"53/udp\":[{\"HostIp\":\"127.0.0.1\",\"HostPort\":\"53\"}]}");
	expect_port("127.0.0.1::80", "{\"80/tcp\":[{\"HostIp\":\"127.0.0.1\",\"HostPort\":\"\"}]}");
	expect_port("[::1]:81:80", "{\"80/tcp\":[{\"HostIp\":\"::1\",\"HostPort\":\"81\"}]}");
	expect_port("8000-8001:80-81", "{\"80/tcp\":[{\"HostIp\":\"\",\"HostPort\":\"8000\"}],\"81/"
	                               "tcp\":[{\"HostIp\":\"\",\"HostPort\":\"8001\"}]}");
	expect_port("8000-8009:80", "{\"80/tcp\":[{\"HostIp\":\"\",\"HostPort\":\"8000-8009\"}]}");
}

static void bad_ports_are_refused(void **state)
{
	static const char *const bad[] = {"",        "x",          "80:",     "80/xtp",
	                                  "70000",   "80:0",       "1-3:1-2", "3-1:80",
	                                  ":80:80:", "80/tcp/udp", "-80",     "80: 80"};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct err err = ERR_INIT;
		auto_type(json) exposed = json_object();
		auto_type(json) bindings = json_object();
		if (spec_port(bad[i], exposed, bindings, &err) == 0)
			fail_msg("%s was taken", bad[i]);
		assert_int_equal(err.kind, ERR_INVALID);
	}
}

static void a_service_port_has_a_short_and_a_long_form(void **state)
{
	auto_type(json) list = json_array();
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(spec_service_port("8080:5000", list, NULL), 0);
	assert_int_equal(
		spec_service_port("target=53,published=54,protocol=udp,mode=host", list, NULL), 0);
	expect_json(list, "[{\"Protocol\":\"tcp\",\"TargetPort\":5000,\"PublishedPort\":8080,"
	                  "\"PublishMode\":\"ingress\"},{\"Protocol\":\"udp\",\"TargetPort\":53,"
	                  "\"PublishedPort\":54,\"PublishMode\":\"host\"}]");
	assert_int_equal(spec_service_port("127.0.0.1:1:2", list, &err), -1);
	assert_int_equal(spec_service_port("published=80", list, &err), -1);
	assert_int_equal(spec_service_port("target=80,colour=red", list, &err), -1);
}

static void volumes_are_binds_or_anonymous(void **state)
{
	auto_type(json) binds = json_array();
	auto_type(json) volumes = json_object();

	(void)state;
	assert_int_equal(spec_volume("data:/data", binds, volumes, NULL), 0);
	assert_int_equal(spec_volume("/etc:/host:ro", binds, volumes, NULL), 0);
	assert_int_equal(spec_volume("/scratch", binds, volumes, NULL), 0);
	expect_json(binds, "[\"data:/data\",\"/etc:/host:ro\"]");
	expect_json(volumes, "{\"/scratch\":{}}");
	assert_int_equal(spec_volume("data:relative", binds, volumes, NULL), -1);
	assert_int_equal(spec_volume("data", binds, volumes, NULL), -1);
	assert_int_equal(spec_volume(":/x", binds, volumes, NULL), -1);
}

static void a_relative_source_is_resolved_here(void **state)
{
	auto_type(json) binds = json_array();
	auto_type(json) volumes = json_object();
	auto_free char *here = getcwd(NULL, 0);
	char expected[8192];

	(void)state;
	assert_int_equal(spec_volume("./x:/y", binds, volumes, NULL), 0);
	snprintf(expected, sizeof(expected), "%s/./x:/y", here);
	assert_string_equal(json_str(json_at(binds, 0)), expected);
}

static void mounts_are_taken_apart(void **state)
{
	struct err err = ERR_INIT;

	(void)state;
	auto_type(json) bind = spec_mount("type=bind,source=/a,target=/b,readonly", NULL);
	expect_json(bind,
	            "{\"Type\":\"bind\",\"Source\":\"/a\",\"Target\":\"/b\",\"ReadOnly\":true}");
	auto_type(json) tmpfs = spec_mount("type=tmpfs,dst=/t,tmpfs-size=1m", NULL);
	expect_json(tmpfs, "{\"Type\":\"tmpfs\",\"Target\":\"/t\",\"TmpfsOptions\":{\"SizeBytes\":"
	                   "1048576}}");
	assert_null(spec_mount("type=bind,source=/a", &err));
	assert_null(spec_mount("target=/b,colour=red", &err));
	assert_non_null(strstr(err.msg, "colour"));
}

static void variables_come_from_here_when_they_have_no_value(void **state)
{
	auto_type(json) list = json_array();

	(void)state;
	setenv("BUOY_TEST_VARIABLE", "here", 1);
	unsetenv("BUOY_TEST_ABSENT");
	assert_int_equal(spec_env("A=b=c", list, NULL), 0);
	assert_int_equal(spec_env("BUOY_TEST_VARIABLE", list, NULL), 0);
	assert_int_equal(spec_env("BUOY_TEST_ABSENT", list, NULL), 0);
	expect_json(list, "[\"A=b=c\",\"BUOY_TEST_VARIABLE=here\"]");
	assert_int_equal(spec_env("=x", list, NULL), -1);
}

static void limits_and_policies_are_read(void **state)
{
	int64_t nano = 0;

	(void)state;
	auto_type(json) limit = spec_ulimit("nofile=1024:2048", NULL);
	expect_json(limit, "{\"Name\":\"nofile\",\"Soft\":1024,\"Hard\":2048}");
	auto_type(json) same = spec_ulimit("core=0", NULL);
	expect_json(same, "{\"Name\":\"core\",\"Soft\":0,\"Hard\":0}");
	assert_null(spec_ulimit("nofile", NULL));
	assert_null(spec_ulimit("nofile=x", NULL));
	auto_type(json) policy = spec_restart("on-failure:3", NULL);
	expect_json(policy, "{\"Name\":\"on-failure\",\"MaximumRetryCount\":3}");
	assert_null(spec_restart("always:3", NULL));
	assert_int_equal(spec_cpus("1.5", &nano, NULL), 0);
	assert_int_equal(nano, 1500000000);
	assert_int_equal(spec_cpus("0", &nano, NULL), -1);
	assert_int_equal(spec_cpus("two", &nano, NULL), -1);
}

TESTING_MAIN(TEST(ports_are_taken_apart), TEST(bad_ports_are_refused),
             TEST(a_service_port_has_a_short_and_a_long_form), TEST(volumes_are_binds_or_anonymous),
             TEST(a_relative_source_is_resolved_here), TEST(mounts_are_taken_apart),
             TEST(variables_come_from_here_when_they_have_no_value),
             TEST(limits_and_policies_are_read))
