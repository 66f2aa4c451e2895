// Jobs through the whole worker: real store, queue, fetch and decoder; a scripted engine; a clock that stands still.
// Each test ends with rig_close, which finds any temporary folder that was left behind.
#include "rig.h"
#include "unit.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static int set_up(void **state)
{
	static struct rig rig;

	rig_open(&rig);
	*state = &rig;
	return 0;
}

static int tear_down(void **state)
{
	rig_close(*state);
	return 0;
}

static void submit_file(struct rig *rig, bool callback, char id[TS_UUID_SIZE])
{
	char url[512];

	snprintf(id, TS_UUID_SIZE, "%s", rig_submit(rig, rig_file_url(rig, url), NULL, callback));
}

static void submit_url(struct rig *rig, const char *path, char id[TS_UUID_SIZE])
{
	char url[512];

	snprintf(id, TS_UUID_SIZE, "%s", rig_submit(rig, rig_url(rig, path, url), NULL, true));
}

static void happy_path(void **state)
{
	struct rig *rig = *state;
	TS_AUTOTRANSCRIPT struct ts_transcript transcript;
	TS_AUTOJOB struct ts_job job;
	struct ts_worker_stats stats;
	struct ts_error error = {0};
	char id[TS_UUID_SIZE];

	rig_start(rig);
	submit_file(rig, true, id);
	rig_wait_state(rig, id, TS_JOB_COMPLETED, &job);
	rig_wait_callbacks(rig, 1);
	assert_int_equal(job.attempt, 1);
	assert_int_equal(job.media_duration_ms, 1000);
	assert_null(job.error_code);
	ts_transcript_init(&transcript);
	assert_ok(ts_store_transcript(rig->store, id, &transcript, &error), &error);
	assert_int_equal(transcript.segment_count, 1);
	assert_string_equal(transcript.segments[0].text, "hello world");
	assert_string_equal(transcript.receipt.engine, "script");
	assert_int_equal(transcript.receipt.attempts, 1);
	assert_contains(rig->callbacks[0].body, "\"transcription.completed\"");
	assert_contains(rig->callbacks[0].body, id);
	ts_worker_stop(rig->worker, 10000);
	ts_worker_stats(rig->worker, &stats);
	assert_int_equal(stats.claimed, 1);
	assert_int_equal(stats.completed, 1);
	assert_int_equal(stats.busy, 0);
	assert_int_equal(stats.deliveries_ok, 1);
	assert_true(stats.audio_seconds > 0.99 && stats.audio_seconds < 1.01);
}

static void fetched_media(void **state)
{
	struct rig *rig = *state;
	char id[TS_UUID_SIZE];

	rig_start(rig);
	submit_url(rig, "/media.wav", id);
	rig_wait_state(rig, id, TS_JOB_COMPLETED, NULL);
	assert_int_equal(rig_temp_entries(rig), 0);
}

static void uploaded_media(void **state)
{
	struct rig *rig = *state;
	struct ts_error error = {0};
	char path[256], name[] = "talk.wav", id[TS_UUID_SIZE];
	struct ts_upload upload = {.path = name, .size = 100, .expires_at = RIG_START_MS + 3600000};

	snprintf(path, sizeof path, "%s/%s", rig->uploads, name);
	rig_write_wav(path, 8000);
	assert_ok(ts_store_upload_create(rig->store, &upload, &error), &error);
	rig_start(rig);
	snprintf(id, sizeof id, "%s", rig_submit(rig, NULL, upload.id, false));
	rig_wait_state(rig, id, TS_JOB_COMPLETED, NULL);
	assert_int_equal(rig->engine.samples, 8000);
	assert_int_equal(access(path, F_OK), 0);
	// The job gone, so goes the upload's file.
	assert_ok(ts_store_delete(rig->store, id, &error), &error);
	struct ts_upload found = {0};
	uint64_t seen = 0;
	rig->options.reap_interval_ms = 5;
	ts_worker_destroy(rig->worker);
	rig_start(rig);
	while (ts_store_upload_get(rig->store, upload.id, &found, NULL) == TS_OK) {
		ts_upload_finish(&found);
		assert_ok(ts_store_wait_change(rig->store, &seen, 1000, NULL, &error), &error);
	}
	assert_int_not_equal(access(path, F_OK), 0);
}

