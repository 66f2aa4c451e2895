// Statements and transactions of the PostgreSQL store. Every statement is parameterised and sent unnamed: the server
// plans it for its values (so one statement serves every combination of filters), and nothing stays behind in a session
// that pgbouncer may hand to another client. Settings are local to the transaction for the same reason.
#include "base/buf.h"
#include "base/mem.h"
#include "store/store_pg_internal.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Types by their fixed numbers (the server's pg_type.dat).
#define OID_INT8 20
#define OID_TEXT 25
#define OID_FLOAT8 701

#define VALUES_MAX 16

const char *const ts_pg_statements[TS_SQL_COUNT] = {
#define TS_STATEMENT(symbol, text) [TS_SQL_##symbol] = text,
#include "store/statements_pg.def"
#undef TS_STATEMENT
};

static const char *const names[TS_SQL_COUNT] = {
#define TS_STATEMENT(symbol, text) [TS_SQL_##symbol] = #symbol,
#include "store/statements_pg.def"
#undef TS_STATEMENT
};

// As many statements as the other back end has, and none unknown to it: so all of them.
enum {
#define TS_STATEMENT(symbol, text) COUNTED_##symbol,
#include "store/statements_pg.def"
#undef TS_STATEMENT
	COUNTED
};
static_assert((int)COUNTED == (int)TS_SQL_COUNT,
              "statements_pg.def and statements_sqlite.def name the same statements");

// --- statements ---

enum ts_err ts_pg_simple(PGconn *conn, const char *sql, const char *doing, struct ts_error *error)
{
	PGresult *result = PQexec(conn, sql);
	enum ts_err err = TS_OK;

	if (PQresultStatus(result) != PGRES_COMMAND_OK && PQresultStatus(result) != PGRES_TUPLES_OK)
		err = ts_pg_fail(conn, result, doing, error);
	PQclear(result);
	return err;
}

struct parameters {
	Oid types[VALUES_MAX];
	const char *texts[VALUES_MAX];
	char numbers[VALUES_MAX][32];
};

static void fill(struct parameters *parameters, const struct ts_sql_value *values, size_t count)
{
	assert(count <= VALUES_MAX);
	for (size_t i = 0; i < count; i++) {
		const struct ts_sql_value *value = &values[i];
		char *number = parameters->numbers[i];

		parameters->texts[i] = number;
		if (value->kind == 'i') {
			parameters->types[i] = OID_INT8;
			snprintf(number, sizeof parameters->numbers[i], "%" PRId64, value->i);
		} else if (value->kind == 'd') {
			parameters->types[i] = OID_FLOAT8;
			snprintf(number, sizeof parameters->numbers[i], "%.17g", value->d);
		} else {
			parameters->types[i] = OID_TEXT;
			parameters->texts[i] = value->text;
		}
	}
}

static enum ts_err each_row(PGresult *result, ts_sql_row_fn *row, void *ctx, struct ts_error *error)
{
	int rows = PQntuples(result);

	for (int i = 0; i < rows; i++) {
		struct ts_sql_row current = {.driver = &ts_pg_driver, .native = result, .number = i};
		TS_TRY(row(&current, ctx, error));
	}
	return TS_OK;
}

static enum ts_err run(struct ts_sql_tx *tx, enum ts_sql_statement id, const struct ts_sql_value *values, size_t count,
                       ts_sql_row_fn *row, void *ctx, int64_t *out_count, struct ts_error *error)
{
	struct ts_pg_conn *conn = tx->conn;
	struct parameters parameters;
	enum ts_err err = TS_OK;

	fill(&parameters, values, count);
	PGresult *result =
	    PQexecParams(conn->pg, ts_pg_statements[id], (int)count, parameters.types, parameters.texts, NULL, NULL, 0);
	ExecStatusType status = PQresultStatus(result);
	if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
		err = ts_pg_fail(conn->pg, result, names[id], error);
	} else {
		int64_t changed = strtoll(PQcmdTuples(result), NULL, 10);
		tx->changes += changed;
		if (row)
			err = each_row(result, row, ctx, error);
		if (err == TS_OK && out_count)
			*out_count = row ? PQntuples(result) : changed;
	}
	PQclear(result);
	return err;
}

static enum ts_err exec(struct ts_sql_tx *tx, const char *sql, struct ts_error *error)
{
	struct ts_pg_conn *conn = tx->conn;

	return ts_pg_simple(conn->pg, sql, "statement", error);
}

// The name's hash is the lock's number; two names that share one only wait for each other without need.
static enum ts_err lock(struct ts_sql_tx *tx, const char *name, struct ts_error *error)
{
	struct ts_pg_conn *conn = tx->conn;
	PGresult *result = PQexecParams(conn->pg, "SELECT pg_advisory_xact_lock(hashtextextended($1, 7262))", 1,
	                                (const Oid[]){OID_TEXT}, (const char *const[]){name}, NULL, NULL, 0);
	enum ts_err err = PQresultStatus(result) == PGRES_TUPLES_OK ? TS_OK : ts_pg_fail(conn->pg, result, "lock", error);

	PQclear(result);
	return err;
}

// --- transactions ---

