// The queue that the configuration asks for: RabbitMQ, or the embedded one over the store.
#ifndef TS_BIN_WIRING_QUEUE_H
#define TS_BIN_WIRING_QUEUE_H

#include "bin/wiring.h"
#include "queue/queue.h"
#include "store/store.h"

// Everything is borrowed. Does not move while handles are open.
struct ts_queue_wiring {
	const struct ts_program *program;
	struct ts_store *store;
	unsigned prefetch; // jobs that this program may be taking at one time; 0: it takes none
	char client_name[128];
};

void ts_queue_wiring_init(struct ts_queue_wiring *wiring, const struct ts_program *program, struct ts_store *store,
                          unsigned prefetch);
// The queue_open of workers and APIs; ctx is the wiring.
enum ts_err ts_wiring_queue(void *ctx, struct ts_queue **out, struct ts_error *error) TS_MUST_USE;
// Before the start: what is wrong with the broker's settings or queues is an error. A broker that is away is none: jobs
// are accepted without it.
enum ts_err ts_wiring_queue_check(const struct ts_queue_wiring *wiring, struct ts_error *error) TS_MUST_USE;

// How long a queued job may go unmentioned before a worker mentions it again; 0: the worker's own default. The embedded
// queue's messages are seen by the store; a broker's are not, so a long backlog must not be taken for a lost message.
int64_t ts_wiring_orphan_after_ms(const struct ts_config *config);

#endif