static void retry_then_success(void **state)
{
	struct rig *rig = *state;
	TS_AUTOJOB struct ts_job waiting, done;
	char id[TS_UUID_SIZE];

	rig->engine.fail_times = 1;
	rig->engine.fail_with = TS_ERR_ENGINE;
	rig_start(rig);
	submit_file(rig, true, id);
	rig_wait_attempt(rig, id, TS_JOB_QUEUED, 1, &waiting);
	assert_string_equal(waiting.error_code, "engine_failed");
	assert_in_range(waiting.not_before, RIG_START_MS + 1, RIG_START_MS + 1001);
	assert_int_equal(rig_temp_entries(rig), 0);
	rig_advance(rig, 1001);
	rig_relay(rig);
	rig_wait_state(rig, id, TS_JOB_COMPLETED, &done);
	assert_int_equal(done.attempt, 2);
	rig_wait_callbacks(rig, 1);
	assert_int_equal(rig->callback_count, 1);
}

static void temporary_failures_run_out(void **state)
{
	struct rig *rig = *state;
	TS_AUTOJOB struct ts_job job;
	char id[TS_UUID_SIZE];

	rig->engine.fail_times = 100;
	rig->engine.fail_with = TS_ERR_ENGINE;
	rig_start(rig);
	submit_file(rig, true, id);
	for (int i = 0; i < 2; i++) {
		rig_wait_attempt(rig, id, TS_JOB_QUEUED, i + 1, NULL);
		rig_advance(rig, 10000);
		rig_relay(rig);
	}
	rig_wait_state(rig, id, TS_JOB_FAILED, &job);
	assert_int_equal(job.attempt, 3);
	assert_string_equal(job.error_code, "engine_failed");
	assert_contains(job.error_message, "the script says so");
	rig_wait_callbacks(rig, 1);
	assert_contains(rig->callbacks[0].body, "transcription.failed");
}

static void expect_failure(struct rig *rig, const char *id, const char *code)
{
	TS_AUTOJOB struct ts_job job;

	rig_wait_state(rig, id, TS_JOB_FAILED, &job);
	assert_string_equal(job.error_code, code);
	assert_true(job.error_message && *job.error_message);
	assert_int_equal(job.attempt, 1);
	assert_int_equal(rig_temp_entries(rig), 0);
}

static void permanent_failures_fail_at_once(void **state)
{
	struct rig *rig = *state;
	char id[TS_UUID_SIZE], text[256], url[512];

	rig_start(rig);
	submit_url(rig, "/nothing", id);
	expect_failure(rig, id, "media_http_error");
	submit_url(rig, "/big", id);
	expect_failure(rig, id, "media_too_large");
	snprintf(id, sizeof id, "%s", rig_submit(rig, NULL, NULL, false));
	expect_failure(rig, id, "invalid");
	snprintf(id, sizeof id, "%s", rig_submit(rig, "http://10.1.2.3/a.mp4", NULL, false));
	expect_failure(rig, id, "address_forbidden");
	snprintf(text, sizeof text, "%s/note.txt", rig->media);
	int fd = open(text, O_CREAT | O_WRONLY, 0600);
	assert_int_equal(write(fd, "no media at all", 15), 15);
	close(fd);
	snprintf(url, sizeof url, "file://%s", text);
	snprintf(id, sizeof id, "%s", rig_submit(rig, url, NULL, false));
	expect_failure(rig, id, "media_not_recognised");
}

static void unreachable_media_is_tried_again(void **state)
{
	struct rig *rig = *state;
	TS_AUTOJOB struct ts_job job;
	char id[TS_UUID_SIZE];

	rig_start(rig);
	snprintf(id, sizeof id, "%s", rig_submit(rig, "http://127.0.0.1:1/a.mp4", NULL, false));
	rig_wait_attempt(rig, id, TS_JOB_QUEUED, 1, &job);
	assert_string_equal(job.error_code, "media_unreachable");
}

static void unsupported_language_fails_before_the_fetch(void **state)
{
	struct rig *rig = *state;
	TS_AUTOJOB struct ts_job stored;
	struct ts_error error = {0};
	char video[] = "v", user[] = "u", language[] = "xx", media[512];
	struct ts_job job;
	bool replayed;

	rig->engine.language_only = "en";
	ts_job_init(&job);
	ts_job_init(&stored);
	rig_url(rig, "/media.wav", media);
	job.video_id = video;
	job.user_id = user;
	job.language = language;
	job.media_url = media;
	job.max_attempts = 3;
	struct ts_submit submit = {.job = &job};
	assert_ok(ts_store_submit(rig->store, &submit, &stored, &replayed, &error), &error);
	rig_relay(rig);
	rig_start(rig);
	expect_failure(rig, stored.id, "language_unsupported");
	assert_int_equal(http_server_requests(rig->server), 0);
}

