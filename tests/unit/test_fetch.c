// Downloads that break off, resume, start over, are refused, or grow too large. Waiting between tries is
// recorded instead of done.
#include "base/mem.h"
#include "http_server.h"
#include "net/fetch.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define FILE_SIZE 100000
#define ETAG "\"v1\""

static char content[FILE_SIZE]; // what the server has
static char content2[FILE_SIZE];

enum trick {
	HONEST,
	CUT,             // after half of what is left
	CUT_CHUNK,       // the same, without announcing a length
	STALL,           // after half of what is left
	IGNORE_RANGE,    // answers 200 to a range
	OTHER_START,     // a part that starts elsewhere
	OTHER_TOTAL,     // a part of a file of another size
	OTHER_TAG,       // a part of another version
	LONGER,          // a part that is longer than its range
	UNASKED_PART,    // 206 without a range
	SHORTER_RANGE,   // a part that ends before the file does, orderly
	NEW_VERSION,     // If-Range no longer matches: the whole new file
	NOT_SATISFIABLE, // 416
	BUSY,            // 503
	BUSY_LONG,       // 503, Retry-After: 3600
	BUSY_A_WHILE,    // 503, Retry-After: 50
	LIMITED,         // 429, Retry-After: 3
	GONE,            // 410
	MISSING,         // 404
	DENIED,          // 403
	LOOP,            // redirects to itself
	ENDLESS,         // never stops, announces nothing
	HUGE,            // announces a terabyte
	GZIP,            // compressed although identity was asked for
	NOTHING,         // 204
};

struct play {
	const enum trick *script; // one a request; the last repeats
	size_t count;
	const char *validator; // header line sent along
	char ranges[8][64];    // seen
	char if_ranges[8][64];
	char encodings[8][64];
};

static void send_file(struct http_exchange *exchange, const struct play *play, const char *bytes, size_t from)
{
	char headers[256];

	if (from)
		snprintf(headers, sizeof headers, "%sContent-Range: bytes %zu-%d/%d\r\n", play->validator, from, FILE_SIZE - 1,
		         FILE_SIZE);
	else
		snprintf(headers, sizeof headers, "%s", play->validator);
	http_answer(exchange, from ? 206 : 200, headers, bytes + from, FILE_SIZE - from);
}

static void send_part(struct http_exchange *exchange, const char *tag, size_t from, size_t to, size_t total,
                      size_t length)
{
	http_printf(exchange,
	            "HTTP/1.1 206 Part\r\nContent-Length: %zu\r\nETag: %s\r\nContent-Range: bytes %zu-%zu/%zu\r\n\r\n",
	            length, tag, from, to, total);
	http_send(exchange, content, length);
}

