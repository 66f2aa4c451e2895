// The numbered migrations of the back ends, embedded by embed_sql.py. A migration that was released never changes:
// its checksum stands in every database it was applied to.
#ifndef TS_STORE_MIGRATION_H
#define TS_STORE_MIGRATION_H

struct ts_migration {
	int version; // from 1, without gaps
	const char *name;
	const char *checksum; // SHA-256 of the file, hex
	const char *sql;
};

extern const struct ts_migration ts_sqlite_migrations[]; // ascending
extern const int ts_sqlite_migrations_count;
extern const struct ts_migration ts_pg_migrations[];
extern const int ts_pg_migrations_count;

#endif
