// Contract of the store: submitting, reading, a user's decisions, uploads.
#include "store_fixture.h"

static void submitted_job_is_stored_whole(void **state)
{
	struct fixture *f = *state;
	TS_AUTOJOB struct ts_job out, got;
	struct ts_job job = a_job();
	char media[] = "https://media.example/v.mp4", language[] = "en", metadata[] = "{\"a\":1}", request[] = "req-1";
	char trace[] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

	job.media_url = media;
	job.language = language;
	job.metadata = metadata;
	job.request_id = request;
	job.traceparent = trace;
	job.priority = TS_PRIORITY_LOW;
	job.state = TS_JOB_COMPLETED; // ignored, like id, attempt and created_at
	job.attempt = 7;
	job.created_at = 5;
	ts_job_init(&out);
	ts_job_init(&got);
	submit_job(f, &job, &out);
	assert_true(ts_uuid_is_valid(out.id));
	ok(ts_store_get(f->store, out.id, &got, &f->error));
	assert_string_equal(got.id, out.id);
	assert_string_equal(got.video_id, "video-1");
	assert_string_equal(got.user_id, "user-1");
	assert_string_equal(got.callback_url, job.callback_url);
	assert_string_equal(got.media_url, media);
	assert_string_equal(got.language, language);
	assert_string_equal(got.metadata, metadata);
	assert_string_equal(got.request_id, request);
	assert_string_equal(got.traceparent, trace);
	assert_null(got.upload_id);
	assert_null(got.lease_owner);
	assert_null(got.stage);
	assert_int_equal(got.priority, TS_PRIORITY_LOW);
	assert_int_equal(got.state, TS_JOB_QUEUED);
	assert_int_equal(got.attempt, 0);
	assert_int_equal(got.max_attempts, 3);
	assert_int_equal(got.created_at, T0);
	assert_int_equal(got.updated_at, T0);
	assert_int_equal(got.started_at, 0);
	assert_int_equal(got.finished_at, 0);
	assert_int_equal(counts_of(f).outbox, 1);
	assert_int_equal(counts_of(f).jobs[TS_JOB_QUEUED], 1);
	assert_int_equal(counts_of(f).oldest_queued_at, T0);
	ok(ts_store_ping(f->store, &f->error));
}

static void unusual_texts_survive(void **state)
{
	struct fixture *f = *state;
	TS_AUTOJOB struct ts_job out;
	struct ts_job job = a_job();
	char video[] = "'; DROP TABLE jobs; --", user[] = "\xf0\x9f\x8e\xac \"%s\" \\ \x01";

	job.video_id = video;
	job.user_id = user;
	ts_job_init(&out);
	submit_job(f, &job, &out);
	ok(ts_store_get(f->store, out.id, &out, &f->error));
	assert_string_equal(out.video_id, video);
	assert_string_equal(out.user_id, user);
}

static void job_without_user_is_one(void **state)
{
	struct fixture *f = *state;
	struct ts_job_filter filter = {.limit = 5};
	struct ts_job job = a_job();
	struct ts_job_page page;
	TS_AUTOJOB struct ts_job out;

	ts_job_init(&out);
	job.user_id = NULL;
	submit_job(f, &job, &out);
	assert_null(out.user_id);
	ok(ts_store_list(f->store, &filter, &page, &f->error));
	assert_int_equal(page.count, 1);
	assert_null(page.jobs[0].user_id);
	ts_job_page_finish(&page);
}

static void submit_refuses_what_no_job_can_be(void **state)
{
	struct fixture *f = *state;
	TS_AUTOJOB struct ts_job out;
	struct ts_job job = a_job();
	struct ts_submit submit = {.job = &job};
	bool replayed;

	ts_job_init(&out);
	job.video_id = NULL;
	fails(TS_ERR_INVALID, ts_store_submit(f->store, &submit, &out, &replayed, &f->error));
	assert_string_equal(f->error.field, "video_id");
	job = a_job();
	job.max_attempts = 0;
	fails(TS_ERR_INVALID, ts_store_submit(f->store, &submit, &out, &replayed, &f->error));
	assert_string_equal(f->error.field, "max_attempts");
	assert_int_equal(counts_of(f).jobs[TS_JOB_QUEUED], 0);
}

