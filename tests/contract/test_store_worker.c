// Contract of the store: the outbox, claims, leases and their fencing, the ends of an attempt, housekeeping.
#include "store_fixture.h"

static struct ts_error cause_of(enum ts_err code, const char *message)
{
	struct ts_error cause = {.code = code};

	snprintf(cause.message, sizeof cause.message, "%s", message);
	return cause;
}

static void get(struct fixture *f, const char *id, struct ts_job *job)
{
	ts_job_init(job);
	ok(ts_store_get(f->store, id, job, &f->error));
}

static enum ts_err try_claim(struct fixture *f, const char *id, const char *owner, struct ts_lease *lease)
{
	TS_AUTOJOB struct ts_job job;

	ts_job_init(&job);
	return ts_store_claim(f->store, id, owner, LEASE, &job, lease, &f->error);
}

// --- the outbox ---

static void outbox_is_leased_and_done(void **state)
{
	struct fixture *f = *state;
	struct ts_outbox_item items[4], again[4];
	char low[TS_UUID_SIZE], high[TS_UUID_SIZE];
	TS_AUTOJOB struct ts_job out;
	struct ts_job job = a_job();
	size_t count;

	ts_job_init(&out);
	ok(ts_store_outbox_claim(f->store, 1000, items, 4, &count, &f->error));
	assert_int_equal(count, 0);
	submit_id(f, low);
	job.priority = TS_PRIORITY_HIGH;
	submit_job(f, &job, &out);
	memcpy(high, out.id, sizeof high);
	ok(ts_store_outbox_claim(f->store, 1000, items, 1, &count, &f->error));
	assert_int_equal(count, 1);
	assert_string_equal(items[0].job_id, high);
	assert_int_equal(items[0].priority, TS_PRIORITY_HIGH);
	ok(ts_store_outbox_claim(f->store, 1000, again, 4, &count, &f->error));
	assert_int_equal(count, 1); // the other one only
	assert_string_equal(again[0].job_id, low);
	ok(ts_store_outbox_done(f->store, again, 1, &f->error));
	advance(f, 1000); // the first relay died
	ok(ts_store_outbox_claim(f->store, 1000, again, 4, &count, &f->error));
	assert_int_equal(count, 1);
	assert_string_equal(again[0].job_id, high);
	ok(ts_store_outbox_done(f->store, again, count, &f->error));
	assert_int_equal(counts_of(f).outbox, 0);
}

static void done_does_not_remove_a_newer_mention(void **state)
{
	struct fixture *f = *state;
	struct ts_error cause = cause_of(TS_ERR_NET_UNREACHABLE, "no route");
	struct ts_outbox_item items[2];
	struct ts_lease lease;
	enum ts_job_state after;
	char id[TS_UUID_SIZE];
	size_t count;

	submit_id(f, id);
	ok(ts_store_outbox_claim(f->store, 1000, items, 2, &count, &f->error));
	assert_int_equal(count, 1);
	// Published; before the relay says so, the job is claimed and fails.
	claim_id(f, id, "w", &lease);
	ok(ts_store_fail(f->store, &lease, &cause, T0 + 5000, &after, &f->error));
	ok(ts_store_outbox_done(f->store, items, 1, &f->error));
	assert_int_equal(counts_of(f).outbox, 1);
	ok(ts_store_outbox_claim(f->store, 1000, items, 2, &count, &f->error));
	assert_int_equal(count, 0); // not due
	advance(f, 5000);
	ok(ts_store_outbox_claim(f->store, 1000, items, 2, &count, &f->error));
	assert_int_equal(count, 1);
}

// --- claims and leases ---

static void claim_takes_the_job(void **state)
{
	struct fixture *f = *state;
	TS_AUTOJOB struct ts_job job;
	struct ts_lease lease, other;
	char id[TS_UUID_SIZE];

	submit_id(f, id);
	advance(f, 10);
	ts_job_init(&job);
	ok(ts_store_claim(f->store, id, "worker-a", LEASE, &job, &lease, &f->error));
	assert_int_equal(job.state, TS_JOB_PROCESSING);
	assert_int_equal(job.attempt, 1);
	assert_string_equal(job.lease_owner, "worker-a");
	assert_int_equal(job.lease_expires_at, T0 + 10 + LEASE);
	assert_int_equal(job.started_at, T0 + 10);
	assert_string_equal(lease.job_id, id);
	assert_string_equal(lease.owner, "worker-a");
	assert_int_equal(lease.attempt, 1);
	assert_int_equal(counts_of(f).outbox, 0); // nothing is left to be mentioned
	fails(TS_ERR_NOT_FOUND, try_claim(f, id, "worker-b", &other));
	fails(TS_ERR_NOT_FOUND, try_claim(f, id, "worker-a", &other));
	fails(TS_ERR_NOT_FOUND, try_claim(f, "01935d7e-0000-7000-8000-000000000000", "worker-a", &other));
}

