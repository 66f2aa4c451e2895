// core/event: the body of a callback in each final state, and what is left out when it grows too large.
#include "unit.h"

#include "base/mem.h"
#include "core/event.h"
#include "core/json.h"
#include "fault.h"
#include "transcripts.h"

static enum ts_err fill_job(struct ts_job *job, enum ts_job_state state, struct ts_error *error)
{
	memcpy(job->id, "017f22e2-79b0-7cc3-98c4-dc0c0c07398f", TS_UUID_SIZE);
	job->state = state;
	job->attempt = 2;
	job->created_at = 1000;
	job->started_at = 2000;
	job->updated_at = 4000;
	job->finished_at = 3000;
	if (!ts_str_set(&job->video_id, "v\"1") || !ts_str_set(&job->user_id, "u1") ||
	    !ts_str_set(&job->metadata, "{\"course\":7,\"rate\":0.1}") || !ts_str_set(&job->error_code, "media_no_audio") ||
	    !ts_str_set(&job->error_message, "the file has no audio stream"))
		return ts_fail_nomem(error);
	return TS_OK;
}

static void types_belong_to_final_states(void **state)
{
	(void)state;
	assert_string_equal(ts_event_type(TS_JOB_COMPLETED), "transcription.completed");
	assert_string_equal(ts_event_type(TS_JOB_FAILED), "transcription.failed");
	assert_string_equal(ts_event_type(TS_JOB_CANCELLED), "transcription.cancelled");
	for (unsigned i = 0; i < TS_JOB_STATE_COUNT; i++)
		assert_int_equal(ts_event_type((enum ts_job_state)i) != NULL, ts_job_state_is_final((enum ts_job_state)i));
	TS_AUTOJOB struct ts_job job;
	char *body = NULL;
	ts_job_init(&job);
	assert_err(ts_event_body(&job, NULL, "", &body, NULL), TS_ERR_INVALID);
	assert_null(body);
}

static enum ts_err completed(void *ctx, struct ts_error *error)
{
	TS_AUTOTRANSCRIPT struct ts_transcript transcript;
	TS_AUTOJOB struct ts_job job;
	TS_AUTOFREE char *body = NULL;

	(void)ctx;
	ts_transcript_init(&transcript);
	ts_job_init(&job);
	TS_TRY(ts_fill_small_transcript(&transcript, error));
	TS_TRY(fill_job(&job, TS_JOB_COMPLETED, error));
	TS_TRY(ts_event_body(&job, &transcript, "https://t.example", &body, error));
#define HERE "https://t.example/api/v1/transcriptions/017f22e2-79b0-7cc3-98c4-dc0c0c07398f"
	assert_string_equal(
	    body, "{\"type\":\"transcription.completed\",\"timestamp\":\"1970-01-01T00:00:03.000Z\",\"data\":{"
	          "\"id\":\"017f22e2-79b0-7cc3-98c4-dc0c0c07398f\",\"video_id\":\"v\\\"1\",\"user_id\":\"u1\","
	          "\"status\":\"completed\",\"language\":\"en\",\"duration\":5.25,"
	          "\"text\":\"hello world salt & <pepper> --> now\",\"text_omitted\":false,"
	          "\"links\":{\"self\":\"" HERE "\",\"transcript\":\"" HERE "/transcript\",\"srt\":\"" HERE
	          "/transcript?format=srt\",\"vtt\":\"" HERE "/transcript?format=vtt\"},"
	          "\"metadata\":{\"course\":7,\"rate\":0.1},\"metadata_omitted\":false,\"attempts\":2,\"error\":null,"
	          "\"created_at\":\"1970-01-01T00:00:01.000Z\",\"started_at\":\"1970-01-01T00:00:02.000Z\","
	          "\"finished_at\":\"1970-01-01T00:00:03.000Z\"}}");
	return TS_OK;
}

static void a_completed_job(void **state)
{
	(void)state;
	ts_fault_each(completed, NULL, 80);
}

