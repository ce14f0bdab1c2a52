/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/mount_options.h"

#include <linux/mount.h>
#include <string.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/str.h"

/* From sys/mount.h, which does not live beside linux/mount.h in every libc. */
#define PROPAGATE_REC        16384UL
#define PROPAGATE_UNBINDABLE (1UL << 17)
#define PROPAGATE_PRIVATE    (1UL << 18)
#define PROPAGATE_SLAVE      (1UL << 19)
#define PROPAGATE_SHARED     (1UL << 20)

enum word_kind {
	WORD_SET,   /* sets attr */
	WORD_CLEAR, /* clears attr */
	WORD_ATIME, /* one of three ways: clears the group, sets attr */
	WORD_PROPAGATION,
	WORD_BIND,
	WORD_RBIND,
	WORD_FS,     /* a flag of the file system itself */
	WORD_IGNORE, /* the default, or without effect today */
	WORD_COPY_UP,
	WORD_IDMAP,
	WORD_REMOUNT,
};

struct word {
	const char *name;
	enum word_kind kind;
	unsigned long value;
};

static const struct word words[] = {
	{"defaults", WORD_IGNORE, 0},
	{"ro", WORD_SET, MOUNT_ATTR_RDONLY},
	{"rw", WORD_CLEAR, MOUNT_ATTR_RDONLY},
	{"nosuid", WORD_SET, MOUNT_ATTR_NOSUID},
	{"suid", WORD_CLEAR, MOUNT_ATTR_NOSUID},
	{"nodev", WORD_SET, MOUNT_ATTR_NODEV},
	{"dev", WORD_CLEAR, MOUNT_ATTR_NODEV},
	{"noexec", WORD_SET, MOUNT_ATTR_NOEXEC},
	{"exec", WORD_CLEAR, MOUNT_ATTR_NOEXEC},
	{"nodiratime", WORD_SET, MOUNT_ATTR_NODIRATIME},
	{"diratime", WORD_CLEAR, MOUNT_ATTR_NODIRATIME},
	{"nosymfollow", WORD_SET, MOUNT_ATTR_NOSYMFOLLOW},
	{"symfollow", WORD_CLEAR, MOUNT_ATTR_NOSYMFOLLOW},
	{"relatime", WORD_ATIME, MOUNT_ATTR_RELATIME},
	{"norelatime", WORD_ATIME, MOUNT_ATTR_STRICTATIME},
	{"strictatime", WORD_ATIME, MOUNT_ATTR_STRICTATIME},
	{"nostrictatime", WORD_ATIME, MOUNT_ATTR_RELATIME},
	{"noatime", WORD_ATIME, MOUNT_ATTR_NOATIME},
	{"atime", WORD_ATIME, MOUNT_ATTR_RELATIME},
	{"bind", WORD_BIND, 0},
	{"rbind", WORD_RBIND, 0},
	{"private", WORD_PROPAGATION, PROPAGATE_PRIVATE},
	{"rprivate", WORD_PROPAGATION, PROPAGATE_PRIVATE | PROPAGATE_REC},
	{"slave", WORD_PROPAGATION, PROPAGATE_SLAVE},
	{"rslave", WORD_PROPAGATION, PROPAGATE_SLAVE | PROPAGATE_REC},
	{"shared", WORD_PROPAGATION, PROPAGATE_SHARED},
	{"rshared", WORD_PROPAGATION, PROPAGATE_SHARED | PROPAGATE_REC},
	{"unbindable", WORD_PROPAGATION, PROPAGATE_UNBINDABLE},
	{"runbindable", WORD_PROPAGATION, PROPAGATE_UNBINDABLE | PROPAGATE_REC},
	{"sync", WORD_FS, 0},
	{"dirsync", WORD_FS, 0},
	{"lazytime", WORD_FS, 0},
	{"async", WORD_IGNORE, 0},
	{"nolazytime", WORD_IGNORE, 0},
	{"mand", WORD_IGNORE, 0}, /* mandatory locks are gone from the kernel */
	{"nomand", WORD_IGNORE, 0},
	{"iversion", WORD_IGNORE, 0},
	{"noiversion", WORD_IGNORE, 0},
	{"silent", WORD_IGNORE, 0},
	{"loud", WORD_IGNORE, 0},
	{"tmpcopyup", WORD_COPY_UP, 0},
	{"remount", WORD_REMOUNT, 0},
	{"idmap", WORD_IDMAP, 0},
	{"ridmap", WORD_IDMAP, PROPAGATE_REC},
};

/* Those that find_recursive_word() knows, for `features`. */
static const char *const recursive_words[] = {
	"rro",       "rrw",         "rnosuid",      "rsuid",          "rnodev",       "rdev",
	"rnoexec",   "rexec",       "rnodiratime",  "rdiratime",      "rnosymfollow", "rsymfollow",
	"rrelatime", "rnorelatime", "rstrictatime", "rnostrictatime", "rnoatime",     "ratime",
};

static const struct word *find_word(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (strcmp(words[i].name, name) == 0)
			return &words[i];
	return NULL;
}

