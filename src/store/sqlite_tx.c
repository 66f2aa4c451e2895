// Statements and transactions of the embedded store. One writer connection a handle, in whose front threads queue;
// readers come from a small pool. Writers begin IMMEDIATE, so a transaction never fails half way for want of a lock.
#include "base/mem.h"
#include "store/store_sqlite_internal.h"

#include <assert.h>
#include <string.h>

static const struct {
	const char *name;
	const char *sql;
} statements[] = {
#define TS_STATEMENT(symbol, text) [TS_SQL_##symbol] = {#symbol, text},
#include "store/statements_sqlite.def"
#undef TS_STATEMENT
};

static enum ts_err prepare(struct ts_sqlite_conn *conn, enum ts_sql_statement id, sqlite3_stmt **out,
                           struct ts_error *error)
{
	sqlite3_stmt **slot = &conn->statements[id];

	if (!*slot) {
		int rc = sqlite3_prepare_v3(conn->db, statements[id].sql, -1, SQLITE_PREPARE_PERSISTENT, slot, NULL);
		if (rc == SQLITE_ERROR)
			return ts_fail(error, TS_ERR_SCHEMA, "the store's schema does not fit this program (%s): %s",
			               statements[id].name, sqlite3_errmsg(conn->db));
		if (rc != SQLITE_OK)
			return ts_sqlite_fail(conn, rc, statements[id].name, error);
	}
	*out = *slot;
	return TS_OK;
}

// Texts are bound without a copy: the statement is reset before run() returns.
static int bind(sqlite3_stmt *stmt, const struct ts_sql_value *values, size_t count)
{
	assert((int)count == sqlite3_bind_parameter_count(stmt));
	for (size_t i = 0; i < count; i++) {
		const struct ts_sql_value *value = &values[i];
		int at = (int)i + 1;
		int rc;

		if (value->kind == 'i')
			rc = sqlite3_bind_int64(stmt, at, value->i);
		else if (value->kind == 'd')
			rc = sqlite3_bind_double(stmt, at, value->d);
		else if (value->text)
			rc = sqlite3_bind_text64(stmt, at, value->text, strlen(value->text), SQLITE_STATIC, SQLITE_UTF8);
		else
			rc = sqlite3_bind_null(stmt, at);
		if (rc != SQLITE_OK)
			return rc;
	}
	return SQLITE_OK;
}

static enum ts_err run(struct ts_sqlite_conn *conn, enum ts_sql_statement id, const struct ts_sql_value *values,
                       size_t value_count, ts_sql_row_fn *row, void *ctx, int64_t *out_count, struct ts_error *error)
{
	sqlite3_stmt *stmt;
	struct ts_sql_row current = {.driver = &ts_sqlite_driver};
	enum ts_err err = TS_OK;
	int64_t rows = 0;
	int rc;

	TS_TRY(prepare(conn, id, &stmt, error));
	current.native = stmt;
	rc = bind(stmt, values, value_count);
	while (rc == SQLITE_OK || rc == SQLITE_ROW) {
		rc = sqlite3_step(stmt);
		if (rc != SQLITE_ROW)
			break;
		rows++;
		if (row)
			err = row(&current, ctx, error);
		if (err != TS_OK)
			break;
	}
	if (err == TS_OK && rc != SQLITE_DONE)
		err = ts_sqlite_fail(conn, rc, statements[id].name, error);
	if (err == TS_OK && out_count)
		*out_count = row ? rows : sqlite3_changes64(conn->db);
	sqlite3_reset(stmt);
	sqlite3_clear_bindings(stmt);
	return err;
}

static enum ts_err run_in(struct ts_sql_tx *tx, enum ts_sql_statement id, const struct ts_sql_value *values,
                          size_t value_count, ts_sql_row_fn *row, void *ctx, int64_t *out_count, struct ts_error *error)
{
	return run(tx->conn, id, values, value_count, row, ctx, out_count, error);
}

static enum ts_err take_reader(struct ts_sqlite *sqlite, struct ts_sqlite_conn **out, struct ts_error *error)
{
	pthread_mutex_lock(&sqlite->pool_mutex);
	while (!sqlite->idle_readers && sqlite->reader_count == TS_SQLITE_READERS_MAX)
		pthread_cond_wait(&sqlite->pool_cond, &sqlite->pool_mutex);
	struct ts_sqlite_conn *conn = sqlite->idle_readers;
	if (conn)
		sqlite->idle_readers = conn->next;
	else
		sqlite->reader_count++;
	pthread_mutex_unlock(&sqlite->pool_mutex);

	if (!conn) {
		enum ts_err err = ts_sqlite_conn_open(sqlite->path, sqlite->busy_timeout_ms, false, &conn, error);
		if (err != TS_OK) {
			pthread_mutex_lock(&sqlite->pool_mutex);
			sqlite->reader_count--;
			pthread_cond_signal(&sqlite->pool_cond);
			pthread_mutex_unlock(&sqlite->pool_mutex);
			return err;
		}
	}
	*out = conn;
	return TS_OK;
}

