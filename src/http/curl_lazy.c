/* SPDX-License-Identifier: Apache-2.0 */
/*
 * curl_lazy - libcurl, loaded when the first client is made.
 *
 * libcurl brings OpenSSL, LDAP, Kerberos and SSH along: 3 MB of a daemon that pulls nothing and is in no
 * cluster. So the programs are not linked against it; these functions carry its names, and hand on to the
 * library once it is loaded. Nothing of http/ but client.c calls them.
 *
 * curl_easy_setopt() and curl_easy_getinfo() take one variable argument, which is a long, a curl_off_t or a pointer:
 * all of one size where we run (checked below), and passed alike.
 */

#include "http/curl_lazy.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdarg.h>
#include <stddef.h>

#include <curl/curl.h>

#include "base/str.h"

#undef curl_easy_setopt /* curl's checks of argument types are macros */
#undef curl_easy_getinfo

_Static_assert(sizeof(long) == sizeof(void *) && sizeof(curl_off_t) == sizeof(void *),
               "an option's argument is one machine word");

#define LIBRARY "libcurl-gnutls.so.4"

struct curl_lib {
	CURL *(*easy_init)(void);
	CURLcode (*easy_setopt)(CURL *easy, CURLoption option, ...);
	CURLcode (*easy_getinfo)(CURL *easy, CURLINFO info, ...);
	CURLcode (*easy_perform)(CURL *easy);
	void (*easy_reset)(CURL *easy);
	void (*easy_cleanup)(CURL *easy);
	const char *(*easy_strerror)(CURLcode code);
	struct curl_slist *(*slist_append)(struct curl_slist *list, const char *text);
	void (*slist_free_all)(struct curl_slist *list);
	CURLU *(*url)(void);
	void (*url_cleanup)(CURLU *url);
	CURLUcode (*url_set)(CURLU *url, CURLUPart part, const char *text, unsigned flags);
	CURLUcode (*url_get)(CURLU *url, CURLUPart what, char **part, unsigned flags);
	void (*free)(void *text);
};

static const struct symbol {
	const char *name;
	size_t offset;
} symbols[] = {
	{"curl_easy_init", offsetof(struct curl_lib, easy_init)},
	{"curl_easy_setopt", offsetof(struct curl_lib, easy_setopt)},
	{"curl_easy_getinfo", offsetof(struct curl_lib, easy_getinfo)},
	{"curl_easy_perform", offsetof(struct curl_lib, easy_perform)},
	{"curl_easy_reset", offsetof(struct curl_lib, easy_reset)},
	{"curl_easy_cleanup", offsetof(struct curl_lib, easy_cleanup)},
	{"curl_easy_strerror", offsetof(struct curl_lib, easy_strerror)},
	{"curl_slist_append", offsetof(struct curl_lib, slist_append)},
	{"curl_slist_free_all", offsetof(struct curl_lib, slist_free_all)},
	{"curl_url", offsetof(struct curl_lib, url)},
	{"curl_url_cleanup", offsetof(struct curl_lib, url_cleanup)},
	{"curl_url_set", offsetof(struct curl_lib, url_set)},
	{"curl_url_get", offsetof(struct curl_lib, url_get)},
	{"curl_free", offsetof(struct curl_lib, free)},
};

/* Written once, under curl_once; read by everybody after that. */
static struct curl_lib curl_lib;
static int curl_loaded; /* 1: all of it is there */
static pthread_once_t curl_once = PTHREAD_ONCE_INIT;

static void load(void)
{
	void *library = dlopen(LIBRARY, RTLD_LAZY | RTLD_LOCAL);

	if (!library)
		return;
	for (size_t i = 0; i < ARRAY_LEN(symbols); i++) {
		void *at = dlsym(library, symbols[i].name);
		if (!at)
			return;
		memcpy((char *)&curl_lib + symbols[i].offset, &at, sizeof(at));
	}
	curl_loaded = 1;
}

bool curl_lazy_load(void)
{
	return pthread_once(&curl_once, load) == 0 && curl_loaded;
}

CURL *curl_easy_init(void)
{
	return curl_lazy_load() ? curl_lib.easy_init() : NULL;
}

CURLcode curl_easy_setopt(CURL *curl, CURLoption option, ...)
{
	va_list ap;

	va_start(ap, option);
	void *value = va_arg(ap, void *);
	va_end(ap);
	return curl_lib.easy_setopt(curl, option, value);
}

CURLcode curl_easy_getinfo(CURL *curl, CURLINFO info, ...)
{
	va_list ap;

	va_start(ap, info);
	void *value = va_arg(ap, void *);
	va_end(ap);
	return curl_lib.easy_getinfo(curl, info, value);
}

CURLcode curl_easy_perform(CURL *curl)
{
	return curl_lib.easy_perform(curl);
}

void curl_easy_reset(CURL *curl)
{
	curl_lib.easy_reset(curl);
}

void curl_easy_cleanup(CURL *curl)
{
	if (curl)
		curl_lib.easy_cleanup(curl);
}

const char *curl_easy_strerror(CURLcode code)
{
	return curl_lib.easy_strerror(code);
}

struct curl_slist *curl_slist_append(struct curl_slist *list, const char *data)
{
	return curl_lazy_load() ? curl_lib.slist_append(list, data) : NULL;
}

void curl_slist_free_all(struct curl_slist *list)
{
	if (list)
		curl_lib.slist_free_all(list);
}

CURLU *curl_url(void)
{
	return curl_lazy_load() ? curl_lib.url() : NULL;
}

void curl_url_cleanup(CURLU *handle)
{
	if (handle)
		curl_lib.url_cleanup(handle);
}

CURLUcode curl_url_set(CURLU *handle, CURLUPart what, const char *part, unsigned flags)
{
	return curl_lib.url_set(handle, what, part, flags);
}

CURLUcode curl_url_get(CURLU *handle, CURLUPart what, char **part, unsigned flags)
{
	return curl_lib.url_get(handle, what, part, flags);
}

void curl_free(void *p)
{
	if (p)
		curl_lib.free(p);
}