static void heartbeat_extends_and_tells(void **state)
{
	struct fixture *f = *state;
	struct ts_lease lease, other;
	char id[TS_UUID_SIZE];
	struct ts_job job;

	submit_id(f, id);
	claim_id(f, id, "w", &lease);
	advance(f, LEASE - 1);
	ok(ts_store_heartbeat(f->store, &lease, LEASE,
	                      &(struct ts_progress){.fraction = 0.25, .stage = "transcribing", .media_duration_ms = 9000},
	                      &f->error));
	get(f, id, &job);
	assert_int_equal(job.lease_expires_at, T0 + 2 * LEASE - 1);
	assert_true(job.progress > 0.2499 && job.progress < 0.2501);
	assert_string_equal(job.stage, "transcribing");
	assert_int_equal(job.media_duration_ms, 9000);
	ts_job_finish(&job);
	ok(ts_store_heartbeat(f->store, &lease, LEASE, &(struct ts_progress){.fraction = 7}, &f->error));
	get(f, id, &job);
	assert_true(job.progress == 1);
	assert_string_equal(job.stage, "transcribing"); // as before
	assert_int_equal(job.media_duration_ms, 9000);
	ts_job_finish(&job);
	advance(f, LEASE - 1);
	fails(TS_ERR_NOT_FOUND, try_claim(f, id, "thief", &other));
	ok(ts_store_lease_check(f->store, &lease, &f->error));
	advance(f, 1); // expired, but nobody took it: still ours
	ok(ts_store_lease_check(f->store, &lease, &f->error));
	ok(ts_store_heartbeat(f->store, &lease, LEASE, &(struct ts_progress){.fraction = 0.5}, &f->error));
	fails(TS_ERR_NOT_FOUND, try_claim(f, id, "thief", &other));
}

static void every_write_of_a_lost_lease_is_fenced(struct fixture *f, const struct ts_lease *lease)
{
	TS_AUTOTRANSCRIPT struct ts_transcript transcript;
	struct ts_error cause = cause_of(TS_ERR_ENGINE, "late");
	enum ts_job_state after;

	a_transcript(&transcript);
	fails(TS_ERR_FENCED, ts_store_lease_check(f->store, lease, &f->error));
	fails(TS_ERR_FENCED, ts_store_heartbeat(f->store, lease, LEASE, &(struct ts_progress){0}, &f->error));
	fails(TS_ERR_FENCED, ts_store_release(f->store, lease, &f->error));
	fails(TS_ERR_FENCED, ts_store_fail(f->store, lease, &cause, now_of(f) + 1, &after, &f->error));
	fails(TS_ERR_FENCED, ts_store_fail(f->store, lease, &cause, 0, &after, &f->error));
	fails(TS_ERR_FENCED, ts_store_finish(f->store, lease, &transcript, &f->error));
}

static void expired_lease_is_stolen_and_the_old_owner_fenced(void **state)
{
	struct fixture *f = *state;
	struct ts_lease slow, thief;
	char id[TS_UUID_SIZE];
	struct ts_job job;

	submit_id(f, id);
	claim_id(f, id, "slow", &slow);
	advance(f, LEASE);
	claim_id(f, id, "thief", &thief);
	assert_int_equal(thief.attempt, 2);
	every_write_of_a_lost_lease_is_fenced(f, &slow);
	get(f, id, &job);
	assert_string_equal(job.lease_owner, "thief");
	assert_true(job.progress == 0);
	ts_job_finish(&job);
	finish_lease(f, &thief);
	every_write_of_a_lost_lease_is_fenced(f, &slow);
	every_write_of_a_lost_lease_is_fenced(f, &thief); // over for it too
	assert_int_equal(counts_of(f).deliveries_pending, 1);
}

