/* SPDX-License-Identifier: Apache-2.0 */
#include "image/tarball.h"

#include <endian.h>
#include <errno.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <locale.h>
#include <string.h>
#include <sys/stat.h>

#include <archive.h>
#include <archive_entry.h>

#include "base/err.h"
#include "base/str.h"

#define TARBALL_BLOCK      (64u << 10)
#define TARBALL_XATTRS_MAX 64
#define TARBALL_XATTR_MAX  (64u << 10) /* the kernel's own limit for a value */
#define TARBALL_ACL_MAX    1024        /* entries of an access control list */

struct tarball_reader {
	struct archive *archive;
	struct archive_entry *entry; /* borrowed from archive */
	tarball_read_fn *read;
	void *arg;
	struct err source_err; /* why read() failed */
	locale_t locale;
	struct tarball_xattr xattrs[TARBALL_XATTRS_MAX];
	void *access, *fallback; /* access control lists of this entry; owned */
	char block[TARBALL_BLOCK];
};

struct tarball_writer {
	struct archive *archive;
	tarball_write_fn *write;
	void *arg;
	struct err sink_err;
	locale_t locale;
};

/* libarchive asks the locale how names are encoded; in "C" it would mangle all but ASCII. */
static locale_t locale_utf8(struct err *err)
{
	locale_t l = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);

	if (!l)
		(void)err_sys(err, "cannot make the C.UTF-8 locale");
	return l;
}

static const char *words(struct archive *a)
{
	const char *s = archive_error_string(a);

	return s ? s : "no reason given";
}

/* ---- reading ---- */

static ssize_t reader_read(struct archive *a, void *arg, const void **data)
{
	struct tarball_reader *r = arg;
	ssize_t n = r->read(r->arg, r->block, sizeof(r->block), &r->source_err);

	if (n < 0)
		archive_set_error(a, EIO, "%s", r->source_err.msg);
	*data = r->block;
	return n;
}

/* The reason, as far down as it is known. */
static int reader_fail(struct tarball_reader *r, struct err *err)
{
	if (r->source_err.kind != ERR_NONE) {
		if (err)
			*err = r->source_err;
		return -1;
	}
	return err_set(err, ERR_INVALID, "not a good tar archive: %s", words(r->archive));
}

struct tarball_reader *tarball_reader_open(tarball_read_fn *read, void *arg, struct err *err)
{
	auto_type(tarball_reader) r = calloc(1, sizeof(*r));

	if (!r) {
		(void)err_nomem(err);
		return NULL;
	}
	r->read = read;
	r->arg = arg;
	r->locale = locale_utf8(err);
	if (!r->locale)
		return NULL;
	r->archive = archive_read_new();
	if (!r->archive) {
		(void)err_nomem(err);
		return NULL;
	}
	archive_read_support_format_tar(r->archive);
	archive_read_support_format_empty(r->archive);

	locale_t before = uselocale(r->locale);
	int rc = archive_read_open(r->archive, r, NULL, reader_read, NULL);
	uselocale(before);
	if (rc != ARCHIVE_OK) {
		(void)reader_fail(r, err);
		return NULL;
	}
	return move_ptr(r);
}

void tarball_reader_free(struct tarball_reader *r)
{
	if (!r)
		return;
	archive_read_free(r->archive);
	if (r->locale)
		freelocale(r->locale);
	free(r->access);
	free(r->fallback);
	free(r);
}

/* ---- access control lists: as text in the archive (SCHILY.acl), as attributes for the kernel ---- */

struct acl {
	size_t count;
	bool nameless; /* somebody has a name and no number: whose it is here nobody knows */
	unsigned group, mask;
	bool has_mask;
	struct posix_acl_xattr_entry *entries; /* room for all */
};

static int compare_acl_entries(const void *a, const void *b)
{
	const struct posix_acl_xattr_entry *x = a, *y = b;
	uint32_t xt = le16toh(x->e_tag), yt = le16toh(y->e_tag);
	uint32_t xi = le32toh(x->e_id), yi = le32toh(y->e_id);

	return xt != yt ? (xt > yt) - (xt < yt) : (xi > yi) - (xi < yi);
}

