// What only the PostgreSQL store has: its statements against the table of transitions, migrations of many processes,
// a server that restarts, the bounds of the pool, plans of its queries on a large table.
#include "process.h"
#include "statement_laws.h"

#include "store/store_pg_internal.h"

#include <pthread.h>

static const struct statement statements[] = {
#define TS_STATEMENT(symbol, text) {#symbol, text},
#include "store/statements_pg.def"
#undef TS_STATEMENT
};

static void statements_follow_the_table_of_transitions(void **state)
{
	(void)state;
	check_transitions(statements, sizeof statements / sizeof statements[0]);
}

// --- the database by hand ---

static PGconn *direct(struct fixture *f)
{
	char url[120];

	pg_server_direct(f->url, url, sizeof url);
	PGconn *conn = PQconnectdb(url);
	if (PQstatus(conn) != CONNECTION_OK)
		fail_msg("%s", PQerrorMessage(conn));
	return conn;
}

static void sql_on(PGconn *conn, const char *text)
{
	PGresult *result = PQexec(conn, text);

	if (PQresultStatus(result) != PGRES_COMMAND_OK && PQresultStatus(result) != PGRES_TUPLES_OK)
		fail_msg("%.200s: %s", text, PQerrorMessage(conn));
	PQclear(result);
}

static void sql(struct fixture *f, const char *text)
{
	PGconn *conn = direct(f);

	sql_on(conn, text);
	PQfinish(conn);
}

static int query(struct fixture *f, const char *text)
{
	PGconn *conn = direct(f);
	PGresult *result = PQexec(conn, text);

	if (PQresultStatus(result) != PGRES_TUPLES_OK)
		fail_msg("%.200s: %s", text, PQerrorMessage(conn));
	int value = atoi(PQgetvalue(result, 0, 0));
	PQclear(result);
	PQfinish(conn);
	return value;
}

static void fresh_ground(struct fixture *f)
{
	close_store_of(f);
	pg_server_database(f->url, sizeof f->url);
}

static enum ts_err open_without_migrating(struct fixture *f)
{
	struct ts_store_pg_options options = {.address.url = f->url, .clock = &f->clock.clock};

	return ts_store_pg_open(&options, &f->store, &f->error);
}

// --- migrations ---

static int migrate_when_told(struct fixture *f, int orders, int answers)
{
	(void)answers;
	if (!process_await_go(orders))
		return 1;
	if (f->backend->open(f, &f->store, &f->error) != TS_OK) {
		fprintf(stderr, "%s\n", f->error.message);
		return 2;
	}
	return ts_store_ping(f->store, &f->error) == TS_OK ? 0 : 3;
}

static void ten_processes_migrate_at_once(void **state)
{
	struct fixture *f = *state;
	struct process processes[10];

	fresh_ground(f);
	for (int i = 0; i < 10; i++)
		processes[i] = process_fork(f, migrate_when_told);
	for (int i = 0; i < 10; i++)
		process_go(&processes[i]);
	for (int i = 0; i < 10; i++)
		assert_int_equal(process_end(&processes[i]), 0);
	assert_int_equal(query(f, "SELECT count(*) FROM schema_migrations"), ts_pg_migrations_count);
	reopen_store(f);
}

static void newer_and_changed_schemas_are_refused(void **state)
{
	struct fixture *f = *state;
	TS_AUTOFREE char *newer =
	    ts_asprintf("INSERT INTO schema_migrations VALUES (%d, 'from_the_future', 'x', 1)", ts_pg_migrations_count + 1);

	sql(f, newer);
	fails(TS_ERR_SCHEMA, ts_store_ping(f->store, &f->error)); // of a program that runs on
	close_store_of(f);
	fails(TS_ERR_SCHEMA, f->backend->open(f, &f->store, &f->error));
	assert_non_null(strstr(f->error.message, "newer"));
	struct ts_pg_address address = {.url = f->url};
	fails(TS_ERR_SCHEMA, ts_store_pg_migrate(&address, NULL, NULL, &f->error));
	sql(f, "DELETE FROM schema_migrations WHERE checksum = 'x'; UPDATE schema_migrations SET checksum = 'other'");
	fails(TS_ERR_SCHEMA, f->backend->open(f, &f->store, &f->error));
	assert_non_null(strstr(f->error.message, "migration 1 (init)"));
}