void ts_pg_begin_texts(struct ts_pg *pg, int64_t statement_timeout_ms, int64_t lock_timeout_ms)
{
	for (int mode = TS_TX_READ; mode <= TS_TX_DURABLE; mode++)
		snprintf(pg->begin[mode], sizeof pg->begin[mode],
		         "%s; SET LOCAL statement_timeout = %lld; SET LOCAL lock_timeout = %lld; "
		         "SET LOCAL idle_in_transaction_session_timeout = %lld%s%s",
		         ts_pg_statements[mode == TS_TX_READ ? TS_SQL_BEGIN_READ : TS_SQL_BEGIN_WRITE],
		         (long long)statement_timeout_ms, (long long)lock_timeout_ms, (long long)(2 * statement_timeout_ms),
		         mode == TS_TX_HINT ? "; SET LOCAL synchronous_commit = off" : "",
		         pg->sql.clock ? "" : "; SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint");
}

static enum ts_err begin_on(struct ts_pg *pg, struct ts_pg_conn *conn, enum ts_sql_mode mode, int64_t *out_now,
                            struct ts_error *error)
{
	PGresult *result = PQexec(conn->pg, pg->begin[mode]);
	enum ts_err err = TS_OK;

	if (PQresultStatus(result) == PGRES_TUPLES_OK)
		*out_now = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
	else if (PQresultStatus(result) == PGRES_COMMAND_OK)
		*out_now = ts_wall_ms(pg->sql.clock);
	else
		err = ts_pg_fail(conn->pg, result, "begin", error);
	PQclear(result);
	return err;
}

// A server that restarted is found out here, before anything was done: the second try is with a new connection.
static enum ts_err begin(struct ts_sql *sql, enum ts_sql_mode mode, struct ts_sql_tx *tx, struct ts_error *error)
{
	struct ts_pg *pg = ts_pg_of(sql);
	struct ts_pg_conn *conn = NULL;
	int64_t now = 0;
	bool fresh = false;

	for (;;) {
		TS_TRY(ts_pg_take(pg, &conn, &fresh, error));
		enum ts_err err = begin_on(pg, conn, mode, &now, error);
		if (err == TS_OK)
			break;
		bool dead = PQstatus(conn->pg) != CONNECTION_OK;
		ts_pg_give(pg, conn);
		if (fresh || !dead)
			return err;
		ts_pg_drop_idle(pg);
	}
	*tx = (struct ts_sql_tx){.sql = sql, .driver = &ts_pg_driver, .conn = conn, .mode = mode, .now = now < 1 ? 1 : now};
	return TS_OK;
}

static void give_back(struct ts_sql_tx *tx)
{
	ts_pg_give(ts_pg_of(tx->sql), tx->conn);
	tx->conn = NULL;
}

static void rollback(struct ts_sql_tx *tx)
{
	struct ts_pg_conn *conn = tx->conn;

	if (PQstatus(conn->pg) == CONNECTION_OK)
		PQclear(PQexec(conn->pg, ts_pg_statements[TS_SQL_ROLLBACK]));
	give_back(tx); // which closes it when that did not help
}

static enum ts_err commit(struct ts_sql_tx *tx, struct ts_error *error)
{
	struct ts_pg_conn *conn = tx->conn;
	struct ts_pg *pg = ts_pg_of(tx->sql);
	bool changed = tx->mode != TS_TX_READ && tx->changes > 0;
	enum ts_err err = TS_OK;

	PGresult *result = PQexec(conn->pg, ts_pg_statements[TS_SQL_COMMIT]);
	if (PQresultStatus(result) != PGRES_COMMAND_OK)
		err = ts_pg_fail(conn->pg, result, "commit", error);
	else if (strcmp(PQcmdStatus(result), "COMMIT") != 0) // the server's answer to the commit of what had failed
		err = ts_fail(error, TS_ERR_STORE, "the store failed (commit): the transaction was rolled back");
	PQclear(result);
	give_back(tx);
	if (err == TS_OK && changed)
		ts_pg_notify(pg);
	return err;
}

// --- columns ---

static bool is_null(const struct ts_sql_row *row, int column)
{
	return PQgetisnull(row->native, row->number, column) == 1;
}

static int64_t get_int(const struct ts_sql_row *row, int column)
{
	return strtoll(PQgetvalue(row->native, row->number, column), NULL, 10);
}

static double get_double(const struct ts_sql_row *row, int column)
{
	return strtod(PQgetvalue(row->native, row->number, column), NULL);
}

static const char *get_chars(const struct ts_sql_row *row, int column)
{
	return is_null(row, column) ? NULL : PQgetvalue(row->native, row->number, column);
}

static size_t get_bytes(const struct ts_sql_row *row, int column)
{
	return (size_t)PQgetlength(row->native, row->number, column);
}

static int column_count(const struct ts_sql_row *row)
{
	return PQnfields(row->native);
}

const struct ts_sql_driver ts_pg_driver = {
    .begin = begin,
    .commit = commit,
    .rollback = rollback,
    .run = run,
    .exec = exec,
    .lock = lock,
    .is_null = is_null,
    .get_int = get_int,
    .get_double = get_double,
    .get_chars = get_chars,
    .get_bytes = get_bytes,
    .column_count = column_count,
    .watch = ts_pg_watch,
    .migrations = ts_pg_migrations,
    .migration_count = &ts_pg_migrations_count,
};
