// The embedded store's handle: opening, the ops table, closing. What it does lies in sqlite_*.c beside this.
#include "store/store_sqlite.h"

#include "base/mem.h"
#include "store/migration.h"
#include "store/store_sqlite_internal.h"

#define BUSY_TIMEOUT_MS 10000

static enum ts_err ping(struct ts_store *store, struct ts_error *error)
{
	TS_AUTOTX struct ts_sqlite_tx tx = {0};
	int64_t version = 0;

	TS_TRY(ts_sqlite_begin(ts_sqlite_of(store), TS_SQLITE_READ, &tx, error));
	TS_TRY(ts_sqlite_run(&tx, TS_SQL_SCHEMA_VERSION, NULL, 0, ts_sqlite_row_int, &version, NULL, error));
	TS_TRY(ts_sqlite_commit(&tx, error));
	if (version != ts_sqlite_migrations_count)
		return ts_fail(error, TS_ERR_SCHEMA, "the store's schema is version %lld, this program's is %d",
		               (long long)version, ts_sqlite_migrations_count);
	return TS_OK;
}

static void close_store(struct ts_store *store)
{
	struct ts_sqlite *sqlite = ts_sqlite_of(store);

	ts_sqlite_wait_finish(sqlite);
	for (struct ts_sqlite_conn *conn = sqlite->idle_readers, *next; conn; conn = next) {
		next = conn->next;
		ts_sqlite_conn_close(conn);
	}
	ts_sqlite_conn_close(sqlite->writer); // last: it may copy the WAL back
	pthread_cond_destroy(&sqlite->pool_cond);
	pthread_mutex_destroy(&sqlite->pool_mutex);
	pthread_mutex_destroy(&sqlite->write_mutex);
	ts_free(sqlite->path);
	ts_free(sqlite->public_url);
	ts_free(sqlite);
}

static const struct ts_store_ops ops = {
    .name = "sqlite",
    .submit = ts_sqlite_submit,
    .get = ts_sqlite_get,
    .list = ts_sqlite_list,
    .counts = ts_sqlite_counts,
    .transcript = ts_sqlite_transcript,
    .wait_change = ts_sqlite_wait_change,
    .wake = ts_sqlite_wake,
    .cancel = ts_sqlite_cancel,
    .retry = ts_sqlite_retry,
    .remove = ts_sqlite_delete,
    .outbox_claim = ts_sqlite_outbox_claim,
    .outbox_done = ts_sqlite_outbox_done,
    .claim = ts_sqlite_claim,
    .heartbeat = ts_sqlite_heartbeat,
    .lease_check = ts_sqlite_lease_check,
    .release = ts_sqlite_release,
    .fail = ts_sqlite_fail_job,
    .finish = ts_sqlite_finish,
    .reap = ts_sqlite_reap,
    .retire = ts_sqlite_retire,
    .delivery_claim = ts_sqlite_delivery_claim,
    .delivery_record = ts_sqlite_delivery_record,
    .deliveries = ts_sqlite_deliveries,
    .redeliver = ts_sqlite_redeliver,
    .upload_create = ts_sqlite_upload_create,
    .upload_get = ts_sqlite_upload_get,
    .uploads_expired = ts_sqlite_uploads_expired,
    .upload_forget = ts_sqlite_upload_forget,
    .ping = ping,
    .close = close_store,
};

struct ts_sqlite *ts_sqlite_check(struct ts_store *store)
{
	return store->ops == &ops ? ts_sqlite_of(store) : NULL;
}

static enum ts_err check_version(struct ts_sqlite_conn *conn, struct ts_error *error)
{
	int version;

	TS_TRY(ts_sqlite_schema_version(conn, &version, error));
	if (version < ts_sqlite_migrations_count)
		return ts_fail(error, TS_ERR_SCHEMA,
		               "the store's schema is version %d, this program needs %d: migrate it first", version,
		               ts_sqlite_migrations_count);
	return TS_OK;
}

// Everything that close_store undoes is ready, except the writer.
static enum ts_err make(const struct ts_store_sqlite_options *options, struct ts_sqlite **out, struct ts_error *error)
{
	struct ts_sqlite *sqlite = ts_calloc(1, sizeof *sqlite);

	if (!sqlite)
		return ts_fail_nomem(error);
	ts_store_init(&sqlite->store, &ops);
	sqlite->busy_timeout_ms = options->busy_timeout_ms > 0 ? options->busy_timeout_ms : BUSY_TIMEOUT_MS;
	sqlite->clock = options->clock;
	sqlite->system_rng = ts_rng_system();
	sqlite->rng = options->rng ? options->rng : &sqlite->system_rng;
	if (options->log)
		sqlite->log = *options->log;
	enum ts_err err = ts_sqlite_wait_init(sqlite, error);
	if (err != TS_OK) {
		ts_free(sqlite);
		return err;
	}
	pthread_mutex_init(&sqlite->write_mutex, NULL);
	pthread_mutex_init(&sqlite->pool_mutex, NULL);
	pthread_cond_init(&sqlite->pool_cond, NULL);
	if (!ts_str_set(&sqlite->path, options->path) ||
	    !ts_str_set(&sqlite->public_url, options->public_url ? options->public_url : "")) {
		close_store(&sqlite->store);
		return ts_fail_nomem(error);
	}
	*out = sqlite;
	return TS_OK;
}

enum ts_err ts_store_sqlite_open(const struct ts_store_sqlite_options *options, struct ts_store **out,
                                 struct ts_error *error)
{
	struct ts_sqlite *sqlite = NULL;
	int from = 0, to = 0;

	TS_TRY(make(options, &sqlite, error));
	enum ts_err err = options->migrate ? ts_store_sqlite_migrate(options->path, &from, &to, error) : TS_OK;
	if (err == TS_OK)
		err = ts_sqlite_conn_open(sqlite->path, sqlite->busy_timeout_ms, true, &sqlite->writer, error);
	if (err == TS_OK)
		err = check_version(sqlite->writer, error);
	if (err != TS_OK) {
		close_store(&sqlite->store);
		return err;
	}
	if (from != to)
		ts_log_info(&sqlite->log, "store migrated", TS_INT("from", from), TS_INT("to", to));
	*out = &sqlite->store;
	return TS_OK;
}
