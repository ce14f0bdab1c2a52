/* SPDX-License-Identifier: Apache-2.0 */
#include "http/client.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <unistd.h>

#include <curl/curl.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "base/str.h"
#include "http/curl_lazy.h"
#include "http/plain.h"
#include "http/response.h"
#include "http/status.h"

#define CONNECT_TIMEOUT_MS 10000
#define REDIRECTS_MAX      5
#define ERROR_BODY_MAX     (1u << 20)
#define URL_MAX            (64u << 10)
#define JSON_MAX           (64u << 20)
#define PEM_PATH_MAX       32

/* PEM text as something that has a path: the GnuTLS side of libcurl 7.88 takes no blobs. */
struct pem {
	int fd; /* owned; -1: none */
	char path[PEM_PATH_MAX];
};

struct http_client {
	CURL *easy;
	char *origin;             /* owned; "https://host:port", no slash behind */
	char *unix_path;          /* owned; NULL: TCP */
	struct http_plain *plain; /* owned; for a unix socket, which needs no libcurl */
	char *user_agent;
	struct curl_slist *connect_to; /* owned; NULL: as the name says */
	struct pem ca, cert, key;
	bool insecure, any_name, proxy, http2;
	enum http_trouble trouble; /* of the last call */
	char protocol[16];         /* of the last answer */
	int64_t connect_timeout_ms, timeout_ms, stall_timeout_ms;
};

/* One request on the wire; a redirect makes another. */
struct exchange {
	struct http_client *client;
	const struct http_call *call;
	const char *method;
	const char *url;
	bool same_origin; /* as the client's base: credentials may go along */
	bool has_body;
	bool may_redirect;
	struct http_response *response;
	struct buf body;
	struct err err; /* set when a callback stops the transfer */
	char text[CURL_ERROR_SIZE];
};

/* ---- the client ---- */

static int pem_open(struct pem *pem, const char *text, struct err *err)
{
	if (!text)
		return 0;

	size_t len = strlen(text);
	pem->fd = memfd_create("pem", MFD_CLOEXEC);
	if (pem->fd < 0 || write(pem->fd, text, len) != (ssize_t)len)
		return err_sys(err, "certificate in memory");
	snprintf(pem->path, sizeof(pem->path), "/proc/self/fd/%d", pem->fd);
	return 0;
}

static int set_base(struct http_client *client, const char *base, struct err *err)
{
	size_t len = base ? strlen(base) : 0;

	if (base && str_starts(base, "unix://")) {
		client->unix_path = strdup(base + strlen("unix://"));
		client->origin = strdup(base);
	} else if (base && str_starts(base, "tcp://")) {
		auto_buf struct buf text = BUF_INIT(URL_MAX);

		buf_addf(&text, "http://%s", base + strlen("tcp://"));
		client->origin = buf_take(&text, NULL);
	} else if (base && (str_starts(base, "http://") || str_starts(base, "https://"))) {
		client->origin = strndup(base, len);
	} else {
		return err_set(err, ERR_INVALID,
		               "bad host \"%s\": it must begin with unix://, tcp://, http:// or "
		               "https://",
		               base ? base : "");
	}
	if (!client->origin || (str_starts(base, "unix://") && !client->unix_path))
		return err_nomem(err);
	for (len = strlen(client->origin); len > 0 && client->origin[len - 1] == '/'; len--)
		client->origin[len - 1] = '\0';
	return 0;
}

static int set_connect_to(struct http_client *client, const char *address, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(URL_MAX);

	if (!address)
		return 0;
	buf_addf(&text, "::%s", address);
	if (buf_check(&text, err) < 0)
		return -1;
	client->connect_to = curl_slist_append(NULL, buf_str(&text));
	return client->connect_to ? 0 : err_nomem(err);
}

static int open_transport(struct http_client *client, struct err *err)
{
	if (client->unix_path) {
		client->plain = http_plain_create(client->unix_path, err);
		return client->plain ? 0 : -1;
	}
	if (!curl_lazy_load())
		return err_set(err, ERR_UNSUPPORTED, "libcurl is missing: install libcurl3-gnutls");
	client->easy = curl_easy_init();
	return client->easy ? 0 : err_nomem(err);
}

struct http_client *http_client_create(const struct http_client_options *options, struct err *err)
{
	auto_type(http_client) client = calloc(1, sizeof(*client));

