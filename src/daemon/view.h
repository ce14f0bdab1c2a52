/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* view - containers as Docker shows them: a line of `ps`, and all of `inspect`. The caller owns the result. */

struct container_view;
struct json;

/* One element of GET /containers/json. */
struct json *view_summary(const struct container_view *v);
/* GET /containers/{id}/json. */
struct json *view_container(const struct container_view *v);