// Owner and attempt may come again; the number of the claim does not.
static void a_lease_of_an_earlier_life_is_fenced(void **state)
{
	struct fixture *f = *state;
	TS_AUTOJOB struct ts_job job;
	struct ts_lease before, now, released;
	char id[TS_UUID_SIZE];

	ts_job_init(&job);
	submit_id(f, id);
	claim_id(f, id, "w", &before);
	ok(ts_store_cancel(f->store, id, &job, &f->error));
	ok(ts_store_retry(f->store, id, &job, &f->error));
	claim_id(f, id, "w", &released);
	assert_int_equal(before.attempt, released.attempt);
	every_write_of_a_lost_lease_is_fenced(f, &before);
	ok(ts_store_release(f->store, &released, &f->error));
	claim_id(f, id, "w", &now);
	assert_int_equal(released.attempt, now.attempt);
	every_write_of_a_lost_lease_is_fenced(f, &released);
	ok(ts_store_lease_check(f->store, &now, &f->error));
}

// --- the ends of an attempt ---

static void finish_stores_everything_at_once(void **state)
{
	struct fixture *f = *state;
	TS_AUTOTRANSCRIPT struct ts_transcript got;
	struct ts_lease lease;
	char id[TS_UUID_SIZE];
	struct ts_job job;

	ts_transcript_init(&got);
	submit_id(f, id);
	claim_id(f, id, "w", &lease);
	fails(TS_ERR_NOT_FOUND, ts_store_transcript(f->store, id, &got, &f->error));
	advance(f, 100);
	finish_lease(f, &lease);
	get(f, id, &job);
	assert_int_equal(job.state, TS_JOB_COMPLETED);
	assert_true(job.progress == 1);
	assert_int_equal(job.finished_at, T0 + 100);
	assert_int_equal(job.media_duration_ms, 4200);
	assert_null(job.lease_owner);
	assert_null(job.error_code);
	ts_job_finish(&job);
	ok(ts_store_transcript(f->store, id, &got, &f->error));
	assert_int_equal(got.segment_count, 2);
	assert_string_equal(got.segments[1].text, "jumps over the lazy dog");
	assert_int_equal(got.segments[1].word_count, 1);
	assert_string_equal(got.language, "en");
	assert_int_equal(counts_of(f).deliveries_pending, 1);
}

static void job_without_callback_leaves_no_delivery(void **state)
{
	struct fixture *f = *state;
	TS_AUTOJOB struct ts_job out;
	struct ts_job job = a_job();
	struct ts_lease lease;

	job.callback_url = NULL;
	ts_job_init(&out);
	submit_job(f, &job, &out);
	claim_id(f, out.id, "w", &lease);
	finish_lease(f, &lease);
	assert_int_equal(counts_of(f).deliveries_pending, 0);
}

static void failed_attempt_waits_for_its_time(void **state)
{
	struct fixture *f = *state;
	struct ts_error cause = cause_of(TS_ERR_NET_UNREACHABLE, "no route to host");
	struct ts_lease lease;
	enum ts_job_state after;
	char id[TS_UUID_SIZE];
	struct ts_job job;

	submit_id(f, id);
	claim_id(f, id, "w", &lease);
	ok(ts_store_heartbeat(f->store, &lease, LEASE, &(struct ts_progress){.fraction = 0.5, .stage = "fetching"},
	                      &f->error));
	ok(ts_store_fail(f->store, &lease, &cause, T0 + 7000, &after, &f->error));
	assert_int_equal(after, TS_JOB_QUEUED);
	get(f, id, &job);
	assert_int_equal(job.state, TS_JOB_QUEUED);
	assert_int_equal(job.attempt, 1);
	assert_int_equal(job.not_before, T0 + 7000);
	assert_string_equal(job.error_code, "media_unreachable");
	assert_string_equal(job.error_message, "no route to host");
	assert_null(job.lease_owner);
	assert_null(job.stage);
	assert_true(job.progress == 0);
	ts_job_finish(&job);
	fails(TS_ERR_NOT_FOUND, try_claim(f, id, "w", &lease)); // not due
	assert_int_equal(counts_of(f).deliveries_pending, 0);
	advance(f, 7000);
	claim_id(f, id, "w", &lease);
	assert_int_equal(lease.attempt, 2);
	every_write_of_a_lost_lease_is_fenced(
	    f, &(struct ts_lease){.attempt = 1, .fence = lease.fence, .owner = "w", .job_id = ""});
}

