// The API over HTTP where time matters: long polls, slow clients, draining and stopping.
#include "api_fixture.h"

#include <pthread.h>
#include <sys/select.h>

#define MINIMAL "{\"video_id\": \"v1\"}"

static int64_t now(void)
{
	return ts_mono_ms(ts_clock_system());
}

static int ask(const struct api_fixture *f, const char *id, const char *query)
{
	char request[512];
	int fd = client_open(f);

	snprintf(request, sizeof request, "GET " JOBS "/%s?%s HTTP/1.1\r\nHost: h\r\n" AUTH "\r\n", id, query);
	client_say(fd, request);
	return fd;
}

// Waits until so many long polls are waiting.
static void await_polls(const struct api_fixture *f, unsigned count)
{
	char line[64];
	int64_t end = now() + 20000;

	snprintf(line, sizeof line, "\ntranscription_http_long_polls %u\n", count);
	for (;;) {
		AUTOANSWER struct answer metrics;
		http_raw(f, "GET", "/metrics", "", NULL, 0, &metrics);
		if (strstr(metrics.body, line))
			return;
		assert_true(now() < end);
	}
}

static void long_poll_ends_with_the_job(void **state)
{
	struct api_fixture *f = *state;
	AUTOANSWER struct answer a = {0}, b = {0};
	char id[TS_UUID_SIZE], other[TS_UUID_SIZE];
	// As another process would: its own handle on the same file.
	struct ts_store *elsewhere = api_open_store(f);

	api_submit(f, MINIMAL, id);
	api_submit(f, MINIMAL, other);
	int first = ask(f, id, "wait=30"), second = ask(f, id, "wait=30"), third = ask(f, other, "wait=30");
	await_polls(f, 3);
	int64_t start = now();
	api_complete(f, elsewhere, id);
	client_read(first, &a);
	client_read(second, &b);
	assert_true(now() - start < 5000);
	assert_status(&a, 200);
	assert_string_equal(text_of(&a, "status"), "completed");
	assert_string_equal(text_of(&b, "status"), "completed");
	await_polls(f, 1);
	close(first);
	close(second);
	close(third);
	ts_store_close(elsewhere);
}

static void long_poll_ends_with_its_time(void **state)
{
	struct api_fixture *f = *state;
	AUTOANSWER struct answer answer = {0}, next = {0};
	char id[TS_UUID_SIZE], value[32];

	api_submit(f, MINIMAL, id);
	int64_t start = now();
	int fd = ask(f, id, "wait=0.3");
	client_read(fd, &answer);
	assert_true(now() - start >= 290);
	assert_status(&answer, 200);
	assert_string_equal(text_of(&answer, "status"), "queued");
	assert_true(answer_header(&answer, "Retry-After", value, sizeof value));
	// The connection can be used again.
	client_say(fd, "GET /health/live HTTP/1.1\r\nHost: h\r\n\r\n");
	client_read(fd, &next);
	assert_status(&next, 200);
	close(fd);
}

static void long_poll_of_an_ended_job_does_not_wait(void **state)
{
	struct api_fixture *f = *state;
	AUTOANSWER struct answer answer = {0}, deleted = {0};
	char id[TS_UUID_SIZE], target[128];

	api_submit(f, MINIMAL, id);
	api_complete(f, f->store, id);
	int64_t start = now();
	int fd = ask(f, id, "wait=30");
	client_read(fd, &answer);
	assert_true(now() - start < 5000);
	assert_string_equal(text_of(&answer, "status"), "completed");
	close(fd);

	// A job that is deleted meanwhile is an answer too.
	api_submit(f, MINIMAL, id);
	fd = ask(f, id, "wait=30");
	await_polls(f, 1);
	snprintf(target, sizeof target, JOBS "/%s", id);
	AUTOANSWER struct answer gone = {0};
	http_raw(f, "DELETE", target, AUTH, NULL, 0, &gone);
	assert_status(&gone, 204);
	client_read(fd, &deleted);
	assert_problem(&deleted, 404, "not-found", "id");
	close(fd);
}