	if (!client) {
		err_nomem(err);
		return NULL;
	}
	client->ca.fd = client->cert.fd = client->key.fd = -1;
	client->insecure = options->insecure;
	client->any_name = options->any_name;
	client->proxy = options->proxy;
	client->http2 = options->http2;
	client->connect_timeout_ms =
		options->connect_timeout_ms ? options->connect_timeout_ms : CONNECT_TIMEOUT_MS;
	client->timeout_ms = options->timeout_ms;
	client->stall_timeout_ms = options->stall_timeout_ms;
	client->user_agent =
		strdup(options->user_agent ? options->user_agent : "buoy/" BUOY_VERSION);
	if (!client->user_agent) {
		err_nomem(err);
		return NULL;
	}
	if (set_base(client, options->base, err) < 0 || open_transport(client, err) < 0 ||
	    pem_open(&client->ca, options->ca_pem, err) < 0 ||
	    pem_open(&client->cert, options->cert_pem, err) < 0 ||
	    pem_open(&client->key, options->key_pem, err) < 0 ||
	    set_connect_to(client, options->connect_to, err) < 0)
		return NULL;
	return move_ptr(client);
}

void http_client_free(struct http_client *client)
{
	if (!client)
		return;
	if (client->easy)
		curl_easy_cleanup(client->easy);
	http_plain_free(client->plain);
	cleanup_close(&client->ca.fd);
	cleanup_close(&client->cert.fd);
	cleanup_close(&client->key.fd);
	free(client->origin);
	free(client->unix_path);
	free(client->user_agent);
	curl_slist_free_all(client->connect_to);
	free(client);
}

/* ---- what libcurl calls ---- */

