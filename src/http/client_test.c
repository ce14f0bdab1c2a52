/* SPDX-License-Identifier: Apache-2.0 */
#include "http/client.h"

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/testing.h"
#include "http/server.h"

#define PEM_MAX 8192
#define BIG     (3u << 20)

/* ---- certificates, made on the spot ---- */

struct identity {
	gnutls_x509_privkey_t key;
	gnutls_x509_crt_t crt;
	char cert_pem[PEM_MAX], key_pem[PEM_MAX];
};

static void must(int rc)
{
	if (rc < 0)
		fail_msg("gnutls: %s", gnutls_strerror(rc));
}

static void identity_make(struct identity *id, const char *name, const char *role,
                          const struct identity *ca)
{
	size_t size = PEM_MAX;
	static unsigned char serial = 0;

	serial++;
	must(gnutls_x509_privkey_init(&id->key));
	must(gnutls_x509_privkey_generate(id->key, GNUTLS_PK_ECDSA,
	                                  GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0));
	must(gnutls_x509_crt_init(&id->crt));
	must(gnutls_x509_crt_set_version(id->crt, 3));
	must(gnutls_x509_crt_set_serial(id->crt, &serial, 1));
	must(gnutls_x509_crt_set_activation_time(id->crt, time(NULL) - 60));
	must(gnutls_x509_crt_set_expiration_time(id->crt, time(NULL) + 3600));
	must(gnutls_x509_crt_set_dn_by_oid(id->crt, GNUTLS_OID_X520_COMMON_NAME, 0, name,
	                                   (unsigned)strlen(name)));
	must(gnutls_x509_crt_set_dn_by_oid(id->crt, GNUTLS_OID_X520_ORGANIZATIONAL_UNIT_NAME, 0,
	                                   role, (unsigned)strlen(role)));
	must(gnutls_x509_crt_set_key(id->crt, id->key));
	if (ca) {
		static const unsigned char ip[] = {127, 0, 0, 1};

		must(gnutls_x509_crt_set_subject_alt_name(id->crt, GNUTLS_SAN_IPADDRESS, ip,
		                                          sizeof(ip), GNUTLS_FSAN_SET));
	} else {
		must(gnutls_x509_crt_set_ca_status(id->crt, 1));
		must(gnutls_x509_crt_set_key_usage(id->crt, GNUTLS_KEY_KEY_CERT_SIGN));
	}
	must(gnutls_x509_crt_sign2(id->crt, ca ? ca->crt : id->crt, ca ? ca->key : id->key,
	                           GNUTLS_DIG_SHA256, 0));
	must(gnutls_x509_crt_export(id->crt, GNUTLS_X509_FMT_PEM, id->cert_pem, &size));
	size = PEM_MAX;
	must(gnutls_x509_privkey_export_pkcs8(id->key, GNUTLS_X509_FMT_PEM, NULL, GNUTLS_PKCS_PLAIN,
	                                      id->key_pem, &size));
}

static void identity_done(struct identity *id)
{
	gnutls_x509_crt_deinit(id->crt);
	gnutls_x509_privkey_deinit(id->key);
}

/* ---- the server's side ---- */

static int whoami(void *ctx, struct http_request *req, struct err *err)
{
	struct json *doc = json_object();
	const char *name = http_peer_name(req), *role = http_peer_role(req);
	const char *print = http_peer_fingerprint(req);
	const char *key = http_header(req, "Authorization"), *other = http_header(req, "X-Plain");

	(void)ctx, (void)err;
	json_set(doc, "uid", json_int(http_peer_uid(req)));
	json_set(doc, "address", json_string(http_peer_address(req)));
	json_set(doc, "name", json_string(name ? name : "nobody"));
	json_set(doc, "role", json_string(role ? role : "none"));
	json_set(doc, "fingerprint", json_string(print ? print : ""));
	json_set(doc, "authorization", json_string(key ? key : ""));
	json_set(doc, "plain", json_string(other ? other : ""));
	return http_reply_json(req, 200, doc);
}

static int echo(void *ctx, struct http_request *req, struct err *err)
{
	char data[8192];
	ssize_t n = 0;
	struct http_stream *s = http_stream_begin(req, 200, "application/octet-stream", err);

	(void)ctx;
	while (s && (n = http_body_read(req, data, sizeof(data), err)) > 0)
		if (http_stream_write(s, data, (size_t)n, err) < 0)
			break;
	http_stream_end(s);
	return s && n == 0 ? 0 : -1;
}

