// The embedded store and its queue. Each program brings the schema up to date when it starts (several may at once).
#include "bin/wiring_store.h"

#include "queue/queue_store.h"
#include "store/store_sqlite.h"

enum ts_err ts_wiring_store(const struct ts_program *program, const struct ts_paths *paths, struct ts_store **out,
                            struct ts_error *error)
{
	struct ts_store_sqlite_options options = {
	    .path = paths->database,
	    .clock = ts_clock_system(),
	    .public_url = program->config.public_url,
	    .migrate = true,
	    .log = &program->log,
	};
	return ts_store_sqlite_open(&options, out, error);
}

enum ts_err ts_wiring_queue(void *ctx, struct ts_queue **out, struct ts_error *error)
{
	struct ts_queue_store_options options = {.store = ctx};

	return ts_queue_store_open(&options, out, error);
}
