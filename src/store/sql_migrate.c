// The schema's version and its migrations, for every back end. Refuses databases of other programs, newer schemas and
// migrations that were changed after they were applied.
#include "store/store_sql.h"

#include <string.h>

struct tables {
	int64_t all, ours;
};

static enum ts_err read_tables(const struct ts_sql_row *row, void *ctx, struct ts_error *error)
{
	struct tables *tables = ctx;

	(void)error;
	tables->all = ts_sql_int(row, 0);
	tables->ours = ts_sql_int(row, 1);
	return TS_OK;
}

struct applied {
	const struct ts_sql_driver *driver;
	int version; // the last one so far
};

static enum ts_err check_applied(const struct ts_sql_row *row, void *ctx, struct ts_error *error)
{
	struct applied *applied = ctx;
	const struct ts_sql_driver *driver = applied->driver;
	int next = (int)ts_sql_int(row, 0);
	const char *checksum = ts_sql_chars(row, 1);

	if (next != applied->version + 1)
		return ts_fail(error, TS_ERR_SCHEMA, "the store's list of migrations has a gap before %d", next);
	if (next <= *driver->migration_count && (!checksum || strcmp(checksum, driver->migrations[next - 1].checksum) != 0))
		return ts_fail(error, TS_ERR_SCHEMA,
		               "migration %d (%s) of this program is not the one that was applied to the store", next,
		               driver->migrations[next - 1].name);
	applied->version = next;
	return TS_OK;
}

enum ts_err ts_sql_schema_version(struct ts_sql_tx *tx, int *out_version, struct ts_error *error)
{
	struct tables tables = {0};
	struct applied applied = {.driver = tx->driver};
	int known = *tx->driver->migration_count;

	TS_TRY(ts_sql_run(tx, TS_SQL_TABLES, NULL, 0, read_tables, &tables, NULL, error));
	if (tables.all > 0 && tables.ours == 0)
		return ts_fail(error, TS_ERR_SCHEMA,
		               "the database belongs to another program: it has tables but no migrations");
	if (tables.ours > 0)
		TS_TRY(ts_sql_run(tx, TS_SQL_MIGRATIONS, NULL, 0, check_applied, &applied, NULL, error));
	if (applied.version > known)
		return ts_fail(error, TS_ERR_SCHEMA,
		               "the store's schema is version %d, newer than this program's %d: run the newer program",
		               applied.version, known);
	*out_version = applied.version;
	return TS_OK;
}

enum ts_err ts_sql_schema_apply(struct ts_sql_tx *tx, int *out_from, struct ts_error *error)
{
	int from;

	TS_TRY(ts_sql_schema_version(tx, &from, error));
	if (from == 0)
		TS_TRY(ts_sql_run(tx, TS_SQL_MIGRATIONS_TABLE, NULL, 0, NULL, NULL, NULL, error));
	for (int i = from; i < *tx->driver->migration_count; i++) {
		const struct ts_migration *migration = &tx->driver->migrations[i];
		TS_TRY(tx->driver->exec(tx, migration->sql, error));
		TS_TRY(TS_SQL(tx, MIGRATION_APPLIED, NULL, NULL, NULL, error, TS_I(migration->version), TS_T(migration->name),
		              TS_T(migration->checksum), TS_I(ts_wall_ms(ts_clock_system()))));
	}
	*out_from = from;
	return TS_OK;
}

enum ts_err ts_sql_schema_check(struct ts_sql_tx *tx, struct ts_error *error)
{
	int version;

	TS_TRY(ts_sql_schema_version(tx, &version, error));
	if (version < *tx->driver->migration_count)
		return ts_fail(error, TS_ERR_SCHEMA,
		               "the store's schema is version %d, this program needs %d: migrate it first", version,
		               *tx->driver->migration_count);
	return TS_OK;
}

enum ts_err ts_sql_ping(struct ts_store *store, struct ts_error *error)
{
	struct ts_sql *sql = ts_sql_of(store);
	TS_AUTOTX struct ts_sql_tx tx = {0};
	int64_t version = 0;

	TS_TRY(ts_sql_begin(sql, TS_TX_READ, &tx, error));
	TS_TRY(ts_sql_run(&tx, TS_SQL_SCHEMA_VERSION, NULL, 0, ts_sql_row_int, &version, NULL, error));
	TS_TRY(ts_sql_commit(&tx, error));
	if (version != *sql->driver->migration_count)
		return ts_fail(error, TS_ERR_SCHEMA, "the store's schema is version %lld, this program's is %d",
		               (long long)version, *sql->driver->migration_count);
	return TS_OK;
}
