// The PostgreSQL store's handle: opening, migrating, the ops table, closing. What it does lies in sql_*.c and pg_*.c
// beside this.
#include "store/store_pg.h"

#include "base/mem.h"
#include "store/store_pg_internal.h"

#define POOL_SIZE 8
#define POOL_TIMEOUT_MS 10000
#define STATEMENT_TIMEOUT_MS 30000
#define LOCK_TIMEOUT_MS 10000
// Of all processes that migrate one database.
#define MIGRATION_LOCK "transcription migrations"

static void close_store(struct ts_store *store)
{
	struct ts_pg *pg = ts_pg_of(ts_sql_of(store));

	ts_pg_wait_finish(pg);
	ts_pg_drop_idle(pg);
	pthread_cond_destroy(&pg->pool_cond);
	pthread_mutex_destroy(&pg->pool_mutex);
	ts_pg_conninfo_finish(&pg->conninfo);
	ts_sql_close(&pg->sql);
	ts_free(pg);
}

static const struct ts_store_ops ops = {.name = "postgresql", .close = close_store, TS_SQL_OPS};

// --- migrating ---

// A connection of its own: waiting for another process's migration is not bounded by the store's timeouts.
static enum ts_err migrate_on(struct ts_pg_conn *conn, int *out_from, struct ts_error *error)
{
	struct ts_sql_tx tx = {.driver = &ts_pg_driver, .conn = conn};
	int version;

	TS_TRY(ts_sql_schema_version(&tx, &version, error));
	if (version == ts_pg_migrations_count) { // the usual start takes no lock
		*out_from = version;
		return TS_OK;
	}
	TS_TRY(
	    ts_pg_simple(conn->pg, "BEGIN; SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0", "begin", error));
	TS_TRY(ts_sql_lock(&tx, MIGRATION_LOCK, error));
	TS_TRY(ts_sql_schema_apply(&tx, out_from, error));
	return ts_pg_simple(conn->pg, "COMMIT", "commit", error);
}

static enum ts_err migrate(const struct ts_pg_conninfo *conninfo, int *out_from, struct ts_error *error)
{
	struct ts_pg_conn *conn;

	TS_TRY(ts_pg_conn_open(conninfo, &conn, error));
	enum ts_err err = migrate_on(conn, out_from, error);
	ts_pg_conn_close(conn); // which rolls back what was not committed
	return err;
}

enum ts_err ts_store_pg_migrate(const struct ts_pg_address *address, int *out_from, int *out_to, struct ts_error *error)
{
	struct ts_pg_conninfo conninfo;
	int from = 0;

	TS_TRY(ts_pg_conninfo_init(&conninfo, address, error));
	enum ts_err err = migrate(&conninfo, &from, error);
	ts_pg_conninfo_finish(&conninfo);
	TS_TRY(err);
	if (out_from)
		*out_from = from;
	if (out_to)
		*out_to = ts_pg_migrations_count;
	return TS_OK;
}

// --- opening ---

static enum ts_err check_schema(struct ts_pg *pg, struct ts_error *error)
{
	TS_AUTOTX struct ts_sql_tx tx = {0};

	TS_TRY(ts_sql_begin(&pg->sql, TS_TX_READ, &tx, error));
	TS_TRY(ts_sql_schema_check(&tx, error));
	return ts_sql_commit(&tx, error);
}

// Everything that close_store undoes is ready.
static enum ts_err make(const struct ts_store_pg_options *options, struct ts_pg **out, struct ts_error *error)
{
	struct ts_pg *pg = ts_calloc(1, sizeof *pg);

	if (!pg)
		return ts_fail_nomem(error);
	enum ts_err err = ts_sql_init(&pg->sql, &ops, &ts_pg_driver, options->clock, options->rng, options->public_url,
	                              options->log, error);
	if (err != TS_OK) {
		ts_free(pg);
		return err;
	}
	err = ts_sql_cond_init(&pg->pool_cond, error);
	if (err != TS_OK) {
		ts_sql_close(&pg->sql);
		ts_free(pg);
		return err;
	}
	pthread_mutex_init(&pg->pool_mutex, NULL);
	pg->watch_event = -1;
	pg->pool_size = options->pool_size > 0 ? options->pool_size : POOL_SIZE;
	pg->pool_timeout_ms = options->pool_timeout_ms > 0 ? options->pool_timeout_ms : POOL_TIMEOUT_MS;
	ts_pg_begin_texts(pg, options->statement_timeout_ms > 0 ? options->statement_timeout_ms : STATEMENT_TIMEOUT_MS,
	                  options->lock_timeout_ms > 0 ? options->lock_timeout_ms : LOCK_TIMEOUT_MS);
	err = ts_pg_conninfo_init(&pg->conninfo, &options->address, error);
	if (err != TS_OK) {
		close_store(&pg->sql.store);
		return err;
	}
	*out = pg;
	return TS_OK;
}

enum ts_err ts_store_pg_open(const struct ts_store_pg_options *options, struct ts_store **out, struct ts_error *error)
{
	struct ts_pg *pg = NULL;
	int from = 0;

	TS_TRY(make(options, &pg, error));
	enum ts_err err = options->migrate ? migrate(&pg->conninfo, &from, error) : TS_OK;
	if (err == TS_OK)
		err = check_schema(pg, error);
	if (err != TS_OK) {
		close_store(&pg->sql.store);
		return err;
	}
	if (options->migrate && from != ts_pg_migrations_count)
		ts_log_info(&pg->sql.log, "store migrated", TS_INT("from", from), TS_INT("to", ts_pg_migrations_count));
	*out = &pg->sql.store;
	return TS_OK;
}
