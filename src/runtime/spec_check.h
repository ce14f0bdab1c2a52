/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * spec_check - the rules of a config beyond its shape, and words into numbers.
 * Part of spec_parse(); runtime/spec.h is the door.
 */

struct arena;
struct err;
struct oci_process;
struct oci_resources;
struct oci_spec;

int spec_check(struct oci_spec *spec, struct arena *arena, struct err *err);
int spec_check_process(struct oci_process *process, struct arena *arena, struct err *err);
int spec_check_resources(struct oci_resources *resources, struct err *err);
