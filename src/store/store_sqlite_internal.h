// Inside the embedded store: connections, statements, transactions and rows. For src/store's sqlite_*.c and for
// queue_store, which keeps its messages in the same file. Everybody else uses store.h.
#ifndef TS_STORE_STORE_SQLITE_INTERNAL_H
#define TS_STORE_STORE_SQLITE_INTERNAL_H

#include "store/store_ops.h"
#include "store/store_sqlite.h"

#include <pthread.h>
#include <sqlite3.h>

enum ts_sqlite_statement {
#define TS_STATEMENT(symbol, sql) TS_SQL_##symbol,
#include "store/statements_sqlite.def"
#undef TS_STATEMENT
	TS_SQL_COUNT
};

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
	struct ts_store store; // first
	char *path;
	char *public_url;
	int64_t busy_timeout_ms;
	const struct ts_clock *clock;
	struct ts_rng *rng;
	struct ts_rng system_rng;
	struct ts_log log;

	// SQLite has one writer at a time: threads of this process queue here, fairly and without polling.
	pthread_mutex_t write_mutex;
	struct ts_sqlite_conn *writer;

	pthread_mutex_t pool_mutex;
	pthread_cond_t pool_cond;
	struct ts_sqlite_conn *idle_readers;
	unsigned reader_count;

	// sqlite_wait.c
	pthread_mutex_t wait_mutex;
	pthread_cond_t wait_cond;
	uint64_t generation; // of what was seen changed; under wait_mutex
	bool watching;
	struct ts_sqlite_conn *watch_conn;
	int64_t watch_version; // PRAGMA data_version
	pthread_t watch_thread;
	int watch_fd; // inotify; -1: none
	int watch_event;
};

