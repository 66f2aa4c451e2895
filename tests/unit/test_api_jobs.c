// The API over HTTP: a job's life as its user sees it.
#include "api_fixture.h"

#include <sqlite3.h>

#define MINIMAL "{\"video_id\": \"v1\"}"

static void submit_answers_the_stored_job(void **state)
{
	struct api_fixture *f = *state;
	AUTOANSWER struct answer posted = {0}, got = {0};
	char value[256], target[128];

	http_post(f, JOBS,
	          "{\"video_id\": \"test-video-123\", \"user_id\": \"test-user-456\", \"callback_url\": "
	          "\"http://video-processing-service:8000/api/v1/callbacks/transcription\", \"language\": \"en\", "
	          "\"metadata\": {\"title\": \"\xc3\x9c\", \"n\": [1, 2.5]}, \"priority\": \"low\"}",
	          &posted);
	assert_status(&posted, 202);
	assert_string_equal(text_of(&posted, "video_id"), "test-video-123");
	assert_string_equal(text_of(&posted, "user_id"), "test-user-456");
	assert_string_equal(text_of(&posted, "status"), "queued");
	assert_string_equal(text_of(&posted, "priority"), "low");
	assert_string_equal(text_of(&posted, "language"), "en");
	assert_string_equal(text_of(&posted, "callback_url"),
	                    "http://video-processing-service:8000/api/v1/callbacks/transcription");
	assert_true(json_is_null(json_object_get(posted.json, "error")));
	assert_int_equal(3, json_integer_value(json_object_get(posted.json, "max_attempts")));
	json_t *metadata = json_object_get(posted.json, "metadata");
	assert_string_equal("\xc3\x9c", json_string_value(json_object_get(metadata, "title")));
	assert_int_equal(2, json_array_size(json_object_get(metadata, "n")));

	snprintf(target, sizeof target, JOBS "/%s", text_of(&posted, "id"));
	char location[256];
	snprintf(location, sizeof location, "http://api.example:8002%s", target);
	assert_true(answer_header(&posted, "Location", value, sizeof value));
	assert_string_equal(value, location);
	assert_string_equal(location, json_string_value(json_object_get(json_object_get(posted.json, "links"), "self")));
	assert_true(answer_header(&posted, "Retry-After", value, sizeof value));
	assert_true(atoi(value) >= 1);
	assert_true(answer_header(&posted, "Content-Type", value, sizeof value));
	assert_string_equal(value, "application/json");
	assert_true(answer_header(&posted, "X-Request-Id", value, sizeof value));
	assert_string_equal(value, text_of(&posted, "request_id"));

	http_get(f, target, &got);
	assert_status(&got, 200);
	assert_string_equal(text_of(&got, "id"), text_of(&posted, "id"));
	assert_true(json_equal(got.json, posted.json));
}

static void relay_publishes_what_was_submitted(void **state)
{
	struct api_fixture *f = *state;
	struct ts_message message;
	char id[TS_UUID_SIZE];

	api_submit(f, "{\"video_id\": \"v\", \"priority\": \"high\"}", id);
	assert_ok(ts_queue_receive(f->queue, 20000, NULL, &message, &f->error), &f->error);
	assert_string_equal(message.job_id, id);
	assert_int_equal(message.priority, TS_PRIORITY_HIGH);
	assert_ok(ts_queue_ack(f->queue, &message, &f->error), &f->error);
}