static void unknown_ids_are_not_found(void **state)
{
	struct fixture *f = *state;
	TS_AUTOJOB struct ts_job job;
	TS_AUTOTRANSCRIPT struct ts_transcript transcript;
	struct ts_delivery_list list = {0};
	struct ts_upload upload = {0};
	const char *id = "01935d7e-0000-7000-8000-000000000000";

	ts_job_init(&job);
	ts_transcript_init(&transcript);
	fails(TS_ERR_NOT_FOUND, ts_store_get(f->store, id, &job, &f->error));
	assert_non_null(strstr(f->error.message, id));
	fails(TS_ERR_NOT_FOUND, ts_store_get(f->store, "", &job, &f->error));
	fails(TS_ERR_NOT_FOUND, ts_store_transcript(f->store, id, &transcript, &f->error));
	fails(TS_ERR_NOT_FOUND, ts_store_cancel(f->store, id, &job, &f->error));
	fails(TS_ERR_NOT_FOUND, ts_store_retry(f->store, id, &job, &f->error));
	fails(TS_ERR_NOT_FOUND, ts_store_delete(f->store, id, &f->error));
	fails(TS_ERR_NOT_FOUND, ts_store_deliveries(f->store, id, &list, &f->error));
	fails(TS_ERR_NOT_FOUND, ts_store_redeliver(f->store, id, 1, &f->error));
	fails(TS_ERR_NOT_FOUND, ts_store_upload_get(f->store, id, &upload, &f->error));
}

// --- idempotency and backlog ---

static void idempotency_key_gives_the_same_job(void **state)
{
	struct fixture *f = *state;
	TS_AUTOJOB struct ts_job first, second;
	struct ts_job job = a_job();
	struct ts_submit submit = {
	    .job = &job, .idempotency_key = "caller/k", .request_digest = "d1", .idempotency_ttl_ms = 1000};
	bool replayed;

	ts_job_init(&first);
	ts_job_init(&second);
	ok(ts_store_submit(f->store, &submit, &first, &replayed, &f->error));
	assert_false(replayed);
	advance(f, 999);
	ok(ts_store_submit(f->store, &submit, &second, &replayed, &f->error));
	assert_true(replayed);
	assert_string_equal(first.id, second.id);
	assert_int_equal(counts_of(f).outbox, 1);

	submit.request_digest = "d2";
	fails(TS_ERR_CONFLICT, ts_store_submit(f->store, &submit, &second, &replayed, &f->error));
	assert_string_equal(f->error.field, "Idempotency-Key");

	advance(f, 1); // past its time: a new job
	ok(ts_store_submit(f->store, &submit, &second, &replayed, &f->error));
	assert_false(replayed);
	assert_string_not_equal(first.id, second.id);
	ok(ts_store_submit(f->store, &submit, &second, &replayed, &f->error));
	assert_true(replayed);
}

static void key_of_a_deleted_job_is_free(void **state)
{
	struct fixture *f = *state;
	TS_AUTOJOB struct ts_job out;
	struct ts_job job = a_job();
	struct ts_submit submit = {
	    .job = &job, .idempotency_key = "k", .request_digest = "d", .idempotency_ttl_ms = 100000};
	bool replayed;

	ts_job_init(&out);
	ok(ts_store_submit(f->store, &submit, &out, &replayed, &f->error));
	ok(ts_store_delete(f->store, out.id, &f->error));
	ok(ts_store_submit(f->store, &submit, &out, &replayed, &f->error));
	assert_false(replayed);
}