static bool is_redirect(int status)
{
	return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

/* Will run() go on to another place with this answer? */
static bool goes_on(const struct exchange *x)
{
	return x->may_redirect && is_redirect(x->response->status) &&
	       http_response_header(x->response, "Location");
}

static int headers_are_in(struct exchange *x)
{
	const struct http_call *call = x->call;

	if (x->response->status < 200 || goes_on(x) || !call->begin)
		return 0;
	if (call->begin(call->begin_arg, x->response) < 0)
		return err_set(&x->err, ERR_CANCELED, "canceled");
	return 0;
}

static size_t on_header(char *data, size_t size, size_t count, void *arg)
{
	struct exchange *x = arg;
	size_t len = size * count;
	int rc = 0;

	if (len >= 5 && memcmp(data, "HTTP/", 5) == 0) { /* also after a 100 Continue */
		long status = 0;

		size_t word = strcspn(data, " \r\n");
		(void)snprintf(x->client->protocol, sizeof(x->client->protocol), "%.*s",
		               (int)(word < len ? word : len), data);
		http_response_done(x->response);
		curl_easy_getinfo(x->client->easy, CURLINFO_RESPONSE_CODE, &status);
		x->response->status = (int)status;
	} else if (len <= 2 && (len == 0 || data[0] == '\r' || data[0] == '\n')) {
		rc = headers_are_in(x);
	} else {
		rc = http_response_add_line(x->response, data, len, &x->err);
	}
	return rc < 0 ? 0 : len;
}

static int take_body(struct exchange *x, const char *data, size_t len)
{
	const struct http_call *call = x->call;

	if (goes_on(x))
		return 0;
	if (call->write && x->response->status < 400) {
		if (call->write(call->write_arg, data, len) == 0)
			return 0;
		return err_set(&x->err, ERR_CANCELED, "canceled");
	}
	if (x->body.max > ERROR_BODY_MAX && x->response->status >= 400)
		x->body.max = ERROR_BODY_MAX;
	buf_add_mem(&x->body, data, len);
	return buf_check(&x->body, &x->err);
}

static size_t on_body(char *data, size_t size, size_t count, void *arg)
{
	return take_body(arg, data, size * count) < 0 ? 0 : size * count;
}

static size_t on_read(char *data, size_t size, size_t count, void *arg)
{
	struct exchange *x = arg;
	ssize_t n = x->call->read(x->call->read_arg, data, size * count);

	if (n >= 0)
		return (size_t)n;
	(void)err_set(&x->err, ERR_CANCELED, "canceled while sending");
	return CURL_READFUNC_ABORT;
}

static int on_progress(void *arg, curl_off_t down_total, curl_off_t down, curl_off_t up_total,
                       curl_off_t up)
{
	struct exchange *x = arg;

	(void)down_total, (void)down, (void)up_total, (void)up;
	if (!x->call->give_up || !x->call->give_up(x->call->give_up_arg))
		return 0;
	return err_set(&x->err, ERR_CANCELED, "given up");
}

/* ---- one exchange ---- */

static bool is_credential(const char *header)
{
	static const char *const names[] = {
		"Authorization:", "Cookie:", "Proxy-Authorization:", "X-Registry-"};

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (strncasecmp(header, names[i], strlen(names[i])) == 0)
			return true;
	return false;
}

static void list_free(struct curl_slist **list)
{
	curl_slist_free_all(*list);
}

static int list_add(struct curl_slist **list, const char *line, struct err *err)
{
	struct curl_slist *longer = curl_slist_append(*list, line);

	if (!longer)
		return err_nomem(err);
	*list = longer;
	return 0;
}

/* `redirected`: this origin did not get its headers from the caller. */
static int build_headers(const struct exchange *x, bool redirected, struct curl_slist **list,
                         struct err *err)
{
	bool typed = false;

	for (const char *const *h = x->call->headers; h && *h; h++) {
		if (strpbrk(*h, "\r\n"))
			return err_set(err, ERR_INVALID, "line break in a request header");
		if (redirected && !x->same_origin && is_credential(*h))
			continue;
		typed |= strncasecmp(*h, "Content-Type:", 13) == 0;
		if (list_add(list, *h, err) < 0)
			return -1;
	}
	if (!typed && list_add(list, "Content-Type:", err) < 0) /* no form type */
		return -1;
	return list_add(list, "Expect:", err); /* no second's wait */
}

/* libcurl reads the environment itself, but for HTTP_PROXY in capitals: a CGI script must not. We are none. */
static void set_proxy(const struct exchange *x)
{
	const char *proxy = getenv("HTTP_PROXY");

	if (!x->client->proxy)
		curl_easy_setopt(x->client->easy, CURLOPT_PROXY, "");
	else if (str_starts(x->url, "http://") && !getenv("http_proxy") && !str_empty(proxy))
		curl_easy_setopt(x->client->easy, CURLOPT_PROXY, proxy);
}

static void set_transport(const struct exchange *x)
{
	const struct http_client *c = x->client;
	CURL *easy = c->easy;
	bool verify = !c->insecure;
	long version = c->http2 ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1;

	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, version);
	curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
	curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
	curl_easy_setopt(easy, CURLOPT_USERAGENT, c->user_agent);
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)c->connect_timeout_ms);
	curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS,
	                 (long)(x->call->timeout_ms ? x->call->timeout_ms : c->timeout_ms));
	if (c->stall_timeout_ms > 0) {
		curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
		curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME,
		                 (long)((c->stall_timeout_ms + 999) / 1000));
	}
	set_proxy(x);
	if (c->connect_to && x->same_origin)
		curl_easy_setopt(easy, CURLOPT_CONNECT_TO, c->connect_to);

	curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, verify ? 1L : 0L);
	curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, verify && !c->any_name ? 2L : 0L);
	if (c->ca.fd >= 0) {
		curl_easy_setopt(easy, CURLOPT_CAINFO, c->ca.path);
		curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
	}
	if (c->cert.fd >= 0 && c->key.fd >= 0 && x->same_origin) {
		curl_easy_setopt(easy, CURLOPT_SSLCERT, c->cert.path);
		curl_easy_setopt(easy, CURLOPT_SSLKEY, c->key.path);
	}
}

