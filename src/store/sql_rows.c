// Rows of the store as values, and the two rows that many changes of a job write: its mention in the outbox and its
// callback.
#include "base/mem.h"
#include "core/event.h"
#include "store/store_sql.h"

#include <assert.h>
#include <stdio.h>

static_assert(TS_PRIORITY_HIGH == 0 && TS_PRIORITY_NORMAL == 1 && TS_PRIORITY_LOW == 2 && TS_PRIORITY_COUNT == 3,
              "priorities are stored as these numbers (migrations/*/0001_init.sql)");

enum ts_err ts_sql_text(const struct ts_sql_row *row, int column, char **slot, struct ts_error *error)
{
	const char *text = ts_sql_chars(row, column);

	if (!text && !row->driver->is_null(row, column))
		return ts_fail_nomem(error); // the driver could not hand it out
	return ts_str_set(slot, text) ? TS_OK : ts_fail_nomem(error);
}

void ts_sql_uuid(const struct ts_sql_row *row, int column, char out[TS_UUID_SIZE])
{
	const char *text = ts_sql_chars(row, column);

	snprintf(out, TS_UUID_SIZE, "%s", text ? text : "");
}

enum ts_err ts_sql_row_int(const struct ts_sql_row *row, void *ctx, struct ts_error *error)
{
	(void)error;
	*(int64_t *)ctx = ts_sql_int(row, 0);
	return TS_OK;
}

enum ts_err ts_sql_row_any(const struct ts_sql_row *row, void *ctx, struct ts_error *error)
{
	(void)row;
	(void)ctx;
	(void)error;
	return TS_OK;
}

void ts_sql_job_finish(struct ts_sql_job *row)
{
	ts_job_finish(&row->job);
}

void ts_sql_job_take(struct ts_sql_job *row, struct ts_job *out)
{
	ts_job_finish(out);
	*out = row->job;
	ts_job_init(&row->job);
}

// The columns of TS_JOB_COLUMNS, in their order.
enum ts_err ts_sql_row_job(const struct ts_sql_row *row, void *ctx, struct ts_error *error)
{
	struct ts_sql_job *out = ctx;
	struct ts_job *job = &out->job;
	char **texts[] = {&job->video_id, &job->user_id,  &job->callback_url, &job->media_url,  &job->upload_id,
	                  &job->language, &job->metadata, &job->request_id,   &job->traceparent};
	const char *state = ts_sql_chars(row, 11);

	ts_sql_uuid(row, 0, job->id);
	for (int i = 0; i < (int)(sizeof texts / sizeof texts[0]); i++)
		TS_TRY(ts_sql_text(row, 1 + i, texts[i], error));
	job->priority = (enum ts_job_priority)ts_sql_int(row, 10);
	TS_TRY(ts_job_state_parse(state ? state : "", &job->state, error));
	job->attempt = (int32_t)ts_sql_int(row, 12);
	job->max_attempts = (int32_t)ts_sql_int(row, 13);
	TS_TRY(ts_sql_text(row, 14, &job->lease_owner, error));
	job->lease_expires_at = ts_sql_int(row, 15);
	job->not_before = ts_sql_int(row, 16);
	job->progress = ts_sql_double(row, 17);
	TS_TRY(ts_sql_text(row, 18, &job->stage, error));
	job->media_duration_ms = ts_sql_int(row, 19);
	TS_TRY(ts_sql_text(row, 20, &job->error_code, error));
	TS_TRY(ts_sql_text(row, 21, &job->error_message, error));
	job->created_at = ts_sql_int(row, 22);
	job->updated_at = ts_sql_int(row, 23);
	job->started_at = ts_sql_int(row, 24);
	job->finished_at = ts_sql_int(row, 25);
	out->fence = ts_sql_int(row, 26);
	return TS_OK;
}

enum ts_err ts_sql_not_found(const char *job_id, struct ts_error *error)
{
	return ts_fail(error, TS_ERR_NOT_FOUND, "there is no transcription %.40s", job_id);
}

enum ts_err ts_sql_mention(struct ts_sql_tx *tx, const struct ts_job *job, int64_t due_at, struct ts_error *error)
{
	return TS_SQL(tx, OUTBOX_PUT, NULL, NULL, NULL, error, TS_T(job->id), TS_I(job->priority), TS_I(due_at));
}

enum ts_err ts_sql_deliver(struct ts_sql_tx *tx, const struct ts_job *job, const struct ts_transcript *transcript,
                           struct ts_error *error)
{
	TS_AUTOFREE char *body = NULL;
	char event_id[TS_UUID_SIZE];

	if (!job->callback_url)
		return TS_OK;
	TS_TRY(ts_event_body(job, transcript, tx->sql->public_url, &body, error));
	ts_uuid7(tx->sql->rng, tx->now, event_id);
	return TS_SQL(tx, DELIVERY_INSERT, NULL, NULL, NULL, error, TS_T(job->id), TS_T(event_id),
	              TS_T(ts_event_type(job->state)), TS_T(job->callback_url), TS_T(body), TS_I(tx->now));
}
