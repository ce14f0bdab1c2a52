/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/pull.h"

#include "cli/api.h"
#include "cli/auth.h"
#include "cli/progress.h"
#include "oci/reference.h"

int pull_image(struct cli *cli, const char *name, const char *platform, FILE *out, bool quiet,
               struct err *err)
{
	auto_buf struct buf path = BUF_INIT(API_PATH_MAX);
	struct reference ref;
	char repo[REFERENCE_MAX];
	const char *headers[] = {auth_header(cli, name, err), NULL};
	struct progress progress;

	if (!headers[0] || reference_parse(name, &ref, err) < 0)
		return -1;
	api_begin(&path, "/images/create", NULL, NULL);
	api_query(&path, "fromImage", reference_familiar_name(&ref, repo));
	api_query(&path, "tag", *ref.digest ? ref.digest : ref.tag);
	if (platform)
		api_query(&path, "platform", platform);
	progress_init(&progress, cli, out);
	progress.quiet = quiet;
	const struct http_call call = {.method = "POST",
	                               .path = buf_str(&path),
	                               .headers = headers,
	                               .write = progress_write,
	                               .write_arg = &progress};
	int rc = api_stream(cli, &call, err);
	return progress_done(&progress, rc < 0 ? NULL : err) < 0 || rc < 0 ? -1 : 0;
}