static void request_ids_travel(void **state)
{
	struct api_fixture *f = *state;
	AUTOANSWER struct answer named = {0}, odd = {0};
	TS_AUTOJOB struct ts_job job;
	char value[256];

	ts_job_init(&job);
	http_raw(f, "POST", JOBS,
	         AUTH JSON_TYPE "X-Request-Id: req-7\r\n"
	                        "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n",
	         MINIMAL, strlen(MINIMAL), &named);
	assert_status(&named, 202);
	assert_true(answer_header(&named, "X-Request-Id", value, sizeof value));
	assert_string_equal(value, "req-7");
	assert_ok(ts_store_get(f->store, text_of(&named, "id"), &job, &f->error), &f->error);
	assert_string_equal(job.request_id, "req-7");
	assert_string_equal(job.traceparent, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");

	http_raw(f, "POST", JOBS, AUTH JSON_TYPE "X-Request-Id: has space\r\ntraceparent: 00-0-0-0\r\n", MINIMAL,
	         strlen(MINIMAL), &odd);
	assert_status(&odd, 202);
	assert_true(answer_header(&odd, "X-Request-Id", value, sizeof value));
	assert_true(ts_uuid_is_valid(value));
	assert_ok(ts_store_get(f->store, text_of(&odd, "id"), &job, &f->error), &f->error);
	assert_null(job.traceparent);
}

static void post_with_key(const struct api_fixture *f, const char *key, const char *json, struct answer *out)
{
	char headers[512];

	snprintf(headers, sizeof headers, AUTH JSON_TYPE "Idempotency-Key: %s\r\n", key);
	http_raw(f, "POST", JOBS, headers, json, strlen(json), out);
}

static void idempotency_key_replays(void **state)
{
	struct api_fixture *f = *state;
	AUTOANSWER struct answer first = {0}, again = {0}, other = {0}, stranger = {0};
	char value[32], headers[256];

	post_with_key(f, "k-1", "{\"video_id\": \"v1\", \"user_id\": \"u\"}", &first);
	assert_status(&first, 202);
	assert_false(answer_header(&first, "Idempotent-Replayed", value, sizeof value));
	// Another spelling of the same request.
	post_with_key(f, "k-1", "{ \"user_id\":\"u\",\"video_id\":\"v1\" }", &again);
	assert_status(&again, 202);
	assert_string_equal(text_of(&again, "id"), text_of(&first, "id"));
	assert_true(answer_header(&again, "Idempotent-Replayed", value, sizeof value));
	assert_string_equal(value, "true");

	post_with_key(f, "k-1", "{\"video_id\": \"v2\", \"user_id\": \"u\"}", &other);
	assert_problem(&other, 422, "idempotency-conflict", "Idempotency-Key");

	// Keys of one caller mean nothing for another.
	snprintf(headers, sizeof headers, "Authorization: Bearer other-key\r\n" JSON_TYPE "Idempotency-Key: k-1\r\n");
	http_raw(f, "POST", JOBS, headers, MINIMAL, strlen(MINIMAL), &stranger);
	assert_status(&stranger, 202);
	assert_string_not_equal(text_of(&stranger, "id"), text_of(&first, "id"));
}

static void idempotency_key_is_checked(void **state)
{
	struct api_fixture *f = *state;
	char key[300];
	const char *bad[] = {"", "caf\xc3\xa9", key};

	memset(key, 'k', sizeof key - 1);
	key[sizeof key - 1] = '\0';
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		AUTOANSWER struct answer answer;
		post_with_key(f, bad[i], MINIMAL, &answer);
		assert_problem(&answer, 400, "invalid-header", "Idempotency-Key");
	}
}