static void attempts_are_bounded(void **state)
{
	struct fixture *f = *state;
	struct ts_error cause = cause_of(TS_ERR_ENGINE, "the engine broke");
	struct ts_lease lease;
	enum ts_job_state after;
	char id[TS_UUID_SIZE];
	struct ts_job job;

	submit_id(f, id);
	for (int attempt = 1; attempt <= 3; attempt++) {
		claim_id(f, id, "w", &lease);
		assert_int_equal(lease.attempt, attempt);
		ok(ts_store_fail(f->store, &lease, &cause, now_of(f), &after, &f->error));
		assert_int_equal(after, attempt < 3 ? TS_JOB_QUEUED : TS_JOB_FAILED);
	}
	get(f, id, &job);
	assert_string_equal(job.error_code, "engine_failed");
	assert_int_equal(job.finished_at, T0);
	ts_job_finish(&job);
	fails(TS_ERR_NOT_FOUND, try_claim(f, id, "w", &lease));
	assert_int_equal(counts_of(f).deliveries_pending, 1);
	assert_int_equal(counts_of(f).outbox, 0);
}

static void last_expired_attempt_fails_on_claim(void **state)
{
	struct fixture *f = *state;
	struct ts_lease lease;
	char id[TS_UUID_SIZE];
	struct ts_job job;

	submit_id(f, id);
	for (int attempt = 1; attempt <= 3; attempt++) {
		claim_id(f, id, "w", &lease);
		advance(f, LEASE);
	}
	fails(TS_ERR_ATTEMPTS, try_claim(f, id, "w", &lease));
	get(f, id, &job);
	assert_int_equal(job.state, TS_JOB_FAILED);
	assert_string_equal(job.error_code, "attempts_exhausted");
	assert_non_null(strstr(job.error_message, "3 of 3"));
	ts_job_finish(&job);
	fails(TS_ERR_NOT_FOUND, try_claim(f, id, "w", &lease));
	assert_int_equal(counts_of(f).deliveries_pending, 1);
}

static void release_gives_the_attempt_back(void **state)
{
	struct fixture *f = *state;
	struct ts_outbox_item items[2];
	struct ts_lease lease;
	char id[TS_UUID_SIZE];
	struct ts_job job;
	size_t count;

	submit_id(f, id);
	for (int i = 0; i < 10; i++) { // more often than there are attempts
		claim_id(f, id, "w", &lease);
		assert_int_equal(lease.attempt, 1);
		ok(ts_store_release(f->store, &lease, &f->error));
	}
	get(f, id, &job);
	assert_int_equal(job.state, TS_JOB_QUEUED);
	assert_int_equal(job.attempt, 0);
	assert_null(job.lease_owner);
	ts_job_finish(&job);
	ok(ts_store_outbox_claim(f->store, 1000, items, 2, &count, &f->error));
	assert_int_equal(count, 1);
	assert_string_equal(items[0].job_id, id);
}

// --- housekeeping ---

static struct ts_reaped reap(struct fixture *f, int64_t orphan_after_ms)
{
	struct ts_reaped reaped;

	ok(ts_store_reap(f->store, orphan_after_ms, &reaped, &f->error));
	return reaped;
}

static void reap_takes_expired_leases_back(void **state)
{
	struct fixture *f = *state;
	struct ts_lease first, second, healthy;
	char id[TS_UUID_SIZE], tired[TS_UUID_SIZE], well[TS_UUID_SIZE];
	struct ts_reaped reaped;
	struct ts_job job;

	submit_id(f, id);
	submit_id(f, tired);
	submit_id(f, well);
	for (int i = 0; i < 2; i++) {
		claim_id(f, tired, "w", &second);
		advance(f, LEASE);
	}
	claim_id(f, id, "w", &first);
	claim_id(f, tired, "w", &second);
	assert_int_equal(second.attempt, 3);
	reaped = reap(f, INT64_C(1000000000));
	assert_int_equal(reaped.requeued + reaped.exhausted + reaped.republished, 0);
	advance(f, LEASE - 1);
	claim_id(f, well, "w", &healthy);
	advance(f, 1);
	reaped = reap(f, INT64_C(1000000000));
	assert_int_equal(reaped.requeued, 1);
	assert_int_equal(reaped.exhausted, 1);
	assert_int_equal(reaped.republished, 0);
	get(f, id, &job);
	assert_int_equal(job.state, TS_JOB_QUEUED);
	assert_int_equal(job.attempt, 1);
	assert_string_equal(job.error_code, "lease_lost");
	ts_job_finish(&job);
	assert_int_equal(state_of(f, tired), TS_JOB_FAILED);
	assert_int_equal(state_of(f, well), TS_JOB_PROCESSING);
	assert_int_equal(counts_of(f).outbox, 1);
	assert_int_equal(counts_of(f).deliveries_pending, 1);
	every_write_of_a_lost_lease_is_fenced(f, &first);
	every_write_of_a_lost_lease_is_fenced(f, &second);
	ok(ts_store_lease_check(f->store, &healthy, &f->error));
}

