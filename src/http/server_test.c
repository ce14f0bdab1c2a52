/* SPDX-License-Identifier: Apache-2.0 */
#include "http/server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/testing.h"

#define TEXT_MAX  (4u << 20)
#define PATIENCE  5000 /* ms until a test gives up on bytes that must come */
#define HOST      "Host: x\r\n"
#define BIG_BYTES (1u << 20)

/* ---- routes ---- */

static int ping(void *ctx, struct http_request *req, struct err *err)
{
	(void)ctx, (void)err;
	return http_reply(req, 200, "text/plain", "OK", 2);
}

static int show(void *ctx, struct http_request *req, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(4096);
	const char *two = http_arg(req, 1), *q = http_query(req, "q");

	(void)ctx, (void)err;
	buf_addf(&text, "%s|%s|%s|%u|%s|%zu", http_method(req), http_arg(req, 0), two ? two : "",
	         http_version(req), q ? q : "-", http_query_count(req, "q"));
	return http_reply(req, 200, "text/plain", buf_str(&text), text.len);
}

static int echo(void *ctx, struct http_request *req, struct err *err)
{
	size_t len = 0;
	const char *body = http_body(req, &len);

	(void)ctx, (void)err;
	return http_reply(req, 200, "text/plain", body, len);
}

static int echo_json(void *ctx, struct http_request *req, struct err *err)
{
	struct json *doc = http_body_json(req, err);

	(void)ctx;
	return doc ? http_reply_json(req, 201, doc) : -1;
}

static int tally(void *ctx, struct http_request *req, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(100);
	char data[1000];
	size_t total = 0;
	ssize_t n = 0;

	(void)ctx;
	while ((n = http_body_read(req, data, sizeof(data), err)) > 0)
		total += (size_t)n;
	if (n < 0)
		return -1;
	buf_addf(&text, "%zu", total);
	return http_reply(req, 200, "text/plain", buf_str(&text), text.len);
}

static int count_pipe(void *ctx, struct http_request *req, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(100);
	char data[1000];
	size_t total = 0;
	ssize_t n = 0;
	auto_close int fd = http_body_fd(req, err);

	(void)ctx;
	while ((n = read(fd, data, sizeof(data))) > 0)
		total += (size_t)n;
	if (n < 0 || http_body_check(req, err) < 0)
		return -1;
	buf_addf(&text, "%zu", total);
	return http_reply(req, 200, "text/plain", buf_str(&text), text.len);
}

static int refuse_body(void *ctx, struct http_request *req, struct err *err)
{
	(void)ctx, (void)req;
	return err_set(err, ERR_DENIED, "no uploads here");
}

static int report(void *ctx, struct http_request *req, struct err *err)
{
	(void)ctx, (void)req;
	return err_set(err, ERR_NOT_FOUND, "no such thing: \"a\xff\"");
}

static int silent(void *ctx, struct http_request *req, struct err *err)
{
	(void)ctx, (void)req, (void)err;
	return 0;
}

/* Begins at once, writes when its context says so, ends when the peer leaves. */
struct fixture {
	struct http_server *server;
	int port;
	int go[2];   /* a byte lets the stream write */
	int seen[2]; /* a byte says that the stream ended because it was closed */
};

static int stream(void *ctx, struct http_request *req, struct err *err)
{
	struct fixture *f = ctx;
	struct http_stream *s = http_stream_begin(req, 200, "application/json", err);

	if (!s)
		return -1;
	for (;;) {
		struct pollfd p[2] = {{.fd = f->go[0], .events = POLLIN},
		                      {.fd = http_stream_closed_fd(s), .events = POLLIN}};
		char c = 0;

		poll(p, 2, -1);
		if (p[1].revents) {
			assert_true(http_stream_closed(s));
			assert_int_equal(write(f->seen[1], "x", 1), 1);
			break;
		}
		assert_int_equal(read(f->go[0], &c, 1), 1);
		if (c == 'e')
			break;
		struct json *doc = json_object();
		json_set(doc, "n", json_int(c - '0'));
		if (http_stream_json(s, doc, err) < 0)
			break;
	}
	http_stream_end(s);
	return 0;
}

