// The store that the configuration asks for: SQLite's file or PostgreSQL. Each program brings the schema up to date when
// it starts (several may at once).
#include "bin/wiring_store.h"

#include "base/mem.h"
#include "store/store_pg.h"
#include "store/store_sqlite.h"

#include <stdio.h>

struct address {
	struct ts_pg_address pg;
	char port[16];
};

static const struct ts_pg_address *address_of(const struct ts_config *config, struct address *out)
{
	snprintf(out->port, sizeof out->port, "%lld", (long long)config->postgres_port);
	out->pg = (struct ts_pg_address){
	    .url = config->database_url,
	    .host = config->postgres_server,
	    .port = out->port,
	    .user = config->postgres_user,
	    .password = config->postgres_password,
	    .database = config->postgres_db,
	    .sslmode = ts_config_postgres_sslmode(config),
	    .connect_timeout_ms = config->postgres_connect_timeout_ms,
	};
	return &out->pg;
}

// The server's clock decides: the hosts' need not agree.
static enum ts_err open_postgres(const struct ts_program *program, struct ts_store **out, struct ts_error *error)
{
	const struct ts_config *config = &program->config;
	struct address address;
	struct ts_store_pg_options options = {
	    .address = *address_of(config, &address),
	    .pool_size = (unsigned)config->postgres_pool_size,
	    .statement_timeout_ms = config->postgres_statement_timeout_ms,
	    .lock_timeout_ms = config->postgres_lock_timeout_ms,
	    .public_url = config->public_url,
	    .migrate = true,
	    .log = &program->log,
	};
	return ts_store_pg_open(&options, out, error);
}

enum ts_err ts_wiring_store(const struct ts_program *program, const struct ts_paths *paths, struct ts_store **out,
                            struct ts_error *error)
{
	if (ts_config_is_postgres(&program->config))
		return open_postgres(program, out, error);
	struct ts_store_sqlite_options options = {
	    .path = paths->database,
	    .clock = ts_clock_system(),
	    .public_url = program->config.public_url,
	    .migrate = true,
	    .log = &program->log,
	};
	return ts_store_sqlite_open(&options, out, error);
}

enum ts_err ts_wiring_migrate(const struct ts_program *program, const struct ts_paths *paths, int *out_from,
                              int *out_to, struct ts_error *error)
{
	struct address address;

	if (ts_config_is_postgres(&program->config))
		return ts_store_pg_migrate(address_of(&program->config, &address), out_from, out_to, error);
	return ts_store_sqlite_migrate(paths->database, out_from, out_to, error);
}

enum ts_err ts_wiring_store_name(const struct ts_program *program, const struct ts_paths *paths, char **out,
                                 struct ts_error *error)
{
	struct address address;

	if (ts_config_is_postgres(&program->config))
		return ts_pg_describe(address_of(&program->config, &address), out, error);
	*out = ts_strdup(paths->database);
	return *out ? TS_OK : ts_fail_nomem(error);
}
