/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* compat - what differs between builds; the only place where the preprocessor asks. */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define COMPAT_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define COMPAT_SANITIZED 1
#endif
#endif

#ifndef COMPAT_SANITIZED
#define COMPAT_SANITIZED                                                                           \
	0 /* 1: shadow memory of terabytes is mapped, so memory limits do not fit */
#endif
