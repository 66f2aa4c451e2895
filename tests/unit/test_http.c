// One transfer against a server that tells the truth, lies, stalls, cuts, redirects or floods.
#include "base/clock.h"
#include "base/mem.h"
#include "http_server.h"
#include "net/http.h"
#include "net/http_head.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "fault.h"

#define SECRET "s3cr3t"

// What a test's client saw.
struct sink {
	char bytes[4096];
	size_t length;
	uint64_t count;
	unsigned begins;
	long status;
	int64_t content_length;
	atomic_bool abort;
	bool abort_on_first;
	enum ts_err answer_of_write;
	enum ts_err answer_of_begin;
};

static enum ts_err on_begin(void *ctx, const struct ts_http_response *response, struct ts_error *error)
{
	struct sink *sink = ctx;

	assert_int_equal(sink->count, 0);
	sink->begins++;
	sink->status = response->status;
	sink->content_length = response->content_length;
	return sink->answer_of_begin == TS_OK ? TS_OK : ts_fail(error, sink->answer_of_begin, "begin says no");
}

static enum ts_err on_write(void *ctx, const void *bytes, size_t length, struct ts_error *error)
{
	struct sink *sink = ctx;
	size_t room = sizeof sink->bytes - 1 - sink->length;
	size_t kept = length < room ? length : room;

	assert_true(sink->begins == 1);
	memcpy(sink->bytes + sink->length, bytes, kept);
	sink->length += kept;
	sink->count += length;
	if (sink->abort_on_first)
		atomic_store(&sink->abort, true);
	return sink->answer_of_write == TS_OK ? TS_OK : ts_fail(error, sink->answer_of_write, "write says no");
}

static enum ts_err perform(http_handler handler, void *ctx, struct ts_http_request request, const char *path,
                           struct ts_http_response *response, struct ts_error *error)
{
	struct http_server *server = http_server_start(handler, ctx);
	char url[512];

	request.url = http_server_url(server, path, url);
	enum ts_err err = ts_http_perform(&request, response, error);
	http_server_stop(server);
	return err;
}

static struct ts_http_request get_into(struct sink *sink)
{
	return (struct ts_http_request){.method = "GET",
	                                .deadline_ms = 60000,
	                                .abort = &sink->abort,
	                                .begin = on_begin,
	                                .write = on_write,
	                                .ctx = sink};
}

// --- Plain answers ---

static void greet(void *ctx TS_UNUSED, struct http_exchange *exchange)
{
	http_answer(exchange, 200,
	            "Content-Type: video/mp4\r\nETag: \"abc\"\r\nLast-Modified: Tue, 15 Nov 1994 12:45:26 GMT\r\n"
	            "Content-Encoding: gzip\r\nX-Empty:\r\n",
	            "hello", 5);
}

static void hands_over_a_body_and_its_headers(void **state TS_UNUSED)
{
	struct sink sink = {0};
	struct ts_http_response response;
	struct ts_error error = {0};

	assert_int_equal(perform(greet, NULL, get_into(&sink), "/", &response, &error), TS_OK);
	assert_int_equal(response.status, 200);
	assert_int_equal(response.received, 5);
	assert_int_equal(response.content_length, 5);
	assert_int_equal(response.content_range_from, -1);
	assert_int_equal(response.retry_after_ms, -1);
	assert_string_equal(response.content_type, "video/mp4");
	assert_string_equal(response.content_encoding, "gzip"); // and the bytes are left alone
	assert_string_equal(response.etag, "\"abc\"");
	assert_string_equal(response.last_modified, "Tue, 15 Nov 1994 12:45:26 GMT");
	assert_string_equal(sink.bytes, "hello");
	assert_int_equal(sink.begins, 1);
	assert_int_equal(sink.content_length, 5);
}

static void send_empty(void *ctx TS_UNUSED, struct http_exchange *exchange)
{
	http_answer(exchange, 204, "", "", 0);
}

static void begins_without_a_body(void **state TS_UNUSED)
{
	struct sink sink = {0};
	struct ts_http_response response;

	assert_int_equal(perform(send_empty, NULL, get_into(&sink), "/", &response, NULL), TS_OK);
	assert_int_equal(sink.begins, 1);
	assert_int_equal(sink.status, 204);
}

static void send_chunks(void *ctx, struct http_exchange *exchange)
{
	const bool *cut = ctx;

	http_printf(exchange, "HTTP/1.1 103 Early Hints\r\nETag: \"early\"\r\n\r\n");
	http_printf(exchange, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n"
	                      "3\r\nabc\r\n4\r\ndefg\r\n");
	if (!*cut)
		http_printf(exchange, "0\r\nETag: \"trailer\"\r\n\r\n");
}

static void reads_chunks(void **state TS_UNUSED)
{
	for (int i = 0; i < 2; i++) {
		struct sink sink = {0};
		struct ts_http_response response;
		bool cut = i == 1;
		enum ts_err err = perform(send_chunks, &cut, get_into(&sink), "/", &response, NULL);
		assert_int_equal(err, cut ? TS_ERR_NET_INCOMPLETE : TS_OK);
		assert_string_equal(sink.bytes, "abcdefg");
		assert_int_equal(response.content_length, -1);
		assert_string_equal(response.etag, ""); // neither the hint's nor the trailer's
	}
}

// --- What is sent ---

static void echo(void *ctx TS_UNUSED, struct http_exchange *exchange)
{
	char text[40000];

	int n = snprintf(text, sizeof text, "%s%s", exchange->head, exchange->body);
	http_answer(exchange, 200, "", text, (size_t)n);
}