static void list_pages_and_filters(void **state)
{
	struct api_fixture *f = *state;
	char ids[5][TS_UUID_SIZE], body[128], target[512] = JOBS "?limit=2";
	unsigned seen = 0;

	for (int i = 0; i < 5; i++) {
		snprintf(body, sizeof body, "{\"video_id\": \"v%d\", \"user_id\": \"u%d\"}", i, i % 2);
		api_submit(f, body, ids[i]);
	}
	for (int page = 0; page < 3; page++) {
		AUTOANSWER struct answer answer;
		size_t i;
		json_t *job;
		http_get(f, target, &answer);
		assert_status(&answer, 200);
		json_array_foreach(json_object_get(answer.json, "data"), i, job)
		{
			assert_string_equal(json_string_value(json_object_get(job, "id")), ids[4 - seen]); // newest first
			seen++;
		}
		bool more = json_is_true(json_object_get(answer.json, "has_more"));
		assert_int_equal(more, page < 2);
		if (more)
			snprintf(target, sizeof target, JOBS "?limit=2&cursor=%s", text_of(&answer, "next_cursor"));
		else
			assert_true(json_is_null(json_object_get(answer.json, "next_cursor")));
	}
	assert_int_equal(seen, 5);

	api_complete(f, f->store, ids[2]);
	const struct {
		const char *query;
		size_t count;
	} cases[] = {
	    {"status=completed", 1},
	    {"status=queued", 4},
	    {"user_id=u0", 3},
	    {"user_id=u0&status=queued", 2},
	    {"video_id=v3", 1},
	    {"video_id=v%33", 1},
	    {"video_id=nothing", 0},
	    {"q=nothing-of-that-kind", 0},
	    {"created_after=2020-01-01T00:00:00Z", 5},
	    {"created_before=2020-01-01T00:00:00%2B01:00", 0},
	    {"", 5},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		AUTOANSWER struct answer answer;
		snprintf(target, sizeof target, JOBS "?%s", cases[i].query);
		http_get(f, target, &answer);
		assert_status(&answer, 200);
		assert_int_equal(cases[i].count, json_array_size(json_object_get(answer.json, "data")));
	}
}

static void list_refuses_bad_parameters(void **state)
{
	struct api_fixture *f = *state;
	const struct {
		const char *query, *slug, *field;
	} cases[] = {
	    {"status=done", "invalid-parameter", "status"},
	    {"limit=0", "invalid-parameter", "limit"},
	    {"q=", "invalid-parameter", "q"},
	    {"q=%22-%22", "invalid-parameter", "q"},
	    {"limit=201", "invalid-parameter", "limit"},
	    {"limit=abc", "invalid-parameter", "limit"},
	    {"limit=", "invalid-parameter", "limit"},
	    {"limit", "invalid-parameter", "limit"},
	    {"limit=1&limit=2", "invalid-parameter", "limit"},
	    {"cursor=%25%25%25", "invalid-parameter", "cursor"},
	    {"created_after=yesterday", "invalid-parameter", "created_after"},
	    {"created_before=2026-02-30T00:00:00Z", "invalid-parameter", "created_before"},
	    {"user_id=%ff", "invalid-parameter", "user_id"},
	    {"user_id=%00", "invalid-parameter", "user_id"},
	    {"user_id=%g1", "invalid-parameter", "user_id"},
	    {"page=2", "unknown-parameter", "page"},
	    {"Status=queued", "unknown-parameter", "Status"},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		AUTOANSWER struct answer answer;
		char target[256];
		snprintf(target, sizeof target, JOBS "?%s", cases[i].query);
		http_get(f, target, &answer);
		assert_problem(&answer, 400, cases[i].slug, cases[i].field);
	}
}

static void cancel_retry_delete(void **state)
{
	struct api_fixture *f = *state;
	char id[TS_UUID_SIZE], target[128], at[160];
	AUTOANSWER struct answer a = {0}, b = {0}, c = {0}, d = {0}, e = {0}, g = {0};

	api_submit(f, MINIMAL, id);
	snprintf(target, sizeof target, JOBS "/%s", id);
	snprintf(at, sizeof at, "%s/retry", target);
	http_post(f, at, NULL, &a);
	assert_problem(&a, 409, "job-not-retryable", NULL);
	snprintf(at, sizeof at, "%s/cancel", target);
	http_post(f, at, NULL, &b);
	assert_status(&b, 200);
	assert_string_equal(text_of(&b, "status"), "cancelled");
	http_post(f, at, NULL, &c);
	assert_problem(&c, 409, "job-is-final", NULL);
	assert_string_equal(text_of(&c, "job_status"), "cancelled");
	snprintf(at, sizeof at, "%s/retry", target);
	http_post(f, at, NULL, &d);
	assert_status(&d, 202);
	assert_string_equal(text_of(&d, "status"), "queued");
	http_raw(f, "DELETE", target, AUTH, NULL, 0, &e);
	assert_status(&e, 204);
	assert_int_equal(0, e.length);
	http_get(f, target, &g);
	assert_problem(&g, 404, "not-found", "id");
}

