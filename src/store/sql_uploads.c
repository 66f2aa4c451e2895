// Rows of uploads in the store. The files themselves are the callers'.
#include "base/mem.h"
#include "store/store_sql.h"

#include <string.h>

struct upload_rows {
	struct ts_upload *items;
	size_t count;
};

// The columns of TS_UPLOAD_COLUMNS, in their order.
static enum ts_err add_upload(const struct ts_sql_row *row, void *ctx, struct ts_error *error)
{
	struct upload_rows *rows = ctx;
	struct ts_upload *upload = &rows->items[rows->count++];

	*upload = (struct ts_upload){
	    .size = ts_sql_int(row, 4), .created_at = ts_sql_int(row, 5), .expires_at = ts_sql_int(row, 6)};
	ts_sql_uuid(row, 0, upload->id);
	TS_TRY(ts_sql_text(row, 1, &upload->path, error));
	TS_TRY(ts_sql_text(row, 2, &upload->filename, error));
	return ts_sql_text(row, 3, &upload->user_id, error);
}

enum ts_err ts_sql_upload_create(struct ts_store *store, struct ts_upload *upload, struct ts_error *error)
{
	TS_AUTOTX struct ts_sql_tx tx = {0};
	char id[TS_UUID_SIZE];
	int64_t count;

	TS_TRY(ts_sql_begin(ts_sql_of(store), TS_TX_DURABLE, &tx, error));
	if (upload->id[0])
		memcpy(id, upload->id, sizeof id);
	else
		ts_uuid7(tx.sql->rng, tx.now, id);
	int64_t created_at = tx.now;
	TS_TRY(TS_SQL(&tx, UPLOAD_INSERT, NULL, NULL, &count, error, TS_T(id), TS_T(upload->path), TS_T(upload->filename),
	              TS_T(upload->user_id), TS_I(upload->size), TS_I(created_at), TS_I(upload->expires_at)));
	if (count == 0)
		return ts_fail_field(error, TS_ERR_CONFLICT, "id", "there is an upload %s already", id);
	TS_TRY(ts_sql_commit(&tx, error));
	memcpy(upload->id, id, sizeof id);
	upload->created_at = created_at;
	return TS_OK;
}

enum ts_err ts_sql_upload_get(struct ts_store *store, const char *id, struct ts_upload *out, struct ts_error *error)
{
	TS_AUTOTX struct ts_sql_tx tx = {0};
	TS_CLEANUP(ts_upload_finish) struct ts_upload upload = {0};
	struct upload_rows rows = {.items = &upload};

	TS_TRY(ts_sql_begin(ts_sql_of(store), TS_TX_READ, &tx, error));
	TS_TRY(TS_SQL(&tx, UPLOAD_GET, add_upload, &rows, NULL, error, TS_T(id)));
	if (rows.count == 0)
		return ts_fail_field(error, TS_ERR_NOT_FOUND, "upload_id", "there is no upload %.40s", id);
	TS_TRY(ts_sql_commit(&tx, error));
	*out = upload;
	upload = (struct ts_upload){0};
	return TS_OK;
}

enum ts_err ts_sql_uploads_expired(struct ts_store *store, struct ts_upload *items, size_t capacity, size_t *out_count,
                                   struct ts_error *error)
{
	TS_AUTOTX struct ts_sql_tx tx = {0};
	struct upload_rows rows = {.items = items};
	enum ts_err err;

	TS_TRY(ts_sql_begin(ts_sql_of(store), TS_TX_READ, &tx, error));
	err = TS_SQL(&tx, UPLOADS_EXPIRED, add_upload, &rows, NULL, error, TS_I(tx.now), TS_I((int64_t)capacity));
	if (err == TS_OK)
		err = ts_sql_commit(&tx, error);
	if (err != TS_OK) {
		for (size_t i = 0; i < rows.count; i++)
			ts_upload_finish(&items[i]);
		return err;
	}
	*out_count = rows.count;
	return TS_OK;
}

enum ts_err ts_sql_upload_forget(struct ts_store *store, const char *id, struct ts_error *error)
{
	TS_AUTOTX struct ts_sql_tx tx = {0};
	int64_t count;

	TS_TRY(ts_sql_begin(ts_sql_of(store), TS_TX_HINT, &tx, error));
	TS_TRY(TS_SQL(&tx, UPLOAD_FORGET, NULL, NULL, &count, error, TS_T(id)));
	if (count == 0) {
		TS_TRY(TS_SQL(&tx, UPLOAD_TAKEN, ts_sql_row_any, NULL, &count, error, TS_T(id)));
		if (count > 0)
			return ts_fail_field(error, TS_ERR_CONFLICT, "upload_id", "this upload belongs to a transcription");
	}
	return ts_sql_commit(&tx, error);
}
