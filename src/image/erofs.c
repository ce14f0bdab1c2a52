/* SPDX-License-Identifier: Apache-2.0 */
#include "image/erofs.h"

#include <endian.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/map.h"
#include "base/str.h"

#define SUPER_OFFSET  1024
#define SUPER_MAGIC   0xE0F5E1E2u
#define DEVICE_OFFSET 1152
#define DEVICE_SLOT   128 /* slots are counted from the file's start */
#define CHUNKED_FILE  0x04u
#define DEVICE_TABLE  0x08u

#define INODE_SIZE     64u
#define INODE_EXTENDED 1u
#define LAYOUT_PLAIN   (0u << 1)
#define LAYOUT_INLINE  (2u << 1)
#define LAYOUT_CHUNKS  (4u << 1)
#define NID_SIZE       32u
#define FIRST_INODE    64u /* no inode has the number 0 */
#define CHUNK_INDEXES  0x20u
#define CHUNK_BITS_MAX 31u
#define XATTR_HEADER   12u
#define XATTRS_MAX                                                                                 \
	(256u << 10) /* bytes; the inode counts them in a 16-bit number of 4-byte units */

#define WRITE_BUFFER (64u << 10)

struct super {
	uint32_t magic, checksum, feature_compat;
	uint8_t block_bits, extra_slots;
	uint16_t root_nid;
	uint64_t inodes, build_time;
	uint32_t build_time_ns, blocks, meta_block, xattr_block;
	uint8_t uuid[16], volume[16];
	uint32_t feature_incompat;
	uint16_t compression, extra_devices, device_slot;
	uint8_t dir_block_bits, xattr_prefixes;
	uint32_t xattr_prefix_start;
	uint64_t packed_nid;
	uint8_t reserved[24];
} __attribute__((packed));
_Static_assert(sizeof(struct super) == 128, "as the kernel has it");

struct device {
	uint8_t tag[64];
	uint32_t blocks, mapped;
	uint8_t reserved[56];
} __attribute__((packed));
_Static_assert(sizeof(struct device) == DEVICE_SLOT, "as the kernel has it");

struct inode {
	uint16_t format, xattr_units, mode, reserved;
	uint64_t size;
	uint32_t what; /* block, device number, or form of the chunks */
	uint32_t ino, uid, gid;
	uint64_t mtime;
	uint32_t mtime_ns, links;
	uint8_t reserved2[16];
} __attribute__((packed));
_Static_assert(sizeof(struct inode) == INODE_SIZE, "as the kernel has it");

struct dirent {
	uint64_t nid;
	uint16_t name_offset;
	uint8_t type, reserved;
} __attribute__((packed));
#define DIRENT_SIZE 12u
_Static_assert(sizeof(struct dirent) == DIRENT_SIZE, "as the kernel has it");

struct chunk {
	uint16_t block_high, device;
	uint32_t block;
} __attribute__((packed));
#define CHUNK_SIZE 8u
_Static_assert(sizeof(struct chunk) == CHUNK_SIZE, "as the kernel has it");

/* ---- the tree ---- */

struct erofs_node *erofs_node_create(mode_t mode, struct err *err)
{
	struct erofs_node *node = calloc(1, sizeof(*node));

	if (node)
		node->mode = mode;
	if (node && S_ISDIR(mode))
		node->children = map_create(err);
	if (!node || (S_ISDIR(mode) && !node->children)) {
		free(node);
		(void)err_nomem(err);
		return NULL;
	}
	return node;
}

static void free_node(struct erofs_node *node)
{
	while (node->xattrs) {
		struct erofs_xattr *x = node->xattrs;
		node->xattrs = x->next;
		free(x->name);
		free(x->value);
		free(x);
	}
	map_free(node->children);
	free(node->target);
	free(node);
}

// NOLINTNEXTLINE(misc-no-recursion) as deep as a path may be
void erofs_node_free_tree(struct erofs_node *root)
{
	const char *name;
	void *child;

	if (!root || (root->links > 0 && --root->links > 0))
		return;
	if (root->children)
		map_for_each (root->children, iter, &name, &child)
			erofs_node_free_tree(child);
	free_node(root);
}

