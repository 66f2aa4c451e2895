// The outbox and a worker's part in the store. A worker's writes are fenced by owner, attempt and the claim's
// number; a statement that touches no row means that the lease is lost.
#include "base/buf.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "store/store_sql.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// --- the outbox ---

struct outbox_row {
	struct ts_outbox_item item;
	int64_t due_at;
};

struct outbox_rows {
	struct outbox_row *items;
	size_t count;
};

static void outbox_rows_finish(struct outbox_rows *rows)
{
	ts_free(rows->items);
}

static enum ts_err read_outbox(const struct ts_sql_row *row, void *ctx, struct ts_error *error)
{
	struct outbox_rows *rows = ctx;
	struct outbox_row *found = &rows->items[rows->count++];

	(void)error;
	found->item.row = ts_sql_int(row, 0);
	ts_sql_uuid(row, 1, found->item.job_id);
	found->item.priority = (enum ts_job_priority)ts_sql_int(row, 2);
	found->due_at = ts_sql_int(row, 3);
	return TS_OK;
}

// Rows that a statement changed come back in no order.
static int by_urgency(const void *left, const void *right)
{
	const struct outbox_row *a = left, *b = right;

	if (a->item.priority != b->item.priority)
		return a->item.priority < b->item.priority ? -1 : 1;
	if (a->due_at != b->due_at)
		return a->due_at < b->due_at ? -1 : 1;
	return a->item.row < b->item.row ? -1 : a->item.row > b->item.row;
}

// Relays look often and find little: the look takes no write lock.
static enum ts_err outbox_is_empty(struct ts_sql *sql, bool *out_empty, struct ts_error *error)
{
	TS_AUTOTX struct ts_sql_tx tx = {0};
	int64_t rows;

	TS_TRY(ts_sql_begin(sql, TS_TX_READ, &tx, error));
	TS_TRY(TS_SQL(&tx, OUTBOX_ANY, ts_sql_row_any, NULL, &rows, error, TS_I(tx.now)));
	TS_TRY(ts_sql_commit(&tx, error));
	*out_empty = rows == 0;
	return TS_OK;
}

enum ts_err ts_sql_outbox_claim(struct ts_store *store, int64_t lease_ms, struct ts_outbox_item *items, size_t capacity,
                                size_t *out_count, struct ts_error *error)
{
	TS_AUTOTX struct ts_sql_tx tx = {0};
	TS_CLEANUP(outbox_rows_finish) struct outbox_rows rows = {0};
	bool empty;

	TS_TRY(outbox_is_empty(ts_sql_of(store), &empty, error));
	if (empty) {
		*out_count = 0;
		return TS_OK;
	}
	rows.items = ts_calloc(capacity, sizeof *rows.items);
	if (!rows.items)
		return ts_fail_nomem(error);
	TS_TRY(ts_sql_begin(ts_sql_of(store), TS_TX_HINT, &tx, error));
	TS_TRY(TS_SQL(&tx, OUTBOX_CLAIM, read_outbox, &rows, NULL, error, TS_I(tx.now), TS_I((int64_t)capacity),
	              TS_I(tx.now + lease_ms)));
	TS_TRY(ts_sql_commit(&tx, error));
	if (rows.count > 1)
		qsort(rows.items, rows.count, sizeof *rows.items, by_urgency);
	for (size_t i = 0; i < rows.count; i++)
		items[i] = rows.items[i].item;
	*out_count = rows.count;
	return TS_OK;
}

enum ts_err ts_sql_outbox_done(struct ts_store *store, const struct ts_outbox_item *items, size_t count,
                               struct ts_error *error)
{
	TS_AUTOTX struct ts_sql_tx tx = {0};
	TS_AUTOBUF struct ts_buf numbers; // a JSON array

	ts_buf_init(&numbers, 32 * (count + 1));
	for (size_t i = 0; i < count; i++)
		ts_buf_printf(&numbers, "%c%" PRId64, i ? ',' : '[', items[i].row);
	ts_buf_add_str(&numbers, "]");
	TS_TRY(ts_buf_status(&numbers, error));
	TS_TRY(ts_sql_begin(ts_sql_of(store), TS_TX_HINT, &tx, error));
	TS_TRY(TS_SQL(&tx, OUTBOX_DONE, NULL, NULL, NULL, error, TS_T(ts_buf_str(&numbers))));
	return ts_sql_commit(&tx, error);
}

// --- claim ---

enum ts_err ts_sql_exhaust(struct ts_sql_tx *tx, const char *job_id, bool *out_done, struct ts_error *error)
{
	TS_AUTOJOBROW struct ts_sql_job row = {0};
	int64_t rows;

