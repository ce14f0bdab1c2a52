/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * client - HTTP requests that block, over TCP, TLS and unix sockets. libcurl
 * (GnuTLS) stands behind it, but not behind unix sockets (plain.h).
 *
 *	struct http_client *client = http_client_create(&(struct http_client_options){
 *		.base = "unix:///run/buoy/buoy.sock"}, err);
 *	struct http_response response = {0};
 *	if (http_call(client, "GET", "/info", NULL, &response, err) < 0) ...
 *	http_response_done(&response);
 *
 * A client keeps its connections alive and belongs to one thread at a time.
 * A response with status >= 400 is not a failure of the call: look at status, or
 * use http_expect(). Redirects are followed at most five times (a streamed body is
 * not sent twice: then the 3xx is the answer), never from https to http. Credentials
 * (Authorization, Cookie, X-Registry-*, the client certificate) never travel to
 * another origin (scheme, host, port).
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/cleanup.h"

struct err;
struct json;
struct http_client;

struct http_client_options {
	const char *base;   /* "unix:///path", "http://h:p", "https://h:p", "tcp://h:p" (= http) */
	const char *ca_pem; /* https: trust only this; NULL: the system's */
	const char *cert_pem, *key_pem; /* client certificate */
	bool insecure; /* https without verification (--insecure-registry only; and join's CA fetch) */
	bool any_name;          /* verify the chain, but not that the certificate names the host */
	const char *connect_to; /* "IP:PORT" to go to, whatever the base names (the certificate must
	                         * name the base's host); NULL: where the base says */
	int64_t connect_timeout_ms; /* 0: 10 s */
	int64_t timeout_ms;         /* whole call; 0: none */
	int64_t stall_timeout_ms;   /* no byte for so long: give up; 0: none */
	const char *user_agent;
	bool proxy; /* honour HTTP_PROXY, HTTPS_PROXY and NO_PROXY (registries); else every proxy is ignored */
	bool http2; /* offer HTTP/2 in the TLS handshake */
};

struct http_client *http_client_create(const struct http_client_options *options, struct err *err);
void http_client_free(struct http_client *client);
DEFINE_AUTO(http_client)

struct http_header {
	char *name, *value; /* owned */
};

struct http_header_list {
	size_t count;
	struct http_header items[];
};

struct http_response {
	int status;
	char *body; /* owned, NUL-terminated; NULL when it was streamed away */
	size_t len;
	struct http_header_list *headers; /* owned */
};
void http_response_done(struct http_response *response);
/* Case-insensitive; NULL if absent; the last one wins. */
const char *http_response_header(const struct http_response *response, const char *name);

struct http_call {
	const char *method;
	const char *path; /* "/v1.44/info?x=y", already encoded; or a whole URL (other origin) */
	const char *const *headers; /* "Name: value", NULL-terminated; may be NULL */
	const void *body;           /* small body; or read below */
	size_t body_len;
	/* Streamed body: fills data, returns bytes, 0 at the end, -1 to abort. body_len is the
	 * length if known, else SIZE_MAX (chunked). */
	ssize_t (*read)(void *arg, void *data, size_t len);
	void *read_arg;
	/* Receives the body as it comes when status < 400; -1 aborts the call (ERR_CANCELED). Larger
	 * bodies than HTTP_RESPONSE_MAX need it. */
	int (*write)(void *arg, const void *data, size_t len);
	void *write_arg;
	/* Called when the headers are in, before the first write(); -1 aborts. May be NULL. */
	int (*begin)(void *arg, const struct http_response *response);
	void *begin_arg;
	/* Asked about once a second while nothing comes (TCP only): true gives the call up, ERR_CANCELED. May
	 * be NULL. */
	bool (*give_up)(void *arg);
	void *give_up_arg;
	int64_t timeout_ms; /* overrides the client's when not 0 */
	bool no_redirect;
};
#define HTTP_RESPONSE_MAX (64u << 20)

int http_call_run(struct http_client *client, const struct http_call *call,
                  struct http_response *response, struct err *err);

/* Why the last call got no answer, for callers that know better words than err has. */
enum http_trouble {
	HTTP_TROUBLE_NONE,
	HTTP_TROUBLE_NAME,        /* the host's name has no address */
	HTTP_TROUBLE_PROXY,       /* the proxy's has none, or it refuses */
	HTTP_TROUBLE_CONNECT,     /* nobody there; errno text is in err */
	HTTP_TROUBLE_HANDSHAKE,   /* it connected, but does not speak TLS as we do, or at all */
	HTTP_TROUBLE_CERTIFICATE, /* it is not who it says, for all we can verify */
	HTTP_TROUBLE_SPEECH,      /* what came was no HTTP, or nothing */
	HTTP_TROUBLE_OTHER,
};
enum http_trouble http_client_trouble(const struct http_client *client);
/* The protocol of the last answer: "HTTP/2", "HTTP/1.1"; "" before the first one. */
const char *http_client_protocol(const struct http_client *client);

/* The short form; `json` is a text to send, or NULL. */
int http_call(struct http_client *client, const char *method, const char *path, const char *json,
              struct http_response *response, struct err *err);
/* JSON in (takes `body`, may be NULL), JSON out (the caller owns *reply; may be NULL). A status >= 400
 * becomes an error whose kind fits and whose words are the server's "message". */
int http_call_json(struct http_client *client, const char *method, const char *path,
                   struct json *body, struct json **reply, struct err *err);

/* 0 for status < 400; else sets err from {"message"} (or the OCI "errors" list, or the text). */
int http_expect(const struct http_response *response, struct err *err);

/* Docker's hijack: sends the request with Upgrade: tcp, reads the 101 (or 200), gives the raw
 * socket (the caller closes it). Plain unix and tcp only. A status >= 400 is an error as in http_expect(). */
int http_upgrade(const struct http_client_options *options, const char *method, const char *path,
                 const void *body, size_t body_len, struct err *err);

/* Appends s percent-encoded (everything but unreserved characters). */
struct buf;
void http_encode(struct buf *out, const char *s);