static int missing(void *ctx, struct http_request *req, struct err *err)
{
	(void)ctx, (void)req;
	return err_set(err, ERR_NOT_FOUND, "no such container: web");
}

/* ?to=URL&status=N */
static int redirect(void *ctx, struct http_request *req, struct err *err)
{
	int64_t status = 0;

	(void)ctx;
	if (http_query_int(req, "status", 307, &status, err) < 0 ||
	    http_reply_header(req, "Location", http_query(req, "to"), err) < 0)
		return -1;
	return http_reply_empty(req, (int)status);
}

static int slow(void *ctx, struct http_request *req, struct err *err)
{
	struct http_stream *s = http_stream_begin(req, 200, "text/plain", err);

	(void)ctx;
	if (!s)
		return -1;
	struct pollfd p = {.fd = http_stream_closed_fd(s), .events = POLLIN};
	poll(&p, 1, 5000);
	http_stream_end(s);
	return 0;
}

static int loud(void *ctx, struct http_request *req, struct err *err)
{
	char data[1000];
	ssize_t n = 0;
	auto_buf struct buf all = BUF_INIT(1u << 20);
	int fd = http_hijack(req, "application/vnd.docker.raw-stream", err);

	(void)ctx;
	if (fd < 0)
		return -1;
	while ((n = read(fd, data, sizeof(data))) > 0)
		buf_add_mem(&all, data, (size_t)n);
	buf_add(&all, "!");
	assert_int_equal(write(fd, all.data, all.len), all.len);
	http_hijack_end(req, fd);
	return 0;
}

static const struct http_route routes[] = {
	{"GET", "/whoami", whoami},      {"POST", "/echo", echo, .streams_body = true},
	{"GET", "/missing", missing},    {"GET", "/redirect", redirect},
	{"POST", "/redirect", redirect}, {"GET", "/slow", slow},
	{"POST", "/loud", loud},         {NULL},
};

struct fixture {
	struct http_server *unix_server, *tls_server, *optional_server, *plain_server;
	struct identity ca, stranger_ca, server, client, stranger;
	char dir[32], unix_url[64], tls_url[64], optional_url[64], plain_url[64];
};

static int listen_unix(const char *path)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(fd, 10), 0);
	return fd;
}

static struct http_server *serve_tls(struct fixture *f, bool optional, char url[64])
{
	struct err err = ERR_INIT;
	int fd = http_listen_tcp("127.0.0.1:0", &err);

	assert_true(fd >= 0);
	snprintf(url, 64, "https://127.0.0.1:%d", http_listen_port(fd));
	struct http_server *server = http_server_start(fd,
	                                               &(struct http_server_options){
							       .routes = routes,
							       .cert_pem = f->server.cert_pem,
							       .key_pem = f->server.key_pem,
							       .client_ca_pem = f->ca.cert_pem,
							       .client_optional = optional,
						       },
	                                               &err);
	if (!server)
		fail_msg("%s", err.msg);
	return server;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct http_server_options plain = {.routes = routes};

	memcpy(f->dir, "/tmp/http-test-XXXXXX", sizeof("/tmp/http-test-XXXXXX"));
	assert_non_null(mkdtemp(f->dir));
	identity_make(&f->ca, "ca", "ca", NULL);
	identity_make(&f->stranger_ca, "ca", "ca", NULL);
	identity_make(&f->server, "node1", "master", &f->ca);
	identity_make(&f->client, "node2", "worker", &f->ca);
	identity_make(&f->stranger, "node2", "worker", &f->stranger_ca);

	snprintf(f->unix_url, sizeof(f->unix_url), "unix://%s/s", f->dir);
	f->unix_server = http_server_start(listen_unix(f->unix_url + 7), &plain, NULL);
	assert_non_null(f->unix_server);
	int fd = http_listen_tcp("127.0.0.1:0", NULL);
	snprintf(f->plain_url, sizeof(f->plain_url), "tcp://127.0.0.1:%d", http_listen_port(fd));
	f->plain_server = http_server_start(fd, &plain, NULL);
	assert_non_null(f->plain_server);
	f->tls_server = serve_tls(f, false, f->tls_url);
	f->optional_server = serve_tls(f, true, f->optional_url);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	struct identity *all[] = {&f->ca, &f->stranger_ca, &f->server, &f->client, &f->stranger};

	http_server_stop(f->unix_server);
	http_server_stop(f->plain_server);
	http_server_stop(f->tls_server);
	http_server_stop(f->optional_server);
	for (size_t i = 0; i < 5; i++)
		identity_done(all[i]);
	testing_remove_tree(f->dir);
	free(f);
	return 0;
}