/* "rro": a word with an r in front that acts on everything below as well. */
static const struct word *find_recursive_word(const char *name)
{
	if (*name != 'r')
		return NULL;
	const struct word *word = find_word(name + 1);
	bool fits = word && word->kind <= WORD_ATIME;
	return fits ? word : NULL;
}

unsigned long mount_options_propagation(const char *name)
{
	const struct word *word = find_word(name);

	return word && word->kind == WORD_PROPAGATION ? word->value : 0;
}

const char *mount_options_word(size_t index)
{
	if (index < ARRAY_LEN(words))
		return words[index].name;
	index -= ARRAY_LEN(words);
	return index < ARRAY_LEN(recursive_words) ? recursive_words[index] : NULL;
}

static void apply_attr(const struct word *word, uint64_t *set, uint64_t *clear)
{
	switch (word->kind) {
	case WORD_SET:
		*set |= word->value;
		*clear &= ~(uint64_t)word->value;
		break;
	case WORD_CLEAR:
		*set &= ~(uint64_t)word->value;
		*clear |= word->value;
		break;
	case WORD_ATIME:
		*set = (*set & ~(uint64_t)MOUNT_ATTR__ATIME) | word->value;
		*clear |= MOUNT_ATTR__ATIME;
		break;
	case WORD_PROPAGATION:
	case WORD_BIND:
	case WORD_RBIND:
	case WORD_FS:
	case WORD_IGNORE:
	case WORD_COPY_UP:
	case WORD_IDMAP:
	case WORD_REMOUNT:
		break;
	}
}

static int add_data(struct mount_plan *plan, const char *text, struct arena *arena, struct err *err)
{
	struct fs_mount_option *data = &plan->data[plan->data_count++];
	const char *equals = strchr(text, '=');

	if (!equals) {
		*data = (struct fs_mount_option){.key = text};
		return 0;
	}
	data->key = arena_strndup(arena, text, (size_t)(equals - text), err);
	data->value = equals + 1;
	return data->key ? 0 : -1;
}

static int apply_word(struct mount_plan *plan, const struct word *word, const char *text,
                      struct arena *arena, struct err *err)
{
	switch (word->kind) {
	case WORD_SET:
	case WORD_CLEAR:
	case WORD_ATIME:
		apply_attr(word, &plan->attr_set, &plan->attr_clear);
		return 0;
	case WORD_PROPAGATION:
		if (plan->propagation_count == MOUNT_PROPAGATION_MAX)
			return err_set(err, ERR_INVALID, "too many propagation words");
		plan->propagation[plan->propagation_count++] = word->value;
		return 0;
	case WORD_RBIND:
		plan->recursive = true;
		plan->bind = true;
		return 0;
	case WORD_BIND:
		plan->bind = true;
		return 0;
	case WORD_FS:
		return add_data(plan, text, arena, err);
	case WORD_COPY_UP:
		plan->copy_up = true;
		return 0;
	case WORD_IDMAP:
		plan->idmap = true;
		plan->idmap_recursive |= word->value == PROPAGATE_REC;
		return 0;
	case WORD_REMOUNT:
		plan->remount = true;
		return 0;
	case WORD_IGNORE:
		break;
	}
	return 0;
}

static int parse_one(struct mount_plan *plan, const char *text, struct arena *arena,
                     struct err *err)
{
	const struct word *word = find_word(text);

	if (word)
		return apply_word(plan, word, text, arena, err);
	word = find_recursive_word(text);
	if (word) {
		apply_attr(word, &plan->rec_set, &plan->rec_clear);
		return 0;
	}
	return add_data(plan, text, arena, err);
}

struct mount_plan *mount_options_parse(const struct json_strings *options, const char *type,
                                       struct arena *arena, struct err *err)
{
	struct mount_plan *plan = arena_alloc(arena, sizeof(*plan), err);
	if (!plan)
		return NULL;
	plan->data = arena_array(arena, options->count + 1, sizeof(*plan->data), err);
	if (!plan->data)
		return NULL;

	plan->bind = str_eq(type, "bind");
	for (size_t i = 0; i < options->count; i++)
		if (parse_one(plan, options->items[i], arena, err) < 0)
			return NULL;

	if (plan->remount && (plan->idmap || plan->copy_up)) {
		err_set(err, ERR_INVALID,
		        "mount option 'remount' goes with neither idmap nor tmpcopyup");
		return NULL;
	}
	if (!plan->bind && !plan->remount && str_empty(type)) {
		err_set(err, ERR_INVALID, "no type, and not a bind mount");
		return NULL;
	}
	if (plan->data_count > 0 && (plan->bind || str_eq(type, "cgroup"))) {
		err_set(err, ERR_INVALID, "unknown mount option '%s'", plan->data[0].key);
		return NULL;
	}
	if (plan->copy_up && !str_eq(type, "tmpfs")) {
		err_set(err, ERR_INVALID, "mount option 'tmpcopyup' needs type tmpfs");
		return NULL;
	}
	return plan;
}
