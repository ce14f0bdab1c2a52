/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/service_spec.h"

#include "base/arena.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/json.h"
#include "base/str.h"
#include "base/testing.h"
#include "cli/json_testing.h"

static const struct flag create_flags[] = {SERVICE_CREATE_FLAGS, {NULL}};
static const struct flag update_flags[] = {SERVICE_UPDATE_FLAGS, {NULL}};
static const struct command create = {
	.name = "create", .flags = create_flags, .min = 1, .max = CLI_ARGS_ANY, .passes_on = true};
static const struct command update = {.name = "update", .flags = update_flags, .min = 1, .max = 1};

#define WORDS(...)                                                                                 \
	(const char *const[])                                                                      \
	{                                                                                          \
		__VA_ARGS__, NULL                                                                  \
	}

static int count(const char *const *words)
{
	int n = 0;

	while (words[n])
		n++;
	return n;
}

/* The spec of a command line; or what it complains about, in err. */
static struct json *make(const char *const *words, struct err *err)
{
	auto_arena struct arena arena = ARENA_INIT(1u << 20);
	struct args args;

	assert_int_equal(
		args_parse(&create, count(words), (char *const *)words, &arena, &args, err), 0);
	return service_spec_new(&args, err);
}

static int change(struct json *spec, const char *const *words, struct err *err)
{
	auto_arena struct arena arena = ARENA_INIT(1u << 20);
	struct args args;

	assert_int_equal(
		args_parse(&update, count(words), (char *const *)words, &arena, &args, err), 0);
	return service_spec_apply(&args, spec, err);
}

static void the_image_and_the_words_behind_it_make_a_replicated_service(void **state)
{
	(void)state;
	auto_type(json) spec = make(WORDS("--name", "web", "hello", "serve", "-p", "80"), NULL);

	assert_at(spec, "Name", "\"web\"");
	assert_at(spec, "TaskTemplate.ContainerSpec",
	          "{\"Image\":\"hello\",\"Args\":[\"serve\",\"-p\",\"80\"]}");
	assert_at(spec, "Mode", "{\"Replicated\":{\"Replicas\":1}}");
	assert_at(spec, "EndpointSpec", "{\"Mode\":\"vip\"}");
	assert_at(spec, "UpdateConfig", NULL);
	assert_at(spec, "TaskTemplate.RestartPolicy", NULL);
}

static void a_service_without_a_name_gets_one(void **state)
{
	(void)state;
	auto_type(json) one = make(WORDS("hello"), NULL);
	auto_type(json) two = make(WORDS("hello"), NULL);

	assert_true(strlen(json_get_string(one, "Name")) > 0);
	assert_string_not_equal(json_get_string(one, "Name"), json_get_string(two, "Name"));
}

static void ports_are_written_short_and_long(void **state)
{
	(void)state;
	auto_type(json) spec =
		make(WORDS("-p", "8080:5000", "--publish",
	                   "published=53,target=5353,protocol=udp,mode=host", "hello"),
	             NULL);

	assert_at(spec, "EndpointSpec.Ports",
	          "[{\"Protocol\":\"tcp\",\"TargetPort\":5000,\"PublishedPort\":8080,"
	          "\"PublishMode\":\"ingress\"},"
	          "{\"Protocol\":\"udp\",\"TargetPort\":5353,\"PublishedPort\":53,"
	          "\"PublishMode\":\"host\"}]");
}

static void numbers_become_billionths_bytes_and_nanoseconds(void **state)
{
	(void)state;
	auto_type(json) spec =
		make(WORDS("--limit-cpu", "1.5", "--limit-memory", "64m", "--reserve-memory", "8m",
	                   "--restart-delay", "0s", "--restart-condition", "on-failure",
	                   "--stop-grace-period", "1m", "--health-cmd", "true", "--health-interval",
	                   "2s", "hello"),
	             NULL);

	assert_at(spec, "TaskTemplate.Resources.Limits",
	          "{\"NanoCPUs\":1500000000,\"MemoryBytes\":67108864}");
	assert_at(spec, "TaskTemplate.Resources.Reservations", "{\"MemoryBytes\":8388608}");
	assert_at(spec, "TaskTemplate.RestartPolicy", "{\"Condition\":\"on-failure\",\"Delay\":0}");
	assert_at(spec, "TaskTemplate.ContainerSpec.StopGracePeriod", "60000000000");
	assert_at(spec, "TaskTemplate.ContainerSpec.Healthcheck",
	          "{\"Test\":[\"CMD-SHELL\",\"true\"],\"Interval\":2000000000}");
}

