/* SPDX-License-Identifier: Apache-2.0 */
/* What the store cannot do yet; each goes to a file of its own. */

#include "base/err.h"
#include "image/image.h"

int image_load(struct image_store *store, int tar_fd, const struct image_progress *progress,
               int (*loaded)(void *arg, const char *name_or_id, bool is_name), void *arg,
               struct err *err)
{
	(void)store, (void)tar_fd, (void)progress, (void)loaded, (void)arg;
	return err_set(err, ERR_UNSUPPORTED, "load is not supported yet");
}

int image_save(struct image_store *store, const char *const *names, size_t count, int out_fd,
               struct err *err)
{
	(void)store, (void)names, (void)count, (void)out_fd;
	return err_set(err, ERR_UNSUPPORTED, "save is not supported yet");
}
