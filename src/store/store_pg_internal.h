// Inside the PostgreSQL store: its connections. For pg_*.c; everybody else uses store.h.
#ifndef TS_STORE_STORE_PG_INTERNAL_H
#define TS_STORE_STORE_PG_INTERNAL_H

#include "store/store_pg.h"
#include "store/store_sql.h"

#include <libpq-fe.h>

#define TS_PG_PARAMETERS 24
#define TS_PG_MESSAGE_MAX 512

// Owned copies of what a connection is made with.
struct ts_pg_conninfo {
	const char *names[TS_PG_PARAMETERS + 1];
	char *values[TS_PG_PARAMETERS + 1];
	int count;
};

// One connection; used by one thread at a time.
struct ts_pg_conn {
	PGconn *pg;
	struct ts_pg_conn *next;
};

struct ts_pg {
	struct ts_sql sql; // first
	struct ts_pg_conninfo conninfo;
	int64_t pool_timeout_ms;
	unsigned pool_size;
	char begin[3][320]; // by enum ts_sql_mode

	pthread_mutex_t pool_mutex;
	pthread_cond_t pool_cond; // monotonic
	struct ts_pg_conn *idle;
	unsigned conn_count; // idle, in use and being made
	unsigned failures;   // to connect, in a row
	int64_t next_try_at; // monotonic ms: until then nobody tries to connect
	char last_failure[TS_PG_MESSAGE_MAX];

	// pg_wait.c; under sql.wait.mutex
	bool watching;
	bool watch_tried; // the first try to connect is over
	bool to_announce; // somebody committed
	bool watch_stop;
	pthread_t watch_thread;
	int watch_event;
};

extern const struct ts_sql_driver ts_pg_driver;

static inline struct ts_pg *ts_pg_of(struct ts_sql *sql)
{
	return (struct ts_pg *)sql;
}

// --- connections (pg_pool.c) ---

enum ts_err ts_pg_conninfo_init(struct ts_pg_conninfo *conninfo, const struct ts_pg_address *address,
                                struct ts_error *error) TS_MUST_USE;
void ts_pg_conninfo_finish(struct ts_pg_conninfo *conninfo); // wipes the password
enum ts_err ts_pg_conn_open(const struct ts_pg_conninfo *conninfo, struct ts_pg_conn **out,
                            struct ts_error *error) TS_MUST_USE;
void ts_pg_conn_close(struct ts_pg_conn *conn); // NULL-safe
// A connection that seems alive. *out_fresh: it was just made.
enum ts_err ts_pg_take(struct ts_pg *pg, struct ts_pg_conn **out, bool *out_fresh, struct ts_error *error) TS_MUST_USE;
// Back into the pool, or closed when it is broken or in the middle of something.
void ts_pg_give(struct ts_pg *pg, struct ts_pg_conn *conn);
// Closes those that nobody uses: one of them turned out to be dead.
void ts_pg_drop_idle(struct ts_pg *pg);
// Pause before try number `failures` + 1: doubles up to a second, with jitter.
int64_t ts_pg_backoff_ms(struct ts_pg *pg, unsigned failures);
// The store's error for what the server or the connection said; `result` may be NULL.
enum ts_err ts_pg_fail(PGconn *conn, const PGresult *result, const char *doing, struct ts_error *error) TS_MUST_USE;
void ts_pg_ignore_notice(void *ctx, const PGresult *result);
// libpq's messages are lines; ours are not.
void ts_pg_message(const char *message, char *out, size_t size);

// --- transactions (pg_tx.c) ---

enum ts_err ts_pg_simple(PGconn *conn, const char *sql, const char *doing, struct ts_error *error) TS_MUST_USE;
void ts_pg_begin_texts(struct ts_pg *pg, int64_t statement_timeout_ms, int64_t lock_timeout_ms);
extern const char *const ts_pg_statements[TS_SQL_COUNT];

// --- waiting (pg_wait.c) ---

// Under wait.mutex.
enum ts_err ts_pg_watch(struct ts_sql *sql, struct ts_error *error) TS_MUST_USE;
void ts_pg_wait_finish(struct ts_pg *pg);
void ts_pg_notify(struct ts_pg *pg); // something was committed

#endif
