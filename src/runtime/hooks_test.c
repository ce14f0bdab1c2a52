/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/hooks.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/str.h"
#include "base/testing.h"

/* Hooks are real programs here: /bin/sh is everywhere. */
struct fixture {
	char dir[64];
	int fd;
	struct arena arena;
};

static int setup(void **state)
{
	static struct fixture f;

	f = (struct fixture){.arena = ARENA_INIT(SPEC_ARENA_MAX)};
	snprintf(f.dir, sizeof(f.dir), "/tmp/hooks-test-XXXXXX");
	if (!mkdtemp(f.dir))
		return -1;
	f.fd = open(f.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	arena_done(&f->arena);
	close(f->fd);
	return testing_remove_tree(f->dir);
}

static struct oci_spec *spec_with(struct fixture *f, const char *hooks, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(1 << 16);

	buf_addf(
		&text,
		"{\"ociVersion\":\"1.3.0\",\"root\":{\"path\":\"r\"},\"annotations\":{\"a\":\"b\"},"
		"\"process\":{\"user\":{\"uid\":0,\"gid\":0},\"cwd\":\"/\",\"args\":[\"sh\"]},"
		"\"linux\":{\"namespaces\":[{\"type\":\"mount\"}]},\"hooks\":%s}",
		hooks);
	return spec_parse(text.data, text.len, &f->arena, err);
}

static const struct hooks_state creating = {
	.id = "web", .status = "creating", .bundle = "/bundle", .pid = 42};

static void each_hook_gets_the_state_arguments_and_environment_in_order(void **state)
{
	struct fixture *f = *state;
	struct err err = ERR_INIT;
	char hooks[1024];

	snprintf(
		hooks, sizeof(hooks),
		"{\"createRuntime\":[{\"path\":\"/bin/sh\",\"args\":[\"me\",\"-c\",\"cat > %s/state; "
		"echo $0 $A > %s/order\",\"zero\"],\"env\":[\"A=x\"]},"
		"{\"path\":\"/bin/sh\",\"args\":[\"sh\",\"-c\",\"echo two >> %s/order\"]}]}",
		f->dir, f->dir, f->dir);
	struct oci_spec *spec = spec_with(f, hooks, &err);
	assert_non_null(spec);
	assert_int_equal(hooks_run(spec, SPEC_HOOK_CREATE_RUNTIME, &creating, &err), 0);
	testing_assert_file(f->fd, "order", "zero x\ntwo\n");
	testing_assert_file(f->fd, "state",
	                    "{\"ociVersion\":\"1.3.0\",\"id\":\"web\",\"status\":\"creating\","
	                    "\"pid\":42,\"bundle\":\"/bundle\",\"annotations\":{\"a\":\"b\"}}");
}

static void the_first_that_fails_ends_it_with_its_status(void **state)
{
	struct fixture *f = *state;
	struct err err = ERR_INIT;
	char hooks[512];

	snprintf(hooks, sizeof(hooks),
	         "{\"poststart\":[{\"path\":\"/bin/sh\",\"args\":[\"sh\",\"-c\",\"exit 3\"]},"
	         "{\"path\":\"/bin/sh\",\"args\":[\"sh\",\"-c\",\"echo ran > %s/ran\"]}]}",
	         f->dir);
	struct oci_spec *spec = spec_with(f, hooks, &err);
	assert_int_equal(hooks_run(spec, SPEC_HOOK_POSTSTART, &creating, &err), -1);
	assert_string_equal(err.msg, "hooks.poststart[0]: /bin/sh ended with status 3");
	assert_int_equal(faccessat(f->fd, "ran", F_OK, 0), -1);
}

static void a_hook_that_is_missing_fails(void **state)
{
	struct fixture *f = *state;
	struct err err = ERR_INIT;
	struct oci_spec *spec = spec_with(f, "{\"prestart\":[{\"path\":\"/no/such\"}]}", &err);

	assert_int_equal(hooks_run(spec, SPEC_HOOK_PRESTART, &creating, &err), -1);
	assert_string_equal(err.msg, "hooks.prestart[0]: /no/such ended with status 127");
}

static void a_hook_is_killed_when_its_time_is_over(void **state)
{
	struct fixture *f = *state;
	struct err err = ERR_INIT;
	int64_t begun = clock_mono_ms();
	struct oci_spec *spec = spec_with(
		f,
		"{\"prestart\":[{\"path\":\"/bin/sleep\",\"args\":[\"sleep\",\"60\"],\"timeout\":1}]}",
		&err);

	assert_non_null(spec);
	assert_int_equal(hooks_run(spec, SPEC_HOOK_PRESTART, &creating, &err), -1);
	assert_int_equal(err.kind, ERR_TIMEOUT);
	assert_string_equal(err.msg, "hooks.prestart[0]: /bin/sleep did not end in 1 s");
	assert_true(clock_mono_ms() - begun < 30000);
}

static void a_hook_in_time_is_no_timeout(void **state)
{
	struct fixture *f = *state;
	struct err err = ERR_INIT;
	struct oci_spec *spec =
		spec_with(f, "{\"prestart\":[{\"path\":\"/bin/true\",\"timeout\":60}]}", &err);

	assert_int_equal(hooks_run(spec, SPEC_HOOK_PRESTART, &creating, &err), 0);
}

static void a_warning(const struct err *why)
{
	assert_string_equal(why->msg, "hooks.poststop[0]: /bin/false ended with status 1");
}

static void poststop_hooks_all_run(void **state)
{
	struct fixture *f = *state;
	struct err err = ERR_INIT;
	char hooks[512];

	snprintf(hooks, sizeof(hooks),
	         "{\"poststop\":[{\"path\":\"/bin/false\"},"
	         "{\"path\":\"/bin/sh\",\"args\":[\"sh\",\"-c\",\"echo ran > %s/ran\"]}]}",
	         f->dir);
	struct oci_spec *spec = spec_with(f, hooks, &err);
	hooks_run_poststop(spec, &creating, a_warning);
	testing_assert_file(f->fd, "ran", "ran\n");
}

static void what_is_wrong_in_a_hook_is_named(void **state)
{
	static const char *const cases[][2] = {
		{"{\"prestart\":[{\"path\":\"sh\"}]}",
	         "hooks[].path: 'sh' is not an absolute path"},
		{"{\"prestart\":[{\"path\":\"/x\",\"timeout\":0}]}",
	         "hooks[].timeout: 0 is not in 1 to 86400"},
		{"{\"startContainer\":[{\"path\":\"/x\",\"timeout\":-1}]}",
	         "hooks[].timeout: -1 is not in 1 to 86400"},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct err err = ERR_INIT;
		assert_null(spec_with(f, cases[i][0], &err));
		assert_string_equal(err.msg, cases[i][1]);
	}
}

TESTING_MAIN(TEST_WITH(each_hook_gets_the_state_arguments_and_environment_in_order, setup,
                       teardown),
             TEST_WITH(the_first_that_fails_ends_it_with_its_status, setup, teardown),
             TEST_WITH(a_hook_that_is_missing_fails, setup, teardown),
             TEST_WITH(a_hook_is_killed_when_its_time_is_over, setup, teardown),
             TEST_WITH(a_hook_in_time_is_no_timeout, setup, teardown),
             TEST_WITH(poststop_hooks_all_run, setup, teardown),
             TEST_WITH(what_is_wrong_in_a_hook_is_named, setup, teardown))