int erofs_node_add(struct erofs_node *dir, const char *name, struct erofs_node *node,
                   struct err *err)
{
	if (map_set(dir->children, name, node, NULL, err) < 0)
		return -1;
	node->links++;
	return 0;
}

void erofs_node_remove(struct erofs_node *dir, const char *name)
{
	erofs_node_free_tree(map_remove(dir->children, name));
}

int erofs_node_set_xattr(struct erofs_node *node, const char *name, const void *value, size_t len,
                         struct err *err)
{
	struct erofs_xattr *x = node->xattrs;
	void *copy = malloc(len ? len : 1);

	if (!copy)
		return err_nomem(err);
	memcpy(copy, value, len);
	while (x && strcmp(x->name, name) != 0)
		x = x->next;
	if (!x) {
		x = calloc(1, sizeof(*x));
		char *own = strdup(name);
		if (!x || !own) {
			free(x);
			free(own);
			free(copy);
			return err_nomem(err);
		}
		x->name = own;
		x->next = node->xattrs;
		node->xattrs = x;
	}
	free(x->value);
	x->value = copy;
	x->len = len;
	return 0;
}

/* ---- a buffered writer ---- */

struct writer {
	int fd;
	uint64_t at; /* in the file */
	size_t used;
	int rc;
	struct err *err;
	uint8_t data[WRITE_BUFFER];
};

static void flush(struct writer *w)
{
	if (w->rc == 0)
		w->rc = fs_write_all(w->fd, w->data, w->used, w->err);
	w->used = 0;
}

static void put(struct writer *w, const void *data, size_t len)
{
	const uint8_t *next = data;

	w->at += len;
	while (len > 0) {
		size_t n = WRITE_BUFFER - w->used < len ? WRITE_BUFFER - w->used : len;
		memcpy(w->data + w->used, next, n);
		w->used += n;
		next += n;
		len -= n;
		if (w->used == WRITE_BUFFER)
			flush(w);
	}
}

static void put_zeros(struct writer *w, uint64_t until)
{
	static const uint8_t zeros[EROFS_BLOCK];

	while (w->at < until)
		put(w, zeros, until - w->at < EROFS_BLOCK ? until - w->at : EROFS_BLOCK);
}

static uint64_t round_up(uint64_t n, uint64_t unit)
{
	return (n + unit - 1) / unit * unit;
}

/* ---- what lies where ---- */

struct layout {
	struct erofs_node **nodes; /* each once, a directory before what is in it */
	size_t count, room;
	uint64_t block;    /* the next free one for directories */
	uint64_t position; /* the next free byte for inodes, from the first metadata block on */
};

static const struct {
	const char *prefix;
	uint8_t index;
} xattr_kinds[] = {
	{"user.", 1},
	{"trusted.", 4},
	{"security.", 6},
};

/* The kernel's number of the prefix; *rest is what follows it. 0: not to be stored. */
static uint8_t xattr_kind(const char *name, const char **rest)
{
	*rest = "";
	if (str_eq(name, "system.posix_acl_access"))
		return 2;
	if (str_eq(name, "system.posix_acl_default"))
		return 3;
	for (size_t i = 0; i < ARRAY_LEN(xattr_kinds); i++)
		if (str_starts(name, xattr_kinds[i].prefix)) {
			*rest = name + strlen(xattr_kinds[i].prefix);
			return xattr_kinds[i].index;
		}
	return 0;
}

static uint64_t xattrs_size(const struct erofs_node *node)
{
	uint64_t size = 0;
	const char *rest;

	for (const struct erofs_xattr *x = node->xattrs; x; x = x->next)
		if (xattr_kind(x->name, &rest))
			size += round_up(4 + strlen(rest) + x->len, 4);
	return size ? size + XATTR_HEADER : 0;
}

static bool is_inline_link(const struct erofs_node *node)
{
	return S_ISLNK(node->mode) &&
	       INODE_SIZE + xattrs_size(node) + strlen(node->target) <= EROFS_BLOCK;
}

static bool has_chunk(const struct erofs_node *node)
{
	return S_ISREG(node->mode) && !node->own && node->size > 0;
}