static void bad_waits(void **state)
{
	struct api_fixture *f = *state;
	static const char *const queries[] = {"wait=31", "wait=-1", "wait=", "wait=soon", "wait=nan", "wait=1&wait=2"};
	char id[TS_UUID_SIZE], target[128];

	api_submit(f, MINIMAL, id);
	for (size_t i = 0; i < sizeof queries / sizeof *queries; i++) {
		AUTOANSWER struct answer answer;
		snprintf(target, sizeof target, JOBS "/%s?%s", id, queries[i]);
		http_get(f, target, &answer);
		assert_problem(&answer, 400, "invalid-parameter", "wait");
	}
}

static void many_long_polls_leave_room_for_others(void **state)
{
	struct api_fixture *f = *state;
	char id[TS_UUID_SIZE], other[TS_UUID_SIZE];
	int fds[20];

	api_submit(f, MINIMAL, id);
	for (int i = 0; i < 20; i++)
		fds[i] = ask(f, id, "wait=30");
	await_polls(f, 20);
	api_submit(f, MINIMAL, other);
	api_complete(f, f->store, id);
	for (int i = 0; i < 20; i++) {
		AUTOANSWER struct answer answer;
		client_read(fds[i], &answer);
		assert_string_equal(text_of(&answer, "status"), "completed");
		close(fds[i]);
	}
}

static void clients_that_leave_do_no_harm(void **state)
{
	struct api_fixture *f = *state;
	char id[TS_UUID_SIZE];

	api_submit(f, MINIMAL, id);
	for (int i = 0; i < 10; i++) {
		int fd = ask(f, id, "wait=30");
		await_polls(f, (unsigned)i + 1);
		close(fd);
	}
	api_complete(f, f->store, id);
	await_polls(f, 0);
}

static void restart(struct api_fixture *f, int64_t request_ms, int64_t upload_ms)
{
	api_down(f);
	api_prepare(f);
	f->options.request_timeout_ms = request_ms;
	f->options.upload_timeout_ms = upload_ms;
	f->options.threads = 1;
	api_up(f);
}

// Drips bytes of `text` until the server has enough of it, and reads what it says.
static void drip(int fd, const char *text, struct answer *out)
{
	int64_t end = now() + 20000;
	char c;

	for (size_t i = 0; now() < end; i++) {
		struct timeval moment = {.tv_usec = 20000};
		fd_set readable;
		FD_ZERO(&readable);
		FD_SET(fd, &readable);
		if (select(fd + 1, &readable, NULL, NULL, &moment) > 0)
			break;
		c = text[i % strlen(text)];
		if (send(fd, &c, 1, MSG_NOSIGNAL) != 1)
			break;
	}
	assert_true(now() < end);
	client_read(fd, out);
}

static void slow_heads_are_cut_off(void **state)
{
	struct api_fixture *f = *state;
	AUTOANSWER struct answer told = {0}, silent = {0}, other = {0};

	restart(f, 300, 20000);
	int fd = client_open(f), idle = client_open(f);
	client_say(fd, "GET /health/live HTTP/1.1\r\nHost: h\r\nX-Slow: ");
	// On one thread: others are served while it drips.
	http_raw(f, "GET", "/health/live", "", NULL, 0, &other);
	assert_status(&other, 200);
	drip(fd, "x", &told);
	assert_problem(&told, 408, "request-timeout", NULL);
	assert_true(client_is_closed(fd));
	close(fd);
	// Who never says anything is closed without a word.
	client_read(idle, &silent);
	assert_status(&silent, 0);
	close(idle);
}