static void sends_what_it_is_told(void **state TS_UNUSED)
{
	static const char *const headers[] = {"Authorization: Bearer " SECRET, "X-Trace: 1", NULL};
	struct sink sink = {0};
	struct ts_http_response response;
	struct ts_http_request request = get_into(&sink);

	request.headers = headers;
	request.resume_from = 7;
	request.if_range = "\"abc\"";
	assert_int_equal(perform(echo, NULL, request, "/a%20b?c=d#e", &response, NULL), TS_OK);
	assert_non_null(strstr(sink.bytes, "GET /a%20b?c=d HTTP/1.1\r\n"));
	assert_non_null(strstr(sink.bytes, "\r\nAuthorization: Bearer " SECRET "\r\n"));
	assert_non_null(strstr(sink.bytes, "\r\nX-Trace: 1\r\n"));
	assert_non_null(strstr(sink.bytes, "\r\nRange: bytes=7-\r\n"));
	assert_non_null(strstr(sink.bytes, "\r\nIf-Range: \"abc\"\r\n"));
	assert_non_null(strstr(sink.bytes, "\r\nUser-Agent: transcription/"));
	assert_null(strstr(sink.bytes, "Accept-Encoding"));
}

static void sends_bodies(void **state TS_UNUSED)
{
	static const char *const typed[] = {"Content-Type: application/json", NULL};
	struct sink sink = {0};
	struct ts_http_response response;
	struct ts_http_request request = get_into(&sink);

	request.method = "POST";
	request.headers = typed;
	request.body = "{\"a\":1}";
	request.body_length = 7;
	assert_int_equal(perform(echo, NULL, request, "/", &response, NULL), TS_OK);
	assert_non_null(strstr(sink.bytes, "POST / HTTP/1.1\r\n"));
	assert_non_null(strstr(sink.bytes, "\r\nContent-Type: application/json\r\n"));
	assert_non_null(strstr(sink.bytes, "\r\nContent-Length: 7\r\n"));
	assert_non_null(strstr(sink.bytes, "\r\n\r\n{\"a\":1}"));

	struct sink empty = {0};
	request = get_into(&empty);
	request.method = "POST";
	assert_int_equal(perform(echo, NULL, request, "/", &response, NULL), TS_OK);
	assert_non_null(strstr(empty.bytes, "\r\nContent-Length: 0\r\n"));

	struct sink deleted = {0};
	request = get_into(&deleted);
	request.method = "DELETE";
	assert_int_equal(perform(echo, NULL, request, "/", &response, NULL), TS_OK);
	assert_non_null(strstr(deleted.bytes, "DELETE / HTTP/1.1\r\n"));
}

static void count_body(void *ctx, struct http_exchange *exchange)
{
	size_t *length = ctx;

	*length = exchange->body_length;
	http_answer(exchange, 200, "", exchange->body, exchange->body_length < 600 ? exchange->body_length : 600);
}

static void sends_forms(void **state TS_UNUSED)
{
	// Over a megabyte: libcurl would wait for a "100 Continue" here if it were let.
	size_t size = 3u << 20;
	char *audio = calloc(1, size);
	struct sink sink = {0};
	struct ts_http_response response;
	struct ts_http_request request = get_into(&sink);
	size_t length = 0;

	assert_non_null(audio);
	struct ts_http_part parts[] = {
	    {.name = "model", .data = "whisper-1", .length = 9},
	    {.name = "file", .filename = "audio.ogg", .type = "audio/ogg", .data = audio, .length = size},
	};
	request.method = "POST";
	request.parts = parts;
	request.part_count = 2;
	assert_int_equal(perform(count_body, &length, request, "/", &response, NULL), TS_OK);
	assert_in_range(length, size, size + 1000);
	assert_non_null(strstr(sink.bytes, "name=\"model\"\r\n\r\nwhisper-1\r\n"));
	assert_non_null(strstr(sink.bytes, "name=\"file\"; filename=\"audio.ogg\"\r\nContent-Type: audio/ogg\r\n"));
	free(audio);
}

static void refuses_bad_headers_and_urls(void **state TS_UNUSED)
{
	static const char *const bad[][2] = {{"X: a\r\nY: b", NULL}, {"no colon", NULL}, {": x", NULL}, {"A B: c", NULL}};
	struct sink sink = {0};
	struct ts_http_response response;
	struct ts_http_request request = get_into(&sink);

	for (size_t i = 0; i < 4; i++) {
		request.headers = bad[i];
		assert_int_equal(perform(echo, NULL, request, "/", &response, NULL), TS_ERR_INVALID);
	}
	request.headers = NULL;
	request.url = "file:///etc/passwd";
	assert_int_equal(ts_http_perform(&request, &response, NULL), TS_ERR_INVALID);
	request.resume_from = 1;
	request.if_range = "a\r\nb: c";
	assert_int_equal(perform(echo, NULL, request, "/", &response, NULL), TS_ERR_INVALID);
}

// --- Environment ---

