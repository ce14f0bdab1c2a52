/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/compose.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "base/testing.h"
#include "cli/json_testing.h"

/* A file with this text, in a directory of its own that the test leaves. */
struct desk {
	char dir[64], path[2][96];
	struct json *ignored;
	struct err err;
};

static void desk_init(struct desk *d)
{
	*d = (struct desk){.ignored = json_array(), .err = ERR_INIT};
	snprintf(d->dir, sizeof(d->dir), "/tmp/buoy-compose-XXXXXX");
	assert_non_null(mkdtemp(d->dir));
	for (int i = 0; i < 2; i++)
		snprintf(d->path[i], sizeof(d->path[i]), "%s/%d.yaml", d->dir, i);
}

static void desk_done(struct desk *d)
{
	for (int i = 0; i < 2; i++)
		unlink(d->path[i]);
	rmdir(d->dir);
	json_free(d->ignored);
}

static void put(const struct desk *d, int i, const char *text)
{
	FILE *f = fopen(d->path[i], "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

/* The stack "s" of the first `count` files; NULL with d->err. */
static struct json *read_files(struct desk *d, size_t count)
{
	const char *const paths[] = {d->path[0], d->path[1]};
	struct compose file = {0};
	struct json *stack = NULL;

	d->err = ERR_INIT;
	if (compose_load(paths, count, &file, &d->err) == 0)
		stack = compose_stack(&file, "s", d->ignored, &d->err);
	compose_done(&file);
	return stack;
}

static struct json *read_text(struct desk *d, const char *text)
{
	put(d, 0, text);
	return read_files(d, 1);
}

#define CONTAINER "Services.0.TaskTemplate.ContainerSpec."

static void a_service_becomes_a_spec(void **state)
{
	struct desk d;

	(void)state;
	desk_init(&d);
	auto_type(json) stack = read_text(
		&d,
		"services:\n"
		"  web:\n"
		"    image: x\n"
		"    command: sh -c 'a b'\n"
		"    entrypoint: [run, '5']\n"
		"    environment: {B: 2, A: one}\n"
		"    extra_hosts: ['db:10.0.0.1']\n"
		"    stop_grace_period: 1m30s\n"
		"    healthcheck: {test: curl x, interval: 2s, retries: 3}\n"
		"    ulimits: {nproc: 5, nofile: {soft: 1, hard: 2}}\n"
		"    volumes: ['data:/d:ro', './here:/h', '/anon', {type: tmpfs, target: /t, tmpfs: {size: 1M}}]\n"
		"    ports: ['80:8080/udp', 9000, {target: 1, published: 2, mode: host}]\n"
		"    secrets: [key, {source: other, target: /k, mode: 0o400}]\n"
		"    deploy:\n"
		"      replicas: 3\n"
		"      resources: {limits: {cpus: '0.5', memory: 64M}}\n"
		"      restart_policy: {condition: on-failure, delay: 1s}\n"
		"      placement: {constraints: [a==b], preferences: [{spread: node.labels.r}]}\n"
		"      update_config: {delay: 3s, order: start-first, max_failure_ratio: 0.25}\n"
		"volumes: {data: {driver: local, labels: [a=b]}}\n"
		"secrets: {key: {file: k.txt}, other: {external: true}}\n");
	if (!stack)
		fail_msg("%s", d.err.msg);
	assert_at(stack, "Services.0.Name", "\"s_web\"");
	assert_at(stack, "Services.0.Labels",
	          "{\"com.docker.stack.namespace\":\"s\",\"com.docker.stack.image\":\"x\"}");
	assert_at(stack, CONTAINER "Args", "[\"sh\",\"-c\",\"a b\"]");
	assert_at(stack, CONTAINER "Command", "[\"run\",\"5\"]");
	assert_at(stack, CONTAINER "Env", "[\"A=one\",\"B=2\"]");
	assert_at(stack, CONTAINER "Hosts", "[\"10.0.0.1 db\"]");
	assert_at(stack, CONTAINER "StopGracePeriod", "90000000000");
	assert_at(stack, CONTAINER "Healthcheck",
	          "{\"Interval\":2000000000,\"Retries\":3,\"Test\":[\"CMD-SHELL\",\"curl x\"]}");
	assert_at(stack, CONTAINER "Ulimits",
	          "[{\"Name\":\"nproc\",\"Soft\":5,\"Hard\":5},{\"Name\":\"nofile\",\"Soft\":1,"
	          "\"Hard\":2}]");
	assert_at(
		stack, CONTAINER "Mounts.0",
		"{\"Type\":\"volume\",\"Target\":\"/d\",\"ReadOnly\":true,\"Source\":\"s_data\","
		"\"VolumeOptions\":{\"Labels\":{\"a\":\"b\",\"com.docker.stack.namespace\":\"s\"},"
		"\"DriverConfig\":{\"Name\":\"local\"}}}");
	char bind[160];
	snprintf(bind, sizeof(bind), "{\"Type\":\"bind\",\"Target\":\"/h\",\"Source\":\"%s/here\"}",
	         d.dir);
	assert_at(stack, CONTAINER "Mounts.1", bind);
	assert_at(stack, CONTAINER "Mounts.2", "{\"Type\":\"volume\",\"Target\":\"/anon\"}");
	assert_at(
		stack, CONTAINER "Mounts.3",
		"{\"Type\":\"tmpfs\",\"Target\":\"/t\",\"TmpfsOptions\":{\"SizeBytes\":1048576}}");
	assert_at(stack, CONTAINER "Secrets.1",
	          "{\"File\":{\"Name\":\"/k\",\"UID\":\"0\",\"GID\":\"0\",\"Mode\":256},"
	          "\"SecretName\":\"other\"}");
	assert_at(stack, "Services.0.EndpointSpec.Ports.2",
	          "{\"Protocol\":\"tcp\",\"PublishMode\":\"host\",\"TargetPort\":1,"
	          "\"PublishedPort\":2}");
	assert_at(stack, "Services.0.TaskTemplate.Resources.Limits",
	          "{\"NanoCPUs\":500000000,\"MemoryBytes\":67108864}");
	assert_at(stack, "Services.0.UpdateConfig",
	          "{\"Parallelism\":1,\"Delay\":3000000000,\"Order\":\"start-first\","
	          "\"MaxFailureRatio\":0.25}");
	assert_at(stack, "Services.0.TaskTemplate.Networks",
	          "[{\"Target\":\"s_default\",\"Aliases\":[\"web\"]}]");
	assert_at(stack, "Networks",
	          "[{\"Name\":\"s_default\",\"External\":false,\"Driver\":\"overlay\",\"Labels\":{"
	          "\"com.docker.stack.namespace\":\"s\"}}]");
	assert_at(stack, "Secrets.1", "{\"Name\":\"other\",\"External\":true}");
	desk_done(&d);
}

static void variables_are_filled_in_and_typed_afterwards(void **state)
{
	struct desk d;

	(void)state;
	desk_init(&d);
	setenv("BUOY_TEST_N", "4", 1);
	setenv("BUOY_TEST_EMPTY", "", 1);
	unsetenv("BUOY_TEST_NONE");
	auto_type(json) stack = read_text(
		&d,
		"services:\n"
		"  web:\n"
		"    image: x:${BUOY_TEST_NONE:-1${BUOY_TEST_N}}\n"
		"    hostname: $$$BUOY_TEST_N\n"
		"    user: a${BUOY_TEST_EMPTY-b}${BUOY_TEST_EMPTY:-c}${BUOY_TEST_N:+d}${BUOY_TEST_NONE+e}\n"
		"    deploy: {replicas: '${BUOY_TEST_N}'}\n");
	if (!stack)
		fail_msg("%s", d.err.msg);
	assert_at(stack, CONTAINER "Image", "\"x:14\"");
	assert_at(stack, CONTAINER "Hostname", "\"$4\"");
	assert_at(stack, CONTAINER "User", "\"acd\"");
	assert_at(stack, "Services.0.Mode.Replicated.Replicas", "4");
	assert_null(read_text(&d, "services: {web: {image: '${BUOY_TEST_NONE:?say which}'}}"));
	assert_non_null(strstr(d.err.msg, "variable BUOY_TEST_NONE must be set: say which"));
	assert_null(read_text(&d, "services: {web: {image: '${BUOY'}}"));
	assert_non_null(strstr(d.err.msg, "not closed"));
	desk_done(&d);
}

static void a_second_file_lies_over_the_first(void **state)
{
	struct desk d;

	(void)state;
	desk_init(&d);
	put(&d, 0,
	    "services: {web: {image: x, command: [a, b], cap_add: [A], environment: {K: 1, L: 2}}}");
	put(&d, 1,
	    "services: {web: {command: [c], cap_add: [A, B], environment: {L: 3}}, db: {image: y}}");
	auto_type(json) stack = read_files(&d, 2);
	if (!stack)
		fail_msg("%s", d.err.msg);
	assert_at(stack, CONTAINER "Args", "[\"c\"]");
	assert_at(stack, CONTAINER "CapabilityAdd", "[\"A\",\"B\"]");
	assert_at(stack, CONTAINER "Env", "[\"K=1\",\"L=3\"]");
	assert_at(stack, "Services.1.Name", "\"s_db\"");
	desk_done(&d);
}

static void assert_refused(struct desk *d, const char *text, const char *why)
{
	auto_type(json) stack = read_text(d, text);

	if (stack)
		fail_msg("taken: %s", text);
	if (!strstr(d->err.msg, why))
		fail_msg("%s: %s", text, d->err.msg);
}

static void faults_are_named_by_their_place(void **state)
{
	struct desk d;

	(void)state;
	desk_init(&d);
	assert_refused(&d, "[]", "must be a mapping");
	assert_refused(&d, "services: {}", "there are none");
	assert_refused(&d, "service: {}", "service: no such key");
	assert_refused(&d, "services: {web: {}}", "services.web: image is missing");
	assert_refused(&d, "services: {web: {image: x, privilegd: 1}}",
	               "services.web: privilegd: no such key");
	assert_refused(&d, "services: {web: {image: x, deploy: {replicas: many}}}",
	               "services.web: deploy: replicas: ");
	assert_refused(&d, "services: {web: {image: x, deploy: {mode: global, replicas: 2}}}",
	               "replicas can only be used with replicated mode");
	assert_refused(&d, "services: {web: {image: x, networks: [n]}}",
	               "networks.n is not in the file");
	assert_refused(&d, "services: {web: {image: x, secrets: [k]}}",
	               "secrets.k is not in the file");
	assert_refused(&d, "services: {web: {image: x, volumes: ['v:/v']}}",
	               "volumes.v is not in the file");
	assert_refused(&d, "services: {web: {image: x, healthcheck: {interval: soon}}}",
	               "healthcheck: interval: ");
	assert_refused(&d, "services: {web: {image: x}}\nsecrets: {k: {}}",
	               "secrets.k: needs one of file");
	desk_done(&d);
}

static void what_a_cluster_does_not_do_is_named(void **state)
{
	struct desk d;

	(void)state;
	desk_init(&d);
	auto_type(json) stack = read_text(
		&d,
		"services: {web: {image: x, build: ., links: [db], x-own: 1, restart: 'on-failure:3'}}");
	if (!stack)
		fail_msg("%s", d.err.msg);
	assert_at(d.ignored, "", "[\"build\",\"links\"]");
	assert_at(stack, "Services.0.TaskTemplate.RestartPolicy",
	          "{\"Condition\":\"on-failure\",\"MaxAttempts\":3}");
	desk_done(&d);
}

TESTING_MAIN(TEST(a_service_becomes_a_spec), TEST(variables_are_filled_in_and_typed_afterwards),
             TEST(a_second_file_lies_over_the_first), TEST(faults_are_named_by_their_place),
             TEST(what_a_cluster_does_not_do_is_named))
