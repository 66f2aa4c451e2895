// What the back ends of the store share, since both speak SQL: every operation as statements in a transaction
// (sql_*.c). A back end brings a driver (connections, transactions, columns) and the text of each statement, with the
// same numbered parameters and result columns. For src/store and for queue_store, which keeps its messages beside the
// jobs. Everybody else uses store.h.
#ifndef TS_STORE_STORE_SQL_H
#define TS_STORE_STORE_SQL_H

#include "store/migration.h"
#include "store/store_ops.h"

#include <pthread.h>

enum ts_sql_statement {
#define TS_STATEMENT(symbol, sql) TS_SQL_##symbol,
#include "store/statements_sqlite.def"
#undef TS_STATEMENT
	TS_SQL_COUNT
};

enum ts_sql_mode {
	TS_TX_READ,
	TS_TX_HINT,   // a write that may be lost with the machine's power, never with a process
	TS_TX_DURABLE // a write that survives the loss of power once committed
};

struct ts_sql;

struct ts_sql_tx {
	struct ts_sql *sql;
	const struct ts_sql_driver *driver;
	void *conn; // the driver's; NULL: over
	enum ts_sql_mode mode;
	int64_t now;     // wall clock of its begin, never below 1 (0 means "not yet" in every column)
	int64_t changes; // the driver's
};

struct ts_sql_value {
	char kind; // 't' text (NULL allowed), 'i', 'd'
	const char *text;
	int64_t i;
	double d;
};
#define TS_T(text_) ((struct ts_sql_value){.kind = 't', .text = (text_)})
#define TS_I(i_) ((struct ts_sql_value){.kind = 'i', .i = (i_)})
#define TS_D(d_) ((struct ts_sql_value){.kind = 'd', .d = (d_)})

// One row of a result, while it is read.
struct ts_sql_row {
	const struct ts_sql_driver *driver;
	void *native;
	int number;
};
// Called for each row. An error ends the statement.
typedef enum ts_err ts_sql_row_fn(const struct ts_sql_row *row, void *ctx, struct ts_error *error);

// Every member but `lock` is mandatory.
struct ts_sql_driver {
	enum ts_err (*begin)(struct ts_sql *, enum ts_sql_mode, struct ts_sql_tx *, struct ts_error *);
	enum ts_err (*commit)(struct ts_sql_tx *, struct ts_error *);
	void (*rollback)(struct ts_sql_tx *);
	enum ts_err (*run)(struct ts_sql_tx *, enum ts_sql_statement, const struct ts_sql_value *, size_t, ts_sql_row_fn *,
	                   void *, int64_t *, struct ts_error *);
	// Text without parameters, several statements (migrations).
	enum ts_err (*exec)(struct ts_sql_tx *, const char *, struct ts_error *);
	// Until the end of the transaction nobody else holds the lock of this name. NULL: writers take turns anyway.
	enum ts_err (*lock)(struct ts_sql_tx *, const char *, struct ts_error *);
	bool (*is_null)(const struct ts_sql_row *, int);
	int64_t (*get_int)(const struct ts_sql_row *, int);
	double (*get_double)(const struct ts_sql_row *, int);
	const char *(*get_chars)(const struct ts_sql_row *, int); // NULL: no value, or out of memory (see is_null)
	size_t (*get_bytes)(const struct ts_sql_row *, int);      // length of what get_chars gave
	int (*column_count)(const struct ts_sql_row *);
	// Starts what tells waiters of changes by ts_sql_wait_seen, if it does not run yet; under wait.mutex.
	enum ts_err (*watch)(struct ts_sql *, struct ts_error *);
	const struct ts_migration *migrations;
	const int *migration_count;
};

// The part of every SQL back end's handle that its driver and the shared code use.
struct ts_sql {
	struct ts_store store; // first
	const struct ts_sql_driver *driver;
	char *public_url;
	const struct ts_clock *clock; // NULL: the driver's own time
	struct ts_rng *rng;
	struct ts_rng system_rng;
	struct ts_log log;
	struct {
		pthread_mutex_t mutex;
		pthread_cond_t cond; // monotonic
		uint64_t generation; // of what was seen changed; under mutex
	} wait;
	// How many jobs waited when somebody last counted, and those submitted by this handle since (sql_jobs.c).
	struct {
		pthread_mutex_t mutex;
		int64_t count;
		int64_t counted_at; // monotonic ms; 0: never
	} backlog;
};

