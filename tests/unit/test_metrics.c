// api/metrics: counts what happened, in a text that obeys Prometheus' exposition format.
#include "unit.h"

#include "api/metrics.h"
#include "base/mem.h"

#include <ctype.h>
#include <pthread.h>
#include <stdlib.h>

static char *write_all(const struct ts_metrics *metrics, bool store)
{
	struct ts_store_counts counts = {.jobs = {[TS_JOB_QUEUED] = 3, [TS_JOB_FAILED] = 2},
	                                 .outbox = 1,
	                                 .deliveries_pending = 4,
	                                 .deliveries_failed = 5,
	                                 .oldest_queued_at = 9000};
	int64_t depth = 7;
	const struct ts_metrics_scrape scrape = {
	    .counts = store ? &counts : NULL, .queue_depth = store ? &depth : NULL, .now_ms = 10500, .connections = 2};
	struct ts_buf buf;
	char *text = NULL;
	struct ts_error error;

	ts_buf_init(&buf, 1 << 22);
	ts_metrics_write(metrics, &scrape, &buf);
	assert_ok(ts_buf_take(&buf, &text, &error), &error);
	return text;
}

static struct ts_metrics *new_metrics(void)
{
	struct ts_metrics *metrics = NULL;
	struct ts_error error;

	assert_ok(ts_metrics_create(&metrics, &error), &error);
	return metrics;
}

static void answer(struct ts_metrics *metrics, enum ts_method method, int route, unsigned status, double seconds)
{
	ts_metrics_begin(metrics);
	ts_metrics_end(metrics, method, route < 0 ? NULL : ts_route_at((enum ts_route_id)route), status, seconds);
}

static void counts_what_happened(void **state)
{
	struct ts_metrics *metrics = new_metrics();

	(void)state;
	answer(metrics, TS_METHOD_POST, TS_ROUTE_SUBMIT, 202, 0.004);
	answer(metrics, TS_METHOD_POST, TS_ROUTE_SUBMIT, 202, 0.2);
	answer(metrics, TS_METHOD_POST, TS_ROUTE_SUBMIT, 400, 70);
	answer(metrics, TS_METHOD_OTHER, -1, 404, 0);
	answer(metrics, TS_METHOD_GET, TS_ROUTE_LIVE, 777, 0.001);
	ts_metrics_begin(metrics);
	ts_metrics_uploaded(metrics, 1000);
	ts_metrics_published(metrics, 5, 1);
	assert_int_equal(1, ts_metrics_in_flight(metrics));
	TS_AUTOFREE char *text = write_all(metrics, true);
	static const char *const lines[] = {
	    "transcription_http_requests_total{method=\"POST\",route=\"/api/v1/transcriptions\",status=\"202\"} 2",
	    "transcription_http_requests_total{method=\"POST\",route=\"/api/v1/transcriptions\",status=\"400\"} 1",
	    "transcription_http_requests_total{method=\"other\",route=\"none\",status=\"404\"} 1",
	    "transcription_http_requests_total{method=\"GET\",route=\"/health/live\",status=\"0\"} 1",
	    "transcription_http_request_duration_seconds_bucket{method=\"POST\",route=\"/api/v1/"
	    "transcriptions\",le=\"0.005\"} 1",
	    "transcription_http_request_duration_seconds_bucket{method=\"POST\",route=\"/api/v1/"
	    "transcriptions\",le=\"0.25\"} 2",
	    "transcription_http_request_duration_seconds_bucket{method=\"POST\",route=\"/api/v1/"
	    "transcriptions\",le=\"60\"} 2",
	    "transcription_http_request_duration_seconds_bucket{method=\"POST\",route=\"/api/v1/"
	    "transcriptions\",le=\"+Inf\"} 3",
	    "transcription_http_request_duration_seconds_count{method=\"POST\",route=\"/api/v1/transcriptions\"} 3",
	    "transcription_http_request_duration_seconds_sum{method=\"POST\",route=\"/api/v1/transcriptions\"} 70.204000",
	    "transcription_http_requests_in_flight 1",
	    "transcription_http_connections 2",
	    "transcription_upload_bytes_total 1000",
	    "transcription_outbox_published_total 5",
	    "transcription_outbox_publish_failures_total 1",
	    "transcription_jobs{status=\"queued\"} 3",
	    "transcription_jobs{status=\"completed\"} 0",
	    "transcription_jobs{status=\"failed\"} 2",
	    "transcription_oldest_queued_seconds 1.500",
	    "transcription_outbox_jobs 1",
	    "transcription_queue_messages 7",
	    "transcription_deliveries{status=\"pending\"} 4",
	    "transcription_deliveries{status=\"failed\"} 5",
	    "transcription_store_up 1",
	};
	for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
		char line[256];
		snprintf(line, sizeof line, "\n%s\n", lines[i]);
		assert_contains(text, line);
	}
	ts_metrics_destroy(metrics);
}

