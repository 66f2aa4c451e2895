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

static enum ts_err prepare(struct ts_sqlite_conn *conn, enum ts_sqlite_statement id, sqlite3_stmt **out,
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
static int bind(sqlite3_stmt *stmt, const struct ts_sqlite_value *values, size_t count)
{
	assert((int)count == sqlite3_bind_parameter_count(stmt));
	for (size_t i = 0; i < count; i++) {
		const struct ts_sqlite_value *value = &values[i];
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

static enum ts_err run(struct ts_sqlite_conn *conn, enum ts_sqlite_statement id, const struct ts_sqlite_value *values,
                       size_t value_count, ts_sqlite_row_fn *row, void *ctx, int64_t *out_count, struct ts_error *error)
{
	sqlite3_stmt *stmt;
	enum ts_err err = TS_OK;
	int64_t rows = 0;
	int rc;

	TS_TRY(prepare(conn, id, &stmt, error));
	rc = bind(stmt, values, value_count);
	while (rc == SQLITE_OK || rc == SQLITE_ROW) {
		rc = sqlite3_step(stmt);
		if (rc != SQLITE_ROW)
			break;
		rows++;
		if (row)
			err = row(stmt, ctx, error);
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

enum ts_err ts_sqlite_run(struct ts_sqlite_tx *tx, enum ts_sqlite_statement id, const struct ts_sqlite_value *values,
                          size_t value_count, ts_sqlite_row_fn *row, void *ctx, int64_t *out_count,
                          struct ts_error *error)
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

static void give_back(struct ts_sqlite_tx *tx)
{
	struct ts_sqlite *sqlite = tx->sqlite;

	if (tx->mode == TS_SQLITE_READ) {
		pthread_mutex_lock(&sqlite->pool_mutex);
		tx->conn->next = sqlite->idle_readers;
		sqlite->idle_readers = tx->conn;
		pthread_cond_signal(&sqlite->pool_cond);
		pthread_mutex_unlock(&sqlite->pool_mutex);
	} else {
		pthread_mutex_unlock(&sqlite->write_mutex);
	}
	tx->conn = NULL;
}

static enum ts_err begin_on(struct ts_sqlite_conn *conn, enum ts_sqlite_mode mode, struct ts_error *error)
{
	bool full = mode == TS_SQLITE_DURABLE;

	if (mode != TS_SQLITE_READ && conn->full_sync != full) {
		TS_TRY(ts_sqlite_exec(conn, full ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL", error));
		conn->full_sync = full;
	}
	return run(conn, mode == TS_SQLITE_READ ? TS_SQL_BEGIN_READ : TS_SQL_BEGIN_WRITE, NULL, 0, NULL, NULL, NULL, error);
}

enum ts_err ts_sqlite_begin(struct ts_sqlite *sqlite, enum ts_sqlite_mode mode, struct ts_sqlite_tx *tx,
                            struct ts_error *error)
{
	struct ts_sqlite_conn *conn;

	if (mode == TS_SQLITE_READ) {
		TS_TRY(take_reader(sqlite, &conn, error));
	} else {
		pthread_mutex_lock(&sqlite->write_mutex);
		conn = sqlite->writer;
	}
	*tx = (struct ts_sqlite_tx){.sqlite = sqlite, .conn = conn, .mode = mode};
	enum ts_err err = begin_on(conn, mode, error);
	if (err != TS_OK) {
		give_back(tx);
		return err;
	}
	tx->now = ts_wall_ms(sqlite->clock); // after the wait for the lock: expiry is judged by the time of the write
	if (tx->now < 1)
		tx->now = 1;
	tx->changes = sqlite3_total_changes64(conn->db);
	return TS_OK;
}

enum ts_err ts_sqlite_commit(struct ts_sqlite_tx *tx, struct ts_error *error)
{
	bool changed = sqlite3_total_changes64(tx->conn->db) != tx->changes;
	struct ts_sqlite *sqlite = tx->sqlite;

	enum ts_err err = run(tx->conn, TS_SQL_COMMIT, NULL, 0, NULL, NULL, NULL, error);
	if (err != TS_OK) {
		ts_sqlite_rollback(tx);
		return err;
	}
	give_back(tx);
	if (changed)
		ts_sqlite_notify(sqlite);
	return TS_OK;
}

void ts_sqlite_rollback(struct ts_sqlite_tx *tx)
{
	if (!tx->conn)
		return;
	// Some failures (disk full, I/O) have rolled it back already.
	if (!sqlite3_get_autocommit(tx->conn->db)) {
		enum ts_err ignored = run(tx->conn, TS_SQL_ROLLBACK, NULL, 0, NULL, NULL, NULL, NULL);
		(void)ignored;
	}
	give_back(tx);
}