static void an_update_goes_one_task_at_a_time_unless_it_is_said(void **state)
{
	(void)state;
	auto_type(json) one = make(WORDS("--update-delay", "1s", "hello"), NULL);
	auto_type(json) all = make(
		WORDS("--update-parallelism", "0", "--update-order", "start-first", "hello"), NULL);

	assert_at(one, "UpdateConfig", "{\"Parallelism\":1,\"Delay\":1000000000}");
	assert_at(all, "UpdateConfig", "{\"Parallelism\":0,\"Order\":\"start-first\"}");
}

static void global_services_have_no_replicas(void **state)
{
	struct err err = ERR_INIT;

	(void)state;
	auto_type(json) spec = make(WORDS("--mode", "global", "hello"), NULL);
	assert_at(spec, "Mode", "{\"Global\":{}}");
	assert_null(make(WORDS("--mode", "global", "--replicas", "2", "hello"), &err));
	assert_non_null(strstr(err.msg, "replicated"));
	assert_int_equal(service_spec_scale(spec, 3, &err), -1);
}

static void what_makes_no_sense_is_refused_by_the_flag_s_name(void **state)
{
	static const char *const wrong[][2] = {
		{"--restart-condition", "sometimes"},
		{"--update-order", "x"},
		{"--update-max-failure-ratio", "2"},
		{"--limit-memory", "much"},
		{"--mode", "job"},
		{"--update-delay", "soon"},
		{"--update-parallelism", "-1"},
		{"--placement-pref", "rack"},
		{"--endpoint-mode", "dns"},
		{"--replicas", "-1"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		struct err err = ERR_INIT;
		assert_null(make(WORDS(wrong[i][0], wrong[i][1], "hello"), &err));
		assert_int_equal(err.kind, ERR_INVALID);
		assert_non_null(strstr(err.msg, wrong[i][0] + 2));
	}
}

static struct json *existing(void)
{
	static const char text[] =
		"{\"Name\":\"web\",\"Labels\":{\"a\":\"1\",\"b\":\"2\"},\"Future\":{\"x\":1},"
		"\"TaskTemplate\":{\"ContainerSpec\":{\"Image\":\"hello\",\"Isolation\":\"default\","
		"\"Env\":[\"A=1\",\"AB=2\",\"C=3\"]},\"Placement\":{\"Constraints\":[\"node.role=="
		"worker\"]},\"ForceUpdate\":4},\"Mode\":{\"Replicated\":{\"Replicas\":2}},"
		"\"EndpointSpec\":{\"Mode\":\"vip\",\"Ports\":[{\"Protocol\":\"tcp\",\"TargetPort\":"
		"80,\"PublishedPort\":8080,\"PublishMode\":\"ingress\"},{\"Protocol\":\"udp\","
		"\"TargetPort\":80,\"PublishedPort\":8081,\"PublishMode\":\"ingress\"}]}}";

	return json_parse(text, strlen(text), NULL);
}

static void an_update_without_flags_changes_nothing(void **state)
{
	auto_buf struct buf before = BUF_INIT(1u << 16), after = BUF_INIT(1u << 16);

	(void)state;
	auto_type(json) spec = existing();
	json_write(json_get(spec, "Labels"), &before, NULL);
	assert_int_equal(change(spec, WORDS("web"), NULL), 0);
	json_write(json_get(spec, "Labels"), &after, NULL);
	assert_string_equal(buf_str(&before), buf_str(&after));
	assert_at(spec, "Future", "{\"x\":1}");
	assert_at(spec, "TaskTemplate.ForceUpdate", "4");
	assert_at(spec, "TaskTemplate.ContainerSpec.Env", "[\"A=1\",\"AB=2\",\"C=3\"]");
	assert_at(spec, "UpdateConfig", NULL);
}

static void variables_are_added_changed_and_removed_by_their_name(void **state)
{
	(void)state;
	auto_type(json) spec = existing();

	assert_int_equal(
		change(spec, WORDS("--env-rm", "A", "--env-add", "C=4", "--env-add", "D=5", "web"),
	               NULL),
		0);
	assert_at(spec, "TaskTemplate.ContainerSpec.Env", "[\"AB=2\",\"C=4\",\"D=5\"]");
	assert_at(spec, "TaskTemplate.ContainerSpec.Isolation", "\"default\"");
}

static void labels_constraints_and_ports_change_in_pieces(void **state)
{
	(void)state;
	auto_type(json) spec = existing();

	assert_int_equal(change(spec,
	                        WORDS("--label-rm", "a", "--label-add", "c=3", "--constraint-rm",
	                              "node.role==worker", "--constraint-add", "node.hostname==x",
	                              "--publish-rm", "80", "--publish-add", "9000:90", "web"),
	                        NULL),
	                 0);
	assert_at(spec, "Labels", "{\"b\":\"2\",\"c\":\"3\"}");
	assert_at(spec, "TaskTemplate.Placement.Constraints", "[\"node.hostname==x\"]");
	assert_at(spec, "EndpointSpec.Ports",
	          "[{\"Protocol\":\"udp\",\"TargetPort\":80,\"PublishedPort\":8081,"
	          "\"PublishMode\":\"ingress\"},{\"Protocol\":\"tcp\",\"TargetPort\":90,"
	          "\"PublishedPort\":9000,\"PublishMode\":\"ingress\"}]");
}

static void priority_and_rebalance_are_labels(void **state)
{
	(void)state;
	auto_type(json) made = make(WORDS("--priority", "-5", "--label", "a=1", "x"), NULL);
	auto_type(json) spec = existing();

	assert_at(made, "Labels", "{\"a\":\"1\",\"buoy.priority\":\"-5\"}");
	assert_int_equal(change(spec, WORDS("--priority", "7", "--label-rm", "a", "web"), NULL), 0);
	assert_at(spec, "Labels", "{\"b\":\"2\",\"buoy.priority\":\"7\"}");
	assert_int_equal(
		change(spec, WORDS("--label-rm", "buoy.priority", "--rebalance", "web"), NULL), 0);
	assert_at(spec, "Labels", "{\"b\":\"2\",\"buoy.rebalance\":\"true\"}");
	assert_int_equal(change(spec, WORDS("--rebalance=false", "web"), NULL), 0);
	assert_at(spec, "Labels", "{\"b\":\"2\",\"buoy.rebalance\":\"false\"}");
}

static void a_port_published_again_takes_the_place_of_the_old_one(void **state)
{
	(void)state;
	auto_type(json) spec = existing();

	assert_int_equal(change(spec, WORDS("--publish-add", "9000:80", "web"), NULL), 0);
	assert_at(spec, "EndpointSpec.Ports",
	          "[{\"Protocol\":\"udp\",\"TargetPort\":80,\"PublishedPort\":8081,"
	          "\"PublishMode\":\"ingress\"},{\"Protocol\":\"tcp\",\"TargetPort\":80,"
	          "\"PublishedPort\":9000,\"PublishMode\":\"ingress\"}]");
}

static void arguments_are_split_as_a_shell_would(void **state)
{
	struct err err = ERR_INIT;

	(void)state;
	auto_type(json) spec = existing();
	assert_int_equal(
		change(spec, WORDS("--args", "sh -c 'a  b' \"c d\" e\\ f ''", "web"), NULL), 0);
	assert_at(spec, "TaskTemplate.ContainerSpec.Args",
	          "[\"sh\",\"-c\",\"a  b\",\"c d\",\"e f\",\"\"]");
	assert_int_equal(change(spec, WORDS("--args", "a 'b", "web"), &err), -1);
	assert_non_null(strstr(err.msg, "not closed"));
}

static void force_counts_up_and_the_health_check_can_be_taken_away(void **state)
{
	struct err err = ERR_INIT;

	(void)state;
	auto_type(json) spec = existing();
	assert_int_equal(
		change(spec, WORDS("--force", "--no-healthcheck", "--replicas", "7", "web"), NULL),
		0);
	assert_at(spec, "TaskTemplate.ForceUpdate", "5");
	assert_at(spec, "TaskTemplate.ContainerSpec.Healthcheck", "{\"Test\":[\"NONE\"]}");
	assert_at(spec, "Mode.Replicated.Replicas", "7");
	assert_int_equal(change(spec, WORDS("--no-healthcheck", "--health-cmd", "x", "web"), &err),
	                 -1);
}

static void mounts_are_known_by_their_target(void **state)
{
	(void)state;
	auto_type(json) spec = make(WORDS("--mount", "source=data,target=/data", "--mount",
	                                  "type=tmpfs,target=/scratch", "--name", "web", "hello"),
	                            NULL);

	assert_int_equal(change(spec,
	                        WORDS("--mount-rm", "/scratch", "--mount-add",
	                              "source=other,target=/data,readonly", "web"),
	                        NULL),
	                 0);
	assert_at(spec, "TaskTemplate.ContainerSpec.Mounts",
	          "[{\"Type\":\"volume\",\"Source\":\"other\",\"Target\":\"/data\",\"ReadOnly\":"
	          "true}]");
}

static void secrets_are_named_short_and_long_and_removed_by_their_name(void **state)
{
	struct err err = ERR_INIT;

	(void)state;
	auto_type(json) spec = make(WORDS("--secret", "key", "--config",
	                                  "source=conf,target=/etc/conf,mode=0400,uid=7,gid=8",
	                                  "--name", "web", "hello"),
	                            NULL);
	assert_at(spec, "TaskTemplate.ContainerSpec.Secrets",
	          "[{\"File\":{\"UID\":\"0\",\"GID\":\"0\",\"Mode\":292,\"Name\":\"key\"},"
	          "\"SecretName\":\"key\"}]");
	assert_at(spec, "TaskTemplate.ContainerSpec.Configs",
	          "[{\"File\":{\"UID\":\"7\",\"GID\":\"8\",\"Mode\":256,\"Name\":\"/etc/conf\"},"
	          "\"ConfigName\":\"conf\"}]");
	assert_int_equal(
		change(spec, WORDS("--secret-rm", "key", "--config-rm", "none", "web"), NULL), 0);
	assert_at(spec, "TaskTemplate.ContainerSpec.Secrets", "[]");
	assert_int_equal(
		json_count(json_get(json_get(json_get(spec, "TaskTemplate"), "ContainerSpec"),
	                            "Configs")),
		1);
	assert_int_equal(change(spec, WORDS("--secret-add", "target=/x", "web"), &err), -1);
	assert_non_null(strstr(err.msg, "source is missing"));
	assert_int_equal(change(spec, WORDS("--secret-add", "source=a,mode=999", "web"), &err), -1);
	assert_non_null(strstr(err.msg, "not octal"));
	assert_int_equal(change(spec, WORDS("--config-add", "source=a,owner=1", "web"), &err), -1);
	assert_non_null(strstr(err.msg, "uid, gid, mode"));
}

static void limits_name_servers_and_preferences_are_lists(void **state)
{
	(void)state;
	auto_type(json) spec =
		make(WORDS("--ulimit", "nofile=10:20", "--dns", "10.0.0.1", "--sysctl", "a.b=1",
	                   "--placement-pref", "spread=node.labels.rack", "--name", "web", "x"),
	             NULL);

	assert_at(spec, "TaskTemplate.ContainerSpec.DNSConfig", "{\"Nameservers\":[\"10.0.0.1\"]}");
	assert_int_equal(change(spec,
	                        WORDS("--ulimit-add", "nofile=5", "--dns-rm", "10.0.0.1",
	                              "--sysctl-add", "a.c=2", "--sysctl-rm", "a.b",
	                              "--placement-pref-rm", "spread=node.labels.rack",
	                              "--placement-pref-add", "spread=node.labels.zone", "web"),
	                        NULL),
	                 0);
	assert_at(spec, "TaskTemplate.ContainerSpec.Ulimits",
	          "[{\"Name\":\"nofile\",\"Soft\":5,\"Hard\":5}]");
	assert_at(spec, "TaskTemplate.ContainerSpec.DNSConfig", "{\"Nameservers\":[]}");
	assert_at(spec, "TaskTemplate.ContainerSpec.Sysctls", "{\"a.c\":\"2\"}");
	assert_at(spec, "TaskTemplate.Placement.Preferences",
	          "[{\"Spread\":{\"SpreadDescriptor\":\"node.labels.zone\"}}]");
}

TESTING_MAIN(TEST(the_image_and_the_words_behind_it_make_a_replicated_service),
             TEST(a_service_without_a_name_gets_one), TEST(ports_are_written_short_and_long),
             TEST(numbers_become_billionths_bytes_and_nanoseconds),
             TEST(an_update_goes_one_task_at_a_time_unless_it_is_said),
             TEST(global_services_have_no_replicas),
             TEST(what_makes_no_sense_is_refused_by_the_flag_s_name),
             TEST(an_update_without_flags_changes_nothing),
             TEST(variables_are_added_changed_and_removed_by_their_name),
             TEST(labels_constraints_and_ports_change_in_pieces),
             TEST(priority_and_rebalance_are_labels),
             TEST(a_port_published_again_takes_the_place_of_the_old_one),
             TEST(arguments_are_split_as_a_shell_would),
             TEST(force_counts_up_and_the_health_check_can_be_taken_away),
             TEST(mounts_are_known_by_their_target),
             TEST(secrets_are_named_short_and_long_and_removed_by_their_name),
             TEST(limits_name_servers_and_preferences_are_lists))