static void set_request(struct exchange *x, struct curl_slist *headers)
{
	const struct http_call *call = x->call;
	CURL *easy = x->client->easy;
	bool post =
		str_eq(x->method, "POST") || str_eq(x->method, "PUT") || str_eq(x->method, "PATCH");

	curl_easy_setopt(easy, CURLOPT_URL, x->url);
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
	if (str_eq(x->method, "HEAD")) {
		curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
	} else if (call->read && x->has_body) {
		curl_off_t len = call->body_len == SIZE_MAX ? -1 : (curl_off_t)call->body_len;

		curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
		curl_easy_setopt(easy, CURLOPT_READFUNCTION, on_read);
		curl_easy_setopt(easy, CURLOPT_READDATA, x);
		curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE, len);
		curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, 256L << 10);
	} else if (post || (x->has_body && call->body_len > 0)) {
		size_t len = x->has_body ? call->body_len : 0;

		curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)len);
		curl_easy_setopt(easy, CURLOPT_POSTFIELDS, len > 0 ? call->body : "");
	}
	if (!str_eq(x->method, "HEAD"))
		curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, x->method);
	curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(easy, CURLOPT_HEADERDATA, x);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, x);
	if (call->write) /* a long body, in few system calls */
		curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, 64L << 10);
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, x->text);
	curl_easy_setopt(easy, CURLOPT_NOPROGRESS, x->call->give_up ? 0L : 1L);
	curl_easy_setopt(easy, CURLOPT_XFERINFOFUNCTION, on_progress);
	curl_easy_setopt(easy, CURLOPT_XFERINFODATA, x);
}

static enum err_kind kind_of(CURLcode code)
{
	static const struct {
		CURLcode code;
		enum err_kind kind;
	} kinds[] = {
		{CURLE_OPERATION_TIMEDOUT, ERR_TIMEOUT},
		{CURLE_PEER_FAILED_VERIFICATION, ERR_DENIED},
		{CURLE_SSL_CACERT_BADFILE, ERR_INVALID},
		{CURLE_SSL_CERTPROBLEM, ERR_INVALID},
		{CURLE_URL_MALFORMAT, ERR_INVALID},
		{CURLE_UNSUPPORTED_PROTOCOL, ERR_INVALID},
		{CURLE_OUT_OF_MEMORY, ERR_NOMEM},
	};

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		if (kinds[i].code == code)
			return kinds[i].kind;
	return ERR_UNAVAILABLE;
}

static enum http_trouble trouble_of(CURLcode code)
{
	static const struct {
		CURLcode code;
		enum http_trouble trouble;
	} troubles[] = {
		{CURLE_COULDNT_RESOLVE_HOST, HTTP_TROUBLE_NAME},
		{CURLE_COULDNT_RESOLVE_PROXY, HTTP_TROUBLE_PROXY},
		{CURLE_PROXY, HTTP_TROUBLE_PROXY},
		{CURLE_COULDNT_CONNECT, HTTP_TROUBLE_CONNECT},
		{CURLE_SSL_CONNECT_ERROR, HTTP_TROUBLE_HANDSHAKE},
		{CURLE_PEER_FAILED_VERIFICATION, HTTP_TROUBLE_CERTIFICATE},
		{CURLE_WEIRD_SERVER_REPLY, HTTP_TROUBLE_SPEECH},
		{CURLE_UNSUPPORTED_PROTOCOL, HTTP_TROUBLE_SPEECH}, /* "HTTP/0.9" */
		{CURLE_GOT_NOTHING, HTTP_TROUBLE_SPEECH},
		{CURLE_RECV_ERROR, HTTP_TROUBLE_SPEECH},
		{CURLE_SEND_ERROR, HTTP_TROUBLE_SPEECH},
	};

	for (size_t i = 0; i < ARRAY_LEN(troubles); i++)
		if (troubles[i].code == code)
			return troubles[i].trouble;
	return HTTP_TROUBLE_OTHER;
}

/* libcurl says where it wanted to connect to, the kernel why it could not. */
static int failed(struct exchange *x, CURLcode code, struct err *err)
{
	struct http_client *c = x->client;
	long number = 0;

	c->trouble = trouble_of(code);
	if (str_starts(x->text, "Resolving timed out"))
		c->trouble = HTTP_TROUBLE_NAME;
	if (c->trouble == HTTP_TROUBLE_CONNECT)
		curl_easy_getinfo(c->easy, CURLINFO_OS_ERRNO, &number);
	if (number > 0) {
		(void)err_set(err, ERR_UNAVAILABLE, "%s: %.*s: %s", c->origin,
		              (int)strcspn(x->text, ":"), x->text, strerrordesc_np((int)number));
		if (err)
			err->sys = (int)number;
		return -1;
	}
	return err_set(err, kind_of(code), "%s: %s", c->origin,
	               x->text[0] ? x->text : curl_easy_strerror(code));
}