static inline struct ts_sql *ts_sql_of(struct ts_store *store)
{
	return (struct ts_sql *)store;
}
// NULL when the store is of a back end without SQL.
struct ts_sql *ts_sql_check(struct ts_store *store);

enum ts_err ts_sql_init(struct ts_sql *sql, const struct ts_store_ops *ops, const struct ts_sql_driver *driver,
                        const struct ts_clock *clock, struct ts_rng *rng, const char *public_url,
                        const struct ts_log *log, struct ts_error *error) TS_MUST_USE;
void ts_sql_close(struct ts_sql *sql); // undoes ts_sql_init

// --- transactions ---

static inline TS_MUST_USE enum ts_err ts_sql_begin(struct ts_sql *sql, enum ts_sql_mode mode, struct ts_sql_tx *tx,
                                                   struct ts_error *error)
{
	return sql->driver->begin(sql, mode, tx, error);
}
// Ends it either way, and tells waiters of this and other processes when something was written.
static inline TS_MUST_USE enum ts_err ts_sql_commit(struct ts_sql_tx *tx, struct ts_error *error)
{
	return tx->driver->commit(tx, error);
}
// Nothing when it is over.
static inline void ts_sql_rollback(struct ts_sql_tx *tx)
{
	if (tx->conn)
		tx->driver->rollback(tx);
}
// Rolls back on every way out that did not commit.
#define TS_AUTOTX TS_CLEANUP(ts_sql_rollback)

// Runs a statement to its end. *out_count (may be NULL): rows seen when `row` is given, else rows changed.
static inline TS_MUST_USE enum ts_err ts_sql_run(struct ts_sql_tx *tx, enum ts_sql_statement id,
                                                 const struct ts_sql_value *values, size_t value_count,
                                                 ts_sql_row_fn *row, void *ctx, int64_t *out_count,
                                                 struct ts_error *error)
{
	return tx->driver->run(tx, id, values, value_count, row, ctx, out_count, error);
}
// ts_sql_run with its values as trailing arguments, of which there is at least one.
#define TS_SQL(tx, symbol, row, ctx, out_count, error, ...)                                                    \
	ts_sql_run((tx), TS_SQL_##symbol, (const struct ts_sql_value[]){__VA_ARGS__},                              \
	           sizeof((const struct ts_sql_value[]){__VA_ARGS__}) / sizeof(struct ts_sql_value), (row), (ctx), \
	           (out_count), (error))

static inline TS_MUST_USE enum ts_err ts_sql_lock(struct ts_sql_tx *tx, const char *name, struct ts_error *error)
{
	return tx->driver->lock ? tx->driver->lock(tx, name, error) : TS_OK;
}

// --- rows (sql_rows.c) ---

static inline int64_t ts_sql_int(const struct ts_sql_row *row, int column)
{
	return row->driver->get_int(row, column);
}
static inline double ts_sql_double(const struct ts_sql_row *row, int column)
{
	return row->driver->get_double(row, column);
}
static inline const char *ts_sql_chars(const struct ts_sql_row *row, int column)
{
	return row->driver->get_chars(row, column);
}
static inline size_t ts_sql_bytes(const struct ts_sql_row *row, int column)
{
	return row->driver->get_bytes(row, column);
}
// Sets *slot (owned) to a text column; NULL stays NULL.
enum ts_err ts_sql_text(const struct ts_sql_row *row, int column, char **slot, struct ts_error *error) TS_MUST_USE;
void ts_sql_uuid(const struct ts_sql_row *row, int column, char out[TS_UUID_SIZE]);
struct ts_sql_job { // ctx of ts_sql_row_job
	struct ts_job job;
	int64_t fence;
};
void ts_sql_job_finish(struct ts_sql_job *row);
#define TS_AUTOJOBROW TS_CLEANUP(ts_sql_job_finish)
ts_sql_row_fn ts_sql_row_job;
ts_sql_row_fn ts_sql_row_int; // ctx: int64_t
ts_sql_row_fn ts_sql_row_any; // takes no columns
// Moves the row's job to the caller's.
void ts_sql_job_take(struct ts_sql_job *row, struct ts_job *out);