static void foreign_and_empty_databases_are_told_apart(void **state)
{
	struct fixture *f = *state;
	int from = -1, to = -1;

	fresh_ground(f);
	fails(TS_ERR_SCHEMA, open_without_migrating(f));
	assert_non_null(strstr(f->error.message, "migrate"));
	sql(f, "CREATE TABLE bookmarks (url text)");
	fails(TS_ERR_SCHEMA, f->backend->open(f, &f->store, &f->error));
	assert_non_null(strstr(f->error.message, "another program"));
	sql(f, "DROP TABLE bookmarks");
	struct ts_pg_address address = {.url = f->url};
	ok(ts_store_pg_migrate(&address, &from, &to, &f->error));
	assert_int_equal(from, 0);
	assert_int_equal(to, ts_pg_migrations_count);
	ok(open_without_migrating(f));
}

// --- addresses ---

static void addresses_are_shown_without_secrets(void **state)
{
	struct fixture *f = *state;
	struct ts_pg_address address = {.url = "postgresql://me:hunter2@db.example:6000/jobs?sslmode=require"};
	struct ts_store *store;
	TS_AUTOFREE char *by_url = NULL, *by_parts = NULL;

	ok(ts_pg_describe(&address, &by_url, &f->error));
	assert_string_equal(by_url, "postgresql://me@db.example:6000/jobs");
	address = (struct ts_pg_address){
	    .host = "h", .port = "5432", .user = "u", .password = "hunter2", .database = "d", .sslmode = "prefer"};
	ok(ts_pg_describe(&address, &by_parts, &f->error));
	assert_string_equal(by_parts, "postgresql://u@h:5432/d");
	struct ts_store_pg_options options = {.address.url = "postgresql://me:hunter2@[h/d"};
	fails(TS_ERR_INVALID, ts_store_pg_open(&options, &store, &f->error));
	assert_null(strstr(f->error.message, "hunter2"));
}

// --- TLS ---

static enum ts_err open_with(struct fixture *f, const char *host, const char *parameters, struct ts_store **out)
{
	TS_AUTOFREE char *url = ts_asprintf("postgresql://app@%s%s?%s", host, strrchr(f->url, ':'), parameters);
	struct ts_store_pg_options options = {.address.url = url, .clock = &f->clock.clock, .pool_size = 1};

	return ts_store_pg_open(&options, out, &f->error);
}

static bool is_encrypted(struct fixture *f, struct ts_store *store)
{
	TS_AUTOTX struct ts_sql_tx tx = {0};

	ok(ts_sql_begin(ts_sql_check(store), TS_TX_READ, &tx, &f->error));
	return PQsslInUse(((struct ts_pg_conn *)tx.conn)->pg);
}

static void tls_checks_whom_it_talks_to(void **state)
{
	struct fixture *f = *state;
	char certificate[200];
	struct ts_store *store;

	fails(TS_ERR_STORE, open_with(f, "127.0.0.1", "sslmode=require", &store)); // the server has none yet
	assert_non_null(strstr(f->error.message, "SSL"));
	pg_server_tls(certificate, sizeof certificate);
	TS_AUTOFREE char *full = ts_asprintf("sslmode=verify-full&sslrootcert=%s", certificate);
	TS_AUTOFREE char *ca = ts_asprintf("sslmode=verify-ca&sslrootcert=%s", certificate);
	// The server reads its settings a moment after it was told to.
	while (open_with(f, "localhost", full, &store) != TS_OK)
		assert_non_null(strstr(f->error.message, "SSL"));
	assert_true(is_encrypted(f, store));
	ok(ts_store_ping(store, &f->error));
	ts_store_close(store);
	// The name is checked by verify-full, and by it alone.
	fails(TS_ERR_STORE, open_with(f, "127.0.0.1", full, &store));
	assert_non_null(strstr(f->error.message, "localhost"));
	ok(open_with(f, "127.0.0.1", ca, &store));
	assert_true(is_encrypted(f, store));
	ts_store_close(store);
	// An authority that nobody here trusts.
	fails(TS_ERR_STORE,
	      open_with(f, "localhost", "sslmode=verify-full&sslrootcert=/etc/ssl/certs/ca-certificates.crt", &store));
	assert_non_null(strstr(f->error.message, "certificate"));
	ok(open_with(f, "127.0.0.1", "sslmode=disable", &store));
	assert_false(is_encrypted(f, store));
	ts_store_close(store);
}

