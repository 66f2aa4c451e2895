// What only the embedded store has: its statements against the table of transitions, durability, locks of other
// processes, death in the middle of a transaction, failing allocations.
#include "process.h"

#include "core/json.h"
#include "fault.h"
#include "statement_laws.h"
#include "store/store_sqlite_internal.h"

// --- the statements ---

static const struct statement statements[] = {
#define TS_STATEMENT(symbol, text) {#symbol, text},
#include "store/statements_sqlite.def"
#undef TS_STATEMENT
};
#define STATEMENTS (sizeof statements / sizeof statements[0])

static void statements_follow_the_table_of_transitions(void **state)
{
	(void)state;
	check_transitions(statements, STATEMENTS);
}

static void every_statement_fits_the_schema(void **state)
{
	struct fixture *f = *state;
	struct ts_sqlite *sqlite = ts_sqlite_check(f->store);

	assert_non_null(sqlite);
	for (size_t i = 0; i < STATEMENTS; i++) {
		sqlite3_stmt *stmt = NULL;
		int rc = sqlite3_prepare_v2(sqlite->writer->db, statements[i].sql, -1, &stmt, NULL);
		// The table of migrations is there already.
		if (rc != SQLITE_OK && strcmp(statements[i].name, "MIGRATIONS_TABLE") != 0)
			fail_msg("%s: %s", statements[i].name, sqlite3_errmsg(sqlite->writer->db));
		sqlite3_finalize(stmt);
	}
}

// --- durability and locks ---

