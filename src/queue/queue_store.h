// The queue that needs no broker: rows with leases in the store's own database. Wakes receivers of other processes within
// milliseconds. Strict priority, then order of arrival.
#ifndef TS_QUEUE_QUEUE_STORE_H
#define TS_QUEUE_QUEUE_STORE_H

#include "queue/queue.h"
#include "store/store.h"

struct ts_queue_store_options {
	struct ts_store *store; // borrowed; may be shared by many queues
	int64_t lease_ms;       // of a received message until acked; 0: 60 s
};

enum ts_err ts_queue_store_open(const struct ts_queue_store_options *options, struct ts_queue **out,
                                struct ts_error *error) TS_MUST_USE;

#endif
