// The embedded store's handle: opening, the ops table, closing. What it does lies in sqlite_*.c beside this.
#include "store/store_sqlite.h"

#include "base/mem.h"
#include "store/store_sqlite_internal.h"

#define BUSY_TIMEOUT_MS 10000

static void close_store(struct ts_store *store)
{
	struct ts_sqlite *sqlite = ts_sqlite_of(ts_sql_of(store));

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
	ts_sql_close(&sqlite->sql);
	ts_free(sqlite);
}

static const struct ts_store_ops ops = {.name = "sqlite", .close = close_store, TS_SQL_OPS};

struct ts_sqlite *ts_sqlite_check(struct ts_store *store)
{
	return store->ops == &ops ? ts_sqlite_of(ts_sql_of(store)) : NULL;
}

// Everything that close_store undoes is ready, except the writer.
static enum ts_err make(const struct ts_store_sqlite_options *options, struct ts_sqlite **out, struct ts_error *error)
{
	struct ts_sqlite *sqlite = ts_calloc(1, sizeof *sqlite);

	if (!sqlite)
		return ts_fail_nomem(error);
	enum ts_err err = ts_sql_init(&sqlite->sql, &ops, &ts_sqlite_driver, options->clock, options->rng,
	                              options->public_url, options->log, error);
	if (err != TS_OK) {
		ts_free(sqlite);
		return err;
	}
	sqlite->busy_timeout_ms = options->busy_timeout_ms > 0 ? options->busy_timeout_ms : BUSY_TIMEOUT_MS;
	sqlite->watch_fd = sqlite->watch_event = -1;
	pthread_mutex_init(&sqlite->write_mutex, NULL);
	pthread_mutex_init(&sqlite->pool_mutex, NULL);
	pthread_cond_init(&sqlite->pool_cond, NULL);
	if (!ts_str_set(&sqlite->path, options->path)) {
		close_store(&sqlite->sql.store);
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
	if (err == TS_OK) {
		struct ts_sql_tx tx = {.driver = &ts_sqlite_driver, .conn = sqlite->writer};
		err = ts_sql_schema_check(&tx, error);
	}
	if (err != TS_OK) {
		close_store(&sqlite->sql.store);
		return err;
	}
	if (from != to)
		ts_log_info(&sqlite->sql.log, "store migrated", TS_INT("from", from), TS_INT("to", to));
	*out = &sqlite->sql.store;
	return TS_OK;
}