static void a_store_that_is_away_is_told(void **state)
{
	struct ts_metrics *metrics = new_metrics();

	(void)state;
	TS_AUTOFREE char *text = write_all(metrics, false);
	assert_contains(text, "\ntranscription_store_up 0\n");
	assert_contains(text, "\ntranscription_queue_up 0\n");
	assert_null(strstr(text, "transcription_jobs")); // unknown is not zero
	ts_metrics_destroy(metrics);
}

// Every line is a HELP, a TYPE right behind it, or a sample of the family that was announced last; families come
// once; counters end in _total and gauges don't.
static void text_obeys_the_format(void **state)
{
	struct ts_metrics *metrics = new_metrics();
	char family[128] = "", type[32] = "", seen[8192] = "";

	(void)state;
	for (int i = 0; i < TS_ROUTE_COUNT; i++)
		answer(metrics, TS_METHOD_GET, i, 200, 0.01);
	TS_AUTOFREE char *text = write_all(metrics, true);
	assert_int_equal('\n', text[strlen(text) - 1]);
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
		char name[128], mark[160];
		if (sscanf(line, "# HELP %127s", name) == 1) {
			assert_true(strlen(line) > strlen("# HELP ") + strlen(name) + 5);
			snprintf(mark, sizeof mark, ";%s;", name);
			assert_null(strstr(seen, mark));
			strcat(seen, mark);
			snprintf(family, sizeof family, "%s", name);
			type[0] = '\0';
			continue;
		}
		if (sscanf(line, "# TYPE %127s %31s", name, type) == 2) {
			assert_string_equal(name, family);
			size_t length = strlen(name);
			bool total = length > 6 && strcmp(name + length - 6, "_total") == 0;
			assert_int_equal(total, strcmp(type, "counter") == 0);
			continue;
		}
		assert_true(type[0]);
		size_t length = strcspn(line, "{ ");
		if (strncmp(line, family, strlen(family)) != 0)
			fail_msg("\"%s\" stands under %s", line, family);
		const char *suffix = line + strlen(family);
		bool histogram = strcmp(type, "histogram") == 0;
		if (!histogram)
			assert_int_equal(length, strlen(family));
		else
			assert_true(strncmp(suffix, "_bucket{", 8) == 0 || strncmp(suffix, "_sum{", 5) == 0 ||
			            strncmp(suffix, "_count{", 7) == 0);
		const char *value = strrchr(line, ' ');
		char *end = NULL;
		assert_non_null(value);
		(void)strtod(value + 1, &end);
		assert_true(end > value + 1 && *end == '\0');
	}
	ts_metrics_destroy(metrics);
}

static void *count_many(void *arg)
{
	for (int i = 0; i < 10000; i++)
		answer(arg, TS_METHOD_GET, TS_ROUTE_LIVE, 200, 0.01);
	return NULL;
}

static void threads_lose_nothing(void **state)
{
	struct ts_metrics *metrics = new_metrics();
	pthread_t threads[4];

	(void)state;
	for (int i = 0; i < 4; i++)
		assert_int_equal(0, pthread_create(&threads[i], NULL, count_many, metrics));
	for (int i = 0; i < 4; i++)
		assert_int_equal(0, pthread_join(threads[i], NULL));
	TS_AUTOFREE char *text = write_all(metrics, true);
	assert_contains(text, "{method=\"GET\",route=\"/health/live\",status=\"200\"} 40000\n");
	assert_int_equal(0, ts_metrics_in_flight(metrics));
	ts_metrics_destroy(metrics);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(counts_what_happened),
	    cmocka_unit_test(a_store_that_is_away_is_told),
	    cmocka_unit_test(text_obeys_the_format),
	    cmocka_unit_test(threads_lose_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
