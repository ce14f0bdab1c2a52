/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * images_tree - which image is built on which: `images --tree`.
 *
 * An image stands below the one of whose layers its own first ones are all; of several below the one with most layers.
 */

struct args;
struct cli;
struct err;
struct json;

/* Prints the images of an answer to GET /images/json as a tree; asks for the layers of each. */
int images_tree(struct cli *cli, const struct args *args, const struct json *list, struct err *err);
/* The rows of that table, from what GET /images/{name}/json tells of each image, whose order siblings keep. Owned; NULL:
 * no memory, or more names than there is room for. */
struct json *images_tree_rows(struct cli *cli, const struct json *images, struct err *err);