static void a_failed_job(void **state)
{
	TS_AUTOJOB struct ts_job job;
	TS_AUTOFREE char *body = NULL;
	(void)state;

	ts_job_init(&job);
	assert_ok(fill_job(&job, TS_JOB_FAILED, NULL), NULL);
	job.started_at = 0;
	assert_ok(ts_event_body(&job, NULL, "", &body, NULL), NULL);
	assert_contains(body, "\"type\":\"transcription.failed\"");
	assert_contains(body, "\"duration\":null,\"text\":null,\"text_omitted\":false,\"links\":{\"self\":\"/api/v1/");
	assert_contains(body, "\"transcript\":null,\"srt\":null,\"vtt\":null}");
	assert_contains(body, "\"error\":{\"code\":\"media_no_audio\",\"message\":\"the file has no audio stream\"}");
	assert_contains(body, "\"started_at\":null");
}

// A body of each size around the ceiling.
static void large_parts_are_left_out(void **state)
{
	TS_AUTOTRANSCRIPT struct ts_transcript transcript;
	TS_AUTOJOB struct ts_job job;
	static char text[30001];
	(void)state;

	ts_transcript_init(&transcript);
	ts_job_init(&job);
	assert_ok(fill_job(&job, TS_JOB_COMPLETED, NULL), NULL);
	assert_ok(ts_add_plain_segment(&transcript, "x", 0, 100, NULL), NULL);
	bool kept = false, omitted = false;
	for (size_t length = 18000; length < 20500; length += 7) {
		TS_AUTOFREE char *body = NULL;
		memset(text, 'a', length);
		text[length] = '\0';
		assert_true(ts_str_set(&transcript.segments[0].text, text));
		assert_ok(ts_event_body(&job, &transcript, "", &body, NULL), NULL);
		assert_true(strlen(body) <= TS_EVENT_BODY_MAX);
		if (strstr(body, "\"text_omitted\":true")) {
			assert_contains(body, "\"text\":null");
			assert_contains(body, "\"metadata\":{\"course\":7");
			omitted = true;
		} else {
			assert_contains(body, text);
			kept = true;
			assert_false(omitted);
		}
	}
	assert_true(kept && omitted);

	TS_AUTOFREE char *metadata = NULL;
	TS_AUTOFREE char *body = NULL;
	memset(text, 'm', sizeof text - 1);
	metadata = ts_asprintf("{\"m\":\"%s\"}", text);
	assert_true(ts_str_set(&job.metadata, metadata));
	assert_ok(ts_event_body(&job, &transcript, "", &body, NULL), NULL);
	assert_contains(body, "\"metadata\":null,\"metadata_omitted\":true");
	assert_contains(body, "\"text\":null,\"text_omitted\":true");

	// Nothing else is ever left out: identifiers of that size are a mistake elsewhere, and said so.
	struct ts_error error;
	char *none = NULL;
	assert_true(ts_str_set(&job.video_id, text));
	assert_err(ts_event_body(&job, &transcript, "", &none, &error), TS_ERR_LIMIT);
	assert_null(none);
}

static void broken_metadata_is_said(void **state)
{
	TS_AUTOJOB struct ts_job job;
	struct ts_error error;
	char *body = NULL;
	(void)state;

	ts_job_init(&job);
	assert_ok(fill_job(&job, TS_JOB_CANCELLED, NULL), NULL);
	assert_true(ts_str_set(&job.metadata, "{broken"));
	assert_err(ts_event_body(&job, NULL, "", &body, &error), TS_ERR_INVALID);
	assert_null(body);
}

int main(void)
{
	ts_json_use_mem();
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(types_belong_to_final_states),
	    cmocka_unit_test(a_completed_job),
	    cmocka_unit_test(a_failed_job),
	    cmocka_unit_test(large_parts_are_left_out),
	    cmocka_unit_test(broken_metadata_is_said),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