static void play_trick(struct play *play, struct http_exchange *exchange, enum trick trick, size_t from)
{
	size_t left = FILE_SIZE - from;

	switch (trick) {
	case HONEST: send_file(exchange, play, content, from); break;
	case CUT:
	case STALL:
		http_printf(exchange, "HTTP/1.1 %d x\r\nContent-Length: %zu\r\n%s", from ? 206 : 200, left, play->validator);
		if (from)
			http_printf(exchange, "Content-Range: bytes %zu-%d/%d\r\n", from, FILE_SIZE - 1, FILE_SIZE);
		http_printf(exchange, "\r\n");
		http_send(exchange, content + from, left / 2);
		if (trick == STALL)
			http_wait_closed(exchange);
		break;
	case CUT_CHUNK:
		http_printf(exchange, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n%s\r\n%x\r\n", play->validator,
		            FILE_SIZE / 2);
		http_send(exchange, content, FILE_SIZE / 2);
		break;
	case IGNORE_RANGE: send_file(exchange, play, content, 0); break;
	case OTHER_START: send_part(exchange, ETAG, 1, FILE_SIZE - 1, FILE_SIZE, FILE_SIZE - 1); break;
	case OTHER_TOTAL: send_part(exchange, ETAG, from, FILE_SIZE, FILE_SIZE + 1, left + 1); break;
	case OTHER_TAG: send_part(exchange, "\"v2\"", from, FILE_SIZE - 1, FILE_SIZE, left); break;
	case LONGER: send_part(exchange, ETAG, from, FILE_SIZE - 1, FILE_SIZE, left + 100); break;
	case UNASKED_PART: send_part(exchange, ETAG, 0, FILE_SIZE - 1, FILE_SIZE, FILE_SIZE); break;
	case SHORTER_RANGE:
		http_printf(exchange, "HTTP/1.1 206 Part\r\nContent-Length: 1000\r\nContent-Range: bytes %zu-%zu/%d\r\n\r\n",
		            from, from + 999, FILE_SIZE);
		http_send(exchange, content + from, 1000);
		break;
	case NEW_VERSION: send_file(exchange, play, content2, 0); break;
	case NOT_SATISFIABLE: http_answer(exchange, 416, "Content-Range: bytes */7\r\n", "", 0); break;
	case BUSY: http_answer(exchange, 503, "", "busy", 4); break;
	case BUSY_LONG: http_answer(exchange, 503, "Retry-After: 3600\r\n", "busy", 4); break;
	case BUSY_A_WHILE: http_answer(exchange, 503, "Retry-After: 50\r\n", "busy", 4); break;
	case LIMITED: http_answer(exchange, 429, "Retry-After: 3\r\n", "", 0); break;
	case GONE: http_answer(exchange, 410, "", "", 0); break;
	case MISSING: http_answer(exchange, 404, "", "no such file", 12); break;
	case DENIED: http_answer(exchange, 403, "", "", 0); break;
	case LOOP: http_answer(exchange, 302, "Location: /loop?token=s3cr3t\r\n", "", 0); break;
	case ENDLESS:
		http_printf(exchange, "HTTP/1.1 200 OK\r\n\r\n");
		while (http_send(exchange, content, FILE_SIZE))
			;
		break;
	case HUGE:
		http_printf(exchange, "HTTP/1.1 200 OK\r\nContent-Length: 1099511627776\r\n\r\n");
		http_wait_closed(exchange);
		break;
	case GZIP: http_answer(exchange, 200, "Content-Encoding: gzip\r\n", "\x1f\x8b", 2); break;
	case NOTHING: http_answer(exchange, 204, "", "", 0); break;
	}
}

static void note(char out[64], struct http_exchange *exchange, const char *name)
{
	char value[512];

	snprintf(out, 64, "%.60s", http_header(exchange, name, value) ? value : "");
}

static void serve(void *ctx, struct http_exchange *exchange)
{
	struct play *play = ctx;
	size_t index = exchange->number - 1;
	size_t step = index < play->count ? index : play->count - 1;
	size_t from = 0;

	if (index < 8) {
		note(play->ranges[index], exchange, "Range");
		note(play->if_ranges[index], exchange, "If-Range");
		note(play->encodings[index], exchange, "Accept-Encoding");
		sscanf(play->ranges[index], "bytes=%zu-", &from);
	}
	play_trick(play, exchange, play->script[step], from);
}

struct record {
	unsigned waits;
	int64_t waited[8];
	uint64_t received;
	int64_t total;
	struct ts_clock_manual clock;
	atomic_bool abort;
	bool abort_while_waiting;
};

static void wait_recorded(void *ctx, int64_t ms, const atomic_bool *abort TS_UNUSED)
{
	struct record *record = ctx;

	record->waited[record->waits++ % 8] = ms;
	atomic_fetch_add(&record->clock.now_ms, ms);
	if (record->abort_while_waiting)
		atomic_store(&record->abort, true);
}

static void progress(void *ctx, uint64_t received, int64_t total)
{
	struct record *record = ctx;

	record->received = received;
	record->total = total;
}

struct result {
	enum ts_err err;
	struct ts_error error;
	unsigned requests;
	uint64_t size;
	char *bytes; // owned
};

static void finish_result(struct result *result)
{
	free(result->bytes);
}

static struct result fetch(struct play *play, struct record *record, struct ts_fetch_options options)
{
	struct http_server *server = http_server_start(serve, play);
	struct result result = {0};
	struct stat status;
	char url[512];
	int fd = memfd_create("media", MFD_CLOEXEC);

	assert_true(fd >= 0);
	ts_clock_manual_init(&record->clock, 1000);
	options.clock = &record->clock.clock;
	options.wait = wait_recorded;
	options.progress = progress;
	options.ctx = record;
	options.abort = &record->abort;
	if (!options.max_tries)
		options.max_tries = 4;
	result.err = ts_fetch(http_server_url(server, "/file.mp4?token=s3cr3t", url), fd, &options, &result.error);
	result.requests = http_server_requests(server);
	http_server_stop(server);
	assert_int_equal(fstat(fd, &status), 0);
	result.size = (uint64_t)status.st_size;
	result.bytes = malloc(result.size + 1);
	assert_non_null(result.bytes);
	assert_int_equal(pread(fd, result.bytes, result.size, 0), (ssize_t)result.size);
	close(fd);
	assert_null(strstr(result.error.message, "s3cr3t"));
	if (result.err != TS_OK)
		assert_non_null(strstr(result.error.message, "127.0.0.1"));
	return result;
}

