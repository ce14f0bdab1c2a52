/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * labels - what a config asks of AppArmor and SELinux.
 *
 * A label takes effect at the next execve. It is written into the process's own /proc/thread-self/attr, which has to
 * be the host's procfs: before the old root is left, after the hooks of create, which are not the container's.
 */

struct err;
struct oci_process;
struct oci_spec;

/* ERR_UNSUPPORTED when this machine does not have what is asked for. Parent's side; looks only at
 * what is asked for. */
int labels_check(const struct oci_spec *spec, const struct oci_process *process, struct err *err);
/* For the calling process. */
int labels_apply(const struct oci_process *process, struct err *err);
