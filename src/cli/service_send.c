/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/service_send.h"

#include "base/buf.h"
#include "base/err.h"
#include "cli/api.h"
#include "cli/auth.h"

#define BODY_MAX (16u << 20)

int service_send(struct cli *cli, const struct args *args, const char *path,
                 const struct json *spec, struct json **reply, struct err *err)
{
	const struct json *task = json_get(spec, "TaskTemplate");
	const char *image = json_get_string(json_get(task, "ContainerSpec"), "Image");
	auto_buf struct buf text = BUF_INIT(BODY_MAX);
	struct http_response response = {0};

	if (!args_bool(args, "with-registry-auth"))
		return api_send(cli, "POST", path, json_ref((struct json *)spec), reply, err);
	const char *auth = auth_header(cli, image ? image : "", err);
	struct http_client *client = api_client(cli, err);
	if (!auth || !client || json_write(spec, &text, err) < 0)
		return -1;
	const char *headers[] = {"Content-Type: application/json", auth, NULL};
	const struct http_call call = {.method = "POST",
	                               .path = path,
	                               .headers = headers,
	                               .body = buf_str(&text),
	                               .body_len = text.len};
	int rc = http_call_run(client, &call, &response, err);
	if (rc == 0)
		rc = http_expect(&response, err);
	if (rc == 0 && reply && response.len > 0 &&
	    !(*reply = json_parse(response.body, response.len, err)))
		rc = -1;
	http_response_done(&response);
	return rc;
}