static void backlog_has_a_ceiling(void **state)
{
	struct fixture *f = *state;
	TS_AUTOJOB struct ts_job out;
	struct ts_job job = a_job();
	struct ts_submit submit = {
	    .job = &job, .max_queued = 2, .idempotency_key = "k", .request_digest = "d", .idempotency_ttl_ms = 1000};
	struct ts_lease lease;
	bool replayed;
	char id[TS_UUID_SIZE];

	submit_id(f, id);
	claim_id(f, id, "w", &lease);
	ts_job_init(&out);
	ok(ts_store_submit(f->store, &submit, &out, &replayed, &f->error));
	ok(ts_store_submit(f->store, &submit, &out, &replayed, &f->error)); // a replay adds nothing
	assert_true(replayed);
	submit.idempotency_key = submit.request_digest = NULL;
	fails(TS_ERR_BUSY, ts_store_submit(f->store, &submit, &out, &replayed, &f->error));
	finish_lease(f, &lease); // final jobs do not count
	ok(ts_store_submit(f->store, &submit, &out, &replayed, &f->error));
	fails(TS_ERR_BUSY, ts_store_submit(f->store, &submit, &out, &replayed, &f->error));
}

// --- lists ---

static void submit_for(struct fixture *f, const char *user, const char *video, char id[TS_UUID_SIZE])
{
	TS_AUTOJOB struct ts_job out;
	TS_AUTOFREE char *user_id = ts_strdup(user);
	TS_AUTOFREE char *video_id = ts_strdup(video);
	struct ts_job job = a_job();

	job.user_id = user_id;
	job.video_id = video_id;
	ts_job_init(&out);
	submit_job(f, &job, &out);
	memcpy(id, out.id, TS_UUID_SIZE);
}

// Walks all pages; checks the order; returns how many jobs came.
static size_t walk(struct fixture *f, struct ts_job_filter filter)
{
	TS_AUTOFREE char *cursor = NULL;
	char last[TS_UUID_SIZE] = "~";
	size_t count = 0;

	do {
		struct ts_job_page page;
		filter.cursor = cursor;
		ok(ts_store_list(f->store, &filter, &page, &f->error));
		assert_true(page.count <= filter.limit);
		assert_true(page.count == filter.limit || !page.next_cursor);
		for (size_t i = 0; i < page.count; i++) {
			assert_true(strcmp(page.jobs[i].id, last) < 0); // newest first, none twice
			memcpy(last, page.jobs[i].id, sizeof last);
		}
		count += page.count;
		ts_free(cursor);
		cursor = page.next_cursor;
		page.next_cursor = NULL;
		ts_job_page_finish(&page);
	} while (cursor);
	return count;
}

static void pages_walk_every_job_once(void **state)
{
	struct fixture *f = *state;
	char ids[25][TS_UUID_SIZE];
	struct ts_lease lease;

	for (int i = 0; i < 25; i++) {
		submit_for(f, i % 2 ? "odd" : "even", i % 5 ? "v" : "five", ids[i]);
		advance(f, 1);
	}
	claim_id(f, ids[3], "w", &lease);
	for (unsigned limit = 1; limit <= 26; limit += 4)
		assert_int_equal(walk(f, (struct ts_job_filter){.limit = limit}), 25);
	assert_int_equal(walk(f, (struct ts_job_filter){.limit = 4, .user_id = "odd"}), 12);
	assert_int_equal(walk(f, (struct ts_job_filter){.limit = 4, .user_id = "nobody"}), 0);
	assert_int_equal(walk(f, (struct ts_job_filter){.limit = 2, .video_id = "five"}), 5);
	assert_int_equal(walk(f, (struct ts_job_filter){.limit = 2, .video_id = "five", .user_id = "even"}), 3);
	assert_int_equal(walk(f, (struct ts_job_filter){.limit = 9, .has_state = true, .state = TS_JOB_QUEUED}), 24);
	assert_int_equal(walk(f, (struct ts_job_filter){.limit = 9, .has_state = true, .state = TS_JOB_PROCESSING}), 1);
	assert_int_equal(
	    walk(f, (struct ts_job_filter){.limit = 9, .user_id = "odd", .has_state = true, .state = TS_JOB_QUEUED}), 11);
	assert_int_equal(walk(f, (struct ts_job_filter){.limit = 9, .created_after = T0 + 9}), 15);
	assert_int_equal(walk(f, (struct ts_job_filter){.limit = 9, .created_before = T0 + 9}), 9);
	assert_int_equal(walk(f, (struct ts_job_filter){.limit = 9, .created_after = T0 + 9, .created_before = T0 + 12}),
	                 2);
}