static int plain_head(void *arg, struct err *err)
{
	struct exchange *x = arg;

	if (headers_are_in(x) == 0)
		return 0;
	if (err)
		*err = x->err;
	return -1;
}

static int plain_body(void *arg, const char *data, size_t len, struct err *err)
{
	struct exchange *x = arg;

	if (take_body(x, data, len) == 0)
		return 0;
	if (err)
		*err = x->err;
	return -1;
}

static int perform_plain(struct exchange *x, struct err *err)
{
	const struct http_client *c = x->client;
	struct http_call call = *x->call;

	call.method = x->method;
	call.path = x->url;
	if (!x->has_body) {
		call.read = NULL;
		call.body = NULL;
		call.body_len = 0;
	}
	return http_plain_run(
		c->plain,
		&(struct http_plain_request){
			.call = &call,
			.user_agent = c->user_agent,
			.timeout_ms = call.timeout_ms ? call.timeout_ms : c->timeout_ms,
			.stall_ms = c->stall_timeout_ms,
			.response = x->response,
			.on_head = plain_head,
			.on_body = plain_body,
			.arg = x,
		},
		err);
}

static int perform(struct exchange *x, bool redirected, struct err *err)
{
	const struct http_client *c = x->client;
	__attribute__((cleanup(list_free))) struct curl_slist *headers = NULL;

	if (c->plain)
		return perform_plain(x, err);
	if (build_headers(x, redirected, &headers, err) < 0)
		return -1;
	curl_easy_reset(c->easy); /* keeps the connections */
	set_transport(x);
	set_request(x, headers);

	CURLcode code = curl_easy_perform(c->easy);
	if (x->err.kind != ERR_NONE) {
		if (err)
			*err = x->err;
		return -1;
	}
	if (code == CURLE_OK)
		return 0;
	return failed(x, code, err);
}

/* ---- where to ---- */

static void url_free(CURLU **url)
{
	curl_url_cleanup(*url);
}

static void text_free(char **text)
{
	curl_free(*text);
}

#define auto_url  __attribute__((cleanup(url_free)))
#define auto_text __attribute__((cleanup(text_free)))

/* Scheme, host and port equal, default ports filled in? */
static bool same_origin(const char *a, const char *b)
{
	static const CURLUPart parts[] = {CURLUPART_SCHEME, CURLUPART_HOST, CURLUPART_PORT};
	auto_url CURLU *one = curl_url(), *two = curl_url();

	if (!one || !two || curl_url_set(one, CURLUPART_URL, a, 0) ||
	    curl_url_set(two, CURLUPART_URL, b, 0))
		return false;
	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		auto_text char *x = NULL, *y = NULL;

		if (curl_url_get(one, parts[i], &x, CURLU_DEFAULT_PORT) ||
		    curl_url_get(two, parts[i], &y, CURLU_DEFAULT_PORT) || strcasecmp(x, y) != 0)
			return false;
	}
	return true;
}

/* The Location, seen from `url`, as a whole URL that the caller frees. */
static char *resolve(const char *url, const char *location, struct err *err)
{
	auto_url CURLU *u = curl_url();
	auto_text char *text = NULL;

	if (!u || curl_url_set(u, CURLUPART_URL, url, 0) ||
	    curl_url_set(u, CURLUPART_URL, location, 0) ||
	    curl_url_get(u, CURLUPART_URL, &text, 0)) {
		err_set(err, ERR_INVALID, "bad redirect to \"%s\"", location);
		return NULL;
	}
	if (!str_starts(text, "http://") && !str_starts(text, "https://")) {
		err_set(err, ERR_INVALID, "redirect to \"%s\": only http and https", text);
		return NULL;
	}
	if (str_starts(url, "https://") && str_starts(text, "http://")) {
		err_set(err, ERR_DENIED, "redirect from https to %s", text);
		return NULL;
	}

	char *copy = strdup(text);
	if (!copy)
		err_nomem(err);
	return copy;
}

/* A socket has no neighbours to be sent to: only its own paths. */
static char *resolve_plain(const char *location, struct err *err)
{
	if (location[0] != '/' || location[1] == '/') {
		err_set(err, ERR_DENIED, "redirect from a unix socket to %s", location);
		return NULL;
	}
	char *copy = strdup(location);
	if (!copy)
		err_nomem(err);
	return copy;
}

