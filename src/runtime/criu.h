/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * criu - one request to CRIU, the program that writes processes to files and makes them again.
 *
 * It is started as `criu swrk FD`: requests and answers are protobuf messages over a socket (its images/rpc.proto). Its
 * command line would be less work, but only this way tells us when the namespaces are there (for hooks), when the
 * process is there and still stopped (for its record), and hands over the master of a terminal.
 *
 *	auto_buf struct buf options = BUF_INIT(CRIU_OPTIONS_MAX);
 *	criu_add_number(&options, CRIU_OPT_PID, pid);
 *	criu_call(&(struct criu_call){.type = CRIU_DUMP, .options = &options}, &answer, err);
 *
 * Single-threaded callers only: it forks. Blocks until CRIU has answered.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct buf;
struct err;

#define CRIU_OPTIONS_MAX (256 << 10)
#define CRIU_MESSAGE_MAX (64 << 10) /* bytes of an answer */
#define CRIU_PASS_MAX    10
#define CRIU_PASS_FIRST  3     /* the number of the first descriptor that is passed */
#define CRIU_VERSION_MIN 31500 /* 3.15: namespaces that are handed over */

enum criu_request {
	CRIU_DUMP = 1,
	CRIU_RESTORE = 2,
	CRIU_PRE_DUMP = 4,
	CRIU_NOTIFY = 6,
	CRIU_VERSION = 10,
};

/* Fields of criu_opts. */
enum criu_option {
	CRIU_OPT_IMAGES_DIR_FD = 1, /* of CRIU itself: one that is passed */
	CRIU_OPT_PID = 2,
	CRIU_OPT_LEAVE_RUNNING = 3,
	CRIU_OPT_EXT_UNIX_SK = 4,
	CRIU_OPT_TCP_ESTABLISHED = 5,
	CRIU_OPT_EVASIVE_DEVICES = 6,
	CRIU_OPT_SHELL_JOB = 7,
	CRIU_OPT_FILE_LOCKS = 8,
	CRIU_OPT_LOG_LEVEL = 9,
	CRIU_OPT_LOG_FILE = 10,
	CRIU_OPT_PAGE_SERVER = 11, /* 1: address, 2: port */
	CRIU_OPT_NOTIFY_SCRIPTS = 12,
	CRIU_OPT_ROOT = 13,
	CRIU_OPT_PARENT_IMG = 14,
	CRIU_OPT_TRACK_MEM = 15,
	CRIU_OPT_AUTO_DEDUP = 16,
	CRIU_OPT_WORK_DIR_FD = 17,
	CRIU_OPT_MANAGE_CGROUPS = 24,
	CRIU_OPT_CG_ROOT = 25, /* 1: controllers, 2: path */
	CRIU_OPT_RST_SIBLING = 26,
	CRIU_OPT_INHERIT_FD = 27, /* 1: key, 2: descriptor in the child */
	CRIU_OPT_MANAGE_CGROUPS_MODE = 34,
	CRIU_OPT_EXTERNAL = 37, /* "mnt[KEY]:VALUE", "net[INODE]:KEY" */
	CRIU_OPT_EMPTY_NS = 38,
	CRIU_OPT_JOIN_NS = 39, /* 1: kind, 2: file */
	CRIU_OPT_FREEZE_CGROUP = 44,
	CRIU_OPT_LAZY_PAGES = 48,
	CRIU_OPT_STATUS_FD = 49,
	CRIU_OPT_ORPHAN_PTS_MASTER = 50,
	CRIU_OPT_LSM_PROFILE = 53,
	CRIU_OPT_LSM_MOUNT_CONTEXT = 64,
};

/* Appends one field. A flag that is false and a text that is NULL or "" are left out. */
void criu_add_number(struct buf *b, unsigned field, int64_t value);
void criu_add_flag(struct buf *b, unsigned field, bool value);
void criu_add_text(struct buf *b, unsigned field, const char *text);
void criu_add_message(struct buf *b, unsigned field, const struct buf *message);
/* A message of two fields, as many options are. */
void criu_add_pair(struct buf *b, unsigned field, const char *first, const char *second);
void criu_add_named_number(struct buf *b, unsigned field, const char *name, int64_t value);

struct criu_answer {
	int type; /* enum criu_request */
	bool success;
	pid_t pid; /* of CRIU_RESTORE, and of CRIU_NOTIFY */
	char notice
		[64]; /* of CRIU_NOTIFY: "setup-namespaces", "post-restore", "orphan-pts-master", ... */
	int version;     /* 31701 is 3.17.1 */
	int code;        /* errno of a failure, or 0 */
	char words[256]; /* about a failure, or "" */
};
int criu_parse_answer(const void *data, size_t len, struct criu_answer *out, struct err *err);

struct criu_call {
	const char *program; /* looked up in PATH; NULL: "criu" */
	enum criu_request type;
	const struct buf *options; /* fields of criu_opts; NULL: none */
	/* In the child, before the program is executed; may be NULL. -1: the call fails with err. */
	int (*prepare)(void *arg, struct err *err);
	/* Between; may be NULL. fd: the terminal's master, the callee's; or -1. -1: CRIU gives up. */
	int (*notify)(void *arg, const struct criu_answer *notice, int fd, struct err *err);
	void *arg;
	/* Descriptors that CRIU gets as 3, 4, ..., CRIU_PASS_MAX at the most; borrowed. */
	const int *pass_fds;
	size_t pass_count;
};

/* -1: ERR_NOT_FOUND if there is no such program; ERR_UNSUPPORTED with its words if it cannot work on this machine;
 * ERR_SYSTEM if it could not do what it was asked; what notify() said. */
int criu_call(const struct criu_call *call, struct criu_answer *answer, struct err *err);

/* Whether there is one that works: its version in *version. Errors as of criu_call(); ERR_UNSUPPORTED also if it is
 * too old. */
int criu_check(const char *program, int *version, struct err *err);

/* The last lines of its log, or of its stderr, that tell of an error, `max` at the most, joined by "; ". What it says
 * without that word is worth the last line. */
void criu_log_tail(const char *log, size_t max, struct buf *out);