static int add_node(struct layout *l, struct erofs_node *node, struct err *err)
{
	if (l->count == l->room) {
		size_t room = l->room ? l->room * 2 : 1024;
		struct erofs_node **nodes =
			reallocarray(l->nodes, room, sizeof(struct erofs_node *));
		if (!nodes)
			return err_nomem(err);
		l->nodes = nodes;
		l->room = room;
	}
	l->nodes[l->count++] = node;
	node->ino = (uint32_t)l->count;
	return 0;
}

/* Breadth first: the list grows while it is walked. */
static int list_nodes(struct layout *l, struct erofs_node *root, struct err *err)
{
	const char *name;
	void *value;

	root->parent = root;
	if (add_node(l, root, err) < 0)
		return -1;
	for (size_t i = 0; i < l->count; i++) {
		struct erofs_node *dir = l->nodes[i];
		if (!dir->children)
			continue;
		map_for_each (dir->children, iter, &name, &value) {
			struct erofs_node *child = value;
			dir->subdirs += S_ISDIR(child->mode);
			child->parent = dir;
			if (child->ino == 0 && add_node(l, child, err) < 0)
				return -1;
		}
	}
	return 0;
}

/* ---- directories ---- */

struct name {
	const char *text;
	const struct erofs_node *node;
};

static int by_bytes(const void *a, const void *b)
{
	const struct name *x = a, *y = b;

	return strcmp(x->text, y->text); /* compares as unsigned bytes */
}

/* All names of a directory in order, "." and ".." among them. The caller frees the result. */
static struct name *sorted_names(const struct erofs_node *dir, size_t *count, struct err *err)
{
	size_t n = 2;
	void *child;
	struct name *names = calloc(map_count(dir->children) + 2, sizeof(*names));

	if (!names) {
		(void)err_nomem(err);
		return NULL;
	}
	names[0] = (struct name){".", dir};
	names[1] = (struct name){"..", dir->parent};
	map_for_each (dir->children, iter, &names[n].text, &child)
		names[n++].node = child;
	qsort(names, n, sizeof(*names), by_bytes);
	*count = n;
	return names;
}

/* How many names from `first` on fit into one block, and the bytes that they take. */
static size_t fit_block(const struct name *names, size_t first, size_t count, size_t *used)
{
	size_t n = 0;

	*used = 0;
	while (first + n < count) {
		size_t more = DIRENT_SIZE + strlen(names[first + n].text);
		if (*used + more > EROFS_BLOCK)
			break;
		*used += more;
		n++;
	}
	return n;
}

static int place_dir(struct layout *l, struct erofs_node *dir, struct err *err)
{
	size_t count, used = 0;
	uint64_t blocks = 0;
	auto_free struct name *names = sorted_names(dir, &count, err);

	if (!names)
		return -1;
	for (size_t at = 0; at < count; blocks++)
		at += fit_block(names, at, count, &used);
	dir->block = (uint32_t)l->block;
	dir->dir_size = (uint32_t)((blocks - 1) * EROFS_BLOCK + used);
	l->block += blocks;
	return 0;
}

static uint8_t type_of(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
		return 1;
	case S_IFDIR:
		return 2;
	case S_IFCHR:
		return 3;
	case S_IFBLK:
		return 4;
	case S_IFIFO:
		return 5;
	case S_IFLNK:
		return 7;
	default:
		return 0;
	}
}

static int put_dir(struct writer *w, const struct erofs_node *dir, struct err *err)
{
	size_t count, used;
	auto_free struct name *names = sorted_names(dir, &count, err);

	if (!names)
		return -1;
	for (size_t at = 0; at < count;) {
		size_t n = fit_block(names, at, count, &used), offset = n * DIRENT_SIZE;
		for (size_t i = at; i < at + n; i++) {
			struct dirent d = {.nid = htole64(names[i].node->nid),
			                   .name_offset = htole16((uint16_t)offset),
			                   .type = type_of(names[i].node->mode)};
			put(w, &d, sizeof(d));
			offset += strlen(names[i].text);
		}
		for (size_t i = at; i < at + n; i++)
			put(w, names[i].text, strlen(names[i].text));
		put_zeros(w, round_up(w->at, EROFS_BLOCK));
		at += n;
	}
	return 0;
}