static void give_back(struct ts_sql_tx *tx)
{
	struct ts_sqlite *sqlite = ts_sqlite_of(tx->sql);
	struct ts_sqlite_conn *conn = tx->conn;

	if (tx->mode == TS_TX_READ) {
		pthread_mutex_lock(&sqlite->pool_mutex);
		conn->next = sqlite->idle_readers;
		sqlite->idle_readers = conn;
		pthread_cond_signal(&sqlite->pool_cond);
		pthread_mutex_unlock(&sqlite->pool_mutex);
	} else {
		pthread_mutex_unlock(&sqlite->write_mutex);
	}
	tx->conn = NULL;
}

static enum ts_err begin_on(struct ts_sqlite_conn *conn, enum ts_sql_mode mode, struct ts_error *error)
{
	bool full = mode == TS_TX_DURABLE;

	if (mode != TS_TX_READ && conn->full_sync != full) {
		TS_TRY(ts_sqlite_exec(conn, full ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL", error));
		conn->full_sync = full;
	}
	return run(conn, mode == TS_TX_READ ? TS_SQL_BEGIN_READ : TS_SQL_BEGIN_WRITE, NULL, 0, NULL, NULL, NULL, error);
}

static enum ts_err begin(struct ts_sql *sql, enum ts_sql_mode mode, struct ts_sql_tx *tx, struct ts_error *error)
{
	struct ts_sqlite *sqlite = ts_sqlite_of(sql);
	struct ts_sqlite_conn *conn;

	if (mode == TS_TX_READ) {
		TS_TRY(take_reader(sqlite, &conn, error));
	} else {
		pthread_mutex_lock(&sqlite->write_mutex);
		conn = sqlite->writer;
	}
	*tx = (struct ts_sql_tx){.sql = sql, .driver = &ts_sqlite_driver, .conn = conn, .mode = mode};
	enum ts_err err = begin_on(conn, mode, error);
	if (err != TS_OK) {
		give_back(tx);
		return err;
	}
	tx->now = ts_wall_ms(sql->clock); // after the wait for the lock: expiry is judged by the time of the write
	if (tx->now < 1)
		tx->now = 1;
	tx->changes = sqlite3_total_changes64(conn->db);
	return TS_OK;
}

static void rollback(struct ts_sql_tx *tx)
{
	struct ts_sqlite_conn *conn = tx->conn;

	// Some failures (disk full, I/O) have rolled it back already.
	if (!sqlite3_get_autocommit(conn->db)) {
		enum ts_err ignored = run(conn, TS_SQL_ROLLBACK, NULL, 0, NULL, NULL, NULL, NULL);
		(void)ignored;
	}
	give_back(tx);
}

static enum ts_err commit(struct ts_sql_tx *tx, struct ts_error *error)
{
	struct ts_sqlite_conn *conn = tx->conn;
	bool changed = sqlite3_total_changes64(conn->db) != tx->changes;
	struct ts_sqlite *sqlite = ts_sqlite_of(tx->sql);

	enum ts_err err = run(conn, TS_SQL_COMMIT, NULL, 0, NULL, NULL, NULL, error);
	if (err != TS_OK) {
		rollback(tx);
		return err;
	}
	give_back(tx);
	if (changed)
		ts_sqlite_notify(sqlite);
	return TS_OK;
}

static enum ts_err exec(struct ts_sql_tx *tx, const char *sql, struct ts_error *error)
{
	return ts_sqlite_exec(tx->conn, sql, error);
}

// --- columns ---

static bool is_null(const struct ts_sql_row *row, int column)
{
	return sqlite3_column_type(row->native, column) == SQLITE_NULL;
}

static int64_t get_int(const struct ts_sql_row *row, int column)
{
	return sqlite3_column_int64(row->native, column);
}

static double get_double(const struct ts_sql_row *row, int column)
{
	return sqlite3_column_double(row->native, column);
}

static const char *get_chars(const struct ts_sql_row *row, int column)
{
	return (const char *)sqlite3_column_text(row->native, column);
}

static size_t get_bytes(const struct ts_sql_row *row, int column)
{
	return (size_t)sqlite3_column_bytes(row->native, column);
}

static int column_count(const struct ts_sql_row *row)
{
	return sqlite3_column_count(row->native);
}

const struct ts_sql_driver ts_sqlite_driver = {
    .begin = begin,
    .commit = commit,
    .rollback = rollback,
    .run = run_in,
    .exec = exec,
    .is_null = is_null,
    .get_int = get_int,
    .get_double = get_double,
    .get_chars = get_chars,
    .get_bytes = get_bytes,
    .column_count = column_count,
    .watch = ts_sqlite_watch,
    .migrations = ts_sqlite_migrations,
    .migration_count = &ts_sqlite_migrations_count,
};
