// The worker's own small HTTP page for probes and Prometheus (METRICS_PORT): /health/live, /health/ready, /metrics.
#ifndef TS_BIN_METRICS_H
#define TS_BIN_METRICS_H

#include "store/store.h"
#include "worker/worker.h"

struct ts_metrics_options {
	const char *host;
	uint16_t port;
	const struct ts_worker *worker; // borrowed until stopped
	struct ts_store *store;         // borrowed until stopped
};

struct ts_metrics;

enum ts_err ts_metrics_start(const struct ts_metrics_options *options, struct ts_metrics **out,
                             struct ts_error *error) TS_MUST_USE;
void ts_metrics_drain(struct ts_metrics *metrics); // NULL-safe; readiness goes false
void ts_metrics_stop(struct ts_metrics *metrics);  // NULL-safe; frees

#endif
