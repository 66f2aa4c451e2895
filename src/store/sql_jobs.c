// Submitting, reading and the user's decisions in the store.
#include "base/buf.h"
#include "base/mem.h"
#include "store/store_sql.h"

#include <string.h>

// --- submitting ---

struct key_row {
	char *digest;
	char job_id[TS_UUID_SIZE];
};

static enum ts_err read_key(const struct ts_sql_row *row, void *ctx, struct ts_error *error)
{
	struct key_row *key = ctx;

	ts_sql_uuid(row, 1, key->job_id);
	return ts_sql_text(row, 0, &key->digest, error);
}

// The job of an Idempotency-Key that was seen before; *out_found false when it was not.
static enum ts_err replay(struct ts_sql_tx *tx, const struct ts_submit *submit, struct ts_sql_job *out, bool *out_found,
                          struct ts_error *error)
{
	struct key_row key = {0};
	int64_t rows;

	enum ts_err err = TS_SQL(tx, KEY_GET, read_key, &key, &rows, error, TS_T(submit->idempotency_key), TS_I(tx->now));
	TS_AUTOFREE char *digest = key.digest;
	TS_TRY(err);
	*out_found = rows > 0;
	if (rows == 0)
		return TS_OK;
	if (strcmp(digest, submit->request_digest) != 0)
		return ts_fail_field(error, TS_ERR_CONFLICT, "Idempotency-Key", "was used before for another request");
	return TS_SQL(tx, JOB_GET, ts_sql_row_job, out, NULL, error, TS_T(key.job_id));
}

static enum ts_err attach_upload(struct ts_sql_tx *tx, const char *upload_id, const char *job_id,
                                 struct ts_error *error)
{
	int64_t count;

	TS_TRY(TS_SQL(tx, UPLOAD_ATTACH, NULL, NULL, &count, error, TS_T(upload_id), TS_T(job_id), TS_I(tx->now)));
	if (count > 0)
		return TS_OK;
	TS_TRY(TS_SQL(tx, UPLOAD_TAKEN, ts_sql_row_any, NULL, &count, error, TS_T(upload_id)));
	if (count > 0)
		return ts_fail_field(error, TS_ERR_CONFLICT, "upload_id", "this upload belongs to another transcription");
	return ts_fail_field(error, TS_ERR_NOT_FOUND, "upload_id", "there is no such upload, or it has expired");
}

// Far below its ceiling the backlog need not be counted for each submit, nor submits take turns: what others may add
// until the next count lies within the slack.
#define BACKLOG_FRESH_MS 250
#define BACKLOG_SLACK 1000

static bool far_below(struct ts_sql *sql, int64_t max_queued)
{
	bool far;

	pthread_mutex_lock(&sql->backlog.mutex);
	far = sql->backlog.counted_at != 0 && ts_mono_ms(ts_clock_system()) - sql->backlog.counted_at < BACKLOG_FRESH_MS &&
	      sql->backlog.count + BACKLOG_SLACK < max_queued;
	if (far)
		sql->backlog.count++;
	pthread_mutex_unlock(&sql->backlog.mutex);
	return far;
}

static enum ts_err check_backlog(struct ts_sql_tx *tx, int64_t max_queued, struct ts_error *error)
{
	struct ts_sql *sql = tx->sql;
	int64_t backlog = 0;

	if (far_below(sql, max_queued))
		return TS_OK;
	TS_TRY(ts_sql_run(tx, TS_SQL_BACKLOG, NULL, 0, ts_sql_row_int, &backlog, NULL, error));
	if (backlog + BACKLOG_SLACK >= max_queued) { // close to the ceiling it is exact
		TS_TRY(ts_sql_lock(tx, "backlog", error));
		TS_TRY(ts_sql_run(tx, TS_SQL_BACKLOG, NULL, 0, ts_sql_row_int, &backlog, NULL, error));
	}
	if (backlog >= max_queued)
		return ts_fail(error, TS_ERR_BUSY, "%lld transcriptions are waiting, which is as many as allowed",
		               (long long)backlog);
	pthread_mutex_lock(&sql->backlog.mutex);
	sql->backlog.count = backlog + 1;
	sql->backlog.counted_at = ts_mono_ms(ts_clock_system());
	pthread_mutex_unlock(&sql->backlog.mutex);
	return TS_OK;
}

