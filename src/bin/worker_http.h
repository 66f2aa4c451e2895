// The worker's own small HTTP page for probes and Prometheus (METRICS_PORT): /health/live, /health/ready, /metrics.
#ifndef TS_BIN_WORKER_HTTP_H
#define TS_BIN_WORKER_HTTP_H

#include "store/store.h"
#include "worker/worker.h"

struct ts_worker_http_options {
	const char *host;
	uint16_t port;                  // 0: the system chooses
	const struct ts_worker *worker; // borrowed until stopped
	struct ts_store *store;         // borrowed until stopped
};

struct ts_worker_http;

enum ts_err ts_worker_http_start(const struct ts_worker_http_options *options, struct ts_worker_http **out,
                                 struct ts_error *error) TS_MUST_USE;
void ts_worker_http_drain(struct ts_worker_http *http); // NULL-safe; readiness goes false
void ts_worker_http_stop(struct ts_worker_http *http);  // NULL-safe; frees
uint16_t ts_worker_http_port(const struct ts_worker_http *http);

#endif
