/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* files - the steps that change files: RUN, COPY, ADD, and the directory of WORKDIR. Private to build/. */

struct dockerfile_instruction;
struct err;
struct buildstate;

/* RUN: `Running in`, its output, and a layer of what it changed. ERR_INVALID when it exits non-zero. */
int files_run(struct buildstate *s, const struct dockerfile_instruction *in, struct err *err);
/* COPY and ADD. ADD unpacks a local archive whose target is a directory. */
int files_copy(struct buildstate *s, const struct dockerfile_instruction *in, struct err *err);
/* Makes the working directory where it is missing: `created_by` is the step as evaluated. */
int files_workdir(struct buildstate *s, const char key[65], const char *created_by,
                  struct err *err);