static struct play play_of(const enum trick *script, size_t count)
{
	return (struct play){.script = script, .count = count, .validator = "ETag: " ETAG "\r\n"};
}

static void expect_whole(const struct result *result, const char *bytes)
{
	if (result->err != TS_OK)
		fail_msg("%s: %s", ts_err_name(result->err), result->error.message);
	assert_int_equal(result->size, FILE_SIZE);
	assert_memory_equal(result->bytes, bytes, FILE_SIZE);
}

static void fetches_at_once(void **state TS_UNUSED)
{
	static const enum trick script[] = {HONEST};
	struct play play = play_of(script, 1);
	struct record record = {0};
	TS_CLEANUP(finish_result) struct result result = fetch(&play, &record, (struct ts_fetch_options){0});

	expect_whole(&result, content);
	assert_int_equal(result.requests, 1);
	assert_int_equal(record.waits, 0);
	assert_int_equal(record.received, FILE_SIZE);
	assert_int_equal(record.total, FILE_SIZE);
	assert_string_equal(play.ranges[0], "");
	assert_string_equal(play.encodings[0], "identity");
}

static void resumes_by_validator(void **state TS_UNUSED)
{
	static const enum trick script[] = {CUT, CUT, HONEST};
	static const struct {
		const char *header;
		const char *if_range; // "": may not be resumed
	} rows[] = {
	    {"ETag: " ETAG "\r\n", ETAG},
	    {"ETag: " ETAG "\r\nLast-Modified: Tue, 15 Nov 1994 12:45:26 GMT\r\n", ETAG},
	    {"Last-Modified: Tue, 15 Nov 1994 12:45:26 GMT\r\n", "Tue, 15 Nov 1994 12:45:26 GMT"},
	    {"ETag: W/" ETAG "\r\nLast-Modified: Tue, 15 Nov 1994 12:45:26 GMT\r\n", ""},
	    {"ETag: W/" ETAG "\r\n", ""},
	    {"", ""},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct play play = play_of(script, 3);
		struct record record = {0};
		play.validator = rows[i].header;
		TS_CLEANUP(finish_result) struct result result = fetch(&play, &record, (struct ts_fetch_options){0});
		expect_whole(&result, content);
		assert_int_equal(result.requests, 3);
		assert_string_equal(play.if_ranges[1], rows[i].if_range);
		assert_string_equal(play.if_ranges[2], rows[i].if_range);
		assert_string_equal(play.ranges[1], rows[i].if_range[0] ? "bytes=50000-" : "");
		assert_string_equal(play.ranges[2], rows[i].if_range[0] ? "bytes=75000-" : "");
	}
}

// Each script breaks off once, then plays the trick, then tells the truth.
static void starts_over_when_parts_disagree(void **state TS_UNUSED)
{
	static const enum trick tricks[] = {OTHER_START, OTHER_TOTAL, OTHER_TAG, LONGER, NOT_SATISFIABLE};

	for (size_t i = 0; i < sizeof tricks / sizeof *tricks; i++) {
		const enum trick script[] = {CUT, tricks[i], HONEST};
		struct play play = play_of(script, 3);
		struct record record = {0};
		TS_CLEANUP(finish_result) struct result result = fetch(&play, &record, (struct ts_fetch_options){0});
		expect_whole(&result, content);
		assert_string_equal(play.ranges[1], "bytes=50000-");
		assert_string_equal(play.ranges[2], "");
	}
}

static void starts_over_within_a_200(void **state TS_UNUSED)
{
	static const enum trick same[] = {CUT, IGNORE_RANGE};
	static const enum trick newer[] = {CUT, NEW_VERSION};

	for (int i = 0; i < 2; i++) {
		struct play play = play_of(i ? newer : same, 2);
		struct record record = {0};
		TS_CLEANUP(finish_result) struct result result = fetch(&play, &record, (struct ts_fetch_options){0});
		expect_whole(&result, i ? content2 : content);
		assert_int_equal(result.requests, 2);
	}
}