static void ignores_proxies_of_the_environment(void **state TS_UNUSED)
{
	static const char *const names[] = {"http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "https_proxy"};
	struct sink sink = {0};
	struct ts_http_response response;
	size_t unused = 0;
	// A proxy that answers everything: if it were used, its answer would come back.
	struct http_server *proxy = http_server_start(count_body, &unused);
	char url[512];

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		setenv(names[i], http_server_url(proxy, "", url), 1);
	setenv("no_proxy", "", 1);
	enum ts_err err = perform(greet, NULL, get_into(&sink), "/", &response, NULL);
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		unsetenv(names[i]);
	unsetenv("no_proxy");
	assert_int_equal(err, TS_OK);
	assert_string_equal(sink.bytes, "hello");
	assert_int_equal(http_server_requests(proxy), 0);
	http_server_stop(proxy);
}

// --- Statuses ---

static void refuse(void *ctx, struct http_exchange *exchange)
{
	const char *const *script = ctx; // status, headers, body

	http_answer(exchange, atoi(script[0]), script[1], script[2], strlen(script[2]));
}

static void keeps_the_beginning_of_errors(void **state TS_UNUSED)
{
	const char *script[] = {"429", "Retry-After: 7\r\n", "{\"error\":\"slow down\"}"};
	struct sink sink = {0};
	struct ts_http_response response;

	assert_int_equal(perform(refuse, script, get_into(&sink), "/", &response, NULL), TS_OK);
	assert_int_equal(response.status, 429);
	assert_int_equal(response.retry_after_ms, 7000);
	assert_string_equal(response.error_body, "{\"error\":\"slow down\"}");
	assert_int_equal(response.received, 0);
	assert_int_equal(sink.count, 0);
	assert_int_equal(sink.begins, 1);
}

static void refuse_forever(void *ctx, struct http_exchange *exchange)
{
	const bool *cut = ctx;

	http_printf(exchange, "HTTP/1.1 503 No\r\nContent-Length: 1000000000\r\n\r\n");
	if (*cut)
		http_printf(exchange, "busy");
	else
		while (http_send(exchange, "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9", 8))
			;
}

static void does_not_read_endless_errors(void **state TS_UNUSED)
{
	for (int i = 0; i < 2; i++) {
		struct sink sink = {0};
		struct ts_http_response response;
		bool cut = i == 0;
		assert_int_equal(perform(refuse_forever, &cut, get_into(&sink), "/", &response, NULL), TS_OK);
		assert_int_equal(response.status, 503);
		size_t length = strlen(response.error_body);
		assert_true(cut ? length == 4 : length > 2000);
		assert_true(cut || (unsigned char)response.error_body[length - 1] == 0xa9); // whole characters
	}
}

static char stalled_refusal[] = "HTTP/1.1 404 No\r\nContent-Length: 100\r\n\r\nabc";

static void stall(void *ctx, struct http_exchange *exchange)
{
	http_send(exchange, ctx, strlen(ctx));
	http_wait_closed(exchange);
}

static void keeps_a_status_whose_body_stalls(void **state TS_UNUSED)
{
	for (int i = 0; i < 2; i++) {
		struct sink sink = {0};
		struct ts_http_response response;
		struct ts_http_request request = get_into(&sink);
		if (i)
			request.deadline_ms = 200;
		else
			request.stall_timeout_ms = 50;
		enum ts_err err = perform(stall, stalled_refusal, request, "/", &response, NULL);
		// A busy machine may need the whole deadline before the status is in.
		assert_true(err == TS_OK || (i && err == TS_ERR_TIMEOUT));
		if (err == TS_OK) {
			assert_int_equal(response.status, 404);
			assert_string_equal(response.error_body, "abc");
		}
	}
}

// --- Lies ---

static void cut_short(void *ctx TS_UNUSED, struct http_exchange *exchange)
{
	http_printf(exchange, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n0123456789");
}

static void cut_hard(void *ctx TS_UNUSED, struct http_exchange *exchange)
{
	cut_short(NULL, exchange);
	http_reset(exchange);
}

static void notices_short_bodies(void **state TS_UNUSED)
{
	static const http_handler handlers[] = {cut_short, cut_hard};

	for (size_t i = 0; i < 2; i++) {
		struct sink sink = {0};
		struct ts_http_response response;
		struct ts_error error = {0};
		enum ts_err err = perform(handlers[i], NULL, get_into(&sink), "/p?token=" SECRET, &response, &error);
		assert_int_equal(err, error.code);
		// A reset may overtake the bytes and even the headers.
		assert_true(error.code == TS_ERR_NET_INCOMPLETE || (i == 1 && error.code == TS_ERR_NET_UNREACHABLE));
		assert_non_null(strstr(error.message, "127.0.0.1"));
		assert_null(strstr(error.message, SECRET));
		if (i == 0)
			assert_int_equal(response.received, 10);
	}
}

static void announce_much(void *ctx TS_UNUSED, struct http_exchange *exchange)
{
	http_printf(exchange, "HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n");
	http_wait_closed(exchange);
}

static void send_forever(void *ctx TS_UNUSED, struct http_exchange *exchange)
{
	static const char block[8192];

	http_printf(exchange, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
	while (http_send(exchange, block, sizeof block))
		;
}

static void send_thousand(void *ctx TS_UNUSED, struct http_exchange *exchange)
{
	static const char block[1000];

	http_answer(exchange, 200, "", block, sizeof block);
}

static void holds_the_size_ceiling(void **state TS_UNUSED)
{
	struct sink announced = {0};
	struct sink endless = {0};
	struct sink exact = {0};
	struct ts_http_response response;
	struct ts_error error = {0};

	struct ts_http_request request = get_into(&announced);
	request.max_bytes = 1000;
	assert_int_equal(perform(announce_much, NULL, request, "/", &response, &error), TS_ERR_MEDIA_TOO_LARGE);
	assert_non_null(strstr(error.message, "1001"));
	assert_int_equal(announced.count, 0);

	request.ctx = &endless;
	assert_int_equal(perform(send_forever, NULL, request, "/", &response, &error), TS_ERR_MEDIA_TOO_LARGE);
	assert_true(endless.count <= 1000);

	request.ctx = &exact;
	assert_int_equal(perform(send_thousand, NULL, request, "/", &response, &error), TS_OK);
	assert_int_equal(exact.count, 1000);
}

static void raw(void *ctx, struct http_exchange *exchange)
{
	http_send(exchange, ctx, strlen(ctx));
}

static void refuses_answers_that_are_no_http(void **state TS_UNUSED)
{
	static char empty[] = "";
	static char ssh[] = "SSH-2.0-OpenSSH_9.2\r\n";
	static char twice[] = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab";
	static char negative[] = "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nab";
	static char huge[] = "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\nab";
	static char words[] = "HTTP/1.1 200 OK\r\nContent-Length: ten\r\n\r\nab";
	static char chunks[] = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n";
	char *const answers[] = {empty, ssh, twice, negative, huge, words, chunks};

	for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
		struct sink sink = {0};
		struct ts_http_response response;
		enum ts_err err = perform(raw, answers[i], get_into(&sink), "/", &response, NULL);
		if (err != TS_ERR_NET_UNREACHABLE && err != TS_ERR_NET_INCOMPLETE)
			fail_msg("answer %zu: %s", i, ts_err_name(err));
		assert_int_equal(sink.count, 0);
	}
}

static void flood_headers(void *ctx, struct http_exchange *exchange)
{
	const bool *one_line = ctx;
	char line[1024];
	bool open = http_printf(exchange, "HTTP/1.1 200 OK\r\n");

	memset(line, 'x', sizeof line);
	if (!*one_line) {
		memcpy(line, "X-Flood: ", 9);
		memcpy(line + sizeof line - 2, "\r\n", 2);
	}
	for (int i = 0; open && i < 10 * 1024; i++)
		open = http_send(exchange, line, sizeof line);
}

static void stops_floods_of_headers(void **state TS_UNUSED)
{
	for (int i = 0; i < 2; i++) {
		struct sink sink = {0};
		struct ts_http_response response;
		struct ts_error error = {0};
		bool one_line = i == 1;
		assert_int_equal(perform(flood_headers, &one_line, get_into(&sink), "/", &response, &error), TS_ERR_LIMIT);
		assert_int_equal(sink.begins, 0);
	}
}

// --- Time ---

static char stall_silent[] = "";
static char stall_in_head[] = "HTTP/1.1 200 OK\r\nX: ";
static char stall_in_body[] = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc";

static void notices_stalls(void **state TS_UNUSED)
{
	char *const scripts[] = {stall_silent, stall_in_head, stall_in_body};

	for (size_t i = 0; i < 3; i++) {
		struct sink sink = {0};
		struct ts_http_response response;
		struct ts_error error = {0};
		struct ts_http_request request = get_into(&sink);
		request.stall_timeout_ms = 50;
		assert_int_equal(perform(stall, scripts[i], request, "/", &response, &error), TS_ERR_TIMEOUT);
		assert_non_null(strstr(error.message, "stalled"));
	}
}

static void holds_the_deadline(void **state TS_UNUSED)
{
	struct sink sink = {0};
	struct ts_http_response response;
	struct ts_error error = {0};
	struct ts_http_request request = get_into(&sink);

	request.deadline_ms = 50;
	assert_int_equal(perform(stall, stall_in_body, request, "/", &response, &error), TS_ERR_TIMEOUT);
	assert_non_null(strstr(error.message, "50 ms"));
	// Bytes that keep coming do not extend it.
	request.ctx = &(struct sink){0};
	assert_int_equal(perform(send_forever, NULL, request, "/", &response, &error), TS_ERR_TIMEOUT);
}

static void stops_a_stalled_transfer_when_aborted(void **state TS_UNUSED)
{
	const struct ts_clock *clock = ts_clock_system();
	struct sink sink = {.abort_on_first = true};
	struct ts_http_response response;
	struct ts_error error = {0};
	int64_t start = ts_mono_ms(clock);

	assert_int_equal(perform(stall, stall_in_body, get_into(&sink), "/", &response, &error), TS_ERR_ABORTED);
	assert_string_equal(sink.bytes, "abc");
	// It polls at least every 200 ms; the rest is room for a busy machine. Stall and deadline are far away.
	assert_in_range(ts_mono_ms(clock) - start, 0, 2000);
}

static void set_flag_and_stall(void *ctx, struct http_exchange *exchange)
{
	atomic_store((atomic_bool *)ctx, true);
	http_wait_closed(exchange);
}

static void stops_waiting_for_an_answer_when_aborted(void **state TS_UNUSED)
{
	struct sink sink = {0};
	struct ts_http_response response;

	assert_int_equal(perform(set_flag_and_stall, &sink.abort, get_into(&sink), "/", &response, NULL), TS_ERR_ABORTED);
	// Already set: not even a connection.
	struct http_server *server = http_server_start(greet, NULL);
	struct ts_http_request request = get_into(&sink);
	char url[512];
	request.url = http_server_url(server, "/", url);
	assert_int_equal(ts_http_perform(&request, &response, NULL), TS_ERR_ABORTED);
	assert_int_equal(http_server_requests(server), 0);
	http_server_stop(server);
}

static void stops_when_a_callback_says_so(void **state TS_UNUSED)
{
	struct sink writing = {.answer_of_write = TS_ERR_IO};
	struct sink beginning = {.answer_of_begin = TS_ERR_CONFLICT};
	struct ts_http_response response;
	struct ts_error error = {0};

	assert_int_equal(perform(send_forever, NULL, get_into(&writing), "/", &response, &error), TS_ERR_IO);
	assert_string_equal(error.message, "write says no");
	assert_int_equal(perform(send_forever, NULL, get_into(&beginning), "/", &response, &error), TS_ERR_CONFLICT);
	assert_string_equal(error.message, "begin says no");
	assert_int_equal(beginning.count, 0);
}

static void names_the_host_it_cannot_reach(void **state TS_UNUSED)
{
	// A port that was just free: nobody listens.
	struct http_server *server = http_server_start(greet, NULL);
	struct sink sink = {0};
	struct ts_http_response response;
	struct ts_error error = {0};
	struct ts_http_request request = get_into(&sink);
	char url[512];
	char port[8];

	request.url = http_server_url(server, "/path?token=" SECRET, url);
	snprintf(port, sizeof port, "%u", (unsigned)http_server_port(server));
	http_server_stop(server);
	assert_int_equal(ts_http_perform(&request, &response, &error), TS_ERR_NET_UNREACHABLE);
	assert_int_equal(response.status, 0);
	assert_non_null(strstr(error.message, "127.0.0.1"));
	assert_non_null(strstr(error.message, port));
	assert_null(strstr(error.message, SECRET));
}

// A listener whose queue is full drops what else comes: a connection to it hangs.
static void gives_up_connecting(void **state TS_UNUSED)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof address;
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int queue[8];
	struct sink sink = {0};
	struct ts_http_response response;
	struct ts_error error = {0};
	struct ts_http_request request = get_into(&sink);
	char url[64];

	assert_int_equal(bind(listener, (const struct sockaddr *)&address, sizeof address), 0);
	assert_int_equal(listen(listener, 0), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &length), 0);
	for (size_t i = 0; i < 8; i++) {
		queue[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		connect(queue[i], (const struct sockaddr *)&address, sizeof address);
	}
	snprintf(url, sizeof url, "http://127.0.0.1:%u/", (unsigned)ntohs(address.sin_port));
	request.url = url;
	request.connect_timeout_ms = 100;
	assert_int_equal(ts_http_perform(&request, &response, &error), TS_ERR_TIMEOUT);
	assert_non_null(strstr(error.message, "connection"));
	for (size_t i = 0; i < 8; i++)
		close(queue[i]);
	close(listener);
}

// --- Guard and redirects ---

static struct ts_netguard *guard_of(const char *allowed)
{
	struct ts_netguard *guard = NULL;

	assert_int_equal(ts_netguard_create(allowed, &guard, NULL), TS_OK);
	return guard;
}

static void asks_the_guard(void **state TS_UNUSED)
{
	struct ts_netguard *strict = guard_of("");
	struct ts_netguard *open = guard_of("127.0.0.0/8");
	struct sink sink = {0};
	struct ts_http_response response;
	struct ts_error error = {0};
	struct ts_http_request request = get_into(&sink);

	request.guard = strict;
	assert_int_equal(perform(greet, NULL, request, "/", &response, &error), TS_ERR_NET_FORBIDDEN);
	assert_non_null(strstr(error.message, "127.0.0.1"));
	request.guard = open;
	assert_int_equal(perform(greet, NULL, request, "/", &response, &error), TS_OK);
	ts_netguard_destroy(strict);
	ts_netguard_destroy(open);
}

struct answers {
	const char *first;
	const char *later;
	unsigned calls;
};

static enum ts_err look_up(void *ctx, const char *host TS_UNUSED, uint16_t port, struct ts_addresses *out,
                           struct ts_error *error TS_UNUSED)
{
	struct answers *answers = ctx;
	struct sockaddr_in in4 = {.sin_family = AF_INET, .sin_port = htons(port)};

	inet_pton(AF_INET, answers->calls++ == 0 ? answers->first : answers->later, &in4.sin_addr);
	memcpy(&out->address[out->count++], &in4, sizeof in4);
	return TS_OK;
}

// The name exists only in the guard's answer: a connection can only come from the pinned address.
static void connects_to_the_checked_address_only(void **state TS_UNUSED)
{
	struct http_server *server = http_server_start(echo, NULL);
	struct ts_netguard *guard = guard_of("127.0.0.1");
	struct answers answers = {.first = "127.0.0.1", .later = "10.0.0.1"};
	struct sink sink = {0};
	struct ts_http_response response;
	struct ts_http_request request = get_into(&sink);
	char url[128];
	char host[128];

	ts_netguard_set_lookup(guard, look_up, &answers);
	snprintf(url, sizeof url, "http://rebinding.example:%u/", (unsigned)http_server_port(server));
	snprintf(host, sizeof host, "\r\nHost: rebinding.example:%u\r\n", (unsigned)http_server_port(server));
	request.url = url;
	request.guard = guard;
	assert_int_equal(ts_http_perform(&request, &response, NULL), TS_OK);
	assert_int_equal(answers.calls, 1);
	assert_non_null(strstr(sink.bytes, host));
	// The next transfer asks anew, and the answer is judged anew.
	assert_int_equal(ts_http_perform(&request, &response, NULL), TS_ERR_NET_FORBIDDEN);
	assert_int_equal(http_server_requests(server), 1);
	ts_netguard_destroy(guard);
	http_server_stop(server);
}

static enum ts_err look_up_both(void *ctx TS_UNUSED, const char *host TS_UNUSED, uint16_t port,
                                struct ts_addresses *out, struct ts_error *error TS_UNUSED)
{
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	struct sockaddr_in in4 = {
	    .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

	memcpy(&out->address[out->count++], &in6, sizeof in6);
	memcpy(&out->address[out->count++], &in4, sizeof in4);
	return TS_OK;
}

// The server listens on IPv4 only.
static void tries_every_checked_address(void **state TS_UNUSED)
{
	struct http_server *server = http_server_start(greet, NULL);
	struct ts_netguard *guard = guard_of("both.example.");
	struct sink sink = {0};
	struct ts_http_response response;
	struct ts_http_request request = get_into(&sink);
	char url[128];

	ts_netguard_set_lookup(guard, look_up_both, NULL);
	snprintf(url, sizeof url, "http://both.example.:%u/", (unsigned)http_server_port(server));
	request.url = url;
	request.guard = guard;
	assert_int_equal(ts_http_perform(&request, &response, NULL), TS_OK);
	assert_string_equal(sink.bytes, "hello");
	ts_netguard_destroy(guard);
	http_server_stop(server);
}

struct maze {
	char location[600]; // of /redirect
	int status;
	char seen[32768]; // head of the last request that was no redirect
};

static void wander(void *ctx, struct http_exchange *exchange)
{
	struct maze *maze = ctx;
	char header[700];

	if (strcmp(exchange->target, "/loop") == 0) {
		http_answer(exchange, 302, "Location: /loop\r\n", "x", 1);
	} else if (strncmp(exchange->target, "/redirect", 9) == 0) {
		snprintf(header, sizeof header, "Location: %s\r\n", maze->location);
		http_printf(exchange, "HTTP/1.1 %d Moved\r\nContent-Length: 1000\r\n%s\r\n", maze->status, header);
		http_wait_closed(exchange); // the client must not wait for the body of a redirect
	} else {
		snprintf(maze->seen, sizeof maze->seen, "%s", exchange->head);
		http_answer(exchange, 200, "", "found", 5);
	}
}

static enum ts_err walk(struct maze *maze, struct ts_http_request request, struct sink *sink, const char *path,
                        struct ts_http_response *response, struct ts_error *error)
{
	request.max_redirects = 3;
	request.ctx = sink;
	request.abort = &sink->abort;
	return perform(wander, maze, request, path, response, error);
}

static void follows_redirects(void **state TS_UNUSED)
{
	static const int statuses[] = {301, 302, 303, 307, 308};
	static const char *const headers[] = {"Authorization: Bearer " SECRET, NULL};

	for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++) {
		struct maze maze = {.status = statuses[i], .location = "target?x=1#part"};
		struct sink sink = {0};
		struct ts_http_response response;
		struct ts_http_request request = get_into(&sink);
		request.headers = headers;
		assert_int_equal(walk(&maze, request, &sink, "/redirect", &response, NULL), TS_OK);
		assert_int_equal(response.status, 200);
		assert_string_equal(sink.bytes, "found");
		assert_int_equal(sink.begins, 1);
		assert_non_null(strstr(maze.seen, "GET /target?x=1 HTTP/1.1\r\n"));
	}
}

static void keeps_credentials_at_their_origin(void **state TS_UNUSED)
{
	static const char *const headers[] = {"Authorization: Bearer " SECRET, "Cookie: a=" SECRET, "X-Api-Key: " SECRET,
	                                      "Accept: video/*", NULL};
	struct maze there = {.status = 302};
	struct maze here = {.status = 302, .location = "/same"};
	struct http_server *other = http_server_start(wander, &there);
	struct sink sink = {0};
	struct sink second = {0};
	struct ts_http_response response;
	struct ts_http_request request = get_into(&sink);
	char url[512];

	request.headers = headers;
	assert_int_equal(walk(&here, request, &sink, "/redirect", &response, NULL), TS_OK);
	assert_non_null(strstr(here.seen, "Authorization: Bearer " SECRET));

	// Another port is another origin.
	snprintf(here.location, sizeof here.location, "%s", http_server_url(other, "/x", url));
	assert_int_equal(walk(&here, request, &second, "/redirect", &response, NULL), TS_OK);
	assert_string_equal(second.bytes, "found");
	assert_non_null(strstr(there.seen, "GET /x HTTP/1.1"));
	assert_null(strstr(there.seen, SECRET));
	assert_non_null(strstr(there.seen, "Accept: video/*"));
	http_server_stop(other);
}

static void guards_every_hop(void **state TS_UNUSED)
{
	static const struct {
		const char *location;
		const char *why;
	} rows[] = {
	    {"http://169.254.169.254/latest/meta-data/", "169.254.169.254"},
	    {"http://[::1]/", "::1"},
	    {"http://10.0.0.1/", "10.0.0.1"},
	    {"http://0x7f.1/", "127.0.0.1"},
	    {"//192.168.0.1/", "192.168.0.1"},
	    {"file:///etc/passwd", "http://"},
	    {"gopher://h/", "http://"},
	    {"http://user:pw@h/", "user name"},
	};
	// Only the server's own origin is allowed.
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct maze maze = {.status = 302};
		struct sink sink = {0};
		struct ts_http_response response;
		struct ts_error error = {0};
		struct ts_http_request request = get_into(&sink);
		struct http_server *server = http_server_start(wander, &maze);
		char allowed[64];
		char url[512];
		snprintf(maze.location, sizeof maze.location, "%s", rows[i].location);
		snprintf(allowed, sizeof allowed, "127.0.0.1:%u", (unsigned)http_server_port(server));
		struct ts_netguard *guard = guard_of(allowed);
		request.guard = guard;
		request.max_redirects = 3;
		request.url = http_server_url(server, "/redirect", url);
		if (ts_http_perform(&request, &response, &error) != TS_ERR_NET_FORBIDDEN)
			fail_msg("%s is not refused", rows[i].location);
		if (!strstr(error.message, rows[i].why))
			fail_msg("%s: \"%s\"", rows[i].location, error.message);
		assert_int_equal(http_server_requests(server), 1);
		ts_netguard_destroy(guard);
		http_server_stop(server);
	}
}

