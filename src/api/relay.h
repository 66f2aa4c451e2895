// Publishes the outbox: one thread, its own queue handle. Any number of relays may run beside each other, each row is
// leased to one of them. A queue that fails is tried again; submits do not notice.
#ifndef TS_API_RELAY_H
#define TS_API_RELAY_H

#include "base/log.h"
#include "queue/queue.h"
#include "store/store.h"

struct ts_metrics;
struct ts_relay;

struct ts_relay_options {
	struct ts_store *store;
	enum ts_err (*queue_open)(void *ctx, struct ts_queue **out, struct ts_error *error);
	void *queue_ctx;
	struct ts_metrics *metrics;
	const struct ts_log *log;
};

enum ts_err ts_relay_start(const struct ts_relay_options *options, struct ts_relay **out,
                           struct ts_error *error) TS_MUST_USE;
void ts_relay_kick(struct ts_relay *relay);    // there is something to publish
void ts_relay_destroy(struct ts_relay *relay); // stops; NULL-safe

#endif