static enum ts_err insert_job(struct ts_sql_tx *tx, const struct ts_submit *submit, struct ts_sql_job *out,
                              struct ts_error *error)
{
	const struct ts_job *job = submit->job;
	char id[TS_UUID_SIZE];

	if (submit->max_queued > 0)
		TS_TRY(check_backlog(tx, submit->max_queued, error));
	ts_uuid7(tx->sql->rng, tx->now, id);
	TS_TRY(TS_SQL(tx, JOB_INSERT, ts_sql_row_job, out, NULL, error, TS_T(id), TS_T(job->video_id), TS_T(job->user_id),
	              TS_T(job->callback_url), TS_T(job->media_url), TS_T(job->upload_id), TS_T(job->language),
	              TS_T(job->metadata), TS_T(job->request_id), TS_T(job->traceparent), TS_I(job->priority),
	              TS_I(job->max_attempts), TS_I(job->not_before), TS_I(tx->now)));
	if (job->upload_id)
		TS_TRY(attach_upload(tx, job->upload_id, id, error));
	return ts_sql_mention(tx, &out->job, job->not_before > tx->now ? job->not_before : tx->now, error);
}

enum ts_err ts_sql_submit(struct ts_store *store, const struct ts_submit *submit, struct ts_job *out_job,
                          bool *out_replayed, struct ts_error *error)
{
	TS_AUTOTX struct ts_sql_tx tx = {0};
	TS_AUTOJOBROW struct ts_sql_job row = {0};
	bool replayed = false;

	TS_TRY(ts_sql_begin(ts_sql_of(store), TS_TX_DURABLE, &tx, error));
	if (submit->idempotency_key) {
		TS_TRY(ts_sql_lock(&tx, submit->idempotency_key, error));
		TS_TRY(replay(&tx, submit, &row, &replayed, error));
	}
	if (!replayed) {
		TS_TRY(insert_job(&tx, submit, &row, error));
		if (submit->idempotency_key)
			TS_TRY(TS_SQL(&tx, KEY_PUT, NULL, NULL, NULL, error, TS_T(submit->idempotency_key),
			              TS_T(submit->request_digest), TS_T(row.job.id), TS_I(tx.now + submit->idempotency_ttl_ms)));
	}
	TS_TRY(ts_sql_commit(&tx, error));
	ts_sql_job_take(&row, out_job);
	*out_replayed = replayed;
	return TS_OK;
}

// --- reading ---

// In a transaction: the row of a job that must be there.
static enum ts_err get_in(struct ts_sql_tx *tx, const char *job_id, struct ts_sql_job *row, struct ts_error *error)
{
	int64_t rows;

	TS_TRY(TS_SQL(tx, JOB_GET, ts_sql_row_job, row, &rows, error, TS_T(job_id)));
	return rows > 0 ? TS_OK : ts_sql_not_found(job_id, error);
}

enum ts_err ts_sql_get(struct ts_store *store, const char *job_id, struct ts_job *out, struct ts_error *error)
{
	TS_AUTOTX struct ts_sql_tx tx = {0};
	TS_AUTOJOBROW struct ts_sql_job row = {0};

	TS_TRY(ts_sql_begin(ts_sql_of(store), TS_TX_READ, &tx, error));
	TS_TRY(get_in(&tx, job_id, &row, error));
	TS_TRY(ts_sql_commit(&tx, error));
	ts_sql_job_take(&row, out);
	return TS_OK;
}

static enum ts_err add_to_page(const struct ts_sql_row *row, void *ctx, struct ts_error *error)
{
	struct ts_job_page *page = ctx;
	TS_AUTOJOBROW struct ts_sql_job read = {0};

	TS_TRY(ts_sql_row_job(row, &read, error));
	ts_job_init(&page->jobs[page->count]);
	ts_sql_job_take(&read, &page->jobs[page->count]);
	page->count++;
	return TS_OK;
}

static enum ts_sql_statement page_statement(const struct ts_job_filter *filter)
{
	if (filter->words)
		return TS_SQL_JOBS_PAGE_WORDS;
	if (filter->video_id)
		return TS_SQL_JOBS_PAGE_VIDEO;
	if (filter->user_id)
		return TS_SQL_JOBS_PAGE_USER;
	return filter->has_state ? TS_SQL_JOBS_PAGE_STATE : TS_SQL_JOBS_PAGE;
}

// Each word in double quotes, so that none means anything to the index but itself.
static enum ts_err quoted_words(const char *text, struct ts_buf *out, struct ts_error *error)
{
	bool inside = false;