// --- timeouts ---

static void locks_of_others_are_not_waited_for_for_ever(void **state)
{
	struct fixture *f = *state;
	struct ts_store_pg_options options = {
	    .address.url = f->url, .clock = &f->clock.clock, .statement_timeout_ms = 60000, .lock_timeout_ms = 50};
	TS_AUTOJOB struct ts_job job;
	char id[TS_UUID_SIZE];
	struct ts_store *impatient;

	ts_job_init(&job);
	submit_id(f, id);
	PGconn *other = direct(f);
	sql_on(other, "BEGIN; LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE");
	ok(ts_store_pg_open(&options, &impatient, &f->error));
	fails(TS_ERR_STORE, ts_store_get(impatient, id, &job, &f->error));
	assert_non_null(strstr(f->error.message, "lock timeout"));
	sql_on(other, "ROLLBACK");
	ok(ts_store_get(impatient, id, &job, &f->error)); // the connection is as good as before
	ts_store_close(impatient);
	options.statement_timeout_ms = 50;
	options.lock_timeout_ms = 60000;
	ok(ts_store_pg_open(&options, &impatient, &f->error));
	sql_on(other, "BEGIN; LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE");
	fails(TS_ERR_STORE, ts_store_get(impatient, id, &job, &f->error));
	assert_non_null(strstr(f->error.message, "statement timeout"));
	PQfinish(other);
	ts_store_close(impatient);
}

// --- a server that restarts ---

static void *wait_for_change(void *arg)
{
	struct fixture *f = arg;
	struct ts_error error;
	uint64_t seen = 0;
	static enum ts_err err;

	err = ts_store_wait_change(f->store, &seen, 0, NULL, &error);
	for (uint64_t before = seen; err == TS_OK && seen == before;)
		err = ts_store_wait_change(f->store, &seen, 60000, NULL, &error);
	return &err;
}

static void calls_fail_while_the_server_is_gone_and_recover(void **state)
{
	struct fixture *f = *state;
	TS_AUTOJOB struct ts_job job;
	char id[TS_UUID_SIZE], later[TS_UUID_SIZE];
	pthread_t waiter;
	void *err;
	uint64_t seen = 0;

	ts_job_init(&job);
	submit_id(f, id);
	ok(ts_store_wait_change(f->store, &seen, 0, NULL, &f->error));
	pg_server_crash();
	assert_int_equal(pthread_create(&waiter, NULL, wait_for_change, f), 0); // ends by the return of the server
	for (int i = 0; i < 3; i++)
		fails(TS_ERR_STORE, ts_store_get(f->store, id, &job, &f->error));
	pg_server_restart();
	while (ts_store_get(f->store, id, &job, &f->error) != TS_OK) // a pause between tries to connect may still run
		ok(ts_store_wait_change(f->store, &seen, 20, NULL, &f->error));
	assert_string_equal(job.id, id);
	submit_id(f, later);
	pthread_join(waiter, &err);
	assert_int_equal(*(enum ts_err *)err, TS_OK);
	// Between two calls nobody notices anything.
	pg_server_crash();
	pg_server_restart();
	ok(ts_store_get(f->store, later, &job, &f->error));
}

// --- the pool ---