static void unknown_ids_are_404(void **state)
{
	struct api_fixture *f = *state;
	const struct {
		const char *method, *tail;
	} routes[] = {{"GET", ""},
	              {"DELETE", ""},
	              {"GET", "/transcript"},
	              {"POST", "/cancel"},
	              {"POST", "/retry"},
	              {"GET", "/deliveries"},
	              {"POST", "/deliveries/1/redeliver"}};
	const char *const ids[] = {
	    UNKNOWN_ID,       "42",    "01890000-0000-7000-8000-00000000000G", "01890000-0000-7000-8000-00000000ABCD",
	    "%27%20OR%201=1", "%2e%2e"};

	for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
		for (size_t j = 0; j < sizeof ids / sizeof *ids; j++) {
			AUTOANSWER struct answer answer;
			char target[256];
			snprintf(target, sizeof target, JOBS "/%s%s", ids[j], routes[i].tail);
			http_raw(f, routes[i].method, target, AUTH, NULL, 0, &answer);
			assert_problem(&answer, 404, "not-found", "id");
		}
	}
}

static void failed_job_tells_why(void **state)
{
	struct api_fixture *f = *state;
	AUTOANSWER struct answer answer = {0}, transcript = {0};
	struct ts_error cause = {0};
	enum ts_job_state reached;
	struct ts_lease lease;
	char id[TS_UUID_SIZE], target[128], value[32];

	api_submit(f, MINIMAL, id);
	api_claim(f, f->store, id, &lease);
	(void)!ts_fail(&cause, TS_ERR_MEDIA_NO_AUDIO, "the file has no audio stream");
	assert_ok(ts_store_fail(f->store, &lease, &cause, 0, &reached, &f->error), &f->error);
	snprintf(target, sizeof target, JOBS "/%s", id);
	http_get(f, target, &answer);
	assert_status(&answer, 200);
	assert_string_equal(text_of(&answer, "status"), "failed");
	assert_false(answer_header(&answer, "Retry-After", value, sizeof value));
	json_t *error = json_object_get(answer.json, "error");
	assert_string_equal("media_no_audio", json_string_value(json_object_get(error, "code")));
	assert_string_equal("the file has no audio stream", json_string_value(json_object_get(error, "message")));
	snprintf(target, sizeof target, JOBS "/%s/transcript", id);
	http_get(f, target, &transcript);
	assert_problem(&transcript, 409, "transcript-not-ready", NULL);
	assert_string_equal(text_of(&transcript, "job_status"), "failed");
	assert_contains(text_of(&transcript, "detail"), "no audio stream");
	assert_false(answer_header(&transcript, "Retry-After", value, sizeof value));
}

