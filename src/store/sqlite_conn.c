// Connections of the embedded store: pragmas, waiting for other processes' locks, SQLite's errors as the store's.
// Refuses transactions (sqlite_tx.c).
#include "base/mem.h"
#include "store/store_sqlite_internal.h"

#include <time.h>

// Locks are held for the length of one commit, so the waits are short and grow little. Machine time on purpose: what is
// waited for is another process, whatever the store's clock says.
static int wait_for_lock(void *ctx, int count)
{
	struct ts_sqlite_conn *conn = ctx;
	int64_t now = ts_mono_ms(ts_clock_system());
	long micros = count < 5 ? 100L << count : 3000L;

	if (count == 0)
		conn->busy_since_ms = now;
	if (now - conn->busy_since_ms >= conn->busy_timeout_ms)
		return 0;
	nanosleep(&(struct timespec){.tv_nsec = micros * 1000}, NULL);
	return 1;
}

enum ts_err ts_sqlite_fail(const struct ts_sqlite_conn *conn, int rc, const char *doing, struct ts_error *error)
{
	switch (rc & 0xff) {
	case SQLITE_NOMEM: return ts_fail_nomem(error);
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return ts_fail(error, TS_ERR_STORE, "the store is locked by another process (%s, waited %lld ms)", doing,
		               (long long)conn->busy_timeout_ms);
	default:
		return ts_fail(error, TS_ERR_STORE, "the store failed (%s): %s", doing,
		               conn->db ? sqlite3_errmsg(conn->db) : sqlite3_errstr(rc));
	}
}

enum ts_err ts_sqlite_exec(struct ts_sqlite_conn *conn, const char *sql, struct ts_error *error)
{
	int rc = sqlite3_exec(conn->db, sql, NULL, NULL, NULL);

	return rc == SQLITE_OK ? TS_OK : ts_sqlite_fail(conn, rc, sql[0] == 'P' ? sql : "statement", error);
}

// The change to WAL asks for all locks at once and gives up without calling the busy handler, so it is tried again.
static enum ts_err enter_wal(struct ts_sqlite_conn *conn, struct ts_error *error)
{
	int rc;

	for (int count = 0;; count++) {
		rc = sqlite3_exec(conn->db, "PRAGMA journal_mode = WAL", NULL, NULL, NULL);
		if ((rc & 0xff) != SQLITE_BUSY && (rc & 0xff) != SQLITE_LOCKED)
			break;
		if (!wait_for_lock(conn, count))
			break;
	}
	return rc == SQLITE_OK ? TS_OK : ts_sqlite_fail(conn, rc, "journal_mode", error);
}

enum ts_err ts_sqlite_conn_open(const char *path, int64_t busy_timeout_ms, bool writer, struct ts_sqlite_conn **out,
                                struct ts_error *error)
{
	struct ts_sqlite_conn *conn = ts_calloc(1, sizeof *conn);
	enum ts_err err;

	if (!conn)
		return ts_fail_nomem(error);
	conn->busy_timeout_ms = busy_timeout_ms;
	int rc = sqlite3_open_v2(path, &conn->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
	if (rc != SQLITE_OK) {
		err = (rc & 0xff) == SQLITE_NOMEM ? ts_fail_nomem(error)
		                                  : ts_fail(error, TS_ERR_STORE, "cannot open the store %s: %s", path,
		                                            conn->db ? sqlite3_errmsg(conn->db) : sqlite3_errstr(rc));
		goto fail;
	}
	sqlite3_extended_result_codes(conn->db, 1);
	sqlite3_busy_handler(conn->db, wait_for_lock, conn);
	err = enter_wal(conn, error);
	if (err != TS_OK)
		goto fail;
	// The WAL is copied back every 1000 pages (about 4 MB) and never left larger than 64 MB.
	err = ts_sqlite_exec(conn,
	                     "PRAGMA foreign_keys = ON; PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 1000; "
	                     "PRAGMA journal_size_limit = 67108864; PRAGMA temp_store = MEMORY",
	                     error);
	if (err == TS_OK && !writer)
		err = ts_sqlite_exec(conn, "PRAGMA query_only = ON", error);
	if (err != TS_OK)
		goto fail;
	*out = conn;
	return TS_OK;
fail:
	ts_sqlite_conn_close(conn);
	return err;
}

void ts_sqlite_conn_close(struct ts_sqlite_conn *conn)
{
	if (!conn)
		return;
	for (size_t i = 0; i < TS_SQL_COUNT; i++)
		sqlite3_finalize(conn->statements[i]);
	sqlite3_close(conn->db);
	ts_free(conn);
}
