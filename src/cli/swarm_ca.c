/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/swarm_ca.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/str.h"
#include "cli/api.h"
#include "cli/out.h"

#define PEM_MAX (64u << 10)
#define LOOK_MS 200

const struct flag swarm_ca_flags[] = {
	{"ca-cert", 0, FLAG_STRING, "FILE", "The root to be, instead of a new one"},
	{"ca-key", 0, FLAG_STRING, "FILE", "Its key"},
	{"cert-expiry", 0, FLAG_STRING, "DURATION", "Life of a node's certificate from now on"},
	{"detach", 'd', FLAG_BOOL, NULL, "Do not wait until all nodes have it"},
	{"external-ca", 0, FLAG_STRING, "SPEC", "A CA elsewhere (not supported)"},
	{"quiet", 'q', FLAG_BOOL, NULL, "Do not tell how far it is"},
	{"rotate", 0, FLAG_BOOL, NULL, "Put another root certificate in the place of this one"},
	{NULL},
};

static struct json *get(struct cli *cli, const char *what, struct err *err)
{
	const char *path = api_path(cli, what, NULL, NULL, err);

	return path ? api_get(cli, path, err) : NULL;
}

static int show(struct cli *cli, const struct json *swarm, struct err *err)
{
	const char *root = json_get_string(json_get(swarm, "TLSInfo"), "TrustRoot");

	if (!root)
		return err_set(err, ERR_NOT_FOUND, "the cluster told no root certificate");
	out_text(stdout, root, cli->out_tty);
	if (!str_ends(root, "\n"))
		fputc('\n', stdout);
	return 0;
}

/* The files are ours, not the daemon's: their contents travel. */
static int add_pem(const struct args *args, const char *flag, struct json *config,
                   const char *field, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(PEM_MAX);

	if (!args_has(args, flag))
		return 0;
	if (fs_trusted_read(args_string(args, flag), PEM_MAX, &text, err) < 0)
		return err_wrap(err, "--%s", flag);
	int rc = json_set(config, field, json_string(buf_str(&text)));
	explicit_bzero(text.data, text.len);
	return rc < 0 ? err_nomem(err) : 0;
}

static int fill(const struct args *args, struct json *config, struct err *err)
{
	int64_t ns;

	if (args_has(args, "cert-expiry")) {
		if (clock_parse_duration(args_string(args, "cert-expiry"), &ns, err) < 0)
			return err_wrap(err, "--cert-expiry");
		json_set(config, "NodeCertExpiry", json_int(ns));
	}
	if (args_has(args, "ca-cert") || args_has(args, "ca-key")) {
		if (add_pem(args, "ca-cert", config, "SigningCACert", err) < 0)
			return -1;
		return add_pem(args, "ca-key", config, "SigningCAKey", err);
	}
	int64_t count = json_get_int(config, "ForceRotate", 0);
	return json_set(config, "ForceRotate", json_int(count + 1));
}

static int ask(struct cli *cli, const struct args *args, struct err *err)
{
	auto_type(json) swarm = get(cli, "/swarm", err);
	auto_buf struct buf path = BUF_INIT(API_PATH_MAX);
	struct json *spec = json_get(swarm, "Spec");

	if (!swarm)
		return -1;
	if (!json_is_object(json_get(spec, "CAConfig")))
		json_set(spec, "CAConfig", json_object());
	if (fill(args, json_get(spec, "CAConfig"), err) < 0)
		return -1;
	api_begin(&path, "/swarm/update", NULL, NULL);
	api_query_int(&path, "version", json_get_int(json_get(swarm, "Version"), "Index", 0));
	return api_send(cli, "POST", buf_str(&path), json_ref(spec), NULL, err);
}

/* Who has a certificate of the issuer that the cluster names: what there is to wait for. */
static void tell(struct cli *cli, const struct json *swarm, char last[128])
{
	const char *key = json_get_string(json_get(swarm, "TLSInfo"), "CertIssuerPublicKey");
	auto_type(json) nodes = get(cli, "/nodes", NULL);
	size_t have = 0, total = json_count(nodes);
	char line[128];

	for (size_t i = 0; i < total; i++) {
		const struct json *tls =
			json_get(json_get(json_at(nodes, i), "Description"), "TLSInfo");
		have += str_eq(key, json_get_string(tls, "CertIssuerPublicKey"));
	}
	snprintf(line, sizeof(line), "%zu of %zu nodes have a certificate of the new root\n", have,
	         total);
	if (!nodes || str_eq(line, last))
		return;
	fputs(line, stderr);
	memcpy(last, line, sizeof(line));
}

static struct json *wait_for_end(struct cli *cli, bool quiet, struct err *err)
{
	char last[128] = "";

	for (;;) {
		struct json *swarm = get(cli, "/swarm", err);

		if (!swarm || !json_get_bool(swarm, "RootRotationInProgress", false))
			return swarm;
		if (!quiet)
			tell(cli, swarm, last);
		json_free(swarm);
		clock_sleep_ms(LOOK_MS);
	}
}

int swarm_ca_run(struct cli *cli, const struct args *args, struct err *err)
{
	bool quiet = args_bool(args, "quiet");

	if (args_has(args, "external-ca"))
		return err_set(err, ERR_UNSUPPORTED,
		               "--external-ca: a CA elsewhere is not supported; hand its root over "
		               "with --ca-cert and --ca-key, or let the cluster make its own");
	if (!args_bool(args, "rotate") && args->value_count > 0)
		return err_set(err, ERR_INVALID, "these flags are of use only with --rotate");
	if (args_bool(args, "rotate") && ask(cli, args, err) < 0)
		return -1;
	if (args_bool(args, "rotate") && args_bool(args, "detach"))
		return 0;
	auto_type(json) swarm =
		args_bool(args, "rotate") ? wait_for_end(cli, quiet, err) : get(cli, "/swarm", err);
	return swarm ? show(cli, swarm, err) : -1;
}