static struct http_client *make(const struct http_client_options *options)
{
	struct err err = ERR_INIT;
	struct http_client *client = http_client_create(options, &err);

	if (!client)
		fail_msg("%s", err.msg);
	return client;
}

static struct json *ask(struct http_client *client, const char *path)
{
	struct err err = ERR_INIT;
	struct json *reply = NULL;

	if (http_call_json(client, "GET", path, NULL, &reply, &err) < 0)
		fail_msg("%s", err.msg);
	return reply;
}

/* ---- tests ---- */

static void a_unix_client_is_known_by_its_uid(void **state)
{
	struct fixture *f = *state;
	auto_type(http_client) client = make(&(struct http_client_options){.base = f->unix_url});
	auto_type(json) reply = ask(client, "/whoami");

	assert_int_equal(json_get_int(reply, "uid", -1), getuid());
	assert_string_equal(json_get_string(reply, "address"), "");
	assert_string_equal(json_get_string(reply, "name"), "nobody");
}

static void a_certificate_tells_name_role_and_fingerprint(void **state)
{
	struct fixture *f = *state;
	const char *const urls[] = {f->tls_url, f->optional_url};
	unsigned char der[PEM_MAX];
	char hex[HASH_HEX_MAX];
	size_t size = sizeof(der);

	must(gnutls_x509_crt_export(f->client.crt, GNUTLS_X509_FMT_DER, der, &size));
	hash_bytes_hex(der, size, hex);
	for (size_t i = 0; i < 2; i++) {
		auto_type(http_client) client = make(&(struct http_client_options){
			.base = urls[i],
			.ca_pem = f->ca.cert_pem,
			.cert_pem = f->client.cert_pem,
			.key_pem = f->client.key_pem,
		});
		auto_type(json) reply = ask(client, "/whoami");

		assert_string_equal(json_get_string(reply, "name"), "node2");
		assert_string_equal(json_get_string(reply, "role"), "worker");
		assert_string_equal(json_get_string(reply, "fingerprint"), hex);
		assert_string_equal(json_get_string(reply, "address"), "127.0.0.1");
		assert_int_equal(json_get_int(reply, "uid", 0), -1);
	}
}

static void strangers_stay_outside_or_nameless(void **state)
{
	struct fixture *f = *state;
	struct http_client_options options[] = {
		{.base = f->tls_url, .ca_pem = f->ca.cert_pem},
		{.base = f->tls_url,
	         .ca_pem = f->ca.cert_pem,
	         .cert_pem = f->stranger.cert_pem,
	         .key_pem = f->stranger.key_pem},
	};

	for (size_t i = 0; i < 2; i++) {
		auto_type(http_client) out = make(&options[i]);
		struct json *none = NULL;

		assert_int_equal(http_call_json(out, "GET", "/whoami", NULL, &none, NULL), -1);

		options[i].base = f->optional_url;
		auto_type(http_client) in = make(&options[i]);
		auto_type(json) reply = ask(in, "/whoami");
		assert_string_equal(json_get_string(reply, "name"), "nobody");
		assert_string_equal(json_get_string(reply, "fingerprint"), "");
	}
}

static void a_server_of_another_ca_is_refused(void **state)
{
	struct fixture *f = *state;
	auto_type(http_client) client = make(&(struct http_client_options){
		.base = f->optional_url, .ca_pem = f->stranger_ca.cert_pem});
	auto_type(http_client) careless = make(&(struct http_client_options){
		.base = f->optional_url, .ca_pem = f->stranger_ca.cert_pem, .insecure = true});
	struct http_response response = {0};
	struct err err = ERR_INIT;

	assert_int_equal(http_call(client, "GET", "/whoami", NULL, &response, &err), -1);
	assert_int_equal(err.kind, ERR_DENIED);
	assert_int_equal(http_call(careless, "GET", "/whoami", NULL, &response, &err), 0);
	http_response_done(&response);
}