static void transcript_comes_in_each_format(void **state)
{
	struct api_fixture *f = *state;
	char id[TS_UUID_SIZE], target[160], value[256];
	const struct {
		const char *query, *accept, *type, *ending, *part;
	} cases[] = {
	    {"", "", "application/json", "json", "\"Hello, world."},
	    {"?format=json", "", "application/json", "json", "\"text\""},
	    {"?format=verbose_json", "", "application/json", "json", "\"segments\""},
	    {"?format=srt", "", "application/x-subrip; charset=utf-8", "srt", "00:00:00,000 --> 00:00:01,500"},
	    {"?format=vtt", "", "text/vtt; charset=utf-8", "vtt", "WEBVTT"},
	    {"?format=txt", "", "text/plain; charset=utf-8", "txt", "Hello, world.\n"},
	    {"?format=tsv", "", "text/tab-separated-values; charset=utf-8", "tsv", "2000\t3500\tIt <works> & speaks."},
	    {"", "Accept: text/vtt\r\n", "text/vtt; charset=utf-8", "vtt", "&lt;works&gt;"},
	    {"", "Accept: text/*;q=0.5, application/x-subrip\r\n", "application/x-subrip; charset=utf-8", "srt", "1\n"},
	    {"", "Accept: */*\r\n", "application/json", "json", "{"},
	    {"?format=srt", "Accept: image/png\r\n", "application/x-subrip; charset=utf-8", "srt", "-->"},
	};

	api_submit(f, MINIMAL, id);
	snprintf(target, sizeof target, JOBS "/%s/transcript", id);
	{
		AUTOANSWER struct answer early;
		http_get(f, target, &early);
		assert_problem(&early, 409, "transcript-not-ready", NULL);
		assert_string_equal(text_of(&early, "job_status"), "queued");
		assert_true(answer_header(&early, "Retry-After", value, sizeof value));
	}
	api_complete(f, f->store, id);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		AUTOANSWER struct answer answer = {0}, head = {0}, cached = {0};
		char headers[256], disposition[128], etag[64];
		snprintf(target, sizeof target, JOBS "/%s/transcript%s", id, cases[i].query);
		snprintf(headers, sizeof headers, AUTH "%s", cases[i].accept);
		http_raw(f, "GET", target, headers, NULL, 0, &answer);
		assert_status(&answer, 200);
		assert_true(answer_header(&answer, "Content-Type", value, sizeof value));
		assert_string_equal(value, cases[i].type);
		snprintf(disposition, sizeof disposition, "inline; filename=\"%s.%s\"", id, cases[i].ending);
		assert_true(answer_header(&answer, "Content-Disposition", value, sizeof value));
		assert_string_equal(value, disposition);
		assert_contains(answer.body, cases[i].part);

		http_raw(f, "HEAD", target, headers, NULL, 0, &head);
		assert_status(&head, 200);
		assert_true(answer_header(&head, "Content-Length", value, sizeof value));
		assert_int_equal(answer.length, strtoul(value, NULL, 10));

		assert_true(answer_header(&answer, "ETag", etag, sizeof etag));
		snprintf(headers, sizeof headers, AUTH "%sIf-None-Match: %s\r\n", cases[i].accept, etag);
		http_raw(f, "GET", target, headers, NULL, 0, &cached);
		assert_status(&cached, 304);
	}
}

static void transcript_refuses_other_formats(void **state)
{
	struct api_fixture *f = *state;
	AUTOANSWER struct answer format = {0}, accept = {0}, unknown = {0};
	char id[TS_UUID_SIZE], target[160];

	api_submit(f, MINIMAL, id);
	api_complete(f, f->store, id);
	snprintf(target, sizeof target, JOBS "/%s/transcript?format=docx", id);
	http_get(f, target, &format);
	assert_problem(&format, 400, "invalid-parameter", "format");
	snprintf(target, sizeof target, JOBS "/%s/transcript", id);
	http_raw(f, "GET", target, AUTH "Accept: image/png, application/json;q=0\r\n", NULL, 0, &accept);
	assert_problem(&accept, 406, "not-acceptable", "Accept");
	snprintf(target, sizeof target, JOBS "/%s/transcript?fmt=srt", id);
	http_get(f, target, &unknown);
	assert_problem(&unknown, 400, "unknown-parameter", "fmt");
}