static void reap_mentions_forgotten_jobs(void **state)
{
	struct fixture *f = *state;
	struct ts_outbox_item items[4];
	char id[TS_UUID_SIZE];
	size_t count;

	submit_id(f, id);
	assert_int_equal(reap(f, 0).republished, 0); // its outbox row is still there
	ok(ts_store_outbox_claim(f->store, 1000, items, 4, &count, &f->error));
	ok(ts_store_outbox_done(f->store, items, count, &f->error)); // and the message was lost
	assert_int_equal(reap(f, 5000).republished, 0);
	advance(f, 4999);
	assert_int_equal(reap(f, 5000).republished, 0);
	advance(f, 1);
	assert_int_equal(reap(f, 5000).republished, 1);
	assert_int_equal(reap(f, 5000).republished, 0);
	ok(ts_store_outbox_claim(f->store, 1000, items, 4, &count, &f->error));
	assert_int_equal(count, 1);
	ok(ts_store_outbox_done(f->store, items, count, &f->error));
	assert_int_equal(reap(f, 5000).republished, 0); // mentioned a moment ago
	advance(f, 5000);
	assert_int_equal(reap(f, 5000).republished, 1);
}

static void retire_removes_old_final_jobs(void **state)
{
	struct fixture *f = *state;
	char ids[5][TS_UUID_SIZE];
	struct ts_lease lease;
	int64_t deleted;
	TS_AUTOJOB struct ts_job job;

	ts_job_init(&job);
	for (int i = 0; i < 5; i++)
		submit_id(f, ids[i]);
	for (int i = 0; i < 3; i++) {
		struct ts_delivery delivery = {0};
		struct ts_delivery_attempt attempt = {.started_at = now_of(f), .status = 204};
		claim_id(f, ids[i], "w", &lease);
		finish_lease(f, &lease);
		if (i == 0) { // its callback is still to be sent
			ok(ts_store_retire(f->store, INT64_MAX, 10, &deleted, &f->error));
			assert_int_equal(deleted, 0);
		}
		ok(ts_store_delivery_claim(f->store, 1000, &delivery, NULL, &f->error));
		ok(ts_store_delivery_record(f->store, &delivery, &attempt, TS_DELIVERY_DONE, 0, &f->error));
		ts_delivery_finish(&delivery);
		advance(f, 10);
	}
	claim_id(f, ids[3], "w", &lease);
	ok(ts_store_retire(f->store, T0, 10, &deleted, &f->error));
	assert_int_equal(deleted, 0);
	ok(ts_store_retire(f->store, T0 + 11, 1, &deleted, &f->error));
	assert_int_equal(deleted, 1);
	fails(TS_ERR_NOT_FOUND, ts_store_get(f->store, ids[0], &job, &f->error)); // the oldest first
	ok(ts_store_retire(f->store, INT64_MAX, 10, &deleted, &f->error));
	assert_int_equal(deleted, 2);
	assert_int_equal(state_of(f, ids[3]), TS_JOB_PROCESSING);
	assert_int_equal(state_of(f, ids[4]), TS_JOB_QUEUED);
}

// --- every illegal transition ---

static void bring_to(struct fixture *f, enum ts_job_state state, char id[TS_UUID_SIZE], struct ts_lease *lease)
{
	struct ts_error cause = cause_of(TS_ERR_ENGINE, "x");
	TS_AUTOJOB struct ts_job job;
	enum ts_job_state after;

	ts_job_init(&job);
	submit_id(f, id);
	*lease = (struct ts_lease){.owner = "w", .attempt = 1, .fence = 1};
	memcpy(lease->job_id, id, TS_UUID_SIZE);
	if (state == TS_JOB_CANCELLED)
		ok(ts_store_cancel(f->store, id, &job, &f->error));
	if (state == TS_JOB_QUEUED || state == TS_JOB_CANCELLED)
		return;
	claim_id(f, id, "w", lease);
	if (state == TS_JOB_COMPLETED)
		finish_lease(f, lease);
	else if (state == TS_JOB_FAILED)
		ok(ts_store_fail(f->store, lease, &cause, 0, &after, &f->error));
}