static uint16_t acl_tag(int tag)
{
	switch (tag) {
	case ARCHIVE_ENTRY_ACL_USER_OBJ:
		return ACL_USER_OBJ;
	case ARCHIVE_ENTRY_ACL_USER:
		return ACL_USER;
	case ARCHIVE_ENTRY_ACL_GROUP_OBJ:
		return ACL_GROUP_OBJ;
	case ARCHIVE_ENTRY_ACL_GROUP:
		return ACL_GROUP;
	case ARCHIVE_ENTRY_ACL_MASK:
		return ACL_MASK;
	default:
		return ACL_OTHER;
	}
}

static void add_acl_entry(struct acl *acl, int tag, unsigned permissions, int id)
{
	bool somebody = tag == ARCHIVE_ENTRY_ACL_USER || tag == ARCHIVE_ENTRY_ACL_GROUP;

	if (tag == ARCHIVE_ENTRY_ACL_GROUP_OBJ)
		acl->group = permissions;
	if (tag == ARCHIVE_ENTRY_ACL_MASK) {
		acl->mask = permissions;
		acl->has_mask = true;
	}
	acl->nameless |= somebody && id < 0;
	acl->entries[acl->count++] = (struct posix_acl_xattr_entry){
		.e_tag = htole16(acl_tag(tag)),
		.e_perm = htole16((uint16_t)permissions),
		.e_id = htole32(somebody ? (uint32_t)id : (uint32_t)ACL_UNDEFINED_ID),
	};
}

static int read_acl(struct tarball_reader *r, int type, size_t room, struct acl *acl)
{
	int kind, permissions, tag, id;
	const char *name;

	while (acl->count < room && archive_entry_acl_next(r->entry, type, &kind, &permissions,
	                                                   &tag, &id, &name) == ARCHIVE_OK)
		add_acl_entry(acl, tag, (unsigned)permissions & 7,
		              id < 0 && str_eq(name, "root") ? 0 : id);
	qsort(acl->entries, acl->count, sizeof(*acl->entries), compare_acl_entries);
	return acl->nameless || acl->count == 0 ? 0 : 1;
}

/* One list as an attribute: *value is owned by the reader. What the mode says of the group is, with a list, its mask. */
static int take_acl(struct tarball_reader *r, int type, const char *name, void **value,
                    struct tarball_entry *out, struct err *err)
{
	int room = archive_entry_acl_reset(r->entry, type);
	struct posix_acl_xattr_header head = {.a_version = htole32(POSIX_ACL_XATTR_VERSION)};
	struct acl acl = {0};

	free(*value);
	*value = NULL;
	if (room <= 0)
		return 0;
	if (room > TARBALL_ACL_MAX || out->xattr_count == TARBALL_XATTRS_MAX)
		return err_set(err, ERR_LIMIT, "%s: access control list of more than %d entries",
		               out->path, TARBALL_ACL_MAX);
	char *text = malloc(sizeof(head) + (size_t)room * sizeof(*acl.entries));
	if (!text)
		return err_nomem(err);
	*value = text;
	memcpy(text, &head, sizeof(head));
	acl.entries = (void *)(text + sizeof(head));
	int usable = read_acl(r, type, (size_t)room, &acl);
	if (type == ARCHIVE_ENTRY_ACL_TYPE_ACCESS && acl.has_mask)
		out->mode = (out->mode & ~(mode_t)070) | (usable ? acl.mask : acl.mask & acl.group)
		                                                 << 3;
	if (usable)
		r->xattrs[out->xattr_count++] = (struct tarball_xattr){
			name, text, sizeof(head) + acl.count * sizeof(*acl.entries)};
	return 0;
}

static int take_acls(struct tarball_reader *r, struct tarball_entry *out, struct err *err)
{
	if (take_acl(r, ARCHIVE_ENTRY_ACL_TYPE_ACCESS, "system.posix_acl_access", &r->access, out,
	             err) < 0)
		return -1;
	return take_acl(r, ARCHIVE_ENTRY_ACL_TYPE_DEFAULT, "system.posix_acl_default", &r->fallback,
	                out, err);
}

