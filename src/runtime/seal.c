/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seal - moves the program onto a read-only mount of its own file, before the C library has started.
 *
 * Why it must run from there says main.c (run_from_readonly()), which does the same by a second execve(2) wherever
 * this does not. Here it takes none, as nothing has been written yet: what execve(2) has mapped is mapped again in the
 * same places, from the same file on the other mount, and the link /proc/self/exe is set anew. The kernel refuses
 * that as long as one page of the old file is mapped, so the link speaks for all of it.
 *
 * This is the program's entry point. Nothing is initialised - no thread-local storage, no relocated
 * functions - hence bare system calls only, no function of the C library and nothing that compiles to one (meson.build).
 * On any trouble it executes the file from the mount, and if that fails as well it is back to the ordinary start.
 */
#include <elf.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>

#define PAGE 4096U /* x86-64 has no other */
#define SELF "/proc/self/exe"

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

/* Numbers, or addresses as such. */
static long call(long number, uintptr_t a, uintptr_t b, uintptr_t c, uintptr_t d, uintptr_t e)
{
	register uintptr_t r10 __asm__("r10") = d;
	register uintptr_t r8 __asm__("r8") = e;
	register uintptr_t r9 __asm__("r9") = 0;
	long rc = number;

	__asm__ volatile("syscall"
	                 : "+a"(rc)
	                 : "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
	                 : "rcx", "r11", "memory");
	return rc;
}

static uintptr_t at(const void *address)
{
	return (uintptr_t)address;
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

/* ---- what execve(2) has left ---- */

struct start {
	const uintptr_t *stack;
	const char *const *argv, *const *envp;
	const uintptr_t *auxv;
	const Elf64_Phdr *segments, *segments_end;
};

static uintptr_t find_aux(const uintptr_t *auxv, uintptr_t type)
{
	for (; auxv[0] != AT_NULL; auxv += 2)
		if (auxv[0] == type)
			return auxv[1];
	return 0;
}

static void read_stack(const uintptr_t *stack, struct start *s)
{
	const char *const *end;

	s->stack = stack;
	s->argv = (const char *const *)(stack + 1);
	s->envp = end = s->argv + stack[0] + 1;
	while (*end)
		end++;
	s->auxv = (const uintptr_t *)(end + 1);
	s->segments = (const Elf64_Phdr *)find_aux(s->auxv, AT_PHDR);
	s->segments_end = s->segments + find_aux(s->auxv, AT_PHNUM);
}

/* Those of main.c that enter containers. A container of such a name costs a mount too many. */
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
	const char *name = (const char *)find_aux(auxv, AT_EXECFN);

	return !name || begins(name, "/dev/fd/");
}

/* Behind the last of these texts, which lie one after the other; `begin` if there are none. */
static uintptr_t end_of(const char *const *texts, uintptr_t begin)
{
	for (; *texts; texts++) {
		const char *p = *texts;
		while (*p++)
			;
		begin = at(p);
	}
	return begin;
}

/* ---- moving ---- */

static bool map_again(const Elf64_Phdr *segment, uintptr_t fd)
{
	uintptr_t into = segment->p_vaddr % PAGE;
	uintptr_t prot = (segment->p_flags & PF_R ? PROT_READ : 0) |
	                 (segment->p_flags & PF_W ? PROT_WRITE : 0) |
	                 (segment->p_flags & PF_X ? PROT_EXEC : 0);
	register uintptr_t offset __asm__("r9") = segment->p_offset - into;
	register uintptr_t flags __asm__("r10") = MAP_PRIVATE | MAP_FIXED;
	register uintptr_t file __asm__("r8") = fd;
	long rc = SYS_mmap;

	__asm__ volatile("syscall"
	                 : "+a"(rc)
	                 : "D"(segment->p_vaddr - into), "S"(segment->p_filesz + into), "d"(prot),
	                   "r"(flags), "r"(file), "r"(offset)
	                 : "rcx", "r11", "memory");
	if (rc < 0)
		return false;
	/* The kernel leaves zeros behind the data. */
	for (uintptr_t p = segment->p_vaddr + segment->p_filesz;
	     segment->p_memsz > segment->p_filesz && p % PAGE; p++)
		*(volatile char *)p = 0;
	return true;
}