	if (!text)
		return TS_OK;
	if (strlen(text) > TS_STORE_WORDS_MAX)
		return ts_fail_field(error, TS_ERR_INVALID, "q", "must not be longer than %d bytes", TS_STORE_WORDS_MAX);
	for (const char *c = text; *c; c++) {
		bool part = ts_sql_is_word((unsigned char)*c);
		if (part != inside)
			ts_buf_add_str(out, inside ? "\" " : "\"");
		if (part)
			ts_buf_add(out, c, 1);
		inside = part;
	}
	if (inside)
		ts_buf_add_str(out, "\"");
	TS_TRY(ts_buf_status(out, error));
	if (ts_buf_str(out)[0] == '\0')
		return ts_fail_field(error, TS_ERR_INVALID, "q", "must hold at least one word");
	return TS_OK;
}

enum ts_err ts_sql_list(struct ts_store *store, const struct ts_job_filter *filter, struct ts_job_page *out,
                        struct ts_error *error)
{
	TS_AUTOTX struct ts_sql_tx tx = {0};
	TS_CLEANUP(ts_job_page_finish) struct ts_job_page page = {0};
	TS_AUTOBUF struct ts_buf words;
	char before_id[TS_UUID_SIZE];
	int64_t before;

	ts_buf_init(&words, 4 * TS_STORE_WORDS_MAX);

	TS_TRY(ts_cursor_read(filter->cursor, &before, before_id, error));
	TS_TRY(quoted_words(filter->words, &words, error));
	// One more than asked for tells whether there is a next page.
	page.jobs = ts_calloc(filter->limit + 1, sizeof *page.jobs);
	if (!page.jobs)
		return ts_fail_nomem(error);
	const struct ts_sql_value values[] = {
	    TS_T(filter->user_id),
	    TS_T(filter->video_id),
	    TS_T(filter->has_state ? ts_job_state_name(filter->state) : NULL),
	    TS_I(filter->created_after),
	    TS_I(filter->created_before),
	    TS_I(before),
	    TS_T(before_id),
	    TS_I(filter->limit + 1),
	    TS_T(ts_buf_str(&words)),
	};
	size_t count = sizeof values / sizeof values[0] - (filter->words ? 0 : 1);
	TS_TRY(ts_sql_begin(ts_sql_of(store), TS_TX_READ, &tx, error));
	TS_TRY(ts_sql_run(&tx, page_statement(filter), values, count, add_to_page, &page, NULL, error));
	TS_TRY(ts_sql_commit(&tx, error));
	if (page.count > filter->limit) {
		ts_job_finish(&page.jobs[--page.count]);
		page.next_cursor = ts_cursor_write(&page.jobs[page.count - 1]);
		if (!page.next_cursor)
			return ts_fail_nomem(error);
	}
	*out = page;
	page = (struct ts_job_page){0};
	return TS_OK;
}

static enum ts_err read_state_count(const struct ts_sql_row *row, void *ctx, struct ts_error *error)
{
	struct ts_store_counts *counts = ctx;
	const char *name = ts_sql_chars(row, 0);
	enum ts_job_state state;

	TS_TRY(ts_job_state_parse(name ? name : "", &state, error));
	counts->jobs[state] = ts_sql_int(row, 1);
	return TS_OK;
}

static enum ts_err read_counts(const struct ts_sql_row *row, void *ctx, struct ts_error *error)
{
	struct ts_store_counts *counts = ctx;

	(void)error;
	counts->outbox = ts_sql_int(row, 0);
	counts->deliveries_pending = ts_sql_int(row, 1);
	counts->deliveries_failed = ts_sql_int(row, 2);
	counts->oldest_queued_at = ts_sql_int(row, 3);
	return TS_OK;
}

enum ts_err ts_sql_counts(struct ts_store *store, struct ts_store_counts *out, struct ts_error *error)
{
	TS_AUTOTX struct ts_sql_tx tx = {0};
	struct ts_store_counts counts = {0};

	TS_TRY(ts_sql_begin(ts_sql_of(store), TS_TX_READ, &tx, error));
	TS_TRY(ts_sql_run(&tx, TS_SQL_JOBS_COUNT, NULL, 0, read_state_count, &counts, NULL, error));
	TS_TRY(ts_sql_run(&tx, TS_SQL_COUNTS, NULL, 0, read_counts, &counts, NULL, error));
	TS_TRY(ts_sql_commit(&tx, error));
	*out = counts;
	return TS_OK;
}

