// Inside the embedded store: its connections. For sqlite_*.c; everybody else uses store.h.
#ifndef TS_STORE_STORE_SQLITE_INTERNAL_H
#define TS_STORE_STORE_SQLITE_INTERNAL_H

#include "store/store_sql.h"
#include "store/store_sqlite.h"

#include <sqlite3.h>

// One connection with its prepared statements; used by one thread at a time.
struct ts_sqlite_conn {
	sqlite3 *db;
	sqlite3_stmt *statements[TS_SQL_COUNT]; // prepared at first use
	bool full_sync;
	int64_t busy_timeout_ms;
	int64_t busy_since_ms; // when the running wait for another process's lock began
	struct ts_sqlite_conn *next;
};

#define TS_SQLITE_READERS_MAX 8

struct ts_sqlite {
	struct ts_sql sql; // first
	char *path;
	int64_t busy_timeout_ms;

	// SQLite has one writer at a time: threads of this process queue here, fairly and without polling.
	pthread_mutex_t write_mutex;
	struct ts_sqlite_conn *writer;

	pthread_mutex_t pool_mutex;
	pthread_cond_t pool_cond;
	struct ts_sqlite_conn *idle_readers;
	unsigned reader_count;

	// sqlite_wait.c
	bool watching;
	struct ts_sqlite_conn *watch_conn;
	int64_t watch_version; // PRAGMA data_version
	pthread_t watch_thread;
	int watch_fd; // inotify; -1: none
	int watch_event;
};

extern const struct ts_sql_driver ts_sqlite_driver;

static inline struct ts_sqlite *ts_sqlite_of(struct ts_sql *sql)
{
	return (struct ts_sqlite *)sql;
}
// NULL when the store is of another back end.
struct ts_sqlite *ts_sqlite_check(struct ts_store *store);

// --- connections (sqlite_conn.c) ---

enum ts_err ts_sqlite_conn_open(const char *path, int64_t busy_timeout_ms, bool writer, struct ts_sqlite_conn **out,
                                struct ts_error *error) TS_MUST_USE;
void ts_sqlite_conn_close(struct ts_sqlite_conn *conn); // NULL-safe
// Runs text without parameters (pragmas, migrations).
enum ts_err ts_sqlite_exec(struct ts_sqlite_conn *conn, const char *sql, struct ts_error *error) TS_MUST_USE;
// The store's error for what SQLite returned on this connection.
enum ts_err ts_sqlite_fail(const struct ts_sqlite_conn *conn, int rc, const char *doing,
                           struct ts_error *error) TS_MUST_USE;

// --- waiting (sqlite_wait.c) ---

// Under wait.mutex.
enum ts_err ts_sqlite_watch(struct ts_sql *sql, struct ts_error *error) TS_MUST_USE;
void ts_sqlite_wait_finish(struct ts_sqlite *sqlite);
void ts_sqlite_notify(struct ts_sqlite *sqlite); // something was committed

#endif