static void deliveries_are_listed_and_repeated(void **state)
{
	struct api_fixture *f = *state;
	AUTOANSWER struct answer none = {0}, listed = {0}, again = {0}, missing = {0}, words = {0};
	struct ts_delivery delivery = {0};
	char id[TS_UUID_SIZE], target[160];
	// A receiver may answer with anything.
	char error_text[] = "connection refused", response[] = "\xff not UTF-8";

	api_submit(f, "{\"video_id\": \"v\", \"callback_url\": \"https://receiver.example/hook\"}", id);
	snprintf(target, sizeof target, JOBS "/%s/deliveries", id);
	http_get(f, target, &none);
	assert_status(&none, 200);
	assert_int_equal(0, json_array_size(json_object_get(none.json, "data")));
	api_complete(f, f->store, id);
	assert_ok(ts_store_delivery_claim(f->store, 60000, &delivery, NULL, &f->error), &f->error);
	const struct ts_delivery_attempt attempt = {.number = 1,
	                                            .started_at = delivery.created_at,
	                                            .duration_ms = 12,
	                                            .status = 500,
	                                            .error = error_text,
	                                            .response = response};
	assert_ok(ts_store_delivery_record(f->store, &delivery, &attempt, TS_DELIVERY_GIVE_UP, 0, &f->error), &f->error);
	http_get(f, target, &listed);
	assert_status(&listed, 200);
	json_t *item = json_array_get(json_object_get(listed.json, "data"), 0);
	assert_string_equal("failed", json_string_value(json_object_get(item, "status")));
	assert_string_equal(delivery.event_id, json_string_value(json_object_get(item, "event_id")));
	assert_string_equal("transcription.completed", json_string_value(json_object_get(item, "type")));
	json_t *tried = json_array_get(json_object_get(item, "attempts"), 0);
	assert_int_equal(500, json_integer_value(json_object_get(tried, "status")));
	assert_contains(json_string_value(json_object_get(tried, "response")), "not UTF-8");

	snprintf(target, sizeof target, JOBS "/%s/deliveries/1/redeliver", id);
	http_post(f, target, NULL, &again);
	assert_status(&again, 202);
	item = json_array_get(json_object_get(again.json, "data"), 0);
	assert_string_equal("pending", json_string_value(json_object_get(item, "status")));
	assert_string_equal(delivery.event_id, json_string_value(json_object_get(item, "event_id")));
	ts_delivery_finish(&delivery);

	snprintf(target, sizeof target, JOBS "/%s/deliveries/2/redeliver", id);
	http_post(f, target, NULL, &missing);
	assert_problem(&missing, 404, "not-found", "number");
	snprintf(target, sizeof target, JOBS "/%s/deliveries/one/redeliver", id);
	http_post(f, target, NULL, &words);
	assert_problem(&words, 404, "not-found", "number");
}

static void health_metrics_index(void **state)
{
	struct api_fixture *f = *state;
	AUTOANSWER struct answer live = {0}, ready = {0}, metrics = {0}, index = {0}, type = {0}, unknown = {0};
	char id[TS_UUID_SIZE], value[128];

	api_submit(f, MINIMAL, id);
	http_raw(f, "GET", "/health/live", "", NULL, 0, &live);
	assert_status(&live, 200);
	http_raw(f, "GET", "/health/ready", "", NULL, 0, &ready);
	assert_status(&ready, 200);
	assert_string_equal(text_of(&ready, "status"), "ready");
	http_raw(f, "GET", "/", "", NULL, 0, &index);
	assert_status(&index, 200);
	assert_string_equal(text_of(&index, "version"), TS_VERSION);
	http_raw(f, "GET", "/problems/invalid-field", "", NULL, 0, &type);
	assert_status(&type, 200);
	assert_int_equal(400, json_integer_value(json_object_get(type.json, "status")));
	http_raw(f, "GET", "/problems/nonsense", "", NULL, 0, &unknown);
	assert_problem(&unknown, 404, "not-found", "type");
	http_raw(f, "GET", "/metrics", "", NULL, 0, &metrics);
	assert_status(&metrics, 200);
	assert_true(answer_header(&metrics, "Content-Type", value, sizeof value));
	assert_string_equal(value, "text/plain; version=0.0.4; charset=utf-8");
	assert_contains(metrics.body,
	                "\ntranscription_http_requests_total{method=\"POST\",route=\"" JOBS "\",status=\"202\"} 1\n");
	assert_contains(metrics.body, "\ntranscription_jobs{status=\"queued\"} 1\n");
	assert_contains(metrics.body, "\ntranscription_store_up 1\n");
	assert_contains(metrics.body, "\ntranscription_queue_up 1\n");
	// An answer arrives a moment before its request counts as done.
	for (int tries = 0; tries < 1000 && !strstr(metrics.body, "\ntranscription_http_requests_in_flight 1\n"); tries++) {
		answer_finish(&metrics);
		http_raw(f, "GET", "/metrics", "", NULL, 0, &metrics);
	}
	assert_contains(metrics.body, "\ntranscription_http_requests_in_flight 1\n");
}

