// The embedded store: one SQLite file in WAL mode, shared by the API and worker processes of one machine.
#ifndef TS_STORE_STORE_SQLITE_H
#define TS_STORE_STORE_SQLITE_H

#include "store/store.h"

struct ts_store_sqlite_options {
	const char *path;             // of the database file; its folder must exist and be on a local disk
	const struct ts_clock *clock; // borrowed for the life of the store
	struct ts_rng *rng;           // NULL: the system's; must be thread safe
	int64_t busy_timeout_ms;      // 0: 10 s
	const char *public_url;       // base of the links in event bodies; "": relative
	bool migrate;                 // bring the schema up to date; otherwise an old schema is TS_ERR_SCHEMA
	const struct ts_log *log;     // NULL: silent
};

enum ts_err ts_store_sqlite_open(const struct ts_store_sqlite_options *options, struct ts_store **out,
                                 struct ts_error *error) TS_MUST_USE;

// Applies missing migrations, safe when several processes start at once; refuses a schema newer than the program.
// *out_from and *out_to (may be NULL) are schema versions.
enum ts_err ts_store_sqlite_migrate(const char *path, int *out_from, int *out_to, struct ts_error *error) TS_MUST_USE;

#endif
