// One try of one callback: a signed POST by Standard Webhooks 1.0.0, and the verdict on its answer.
// Refuses rows and threads (deliver.c's loop has them), so that verdicts and schedules are tested as values.
#ifndef TS_WORKER_DELIVER_H
#define TS_WORKER_DELIVER_H

#include "net/http.h"
#include "store/store.h"

struct ts_deliver_options {
	const char *secret; // NULL or "": unsigned
	const struct ts_netguard *guard;
	int64_t timeout_ms;
	const int64_t *schedule_ms; // delay before try i, from 0; the last repeats
	size_t schedule_count;
	unsigned max_attempts;
	const struct ts_clock *clock;
	const atomic_bool *abort;
};

struct ts_deliver_result {
	struct ts_delivery_attempt attempt; // error and response are owned
	enum ts_delivery_outcome outcome;
	int64_t next_attempt_at; // only for TS_DELIVERY_RETRY
	enum ts_err err;         // of the transfer
};
void ts_deliver_result_finish(struct ts_deliver_result *result);

// Sends once and judges: 2xx done; 410, a forbidden address or an impossible URL, or the last try: give up; else retry
// by the schedule with jitter, for 429, 502, 503 and 504 not before Retry-After (bounded). A failed transfer is a
// result, not an error: TS_ERR_NOMEM or a bad secret only.
enum ts_err ts_deliver_once(const struct ts_deliver_options *options, const struct ts_delivery *delivery,
                            struct ts_deliver_result *out, struct ts_error *error) TS_MUST_USE;

#endif