/* ---- inodes ---- */

static int place_inode(struct layout *l, struct erofs_node *node, struct err *err)
{
	uint64_t xattrs = xattrs_size(node), size = INODE_SIZE + xattrs;
	uint64_t together = INODE_SIZE; /* what may not cross a block's end */

	if (xattrs > XATTRS_MAX)
		return err_set(err, ERR_LIMIT, "a file has more than %u bytes of attributes",
		               XATTRS_MAX);
	if (S_ISLNK(node->mode) && is_inline_link(node))
		together = size += strlen(node->target);
	else if (S_ISLNK(node->mode))
		node->block = (uint32_t)l->block,
		l->block += round_up(strlen(node->target), EROFS_BLOCK) / EROFS_BLOCK;
	uint64_t at = round_up(l->position, NID_SIZE);
	if (at % EROFS_BLOCK + together > EROFS_BLOCK)
		at = round_up(at, EROFS_BLOCK);
	if (has_chunk(node))
		size = round_up(size, CHUNK_SIZE) + CHUNK_SIZE;
	node->nid = at / NID_SIZE;
	l->position = at + size;
	return 0;
}

/* One chunk that is as large as the file: log2 of its blocks. */
static uint32_t chunk_bits(int64_t size)
{
	uint32_t bits = 0;

	while (bits < CHUNK_BITS_MAX && ((int64_t)EROFS_BLOCK << bits) < size)
		bits++;
	return bits;
}

static uint32_t device_number(dev_t rdev)
{
	uint32_t high = major(rdev), low = minor(rdev);

	return (low & 0xff) | (high << 8) | ((low & ~0xffu) << 12);
}

static struct inode inode_of(const struct erofs_node *node)
{
	uint64_t xattrs = xattrs_size(node), size = 0;
	uint32_t what = 0, layout = LAYOUT_PLAIN;

	if (S_ISDIR(node->mode)) {
		size = node->dir_size;
		what = node->block;
	} else if (S_ISLNK(node->mode)) {
		size = strlen(node->target);
		layout = is_inline_link(node) ? LAYOUT_INLINE : LAYOUT_PLAIN;
		what = is_inline_link(node) ? 0 : node->block;
	} else if (has_chunk(node)) {
		size = (uint64_t)node->size;
		layout = LAYOUT_CHUNKS;
		what = CHUNK_INDEXES | chunk_bits(node->size);
	} else if (S_ISREG(node->mode)) {
		size = (uint64_t)node->size;
		what = (uint32_t)(node->data / EROFS_BLOCK);
	} else if (S_ISCHR(node->mode) || S_ISBLK(node->mode)) {
		what = device_number(node->rdev);
	}
	return (struct inode){
		.format = htole16((uint16_t)(INODE_EXTENDED | layout)),
		.xattr_units = htole16(xattrs ? (uint16_t)(1 + (xattrs - XATTR_HEADER) / 4) : 0),
		.mode = htole16((uint16_t)node->mode),
		.size = htole64(size),
		.what = htole32(what),
		.ino = htole32(node->ino),
		.uid = htole32(node->uid),
		.gid = htole32(node->gid),
		.mtime = htole64((uint64_t)node->mtime),
		.mtime_ns = htole32(node->mtime_ns),
		.links = htole32(S_ISDIR(node->mode) ? node->subdirs + 2 : node->links),
	};
}

static void put_xattrs(struct writer *w, const struct erofs_node *node)
{
	static const uint8_t header[XATTR_HEADER]; /* no filter, none shared */
	const char *rest;

	if (xattrs_size(node) == 0)
		return;
	put(w, header, sizeof(header));
	for (const struct erofs_xattr *x = node->xattrs; x; x = x->next) {
		uint8_t kind = xattr_kind(x->name, &rest);
		if (kind == 0)
			continue;
		uint8_t entry[4] = {(uint8_t)strlen(rest), kind, x->len & 0xff,
		                    (uint8_t)(x->len >> 8)};
		put(w, entry, sizeof(entry));
		put(w, rest, strlen(rest));
		put(w, x->value, x->len);
		put_zeros(w, round_up(w->at, 4));
	}
}

