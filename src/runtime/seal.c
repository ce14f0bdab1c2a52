/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seal - executes the program from a read-only mount, before the C library has started.
 *
 * Why it must run from there says main.c (run_from_readonly()), which does the same wherever this does not: it
 * costs a second execve, and starting the C library twice would be a tenth of a container's start. So
 * this is the program's entry point. Nothing is initialised here - no thread-local storage, no relocated
 * functions - hence bare system calls only, and on any trouble back to the ordinary start.
 */
#include <elf.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>

void seal_early(const uintptr_t *stack);

/* The kernel's entry: argc, argv, environment and auxiliary vector are on the stack. */
__asm__(".globl seal_start\n"
        "seal_start:\n"
        "	mov %rsp, %rbx\n"
        "	mov %rdx, %r12\n" /* for the C library */
        "	mov %rsp, %rdi\n"
        "	and $-16, %rsp\n"
        "	call seal_early\n"
        "	mov %rbx, %rsp\n"
        "	mov %r12, %rdx\n"
        "	jmp _start\n");

static long call(long number, const void *a, const void *b, uintptr_t c, const void *d, uintptr_t e)
{
	register const void *r10 __asm__("r10") = d;
	register uintptr_t r8 __asm__("r8") = e;
	long rc = number;

	__asm__ volatile("syscall"
	                 : "+a"(rc)
	                 : "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
	                 : "rcx", "r11", "memory");
	return rc;
}

static const void *word(long n)
{
	return (const void *)n; /* a descriptor as an argument */
}

static bool equal(const char *a, const char *b)
{
	while (*a && *a == *b) {
		a++;
		b++;
	}
	return *a == *b;
}

static bool begins(const char *text, const char *start)
{
	while (*start && *text == *start) {
		text++;
		start++;
	}
	return *start == '\0';
}

/* Those of main.c that enter containers. A container of such a name costs an execve too many. */
static bool is_wanted(const char *const *argv)
{
	for (const char *const *arg = argv + 1; argv[0] && *arg; arg++)
		if (equal(*arg, "run") || equal(*arg, "create") || equal(*arg, "exec") ||
		    equal(*arg, "serve") || equal(*arg, "restore"))
			return true;
	return false;
}

/* By descriptor: it is us, or main.c, which has executed this. Not twice. */
static bool is_second(const uintptr_t *auxv)
{
	for (; auxv[0] != AT_NULL; auxv += 2)
		if (auxv[0] == AT_EXECFN)
			return begins((const char *)auxv[1], "/dev/fd/");
	return true;
}

__attribute__((no_stack_protector)) void seal_early(const uintptr_t *stack)
{
	const char *const *argv = (const char *const *)(stack + 1);
	const char *const *envp = argv + stack[0] + 1, *const *end = envp;
	struct mount_attr attr;
	struct statfs fs;

	while (*end)
		end++;
	if (!is_wanted(argv) || is_second((const uintptr_t *)(end + 1)))
		return;
	fs.f_flags = 0;
	if (call(SYS_statfs, "/proc/self/exe", &fs, 0, NULL, 0) < 0 || (fs.f_flags & ST_RDONLY))
		return;
	long mount = call(SYS_open_tree, word(AT_FDCWD), "/proc/self/exe",
	                  OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC, NULL, 0);
	if (mount < 0)
		return;
	attr.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID;
	attr.attr_clr = attr.propagation = attr.userns_fd = 0;
	if (call(SYS_mount_setattr, word(mount), "", AT_EMPTY_PATH, &attr, sizeof(attr)) == 0)
		(void)call(SYS_execveat, word(mount), "", (uintptr_t)argv, envp, AT_EMPTY_PATH);
	(void)call(SYS_close, word(mount), NULL, 0, NULL, 0);
}