static void slow_bodies_are_cut_off(void **state)
{
	struct api_fixture *f = *state;
	AUTOANSWER struct answer told = {0};

	restart(f, 300, 20000);
	int fd = client_open(f);
	client_say(fd, "POST " JOBS " HTTP/1.1\r\nHost: h\r\n" AUTH JSON_TYPE "Content-Length: 60000\r\n\r\n");
	drip(fd, " ", &told);
	assert_problem(&told, 408, "request-timeout", NULL);
	assert_true(client_is_closed(fd));
	close(fd);
}

static void slow_uploads_are_cut_off_and_removed(void **state)
{
	struct api_fixture *f = *state;
	AUTOANSWER struct answer told = {0};

	restart(f, 20000, 300);
	int fd = client_open(f);
	client_say(fd, "POST " JOBS " HTTP/1.1\r\nHost: h\r\n" AUTH
	               "Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 60000\r\n\r\n"
	               "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n");
	drip(fd, "x", &told);
	assert_problem(&told, 408, "request-timeout", NULL);
	assert_true(client_is_closed(fd));
	close(fd);
	int64_t end = now() + 20000;
	while (api_upload_files(f) > 0)
		assert_true(now() < end);
}

static void draining_answers_long_polls_and_readiness(void **state)
{
	struct api_fixture *f = *state;
	AUTOANSWER struct answer waited = {0}, ready = {0}, live = {0}, at_once = {0};
	char id[TS_UUID_SIZE], value[32];

	api_submit(f, MINIMAL, id);
	int fd = ask(f, id, "wait=30");
	await_polls(f, 1);
	ts_api_drain(f->api);
	client_read(fd, &waited);
	assert_status(&waited, 200);
	assert_string_equal(text_of(&waited, "status"), "queued");
	assert_true(answer_header(&waited, "Connection", value, sizeof value));
	assert_string_equal(value, "close");
	close(fd);
	http_raw(f, "GET", "/health/ready", "", NULL, 0, &ready);
	assert_status(&ready, 503);
	assert_string_equal(text_of(&ready, "status"), "draining");
	http_raw(f, "GET", "/health/live", "", NULL, 0, &live);
	assert_status(&live, 200);
	fd = ask(f, id, "wait=30");
	client_read(fd, &at_once);
	assert_status(&at_once, 200);
	close(fd);
	api_submit(f, MINIMAL, id); // still served
}

static void *stop(void *arg)
{
	struct api_fixture *f = arg;
	ts_api_stop(f->api, 20000);
	return NULL;
}

static void stopping_lets_requests_finish(void **state)
{
	struct api_fixture *f = *state;
	AUTOANSWER struct answer answer = {0}, waited = {0};
	char id[TS_UUID_SIZE];
	pthread_t thread;

	api_submit(f, MINIMAL, id);
	int poll = ask(f, id, "wait=30");
	await_polls(f, 1);
	int fd = client_open(f);
	client_say(fd, "POST " JOBS " HTTP/1.1\r\nHost: h\r\n" AUTH JSON_TYPE
	               "Expect: 100-continue\r\nContent-Length: 18\r\n\r\n");
	client_read(fd, &answer); // it is being read now
	assert_status(&answer, 100);
	answer_finish(&answer);
	assert_int_equal(0, pthread_create(&thread, NULL, stop, f));
	client_read(poll, &waited);
	assert_status(&waited, 200);
	client_say(fd, MINIMAL);
	client_read(fd, &answer);
	assert_status(&answer, 202);
	assert_int_equal(0, pthread_join(thread, NULL));
	assert_true(client_is_closed(fd));
	close(fd);
	close(poll);
}

static void stopping_does_not_wait_for_ever(void **state)
{
	struct api_fixture *f = *state;
	int fd = client_open(f);
	AUTOANSWER struct answer go_on = {0};

	client_say(fd, "POST " JOBS " HTTP/1.1\r\nHost: h\r\n" AUTH JSON_TYPE
	               "Expect: 100-continue\r\nContent-Length: 18\r\n\r\n");
	client_read(fd, &go_on);
	assert_status(&go_on, 100);
	int64_t start = now();
	ts_api_stop(f->api, 100);
	assert_true(now() - start < 10000);
	assert_true(client_is_closed(fd));
	close(fd);
}