static void keeps_encryption(void **state TS_UNUSED)
{
	static const struct {
		const char *from;
		const char *location;
		enum ts_err err;
	} rows[] = {
	    {"https://h/a", "http://h/a", TS_ERR_NET_FORBIDDEN},
	    {"https://h/a", "HTTP://other.example/a", TS_ERR_NET_FORBIDDEN},
	    {"https://h/a", "https://other.example/a", TS_OK},
	    {"https://h/a", "//other.example/a", TS_OK},
	    {"http://h/a", "https://h/a", TS_OK},
	    {"http://h/a", "http://h/b", TS_OK},
	    {"http://h/a", "s3://bucket/b", TS_ERR_NET_FORBIDDEN},
	};
	static const char *const schemes[] = {"http", "https", NULL};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		TS_AUTOURL struct ts_url from = {0};
		TS_AUTOURL struct ts_url target = {0};
		struct ts_error error = {0};
		assert_int_equal(ts_url_parse(rows[i].from, schemes, &from, NULL), TS_OK);
		assert_int_equal(ts_http_redirect_target(&from, rows[i].location, &target, &error), rows[i].err);
		assert_int_equal(error.code, rows[i].err);
	}
}

static void ends_redirect_loops(void **state TS_UNUSED)
{
	struct maze maze = {0};
	struct http_server *server = http_server_start(wander, &maze);
	struct sink sink = {0};
	struct sink none = {0};
	struct ts_http_response response;
	struct ts_http_request request = get_into(&sink);
	char url[512];

	request.url = http_server_url(server, "/loop", url);
	request.max_redirects = 3;
	assert_int_equal(ts_http_perform(&request, &response, NULL), TS_OK);
	assert_int_equal(response.status, 302);
	assert_int_equal(http_server_requests(server), 4);
	assert_int_equal(sink.count, 0);

	request.ctx = &none;
	request.max_redirects = 0;
	assert_int_equal(ts_http_perform(&request, &response, NULL), TS_OK);
	assert_int_equal(response.status, 302);
	assert_string_equal(response.error_body, "x");
	assert_int_equal(http_server_requests(server), 5);
	http_server_stop(server);
}