static int take_xattrs(struct tarball_reader *r, struct tarball_entry *out, struct err *err)
{
	const char *name;
	const void *value;
	size_t len;

	archive_entry_xattr_reset(r->entry);
	while (archive_entry_xattr_next(r->entry, &name, &value, &len) == ARCHIVE_OK) {
		if (out->xattr_count == TARBALL_XATTRS_MAX || len > TARBALL_XATTR_MAX)
			return err_set(
				err, ERR_LIMIT,
				"%s: extended attributes over %d in number or %u bytes in size",
				out->path, TARBALL_XATTRS_MAX, TARBALL_XATTR_MAX);
		if (name)
			r->xattrs[out->xattr_count++] = (struct tarball_xattr){name, value, len};
	}
	out->xattrs = r->xattrs;
	return take_acls(r, out, err);
}

static int take_entry(struct tarball_reader *r, struct tarball_entry *out, struct err *err)
{
	struct archive_entry *e = r->entry;
	int64_t uid = archive_entry_uid(e), gid = archive_entry_gid(e);

	*out = (struct tarball_entry){
		.path = archive_entry_pathname(e),
		.hardlink = archive_entry_hardlink(e),
		.symlink = archive_entry_symlink(e),
		.mode = archive_entry_mode(e),
		.size = archive_entry_size(e),
		.mtime = archive_entry_mtime(e),
		.mtime_ns = archive_entry_mtime_nsec(e),
		.rdev = archive_entry_rdev(e),
	};
	if (!out->path)
		return err_set(err, ERR_INVALID, "an entry of the tar archive has no usable name");
	/* 2^32-1 means "no change" to chown(2), so it is no owner. */
	if (uid < 0 || gid < 0 || uid >= UINT32_MAX || gid >= UINT32_MAX)
		return err_set(err, ERR_INVALID, "%s: owner %lld:%lld is not in 0..4294967294",
		               out->path, (long long)uid, (long long)gid);
	out->uid = (uint32_t)uid;
	out->gid = (uint32_t)gid;
	if (out->hardlink)
		out->mode &= 07777;
	else if (S_ISLNK(out->mode) && !out->symlink)
		return err_set(err, ERR_INVALID, "%s: symbolic link without a target", out->path);
	if (out->size < 0)
		return err_set(err, ERR_INVALID, "%s: negative size", out->path);
	return take_xattrs(r, out, err);
}

int tarball_reader_next(struct tarball_reader *r, struct tarball_entry *entry, struct err *err)
{
	locale_t before = uselocale(r->locale);
	int rc = archive_read_next_header(r->archive, &r->entry);
	int got = -1;

	/* ARCHIVE_WARN: the entry is there, something about it (an unknown record) is odd. */
	if (rc == ARCHIVE_EOF)
		got = 0;
	else if (rc != ARCHIVE_OK && rc != ARCHIVE_WARN)
		got = reader_fail(r, err);
	else
		got = take_entry(r, entry, err) < 0 ? -1 : 1;
	uselocale(before);
	return got;
}

int64_t tarball_reader_position(const struct tarball_reader *r)
{
	if (archive_entry_sparse_count(r->entry) > 0)
		return -1;
	return archive_filter_bytes(r->archive, 0);
}

int tarball_reader_data(struct tarball_reader *r, const void **data, size_t *len, int64_t *offset,
                        struct err *err)
{
	la_int64_t at;
	int rc = archive_read_data_block(r->archive, data, len, &at);

	if (rc == ARCHIVE_EOF)
		return 0;
	if (rc != ARCHIVE_OK && rc != ARCHIVE_WARN)
		return reader_fail(r, err);
	*offset = at;
	return 1;
}

/* ---- writing ---- */