static int shout(void *ctx, struct http_request *req, struct err *err)
{
	char data[100];
	ssize_t n = 0;
	int fd = http_hijack(req, "application/vnd.docker.raw-stream", err);

	(void)ctx;
	if (fd < 0)
		return -1;
	/* Only after the client's end of file, to show that half-closing is not leaving. */
	auto_buf struct buf all = BUF_INIT(1000);
	while ((n = read(fd, data, sizeof(data))) > 0)
		buf_add_mem(&all, data, (size_t)n);
	buf_add(&all, "!");
	assert_int_equal(write(fd, all.data, all.len), all.len);
	http_hijack_end(req, fd);
	return 0;
}

static int big(void *ctx, struct http_request *req, struct err *err)
{
	char data[1024];
	struct http_stream *s = http_stream_begin(req, 200, "text/plain", err);

	(void)ctx;
	memset(data, 'b', sizeof(data));
	for (size_t i = 0; s && i < BIG_BYTES / sizeof(data); i++)
		if (http_stream_write(s, data, sizeof(data), err) < 0)
			break;
	http_stream_end(s);
	return 0;
}

static const struct http_route routes[] = {
	{"GET", "/_ping", ping},
	{"GET", "/images/json", ping},
	{"GET", "/images/{*}/json", show},
	{"POST", "/images/{*}/tag/{}", show},
	{"DELETE", "/images/{*}", show},
	{"GET", "/containers/{}/json", show},
	{"POST", "/echo", echo},
	{"POST", "/json", echo_json},
	{"POST", "/count", tally, .streams_body = true},
	{"POST", "/pipe", count_pipe, .streams_body = true},
	{"PUT", "/refuse", refuse_body, .streams_body = true},
	{"GET", "/fail", report},
	{"GET", "/silent", silent},
	{"GET", "/stream", stream},
	{"GET", "/big", big},
	{"POST", "/shout", shout},
	{NULL},
};

static const char *const headers[] = {"Api-Version", "1.44", NULL};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct err err = ERR_INIT;
	int fd = http_listen_tcp("127.0.0.1:0", &err);

	assert_true(fd >= 0);
	f->port = http_listen_port(fd);
	assert_int_equal(pipe(f->go), 0);
	assert_int_equal(pipe(f->seen), 0);
	f->server = http_server_start(fd,
	                              &(struct http_server_options){
					      .routes = routes,
					      .ctx = f,
					      .version_min = 124,
					      .version_max = 144,
					      .headers = headers,
				      },
	                              &err);
	assert_non_null(f->server);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	http_server_stop(f->server);
	for (int i = 0; i < 2; i++) {
		close(f->go[i]);
		close(f->seen[i]);
	}
	free(f);
	return 0;
}

/* ---- a client made of bytes ---- */

