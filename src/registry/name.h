/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * name - the small grammars of the distribution specification: repository
 * names, references, byte ranges. Pure functions; what has passed here may
 * become a file name.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "oci/digest.h"

#define NAME_MAX_BYTES 255 /* of a repository's name: one file name holds it */
#define NAME_FILE_MAX  256 /* the same with NUL */
#define NAME_TAG_MAX   129 /* a tag with NUL */
#define NAME_TYPE_MAX  256 /* a media type with NUL */

/* [a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/...)*, at most NAME_MAX_BYTES. */
bool name_ok(const char *name);
/* The name as one file name: "/" becomes "+", which no name holds; and back. */
char *name_to_file(const char *name, char file[NAME_FILE_MAX]);
char *name_of_file(const char *file, char name[NAME_FILE_MAX]);

/* A digest of either algorithm as a path in an image layout: "blobs/sha256/<hex>". */
#define NAME_BLOB_MAX (DIGEST_TEXT_MAX + 8)
char *name_to_blob(const char *digest, char path[NAME_BLOB_MAX]);

/* A media type without its parameters. False: not one, or too long. */
bool name_media_type(const char *text, char type[NAME_TYPE_MAX]);

/* RFC 9110, 14: one range of bytes out of size. */
enum name_range {
	NAME_RANGE_NONE, /* absent, of another unit, several, or not understood: the whole is sent */
	NAME_RANGE_OK,   /* *first to *last, both included */
	NAME_RANGE_UNMET, /* 416 */
};
enum name_range name_range(const char *header, uint64_t size, uint64_t *first, uint64_t *last);

/* Content-Range of a chunk: "<first>-<last>", also with "bytes " before and "/..." behind it, as some
 * clients write. False: not that. */
bool name_chunk_range(const char *header, uint64_t *first, uint64_t *last);
