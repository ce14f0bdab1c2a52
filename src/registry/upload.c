/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/upload.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/hash.h"
#include "base/id.h"
#include "base/map.h"
#include "base/str.h"
#include "registry/blobs.h"

#define WRITE_BACK  (8u << 20) /* bytes after which the disk begins to write */
#define BLOCK_BYTES (64u << 10)
#define MARK_MAX    33 /* half a SHA-256 in hex, and NUL */
#define FILE_NAME   (UPLOAD_ID_MAX + MARK_MAX + 8)
#define DIRECTORY   "uploads"
#define SECOND_NS   1000000000

struct upload {
	char id[UPLOAD_ID_MAX];
	char mark[MARK_MAX];   /* of its repository */
	char file[FILE_NAME];  /* in the uploads' directory; "" if it has no name */
	int fd;                /* owned; -1: not opened since the start */
	struct hash *hash;     /* owned; NULL: what is there must be read for it */
	bool wide;             /* of SHA-512 */
	uint64_t size, pushed; /* bytes in the file; of these, on their way to the disk */
	int64_t touched_ms;    /* guarded by the table's lock */
	bool busy;             /* guarded by the table's lock */
};

struct uploads {
	struct blobs *blobs;
	int dir_fd; /* owned */
	size_t max;
	pthread_mutex_t lock;
	struct map *by_id; /* guarded by lock */
};

static void upload_free(struct upload *up)
{
	if (!up)
		return;
	if (up->fd >= 0)
		close(up->fd);
	hash_free(up->hash);
	free(up);
}
DEFINE_AUTO(upload)

/* RFC 9562, version 4. */
static void make_id(char id[UPLOAD_ID_MAX])
{
	unsigned char b[16];

	id_random(b, sizeof(b));
	b[6] = (unsigned char)((b[6] & 0x0f) | 0x40);
	b[8] = (unsigned char)((b[8] & 0x3f) | 0x80);
	snprintf(id, UPLOAD_ID_MAX,
	         "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1],
	         b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14],
	         b[15]);
}

static void make_mark(const char *repo, char mark[MARK_MAX])
{
	char hex[HASH_HEX_MAX];

	snprintf(mark, MARK_MAX, "%.*s", MARK_MAX - 1, hash_bytes_hex(repo, strlen(repo), hex));
}

/* ---- the table ---- */

/* Takes the session. */
static int add_found(struct uploads *u, struct upload *found, struct err *err)
{
	auto_type(upload) up = found;

	if (map_set(u->by_id, up->id, up, NULL, err) < 0)
		return -1;
	(void)move_ptr(up);
	return 0;
}

/* A file that an earlier run has left. */
static int find_session(void *arg, int dir_fd, const char *name, unsigned char type)
{
	struct uploads *u = arg;
	char id[UPLOAD_ID_MAX], mark[MARK_MAX];
	struct stat st;
	int64_t algorithm = 0;
	int end = 0;

	(void)type;
	if (strlen(name) >= FILE_NAME ||
	    sscanf(name, "%36[0-9a-f-].%32[0-9a-f].%n", id, mark, &end) != 2 || end == 0 ||
	    id_parse_int(name + end, "algorithm", 0, 999, &algorithm, NULL) < 0 ||
	    fs_stat(dir_fd, name, &st, NULL) < 0 || !S_ISREG(st.st_mode))
		return 0;
	if (st.st_nlink > 1) /* it is content already: nobody may write to it again */
		return fs_unlink(dir_fd, name, NULL);
	struct upload *up = calloc(1, sizeof(*up));
	if (!up)
		return -1;
	memcpy(up->id, id, sizeof(id));
	memcpy(up->mark, mark, sizeof(mark));
	snprintf(up->file, sizeof(up->file), "%s", name);
	up->fd = -1;
	up->wide = algorithm == 512;
	up->size = (uint64_t)st.st_size;
	/* The time that it has been left alone goes on counting. */
	up->touched_ms = clock_mono_ms() - (clock_wall_ns() / SECOND_NS - st.st_mtim.tv_sec) * 1000;
	return add_found(u, up, NULL);
}