static void put_inode(struct writer *w, const struct erofs_node *node, uint64_t base)
{
	struct inode inode = inode_of(node);

	put_zeros(w, base + node->nid * NID_SIZE);
	put(w, &inode, sizeof(inode));
	put_xattrs(w, node);
	if (has_chunk(node)) {
		struct chunk c = {.device = htole16(1),
		                  .block = htole32((uint32_t)(node->data / EROFS_BLOCK))};
		put_zeros(w, round_up(w->at, CHUNK_SIZE));
		put(w, &c, sizeof(c));
	} else if (S_ISLNK(node->mode) && is_inline_link(node)) {
		put(w, node->target, strlen(node->target));
	}
}

/* ---- the whole ---- */

static int place_all(struct layout *l, struct err *err)
{
	for (size_t i = 0; i < l->count; i++)
		if ((l->nodes[i]->children && place_dir(l, l->nodes[i], err) < 0) ||
		    place_inode(l, l->nodes[i], err) < 0)
			return -1;
	return 0;
}

static int write_tree(struct writer *w, const struct layout *l, struct err *err)
{
	for (size_t i = 0; i < l->count; i++) {
		const struct erofs_node *node = l->nodes[i];
		if (node->children && put_dir(w, node, err) < 0)
			return -1;
		if (!S_ISLNK(node->mode) || is_inline_link(node))
			continue;
		put(w, node->target, strlen(node->target));
		put_zeros(w, round_up(w->at, EROFS_BLOCK));
	}
	for (size_t i = 0; i < l->count; i++)
		put_inode(w, l->nodes[i], l->block * EROFS_BLOCK);
	put_zeros(w, round_up(w->at, EROFS_BLOCK));
	flush(w);
	return w->rc;
}

static int write_super(int fd, const struct layout *l, uint64_t end, struct err *err)
{
	struct {
		struct super super;
		struct device device;
	} head = {
		.super =
			{
				.magic = htole32(SUPER_MAGIC),
				.block_bits = 9,
				.root_nid = htole16((uint16_t)l->nodes[0]->nid),
				.inodes = htole64(l->count),
				.blocks = htole32((uint32_t)(end / EROFS_BLOCK)),
				.meta_block = htole32((uint32_t)l->block),
				.feature_incompat = htole32(CHUNKED_FILE | DEVICE_TABLE),
				.extra_devices = htole16(1),
				.device_slot = htole16(DEVICE_OFFSET / DEVICE_SLOT),
			},
		.device = {.blocks = htole32(UINT32_MAX)},
	};
	ssize_t n = pwrite(fd, &head, sizeof(head), SUPER_OFFSET);

	return n == (ssize_t)sizeof(head) ? 0 : err_sys(err, "cannot write a layer's index");
}

int erofs_write(int fd, struct erofs_node *root, int64_t end, struct err *err)
{
	struct layout l = {.block = round_up((uint64_t)end, EROFS_BLOCK) / EROFS_BLOCK,
	                   .position = FIRST_INODE};
	uint64_t first = l.block * EROFS_BLOCK;
	auto_free struct writer *w = calloc(1, sizeof(*w));
	int rc = w ? 0 : err_nomem(err);

	if (rc == 0)
		rc = list_nodes(&l, root, err);
	if (rc == 0)
		rc = place_all(&l, err);
	if (rc == 0 && l.block * EROFS_BLOCK + l.position > (uint64_t)EROFS_SIZE_MAX)
		rc = err_set(err, ERR_LIMIT, "a layer's index would be larger than %lld bytes",
		             (long long)EROFS_SIZE_MAX);
	if (rc == 0 && lseek(fd, (off_t)first, SEEK_SET) < 0)
		rc = err_sys(err, "cannot write a layer's index");
	if (rc == 0) {
		w->fd = fd;
		w->at = first;
		w->err = err;
		rc = write_tree(w, &l, err);
	}
	if (rc == 0)
		rc = write_super(fd, &l, w->at, err);
	free(l.nodes);
	return rc;
}