static void jobs_of_one_instant_page_too(void **state)
{
	struct fixture *f = *state;
	char id[TS_UUID_SIZE];
	struct ts_job_page page;
	struct ts_job_filter filter = {.limit = 3};
	size_t count = 0;
	TS_AUTOFREE char *cursor = NULL;

	for (int i = 0; i < 10; i++)
		submit_id(f, id);
	do {
		filter.cursor = cursor;
		ok(ts_store_list(f->store, &filter, &page, &f->error));
		count += page.count;
		ts_free(cursor);
		cursor = page.next_cursor;
		page.next_cursor = NULL;
		ts_job_page_finish(&page);
	} while (cursor);
	assert_int_equal(count, 10);
}

static void bad_cursors_and_limits_are_named(void **state)
{
	struct fixture *f = *state;
	static const char *const cursors[] = {"",
	                                      "x",
	                                      "0000000000000000",
	                                      "g00000000000000000000000000000000000000000000000",
	                                      "f00000000000000000000000000000000000000000000000",
	                                      "0000000000000000000000000000000000000000000000000"};
	struct ts_job_page page;

	for (size_t i = 0; i < sizeof cursors / sizeof cursors[0]; i++) {
		struct ts_job_filter filter = {.limit = 1, .cursor = cursors[i]};
		fails(TS_ERR_INVALID, ts_store_list(f->store, &filter, &page, &f->error));
		assert_string_equal(f->error.field, "cursor");
	}
	for (unsigned limit = 0; limit <= TS_STORE_PAGE_MAX + 1; limit += TS_STORE_PAGE_MAX + 1) {
		struct ts_job_filter filter = {.limit = limit};
		fails(TS_ERR_INVALID, ts_store_list(f->store, &filter, &page, &f->error));
		assert_string_equal(f->error.field, "limit");
	}
}

// --- a user's decisions ---

static void cancel_is_final_at_once(void **state)
{
	struct fixture *f = *state;
	TS_AUTOJOB struct ts_job job;
	struct ts_lease lease;
	char queued[TS_UUID_SIZE], running[TS_UUID_SIZE];
	enum ts_job_state after = TS_JOB_QUEUED;
	TS_AUTOTRANSCRIPT struct ts_transcript transcript;
	struct ts_error cause = {.code = TS_ERR_ENGINE, .message = "x"};

	ts_job_init(&job);
	submit_id(f, queued);
	submit_id(f, running);
	claim_id(f, running, "w", &lease);
	ok(ts_store_cancel(f->store, queued, &job, &f->error));
	assert_int_equal(job.state, TS_JOB_CANCELLED);
	assert_int_equal(job.finished_at, T0);
	ok(ts_store_cancel(f->store, running, &job, &f->error));
	assert_int_equal(job.state, TS_JOB_CANCELLED);
	assert_null(job.lease_owner);
	assert_int_equal(counts_of(f).deliveries_pending, 2);
	assert_int_equal(counts_of(f).outbox, 0);

	// The worker finds its lease gone, whatever it tries.
	a_transcript(&transcript);
	fails(TS_ERR_FENCED, ts_store_lease_check(f->store, &lease, &f->error));
	fails(TS_ERR_FENCED, ts_store_heartbeat(f->store, &lease, LEASE, &(struct ts_progress){0}, &f->error));
	fails(TS_ERR_FENCED, ts_store_release(f->store, &lease, &f->error));
	fails(TS_ERR_FENCED, ts_store_fail(f->store, &lease, &cause, T0 + 1, &after, &f->error));
	fails(TS_ERR_FENCED, ts_store_fail(f->store, &lease, &cause, 0, &after, &f->error));
	fails(TS_ERR_FENCED, ts_store_finish(f->store, &lease, &transcript, &f->error));
	assert_int_equal(state_of(f, running), TS_JOB_CANCELLED);
	fails(TS_ERR_NOT_FOUND, ts_store_transcript(f->store, running, &transcript, &f->error));

	fails(TS_ERR_CONFLICT, ts_store_cancel(f->store, running, &job, &f->error));
	assert_string_equal(job.id, running); // filled all the same
	assert_int_equal(counts_of(f).deliveries_pending, 2);
}

