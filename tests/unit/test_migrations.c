// Migrations of the embedded store: many processes at once, refusals, the file's mode.
#include "process.h"

#include "store/migration.h"

#include <sqlite3.h>
#include <sys/stat.h>

static void sql(struct fixture *f, const char *text)
{
	sqlite3 *db;
	char *message = NULL;

	assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
	if (sqlite3_exec(db, text, NULL, NULL, &message) != SQLITE_OK)
		fail_msg("%s: %s", text, message);
	sqlite3_close(db);
}

static int number(void *ctx, int columns, char **values, char **names)
{
	(void)columns;
	(void)names;
	*(int *)ctx = values[0] ? atoi(values[0]) : -1;
	return 0;
}

static int query(struct fixture *f, const char *text)
{
	sqlite3 *db;
	int value = -1;

	assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, text, number, &value, NULL), SQLITE_OK);
	sqlite3_close(db);
	return value;
}

static enum ts_err open_without_migrating(struct fixture *f)
{
	struct ts_store_sqlite_options options = {.path = f->path, .clock = &f->clock.clock};

	return ts_store_sqlite_open(&options, &f->store, &f->error);
}

// The fixture of the contract tests, without its open store.
static void fresh_ground(struct fixture *f)
{
	close_store_of(f);
	assert_int_equal(unlink(f->path), 0);
}

static void fresh_store_is_private_and_current(void **state)
{
	struct fixture *f = *state;
	struct stat st;
	int from = -1, to = -1;

	fresh_ground(f);
	ok(ts_store_sqlite_migrate(f->path, &from, &to, &f->error));
	assert_int_equal(from, 0);
	assert_int_equal(to, ts_sqlite_migrations_count);
	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	ok(ts_store_sqlite_migrate(f->path, &from, &to, &f->error));
	assert_int_equal(from, to);
	assert_int_equal(query(f, "SELECT count(*) FROM schema_migrations"), ts_sqlite_migrations_count);
	assert_int_equal(query(f, "SELECT min(length(checksum)) FROM schema_migrations"), 64);
	ok(open_without_migrating(f));
	ok(ts_store_ping(f->store, &f->error));
}

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

	for (int round = 0; round < 3; round++) {
		close_store_of(f);
		unlink(f->path);
		for (int i = 0; i < 10; i++)
			processes[i] = process_fork(f, migrate_when_told);
		for (int i = 0; i < 10; i++)
			process_go(&processes[i]);
		for (int i = 0; i < 10; i++)
			assert_int_equal(process_end(&processes[i]), 0);
		assert_int_equal(query(f, "SELECT count(*) FROM schema_migrations"), ts_sqlite_migrations_count);
	}
}

static void newer_schema_is_refused(void **state)
{
	struct fixture *f = *state;
	TS_AUTOFREE char *newer = ts_asprintf("INSERT INTO schema_migrations VALUES (%d, 'from_the_future', 'x', 1)",
	                                      ts_sqlite_migrations_count + 1);

	ok(ts_store_ping(f->store, &f->error));
	sql(f, newer);
	fails(TS_ERR_SCHEMA, ts_store_ping(f->store, &f->error)); // of a program that runs on
	close_store_of(f);
	fails(TS_ERR_SCHEMA, f->backend->open(f, &f->store, &f->error));
	assert_non_null(strstr(f->error.message, "newer"));
	fails(TS_ERR_SCHEMA, open_without_migrating(f));
	fails(TS_ERR_SCHEMA, ts_store_sqlite_migrate(f->path, NULL, NULL, &f->error));
}

static void changed_migration_is_refused(void **state)
{
	struct fixture *f = *state;

	close_store_of(f);
	sql(f, "UPDATE schema_migrations SET checksum = 'other' WHERE version = 1");
	fails(TS_ERR_SCHEMA, f->backend->open(f, &f->store, &f->error));
	assert_non_null(strstr(f->error.message, "migration 1 (init)"));
}

static void gap_is_refused(void **state)
{
	struct fixture *f = *state;

	close_store_of(f);
	sql(f, "DELETE FROM schema_migrations WHERE version = 1");
	fails(TS_ERR_SCHEMA, f->backend->open(f, &f->store, &f->error));
	assert_non_null(strstr(f->error.message, "gap"));
}

static void database_of_another_program_is_left_alone(void **state)
{
	struct fixture *f = *state;

	fresh_ground(f);
	sql(f, "CREATE TABLE bookmarks (url TEXT)");
	fails(TS_ERR_SCHEMA, f->backend->open(f, &f->store, &f->error));
	assert_non_null(strstr(f->error.message, "another program"));
	assert_int_equal(query(f, "SELECT count(*) FROM sqlite_schema"), 1);
}

static void what_is_no_database_is_refused(void **state)
{
	struct fixture *f = *state;
	FILE *file;

	fresh_ground(f);
	file = fopen(f->path, "w");
	assert_non_null(file);
	for (int i = 0; i < 1000; i++)
		fputs("this is not a database\n", file);
	fclose(file);
	fails(TS_ERR_STORE, f->backend->open(f, &f->store, &f->error));
	assert_non_null(strstr(f->error.message, "not a database"));
}

static void missing_places_are_named(void **state)
{
	struct fixture *f = *state;
	struct stat st;

	fresh_ground(f);
	fails(TS_ERR_STORE, open_without_migrating(f));
	assert_non_null(strstr(f->error.message, f->path));
	assert_int_not_equal(stat(f->path, &st), 0); // and none was made
	snprintf(f->path, sizeof f->path, "%s/no/such/folder.db", f->dir);
	fails(TS_ERR_STORE, f->backend->open(f, &f->store, &f->error));
	assert_non_null(strstr(f->error.message, "No such file or directory"));
}

static void old_schema_needs_migrating(void **state)
{
	struct fixture *f = *state;
	FILE *file;

	fresh_ground(f);
	file = fopen(f->path, "w"); // an empty file is an empty database
	assert_non_null(file);
	fclose(file);
	fails(TS_ERR_SCHEMA, open_without_migrating(f));
	assert_non_null(strstr(f->error.message, "migrate"));
	reopen_store(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    store_test(fresh_store_is_private_and_current),
	    store_test(ten_processes_migrate_at_once),
	    store_test(newer_schema_is_refused),
	    store_test(changed_migration_is_refused),
	    store_test(gap_is_refused),
	    store_test(database_of_another_program_is_left_alone),
	    store_test(what_is_no_database_is_refused),
	    store_test(missing_places_are_named),
	    store_test(old_schema_needs_migrating),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
