// Brings the embedded store's schema up to date: every missing migration in one exclusive transaction, so that several
// processes may start at once. Refuses databases of other programs, newer schemas and migrations that were changed
// after they were applied.
#include "base/mem.h"
#include "store/migration.h"
#include "store/store_sqlite_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

// Another process may be applying a long migration.
#define LOCK_TIMEOUT_MS 60000

struct tables {
	int64_t all, ours;
};

static enum ts_err read_tables(sqlite3_stmt *row, void *ctx, struct ts_error *error)
{
	struct tables *tables = ctx;

	(void)error;
	tables->all = sqlite3_column_int64(row, 0);
	tables->ours = sqlite3_column_int64(row, 1);
	return TS_OK;
}

// ctx: the last version so far.
static enum ts_err check_applied(sqlite3_stmt *row, void *ctx, struct ts_error *error)
{
	int *version = ctx;
	int next = sqlite3_column_int(row, 0);
	const char *checksum = (const char *)sqlite3_column_text(row, 1);

	if (next != *version + 1)
		return ts_fail(error, TS_ERR_SCHEMA, "the store's list of migrations has a gap before %d", next);
	if (next <= ts_sqlite_migrations_count &&
	    (!checksum || strcmp(checksum, ts_sqlite_migrations[next - 1].checksum) != 0))
		return ts_fail(error, TS_ERR_SCHEMA,
		               "migration %d (%s) of this program is not the one that was applied to the store", next,
		               ts_sqlite_migrations[next - 1].name);
	*version = next;
	return TS_OK;
}

enum ts_err ts_sqlite_schema_version(struct ts_sqlite_conn *conn, int *out_version, struct ts_error *error)
{
	struct ts_sqlite_tx tx = {.conn = conn};
	struct tables tables = {0};
	int version = 0;

	TS_TRY(ts_sqlite_run(&tx, TS_SQL_TABLES, NULL, 0, read_tables, &tables, NULL, error));
	if (tables.all > 0 && tables.ours == 0)
		return ts_fail(error, TS_ERR_SCHEMA,
		               "the database belongs to another program: it has tables but no migrations");
	if (tables.ours > 0)
		TS_TRY(ts_sqlite_run(&tx, TS_SQL_MIGRATIONS, NULL, 0, check_applied, &version, NULL, error));
	if (version > ts_sqlite_migrations_count)
		return ts_fail(error, TS_ERR_SCHEMA,
		               "the store's schema is version %d, newer than this program's %d: run the newer program", version,
		               ts_sqlite_migrations_count);
	*out_version = version;
	return TS_OK;
}

static enum ts_err apply(struct ts_sqlite_conn *conn, int *out_from, struct ts_error *error)
{
	struct ts_sqlite_tx tx = {.conn = conn};
	int from;

	TS_TRY(ts_sqlite_schema_version(conn, &from, error));
	if (from == 0)
		TS_TRY(ts_sqlite_run(&tx, TS_SQL_MIGRATIONS_TABLE, NULL, 0, NULL, NULL, NULL, error));
	for (int i = from; i < ts_sqlite_migrations_count; i++) {
		const struct ts_migration *migration = &ts_sqlite_migrations[i];
		TS_TRY(ts_sqlite_exec(conn, migration->sql, error));
		TS_TRY(TS_SQL(&tx, MIGRATION_APPLIED, NULL, NULL, NULL, error, TS_I(migration->version), TS_T(migration->name),
		              TS_T(migration->checksum), TS_I(ts_wall_ms(ts_clock_system()))));
	}
	TS_TRY(ts_sqlite_exec(conn, "COMMIT", error));
	*out_from = from;
	return TS_OK;
}

static enum ts_err migrate(struct ts_sqlite_conn *conn, int *out_from, struct ts_error *error)
{
	int version;

	TS_TRY(ts_sqlite_schema_version(conn, &version, error));
	if (version == ts_sqlite_migrations_count) { // the usual start takes no lock
		*out_from = version;
		return TS_OK;
	}
	TS_TRY(ts_sqlite_exec(conn, "PRAGMA synchronous = FULL", error));
	TS_TRY(ts_sqlite_exec(conn, "BEGIN EXCLUSIVE", error));
	enum ts_err err = apply(conn, out_from, error);
	if (err != TS_OK && !sqlite3_get_autocommit(conn->db))
		sqlite3_exec(conn->db, "ROLLBACK", NULL, NULL, NULL);
	return err;
}

enum ts_err ts_store_sqlite_migrate(const char *path, int *out_from, int *out_to, struct ts_error *error)
{
	struct ts_sqlite_conn *conn;
	int from = 0;

	// Ours alone from the first moment. mknod and not open: closing a descriptor of a database that this process has open
	// elsewhere would drop its locks.
	if (mknod(path, S_IFREG | 0600, 0) != 0 && errno != EEXIST)
		return ts_fail_errno(error, TS_ERR_STORE, errno, "cannot create the store %s", path);
	TS_TRY(ts_sqlite_conn_open(path, LOCK_TIMEOUT_MS, true, &conn, error));
	enum ts_err err = migrate(conn, &from, error);
	ts_sqlite_conn_close(conn);
	TS_TRY(err);
	if (out_from)
		*out_from = from;
	if (out_to)
		*out_to = ts_sqlite_migrations_count;
	return TS_OK;
}