	TS_TRY(TS_SQL(tx, JOB_EXHAUST, ts_sql_row_job, &row, &rows, error, TS_T(job_id), TS_I(tx->now),
	              TS_T(ts_err_name(TS_ERR_ATTEMPTS))));
	*out_done = rows > 0;
	if (rows == 0)
		return TS_OK;
	TS_TRY(TS_SQL(tx, OUTBOX_DROP, NULL, NULL, NULL, error, TS_T(job_id)));
	return ts_sql_deliver(tx, &row.job, NULL, error);
}

// Why: out of attempts, which is a final state and so durable, or simply nothing to do.
static enum ts_err nothing_claimed(struct ts_sql *sql, const char *job_id, struct ts_error *error)
{
	TS_AUTOTX struct ts_sql_tx tx = {0};
	bool exhausted;

	TS_TRY(ts_sql_begin(sql, TS_TX_DURABLE, &tx, error));
	TS_TRY(ts_sql_exhaust(&tx, job_id, &exhausted, error));
	TS_TRY(ts_sql_commit(&tx, error));
	if (exhausted)
		return ts_fail(error, TS_ERR_ATTEMPTS, "transcription %.40s was out of attempts and has failed", job_id);
	return ts_fail(error, TS_ERR_NOT_FOUND, "transcription %.40s has nothing to do now", job_id);
}

enum ts_err ts_sql_claim(struct ts_store *store, const char *job_id, const char *owner, int64_t lease_ms,
                         struct ts_job *out_job, struct ts_lease *out_lease, struct ts_error *error)
{
	TS_AUTOTX struct ts_sql_tx tx = {0};
	TS_AUTOJOBROW struct ts_sql_job row = {0};
	int64_t rows;

	// Not durable on purpose: a claim lost with the machine's power is a job that is still queued.
	TS_TRY(ts_sql_begin(ts_sql_of(store), TS_TX_HINT, &tx, error));
	TS_TRY(TS_SQL(&tx, JOB_CLAIM, ts_sql_row_job, &row, &rows, error, TS_T(job_id), TS_T(owner),
	              TS_I(tx.now + lease_ms), TS_I(tx.now)));
	if (rows == 0) {
		ts_sql_rollback(&tx);
		return nothing_claimed(ts_sql_of(store), job_id, error);
	}
	TS_TRY(TS_SQL(&tx, OUTBOX_DROP, NULL, NULL, NULL, error, TS_T(job_id)));
	TS_TRY(ts_sql_commit(&tx, error));

	struct ts_lease lease = {.attempt = row.job.attempt, .fence = row.fence};
	snprintf(lease.job_id, sizeof lease.job_id, "%s", row.job.id);
	snprintf(lease.owner, sizeof lease.owner, "%s", owner);
	*out_lease = lease;
	ts_sql_job_take(&row, out_job);
	return TS_OK;
}

// --- while it works ---

static enum ts_err fenced(const struct ts_lease *lease, struct ts_error *error)
{
	return ts_fail(error, TS_ERR_FENCED, "attempt %d of transcription %s is no longer ours", lease->attempt,
	               lease->job_id);
}

// The parameters ?1 to ?4 of every fenced statement.
#define LEASE(lease) TS_T((lease)->job_id), TS_T((lease)->owner), TS_I((lease)->attempt), TS_I((lease)->fence)

enum ts_err ts_sql_heartbeat(struct ts_store *store, const struct ts_lease *lease, int64_t lease_ms,
                             const struct ts_progress *progress, struct ts_error *error)
{
	TS_AUTOTX struct ts_sql_tx tx = {0};
	int64_t count;

	TS_TRY(ts_sql_begin(ts_sql_of(store), TS_TX_HINT, &tx, error));
	TS_TRY(TS_SQL(&tx, JOB_HEARTBEAT, NULL, NULL, &count, error, LEASE(lease), TS_I(tx.now + lease_ms),
	              TS_D(progress->fraction), TS_T(progress->stage), TS_I(progress->media_duration_ms), TS_I(tx.now)));
	if (count == 0)
		return fenced(lease, error);
	return ts_sql_commit(&tx, error);
}

enum ts_err ts_sql_lease_check(struct ts_store *store, const struct ts_lease *lease, struct ts_error *error)
{
	TS_AUTOTX struct ts_sql_tx tx = {0};
	int64_t rows;