static void sends_bodies_to_nobody_else(void **state TS_UNUSED)
{
	const char *script[] = {"307", "Location: /other\r\n", ""};
	struct sink sink = {0};
	struct ts_http_response response;
	struct ts_http_request request = get_into(&sink);

	request.method = "POST";
	request.body = "secret";
	request.body_length = 6;
	request.max_redirects = 3;
	assert_int_equal(perform(refuse, script, request, "/", &response, NULL), TS_OK);
	assert_int_equal(response.status, 307);
}

static void takes_a_redirect_without_target_as_it_is(void **state TS_UNUSED)
{
	const char *script[] = {"302", "", "nowhere"};
	struct sink sink = {0};
	struct ts_http_response response;
	struct ts_http_request request = get_into(&sink);

	request.max_redirects = 3;
	assert_int_equal(perform(refuse, script, request, "/", &response, NULL), TS_OK);
	assert_int_equal(response.status, 302);
	assert_string_equal(response.error_body, "nowhere");
}

// --- Header lines, without a network ---

static struct ts_http_response read_lines(const char *const *lines)
{
	struct ts_http_response response;
	struct ts_http_head head;

	ts_http_head_begin(&head, &response, 784903526000); // Tue, 15 Nov 1994 12:45:26 GMT
	assert_int_equal(ts_http_head_line(&head, "HTTP/1.1 206 x\r\n", 16, NULL), TS_OK);
	for (size_t i = 0; lines[i]; i++)
		assert_int_equal(ts_http_head_line(&head, lines[i], strlen(lines[i]), NULL), TS_OK);
	assert_int_equal(ts_http_head_line(&head, "\r\n", 2, NULL), TS_OK);
	assert_true(head.complete);
	return response;
}