static int pragma(struct ts_sqlite_conn *conn, const char *text)
{
	sqlite3_stmt *stmt;

	assert_int_equal(sqlite3_prepare_v2(conn->db, text, -1, &stmt, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
	int value = sqlite3_column_int(stmt, 0);
	sqlite3_finalize(stmt);
	return value;
}

static void durable_transactions_are_synchronous(void **state)
{
	struct fixture *f = *state;
	static const struct {
		enum ts_sql_mode mode;
		int synchronous; // 2: each commit reaches the disk, 1: only checkpoints do
	} cases[] = {{TS_TX_DURABLE, 2}, {TS_TX_HINT, 1}, {TS_TX_HINT, 1}, {TS_TX_DURABLE, 2}};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		TS_AUTOTX struct ts_sql_tx tx = {0};
		ok(ts_sql_begin(ts_sql_check(f->store), cases[i].mode, &tx, &f->error));
		assert_int_equal(pragma(tx.conn, "PRAGMA synchronous"), cases[i].synchronous);
		assert_int_equal(pragma(tx.conn, "PRAGMA foreign_keys"), 1);
	}
}

static void readers_cannot_write(void **state)
{
	struct fixture *f = *state;
	TS_AUTOTX struct ts_sql_tx tx = {0};

	ok(ts_sql_begin(ts_sql_check(f->store), TS_TX_READ, &tx, &f->error));
	fails(TS_ERR_STORE, TS_SQL(&tx, JOB_DELETE, NULL, NULL, NULL, &f->error, TS_T("x")));
}

static void lock_held_too_long_is_an_error(void **state)
{
	struct fixture *f = *state;
	struct ts_store_sqlite_options options = {.path = f->path, .clock = &f->clock.clock, .busy_timeout_ms = 20};
	struct ts_store *other;
	TS_AUTOJOB struct ts_job out;
	struct ts_job job = a_job();
	struct ts_submit submit = {.job = &job};
	bool replayed;

	ok(ts_store_sqlite_open(&options, &other, &f->error));
	ts_job_init(&out);
	{
		TS_AUTOTX struct ts_sql_tx tx = {0};
		ok(ts_sql_begin(ts_sql_check(f->store), TS_TX_HINT, &tx, &f->error));
		fails(TS_ERR_STORE, ts_store_submit(other, &submit, &out, &replayed, &f->error));
		assert_non_null(strstr(f->error.message, "locked"));
		fails(TS_ERR_NOT_FOUND, ts_store_get(other, "x", &out, &f->error)); // readers go on
	}
	ok(ts_store_submit(other, &submit, &out, &replayed, &f->error));
	ts_store_close(other);
}

static void missing_table_is_a_schema_error(void **state)
{
	struct fixture *f = *state;
	struct ts_sqlite *sqlite = ts_sqlite_check(f->store);
	TS_AUTOTRANSCRIPT struct ts_transcript transcript;

	ts_transcript_init(&transcript);
	ok(ts_sqlite_exec(sqlite->writer, "DROP TABLE transcripts", &f->error));
	fails(TS_ERR_SCHEMA, ts_store_transcript(f->store, "x", &transcript, &f->error));
}

static int die_inside_a_transaction(struct fixture *f, int orders, int answers)
{
	struct ts_sql_tx tx = {0};
	TS_AUTOJOBROW struct ts_sql_job row = {0};

	reopen_store(f);
	ok(ts_sql_begin(ts_sql_check(f->store), TS_TX_DURABLE, &tx, &f->error));
	ok(TS_SQL(&tx, JOB_INSERT, ts_sql_row_job, &row, NULL, &f->error, TS_T("half"), TS_T("v"), TS_T("u"), TS_T(NULL),
	          TS_T(NULL), TS_T(NULL), TS_T(NULL), TS_T(NULL), TS_T(NULL), TS_T(NULL), TS_I(1), TS_I(3), TS_I(0),
	          TS_I(tx.now)));
	// So much that it does not stay in memory.
	ok(ts_sqlite_exec(tx.conn,
	                  "PRAGMA cache_size = 5; "
	                  "INSERT INTO transcripts SELECT 'half', hex(zeroblob(2000000)), 1",
	                  &f->error));
	if (!write_all(answers, "i", 1))
		return 1;
	process_await_go(orders); // until killed
	return 2;
}

static void death_inside_a_transaction_leaves_nothing(void **state)
{
	struct fixture *f = *state;
	TS_AUTOJOB struct ts_job job;
	char c, id[TS_UUID_SIZE];

	ts_job_init(&job);
	close_store_of(f);
	struct process process = process_fork(f, die_inside_a_transaction);
	assert_true(read_all(process.from, &c, 1));
	kill(process.pid, SIGKILL);
	assert_int_equal(process_end(&process), -SIGKILL);
	reopen_store(f);
	fails(TS_ERR_NOT_FOUND, ts_store_get(f->store, "half", &job, &f->error));
	submit_id(f, id); // no lock is left behind
	assert_int_equal(counts_of(f).jobs[TS_JOB_QUEUED], 1);
}

// --- allocations ---

static enum ts_err whole_life(void *ctx, struct ts_error *error)
{
	struct fixture *f = ctx;
	TS_AUTOJOB struct ts_job out;
	struct ts_job job = a_job();
	struct ts_submit submit = {.job = &job};
	TS_AUTOTRANSCRIPT struct ts_transcript transcript;
	struct ts_job_filter filter = {.limit = 2};
	struct ts_job_page page;
	struct ts_lease lease;
	bool replayed;

	ts_job_init(&out);
	ts_transcript_init(&transcript);
	TS_TRY(ts_store_submit(f->store, &submit, &out, &replayed, error));
	TS_TRY(ts_store_get(f->store, out.id, &out, error));
	TS_TRY(ts_store_claim(f->store, out.id, "w", LEASE, &out, &lease, error));
	TS_TRY(ts_store_finish(f->store, &lease, &transcript, error));
	TS_TRY(ts_store_transcript(f->store, out.id, &transcript, error));
	TS_TRY(ts_store_list(f->store, &filter, &page, error));
	ts_job_page_finish(&page);
	return TS_OK;
}

static enum ts_err delivery_life(void *ctx, struct ts_error *error)
{
	struct fixture *f = ctx;
	char refused[] = "refused";
	struct ts_delivery_attempt attempt = {.error = refused};
	struct ts_delivery delivery = {0};
	struct ts_delivery_list list;

	// A claim that failed half way was rolled back, so the delivery is there at the next try.
	TS_TRY(ts_store_delivery_claim(f->store, LEASE, &delivery, NULL, error));
	enum ts_err err = ts_store_delivery_record(f->store, &delivery, &attempt, TS_DELIVERY_RETRY, now_of(f), error);
	if (err == TS_OK)
		err = ts_store_deliveries(f->store, delivery.job_id, &list, error);
	ts_delivery_finish(&delivery);
	TS_TRY(err);
	ts_delivery_list_finish(&list);
	return TS_OK;
}

static enum ts_err opening(void *ctx, struct ts_error *error)
{
	struct fixture *f = ctx;
	struct ts_store *store;
	uint64_t seen = 0;

	TS_TRY(f->backend->open(f, &store, error));
	enum ts_err err = ts_store_wait_change(store, &seen, 0, NULL, error);
	if (err == TS_OK)
		err = ts_store_ping(store, error);
	ts_store_close(store);
	return err;
}

static void failing_allocations_are_survived(void **state)
{
	struct fixture *f = *state;
	struct ts_store_counts counts;
	struct ts_error error;

	assert_int_equal(whole_life(f, &error), TS_OK); // connections are open, statements prepared
	ts_fault_each(whole_life, f, 20);
	counts = counts_of(f);
	assert_int_equal(counts.outbox, counts.jobs[TS_JOB_QUEUED]); // nothing was written by halves
	assert_int_equal(counts.deliveries_pending, counts.jobs[TS_JOB_COMPLETED]);
	advance(f, 1);
	ts_fault_each(delivery_life, f, 10);
	ts_fault_each(opening, f, 3);
	ok(ts_store_ping(f->store, &f->error));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(statements_follow_the_table_of_transitions),
	    store_test(every_statement_fits_the_schema),
	    store_test(durable_transactions_are_synchronous),
	    store_test(readers_cannot_write),
	    store_test(lock_held_too_long_is_an_error),
	    store_test(missing_table_is_a_schema_error),
	    store_test(death_inside_a_transaction_leaves_nothing),
	    store_test(failing_allocations_are_survived),
	};

	ts_json_use_mem();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