	TS_TRY(ts_sql_begin(ts_sql_of(store), TS_TX_READ, &tx, error));
	TS_TRY(TS_SQL(&tx, LEASE_CHECK, ts_sql_row_any, NULL, &rows, error, LEASE(lease)));
	TS_TRY(ts_sql_commit(&tx, error));
	return rows > 0 ? TS_OK : fenced(lease, error);
}

// --- the end of an attempt ---

enum ts_err ts_sql_release(struct ts_store *store, const struct ts_lease *lease, struct ts_error *error)
{
	TS_AUTOTX struct ts_sql_tx tx = {0};
	TS_AUTOJOBROW struct ts_sql_job row = {0};
	int64_t rows;

	TS_TRY(ts_sql_begin(ts_sql_of(store), TS_TX_HINT, &tx, error));
	TS_TRY(TS_SQL(&tx, JOB_RELEASE, ts_sql_row_job, &row, &rows, error, LEASE(lease), TS_I(tx.now)));
	if (rows == 0)
		return fenced(lease, error);
	TS_TRY(ts_sql_mention(&tx, &row.job, tx.now, error));
	return ts_sql_commit(&tx, error);
}

enum ts_err ts_sql_fail_job(struct ts_store *store, const struct ts_lease *lease, const struct ts_error *cause,
                            int64_t retry_at, enum ts_job_state *out_state, struct ts_error *error)
{
	TS_AUTOTX struct ts_sql_tx tx = {0};
	TS_AUTOJOBROW struct ts_sql_job row = {0};
	const char *code = ts_err_name(cause->code);
	int64_t rows = 0;

	TS_TRY(ts_sql_begin(ts_sql_of(store), TS_TX_DURABLE, &tx, error));
	if (retry_at > 0)
		TS_TRY(TS_SQL(&tx, JOB_REQUEUE, ts_sql_row_job, &row, &rows, error, LEASE(lease), TS_I(retry_at), TS_I(tx.now),
		              TS_T(code), TS_T(cause->message)));
	if (rows > 0) {
		TS_TRY(ts_sql_mention(&tx, &row.job, retry_at > tx.now ? retry_at : tx.now, error));
	} else {
		TS_TRY(TS_SQL(&tx, JOB_FAIL, ts_sql_row_job, &row, &rows, error, LEASE(lease), TS_T(code), TS_T(cause->message),
		              TS_I(tx.now)));
		if (rows == 0)
			return fenced(lease, error);
		TS_TRY(ts_sql_deliver(&tx, &row.job, NULL, error));
	}
	TS_TRY(ts_sql_commit(&tx, error));
	*out_state = row.job.state;
	return TS_OK;
}

// What the search over transcripts sees: the index of one document has a ceiling (PostgreSQL: 1 MB with positions).
static enum ts_err searched_text(const struct ts_transcript *transcript, char **out, struct ts_error *error)
{
	TS_TRY(ts_transcript_text(transcript, out, error));
	size_t length = strlen(*out);
	if (length > TS_STORE_SEARCHED_MAX)
		(*out)[ts_utf8_cut(*out, length, TS_STORE_SEARCHED_MAX)] = '\0';
	for (char *c = *out; *c; c++)
		if (!ts_sql_is_word((unsigned char)*c))
			*c = ' ';
	return TS_OK;
}

enum ts_err ts_sql_finish(struct ts_store *store, const struct ts_lease *lease, const struct ts_transcript *transcript,
                          struct ts_error *error)
{
	TS_AUTOFREE char *body = NULL, *text = NULL;
	TS_AUTOTX struct ts_sql_tx tx = {0};
	TS_AUTOJOBROW struct ts_sql_job row = {0};
	int64_t rows;

	// Before the write lock is taken.
	TS_TRY(ts_transcript_to_json(transcript, &body, error));
	TS_TRY(searched_text(transcript, &text, error));
	TS_TRY(ts_sql_begin(ts_sql_of(store), TS_TX_DURABLE, &tx, error));
	TS_TRY(TS_SQL(&tx, JOB_FINISH, ts_sql_row_job, &row, &rows, error, LEASE(lease), TS_I(transcript->duration_ms),
	              TS_I(tx.now)));
	if (rows == 0)
		return fenced(lease, error);
	TS_TRY(TS_SQL(&tx, TRANSCRIPT_PUT, NULL, NULL, NULL, error, TS_T(row.job.id), TS_T(body), TS_I(tx.now)));
	TS_TRY(TS_SQL(&tx, TRANSCRIPT_WORDS, NULL, NULL, NULL, error, TS_T(row.job.id), TS_T(text)));
	TS_TRY(ts_sql_deliver(&tx, &row.job, transcript, error));
	return ts_sql_commit(&tx, error);
}