static void reads_retry_after(void **state TS_UNUSED)
{
	static const struct {
		const char *lines[3];
		int64_t ms;
	} rows[] = {
	    {{"Retry-After: 120\r\n"}, 120000},
	    {{"retry-after:0\r\n"}, 0},
	    {{"Retry-After: Tue, 15 Nov 1994 12:46:26 GMT\r\n"}, 60000},
	    {{"Retry-After: Tuesday, 15-Nov-94 12:46:26 GMT\r\n"}, 60000},
	    {{"Retry-After: Tue Nov 15 12:46:26 1994\r\n"}, 60000},
	    {{"Retry-After: Tue, 15 Nov 1994 12:44:26 GMT\r\n"}, 0},
	    {{"Retry-After: Fri, 31 Dec 1999 23:59:59 GMT\r\n"}, TS_HTTP_RETRY_AFTER_MAX_MS},
	    {{"Retry-After: 99999999999\r\n"}, TS_HTTP_RETRY_AFTER_MAX_MS},
	    {{"Retry-After: soon\r\n"}, -1},
	    {{"Retry-After: -5\r\n"}, -1},
	    {{"Retry-After: \r\n"}, -1},
	    {{"retry-after-ms: 1500.5\r\n", "Retry-After: 9\r\n"}, 1500},
	    {{"Retry-After: 9\r\n", "retry-after-ms: 250\r\n"}, 250},
	    {{"retry-after-ms: nan\r\n", "Retry-After: 9\r\n"}, 9000},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct ts_http_response response = read_lines(rows[i].lines);
		if (response.retry_after_ms != rows[i].ms)
			fail_msg("%s gives %lld", rows[i].lines[0], (long long)response.retry_after_ms);
	}
}

