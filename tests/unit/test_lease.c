// Leases under a clock that stands still until told: kept alive, lost, timed out, and beyond reach with the store.
#include "rig.h"
#include "unit.h"

#include <sqlite3.h>

static int set_up(void **state)
{
	static struct rig rig;

	rig_open(&rig);
	rig.options.slots = 1;
	rig.options.reap_interval_ms = 60000;
	rig.engine.hold = true;
	*state = &rig;
	return 0;
}

static int tear_down(void **state)
{
	rig_close(*state);
	return 0;
}

static void start_held(struct rig *rig, char id[TS_UUID_SIZE])
{
	char url[512];

	rig_start(rig);
	snprintf(id, TS_UUID_SIZE, "%s", rig_submit(rig, rig_file_url(rig, url), NULL, true));
	engine_script_wait_held(&rig->engine, 1);
}

// Waits until the job's lease runs to `expires_at`.
static void wait_lease(struct rig *rig, const char *id, int64_t expires_at, struct ts_job *job)
{
	uint64_t seen = 0;

	ts_job_init(job);
	do {
		struct ts_error error = {0};
		assert_ok(ts_store_wait_change(rig->store, &seen, 1000, NULL, &error), &error);
		ts_job_finish(job);
		assert_ok(ts_store_get(rig->store, id, job, &error), &error);
		assert_int_equal(job->state, TS_JOB_PROCESSING);
	} while (job->lease_expires_at != expires_at);
}

static void heartbeats_extend_the_lease_and_carry_progress(void **state)
{
	struct rig *rig = *state;
	TS_AUTOJOB struct ts_job job, later;
	char id[TS_UUID_SIZE];

	start_held(rig, id);
	rig_advance(rig, 20000); // a third
	wait_lease(rig, id, RIG_START_MS + 80000, &job);
	assert_string_equal(job.stage, "transcribing");
	assert_true(job.progress > 0.99);
	assert_int_equal(job.media_duration_ms, 1000);
	// Far beyond the first lease, in steps of a third: still ours.
	for (int64_t i = 2; i <= 6; i++) {
		rig_advance(rig, 20000);
		wait_lease(rig, id, RIG_START_MS + i * 20000 + 60000, &later);
		ts_job_finish(&later);
	}
	engine_script_release(&rig->engine);
	rig_wait_state(rig, id, TS_JOB_COMPLETED, &later);
	assert_int_equal(later.attempt, 1);
}

static void a_job_taken_over_writes_nothing(void **state)
{
	struct rig *rig = *state;
	TS_AUTOJOB struct ts_job job, now;
	TS_AUTOTRANSCRIPT struct ts_transcript transcript;
	struct ts_worker_stats stats;
	struct ts_lease lease;
	struct ts_error error = {0};
	char id[TS_UUID_SIZE];

	// This worker looks after its leases only rarely: another is faster to take the job when its lease is over.
	rig->options.cancel_check_ms = 3600000;
	rig->engine.deaf = true;
	start_held(rig, id);
	rig_advance(rig, 61000);
	ts_job_init(&job);
	assert_ok(ts_store_claim(rig->store, id, "other:2", 60000, &job, &lease, &error), &error);
	engine_script_release(&rig->engine); // it finishes its work, too late
	ts_worker_stop(rig->worker, 20000);
	rig_wait_state(rig, id, TS_JOB_PROCESSING, &now);
	assert_string_equal(now.lease_owner, "other:2");
	assert_int_equal(now.attempt, 2);
	ts_transcript_init(&transcript);
	assert_err(ts_store_transcript(rig->store, id, &transcript, &error), TS_ERR_NOT_FOUND);
	ts_worker_stats(rig->worker, &stats);
	assert_int_equal(stats.lost, 1);
	assert_int_equal(stats.completed, 0);
	assert_int_equal(rig->callback_count, 0);
}

static void a_deleted_job_stops(void **state)
{
	struct rig *rig = *state;
	struct ts_worker_stats stats;
	struct ts_error error = {0};
	char id[TS_UUID_SIZE];

	start_held(rig, id);
	assert_ok(ts_store_delete(rig->store, id, &error), &error);
	engine_script_wait_held(&rig->engine, 0);
	assert_int_equal(rig->engine.aborted, 1);
	ts_worker_stop(rig->worker, 20000);
	ts_worker_stats(rig->worker, &stats);
	assert_int_equal(stats.lost, 1);
}

static void an_attempt_that_takes_too_long_times_out(void **state)
{
	struct rig *rig = *state;
	TS_AUTOJOB struct ts_job job;
	char id[TS_UUID_SIZE];

	rig->options.job_timeout_ms = 30000;
	rig->options.lease_ms = 600000;
	start_held(rig, id);
	rig_advance(rig, 30000);
	engine_script_wait_held(&rig->engine, 0);
	rig_wait_state(rig, id, TS_JOB_QUEUED, &job); // a time-out is tried again
	assert_string_equal(job.error_code, "timeout");
	assert_contains(job.error_message, "30 s");
}

static void execute(sqlite3 *database, const char *statement)
{
	char *message = NULL;

	if (sqlite3_exec(database, statement, NULL, NULL, &message) != SQLITE_OK)
		fail_msg("%s: %s", statement, message);
}

static void a_store_out_of_reach_for_a_lease_stops_the_job(void **state)
{
	struct rig *rig = *state;
	TS_AUTOJOB struct ts_job job;
	struct ts_worker_stats stats;
	sqlite3 *other;
	char id[TS_UUID_SIZE];

	start_held(rig, id);
	assert_int_equal(sqlite3_open(rig->database, &other), SQLITE_OK);
	sqlite3_busy_timeout(other, 20000);
	execute(other, "BEGIN IMMEDIATE"); // nobody can write
	rig_advance(rig, 60000);
	engine_script_wait_held(&rig->engine, 0);
	assert_int_equal(rig->engine.aborted, 1);
	execute(other, "ROLLBACK");
	sqlite3_close(other);
	ts_worker_stop(rig->worker, 20000);
	ts_worker_stats(rig->worker, &stats);
	assert_int_equal(stats.lost, 1);
	rig_wait_state(rig, id, TS_JOB_PROCESSING, &job); // nothing was written
	assert_null(job.error_code);
}

int main(int argc, char **argv)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    CASE(heartbeats_extend_the_lease_and_carry_progress),
	    CASE(a_job_taken_over_writes_nothing),
	    CASE(a_deleted_job_stops),
	    CASE(an_attempt_that_takes_too_long_times_out),
	    CASE(a_store_out_of_reach_for_a_lease_stops_the_job),
	};
	int status;

	if (ts_media_child_main(argc, argv, &status))
		return status;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