static void cancel_frees_the_slot(void **state)
{
	struct rig *rig = *state;
	TS_AUTOJOB struct ts_job job;
	struct ts_error error = {0};
	char first[TS_UUID_SIZE], second[TS_UUID_SIZE];

	rig->options.slots = 1;
	rig->engine.hold = true;
	rig_start(rig);
	submit_file(rig, true, first);
	engine_script_wait_held(&rig->engine, 1);
	ts_job_init(&job);
	assert_ok(ts_store_cancel(rig->store, first, &job, &error), &error);
	engine_script_wait_held(&rig->engine, 0);
	assert_int_equal(rig->engine.aborted, 1);
	// The only slot is free again.
	submit_file(rig, false, second);
	engine_script_wait_held(&rig->engine, 1);
	engine_script_release(&rig->engine);
	rig_wait_state(rig, second, TS_JOB_COMPLETED, NULL);
	rig_wait_state(rig, first, TS_JOB_CANCELLED, NULL);
	rig_wait_callbacks(rig, 1);
	assert_contains(rig->callbacks[0].body, "transcription.cancelled");
}

// The cancelled run may take its time to end; the next one has its attempts and a folder of its own.
static void a_retry_does_not_wait_for_the_cancelled_run(void **state)
{
	struct rig *rig = *state;
	TS_AUTOJOB struct ts_job job;
	struct ts_error error = {0};
	char id[TS_UUID_SIZE];

	rig->options.slots = 2;
	rig->engine.hold = rig->engine.deaf = true;
	rig_start(rig);
	submit_file(rig, false, id);
	engine_script_wait_held(&rig->engine, 1);
	ts_job_init(&job);
	assert_ok(ts_store_cancel(rig->store, id, &job, &error), &error);
	assert_ok(ts_store_retry(rig->store, id, &job, &error), &error);
	rig_relay(rig);
	engine_script_wait_held(&rig->engine, 2);
	engine_script_release(&rig->engine);
	ts_job_finish(&job);
	rig_wait_state(rig, id, TS_JOB_COMPLETED, &job);
	assert_int_equal(job.attempt, 1);
}

static void jobs_run_side_by_side_up_to_the_slots(void **state)
{
	struct rig *rig = *state;
	char ids[3][TS_UUID_SIZE];
	TS_AUTOJOB struct ts_job third;

	rig->engine.hold = true;
	rig_start(rig);
	for (int i = 0; i < 3; i++)
		submit_file(rig, false, ids[i]);
	engine_script_wait_held(&rig->engine, 2);
	rig_wait_state(rig, ids[2], TS_JOB_QUEUED, &third);
	engine_script_release(&rig->engine);
	for (int i = 0; i < 3; i++)
		rig_wait_state(rig, ids[i], TS_JOB_COMPLETED, NULL);
}

static void drain_lets_running_jobs_finish(void **state)
{
	struct rig *rig = *state;
	char running[TS_UUID_SIZE], waiting[TS_UUID_SIZE];
	TS_AUTOJOB struct ts_job job;

	rig->options.slots = 1;
	rig->engine.hold = true;
	rig_start(rig);
	submit_file(rig, true, running);
	engine_script_wait_held(&rig->engine, 1);
	submit_file(rig, false, waiting);
	ts_worker_drain(rig->worker);
	engine_script_release(&rig->engine);
	ts_worker_stop(rig->worker, 20000);
	rig_wait_state(rig, running, TS_JOB_COMPLETED, NULL);
	rig_wait_state(rig, waiting, TS_JOB_QUEUED, &job);
	assert_int_equal(job.attempt, 0);
	// The callback of the job that finished while draining is sent before the end.
	assert_int_equal(rig->callback_count, 1);
}