static void the_name_is_checked_unless_any_will_do(void **state)
{
	struct fixture *f = *state;
	char url[64];
	struct http_client_options options = {.base = url, .ca_pem = f->ca.cert_pem};
	struct http_response response = {0};
	struct err err = ERR_INIT;

	/* The certificate names 127.0.0.1 only. */
	snprintf(url, sizeof(url), "https://localhost%s", strrchr(f->optional_url, ':'));
	auto_type(http_client) strict = make(&options);
	assert_int_equal(http_call(strict, "GET", "/whoami", NULL, &response, &err), -1);
	assert_int_equal(err.kind, ERR_DENIED);

	options.any_name = true;
	auto_type(http_client) lax = make(&options);
	assert_int_equal(http_call(lax, "GET", "/whoami", NULL, &response, &err), 0);
	http_response_done(&response);

	options.ca_pem = f->stranger_ca.cert_pem;
	auto_type(http_client) other = make(&options);
	assert_int_equal(http_call(other, "GET", "/whoami", NULL, &response, &err), -1);
}

/* Both ways of a transfer: what is sent must come back in order. */
struct transfer {
	size_t sent, got;
	bool began, bad;
	size_t stop_at; /* abort when so much has come; 0: never */
};

static char pattern(size_t at)
{
	return (char)(at * 31 + at / 251);
}

static ssize_t give(void *arg, void *data, size_t len)
{
	struct transfer *t = arg;

	len = len < BIG - t->sent ? len : BIG - t->sent;
	for (size_t i = 0; i < len; i++)
		((char *)data)[i] = pattern(t->sent + i);
	t->sent += len;
	return (ssize_t)len;
}

static int take(void *arg, const void *data, size_t len)
{
	struct transfer *t = arg;

	for (size_t i = 0; i < len; i++)
		t->bad |= ((const char *)data)[i] != pattern(t->got + i);
	t->got += len;
	return t->stop_at && t->got >= t->stop_at ? -1 : 0;
}

static int begin(void *arg, const struct http_response *response)
{
	struct transfer *t = arg;

	t->began = t->got == 0 && response->status == 200 &&
	           http_response_header(response, "content-type");
	return 0;
}

static void a_stream_goes_up_and_comes_down(void **state)
{
	struct fixture *f = *state;
	const char *const urls[] = {f->unix_url, f->plain_url, f->optional_url};
	const size_t lengths[] = {BIG, SIZE_MAX};

	for (size_t i = 0; i < 6; i++) {
		struct transfer t = {0};
		struct http_response response = {0};
		struct err err = ERR_INIT;
		auto_type(http_client) client = make(&(struct http_client_options){
			.base = urls[i / 2], .ca_pem = f->ca.cert_pem});
		struct http_call call = {
			.method = "POST",
			.path = "/echo",
			.read = give,
			.read_arg = &t,
			.body_len = lengths[i % 2],
			.write = take,
			.write_arg = &t,
			.begin = begin,
			.begin_arg = &t,
		};

		if (http_call_run(client, &call, &response, &err) < 0)
			fail_msg("%s", err.msg);
		assert_int_equal(t.sent, BIG);
		assert_int_equal(t.got, BIG);
		assert_true(t.began);
		assert_false(t.bad);
		http_response_done(&response);
	}
}

static void a_callback_can_cancel(void **state)
{
	struct fixture *f = *state;
	struct transfer t = {.stop_at = 100000};
	struct http_response response = {0};
	struct err err = ERR_INIT;
	auto_type(http_client) client = make(&(struct http_client_options){.base = f->unix_url});
	struct http_call call = {
		.method = "POST",
		.path = "/echo",
		.read = give,
		.read_arg = &t,
		.body_len = BIG,
		.write = take,
		.write_arg = &t,
	};

	assert_int_equal(http_call_run(client, &call, &response, &err), -1);
	assert_int_equal(err.kind, ERR_CANCELED);
}

static void a_refusal_becomes_the_servers_words(void **state)
{
	struct fixture *f = *state;
	struct err err = ERR_INIT;
	auto_type(http_client) client = make(&(struct http_client_options){.base = f->unix_url});

	assert_int_equal(http_call_json(client, "GET", "/missing", NULL, NULL, &err), -1);
	assert_int_equal(err.kind, ERR_NOT_FOUND);
	assert_string_equal(err.msg, "no such container: web");
}