enum ts_err ts_sql_not_found(const char *job_id, struct ts_error *error);
// One more mention of the job, due at due_at; replaces an older one.
enum ts_err ts_sql_mention(struct ts_sql_tx *tx, const struct ts_job *job, int64_t due_at,
                           struct ts_error *error) TS_MUST_USE;
// The callback of a job that became final, when it asked for one. `transcript` may be NULL.
enum ts_err ts_sql_deliver(struct ts_sql_tx *tx, const struct ts_job *job, const struct ts_transcript *transcript,
                           struct ts_error *error) TS_MUST_USE;

// Whether a byte belongs to a word of the search: ASCII letters and digits, and all beyond ASCII. The rest separates
// words, in transcripts and in what is asked, so that both databases see the same ones.
static inline bool ts_sql_is_word(unsigned char c)
{
	return c >= 0x80 || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

// --- the schema (sql_migrate.c) ---

// The schema's version, 0 for an empty database. TS_ERR_SCHEMA: not ours, newer, or its migrations were changed.
enum ts_err ts_sql_schema_version(struct ts_sql_tx *tx, int *out_version, struct ts_error *error) TS_MUST_USE;
// In a transaction that excludes other migrations: applies what is missing. Leaves the commit to the caller.
enum ts_err ts_sql_schema_apply(struct ts_sql_tx *tx, int *out_from, struct ts_error *error) TS_MUST_USE;
// TS_ERR_SCHEMA unless the version is the program's.
enum ts_err ts_sql_schema_check(struct ts_sql_tx *tx, struct ts_error *error) TS_MUST_USE;
enum ts_err ts_sql_ping(struct ts_store *store, struct ts_error *error) TS_MUST_USE;

// --- waiting (sql_wait.c) ---

void ts_sql_wait_seen(struct ts_sql *sql); // something changed
// A condition variable that counts by the monotonic clock.
enum ts_err ts_sql_cond_init(pthread_cond_t *cond, struct ts_error *error) TS_MUST_USE;
// Waits at most ms; returns at once when that is not above 0.
void ts_sql_cond_wait_ms(pthread_cond_t *cond, pthread_mutex_t *mutex, int64_t ms);
void ts_sql_wake(struct ts_store *store);
enum ts_err ts_sql_wait_change(struct ts_store *store, uint64_t *seen, int64_t timeout_ms, const atomic_bool *stop,
                               struct ts_error *error) TS_MUST_USE;

// --- members of the ops table, by file ---

enum ts_err ts_sql_submit(struct ts_store *store, const struct ts_submit *submit, struct ts_job *out_job,
                          bool *out_replayed, struct ts_error *error) TS_MUST_USE;
enum ts_err ts_sql_get(struct ts_store *store, const char *job_id, struct ts_job *out,
                       struct ts_error *error) TS_MUST_USE;
enum ts_err ts_sql_list(struct ts_store *store, const struct ts_job_filter *filter, struct ts_job_page *out,
                        struct ts_error *error) TS_MUST_USE;
enum ts_err ts_sql_counts(struct ts_store *store, struct ts_store_counts *out, struct ts_error *error) TS_MUST_USE;
enum ts_err ts_sql_transcript(struct ts_store *store, const char *job_id, struct ts_transcript *out,
                              struct ts_error *error) TS_MUST_USE;
enum ts_err ts_sql_cancel(struct ts_store *store, const char *job_id, struct ts_job *out,
                          struct ts_error *error) TS_MUST_USE;
enum ts_err ts_sql_retry(struct ts_store *store, const char *job_id, struct ts_job *out,
                         struct ts_error *error) TS_MUST_USE;
enum ts_err ts_sql_delete(struct ts_store *store, const char *job_id, struct ts_error *error) TS_MUST_USE;

enum ts_err ts_sql_outbox_claim(struct ts_store *store, int64_t lease_ms, struct ts_outbox_item *items, size_t capacity,
                                size_t *out_count, struct ts_error *error) TS_MUST_USE;
enum ts_err ts_sql_outbox_done(struct ts_store *store, const struct ts_outbox_item *items, size_t count,
                               struct ts_error *error) TS_MUST_USE;
enum ts_err ts_sql_claim(struct ts_store *store, const char *job_id, const char *owner, int64_t lease_ms,
                         struct ts_job *out_job, struct ts_lease *out_lease, struct ts_error *error) TS_MUST_USE;
enum ts_err ts_sql_heartbeat(struct ts_store *store, const struct ts_lease *lease, int64_t lease_ms,
                             const struct ts_progress *progress, struct ts_error *error) TS_MUST_USE;
enum ts_err ts_sql_lease_check(struct ts_store *store, const struct ts_lease *lease,
                               struct ts_error *error) TS_MUST_USE;
enum ts_err ts_sql_release(struct ts_store *store, const struct ts_lease *lease, struct ts_error *error) TS_MUST_USE;
enum ts_err ts_sql_fail_job(struct ts_store *store, const struct ts_lease *lease, const struct ts_error *cause,
                            int64_t retry_at, enum ts_job_state *out_state, struct ts_error *error) TS_MUST_USE;
enum ts_err ts_sql_finish(struct ts_store *store, const struct ts_lease *lease, const struct ts_transcript *transcript,
                          struct ts_error *error) TS_MUST_USE;
// Fails a job that is out of attempts; *out_done tells whether it was.
enum ts_err ts_sql_exhaust(struct ts_sql_tx *tx, const char *job_id, bool *out_done,
                           struct ts_error *error) TS_MUST_USE;

enum ts_err ts_sql_reap(struct ts_store *store, int64_t orphan_after_ms, struct ts_reaped *out,
                        struct ts_error *error) TS_MUST_USE;
enum ts_err ts_sql_retire(struct ts_store *store, int64_t finished_before, unsigned limit, int64_t *out_deleted,
                          struct ts_error *error) TS_MUST_USE;

enum ts_err ts_sql_delivery_claim(struct ts_store *store, int64_t lease_ms, struct ts_delivery *out,
                                  int64_t *out_next_at, struct ts_error *error) TS_MUST_USE;
enum ts_err ts_sql_delivery_record(struct ts_store *store, const struct ts_delivery *delivery,
                                   const struct ts_delivery_attempt *attempt, enum ts_delivery_outcome outcome,
                                   int64_t next_attempt_at, struct ts_error *error) TS_MUST_USE;
enum ts_err ts_sql_deliveries(struct ts_store *store, const char *job_id, struct ts_delivery_list *out,
                              struct ts_error *error) TS_MUST_USE;
enum ts_err ts_sql_redeliver(struct ts_store *store, const char *job_id, int64_t number,
                             struct ts_error *error) TS_MUST_USE;

enum ts_err ts_sql_upload_create(struct ts_store *store, struct ts_upload *upload, struct ts_error *error) TS_MUST_USE;
enum ts_err ts_sql_upload_get(struct ts_store *store, const char *id, struct ts_upload *out,
                              struct ts_error *error) TS_MUST_USE;
enum ts_err ts_sql_uploads_expired(struct ts_store *store, struct ts_upload *items, size_t capacity, size_t *out_count,
                                   struct ts_error *error) TS_MUST_USE;
enum ts_err ts_sql_upload_forget(struct ts_store *store, const char *id, struct ts_error *error) TS_MUST_USE;

// The members of the ops table that are statements only.
#define TS_SQL_OPS                                                                                                     \
	.submit = ts_sql_submit, .get = ts_sql_get, .list = ts_sql_list, .counts = ts_sql_counts,                          \
	.transcript = ts_sql_transcript, .wait_change = ts_sql_wait_change, .wake = ts_sql_wake, .cancel = ts_sql_cancel,  \
	.retry = ts_sql_retry, .remove = ts_sql_delete, .outbox_claim = ts_sql_outbox_claim,                               \
	.outbox_done = ts_sql_outbox_done, .claim = ts_sql_claim, .heartbeat = ts_sql_heartbeat,                           \
	.lease_check = ts_sql_lease_check, .release = ts_sql_release, .fail = ts_sql_fail_job, .finish = ts_sql_finish,    \
	.reap = ts_sql_reap, .retire = ts_sql_retire, .delivery_claim = ts_sql_delivery_claim,                             \
	.delivery_record = ts_sql_delivery_record, .deliveries = ts_sql_deliveries, .redeliver = ts_sql_redeliver,         \
	.upload_create = ts_sql_upload_create, .upload_get = ts_sql_upload_get, .uploads_expired = ts_sql_uploads_expired, \
	.upload_forget = ts_sql_upload_forget, .ping = ts_sql_ping

#endif
