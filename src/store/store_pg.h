// The store in PostgreSQL (13 or newer), shared by any number of API and worker hosts. Behind pgbouncer it works in
// transaction mode too: no session state, no named prepared statements, every setting is local to its transaction.
// Each handle has a bounded pool of connections and one more that listens for changes.
#ifndef TS_STORE_STORE_PG_H
#define TS_STORE_STORE_PG_H

#include "store/store.h"

// Where the database is. What `url` says wins over the rest; NULL or "": not said.
struct ts_pg_address {
	const char *url; // postgresql://..., with libpq's parameters (sslmode, sslrootcert, target_session_attrs, ...)
	const char *host, *port, *user, *password, *database, *sslmode;
	int64_t connect_timeout_ms; // 0: 5 s
};

struct ts_store_pg_options {
	struct ts_pg_address address;
	const struct ts_clock *clock; // borrowed; NULL: the server's clock, one for all hosts
	struct ts_rng *rng;           // NULL: the system's; must be thread safe
	unsigned pool_size;           // connections at most; 0: 8
	int64_t pool_timeout_ms;      // wait for a free one; 0: 10 s
	int64_t statement_timeout_ms; // 0: 30 s
	int64_t lock_timeout_ms;      // 0: 10 s
	const char *public_url;       // base of the links in event bodies; "": relative
	bool migrate;                 // bring the schema up to date; otherwise an old schema is TS_ERR_SCHEMA
	const struct ts_log *log;     // NULL: silent
};

enum ts_err ts_store_pg_open(const struct ts_store_pg_options *options, struct ts_store **out,
                             struct ts_error *error) TS_MUST_USE;

// Applies missing migrations under an advisory lock, safe when several processes start at once; refuses a schema newer
// than the program. *out_from and *out_to (may be NULL) are schema versions.
enum ts_err ts_store_pg_migrate(const struct ts_pg_address *address, int *out_from, int *out_to,
                                struct ts_error *error) TS_MUST_USE;

// "postgresql://user@host:port/database" for people: without password and parameters. Owned by the caller.
enum ts_err ts_pg_describe(const struct ts_pg_address *address, char **out, struct ts_error *error) TS_MUST_USE;

#endif
