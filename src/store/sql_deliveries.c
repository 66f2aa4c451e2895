// Callbacks of the store: rows with leases, their log and their redelivery.
#include "base/mem.h"
#include "store/store_sql.h"

// The log keeps this many attempts of a delivery; redelivery may make any number.
#define ATTEMPTS_KEPT 100

struct delivery_row {
	struct ts_delivery delivery;
	int64_t id;
	bool with_body;
};

static void delivery_row_finish(struct delivery_row *row)
{
	ts_delivery_finish(&row->delivery);
}

// The columns of TS_DELIVERY_COLUMNS, in their order.
static enum ts_err read_delivery(const struct ts_sql_row *row, void *ctx, struct ts_error *error)
{
	struct delivery_row *out = ctx;
	struct ts_delivery *delivery = &out->delivery;

	delivery->number = ts_sql_int(row, 0);
	ts_sql_uuid(row, 1, delivery->job_id);
	ts_sql_uuid(row, 2, delivery->event_id);
	TS_TRY(ts_sql_text(row, 3, &delivery->event_type, error));
	TS_TRY(ts_sql_text(row, 4, &delivery->url, error));
	TS_TRY(ts_sql_text(row, 5, &delivery->state, error));
	delivery->attempts = (int32_t)ts_sql_int(row, 6);
	delivery->next_attempt_at = ts_sql_int(row, 7);
	delivery->created_at = ts_sql_int(row, 8);
	delivery->delivered_at = ts_sql_int(row, 9);
	TS_TRY(ts_sql_text(row, 10, &delivery->traceparent, error));
	out->id = ts_sql_int(row, 11);
	return out->with_body ? ts_sql_text(row, 12, &delivery->body, error) : TS_OK;
}

// Senders look often and find little: the look takes no write lock.
static enum ts_err look(struct ts_sql *sql, bool *out_due, int64_t *out_next_at, struct ts_error *error)
{
	TS_AUTOTX struct ts_sql_tx tx = {0};
	int64_t rows;

	TS_TRY(ts_sql_begin(sql, TS_TX_READ, &tx, error));
	TS_TRY(TS_SQL(&tx, DELIVERY_ANY, ts_sql_row_any, NULL, &rows, error, TS_I(tx.now)));
	*out_due = rows > 0;
	if (rows == 0)
		TS_TRY(TS_SQL(&tx, DELIVERY_NEXT, ts_sql_row_int, out_next_at, NULL, error, TS_I(tx.now)));
	return ts_sql_commit(&tx, error);
}

enum ts_err ts_sql_delivery_claim(struct ts_store *store, int64_t lease_ms, struct ts_delivery *out,
                                  int64_t *out_next_at, struct ts_error *error)
{
	struct ts_sql *sql = ts_sql_of(store);
	TS_AUTOTX struct ts_sql_tx tx = {0};
	TS_CLEANUP(delivery_row_finish) struct delivery_row row = {.with_body = true};
	int64_t next_at = 0, rows = 0;
	bool due;

	TS_TRY(look(sql, &due, &next_at, error));
	if (due) {
		TS_TRY(ts_sql_begin(sql, TS_TX_HINT, &tx, error));
		TS_TRY(TS_SQL(&tx, DELIVERY_CLAIM, read_delivery, &row, &rows, error, TS_I(tx.now), TS_I(tx.now + lease_ms)));
		if (rows == 0) // another sender was faster
			TS_TRY(TS_SQL(&tx, DELIVERY_NEXT, ts_sql_row_int, &next_at, NULL, error, TS_I(tx.now)));
		TS_TRY(ts_sql_commit(&tx, error));
	}
	if (rows == 0) {
		if (out_next_at)
			*out_next_at = next_at;
		return ts_fail(error, TS_ERR_NOT_FOUND, "no callback is due");
	}
	*out = row.delivery;
	row.delivery = (struct ts_delivery){0};
	return TS_OK;
}

struct recorded {
	int64_t id;
	int64_t attempts;
};

static enum ts_err read_recorded(const struct ts_sql_row *row, void *ctx, struct ts_error *error)
{
	struct recorded *out = ctx;

	(void)error;
	out->id = ts_sql_int(row, 0);
	out->attempts = ts_sql_int(row, 1);
	return TS_OK;
}

