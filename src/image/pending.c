/* SPDX-License-Identifier: Apache-2.0 */
/* What the store cannot do yet; each goes to a file of its own. */

#include "base/err.h"
#include "image/image.h"

int image_pull(struct image_store *store, const struct reference *ref, const char *platform,
               const struct image_auth *auth, const struct image_progress *progress,
               char id[DIGEST_TEXT_MAX], char digest[DIGEST_TEXT_MAX], struct err *err)
{
	char name[REFERENCE_MAX];

	(void)store, (void)platform, (void)auth, (void)progress, (void)id, (void)digest;
	return err_set(err, ERR_UNSUPPORTED, "pull of %s is not supported yet",
	               reference_familiar(ref, name));
}

int image_push(struct image_store *store, const struct reference *ref,
               const struct image_auth *auth, const struct image_progress *progress,
               char digest[DIGEST_TEXT_MAX], int64_t *manifest_size, struct err *err)
{
	(void)store, (void)ref, (void)auth, (void)progress, (void)digest, (void)manifest_size;
	return err_set(err, ERR_UNSUPPORTED, "push is not supported yet");
}

int image_login(struct image_store *store, const char *server, const struct image_auth *auth,
                struct err *err)
{
	(void)store, (void)server, (void)auth;
	return err_set(err, ERR_UNSUPPORTED, "login is not supported yet");
}

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
