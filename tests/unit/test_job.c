// core/job: names, the table of transitions, and the life of the record.
#include "unit.h"

#include "base/mem.h"
#include "core/job.h"
#include "fault.h"

static void names_and_states_are_inverse(void **state)
{
	enum ts_job_state back;
	enum ts_job_priority priority;
	struct ts_error error;
	(void)state;

	for (unsigned i = 0; i < TS_JOB_STATE_COUNT; i++) {
		assert_ok(ts_job_state_parse(ts_job_state_name((enum ts_job_state)i), &back, &error), &error);
		assert_int_equal(back, i);
	}
	assert_err(ts_job_state_parse("Queued", &back, &error), TS_ERR_INVALID);
	// The message has to name every state there is.
	for (unsigned i = 0; i < TS_JOB_STATE_COUNT; i++)
		assert_contains(error.message, ts_job_state_name((enum ts_job_state)i));
	assert_err(ts_job_state_parse("", &back, NULL), TS_ERR_INVALID);
	for (unsigned i = 0; i < TS_PRIORITY_COUNT; i++) {
		assert_ok(ts_job_priority_parse(ts_job_priority_name((enum ts_job_priority)i), &priority, &error), &error);
		assert_int_equal(priority, i);
	}
	assert_err(ts_job_priority_parse("urgent", &priority, &error), TS_ERR_INVALID);
	assert_string_equal(ts_job_state_name((enum ts_job_state)99), "unknown");
	assert_string_equal(ts_job_priority_name((enum ts_job_priority)99), "unknown");
}

static void final_states(void **state)
{
	(void)state;
	assert_false(ts_job_state_is_final(TS_JOB_QUEUED));
	assert_false(ts_job_state_is_final(TS_JOB_PROCESSING));
	assert_true(ts_job_state_is_final(TS_JOB_COMPLETED));
	assert_true(ts_job_state_is_final(TS_JOB_FAILED));
	assert_true(ts_job_state_is_final(TS_JOB_CANCELLED));
}

// The whole square, written out once by hand so that a change of the table is a decision.
static void legal_transitions(void **state)
{
	static const char legal[TS_JOB_STATE_COUNT][TS_JOB_STATE_COUNT + 1] = {
	    // to: Q P C F X
	    [TS_JOB_QUEUED] = "-x-xx", [TS_JOB_PROCESSING] = "xxxxx", [TS_JOB_COMPLETED] = "-----",
	    [TS_JOB_FAILED] = "x----", [TS_JOB_CANCELLED] = "x----",
	};
	(void)state;

	for (unsigned from = 0; from < TS_JOB_STATE_COUNT; from++)
		for (unsigned to = 0; to < TS_JOB_STATE_COUNT; to++)
			if (ts_job_transition_is_legal((enum ts_job_state)from, (enum ts_job_state)to) != (legal[from][to] == 'x'))
				fail_msg("%s -> %s", ts_job_state_name((enum ts_job_state)from),
				         ts_job_state_name((enum ts_job_state)to));
}

static enum ts_err fill_job(struct ts_job *job, struct ts_error *error)
{
	char **const strings[] = {&job->video_id,     &job->user_id,     &job->callback_url, &job->media_url,
	                          &job->upload_id,    &job->language,    &job->metadata,     &job->request_id,
	                          &job->traceparent,  &job->lease_owner, &job->stage,        &job->error_code,
	                          &job->error_message};

	for (size_t i = 0; i < sizeof strings / sizeof strings[0]; i++) {
		TS_AUTOFREE char *text = ts_asprintf("text %zu", i);
		if (!text || !ts_str_set(strings[i], text))
			return ts_fail_nomem(error);
	}
	memcpy(job->id, "017f22e2-79b0-7cc3-98c4-dc0c0c07398f", TS_UUID_SIZE);
	job->attempt = 2;
	job->created_at = 1000;
	return TS_OK;
}

static enum ts_err copy_job(void *ctx, struct ts_error *error)
{
	TS_AUTOJOB struct ts_job from;
	TS_AUTOJOB struct ts_job to;

	(void)ctx;
	ts_job_init(&from);
	ts_job_init(&to);
	TS_TRY(fill_job(&from, error));
	TS_TRY(ts_job_copy(&from, &to, error));
	assert_string_equal(to.video_id, "text 0");
	assert_string_equal(to.error_message, "text 12");
	assert_ptr_not_equal(to.video_id, from.video_id);
	assert_string_equal(to.id, from.id);
	assert_int_equal(to.attempt, 2);
	assert_int_equal(to.created_at, 1000);
	// Onto one that holds something, and onto itself.
	TS_TRY(ts_job_copy(&from, &to, error));
	TS_TRY(ts_job_copy(&to, &to, error));
	assert_string_equal(to.stage, "text 10");
	return TS_OK;
}

static void jobs_are_copied_deeply(void **state)
{
	(void)state;
	ts_fault_each(copy_job, NULL, 13 * 4);
}

static void a_failed_copy_changes_nothing(void **state)
{
	struct ts_job from, to;
	(void)state;

	ts_job_init(&from);
	ts_job_init(&to);
	assert_ok(fill_job(&from, NULL), NULL);
	assert_true(ts_str_set(&to.video_id, "mine"));
	ts_mem_fail_after(5);
	enum ts_err err = ts_job_copy(&from, &to, NULL);
	ts_mem_fail_after(0);
	assert_err(err, TS_ERR_NOMEM);
	assert_string_equal(to.video_id, "mine");
	assert_null(to.user_id);
	ts_job_finish(&from);
	ts_job_finish(&to);
	assert_null(to.video_id);
	assert_int_equal(to.priority, TS_PRIORITY_NORMAL);
	ts_job_finish(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(names_and_states_are_inverse),
	    cmocka_unit_test(final_states),
	    cmocka_unit_test(legal_transitions),
	    cmocka_unit_test(jobs_are_copied_deeply),
	    cmocka_unit_test(a_failed_copy_changes_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
