// The worker's probes and metrics over real HTTP.
#include "bin/worker_http.h"

#include "net/http.h"
#include "rig.h"
#include "unit.h"

struct fixture {
	struct rig rig;
	struct ts_worker_http *http;
	char text[16384];
	size_t length;
};

static int set_up(void **state)
{
	static struct fixture fixture;
	struct ts_error error = {0};

	fixture = (struct fixture){.http = NULL};
	rig_open(&fixture.rig);
	rig_start(&fixture.rig);
	struct ts_worker_http_options options = {
	    .host = "127.0.0.1", .worker = fixture.rig.worker, .store = fixture.rig.store};
	assert_ok(ts_worker_http_start(&options, &fixture.http, &error), &error);
	*state = &fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;

	ts_worker_http_stop(fixture->http);
	rig_close(&fixture->rig);
	return 0;
}

static enum ts_err take(void *ctx, const void *bytes, size_t length, struct ts_error *error)
{
	struct fixture *fixture = ctx;

	(void)error;
	assert_true(length < sizeof fixture->text - fixture->length);
	memcpy(fixture->text + fixture->length, bytes, length);
	fixture->length += length;
	fixture->text[fixture->length] = '\0';
	return TS_OK;
}

static long ask(struct fixture *fixture, const char *method, const char *path)
{
	struct ts_http_response response;
	struct ts_error error = {0};
	char url[128];

	snprintf(url, sizeof url, "http://127.0.0.1:%u%s", (unsigned)ts_worker_http_port(fixture->http), path);
	struct ts_http_request request = {
	    .method = method, .url = url, .deadline_ms = 20000, .write = take, .ctx = fixture};
	fixture->length = 0;
	fixture->text[0] = '\0';
	assert_ok(ts_http_perform(&request, &response, &error), &error);
	return response.status;
}

static void probes(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(ask(fixture, "GET", "/health/live"), 200);
	assert_int_equal(ask(fixture, "GET", "/health/ready"), 200);
	assert_contains(fixture->text, "ready");
	ts_worker_http_drain(fixture->http);
	assert_int_equal(ask(fixture, "GET", "/health/ready"), 503);
	assert_int_equal(ask(fixture, "GET", "/health/live"), 200);
}

static void metrics_count_what_happens(void **state)
{
	struct fixture *fixture = *state;
	char url[512];

	assert_int_equal(ask(fixture, "GET", "/metrics"), 200);
	assert_contains(fixture->text, "\ntranscription_worker_slots 2\n");
	assert_contains(fixture->text, "\ntranscription_worker_attempts_total{outcome=\"completed\"} 0\n");
	rig_wait_state(&fixture->rig, rig_submit(&fixture->rig, rig_file_url(&fixture->rig, url), NULL, true),
	               TS_JOB_COMPLETED, NULL);
	ts_worker_stop(fixture->rig.worker, 20000); // all counted
	assert_int_equal(ask(fixture, "GET", "/metrics"), 200);
	assert_contains(fixture->text, "\ntranscription_worker_attempts_total{outcome=\"completed\"} 1\n");
	assert_contains(fixture->text, "\ntranscription_worker_callbacks_total{outcome=\"delivered\"} 1\n");
	assert_contains(fixture->text, "\ntranscription_worker_audio_seconds_total 1\n");
	assert_contains(fixture->text, "# TYPE transcription_worker_slots gauge\n");
	assert_null(strstr(strstr(fixture->text, "# HELP transcription_worker_attempts_total") + 1,
	                   "# HELP transcription_worker_attempts_total")); // once
}

static void anything_else_is_refused(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(ask(fixture, "GET", "/"), 404);
	assert_int_equal(ask(fixture, "GET", "/metrics/more"), 404);
	assert_int_equal(ask(fixture, "POST", "/metrics"), 405);
	assert_int_equal(ask(fixture, "DELETE", "/health/live"), 405);
	assert_int_equal(ask(fixture, "HEAD", "/metrics"), 200);
}

static void a_port_in_use_is_an_error(void **state)
{
	struct fixture *fixture = *state;
	struct ts_worker_http_options options = {.host = "127.0.0.1",
	                                         .port = ts_worker_http_port(fixture->http),
	                                         .worker = fixture->rig.worker,
	                                         .store = fixture->rig.store};
	struct ts_worker_http *second;
	struct ts_error error = {0};

	assert_err(ts_worker_http_start(&options, &second, &error), TS_ERR_IO);
	assert_contains(error.message, "METRICS_PORT");
	options.host = "not an address";
	assert_err(ts_worker_http_start(&options, &second, &error), TS_ERR_INVALID);
	ts_worker_http_stop(NULL);
	ts_worker_http_drain(NULL);
}

int main(int argc, char **argv)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    CASE(probes),
	    CASE(metrics_count_what_happens),
	    CASE(anything_else_is_refused),
	    CASE(a_port_in_use_is_an_error),
	};
	int status;

	if (ts_media_child_main(argc, argv, &status))
		return status;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