enum ts_err ts_sql_delivery_record(struct ts_store *store, const struct ts_delivery *delivery,
                                   const struct ts_delivery_attempt *attempt, enum ts_delivery_outcome outcome,
                                   int64_t next_attempt_at, struct ts_error *error)
{
	static const char *const states[] = {
	    [TS_DELIVERY_DONE] = "delivered", [TS_DELIVERY_RETRY] = "pending", [TS_DELIVERY_GIVE_UP] = "failed"};
	TS_AUTOTX struct ts_sql_tx tx = {0};
	struct recorded recorded;
	int64_t rows;

	TS_TRY(ts_sql_begin(ts_sql_of(store), TS_TX_DURABLE, &tx, error));
	TS_TRY(TS_SQL(&tx, DELIVERY_RECORD, read_recorded, &recorded, &rows, error, TS_T(delivery->job_id),
	              TS_I(delivery->number), TS_T(states[outcome]),
	              TS_I(outcome == TS_DELIVERY_RETRY ? next_attempt_at : 0), TS_I(tx.now)));
	if (rows == 0)
		return ts_sql_not_found(delivery->job_id, error);
	TS_TRY(TS_SQL(&tx, ATTEMPT_INSERT, NULL, NULL, NULL, error, TS_I(recorded.id), TS_I(recorded.attempts),
	              TS_I(attempt->started_at), TS_I(attempt->duration_ms), TS_I(attempt->status), TS_T(attempt->error),
	              TS_T(attempt->response)));
	TS_TRY(TS_SQL(&tx, ATTEMPTS_TRIM, NULL, NULL, NULL, error, TS_I(recorded.id),
	              TS_I(recorded.attempts - ATTEMPTS_KEPT)));
	return ts_sql_commit(&tx, error);
}

// --- the log ---

struct log_rows {
	struct ts_delivery_list list;
	int64_t *ids; // of the deliveries, as in list.items
};

static void log_rows_finish(struct log_rows *rows)
{
	ts_delivery_list_finish(&rows->list);
	ts_free(rows->ids);
}

static enum ts_err add_delivery(const struct ts_sql_row *row, void *ctx, struct ts_error *error)
{
	struct log_rows *rows = ctx;
	TS_CLEANUP(delivery_row_finish) struct delivery_row read = {0};

	struct ts_delivery_log *items = ts_realloc(rows->list.items, rows->list.count + 1, sizeof *items);
	if (!items)
		return ts_fail_nomem(error);
	rows->list.items = items;
	int64_t *ids = ts_realloc(rows->ids, rows->list.count + 1, sizeof *ids);
	if (!ids)
		return ts_fail_nomem(error);
	rows->ids = ids;
	TS_TRY(read_delivery(row, &read, error));
	ids[rows->list.count] = read.id;
	items[rows->list.count++] = (struct ts_delivery_log){.delivery = read.delivery};
	read.delivery = (struct ts_delivery){0};
	return TS_OK;
}

static enum ts_err add_attempt(const struct ts_sql_row *row, void *ctx, struct ts_error *error)
{
	struct ts_delivery_log *item = ctx;
	struct ts_delivery_attempt *attempts = ts_realloc(item->attempts, item->attempt_count + 1, sizeof *attempts);

	if (!attempts)
		return ts_fail_nomem(error);
	item->attempts = attempts;
	struct ts_delivery_attempt *attempt = &attempts[item->attempt_count++];
	*attempt = (struct ts_delivery_attempt){
	    .number = (int32_t)ts_sql_int(row, 0),
	    .started_at = ts_sql_int(row, 1),
	    .duration_ms = ts_sql_int(row, 2),
	    .status = (int32_t)ts_sql_int(row, 3),
	};
	TS_TRY(ts_sql_text(row, 4, &attempt->error, error));
	return ts_sql_text(row, 5, &attempt->response, error);
}

enum ts_err ts_sql_deliveries(struct ts_store *store, const char *job_id, struct ts_delivery_list *out,
                              struct ts_error *error)
{
	TS_AUTOTX struct ts_sql_tx tx = {0};
	TS_CLEANUP(log_rows_finish) struct log_rows rows = {0};
	int64_t count;

	TS_TRY(ts_sql_begin(ts_sql_of(store), TS_TX_READ, &tx, error));
	TS_TRY(TS_SQL(&tx, JOB_EXISTS, ts_sql_row_any, NULL, &count, error, TS_T(job_id)));
	if (count == 0)
		return ts_sql_not_found(job_id, error);
	TS_TRY(TS_SQL(&tx, DELIVERIES_OF, add_delivery, &rows, NULL, error, TS_T(job_id)));
	for (size_t i = 0; i < rows.list.count; i++)
		TS_TRY(TS_SQL(&tx, ATTEMPTS_OF, add_attempt, &rows.list.items[i], NULL, error, TS_I(rows.ids[i])));
	TS_TRY(ts_sql_commit(&tx, error));
	*out = rows.list;
	rows.list = (struct ts_delivery_list){0};
	return TS_OK;
}

enum ts_err ts_sql_redeliver(struct ts_store *store, const char *job_id, int64_t number, struct ts_error *error)
{
	TS_AUTOTX struct ts_sql_tx tx = {0};
	int64_t count;

	TS_TRY(ts_sql_begin(ts_sql_of(store), TS_TX_DURABLE, &tx, error));
	TS_TRY(TS_SQL(&tx, REDELIVER, NULL, NULL, &count, error, TS_T(job_id), TS_I(number), TS_I(tx.now)));
	if (count == 0) {
		TS_TRY(TS_SQL(&tx, JOB_EXISTS, ts_sql_row_any, NULL, &count, error, TS_T(job_id)));
		if (count == 0)
			return ts_sql_not_found(job_id, error);
		return ts_fail_field(error, TS_ERR_NOT_FOUND, "delivery", "this transcription has no delivery %lld",
		                     (long long)number);
	}
	return ts_sql_commit(&tx, error);
}
