/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * testing_alloc - a test in which the n-th allocation fails.
 *
 *	for (long n = 1;; n++) {
 *		testing_fail_alloc(n);
 *		int rc = what_is_tested(&err);
 *		if (!testing_alloc_failed())
 *			break;               // it needs fewer than n
 *		assert_int_equal(rc, -1);
 *	}
 *
 * Include it in the one source of a test program: it puts itself before malloc() and
 * kin of the C library, for the libraries as well. A sanitizer brings an allocator of its
 * own, so there nothing fails and TESTING_ALLOC is 0.
 */

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define TESTING_ALLOC 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define TESTING_ALLOC 0
#endif
#endif
#ifndef TESTING_ALLOC
#define TESTING_ALLOC 1
#endif

static _Thread_local long testing_alloc_left; /* allocations until the failing one; 0: none fails */
static _Thread_local bool testing_alloc_hit;

static inline void testing_fail_alloc(long n)
{
	testing_alloc_left = n;
	testing_alloc_hit = false;
}

/* Whether the failing one was reached; from here on all succeed. */
static inline bool testing_alloc_failed(void)
{
	testing_alloc_left = 0;
	return testing_alloc_hit;
}

#if TESTING_ALLOC
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);

static inline bool testing_alloc_fails(void)
{
	if (testing_alloc_left == 0 || --testing_alloc_left > 0)
		return false;
	testing_alloc_hit = true;
	errno = ENOMEM;
	return true;
}

void *malloc(size_t size)
{
	return testing_alloc_fails() ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
	return testing_alloc_fails() ? NULL : __libc_calloc(count, size);
}

void *realloc(void *old, size_t size)
{
	return testing_alloc_fails() ? NULL : __libc_realloc(old, size);
}
#endif