static void what_cannot_start_says_why(void **state)
{
	struct api_fixture *f = *state;
	struct ts_api *second = NULL;
	struct ts_api_options options = f->options;

	options.port = f->port;
	assert_err(ts_api_start(&options, &second, &f->error), TS_ERR_IO);
	char port[16];
	snprintf(port, sizeof port, "port %u", (unsigned)f->port);
	assert_contains(f->error.message, port);
	options.port = 0;
	options.host = "999.999.1.1";
	assert_err(ts_api_start(&options, &second, &f->error), TS_ERR_INVALID);
	assert_string_equal(f->error.field, "HOST");
	options.host = "127.0.0.1";
	options.api_keys = "two words";
	assert_err(ts_api_start(&options, &second, &f->error), TS_ERR_INVALID);
	assert_null(second);
}

static void a_port_is_free_again_at_once(void **state)
{
	struct api_fixture *f = *state;
	char id[TS_UUID_SIZE];

	for (int i = 0; i < 3; i++) {
		api_submit(f, MINIMAL, id);
		ts_api_destroy(f->api);
		f->options.port = f->port;
		api_up(f);
	}
}

static enum ts_err no_queue(void *ctx, struct ts_queue **out, struct ts_error *error)
{
	struct api_fixture *f = ctx;
	if (f->queue)
		return api_open_queue(f->store, out, error);
	return ts_fail(error, TS_ERR_QUEUE, "the broker is away");
}

// A submit does not need the broker; what waited in the outbox is published when it is back.
static void absent_queue_does_not_fail_submits(void **state)
{
	struct api_fixture *f = *state;
	AUTOANSWER struct answer ready = {0}, metrics = {0};
	struct ts_message message;
	char id[TS_UUID_SIZE];

	api_down(f);
	api_prepare(f);
	struct ts_queue *mine = f->queue;
	f->queue = NULL; // "away"
	f->options.queue_open = no_queue;
	f->options.queue_ctx = f;
	api_up(f);
	api_submit(f, MINIMAL, id);
	http_raw(f, "GET", "/health/ready", "", NULL, 0, &ready);
	assert_status(&ready, 503);
	assert_string_equal(
	    "queue_unavailable",
	    json_string_value(json_object_get(json_object_get(json_object_get(ready.json, "checks"), "queue"), "error")));
	http_raw(f, "GET", "/metrics", "", NULL, 0, &metrics);
	assert_contains(metrics.body, "\ntranscription_queue_up 0\n");
	ts_api_stop(f->api, 0); // the threads that read f->queue are gone
	ts_api_destroy(f->api);
	f->queue = mine;
	api_up(f);
	assert_ok(ts_queue_receive(f->queue, 20000, NULL, &message, &f->error), &f->error);
	assert_string_equal(message.job_id, id);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    api_test(long_poll_ends_with_the_job),
	    api_test(long_poll_ends_with_its_time),
	    api_test(long_poll_of_an_ended_job_does_not_wait),
	    api_test(bad_waits),
	    api_test(many_long_polls_leave_room_for_others),
	    api_test(clients_that_leave_do_no_harm),
	    api_test(slow_heads_are_cut_off),
	    api_test(slow_bodies_are_cut_off),
	    api_test(slow_uploads_are_cut_off_and_removed),
	    api_test(draining_answers_long_polls_and_readiness),
	    api_test(stopping_lets_requests_finish),
	    api_test(stopping_does_not_wait_for_ever),
	    api_test(what_cannot_start_says_why),
	    api_test(a_port_is_free_again_at_once),
	    api_test(absent_queue_does_not_fail_submits),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
