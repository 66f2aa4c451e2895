// Counters of the API and their text in Prometheus' exposition format 0.0.4. Labels come from closed lists (routes.def,
// known statuses), so that no request can make the number of series grow. Thread safe, lock-free.
#ifndef TS_API_METRICS_H
#define TS_API_METRICS_H

#include "api/router.h"
#include "base/buf.h"
#include "store/store.h"

#include <stdatomic.h>
#include <stdint.h>

struct ts_metrics;

enum ts_err ts_metrics_create(struct ts_metrics **out, struct ts_error *error) TS_MUST_USE;
void ts_metrics_destroy(struct ts_metrics *metrics); // NULL-safe

void ts_metrics_begin(struct ts_metrics *metrics);
// route NULL: no route matched.
void ts_metrics_end(struct ts_metrics *metrics, enum ts_method method, const struct ts_route *route, unsigned status,
                    double seconds);
int64_t ts_metrics_in_flight(const struct ts_metrics *metrics);
void ts_metrics_uploaded(struct ts_metrics *metrics, uint64_t bytes);
void ts_metrics_published(struct ts_metrics *metrics, uint64_t messages, uint64_t failures);

// What is read at the moment of the scrape.
struct ts_metrics_scrape {
	const struct ts_store_counts *counts; // NULL: the store did not answer
	const int64_t *queue_depth;           // NULL: the queue did not answer
	int64_t now_ms;                       // wall clock
	unsigned connections, waiting;
	bool draining;
};
void ts_metrics_write(const struct ts_metrics *metrics, const struct ts_metrics_scrape *scrape, struct ts_buf *out);

#endif