// Each way to change a job, by the state it leads to.
static void try_everything(struct fixture *f, const char *id, const struct ts_lease *lease, int how)
{
	struct ts_error cause = cause_of(TS_ERR_ENGINE, "x");
	TS_AUTOTRANSCRIPT struct ts_transcript transcript;
	TS_AUTOJOB struct ts_job job;
	enum ts_job_state after;
	struct ts_lease other;
	struct ts_reaped reaped;
	enum ts_err ignored = TS_OK;

	ts_job_init(&job);
	a_transcript(&transcript);
	switch (how) {
	case 0: ignored = ts_store_claim(f->store, id, "other", LEASE, &job, &other, &f->error); break;
	case 1: ignored = ts_store_release(f->store, lease, &f->error); break;
	case 2: ignored = ts_store_fail(f->store, lease, &cause, now_of(f) + 1, &after, &f->error); break;
	case 3: ignored = ts_store_fail(f->store, lease, &cause, 0, &after, &f->error); break;
	case 4: ignored = ts_store_finish(f->store, lease, &transcript, &f->error); break;
	case 5: ignored = ts_store_cancel(f->store, id, &job, &f->error); break;
	case 6: ignored = ts_store_retry(f->store, id, &job, &f->error); break;
	case 7: ignored = ts_store_reap(f->store, 0, &reaped, &f->error); break;
	case 8: ignored = ts_store_heartbeat(f->store, lease, LEASE, &(struct ts_progress){0}, &f->error); break;
	default: fail_msg("no such way"); break;
	}
	(void)ignored;
}

static void only_legal_transitions_happen(void **state)
{
	struct fixture *f = *state;
	bool seen[TS_JOB_STATE_COUNT][TS_JOB_STATE_COUNT] = {{false}};

	for (int from = 0; from < TS_JOB_STATE_COUNT; from++) {
		for (int how = 0; how < 9; how++) {
			for (int expired = 0; expired < 2; expired++) {
				struct ts_lease lease;
				char id[TS_UUID_SIZE];
				bring_to(f, (enum ts_job_state)from, id, &lease);
				if (expired)
					advance(f, LEASE);
				try_everything(f, id, &lease, how);
				enum ts_job_state to = state_of(f, id);
				seen[from][to] = true;
				if ((int)to != from && !ts_job_transition_is_legal((enum ts_job_state)from, to))
					fail_msg("%s became %s by way %d", ts_job_state_name((enum ts_job_state)from),
					         ts_job_state_name(to), how);
			}
		}
	}
	// What a single step can reach was reached; queued -> failed needs more than one.
	for (int from = 0; from < TS_JOB_STATE_COUNT; from++)
		for (int to = 0; to < TS_JOB_STATE_COUNT; to++)
			if (ts_job_transition_is_legal((enum ts_job_state)from, (enum ts_job_state)to) &&
			    !(from == TS_JOB_QUEUED && to == TS_JOB_FAILED))
				assert_true(seen[from][to]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    store_test(outbox_is_leased_and_done),
	    store_test(done_does_not_remove_a_newer_mention),
	    store_test(claim_takes_the_job),
	    store_test(heartbeat_extends_and_tells),
	    store_test(expired_lease_is_stolen_and_the_old_owner_fenced),
	    store_test(a_lease_of_an_earlier_life_is_fenced),
	    store_test(finish_stores_everything_at_once),
	    store_test(job_without_callback_leaves_no_delivery),
	    store_test(failed_attempt_waits_for_its_time),
	    store_test(attempts_are_bounded),
	    store_test(last_expired_attempt_fails_on_claim),
	    store_test(release_gives_the_attempt_back),
	    store_test(reap_takes_expired_leases_back),
	    store_test(reap_mentions_forgotten_jobs),
	    store_test(retire_removes_old_final_jobs),
	    store_test(only_legal_transitions_happen),
	};

	return run_store_tests(tests);
}