static enum ts_err read_transcript(const struct ts_sql_row *row, void *ctx, struct ts_error *error)
{
	const char *body = ts_sql_chars(row, 0);

	if (!body)
		return ts_fail_nomem(error);
	return ts_transcript_from_json(body, ts_sql_bytes(row, 0), ctx, error);
}

enum ts_err ts_sql_transcript(struct ts_store *store, const char *job_id, struct ts_transcript *out,
                              struct ts_error *error)
{
	TS_AUTOTX struct ts_sql_tx tx = {0};
	TS_AUTOTRANSCRIPT struct ts_transcript transcript;
	int64_t rows;

	ts_transcript_init(&transcript);
	TS_TRY(ts_sql_begin(ts_sql_of(store), TS_TX_READ, &tx, error));
	TS_TRY(TS_SQL(&tx, TRANSCRIPT_GET, read_transcript, &transcript, &rows, error, TS_T(job_id)));
	if (rows == 0)
		return ts_fail(error, TS_ERR_NOT_FOUND, "transcription %.40s has no transcript", job_id);
	TS_TRY(ts_sql_commit(&tx, error));
	ts_transcript_finish(out);
	*out = transcript;
	ts_transcript_init(&transcript);
	return TS_OK;
}

// --- a user's decisions ---

enum ts_err ts_sql_cancel(struct ts_store *store, const char *job_id, struct ts_job *out, struct ts_error *error)
{
	TS_AUTOTX struct ts_sql_tx tx = {0};
	TS_AUTOJOBROW struct ts_sql_job row = {0};
	int64_t rows;

	TS_TRY(ts_sql_begin(ts_sql_of(store), TS_TX_DURABLE, &tx, error));
	TS_TRY(TS_SQL(&tx, JOB_CANCEL, ts_sql_row_job, &row, &rows, error, TS_T(job_id), TS_I(tx.now)));
	if (rows == 0) {
		TS_TRY(get_in(&tx, job_id, &row, error));
		ts_sql_job_take(&row, out);
		return ts_fail(error, TS_ERR_CONFLICT, "the transcription is already %s", ts_job_state_name(out->state));
	}
	TS_TRY(TS_SQL(&tx, OUTBOX_DROP, NULL, NULL, NULL, error, TS_T(job_id)));
	TS_TRY(TS_SQL(&tx, QUEUE_DROP, NULL, NULL, NULL, error, TS_T(job_id)));
	TS_TRY(ts_sql_deliver(&tx, &row.job, NULL, error));
	TS_TRY(ts_sql_commit(&tx, error));
	ts_sql_job_take(&row, out);
	return TS_OK;
}

enum ts_err ts_sql_retry(struct ts_store *store, const char *job_id, struct ts_job *out, struct ts_error *error)
{
	TS_AUTOTX struct ts_sql_tx tx = {0};
	TS_AUTOJOBROW struct ts_sql_job row = {0};
	int64_t rows;

	TS_TRY(ts_sql_begin(ts_sql_of(store), TS_TX_DURABLE, &tx, error));
	TS_TRY(TS_SQL(&tx, JOB_RETRY, ts_sql_row_job, &row, &rows, error, TS_T(job_id), TS_I(tx.now)));
	if (rows == 0) {
		TS_TRY(get_in(&tx, job_id, &row, error));
		ts_sql_job_take(&row, out);
		return ts_fail(error, TS_ERR_CONFLICT, "the transcription is %s; only a failed or cancelled one is tried again",
		               ts_job_state_name(out->state));
	}
	TS_TRY(ts_sql_mention(&tx, &row.job, tx.now, error));
	TS_TRY(ts_sql_commit(&tx, error));
	ts_sql_job_take(&row, out);
	return TS_OK;
}

enum ts_err ts_sql_delete(struct ts_store *store, const char *job_id, struct ts_error *error)
{
	TS_AUTOTX struct ts_sql_tx tx = {0};
	int64_t count;

	TS_TRY(ts_sql_begin(ts_sql_of(store), TS_TX_DURABLE, &tx, error));
	TS_TRY(TS_SQL(&tx, JOB_DELETE, NULL, NULL, &count, error, TS_T(job_id)));
	if (count == 0)
		return ts_sql_not_found(job_id, error);
	TS_TRY(TS_SQL(&tx, QUEUE_DROP, NULL, NULL, NULL, error, TS_T(job_id)));
	return ts_sql_commit(&tx, error);
}