static void reads_content_range(void **state TS_UNUSED)
{
	static const struct {
		const char *line;
		int64_t from;
		int64_t to;
		int64_t total;
	} rows[] = {
	    {"Content-Range: bytes 5-9/10\r\n", 5, 9, 10},
	    {"Content-Range: Bytes 5-9/*\r\n", 5, 9, -1},
	    {"Content-Range: bytes */10\r\n", -1, -1, 10},
	    {"Content-Range: bytes 5-4/10\r\n", -1, -1, -1},
	    {"Content-Range: bytes 5-10/10\r\n", -1, -1, -1},
	    {"Content-Range: bytes -5/10\r\n", -1, -1, -1},
	    {"Content-Range: bytes 5-9/10x\r\n", -1, -1, -1},
	    {"Content-Range: bytes 5-9\r\n", -1, -1, -1},
	    {"Content-Range: bytes 99999999999999999999-9/10\r\n", -1, -1, -1},
	    {"Content-Range: lines 5-9/10\r\n", -1, -1, -1},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct ts_http_response response = read_lines((const char *const[]){rows[i].line, NULL});
		if (response.content_range_from != rows[i].from || response.content_range_to != rows[i].to ||
		    response.content_range_total != rows[i].total)
			fail_msg("%s is misread", rows[i].line);
	}
}