static int dial(const struct fixture *f)
{
	struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons((uint16_t)f->port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

static void say(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* Reads until `until` has come (NULL: the end). */
static void hear(int fd, const char *until, struct buf *got)
{
	char data[65536];

	while (!until || !strstr(buf_str(got), until)) {
		struct pollfd p = {.fd = fd, .events = POLLIN};

		if (poll(&p, 1, PATIENCE) <= 0)
			fail_msg("nothing came after: %s", buf_str(got));
		ssize_t n = recv(fd, data, sizeof(data), 0);
		if (n <= 0 && until)
			fail_msg("it ended after: %s", buf_str(got));
		if (n <= 0)
			return;
		buf_add_mem(got, data, (size_t)n);
	}
}

/* One request on its own connection; the whole answer. */
static void ask(const struct fixture *f, const char *text, struct buf *got)
{
	auto_close int fd = dial(f);

	buf_clear(got);
	say(fd, text);
	hear(fd, NULL, got);
}

static void assert_has(const struct buf *got, const char *part)
{
	if (!strstr(buf_str(got), part))
		fail_msg("no \"%s\" in: %s", part, buf_str(got));
}

#define GET(path) "GET " path " HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n"

/* ---- tests ---- */

static void a_ping_is_answered_with_the_server_headers(void **state)
{
	auto_buf struct buf got = BUF_INIT(TEXT_MAX);

	ask(*state, GET("/_ping"), &got);
	assert_has(&got, "HTTP/1.1 200 OK\r\n");
	assert_has(&got, "\r\nApi-Version: 1.44\r\n");
	assert_has(&got, "\r\nContent-Length: 2\r\n");
	assert_has(&got, "\r\n\r\nOK");
	ask(*state, "HEAD /_ping HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n", &got);
	assert_has(&got, "\r\nContent-Length: 2\r\n");
	assert_string_equal(strstr(buf_str(&got), "\r\n\r\n"), "\r\n\r\n");
}

static void paths_find_their_routes(void **state)
{
	static const struct {
		const char *request, *answer;
	} cases[] = {
		{GET("/containers/web/json"), "GET|web||144|-|0"},
		{GET("/v1.41/containers/web/json?q=1&q=2"), "GET|web||141|1|2"},
		{GET("/images/127.0.0.1:5000/team/app:1/json"),
	         "GET|127.0.0.1:5000/team/app:1||144|-|0"},
		{GET("/images/a/json/json?q=a%20b%2bc+d"), "GET|a/json||144|a b+c d|1"},
		{GET("/images/json"), "OK"},
		{"POST /v1.24/images/a/b/tag/x HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n",
	         "POST|a/b|x|124|-|0"},
		{"DELETE /images/a%2fb HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n",
	         "DELETE|a/b||144|-|0"},
		{GET("http://x/_ping"), "OK"},
		{GET("/nothing"), "{\"message\":\"page not found\"}"},
		{GET("/v1.41"), "{\"message\":\"page not found\"}"},
		{GET("/containers//json"), "{\"message\":\"page not found\"}"},
		{GET("/v1.99/_ping"), "client version 1.99 is too new. Maximum supported API "
	                              "version is 1.44"},
		{GET("/v1.11/_ping"), "client version 1.11 is too old. Minimum supported API "
	                              "version is 1.24, please upgrade your client to a newer"},
		{GET("/echo"), "HTTP/1.1 405 "},
		{GET("/containers/a%00b/json"), "HTTP/1.1 400 "},
		{GET("/containers/a%zz/json"), "HTTP/1.1 400 "},
	};
	auto_buf struct buf got = BUF_INIT(TEXT_MAX);

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		ask(*state, cases[i].request, &got);
		assert_has(&got, cases[i].answer);
	}
}

static void errors_become_docker_messages(void **state)
{
	auto_buf struct buf got = BUF_INIT(TEXT_MAX);

	ask(*state, GET("/fail"), &got);
	assert_has(&got, "HTTP/1.1 404 Not Found\r\n");
	assert_has(&got, "{\"message\":\"no such thing: \\\"a?\\\"\"}");
	ask(*state, GET("/silent"), &got);
	assert_has(&got, "HTTP/1.1 500 ");
}

static void malformed_requests_are_refused(void **state)
{
	static const struct {
		const char *request, *status;
	} cases[] = {
		{"GET /_ping HTTP/1.1\r\n\r\n", "400"}, /* no Host */
		{"GET /_ping HTTP/2.0\r\n" HOST "\r\n", "505"},
		{"GET  /_ping HTTP/1.1\r\n" HOST "\r\n", "400"},
		{"GET /_ping HTTP/1.1\r\n" HOST "A : b\r\n\r\n", "400"},
		{"GET /_ping HTTP/1.1\r\n" HOST " folded\r\n\r\n", "400"},
		{"GET /_ping HTTP/1.1\r\n" HOST "A: b\nC: d\r\n\r\n", "400"},
		{"POST /echo HTTP/1.1\r\n" HOST
	         "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
	         "400"},
		{"POST /echo HTTP/1.1\r\n" HOST "Content-Length: 1\r\nContent-Length: 1\r\n\r\n",
	         "400"},
		{"POST /echo HTTP/1.1\r\n" HOST "Content-Length: +1\r\n\r\n", "400"},
		{"POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip, chunked\r\n\r\n", "501"},
		{"POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
	         "400"},
		{"POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
	         "400"},
		{"POST /echo HTTP/1.1\r\n" HOST "Content-Length: 16777217\r\n\r\n", "413"},
		{"POST /json HTTP/1.1\r\n" HOST "Content-Length: 2\r\n\r\n[]", "400"},
	};
	auto_buf struct buf got = BUF_INIT(TEXT_MAX);
	char want[32];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		auto_close int fd = dial(*state);

		buf_clear(&got);
		say(fd, cases[i].request);
		hear(fd, "}\n", &got);
		snprintf(want, sizeof(want), "HTTP/1.1 %s ", cases[i].status);
		assert_has(&got, want);
	}
}

/* Else a client that tries TLS first would wait until its own time is up. */
static void tls_to_a_plain_port_is_refused_at_once(void **state)
{
	auto_close int fd = dial(*state);
	auto_buf struct buf got = BUF_INIT(TEXT_MAX);

	say(fd, "\x16\x03\x01\x02\x06\x01");
	hear(fd, "}\n", &got);
	assert_has(&got, "HTTP/1.1 400 ");
}

static void an_endless_header_is_refused(void **state)
{
	auto_close int fd = dial(*state);
	auto_buf struct buf got = BUF_INIT(TEXT_MAX);

	say(fd, "GET / HTTP/1.1\r\n");
	for (int i = 0; i < 70; i++) {
		char line[1025];

		memset(line, 'a', 1024);
		line[1] = ':';
		line[1022] = '\r', line[1023] = '\n', line[1024] = '\0';
		if (send(fd, line, 1024, MSG_NOSIGNAL) < 0)
			break;
	}
	hear(fd, "}\n", &got);
	assert_has(&got, "HTTP/1.1 431 ");
}

static void requests_follow_each_other_on_one_connection(void **state)
{
	auto_close int fd = dial(*state);
	auto_buf struct buf got = BUF_INIT(TEXT_MAX);

	/* Three at once: the server takes them in turn. */
	say(fd, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\none"
	        "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
	        "2;x=y\r\ntw\r\n1\r\no\r\n0\r\nTrailer: t\r\n\r\n"
	        "GET /big HTTP/1.1\r\n" HOST "\r\n"
	        "GET /_ping HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n");
	hear(fd, NULL, &got);
	assert_has(&got, "\r\n\r\none");
	assert_has(&got, "\r\n\r\ntwo");
	assert_true(got.len > BIG_BYTES);
	assert_has(&got, "\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n");
	assert_has(&got, "\r\n\r\nOK");
}

static void an_empty_body_is_an_empty_object(void **state)
{
	auto_buf struct buf got = BUF_INIT(TEXT_MAX);

	ask(*state, "POST /json HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n", &got);
	assert_has(&got, "HTTP/1.1 201 ");
	assert_has(&got, "\r\n\r\n{}");
}

static void a_waiting_client_is_told_to_continue(void **state)
{
	auto_close int fd = dial(*state);
	auto_buf struct buf got = BUF_INIT(TEXT_MAX);

	say(fd, "POST /echo HTTP/1.1\r\n" HOST
	        "Connection: close\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
	hear(fd, "HTTP/1.1 100 Continue\r\n\r\n", &got);
	say(fd, "hi");
	hear(fd, NULL, &got);
	assert_has(&got, "\r\n\r\nhi");
}

static void a_streamed_body_is_read_to_its_end(void **state)
{
	auto_buf struct buf got = BUF_INIT(TEXT_MAX);
	auto_buf struct buf request = BUF_INIT(TEXT_MAX);
	static const char *const paths[] = {"/count", "/pipe"};

	for (size_t p = 0; p < 2; p++) {
		buf_clear(&request);
		buf_addf(&request,
		         "POST %s HTTP/1.1\r\n" HOST
		         "Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n",
		         paths[p]);
		for (int i = 0; i < 300; i++)
			buf_addf(&request, "3e8\r\n%01000d\r\n", i);
		buf_add(&request, "0\r\n\r\n");
		ask(*state, buf_str(&request), &got);
		assert_has(&got, "\r\n\r\n300000");
	}
}

static void a_body_that_breaks_off_is_noticed(void **state)
{
	static const char *const paths[] = {"/count", "/pipe", "/echo"};
	auto_buf struct buf request = BUF_INIT(1000);
	auto_buf struct buf got = BUF_INIT(TEXT_MAX);

	for (size_t p = 0; p < 3; p++) {
		auto_close int fd = dial(*state);

		buf_clear(&request);
		buf_clear(&got);
		buf_addf(&request, "POST %s HTTP/1.1\r\n" HOST "Content-Length: 9\r\n\r\nabc",
		         paths[p]);
		say(fd, buf_str(&request));
		shutdown(fd, SHUT_WR);
		hear(fd, NULL, &got);
		assert_has(&got, "HTTP/1.1 499 ");
	}
}

static void an_answer_before_the_body_arrives_whole(void **state)
{
	auto_close int fd = dial(*state);
	auto_buf struct buf got = BUF_INIT(TEXT_MAX);
	char data[65536];

	memset(data, 'x', sizeof(data));
	say(fd, "PUT /refuse HTTP/1.1\r\n" HOST "Content-Length: 3000000\r\n\r\n");
	for (int i = 0; i < 40; i++)
		if (send(fd, data, sizeof(data), MSG_NOSIGNAL) < 0)
			break;
	hear(fd, "no uploads here", &got);
	assert_has(&got, "HTTP/1.1 403 ");
	assert_has(&got, "Connection: close\r\n");
}

static void stream_headers_come_before_the_first_datum(void **state)
{
	struct fixture *f = *state;
	auto_close int fd = dial(f);
	auto_buf struct buf got = BUF_INIT(TEXT_MAX);

	say(fd, "GET /v1.41/stream HTTP/1.1\r\n" HOST "\r\n");
	hear(fd, "\r\n\r\n", &got);
	assert_has(&got, "HTTP/1.1 200 OK\r\n");
	assert_has(&got, "Transfer-Encoding: chunked\r\n");

	assert_int_equal(write(f->go[1], "1", 1), 1);
	hear(fd, "{\"n\":1}\r\n\r\n", &got);
	assert_int_equal(write(f->go[1], "2", 1), 1);
	hear(fd, "9\r\n{\"n\":2}\r\n\r\n", &got);
	assert_int_equal(write(f->go[1], "e", 1), 1);
	hear(fd, "\r\n0\r\n\r\n", &got);
	say(fd, GET("/_ping"));
	hear(fd, "\r\n\r\nOK", &got);
}

static void a_stream_sees_its_client_leave(void **state)
{
	struct fixture *f = *state;
	auto_buf struct buf got = BUF_INIT(TEXT_MAX);
	char c = 0;

	int fd = dial(f);
	say(fd, "GET /stream HTTP/1.1\r\n" HOST "\r\n");
	hear(fd, "\r\n\r\n", &got);
	close(fd);
	struct pollfd p = {.fd = f->seen[0], .events = POLLIN};
	assert_int_equal(poll(&p, 1, PATIENCE), 1);
	assert_int_equal(read(f->seen[0], &c, 1), 1);
}

static void stopping_ends_streams_and_idle_connections(void **state)
{
	struct fixture *f = *state;
	auto_buf struct buf got = BUF_INIT(TEXT_MAX);
	auto_close int idle = dial(f);
	auto_close int fd = dial(f);
	int64_t start = clock_mono_ms();

	say(fd, "GET /stream HTTP/1.1\r\n" HOST "\r\n");
	hear(fd, "\r\n\r\n", &got);
	http_server_stop(f->server);
	f->server = NULL;
	hear(fd, NULL, &got);
	assert_has(&got, "\r\n\r\n0\r\n\r\n");
	assert_true(clock_mono_ms() - start < 4000);
}

static void a_hijacked_connection_outlives_the_end_of_input(void **state)
{
	auto_close int fd = dial(*state);
	auto_buf struct buf got = BUF_INIT(TEXT_MAX);

	say(fd, "POST /v1.41/shout HTTP/1.1\r\n" HOST
	        "Connection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n\r\n");
	hear(fd, "\r\n\r\n", &got);
	assert_has(&got, "HTTP/1.1 101 UPGRADED\r\n");
	assert_has(&got, "Content-Type: application/vnd.docker.raw-stream\r\n");
	assert_has(&got, "Connection: Upgrade\r\nUpgrade: tcp\r\n");
	say(fd, "hello");
	shutdown(fd, SHUT_WR);
	hear(fd, NULL, &got);
	assert_has(&got, "\r\n\r\nhello!");
}

static void a_hijack_without_upgrade_is_a_200(void **state)
{
	auto_close int fd = dial(*state);
	auto_buf struct buf got = BUF_INIT(TEXT_MAX);

	/* The first bytes come along with the head: they must not get lost. */
	say(fd, "POST /shout HTTP/1.1\r\n" HOST "\r\nearly ");
	hear(fd, "\r\n\r\n", &got);
	assert_has(&got, "HTTP/1.1 200 OK\r\n");
	say(fd, "late");
	shutdown(fd, SHUT_WR);
	hear(fd, NULL, &got);
	assert_has(&got, "\r\n\r\nearly late!");
}

static void an_old_client_gets_an_unchunked_stream(void **state)
{
	auto_buf struct buf got = BUF_INIT(TEXT_MAX);

	ask(*state, "GET /big HTTP/1.0\r\n\r\n", &got);
	assert_null(strstr(buf_str(&got), "Transfer-Encoding"));
	assert_int_equal(strlen(strstr(buf_str(&got), "\r\n\r\n") + 4), BIG_BYTES);
}

static void a_taken_address_is_a_conflict(void **state)
{
	struct fixture *f = *state;
	struct err err = ERR_INIT;
	char address[32];

	snprintf(address, sizeof(address), "127.0.0.1:%d", f->port);
	assert_int_equal(http_listen_tcp(address, &err), -1);
	assert_int_equal(err.kind, ERR_CONFLICT);
	assert_int_equal(http_listen_tcp("localhost:1", &err), -1);
	assert_int_equal(err.kind, ERR_INVALID);
	assert_int_equal(http_listen_tcp("1.2.3.4:70000", &err), -1);
	assert_int_equal(err.kind, ERR_INVALID);
}

#define WITH_SERVER(fn) TEST_WITH(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_SERVER(a_ping_is_answered_with_the_server_headers),
		WITH_SERVER(paths_find_their_routes),
		WITH_SERVER(errors_become_docker_messages),
		WITH_SERVER(malformed_requests_are_refused),
		WITH_SERVER(tls_to_a_plain_port_is_refused_at_once),
		WITH_SERVER(an_endless_header_is_refused),
		WITH_SERVER(requests_follow_each_other_on_one_connection),
		WITH_SERVER(an_empty_body_is_an_empty_object),
		WITH_SERVER(a_waiting_client_is_told_to_continue),
		WITH_SERVER(a_streamed_body_is_read_to_its_end),
		WITH_SERVER(a_body_that_breaks_off_is_noticed),
		WITH_SERVER(an_answer_before_the_body_arrives_whole),
		WITH_SERVER(stream_headers_come_before_the_first_datum),
		WITH_SERVER(a_stream_sees_its_client_leave),
		WITH_SERVER(stopping_ends_streams_and_idle_connections),
		WITH_SERVER(a_hijacked_connection_outlives_the_end_of_input),
		WITH_SERVER(a_hijack_without_upgrade_is_a_200),
		WITH_SERVER(an_old_client_gets_an_unchunked_stream),
		WITH_SERVER(a_taken_address_is_a_conflict),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