static void goes_on_after_orderly_parts_and_stalls(void **state TS_UNUSED)
{
	static const enum trick scripts[][4] = {
	    {CUT, SHORTER_RANGE, HONEST}, {STALL, HONEST}, {CUT_CHUNK, HONEST}, {UNASKED_PART, HONEST}, {BUSY, CUT, HONEST},
	};
	static const size_t counts[] = {3, 2, 2, 2, 3};

	for (size_t i = 0; i < 5; i++) {
		struct play play = play_of(scripts[i], counts[i]);
		struct record record = {0};
		TS_CLEANUP(finish_result)
		struct result result = fetch(&play, &record, (struct ts_fetch_options){.stall_timeout_ms = 300});
		expect_whole(&result, content);
		assert_int_equal(result.requests, counts[i]);
	}
}

static void gives_up_after_bounded_tries(void **state TS_UNUSED)
{
	static const struct {
		enum trick trick;
		enum ts_err err;
	} rows[] = {
	    {CUT_CHUNK, TS_ERR_NET_INCOMPLETE},
	    {BUSY, TS_ERR_NET_STATUS_TEMPORARY},
	    {UNASKED_PART, TS_ERR_NET_INCOMPLETE},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct play play = play_of(&rows[i].trick, 1);
		struct record record = {0};
		TS_CLEANUP(finish_result)
		struct result result = fetch(&play, &record, (struct ts_fetch_options){.max_tries = 3});
		assert_int_equal(result.err, rows[i].err);
		assert_int_equal(result.error.code, rows[i].err);
		assert_non_null(strstr(result.error.message, "try 3"));
		assert_int_equal(result.requests, 3);
		assert_int_equal(record.waits, 2);
		assert_int_equal(record.waited[0], 500);
		assert_int_equal(record.waited[1], 1000);
	}
}

static void fails_at_once_when_nothing_will_change(void **state TS_UNUSED)
{
	static const struct {
		enum trick trick;
		enum ts_err err;
		const char *why;
		unsigned requests;
	} rows[] = {
	    {MISSING, TS_ERR_NET_STATUS, "404", 1},
	    {GONE, TS_ERR_NET_STATUS, "410", 1},
	    {DENIED, TS_ERR_NET_STATUS, "403", 1},
	    {NOTHING, TS_ERR_NET_STATUS, "204", 1},
	    {LOOP, TS_ERR_NET_STATUS, "redirects more than 2 times", 3},
	    {NOT_SATISFIABLE, TS_ERR_NET_STATUS, "416", 1},
	    {GZIP, TS_ERR_MEDIA_UNSUPPORTED, "gzip", 1},
	    {BUSY_LONG, TS_ERR_NET_STATUS_TEMPORARY, "503", 1},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct play play = play_of(&rows[i].trick, 1);
		struct record record = {0};
		TS_CLEANUP(finish_result)
		struct result result = fetch(&play, &record, (struct ts_fetch_options){.max_redirects = 2});
		assert_int_equal(result.err, rows[i].err);
		if (!strstr(result.error.message, rows[i].why))
			fail_msg("\"%s\" does not say %s", result.error.message, rows[i].why);
		assert_int_equal(result.requests, rows[i].requests);
		assert_int_equal(record.waits, 0);
		assert_int_equal(result.size, 0);
	}
}

static void honours_retry_after(void **state TS_UNUSED)
{
	static const enum trick script[] = {LIMITED, HONEST};
	struct play play = play_of(script, 2);
	struct record record = {0};
	TS_CLEANUP(finish_result) struct result result = fetch(&play, &record, (struct ts_fetch_options){0});

	expect_whole(&result, content);
	assert_int_equal(record.waits, 1);
	assert_int_equal(record.waited[0], 3000);
}

static void does_not_wait_past_the_deadline(void **state TS_UNUSED)
{
	static const enum trick script[] = {LIMITED, HONEST};
	struct play play = play_of(script, 2);
	struct record record = {0};
	TS_CLEANUP(finish_result)
	struct result result = fetch(&play, &record, (struct ts_fetch_options){.deadline_ms = 3000});

	assert_int_equal(result.err, TS_ERR_NET_STATUS_TEMPORARY);
	assert_int_equal(result.requests, 1);
	assert_int_equal(record.waits, 0);
}