static void drops_values_that_do_not_fit(void **state TS_UNUSED)
{
	char line[400] = "ETag: \"";

	memset(line + 7, 'a', 300);
	memcpy(line + 307, "\"\r\n", 4);
	struct ts_http_response response = read_lines((const char *const[]){line, "Last-Modified: a\tb\x01\r\n", NULL});
	assert_string_equal(response.etag, "");
	assert_string_equal(response.last_modified, "");
}

// --- Allocation ---

static enum ts_err post_a_form(void *ctx, struct ts_error *error)
{
	struct sink sink = {0};
	struct ts_http_response response;
	struct ts_http_part part = {.name = "a", .data = "b", .length = 1};
	struct ts_http_request request = get_into(&sink);

	request.method = "POST";
	request.url = ctx;
	request.parts = &part;
	request.part_count = 1;
	return ts_http_perform(&request, &response, error);
}

static void survives_allocation_failures(void **state TS_UNUSED)
{
	size_t length = 0;
	struct http_server *server = http_server_start(count_body, &length);
	char url[512];

	http_server_url(server, "/", url);
	ts_fault_each(post_a_form, url, 5);
	http_server_stop(server);
}

static int start(void **state TS_UNUSED)
{
	return ts_http_global_init(NULL) == TS_OK ? 0 : -1;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(hands_over_a_body_and_its_headers),
	    cmocka_unit_test(begins_without_a_body),
	    cmocka_unit_test(reads_chunks),
	    cmocka_unit_test(sends_what_it_is_told),
	    cmocka_unit_test(sends_bodies),
	    cmocka_unit_test(sends_forms),
	    cmocka_unit_test(refuses_bad_headers_and_urls),
	    cmocka_unit_test(ignores_proxies_of_the_environment),
	    cmocka_unit_test(keeps_the_beginning_of_errors),
	    cmocka_unit_test(does_not_read_endless_errors),
	    cmocka_unit_test(keeps_a_status_whose_body_stalls),
	    cmocka_unit_test(notices_short_bodies),
	    cmocka_unit_test(holds_the_size_ceiling),
	    cmocka_unit_test(refuses_answers_that_are_no_http),
	    cmocka_unit_test(stops_floods_of_headers),
	    cmocka_unit_test(notices_stalls),
	    cmocka_unit_test(holds_the_deadline),
	    cmocka_unit_test(stops_a_stalled_transfer_when_aborted),
	    cmocka_unit_test(stops_waiting_for_an_answer_when_aborted),
	    cmocka_unit_test(stops_when_a_callback_says_so),
	    cmocka_unit_test(names_the_host_it_cannot_reach),
	    cmocka_unit_test(gives_up_connecting),
	    cmocka_unit_test(asks_the_guard),
	    cmocka_unit_test(connects_to_the_checked_address_only),
	    cmocka_unit_test(tries_every_checked_address),
	    cmocka_unit_test(follows_redirects),
	    cmocka_unit_test(keeps_credentials_at_their_origin),
	    cmocka_unit_test(guards_every_hop),
	    cmocka_unit_test(keeps_encryption),
	    cmocka_unit_test(ends_redirect_loops),
	    cmocka_unit_test(sends_bodies_to_nobody_else),
	    cmocka_unit_test(takes_a_redirect_without_target_as_it_is),
	    cmocka_unit_test(reads_retry_after),
	    cmocka_unit_test(reads_content_range),
	    cmocka_unit_test(drops_values_that_do_not_fit),
	    cmocka_unit_test(survives_allocation_failures),
	};

	return cmocka_run_group_tests_name("http", tests, start, NULL);
}