static inline struct ts_sqlite *ts_sqlite_of(struct ts_store *store)
{
	return (struct ts_sqlite *)store;
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

// The schema's version, 0 for an empty database. TS_ERR_SCHEMA: not ours, newer, or its migrations were changed.
enum ts_err ts_sqlite_schema_version(struct ts_sqlite_conn *conn, int *out_version, struct ts_error *error) TS_MUST_USE;

// --- transactions (sqlite_tx.c) ---

enum ts_sqlite_mode {
	TS_SQLITE_READ,
	TS_SQLITE_HINT,   // a write that may be lost with the machine's power, never with a process
	TS_SQLITE_DURABLE // a write that survives the loss of power once committed
};

struct ts_sqlite_tx {
	struct ts_sqlite *sqlite;
	struct ts_sqlite_conn *conn; // NULL: over
	enum ts_sqlite_mode mode;
	int64_t now;     // wall clock of its begin, never below 1 (0 means "not yet" in every column)
	int64_t changes; // of the connection at its begin
};

enum ts_err ts_sqlite_begin(struct ts_sqlite *sqlite, enum ts_sqlite_mode mode, struct ts_sqlite_tx *tx,
                            struct ts_error *error) TS_MUST_USE;
// Ends it either way, and tells waiters of this and other processes when something was written.
enum ts_err ts_sqlite_commit(struct ts_sqlite_tx *tx, struct ts_error *error) TS_MUST_USE;
void ts_sqlite_rollback(struct ts_sqlite_tx *tx); // nothing when it is over
// Rolls back on every way out that did not commit.
#define TS_AUTOTX TS_CLEANUP(ts_sqlite_rollback)

struct ts_sqlite_value {
	char kind; // 't' text (NULL allowed), 'i', 'd'
	const char *text;
	int64_t i;
	double d;
};
#define TS_T(text_) ((struct ts_sqlite_value){.kind = 't', .text = (text_)})
#define TS_I(i_) ((struct ts_sqlite_value){.kind = 'i', .i = (i_)})
#define TS_D(d_) ((struct ts_sqlite_value){.kind = 'd', .d = (d_)})

// Called for each row; columns by sqlite3_column_*. An error ends the statement.
typedef enum ts_err ts_sqlite_row_fn(sqlite3_stmt *row, void *ctx, struct ts_error *error);

// Runs a statement to its end. *out_count (may be NULL): rows seen when `row` is given, else rows changed.
enum ts_err ts_sqlite_run(struct ts_sqlite_tx *tx, enum ts_sqlite_statement id, const struct ts_sqlite_value *values,
                          size_t value_count, ts_sqlite_row_fn *row, void *ctx, int64_t *out_count,
                          struct ts_error *error) TS_MUST_USE;
// ts_sqlite_run with its values as trailing arguments, of which there is at least one.
#define TS_SQL(tx, symbol, row, ctx, out_count, error, ...)                                                      \
	ts_sqlite_run((tx), TS_SQL_##symbol, (const struct ts_sqlite_value[]){__VA_ARGS__},                          \
	              sizeof((const struct ts_sqlite_value[]){__VA_ARGS__}) / sizeof(struct ts_sqlite_value), (row), \
	              (ctx), (out_count), (error))

// --- rows (sqlite_rows.c) ---

// Sets *slot (owned) to a text column; NULL stays NULL.
enum ts_err ts_sqlite_text(sqlite3_stmt *row, int column, char **slot, struct ts_error *error) TS_MUST_USE;
void ts_sqlite_uuid(sqlite3_stmt *row, int column, char out[TS_UUID_SIZE]);
struct ts_sqlite_job { // ctx of ts_sqlite_row_job
	struct ts_job job;
	int64_t fence;
};
void ts_sqlite_job_finish(struct ts_sqlite_job *row);
#define TS_AUTOJOBROW TS_CLEANUP(ts_sqlite_job_finish)
ts_sqlite_row_fn ts_sqlite_row_job;
ts_sqlite_row_fn ts_sqlite_row_int; // ctx: int64_t
ts_sqlite_row_fn ts_sqlite_row_any; // takes no columns
// Moves the row's job to the caller's.
void ts_sqlite_job_take(struct ts_sqlite_job *row, struct ts_job *out);

enum ts_err ts_sqlite_not_found(const char *job_id, struct ts_error *error);
// One more mention of the job, due at due_at; replaces an older one.
enum ts_err ts_sqlite_mention(struct ts_sqlite_tx *tx, const struct ts_job *job, int64_t due_at,
                              struct ts_error *error) TS_MUST_USE;
// The callback of a job that became final, when it asked for one. `transcript` may be NULL.
enum ts_err ts_sqlite_deliver(struct ts_sqlite_tx *tx, const struct ts_job *job, const struct ts_transcript *transcript,
                              struct ts_error *error) TS_MUST_USE;

// --- waiting (sqlite_wait.c) ---

enum ts_err ts_sqlite_wait_init(struct ts_sqlite *sqlite, struct ts_error *error) TS_MUST_USE;
void ts_sqlite_wait_finish(struct ts_sqlite *sqlite);
void ts_sqlite_notify(struct ts_sqlite *sqlite); // something was committed
void ts_sqlite_wake(struct ts_store *store);
enum ts_err ts_sqlite_wait_change(struct ts_store *store, uint64_t *seen, int64_t timeout_ms, const atomic_bool *stop,
                                  struct ts_error *error) TS_MUST_USE;

// --- members of the ops table, by file ---

enum ts_err ts_sqlite_submit(struct ts_store *store, const struct ts_submit *submit, struct ts_job *out_job,
                             bool *out_replayed, struct ts_error *error) TS_MUST_USE;
enum ts_err ts_sqlite_get(struct ts_store *store, const char *job_id, struct ts_job *out,
                          struct ts_error *error) TS_MUST_USE;
enum ts_err ts_sqlite_list(struct ts_store *store, const struct ts_job_filter *filter, struct ts_job_page *out,
                           struct ts_error *error) TS_MUST_USE;
enum ts_err ts_sqlite_counts(struct ts_store *store, struct ts_store_counts *out, struct ts_error *error) TS_MUST_USE;
enum ts_err ts_sqlite_transcript(struct ts_store *store, const char *job_id, struct ts_transcript *out,
                                 struct ts_error *error) TS_MUST_USE;
enum ts_err ts_sqlite_cancel(struct ts_store *store, const char *job_id, struct ts_job *out,
                             struct ts_error *error) TS_MUST_USE;
enum ts_err ts_sqlite_retry(struct ts_store *store, const char *job_id, struct ts_job *out,
                            struct ts_error *error) TS_MUST_USE;
enum ts_err ts_sqlite_delete(struct ts_store *store, const char *job_id, struct ts_error *error) TS_MUST_USE;

enum ts_err ts_sqlite_outbox_claim(struct ts_store *store, int64_t lease_ms, struct ts_outbox_item *items,
                                   size_t capacity, size_t *out_count, struct ts_error *error) TS_MUST_USE;
enum ts_err ts_sqlite_outbox_done(struct ts_store *store, const struct ts_outbox_item *items, size_t count,
                                  struct ts_error *error) TS_MUST_USE;
enum ts_err ts_sqlite_claim(struct ts_store *store, const char *job_id, const char *owner, int64_t lease_ms,
                            struct ts_job *out_job, struct ts_lease *out_lease, struct ts_error *error) TS_MUST_USE;
enum ts_err ts_sqlite_heartbeat(struct ts_store *store, const struct ts_lease *lease, int64_t lease_ms,
                                const struct ts_progress *progress, struct ts_error *error) TS_MUST_USE;
enum ts_err ts_sqlite_lease_check(struct ts_store *store, const struct ts_lease *lease,
                                  struct ts_error *error) TS_MUST_USE;
enum ts_err ts_sqlite_release(struct ts_store *store, const struct ts_lease *lease, struct ts_error *error) TS_MUST_USE;
enum ts_err ts_sqlite_fail_job(struct ts_store *store, const struct ts_lease *lease, const struct ts_error *cause,
                               int64_t retry_at, enum ts_job_state *out_state, struct ts_error *error) TS_MUST_USE;
enum ts_err ts_sqlite_finish(struct ts_store *store, const struct ts_lease *lease,
                             const struct ts_transcript *transcript, struct ts_error *error) TS_MUST_USE;
// Fails a job that is out of attempts; *out_done tells whether it was.
enum ts_err ts_sqlite_exhaust(struct ts_sqlite_tx *tx, const char *job_id, bool *out_done,
                              struct ts_error *error) TS_MUST_USE;

enum ts_err ts_sqlite_reap(struct ts_store *store, int64_t orphan_after_ms, struct ts_reaped *out,
                           struct ts_error *error) TS_MUST_USE;
enum ts_err ts_sqlite_retire(struct ts_store *store, int64_t finished_before, unsigned limit, int64_t *out_deleted,
                             struct ts_error *error) TS_MUST_USE;

enum ts_err ts_sqlite_delivery_claim(struct ts_store *store, int64_t lease_ms, struct ts_delivery *out,
                                     int64_t *out_next_at, struct ts_error *error) TS_MUST_USE;
enum ts_err ts_sqlite_delivery_record(struct ts_store *store, const struct ts_delivery *delivery,
                                      const struct ts_delivery_attempt *attempt, enum ts_delivery_outcome outcome,
                                      int64_t next_attempt_at, struct ts_error *error) TS_MUST_USE;
enum ts_err ts_sqlite_deliveries(struct ts_store *store, const char *job_id, struct ts_delivery_list *out,
                                 struct ts_error *error) TS_MUST_USE;
enum ts_err ts_sqlite_redeliver(struct ts_store *store, const char *job_id, int64_t number,
                                struct ts_error *error) TS_MUST_USE;

enum ts_err ts_sqlite_upload_create(struct ts_store *store, struct ts_upload *upload,
                                    struct ts_error *error) TS_MUST_USE;
enum ts_err ts_sqlite_upload_get(struct ts_store *store, const char *id, struct ts_upload *out,
                                 struct ts_error *error) TS_MUST_USE;
enum ts_err ts_sqlite_uploads_expired(struct ts_store *store, struct ts_upload *items, size_t capacity,
                                      size_t *out_count, struct ts_error *error) TS_MUST_USE;
enum ts_err ts_sqlite_upload_forget(struct ts_store *store, const char *id, struct ts_error *error) TS_MUST_USE;

#endif
