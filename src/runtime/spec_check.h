/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * spec_check - the rules of a config beyond its shape, and words into numbers.
 * Part of spec_parse(); runtime/spec.h is the door.
 */

#include <stddef.h>
#include <stdint.h>

struct arena;
struct err;
struct json;
struct oci_process;
struct oci_resources;
struct oci_spec;

int spec_check(struct oci_spec *spec, struct arena *arena, struct err *err);
int spec_check_process(struct oci_process *process, struct arena *arena, struct err *err);
/* In spec_resources.c. */
int spec_check_resources(struct oci_resources *resources, struct arena *arena, struct err *err);

/* In spec_task.c. */
int spec_check_task(struct oci_process *process, struct arena *arena, struct err *err);
int spec_check_linux_task(struct oci_spec *spec, struct arena *arena, struct err *err);
/* Names known, for `features`; NULL past the end. */
const char *spec_memory_mode_name(size_t index);
const char *spec_memory_flag_name(size_t index);

/* For the rules themselves. A number, unless it is SPEC_UNSET, must be in min to max. */
int spec_check_range(const char *field, int64_t value, int64_t min, int64_t max, struct err *err);
/* Optional integer of an array element, where a table cannot tell 0 from absence. */
int spec_take_int(const char *field, const struct json *value, int64_t otherwise, int64_t *out,
                  struct err *err);