static void retry_starts_over(void **state)
{
	struct fixture *f = *state;
	TS_AUTOJOB struct ts_job job;
	struct ts_lease lease;
	struct ts_error cause = {.code = TS_ERR_MEDIA_NO_AUDIO, .message = "no audio stream"};
	enum ts_job_state after;
	char id[TS_UUID_SIZE];

	ts_job_init(&job);
	submit_id(f, id);
	fails(TS_ERR_CONFLICT, ts_store_retry(f->store, id, &job, &f->error));
	assert_int_equal(job.state, TS_JOB_QUEUED);
	claim_id(f, id, "w", &lease);
	fails(TS_ERR_CONFLICT, ts_store_retry(f->store, id, &job, &f->error));
	ok(ts_store_fail(f->store, &lease, &cause, 0, &after, &f->error));
	assert_int_equal(after, TS_JOB_FAILED);
	assert_int_equal(counts_of(f).outbox, 0);
	ok(ts_store_retry(f->store, id, &job, &f->error));
	assert_int_equal(job.state, TS_JOB_QUEUED);
	assert_int_equal(job.attempt, 0);
	assert_int_equal(job.finished_at, 0);
	assert_null(job.error_code);
	assert_null(job.error_message);
	assert_int_equal(counts_of(f).outbox, 1);
	claim_id(f, id, "w", &lease);
	finish_lease(f, &lease);
	fails(TS_ERR_CONFLICT, ts_store_retry(f->store, id, &job, &f->error));
	assert_int_equal(state_of(f, id), TS_JOB_COMPLETED);
	assert_int_equal(counts_of(f).deliveries_pending, 2); // one for each final event
}

static void delete_removes_everything(void **state)
{
	struct fixture *f = *state;
	TS_AUTOTRANSCRIPT struct ts_transcript transcript;
	TS_AUTOJOB struct ts_job job;
	struct ts_lease lease;
	char id[TS_UUID_SIZE], running[TS_UUID_SIZE];

	ts_job_init(&job);
	ts_transcript_init(&transcript);
	submit_id(f, id);
	submit_id(f, running);
	claim_id(f, id, "w", &lease);
	finish_lease(f, &lease);
	ok(ts_store_delete(f->store, id, &f->error));
	fails(TS_ERR_NOT_FOUND, ts_store_get(f->store, id, &job, &f->error));
	fails(TS_ERR_NOT_FOUND, ts_store_transcript(f->store, id, &transcript, &f->error));
	assert_int_equal(counts_of(f).deliveries_pending, 0);
	fails(TS_ERR_NOT_FOUND, ts_store_delete(f->store, id, &f->error));
	claim_id(f, running, "w", &lease);
	ok(ts_store_delete(f->store, running, &f->error));
	fails(TS_ERR_FENCED, ts_store_heartbeat(f->store, &lease, LEASE, &(struct ts_progress){0}, &f->error));
	assert_int_equal(counts_of(f).outbox, 0);
}

