/* SPDX-License-Identifier: Apache-2.0 */
#include "base/landlock.h"

#include <errno.h>
#include <linux/landlock.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"

/* Beyond ABI 2, which the headers of Debian 12 end with. */
#define ACCESS_FS_TRUNCATE  (1ULL << 14) /* ABI 3 */
#define ACCESS_FS_IOCTL_DEV (1ULL << 15) /* ABI 5 */
#define ACCESS_NET_BIND     (1ULL << 0)  /* ABI 4 */
#define ACCESS_NET_CONNECT  (1ULL << 1)
#define SCOPE_ABSTRACT      (1ULL << 0) /* ABI 6 */
#define SCOPE_SIGNAL        (1ULL << 1)

/* The kernel takes a longer one than it knows if the rest is 0. */
struct ruleset {
	uint64_t fs, net, scoped;
};

#define FS_ABI_1 ((1ULL << 13) - 1)
#define FOR_FILES                                                                                  \
	(LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE |                              \
	 LANDLOCK_ACCESS_FS_READ_FILE | ACCESS_FS_TRUNCATE | ACCESS_FS_IOCTL_DEV)

int landlock_abi(void)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);

	return abi > 0 ? (int)abi : 0;
}

/* All accesses to files that this kernel can refuse. */
static uint64_t known(int abi)
{
	uint64_t fs = FS_ABI_1;

	fs |= abi >= 2 ? LANDLOCK_ACCESS_FS_REFER : 0;
	fs |= abi >= 3 ? ACCESS_FS_TRUNCATE : 0;
	fs |= abi >= 5 ? ACCESS_FS_IOCTL_DEV : 0;
	return fs;
}

int landlock_open(unsigned flags, struct err *err)
{
	int abi = landlock_abi();
	struct ruleset rules = {.fs = known(abi)};

	if (abi == 0)
		return err_set(err, ERR_UNSUPPORTED, "this kernel has no Landlock");
	if (abi >= 4)
		rules.net = ACCESS_NET_BIND | ACCESS_NET_CONNECT;
	if (abi >= 6)
		rules.scoped = SCOPE_ABSTRACT | (flags & LANDLOCK_OPEN_SIGNALS ? SCOPE_SIGNAL : 0);
	/* Never more bytes than the kernel has: older ones refuse what they do not know, 0 or not. */
	size_t size = abi >= 6   ? sizeof(rules)
	              : abi >= 4 ? offsetof(struct ruleset, scoped)
	                         : offsetof(struct ruleset, net);
	int fd = (int)syscall(SYS_landlock_create_ruleset, &rules, size, 0); /* close-on-exec */
	return fd < 0 ? err_sys(err, "make Landlock rules") : fd;
}

static uint64_t translate(uint64_t access)
{
	uint64_t fs = 0;

	if (access & LANDLOCK_READ)
		fs |= LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
	if (access & LANDLOCK_WRITE)
		fs |= LANDLOCK_ACCESS_FS_WRITE_FILE | ACCESS_FS_TRUNCATE;
	if (access & (LANDLOCK_MAKE | LANDLOCK_UNPACK))
		fs |= LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK |
		      LANDLOCK_ACCESS_FS_REMOVE_FILE;
	if (access & (LANDLOCK_RMDIR | LANDLOCK_UNPACK))
		fs |= LANDLOCK_ACCESS_FS_REMOVE_DIR;
	if (access & LANDLOCK_UNPACK)
		fs |= LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_SYM |
		      LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_CHAR |
		      LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_REFER;
	return fs;
}

int landlock_allow(int rules_fd, int fd, uint64_t access, struct err *err)
{
	struct landlock_path_beneath_attr rule = {
		.parent_fd = fd, .allowed_access = translate(access) & known(landlock_abi())};
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_sys(err, "stat");
	if (!S_ISDIR(st.st_mode))
		rule.allowed_access &= FOR_FILES;
	if (syscall(SYS_landlock_add_rule, rules_fd, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0)
		return err_sys(err, "add a Landlock rule");
	return 0;
}

int landlock_enter(int rules_fd, struct err *err)
{
	if (syscall(SYS_landlock_restrict_self, rules_fd, 0) < 0)
		return err_sys(err, "be confined by Landlock");
	return 0;
}
