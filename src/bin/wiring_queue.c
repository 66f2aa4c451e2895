// The queue of the API and the workers: rows beside the jobs.
#include "bin/wiring_queue.h"

#include "queue/queue_store.h"

enum ts_err ts_wiring_queue(void *ctx, struct ts_queue **out, struct ts_error *error)
{
	struct ts_queue_store_options options = {.store = ctx};

	return ts_queue_store_open(&options, out, error);
}