static void refuses_what_is_too_large(void **state TS_UNUSED)
{
	static const enum trick scripts[][2] = {{HUGE}, {ENDLESS}, {HONEST}, {CUT, HONEST}};
	static const uint64_t ceilings[] = {1000000, 1000000, FILE_SIZE - 1, FILE_SIZE};

	for (size_t i = 0; i < 4; i++) {
		struct play play = play_of(scripts[i], i == 3 ? 2 : 1);
		struct record record = {0};
		TS_CLEANUP(finish_result)
		struct result result = fetch(&play, &record, (struct ts_fetch_options){.max_bytes = ceilings[i]});
		if (i == 3) { // exactly at the ceiling, in two parts
			expect_whole(&result, content);
			continue;
		}
		assert_int_equal(result.err, TS_ERR_MEDIA_TOO_LARGE);
		assert_int_equal(result.requests, 1);
		assert_true(result.size <= ceilings[i]);
		assert_true(i == 1 || result.size == 0);
	}
}

static void stops_when_aborted_between_tries(void **state TS_UNUSED)
{
	static const enum trick script[] = {BUSY};
	struct play play = play_of(script, 1);
	struct record record = {.abort_while_waiting = true};
	TS_CLEANUP(finish_result) struct result result = fetch(&play, &record, (struct ts_fetch_options){0});

	assert_int_equal(result.err, TS_ERR_ABORTED);
	assert_int_equal(result.requests, 1);
}

struct listener {
	int fd;
	atomic_bool *abort;
};

static void *abort_on_first_line(void *arg)
{
	const struct listener *listener = arg;
	char line[1024];

	if (read(listener->fd, line, sizeof line) > 0)
		atomic_store(listener->abort, true);
	return NULL;
}

// The real wait of 50 seconds; the abort comes once the log tells that it has begun.
static void real_wait_ends_with_the_abort(void **state TS_UNUSED)
{
	static const enum trick script[] = {BUSY_A_WHILE};
	struct play play = play_of(script, 1);
	struct http_server *server = http_server_start(serve, &play);
	atomic_bool abort = false;
	int ends[2];
	assert_int_equal(pipe(ends), 0);
	struct ts_log_sink sink = {.fd = ends[1], .clock = ts_clock_system(), .component = "test"};
	struct ts_log log = ts_log_to(&sink);
	struct listener listener = {.fd = ends[0], .abort = &abort};
	struct ts_fetch_options options = {.max_tries = 2, .abort = &abort, .log = &log};
	struct ts_error error = {0};
	pthread_t thread;
	int fd = memfd_create("media", MFD_CLOEXEC);
	char url[512];

	assert_int_equal(pthread_create(&thread, NULL, abort_on_first_line, &listener), 0);
	assert_int_equal(ts_fetch(http_server_url(server, "/", url), fd, &options, &error), TS_ERR_ABORTED);
	pthread_join(thread, NULL);
	assert_int_equal(http_server_requests(server), 1);
	http_server_stop(server);
	close(fd);
	close(ends[0]);
	close(ends[1]);
}

static void says_what_is_wrong_with_the_file(void **state TS_UNUSED)
{
	static const enum trick script[] = {HONEST};
	struct play play = play_of(script, 1);
	struct http_server *server = http_server_start(serve, &play);
	struct ts_fetch_options options = {.max_tries = 3};
	struct ts_error error = {0};
	int fd = memfd_create("media", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	char url[512];

	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), 0);
	assert_int_equal(ts_fetch(http_server_url(server, "/", url), fd, &options, &error), TS_ERR_IO);
	assert_int_equal(http_server_requests(server), 1);
	close(fd);
	http_server_stop(server);
}

static int start(void **state TS_UNUSED)
{
	for (size_t i = 0; i < FILE_SIZE; i++) {
		content[i] = (char)(i * 2654435761u >> 13);
		content2[i] = (char)(i * 2246822519u >> 11);
	}
	return ts_http_global_init(NULL) == TS_OK ? 0 : -1;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(fetches_at_once),
	    cmocka_unit_test(resumes_by_validator),
	    cmocka_unit_test(starts_over_when_parts_disagree),
	    cmocka_unit_test(starts_over_within_a_200),
	    cmocka_unit_test(goes_on_after_orderly_parts_and_stalls),
	    cmocka_unit_test(gives_up_after_bounded_tries),
	    cmocka_unit_test(fails_at_once_when_nothing_will_change),
	    cmocka_unit_test(honours_retry_after),
	    cmocka_unit_test(does_not_wait_past_the_deadline),
	    cmocka_unit_test(refuses_what_is_too_large),
	    cmocka_unit_test(stops_when_aborted_between_tries),
	    cmocka_unit_test(real_wait_ends_with_the_abort),
	    cmocka_unit_test(says_what_is_wrong_with_the_file),
	};

	return cmocka_run_group_tests_name("fetch", tests, start, NULL);
}