static void other_error_bodies_are_read_too(void **state)
{
	static const struct {
		const char *body, *words;
	} cases[] = {
		{"{\"errors\":[{\"code\":\"DENIED\",\"message\":\"go away\"}]}", "go away"},
		{"{\"errors\":[{\"code\":\"DENIED\",\"message\":\"\"}]}", "DENIED"},
		{"{\"error\":\"broken\"}", "broken"},
		{"plain words\nmore", "plain words"},
		{"<html>x</html>", "the server answered 403 Forbidden"},
		{"", "the server answered 403 Forbidden"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct http_response response = {
			.status = 403, .body = (char *)cases[i].body, .len = strlen(cases[i].body)};
		struct err err = ERR_INIT;

		assert_int_equal(http_expect(&response, &err), -1);
		assert_int_equal(err.kind, ERR_DENIED);
		assert_string_equal(err.msg, cases[i].words);
	}
}

static void credentials_stay_with_their_origin(void **state)
{
	struct fixture *f = *state;
	static const char *const headers[] = {"Authorization: Bearer x", "X-Plain: y", NULL};
	auto_type(http_client) client = make(&(struct http_client_options){
		.base = f->optional_url,
		.ca_pem = f->ca.cert_pem,
		.cert_pem = f->client.cert_pem,
		.key_pem = f->client.key_pem,
	});
	/* The mandatory server is another origin: another port. The optional one is its own. */
	const struct {
		const char *to, *authorization, *name;
	} cases[] = {
		{"/whoami", "Bearer x", "node2"},
		{f->optional_url, "Bearer x", "node2"},
	};

	for (size_t i = 0; i < 2; i++) {
		auto_buf struct buf path = BUF_INIT(1000);
		struct http_response response = {0};
		struct err err = ERR_INIT;

		buf_add(&path, "/redirect?to=");
		http_encode(&path, cases[i].to);
		if (i == 1)
			buf_add(&path, "%2Fwhoami");
		if (http_call_run(client,
		                  &(struct http_call){.method = "GET",
		                                      .path = buf_str(&path),
		                                      .headers = headers},
		                  &response, &err) < 0)
			fail_msg("%s", err.msg);
		auto_type(json) reply = json_parse(response.body, response.len, NULL);
		assert_string_equal(json_get_string(reply, "authorization"),
		                    cases[i].authorization);
		assert_string_equal(json_get_string(reply, "plain"), "y");
		assert_string_equal(json_get_string(reply, "name"), cases[i].name);
		http_response_done(&response);
	}
}

static void another_origin_sees_no_credentials(void **state)
{
	struct fixture *f = *state;
	static const char *const headers[] = {"Authorization: Bearer x", "X-Plain: y", NULL};
	auto_type(http_client) client = make(&(struct http_client_options){.base = f->plain_url});
	auto_type(http_client) secure = make(&(struct http_client_options){
		.base = f->optional_url,
		.ca_pem = f->ca.cert_pem,
		.cert_pem = f->client.cert_pem,
		.key_pem = f->client.key_pem,
		.any_name = true,
	});
	auto_buf struct buf path = BUF_INIT(1000), down = BUF_INIT(1000);
	struct http_response response = {0};
	struct err err = ERR_INIT;

	/* The same machine by another name is another origin. */
	buf_addf(&path, "/redirect?to=https%%3A%%2F%%2Flocalhost%s%%2Fwhoami",
	         strrchr(f->optional_url, ':'));
	struct http_call call = {.method = "GET", .path = buf_str(&path), .headers = headers};
	assert_int_equal(http_call_run(secure, &call, &response, &err), 0);
	auto_type(json) reply = json_parse(response.body, response.len, NULL);
	assert_string_equal(json_get_string(reply, "authorization"), "");
	assert_string_equal(json_get_string(reply, "plain"), "y");
	assert_string_equal(json_get_string(reply, "name"), "nobody");

	/* And never from https down to http. */
	buf_addf(&down, "/redirect?to=http%%3A%%2F%%2F%s%%2Fwhoami", f->plain_url + 6);
	call.path = buf_str(&down);
	assert_int_equal(http_call_run(secure, &call, &response, &err), -1);
	assert_int_equal(err.kind, ERR_DENIED);

	/* A loop ends. */
	call.path = "/redirect?to=%2Fredirect%3Fto%3D%252Fredirect%253Fto%253D%25252Fwhoami";
	assert_int_equal(http_call_run(client, &call, &response, &err), 0);
	http_response_done(&response);
	call.no_redirect = true;
	assert_int_equal(http_call_run(client, &call, &response, &err), 0);
	assert_int_equal(response.status, 307);
	http_response_done(&response);
}

static void silence_times_out(void **state)
{
	struct fixture *f = *state;
	auto_type(http_client) client = make(&(struct http_client_options){.base = f->unix_url});
	struct http_response response = {0};
	struct err err = ERR_INIT;
	struct http_call call = {.method = "GET", .path = "/slow", .timeout_ms = 150};

	assert_int_equal(http_call_run(client, &call, &response, &err), -1);
	assert_int_equal(err.kind, ERR_TIMEOUT);
}

static void nobody_there_is_unavailable(void **state)
{
	auto_type(http_client) client =
		make(&(struct http_client_options){.base = "unix:///nowhere/at/all"});
	struct http_response response = {0};
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(http_call(client, "GET", "/", NULL, &response, &err), -1);
	assert_int_equal(err.kind, ERR_UNAVAILABLE);
	assert_non_null(strstr(err.msg, "/nowhere/at/all"));
	assert_null(http_client_create(&(struct http_client_options){.base = "ssh://x"}, &err));
	assert_int_equal(err.kind, ERR_INVALID);
}

static void an_upgraded_connection_is_a_socket(void **state)
{
	struct fixture *f = *state;
	const char *const urls[] = {f->unix_url, f->plain_url};

	for (size_t i = 0; i < 2; i++) {
		struct err err = ERR_INIT;
		char data[100] = "";
		size_t len = 0;
		struct http_client_options options = {.base = urls[i]};
		auto_close int fd = http_upgrade(&options, "POST", "/loud", "{}", 2, &err);

		if (fd < 0)
			fail_msg("%s", err.msg);
		assert_int_equal(write(fd, "hello", 5), 5);
		shutdown(fd, SHUT_WR);
		for (ssize_t n = 0; (n = read(fd, data + len, sizeof(data) - len - 1)) > 0;)
			len += (size_t)n;
		assert_string_equal(data, "hello!");
		assert_int_equal(http_upgrade(&options, "GET", "/missing", NULL, 0, &err), -1);
		assert_int_equal(err.kind, ERR_NOT_FOUND);
		assert_string_equal(err.msg, "no such container: web");
	}
}

static int dial(const char *port)
{
	struct sockaddr_in addr = {.sin_family = AF_INET,
	                           .sin_port = htons((uint16_t)strtoul(port, NULL, 10))};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

/* libcurl does not upgrade, so the request is spelt out over a GnuTLS session. */
static void a_hijack_works_over_tls(void **state)
{
	static const char request[] = "POST /loud HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
				      "Upgrade: tcp\r\n\r\nhello";
	struct fixture *f = *state;
	char text[2000] = "";
	size_t len = 0;
	gnutls_certificate_credentials_t credentials;
	gnutls_session_t session;

	must(gnutls_certificate_allocate_credentials(&credentials));
	must(gnutls_init(&session, GNUTLS_CLIENT));
	must(gnutls_set_default_priority(session));
	must(gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, credentials));
	auto_close int fd = dial(strrchr(f->optional_url, ':') + 1);
	gnutls_transport_set_int(session, fd);
	must(gnutls_handshake(session));
	must((int)gnutls_record_send(session, request, sizeof(request) - 1));
	must(gnutls_bye(session, GNUTLS_SHUT_WR));
	for (ssize_t n = 0;
	     (n = gnutls_record_recv(session, text + len, sizeof(text) - len - 1)) > 0;)
		len += (size_t)n;
	assert_non_null(strstr(text, "HTTP/1.1 101 UPGRADED\r\n"));
	assert_non_null(strstr(text, "\r\n\r\nhello!"));
	gnutls_deinit(session);
	gnutls_certificate_free_credentials(credentials);
}

static void text_is_encoded_for_urls(void **state)
{
	auto_buf struct buf out = BUF_INIT(100);

	(void)state;
	http_encode(&out, "a/b c?{\"x\"}~\xc3\xa9");
	assert_string_equal(buf_str(&out), "a%2Fb%20c%3F%7B%22x%22%7D~%C3%A9");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_unix_client_is_known_by_its_uid),
		TEST(a_certificate_tells_name_role_and_fingerprint),
		TEST(strangers_stay_outside_or_nameless),
		TEST(a_server_of_another_ca_is_refused),
		TEST(the_name_is_checked_unless_any_will_do),
		TEST(a_stream_goes_up_and_comes_down),
		TEST(a_callback_can_cancel),
		TEST(a_refusal_becomes_the_servers_words),
		TEST(other_error_bodies_are_read_too),
		TEST(credentials_stay_with_their_origin),
		TEST(another_origin_sees_no_credentials),
		TEST(silence_times_out),
		TEST(nobody_there_is_unavailable),
		TEST(an_upgraded_connection_is_a_socket),
		TEST(a_hijack_works_over_tls),
		TEST(text_is_encoded_for_urls),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