static void stop_hands_back_what_does_not_finish(void **state)
{
	struct rig *rig = *state;
	struct ts_worker_stats stats;
	TS_AUTOJOB struct ts_job job;
	char id[TS_UUID_SIZE];

	rig->engine.hold = true;
	rig_start(rig);
	submit_file(rig, false, id);
	engine_script_wait_held(&rig->engine, 1);
	ts_worker_stop(rig->worker, 0);
	rig_wait_state(rig, id, TS_JOB_QUEUED, &job);
	assert_int_equal(job.attempt, 0); // not counted
	assert_null(job.lease_owner);
	assert_int_equal(rig_temp_entries(rig), 0);
	ts_worker_stats(rig->worker, &stats);
	assert_int_equal(stats.released, 1);
	// Another worker takes it at once.
	ts_worker_destroy(rig->worker);
	rig->engine.hold = false;
	rig_start(rig);
	rig_relay(rig);
	rig_wait_state(rig, id, TS_JOB_COMPLETED, NULL);
}

static void stale_folders_are_swept_at_the_start(void **state)
{
	struct rig *rig = *state;
	char path[256];

	snprintf(path, sizeof path, "%s/01890a5d-ac96-774b-bcce-b302099a8057.1", rig->temp);
	assert_int_equal(mkdir(path, 0700), 0);
	rig_start(rig);
	assert_int_equal(rig_temp_entries(rig), 0);
}

static void expired_leases_are_reaped(void **state)
{
	struct rig *rig = *state;
	TS_AUTOJOB struct ts_job job, done;
	struct ts_message message;
	struct ts_lease lease;
	struct ts_error error = {0};
	char id[TS_UUID_SIZE];

	// A worker that died: took the message, claimed, acknowledged, and was never heard of again.
	submit_file(rig, false, id);
	assert_ok(ts_queue_receive(rig->queue, 10000, NULL, &message, &error), &error);
	assert_ok(ts_queue_ack(rig->queue, &message, &error), &error);
	ts_job_init(&job);
	assert_ok(ts_store_claim(rig->store, id, "dead:1", 60000, &job, &lease, &error), &error);
	rig_advance(rig, 61000);
	rig->options.reap_interval_ms = 5;
	rig_start(rig);
	rig_wait_attempt(rig, id, TS_JOB_QUEUED, 1, NULL);
	rig_relay(rig);
	rig_wait_state(rig, id, TS_JOB_COMPLETED, &done);
	assert_int_equal(done.attempt, 2);
}

static void old_jobs_are_retired(void **state)
{
	struct rig *rig = *state;
	TS_AUTOJOB struct ts_job job;
	struct ts_error error = {0};
	char id[TS_UUID_SIZE];
	uint64_t seen = 0;

	rig->options.retention_ms = 3600000;
	rig->options.reap_interval_ms = 5;
	rig_start(rig);
	submit_file(rig, false, id);
	rig_wait_state(rig, id, TS_JOB_COMPLETED, NULL);
	rig_advance(rig, 3700000);
	ts_job_init(&job);
	while (ts_store_get(rig->store, id, &job, NULL) == TS_OK) {
		ts_job_finish(&job);
		assert_ok(ts_store_wait_change(rig->store, &seen, 1000, NULL, &error), &error);
	}
}

static void wrong_options_are_refused(void **state)
{
	struct rig *rig = *state;
	struct ts_error error = {0};

	rig->options.slots = 0;
	assert_err(ts_worker_start(&rig->options, &rig->worker, &error), TS_ERR_INVALID);
	rig->options.slots = 1;
	rig->options.owner = "";
	assert_err(ts_worker_start(&rig->options, &rig->worker, &error), TS_ERR_INVALID);
	rig->options.owner = "a";
	rig->options.lease_ms = 0;
	assert_err(ts_worker_start(&rig->options, &rig->worker, &error), TS_ERR_INVALID);
	ts_worker_destroy(NULL);
}

int main(int argc, char **argv)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    CASE(happy_path),
	    CASE(fetched_media),
	    CASE(uploaded_media),
	    CASE(retry_then_success),
	    CASE(temporary_failures_run_out),
	    CASE(permanent_failures_fail_at_once),
	    CASE(unreachable_media_is_tried_again),
	    CASE(unsupported_language_fails_before_the_fetch),
	    CASE(cancel_frees_the_slot),
	    CASE(a_retry_does_not_wait_for_the_cancelled_run),
	    CASE(jobs_run_side_by_side_up_to_the_slots),
	    CASE(drain_lets_running_jobs_finish),
	    CASE(stop_hands_back_what_does_not_finish),
	    CASE(stale_folders_are_swept_at_the_start),
	    CASE(expired_leases_are_reaped),
	    CASE(old_jobs_are_retired),
	    CASE(wrong_options_are_refused),
	};
	int status;

	if (ts_media_child_main(argc, argv, &status))
		return status;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
