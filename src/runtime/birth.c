/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/birth.h"

#include <errno.h>
#include <linux/sched.h>
#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"

/* Pages come as they are used; a stack that grows too far meets the guard, not somebody's data. */
#define STACK_SIZE (1 << 20)
#define GUARD_SIZE (64 << 10)

/* Sanitizers keep books of each stack, and would take the child's for a mistake. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) ||                         \
	__has_feature(memory_sanitizer)
#define SANITIZED 1
#endif
#endif

#if defined(__x86_64__) && !defined(SANITIZED)

#define CAN_SHARE true

/* clone3() for a child with a stack of its own: the C library's wrapper is not for everybody, and syscall()
 * would return in the child, to a frame that it does not have. */
long birth_clone3(struct clone_args *args, size_t size, struct birth *birth);
__asm__(".text\n"
        ".type birth_clone3, @function\n"
        "birth_clone3:\n"
        "	mov %rdx, %r8\n" /* the kernel keeps it */
        "	mov $435, %eax\n"
        "	syscall\n"
        "	test %rax, %rax\n"
        "	jz 1f\n"
        "	ret\n"
        "1:	xor %ebp, %ebp\n" /* the outermost frame */
        "	mov %r8, %rdi\n"
        "	call birth_child\n"
        "	hlt\n");

_Noreturn void birth_child(struct birth *birth);
_Noreturn __attribute__((used)) void birth_child(struct birth *birth)
{
	init_run(&birth->plan);
}

static pid_t clone_sharing(struct birth *birth, struct clone_args *args)
{
	args->flags |= CLONE_VM;
	args->stack = (uint64_t)(uintptr_t)(birth->stack + GUARD_SIZE);
	args->stack_size = STACK_SIZE;
	long pid = birth_clone3(args, sizeof(*args), birth);
	if (pid >= 0)
		return (pid_t)pid;
	errno = (int)-pid;
	return -1;
}

#else

#define CAN_SHARE false

static pid_t clone_sharing(struct birth *birth, struct clone_args *args)
{
	(void)birth, (void)args;
	errno = ENOSYS;
	return -1;
}

#endif

/* NULL: no memory. */
static char *map_stack(void)
{
	char *low = mmap(NULL, GUARD_SIZE + STACK_SIZE, PROT_NONE,
	                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE, -1, 0);

	if (low == MAP_FAILED)
		return NULL;
	if (mprotect(low + GUARD_SIZE, STACK_SIZE, PROT_READ | PROT_WRITE) == 0)
		return low;
	(void)munmap(low, GUARD_SIZE + STACK_SIZE);
	return NULL;
}

/* The caller's may be gone when the child still needs it. */
static int keep(char **copy, const char *text)
{
	*copy = text ? strdup(text) : NULL;
	return text && !*copy ? -1 : 0;
}

struct birth *birth_new(const struct init_plan *plan, void *bpf, bool shares, struct err *err)
{
	struct birth *birth = calloc(1, sizeof(*birth));
	const struct spawn_options *options = plan->options;

	if (!birth) {
		free(bpf);
		err_nomem(err);
		return NULL;
	}
	*birth = (struct birth){.plan = *plan, .options = *options, .bpf = bpf};
	birth->plan.options = &birth->options;
	birth->stack = shares && CAN_SHARE ? map_stack() : NULL;
	if (keep(&birth->id, options->id) == 0 &&
	    keep(&birth->bundle_path, options->bundle_path) == 0 &&
	    (birth->stack || !shares || !CAN_SHARE)) {
		birth->options.id = birth->id;
		birth->options.bundle_path = birth->bundle_path;
		return birth;
	}
	birth_free(birth);
	err_nomem(err);
	return NULL;
}

pid_t birth_clone(struct birth *birth, struct clone_args *args)
{
	if (birth->stack)
		return clone_sharing(birth, args);
	pid_t pid = (pid_t)syscall(SYS_clone3, args, sizeof(*args));
	if (pid == 0)
		init_run(&birth->plan);
	return pid;
}

void birth_free(struct birth *birth)
{
	if (!birth)
		return;
	if (birth->stack)
		(void)munmap(birth->stack, GUARD_SIZE + STACK_SIZE);
	free(birth->bpf);
	free(birth->id);
	free(birth->bundle_path);
	free(birth);
}
