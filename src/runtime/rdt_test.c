/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/rdt.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/json.h"
#include "base/str.h"
#include "base/testing.h"
#include "runtime/spec.h"

/* A directory stands in for resctrl; unlike there, a class that is made has no files. */
struct fixture {
	char path[64];
	int fd;
};

static int setup(void **state)
{
	static struct fixture f;

	snprintf(f.path, sizeof(f.path), "/tmp/rdt-test-XXXXXX");
	if (!mkdtemp(f.path))
		return -1;
	f.fd = open(f.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	mkdirat(f.fd, "gold", 0755);
	mkdirat(f.fd, "gold/mon_groups", 0755);
	testing_write(f.fd, "gold/schemata", "    L3:0=7f0;1=01f\n    MB:0= 20;1=70\n");
	testing_write(f.fd, "gold/tasks", "");
	testing_write(f.fd, "tasks", "");
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	close(f->fd);
	return testing_remove_tree(f->path);
}

static void a_prepared_class_is_joined_and_left_alone(void **state)
{
	struct fixture *f = *state;
	struct err err = ERR_INIT;
	struct oci_rdt rdt = {.clos_id = "gold"};

	assert_int_equal(rdt_apply(f->fd, &rdt, "web", 42, &err), 0);
	testing_assert_file(f->fd, "gold/tasks", "42");
	testing_assert_file(f->fd, "gold/schemata", "    L3:0=7f0;1=01f\n    MB:0= 20;1=70\n");
	assert_int_equal(rdt_remove(f->fd, &rdt, "web", &err), 0);
	assert_int_equal(faccessat(f->fd, "gold", F_OK, 0), 0);
}

static void a_class_that_is_not_there_is_an_error(void **state)
{
	struct fixture *f = *state;
	struct err err = ERR_INIT;
	struct oci_rdt rdt = {.clos_id = "silver"};

	assert_int_equal(rdt_apply(f->fd, &rdt, "web", 42, &err), -1);
	assert_int_equal(err.kind, ERR_NOT_FOUND);
	assert_true(str_starts(err.msg, "linux.intelRdt: closID: silver"));
	assert_int_equal(faccessat(f->fd, "silver", F_OK, 0), -1);
}

static void the_root_is_a_class(void **state)
{
	struct fixture *f = *state;
	struct err err = ERR_INIT;
	struct oci_rdt rdt = {.clos_id = "/"};

	assert_int_equal(rdt_apply(f->fd, &rdt, "web", 42, &err), 0);
	testing_assert_file(f->fd, "tasks", "42");
}

static void an_existing_class_must_be_as_the_config_says(void **state)
{
	struct fixture *f = *state;
	struct err err = ERR_INIT;
	struct oci_rdt other = {.clos_id = "gold", .l3_schema = "L3:0=7f1"};
	struct oci_rdt same = {.clos_id = "gold", .l3_schema = "L3:1=1f"};

	assert_int_equal(rdt_apply(f->fd, &other, "web", 42, &err), -1);
	assert_string_equal(err.msg, "linux.intelRdt: closID: gold exists with other schemata");
	testing_assert_file(f->fd, "gold/tasks", "");
	assert_int_equal(rdt_apply(f->fd, &same, "web", 42, &err), 0);
	testing_assert_file(f->fd, "gold/tasks", "42");
}

static void what_was_made_is_gone_after_a_failure(void **state)
{
	struct fixture *f = *state;
	struct err err = ERR_INIT;
	struct oci_rdt rdt = {.mb_schema = "MB:0=20"};

	/* no schemata file appears in it here */
	assert_int_equal(rdt_apply(f->fd, &rdt, "web", 42, &err), -1);
	assert_true(str_starts(err.msg, "linux.intelRdt: schemata: write 'MB:0=20'"));
	assert_int_equal(faccessat(f->fd, "web", F_OK, 0), -1);
}

static void schemata_come_last(void **state)
{
	struct fixture *f = *state;
	struct err err = ERR_INIT;
	char first[] = "L2:0=f", last[] = "MB:0=20;1=70 last";
	char *lines[] = {first, last};
	struct oci_rdt rdt = {.clos_id = "gold", .schemata = {.items = lines, .count = 2}};

	testing_write(f->fd, "gold/schemata", "");
	assert_int_equal(rdt_apply(f->fd, &rdt, "web", 42, &err), 0);
	testing_assert_file(f->fd, "gold/schemata", "MB:0=20;1=70 last\n");
}

static void a_monitoring_group_is_the_container_s(void **state)
{
	struct fixture *f = *state;
	struct err err = ERR_INIT;
	struct oci_rdt rdt = {.clos_id = "gold", .monitoring = true};

	/* as the kernel would have made the file */
	assert_int_equal(rdt_apply(f->fd, &rdt, "web", 42, &err), -1);
	assert_int_equal(faccessat(f->fd, "gold/mon_groups/web", F_OK, 0), -1);
	mkdirat(f->fd, "gold/mon_groups/web", 0755);
	assert_int_equal(rdt_apply(f->fd, &rdt, "web", 42, &err), -1); /* somebody else's */
	assert_int_equal(rdt_remove(f->fd, &rdt, "web", &err), 0);
	assert_int_equal(faccessat(f->fd, "gold/mon_groups/web", F_OK, 0), -1);
	assert_int_equal(rdt_remove(f->fd, &rdt, "web", &err), 0); /* gone is success */
}

static void a_class_with_the_container_s_id_goes_with_it(void **state)
{
	struct fixture *f = *state;
	struct err err = ERR_INIT;
	struct oci_rdt rdt = {0};

	mkdirat(f->fd, "web", 0755);
	assert_int_equal(rdt_remove(f->fd, &rdt, "web", &err), 0);
	assert_int_equal(faccessat(f->fd, "web", F_OK, 0), -1);
	assert_int_equal(rdt_remove(f->fd, &rdt, "web", &err), 0);
}

static void an_update_writes_the_schemata_of_the_container_s_class(void **state)
{
	struct fixture *f = *state;
	struct err err = ERR_INIT;
	struct oci_rdt shared = {.clos_id = "gold"}, own = {0};

	testing_write(f->fd, "gold/schemata", "");
	assert_int_equal(rdt_update(f->fd, &shared, "web", "L3:0=f", NULL, &err), 0);
	testing_assert_file(f->fd, "gold/schemata", "L3:0=f\n");
	testing_write(f->fd, "gold/schemata", "");
	assert_int_equal(rdt_update(f->fd, &shared, "web", NULL, "MB:0=20", &err), 0);
	testing_assert_file(f->fd, "gold/schemata", "MB:0=20\n");
	assert_int_equal(rdt_update(f->fd, &own, "web", "L3:0=f", NULL, &err), -1);
	assert_int_equal(err.kind, ERR_NOT_FOUND);
}

TESTING_MAIN(TEST_WITH(a_prepared_class_is_joined_and_left_alone, setup, teardown),
             TEST_WITH(a_class_that_is_not_there_is_an_error, setup, teardown),
             TEST_WITH(the_root_is_a_class, setup, teardown),
             TEST_WITH(an_existing_class_must_be_as_the_config_says, setup, teardown),
             TEST_WITH(what_was_made_is_gone_after_a_failure, setup, teardown),
             TEST_WITH(schemata_come_last, setup, teardown),
             TEST_WITH(a_monitoring_group_is_the_container_s, setup, teardown),
             TEST_WITH(a_class_with_the_container_s_id_goes_with_it, setup, teardown),
             TEST_WITH(an_update_writes_the_schemata_of_the_container_s_class, setup, teardown))