static void find_bounds(const struct start *s, struct prctl_mm_map *map)
{
	map->start_code = map->start_data = UINTPTR_MAX;
	map->end_code = map->end_data = 0;
	for (const Elf64_Phdr *p = s->segments; p < s->segments_end; p++) {
		uintptr_t end = p->p_vaddr + p->p_filesz;
		if (p->p_type == PT_LOAD && (p->p_flags & PF_X)) {
			map->start_code = p->p_vaddr;
			map->end_code = end;
		} else if (p->p_type == PT_LOAD) { /* the last one is the data */
			map->start_data = p->p_vaddr;
			map->end_data = end;
		}
	}
	map->start_brk = map->brk = (uintptr_t)call(SYS_brk, 0, 0, 0, 0, 0);
	map->start_stack = at(s->stack);
	map->arg_start = at(s->argv[0]);
	map->arg_end = map->env_start = end_of(s->argv, map->arg_start);
	map->env_end = end_of(s->envp, map->env_start);
}

/* The link cannot be set alone without CAP_SYS_RESOURCE (prctl(2), PR_SET_MM_EXE_FILE), but along with what else
 * the kernel knows of the address space, which stays as it is. */
static bool move_onto(const struct start *s, uintptr_t fd)
{
	struct prctl_mm_map map;

	for (const Elf64_Phdr *p = s->segments; p < s->segments_end; p++)
		if (p->p_type == PT_LOAD && !map_again(p, fd))
			return false;
	find_bounds(s, &map);
	map.auxv = NULL;
	map.auxv_size = 0;
	map.exe_fd = (uint32_t)fd;
	return call(SYS_prctl, PR_SET_MM, PR_SET_MM_MAP, at(&map), sizeof(map), 0) == 0;
}

/* A detached mount is a descriptor that can only be walked from. */
static long open_root(uintptr_t mount)
{
	static const char prefix[] = "/proc/self/fd/";
	char path[sizeof(prefix) + 20], *p = path;
	uintptr_t scale = 1;

	for (const char *c = prefix; *c; c++)
		*p++ = *c;
	while (mount / scale >= 10)
		scale *= 10;
	for (; scale > 0; scale /= 10)
		*p++ = (char)('0' + mount / scale % 10);
	*p = '\0';
	return call(SYS_openat, (uintptr_t)AT_FDCWD, at(path), O_RDONLY | O_CLOEXEC, 0, 0);
}

static bool make_readonly(uintptr_t mount)
{
	struct mount_attr attr;

	attr.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID;
	attr.attr_clr = attr.propagation = attr.userns_fd = 0;
	return call(SYS_mount_setattr, mount, at(""), AT_EMPTY_PATH, at(&attr), sizeof(attr)) == 0;
}

static void seal(const struct start *s, uintptr_t mount)
{
	long fd = open_root(mount);
	bool moved = fd >= 0 && move_onto(s, (uintptr_t)fd);

	if (fd >= 0)
		(void)call(SYS_close, (uintptr_t)fd, 0, 0, 0, 0);
	if (!moved)
		(void)call(SYS_execveat, mount, at(""), at(s->argv), at(s->envp), AT_EMPTY_PATH);
}

void seal_early(const uintptr_t *stack)
{
	struct start s;
	struct statfs fs;

	read_stack(stack, &s);
	fs.f_flags = 0;
	if (!is_wanted(s.argv) || is_second(s.auxv) ||
	    call(SYS_statfs, at(SELF), at(&fs), 0, 0, 0) < 0 || (fs.f_flags & ST_RDONLY))
		return;
	long mount = call(SYS_open_tree, (uintptr_t)AT_FDCWD, at(SELF),
	                  OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC, 0, 0);
	if (mount < 0)
		return;
	if (make_readonly((uintptr_t)mount))
		seal(&s, (uintptr_t)mount);
	(void)call(SYS_close, (uintptr_t)mount, 0, 0, 0, 0);
}
