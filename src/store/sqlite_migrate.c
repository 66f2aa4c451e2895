// Brings the embedded store's schema up to date: every missing migration in one exclusive transaction, so that several
// processes may start at once.
#include "base/mem.h"
#include "store/store_sqlite_internal.h"

#include <errno.h>
#include <sys/stat.h>

// Another process may be applying a long migration.
#define LOCK_TIMEOUT_MS 60000

static enum ts_err migrate(struct ts_sqlite_conn *conn, int *out_from, struct ts_error *error)
{
	struct ts_sql_tx tx = {.driver = &ts_sqlite_driver, .conn = conn};
	int version;

	TS_TRY(ts_sql_schema_version(&tx, &version, error));
	if (version == ts_sqlite_migrations_count) { // the usual start takes no lock
		*out_from = version;
		return TS_OK;
	}
	TS_TRY(ts_sqlite_exec(conn, "PRAGMA synchronous = FULL", error));
	TS_TRY(ts_sqlite_exec(conn, "BEGIN EXCLUSIVE", error));
	enum ts_err err = ts_sql_schema_apply(&tx, out_from, error);
	if (err == TS_OK)
		err = ts_sqlite_exec(conn, "COMMIT", error);
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
