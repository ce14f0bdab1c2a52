/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * erofs - writes a read-only file system (erofs) of which only the metadata is in the file: what files hold stands in
 * a second file, a plain tar, at multiples of 512 bytes. The kernel mounts the two together.
 *
 *	struct erofs_node *root = erofs_node_create(S_IFDIR | 0755, err);
 *	erofs_node_add(root, "hello", file, err);      // file->data: where in the tar
 *	erofs_write(fd, root, EROFS_BLOCK * 3, err);   // fd: the metadata file
 *	erofs_node_free_tree(root);
 *
 * Format: linux/fs/erofs/erofs_fs.h. Blocks of 512 bytes, extended inodes, attributes inline, directories in blocks of
 * their own, a regular file as one chunk on device 1. Files whose content does not lie in the tar in one piece (sparse
 * ones) have it in the metadata file (`own`), written by the caller from EROFS_DATA on.
 *
 * Nothing is compressed and nothing is checked: the tree is ours.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct err;
struct map;

#define EROFS_BLOCK    512u
#define EROFS_DATA     (3 * EROFS_BLOCK)            /* where own content may begin */
#define EROFS_SIZE_MAX ((int64_t)EROFS_BLOCK << 32) /* bytes that block numbers reach */

struct erofs_xattr {
	struct erofs_xattr *next;
	char *name;
	void *value;
	size_t len;
};

struct erofs_node {
	mode_t mode;
	uint32_t uid, gid, mtime_ns;
	int64_t mtime, size;
	dev_t rdev;
	bool own;      /* content lies in the metadata file */
	uint64_t data; /* byte offset of the content, a multiple of EROFS_BLOCK */
	char *target;  /* symbolic links; owned */
	struct erofs_xattr *xattrs;
	struct map *children; /* directories: name to node */
	uint32_t links;       /* names it has */
	/* Filled by erofs_write(). */
	uint32_t subdirs, ino, block, dir_size;
	uint64_t nid;
	struct erofs_node *parent;
};

/* A node without a name. The caller owns it until erofs_node_add(). */
struct erofs_node *erofs_node_create(mode_t mode, struct err *err);
/* One more name for it. What had the name before must be gone. */
int erofs_node_add(struct erofs_node *dir, const char *name, struct erofs_node *node,
                   struct err *err);
/* Takes a name away, and with the last one the node and what is below it. */
void erofs_node_remove(struct erofs_node *dir, const char *name);
/* Adds or replaces an attribute ("user.x"). Values are copied. */
int erofs_node_set_xattr(struct erofs_node *node, const char *name, const void *value, size_t len,
                         struct err *err);
void erofs_node_free_tree(struct erofs_node *root); /* accepts NULL */

/* Writes superblock, directories and inodes; `end` is where own content ends. ERR_LIMIT: too large. */
int erofs_write(int fd, struct erofs_node *root, int64_t end, struct err *err);