struct uploads *uploads_open(struct blobs *blobs, size_t max, struct err *err)
{
	struct uploads *u = calloc(1, sizeof(*u));

	if (!u) {
		err_nomem(err);
		return NULL;
	}
	u->blobs = blobs;
	u->max = max;
	pthread_mutex_init(&u->lock, NULL);
	u->dir_fd = fs_mkdir_all(blobs->root_fd, DIRECTORY, 0700, err);
	u->by_id = u->dir_fd < 0 ? NULL : map_create(err);
	if (!u->by_id || fs_list(u->dir_fd, find_session, u, err) < 0) {
		uploads_close(u);
		return NULL;
	}
	return u;
}

void uploads_close(struct uploads *u)
{
	const char *id;
	void *up;

	if (!u)
		return;
	if (u->by_id)
		map_for_each (u->by_id, iter, &id, &up)
			upload_free(up);
	map_free(u->by_id);
	if (u->dir_fd >= 0)
		close(u->dir_fd);
	pthread_mutex_destroy(&u->lock);
	free(u);
}

static int make_file(const struct uploads *u, struct upload *up, struct err *err)
{
	snprintf(up->file, sizeof(up->file), "%s.%s.%d", up->id, up->mark, up->wide ? 512 : 256);
	up->fd = fs_open(u->dir_fd, up->file, O_RDWR | O_CREAT | O_EXCL, 0600, err);
	return up->fd < 0 ? -1 : 0;
}

static struct upload *upload_create(struct uploads *u, const struct upload_plan *plan,
                                    struct err *err)
{
	auto_type(upload) up = calloc(1, sizeof(*up));

	if (!up) {
		err_nomem(err);
		return NULL;
	}
	make_id(up->id);
	make_mark(plan->repo, up->mark);
	up->wide = plan->wide;
	up->busy = true;
	up->fd = -1;
	up->hash = plan->wide ? hash_create_512(err) : hash_create(err);
	if (!up->hash)
		return NULL;
	if (plan->once)
		up->fd = blobs_stage(u->blobs, err);
	else
		(void)make_file(u, up, err);
	return up->fd < 0 ? NULL : move_ptr(up);
}

/* Its file goes with it. */
static void drop(struct uploads *u, struct upload *up)
{
	if (up->file[0])
		(void)fs_unlink(u->dir_fd, up->file, NULL); /* else the next start finds it */
	upload_free(up);
}

struct upload *uploads_begin(struct uploads *u, const struct upload_plan *plan, struct err *err)
{
	struct upload *up = upload_create(u, plan, err);

	if (!up)
		return NULL;
	pthread_mutex_lock(&u->lock);
	int rc = map_count(u->by_id) < u->max
	                 ? map_set(u->by_id, up->id, up, NULL, err)
	                 : err_set(err, ERR_LIMIT, "%zu uploads are running already: try again",
	                           u->max);
	pthread_mutex_unlock(&u->lock);
	if (rc == 0)
		return up;
	drop(u, up);
	return NULL;
}

/* Of an earlier run: goes on behind what is there. */
static int reopen(const struct uploads *u, struct upload *up, struct err *err)
{
	auto_close int fd = fs_open(u->dir_fd, up->file, O_RDWR, 0, err);

	if (fd < 0)
		return -1;
	off_t size = lseek(fd, 0, SEEK_END);
	if (size < 0)
		return err_sys(err, "an upload");
	up->size = up->pushed = (uint64_t)size;
	up->fd = move_fd(&fd);
	return 0;
}

void uploads_return(struct uploads *u, struct upload *up)
{
	pthread_mutex_lock(&u->lock);
	up->busy = false;
	up->touched_ms = clock_mono_ms();
	pthread_mutex_unlock(&u->lock);
}

struct upload *uploads_take(struct uploads *u, const char *id, const char *repo, struct err *err)
{
	char mark[MARK_MAX];