// --- uploads ---

static void make_upload(struct fixture *f, int64_t expires_at, char id[TS_UUID_SIZE])
{
	char path[] = "ab/cd", filename[] = "talk.mp4", user[] = "user-1";
	struct ts_upload upload = {
	    .path = path, .filename = filename, .user_id = user, .size = 123, .expires_at = expires_at};

	ok(ts_store_upload_create(f->store, &upload, &f->error));
	assert_true(ts_uuid_is_valid(upload.id));
	assert_int_equal(upload.created_at, now_of(f));
	memcpy(id, upload.id, TS_UUID_SIZE);
}

static size_t expired(struct fixture *f, char id[TS_UUID_SIZE])
{
	struct ts_upload items[4];
	size_t count;

	ok(ts_store_uploads_expired(f->store, items, 4, &count, &f->error));
	for (size_t i = 0; i < count; i++) {
		memcpy(id, items[i].id, TS_UUID_SIZE);
		assert_string_equal(items[i].path, "ab/cd");
		ts_upload_finish(&items[i]);
	}
	return count;
}

static enum ts_err submit_upload(struct fixture *f, char *upload_id, struct ts_job *out)
{
	struct ts_job job = a_job();
	struct ts_submit submit = {.job = &job};
	bool replayed;

	job.upload_id = upload_id;
	return ts_store_submit(f->store, &submit, out, &replayed, &f->error);
}

static void upload_lives_with_its_job(void **state)
{
	struct fixture *f = *state;
	TS_AUTOJOB struct ts_job job, other;
	struct ts_upload got = {0};
	char id[TS_UUID_SIZE], seen[TS_UUID_SIZE] = "";

	ts_job_init(&job);
	ts_job_init(&other);
	make_upload(f, T0 + 1000, id);
	ok(ts_store_upload_get(f->store, id, &got, &f->error));
	assert_string_equal(got.filename, "talk.mp4");
	assert_string_equal(got.user_id, "user-1");
	assert_int_equal(got.size, 123);
	assert_int_equal(got.expires_at, T0 + 1000);
	ts_upload_finish(&got);

	ok(submit_upload(f, id, &job));
	assert_string_equal(job.upload_id, id);
	fails(TS_ERR_CONFLICT, submit_upload(f, id, &other));
	assert_string_equal(f->error.field, "upload_id");
	assert_int_equal(counts_of(f).jobs[TS_JOB_QUEUED], 1); // nothing is left of the refused one
	advance(f, 5000);
	assert_int_equal(expired(f, seen), 0); // in use
	fails(TS_ERR_CONFLICT, ts_store_upload_forget(f->store, id, &f->error));
	ok(ts_store_delete(f->store, job.id, &f->error));
	assert_int_equal(expired(f, seen), 1);
	assert_string_equal(seen, id);
	fails(TS_ERR_NOT_FOUND, submit_upload(f, id, &other)); // its file may be gone already
	ok(ts_store_upload_forget(f->store, id, &f->error));
	ok(ts_store_upload_forget(f->store, id, &f->error));
	assert_int_equal(expired(f, seen), 0);
}

static void unused_upload_expires(void **state)
{
	struct fixture *f = *state;
	TS_AUTOJOB struct ts_job job;
	char id[TS_UUID_SIZE], seen[TS_UUID_SIZE] = "", path[] = "p";
	struct ts_upload twin = {.path = path};

	ts_job_init(&job);
	make_upload(f, T0 + 1000, id);
	memcpy(twin.id, id, sizeof twin.id);
	fails(TS_ERR_CONFLICT, ts_store_upload_create(f->store, &twin, &f->error));
	assert_int_equal(expired(f, seen), 0);
	advance(f, 1000);
	fails(TS_ERR_NOT_FOUND, submit_upload(f, id, &job));
	assert_string_equal(f->error.field, "upload_id");
	assert_int_equal(expired(f, seen), 1);
	memcpy(twin.id, "not-a-uuid", 11);
	fails(TS_ERR_INVALID, ts_store_upload_create(f->store, &twin, &f->error));
}