static void full_backlog_is_429(void **state)
{
	struct api_fixture *f = *state;
	AUTOANSWER struct answer full = {0};
	char id[TS_UUID_SIZE], value[32];

	api_down(f);
	api_prepare(f);
	f->options.max_queued = 1;
	api_up(f);
	api_submit(f, MINIMAL, id);
	http_post(f, JOBS, MINIMAL, &full);
	assert_problem(&full, 429, "backlog-full", NULL);
	assert_true(answer_header(&full, "Retry-After", value, sizeof value));
}

// Another process holds the store's write lock for longer than the API is willing to wait.
static void locked_store_is_503(void **state)
{
	struct api_fixture *f = *state;
	static const char form[] = "--b\r\nContent-Disposition: form-data; name=\"video_id\"\r\n\r\nv\r\n--b\r\n"
	                           "Content-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\nx\r\n--b--\r\n";
	AUTOANSWER struct answer posted = {0}, uploaded = {0}, read = {0};
	char id[TS_UUID_SIZE], value[32];
	sqlite3 *other = NULL;

	api_down(f);
	api_prepare(f);
	const struct ts_store_sqlite_options options = {
	    .path = f->db, .clock = ts_clock_system(), .public_url = "", .busy_timeout_ms = 50};
	assert_ok(ts_store_sqlite_open(&options, &f->options.store, &f->error), &f->error);
	api_up(f);
	api_submit(f, MINIMAL, id);
	assert_int_equal(SQLITE_OK, sqlite3_open(f->db, &other));
	assert_int_equal(SQLITE_OK, sqlite3_busy_timeout(other, 20000));
	assert_int_equal(SQLITE_OK, sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL));
	http_post(f, JOBS, MINIMAL, &posted);
	assert_problem(&posted, 503, "store-unavailable", NULL);
	assert_true(answer_header(&posted, "Retry-After", value, sizeof value));
	http_raw(f, "POST", JOBS, AUTH "Content-Type: multipart/form-data; boundary=b\r\n", form, sizeof form - 1,
	         &uploaded);
	assert_problem(&uploaded, 503, "store-unavailable", NULL);
	assert_int_equal(0, api_upload_files(f));
	http_get(f, JOBS, &read); // reading goes on
	assert_status(&read, 200);
	assert_int_equal(1, json_array_size(json_object_get(read.json, "data")));
	assert_int_equal(SQLITE_OK, sqlite3_exec(other, "ROLLBACK", NULL, NULL, NULL));
	sqlite3_close(other);
	api_submit(f, MINIMAL, id);
	ts_api_destroy(f->api);
	f->api = NULL;
	ts_store_close(f->options.store);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    api_test(submit_answers_the_stored_job),
	    api_test(relay_publishes_what_was_submitted),
	    api_test(request_ids_travel),
	    api_test(idempotency_key_replays),
	    api_test(idempotency_key_is_checked),
	    api_test(list_pages_and_filters),
	    api_test(list_refuses_bad_parameters),
	    api_test(cancel_retry_delete),
	    api_test(unknown_ids_are_404),
	    api_test(failed_job_tells_why),
	    api_test(transcript_comes_in_each_format),
	    api_test(transcript_refuses_other_formats),
	    api_test(deliveries_are_listed_and_repeated),
	    api_test(health_metrics_index),
	    api_test(full_backlog_is_429),
	    api_test(locked_store_is_503),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