/* Where the answer in x sends us: *url is replaced. */
static int follow(struct exchange *x, char **url, struct err *err)
{
	const char *location = http_response_header(x->response, "Location");
	int status = x->response->status;
	char *next = x->client->plain ? resolve_plain(location, err) : resolve(*url, location, err);

	if (!next)
		return -1;
	free(*url);
	*url = next;
	x->url = next;
	x->same_origin = x->client->plain || same_origin(next, x->client->origin);
	if (status == 303 || (status < 303 && str_eq(x->method, "POST"))) {
		x->method = str_eq(x->method, "HEAD") ? "HEAD" : "GET";
		x->has_body = false;
	}
	buf_clear(&x->body);
	http_response_done(x->response);
	return 0;
}

static char *first_url(const struct http_client *client, const char *path, struct err *err)
{
	auto_buf struct buf url = BUF_INIT(URL_MAX);

	if (client->plain && path[0] != '/') {
		err_set(err, ERR_INVALID, "%s: not a path of %s", path, client->unix_path);
		return NULL;
	}
	if (!client->plain && !str_starts(path, "http://") && !str_starts(path, "https://"))
		buf_add(&url, client->origin);
	buf_add(&url, path);
	return buf_take(&url, err);
}

static int run(struct exchange *x, char **url, struct err *err)
{
	for (int hops = 0; hops <= REDIRECTS_MAX; hops++) {
		if (perform(x, hops > 0, err) < 0)
			return -1;
		if (!goes_on(x))
			return 0;
		if (follow(x, url, err) < 0)
			return -1;
	}
	return err_set(err, ERR_INVALID, "more than %d redirects", REDIRECTS_MAX);
}

int http_call_run(struct http_client *client, const struct http_call *call,
                  struct http_response *response, struct err *err)
{
	struct http_response scratch = {0};
	auto_free char *url = first_url(client, call->path, err);
	struct exchange x = {
		.client = client,
		.call = call,
		.method = call->method,
		.url = url,
		.has_body = call->read || call->body,
		.may_redirect = !call->no_redirect && !call->read,
		.response = &scratch,
		.body = BUF_INIT(HTTP_RESPONSE_MAX),
	};

	if (!url)
		return -1;
	client->trouble = HTTP_TROUBLE_NONE;
	x.same_origin = client->plain || same_origin(url, client->origin);
	int rc = run(&x, &url, err);
	if (rc == 0 && (!call->write || scratch.status >= 400)) {
		scratch.len = x.body.len;
		scratch.body = buf_take(&x.body, err);
		rc = scratch.body ? 0 : -1;
	}
	buf_free(&x.body);
	if (rc < 0) {
		http_response_done(&scratch);
		return -1;
	}
	http_response_done(response);
	*response = scratch;
	return 0;
}

enum http_trouble http_client_trouble(const struct http_client *client)
{
	return client->trouble;
}

const char *http_client_protocol(const struct http_client *client)
{
	return client->protocol;
}

int http_call(struct http_client *client, const char *method, const char *path, const char *json,
              struct http_response *response, struct err *err)
{
	static const char *const type[] = {"Content-Type: application/json", NULL};
	struct http_call call = {.method = method, .path = path};

	if (json) {
		call.headers = type;
		call.body = json;
		call.body_len = strlen(json);
	}
	return http_call_run(client, &call, response, err);
}

static void response_auto_done(struct http_response *response)
{
	http_response_done(response);
}

int http_call_json(struct http_client *client, const char *method, const char *path,
                   struct json *body, struct json **reply, struct err *err)
{
	auto_type(json) owned = body;
	auto_buf struct buf text = BUF_INIT(JSON_MAX);
	__attribute__((cleanup(response_auto_done))) struct http_response response = {0};

	if (body && json_write(body, &text, err) < 0)
		return -1;
	if (http_call(client, method, path, body ? buf_str(&text) : NULL, &response, err) < 0)
		return -1;
	if (http_expect(&response, err) < 0)
		return -1;
	if (!reply)
		return 0;

	*reply = NULL;
	if (response.len == 0)
		return 0;
	*reply = json_parse(response.body, response.len, err);
	return *reply ? 0 : err_wrap(err, "%s %s: answer", method, path);
}