	make_mark(repo, mark);
	pthread_mutex_lock(&u->lock);
	struct upload *up = map_find(u->by_id, id);
	bool mine = up && str_eq(up->mark, mark);
	bool busy = mine && up->busy;
	if (mine && !busy)
		up->busy = true;
	pthread_mutex_unlock(&u->lock);
	if (!mine)
		err_set(err, ERR_NOT_FOUND, "no such upload: begin it anew");
	else if (busy)
		err_set(err, ERR_CONFLICT, "another request is writing to this upload");
	if (!mine || busy)
		return NULL;
	if (up->fd < 0 && reopen(u, up, err) < 0) {
		uploads_return(u, up);
		return NULL;
	}
	return up;
}

void uploads_end(struct uploads *u, struct upload *up)
{
	pthread_mutex_lock(&u->lock);
	map_remove(u->by_id, up->id);
	pthread_mutex_unlock(&u->lock);
	drop(u, up);
}

size_t uploads_expire(struct uploads *u, int64_t idle_ms)
{
	int64_t before = clock_mono_ms() - idle_ms;
	const char *id;
	void *value;
	size_t n = 0;

	pthread_mutex_lock(&u->lock);
	map_for_each (u->by_id, iter, &id, &value) {
		struct upload *up = value;

		if (up->busy || up->touched_ms > before)
			continue;
		map_remove(u->by_id, id);
		drop(u, up);
		n++;
	}
	pthread_mutex_unlock(&u->lock);
	return n;
}

size_t uploads_count(struct uploads *u)
{
	pthread_mutex_lock(&u->lock);
	size_t n = map_count(u->by_id);
	pthread_mutex_unlock(&u->lock);
	return n;
}

const char *upload_id(const struct upload *up)
{
	return up->id;
}

uint64_t upload_size(const struct upload *up)
{
	return up->size;
}

int upload_fd(const struct upload *up)
{
	return up->fd;
}

bool upload_is_private(const struct upload *up)
{
	struct stat st;

	return up->file[0] && fstat(up->fd, &st) == 0 && st.st_nlink == 1;
}

int upload_add(struct upload *up, const void *data, size_t len, struct err *err)
{
	if (fs_write_all(up->fd, data, len, err) < 0) {
		/* Part of it may be there: the hash has not seen it, so it must go again. */
		(void)!ftruncate(up->fd, (off_t)up->size);
		(void)lseek(up->fd, (off_t)up->size, SEEK_SET);
		return -1;
	}
	if (up->hash)
		hash_add(up->hash, data, len);
	up->size += len;
	if (up->size - up->pushed >=
	    WRITE_BACK) { /* so that the sync at the end finds little to do */
		(void)sync_file_range(up->fd, (off_t)up->pushed, (off_t)(up->size - up->pushed),
		                      SYNC_FILE_RANGE_WRITE);
		up->pushed = up->size;
	}
	return 0;
}

static int hash_again(struct upload *up, bool wide, struct err *err)
{
	auto_type(hash) fresh = wide ? hash_create_512(err) : hash_create(err);
	auto_free char *block = malloc(BLOCK_BYTES);
	uint64_t at = 0;

	if (!fresh)
		return -1;
	if (!block)
		return err_nomem(err);
	while (at < up->size) {
		ssize_t n = pread(up->fd, block, BLOCK_BYTES, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return err_sys(err, "reading an upload back");
		hash_add(fresh, block, (size_t)n);
		at += (uint64_t)n;
	}
	hash_free(up->hash);
	up->hash = move_ptr(fresh);
	up->wide = wide;
	return 0;
}

int upload_digest(struct upload *up, const char *wanted, char digest[DIGEST_TEXT_MAX],
                  struct err *err)
{
	bool wide = str_starts(wanted, "sha512:");
	char hex[HASH_512_HEX];

	if ((wide != up->wide || !up->hash) && hash_again(up, wide, err) < 0)
		return -1;
	snprintf(digest, DIGEST_TEXT_MAX, "%s:%s", wide ? "sha512" : "sha256",
	         wide ? hash_hex_512(up->hash, hex) : hash_hex(up->hash, hex));
	return 0;
}