static void pool_has_a_bound_and_says_so(void **state)
{
	struct fixture *f = *state;
	struct ts_store_pg_options options = {
	    .address.url = f->url, .clock = &f->clock.clock, .pool_size = 2, .pool_timeout_ms = 30};
	struct ts_sql_tx third = {0};
	struct ts_store *small;

	ok(ts_store_pg_open(&options, &small, &f->error));
	{
		TS_AUTOTX struct ts_sql_tx first = {0};
		TS_AUTOTX struct ts_sql_tx second = {0};
		ok(ts_sql_begin(ts_sql_check(small), TS_TX_READ, &first, &f->error));
		ok(ts_sql_begin(ts_sql_check(small), TS_TX_HINT, &second, &f->error));
		fails(TS_ERR_STORE, ts_sql_begin(ts_sql_check(small), TS_TX_READ, &third, &f->error));
		assert_non_null(strstr(f->error.message, "2 connections"));
	}
	for (int i = 0; i < 20; i++)
		ok(ts_store_ping(small, &f->error));
	ts_store_close(small);
}

static int setting(struct ts_sql_tx *tx, const char *name)
{
	struct ts_pg_conn *conn = tx->conn;
	TS_AUTOFREE char *text = ts_asprintf("SELECT current_setting('%s') IN ('off', '1234ms')", name);
	PGresult *result = PQexec(conn->pg, text);

	assert_int_equal(PQresultStatus(result), PGRES_TUPLES_OK);
	int value = PQgetvalue(result, 0, 0)[0] == 't';
	PQclear(result);
	return value;
}

// Settings live no longer than their transaction: behind pgbouncer the next one is somebody else's.
static void only_hints_commit_asynchronously(void **state)
{
	struct fixture *f = *state;
	struct ts_store_pg_options options = {
	    .address.url = f->url, .pool_size = 1, .statement_timeout_ms = 1234, .lock_timeout_ms = 1234};
	const enum ts_sql_mode modes[] = {TS_TX_DURABLE, TS_TX_HINT, TS_TX_DURABLE, TS_TX_READ};
	struct ts_store *one;

	ok(ts_store_pg_open(&options, &one, &f->error));
	for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
		TS_AUTOTX struct ts_sql_tx tx = {0};
		ok(ts_sql_begin(ts_sql_check(one), modes[i], &tx, &f->error));
		assert_int_equal(setting(&tx, "synchronous_commit"), modes[i] == TS_TX_HINT);
		assert_true(setting(&tx, "statement_timeout"));
		assert_true(setting(&tx, "lock_timeout"));
		// The server's clock, since none was given.
		assert_true(tx.now > T0 && llabs(tx.now - ts_wall_ms(ts_clock_system())) < 60000);
	}
	ts_store_close(one);
}

// --- plans ---

static const char large[] =
    "INSERT INTO jobs (id, video_id, user_id, priority, state, attempt, max_attempts, lease_owner, lease_expires_at, "
    "mentioned_at, created_at, updated_at, finished_at) SELECT lpad(to_hex(n), 36, '0'), 'v' || n % 10000, "
    "'u' || n % 1000, 1, CASE WHEN n % 100 = 0 THEN 'queued' WHEN n % 100 = 1 THEN 'processing' ELSE 'completed' END, "
    "0, 3, CASE WHEN n % 100 = 1 THEN 'w' END, CASE WHEN n % 100 = 1 THEN n ELSE 0 END, n, n, n, "
    "CASE WHEN n % 100 > 1 THEN n ELSE 0 END FROM generate_series(1, 40000) n;"
    "INSERT INTO transcript_words SELECT id, to_tsvector('simple', 'word' || n % 1000 || ' common') "
    "FROM (SELECT id, row_number() OVER () AS n FROM jobs) AS j;"
    "INSERT INTO outbox (job_id, priority, due_at) SELECT id, 1, created_at FROM jobs;"
    "INSERT INTO queue_messages (job_id, priority, available_at) SELECT id, 1, created_at FROM jobs;"
    "INSERT INTO deliveries (job_id, number, event_id, event_type, url, body, state, next_attempt_at, created_at) "
    "SELECT id, 1, id, 't', 'u', 'b', CASE WHEN created_at % 10 = 0 THEN 'pending' ELSE 'delivered' END, created_at, 1 "
    "FROM jobs; ANALYZE";

