// Housekeeping of the store: expired leases, forgotten jobs, retention. Any process may run it at any time;
// each pass is one transaction of bounded size.
#include "base/mem.h"
#include "store/store_sql.h"

// Jobs looked at in one pass; the next pass takes the rest.
#define PASS_MAX 500

struct job_ref {
	char id[TS_UUID_SIZE];
	int64_t number; // of the statement's second column
};

struct job_refs {
	struct job_ref *items;
	size_t count;
};

static void job_refs_finish(struct job_refs *refs)
{
	ts_free(refs->items);
}

static enum ts_err add_ref(const struct ts_sql_row *row, void *ctx, struct ts_error *error)
{
	struct job_refs *refs = ctx;
	struct job_ref *items = ts_realloc(refs->items, refs->count + 1, sizeof *items);

	if (!items)
		return ts_fail_nomem(error);
	refs->items = items;
	ts_sql_uuid(row, 0, items[refs->count].id);
	items[refs->count++].number = row->driver->column_count(row) > 1 ? ts_sql_int(row, 1) : 0;
	return TS_OK;
}

static enum ts_err requeue(struct ts_sql_tx *tx, const char *job_id, struct ts_error *error)
{
	TS_AUTOJOBROW struct ts_sql_job row = {0};
	int64_t rows;

	TS_TRY(TS_SQL(tx, REAP_REQUEUE, ts_sql_row_job, &row, &rows, error, TS_T(job_id), TS_I(tx->now),
	              TS_T(ts_err_name(TS_ERR_FENCED))));
	return rows > 0 ? ts_sql_mention(tx, &row.job, tx->now, error) : TS_OK;
}

static enum ts_err reap_expired(struct ts_sql_tx *tx, struct ts_reaped *reaped, struct ts_error *error)
{
	TS_CLEANUP(job_refs_finish) struct job_refs expired = {0};

	TS_TRY(TS_SQL(tx, REAP_EXPIRED, add_ref, &expired, NULL, error, TS_I(tx->now), TS_I(PASS_MAX)));
	for (size_t i = 0; i < expired.count; i++) {
		bool exhausted;
		if (expired.items[i].number) {
			TS_TRY(ts_sql_exhaust(tx, expired.items[i].id, &exhausted, error));
			reaped->exhausted++;
		} else {
			TS_TRY(requeue(tx, expired.items[i].id, error));
			reaped->requeued++;
		}
	}
	return TS_OK;
}

static enum ts_err republish(struct ts_sql_tx *tx, int64_t orphan_after_ms, struct ts_reaped *reaped,
                             struct ts_error *error)
{
	TS_CLEANUP(job_refs_finish) struct job_refs orphans = {0};

	TS_TRY(TS_SQL(tx, REAP_ORPHANS, add_ref, &orphans, NULL, error, TS_I(tx->now), TS_I(tx->now - orphan_after_ms),
	              TS_I(PASS_MAX)));
	for (size_t i = 0; i < orphans.count; i++) {
		const struct job_ref *orphan = &orphans.items[i];
		TS_TRY(TS_SQL(tx, OUTBOX_PUT, NULL, NULL, NULL, error, TS_T(orphan->id), TS_I(orphan->number), TS_I(tx->now)));
		TS_TRY(TS_SQL(tx, JOB_MENTION, NULL, NULL, NULL, error, TS_T(orphan->id), TS_I(tx->now)));
		reaped->republished++;
	}
	return TS_OK;
}

// A pass mostly finds nothing: the look takes no write lock.
static enum ts_err nothing_to_reap(struct ts_sql *sql, int64_t orphan_after_ms, bool *out_nothing,
                                   struct ts_error *error)
{
	TS_AUTOTX struct ts_sql_tx tx = {0};
	int64_t any = 0;

	TS_TRY(ts_sql_begin(sql, TS_TX_READ, &tx, error));
	TS_TRY(TS_SQL(&tx, REAP_ANY, ts_sql_row_int, &any, NULL, error, TS_I(tx.now), TS_I(tx.now - orphan_after_ms)));
	TS_TRY(ts_sql_commit(&tx, error));
	*out_nothing = any == 0;
	return TS_OK;
}

enum ts_err ts_sql_reap(struct ts_store *store, int64_t orphan_after_ms, struct ts_reaped *out, struct ts_error *error)
{
	TS_AUTOTX struct ts_sql_tx tx = {0};
	struct ts_reaped reaped = {0};
	bool nothing;

	TS_TRY(nothing_to_reap(ts_sql_of(store), orphan_after_ms, &nothing, error));
	if (!nothing) {
		TS_TRY(ts_sql_begin(ts_sql_of(store), TS_TX_DURABLE, &tx, error));
		TS_TRY(reap_expired(&tx, &reaped, error));
		TS_TRY(republish(&tx, orphan_after_ms, &reaped, error));
		TS_TRY(ts_sql_commit(&tx, error));
	}
	*out = reaped;
	return TS_OK;
}

enum ts_err ts_sql_retire(struct ts_store *store, int64_t finished_before, unsigned limit, int64_t *out_deleted,
                          struct ts_error *error)
{
	TS_AUTOTX struct ts_sql_tx tx = {0};
	TS_CLEANUP(job_refs_finish) struct job_refs due = {0};

	TS_TRY(ts_sql_begin(ts_sql_of(store), TS_TX_DURABLE, &tx, error));
	TS_TRY(TS_SQL(&tx, RETIRE_DUE, add_ref, &due, NULL, error, TS_I(finished_before), TS_I(limit)));
	for (size_t i = 0; i < due.count; i++) {
		TS_TRY(TS_SQL(&tx, JOB_DELETE, NULL, NULL, NULL, error, TS_T(due.items[i].id)));
		TS_TRY(TS_SQL(&tx, QUEUE_DROP, NULL, NULL, NULL, error, TS_T(due.items[i].id)));
	}
	TS_TRY(TS_SQL(&tx, KEYS_EXPIRE, NULL, NULL, NULL, error, TS_I(tx.now)));
	TS_TRY(ts_sql_commit(&tx, error));
	*out_deleted = (int64_t)due.count;
	return TS_OK;
}