static size_t found(struct fixture *f, const char *words)
{
	struct ts_job_filter filter = {.words = words, .limit = 10};
	struct ts_job_page page;

	ok(ts_store_list(f->store, &filter, &page, &f->error));
	size_t count = page.count;
	ts_job_page_finish(&page);
	return count;
}

static void words_of_transcripts_are_found(void **state)
{
	struct fixture *f = *state;
	struct ts_job_filter filter = {.limit = 10};
	struct ts_lease lease;
	struct ts_job_page page;
	char id[TS_UUID_SIZE], waiting[TS_UUID_SIZE];
	char longer[TS_STORE_WORDS_MAX + 2];

	submit_id(f, waiting);
	for (int i = 0; i < 2; i++) {
		submit_id(f, id);
		claim_id(f, id, "w", &lease);
		if (i == 0) {
			finish_lease(f, &lease); // the quick brown fox jumps over the lazy dog
			continue;
		}
		TS_AUTOTRANSCRIPT struct ts_transcript transcript;
		struct ts_segment segment;
		ts_transcript_init(&transcript);
		ts_segment_init(&segment);
		segment.text = ts_strdup("Grüße from well-known.example, isn't it: 3.14 percent");
		segment.end_ms = 1000;
		ok(ts_transcript_add(&transcript, &segment, &f->error));
		ok(ts_store_finish(f->store, &lease, &transcript, &f->error));
	}
	assert_int_equal(found(f, "fox"), 1);
	assert_int_equal(found(f, "DOG the \"quick"), 1);
	assert_int_equal(found(f, "fox percent"), 0);
	assert_int_equal(found(f, "fo"), 0);
	assert_int_equal(found(f, "example"), 1);
	assert_int_equal(found(f, "grüße"), 1);
	assert_int_equal(found(f, "isn't well-known OR (3.14*"), 0); // "OR" is a word like any other
	assert_int_equal(found(f, "isn't well-known (3.14*"), 1);
	filter.words = "fox";
	filter.has_state = true;
	filter.state = TS_JOB_QUEUED;
	ok(ts_store_list(f->store, &filter, &page, &f->error));
	assert_int_equal(page.count, 0);
	ts_job_page_finish(&page);
	filter.words = " -*'\"";
	fails(TS_ERR_INVALID, ts_store_list(f->store, &filter, &page, &f->error));
	assert_string_equal(f->error.field, "q");
	memset(longer, 'a', sizeof longer - 1);
	longer[sizeof longer - 1] = '\0';
	filter.words = longer;
	fails(TS_ERR_INVALID, ts_store_list(f->store, &filter, &page, &f->error));
	ok(ts_store_delete(f->store, id, &f->error));
	assert_int_equal(found(f, "percent"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    store_test(submitted_job_is_stored_whole),
	    store_test(unusual_texts_survive),
	    store_test(job_without_user_is_one),
	    store_test(submit_refuses_what_no_job_can_be),
	    store_test(unknown_ids_are_not_found),
	    store_test(idempotency_key_gives_the_same_job),
	    store_test(key_of_a_deleted_job_is_free),
	    store_test(backlog_has_a_ceiling),
	    store_test(pages_walk_every_job_once),
	    store_test(jobs_of_one_instant_page_too),
	    store_test(bad_cursors_and_limits_are_named),
	    store_test(cancel_is_final_at_once),
	    store_test(retry_starts_over),
	    store_test(delete_removes_everything),
	    store_test(upload_lives_with_its_job),
	    store_test(unused_upload_expires),
	    store_test(words_of_transcripts_are_found),
	};

	return run_store_tests(tests);
}