static ssize_t writer_write(struct archive *a, void *arg, const void *data, size_t len)
{
	struct tarball_writer *w = arg;

	if (w->write(w->arg, data, len, &w->sink_err) < 0) {
		archive_set_error(a, EIO, "%s", w->sink_err.msg);
		return -1;
	}
	return (ssize_t)len;
}

static int writer_fail(struct tarball_writer *w, struct err *err)
{
	if (w->sink_err.kind != ERR_NONE) {
		if (err)
			*err = w->sink_err;
		return -1;
	}
	return err_set(err, ERR_SYSTEM, "cannot write the tar archive: %s", words(w->archive));
}

struct tarball_writer *tarball_writer_create(tarball_write_fn *write, void *arg, struct err *err)
{
	auto_type(tarball_writer) w = calloc(1, sizeof(*w));

	if (!w) {
		(void)err_nomem(err);
		return NULL;
	}
	w->write = write;
	w->arg = arg;
	w->locale = locale_utf8(err);
	if (!w->locale)
		return NULL;
	w->archive = archive_write_new();
	if (!w->archive) {
		(void)err_nomem(err);
		return NULL;
	}
	archive_write_set_format_pax_restricted(w->archive);
	/* One spelling of extended attributes, the one that other engines read. */
	archive_write_set_format_option(w->archive, "pax", "xattrheader", "SCHILY");
	archive_write_set_bytes_per_block(w->archive, 65536);
	archive_write_set_bytes_in_last_block(w->archive, 1);
	if (archive_write_open(w->archive, w, NULL, writer_write, NULL) != ARCHIVE_OK) {
		(void)writer_fail(w, err);
		return NULL;
	}
	return move_ptr(w);
}

void tarball_writer_free(struct tarball_writer *w)
{
	if (!w)
		return;
	if (w->archive) {
		/* Nothing more goes to the caller from here, whatever is buffered. */
		archive_write_fail(w->archive);
		archive_write_free(w->archive);
	}
	if (w->locale)
		freelocale(w->locale);
	free(w);
}

static void fill_entry(struct archive_entry *e, const struct tarball_entry *from)
{
	archive_entry_copy_pathname(e, from->path);
	if (from->hardlink) {
		archive_entry_set_mode(e, S_IFREG | (from->mode & 07777));
		archive_entry_copy_hardlink(e, from->hardlink);
	} else {
		archive_entry_set_mode(e, from->mode);
	}
	if (from->symlink)
		archive_entry_copy_symlink(e, from->symlink);
	archive_entry_set_size(e, S_ISREG(from->mode) && !from->hardlink ? from->size : 0);
	archive_entry_set_uid(e, from->uid);
	archive_entry_set_gid(e, from->gid);
	archive_entry_set_mtime(e, from->mtime, from->mtime_ns);
	if (S_ISCHR(from->mode) || S_ISBLK(from->mode))
		archive_entry_set_rdev(e, from->rdev);
	for (size_t i = 0; i < from->xattr_count; i++)
		archive_entry_xattr_add_entry(e, from->xattrs[i].name, from->xattrs[i].value,
		                              from->xattrs[i].len);
}

int tarball_writer_entry(struct tarball_writer *w, const struct tarball_entry *entry,
                         struct err *err)
{
	struct archive_entry *e = archive_entry_new();

	if (!e)
		return err_nomem(err);

	locale_t before = uselocale(w->locale);
	fill_entry(e, entry);
	/* ARCHIVE_WARN: a name that is not UTF-8 goes out as the bytes it is. */
	int rc = archive_write_header(w->archive, e);
	uselocale(before);
	archive_entry_free(e);
	if (rc != ARCHIVE_OK && rc != ARCHIVE_WARN)
		return writer_fail(w, err);
	return 0;
}

int tarball_writer_data(struct tarball_writer *w, const void *data, size_t len, struct err *err)
{
	if (archive_write_data(w->archive, data, len) < 0)
		return writer_fail(w, err);
	return 0;
}

int tarball_writer_finish(struct tarball_writer *w, struct err *err)
{
	if (archive_write_close(w->archive) != ARCHIVE_OK)
		return writer_fail(w, err);
	return 0;
}