// The plan of a statement with these values ($1 to $9) names no sequential scan.
static void check_plan(PGconn *conn, enum ts_sql_statement id, const char *const values[9], int count)
{
	static const Oid types[][9] = {{25, 25, 25, 20, 20, 20, 25, 20, 25}, {20, 20, 20}, {25, 25, 20, 20}};
	const Oid *kind = types[id == TS_SQL_JOB_CLAIM ? 2 : count >= 8 ? 0 : 1];
	TS_AUTOFREE char *text = ts_asprintf("EXPLAIN %s", ts_pg_statements[id]);
	PGresult *result = PQexecParams(conn, text, count, kind, values, NULL, NULL, 0);
	char plan[4000] = "";

	if (PQresultStatus(result) != PGRES_TUPLES_OK)
		fail_msg("%.100s: %s", text, PQerrorMessage(conn));
	for (int i = 0; i < PQntuples(result); i++) {
		strncat(plan, PQgetvalue(result, i, 0), sizeof plan - strlen(plan) - 2);
		strcat(plan, "\n");
	}
	PQclear(result);
	if (strstr(plan, "Seq Scan") || !strstr(plan, "Index"))
		fail_msg("%s\n%s", text, plan);
}

#define NOW "30000"
#define PAGE "0", "0", "9223372036854775807", "~", "51"

static void queries_of_a_large_table_use_indexes(void **state)
{
	struct fixture *f = *state;
	PGconn *conn = direct(f);

	sql_on(conn, large);
	check_plan(conn, TS_SQL_JOBS_PAGE, (const char *const[9]){NULL, NULL, NULL, PAGE}, 8);
	check_plan(conn, TS_SQL_JOBS_PAGE, (const char *const[9]){NULL, NULL, NULL, "0", "0", "1000", "0", "51"}, 8);
	check_plan(conn, TS_SQL_JOBS_PAGE_STATE, (const char *const[9]){NULL, NULL, "queued", PAGE}, 8);
	check_plan(conn, TS_SQL_JOBS_PAGE_USER, (const char *const[9]){"u7", NULL, NULL, PAGE}, 8);
	check_plan(conn, TS_SQL_JOBS_PAGE_USER, (const char *const[9]){"u7", NULL, "completed", PAGE}, 8);
	check_plan(conn, TS_SQL_JOBS_PAGE_VIDEO, (const char *const[9]){NULL, "v7", NULL, PAGE}, 8);
	check_plan(conn, TS_SQL_JOBS_PAGE_WORDS, (const char *const[9]){NULL, NULL, NULL, PAGE, "\"word7\""}, 9);
	check_plan(conn, TS_SQL_JOB_CLAIM, (const char *const[9]){"x", "w", NOW, NOW}, 4);
	check_plan(conn, TS_SQL_REAP_EXPIRED, (const char *const[9]){"500", "500"}, 2);
	check_plan(conn, TS_SQL_OUTBOX_CLAIM, (const char *const[9]){NOW, "100", NOW}, 3);
	check_plan(conn, TS_SQL_QUEUE_RECEIVE, (const char *const[9]){NOW, NOW}, 2);
	check_plan(conn, TS_SQL_QUEUE_NEXT, (const char *const[9]){"5"}, 1);
	check_plan(conn, TS_SQL_DELIVERY_CLAIM, (const char *const[9]){NOW, NOW}, 2);
	check_plan(conn, TS_SQL_DELIVERY_NEXT, (const char *const[9]){"5"}, 1);
	check_plan(conn, TS_SQL_RETIRE_DUE, (const char *const[9]){"1000", "100"}, 2);
	PQfinish(conn);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(statements_follow_the_table_of_transitions),
	    store_test(ten_processes_migrate_at_once),
	    store_test(newer_and_changed_schemas_are_refused),
	    store_test(foreign_and_empty_databases_are_told_apart),
	    store_test(addresses_are_shown_without_secrets),
	    store_test(tls_checks_whom_it_talks_to),
	    store_test(locks_of_others_are_not_waited_for_for_ever),
	    store_test(pool_has_a_bound_and_says_so),
	    store_test(only_hints_commit_asynchronously),
	    store_test(queries_of_a_large_table_use_indexes),
	    store_test(calls_fail_while_the_server_is_gone_and_recover),
	};

	setenv("TS_STORE_BACKEND", "postgresql", 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
