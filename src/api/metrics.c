// Arrays of atomics, indexed by method, route and status; zero series are left out.
#include "api/metrics.h"

#include "base/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

// Every status the API answers with; anything else is counted under 0.
static const unsigned statuses[] = {0,   200, 202, 204, 304, 400, 401, 404, 405, 406, 408,
                                    409, 413, 415, 422, 429, 431, 499, 500, 503, 507};
#define STATUS_COUNT (sizeof statuses / sizeof *statuses)
#define ROUTE_SLOTS (TS_ROUTE_COUNT + 1) // the last: no route
static const double bounds[] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60};
#define BOUND_COUNT (sizeof bounds / sizeof *bounds)

struct ts_metrics {
	_Atomic uint64_t requests[TS_METHOD_COUNT][ROUTE_SLOTS][STATUS_COUNT];
	_Atomic uint64_t bucket[ROUTE_SLOTS][BOUND_COUNT + 1];
	_Atomic uint64_t sum_us[ROUTE_SLOTS];
	_Atomic int64_t in_flight;
	_Atomic uint64_t uploaded, published, publish_failures;
};

enum metric {
#define TS_METRIC(symbol, name, type, help) METRIC_##symbol,
#include "api/metrics.def"
#undef TS_METRIC
	METRIC_COUNT
};

static const struct {
	const char *name, *type, *help;
} metrics_table[METRIC_COUNT] = {
#define TS_METRIC(symbol, name_, type_, help_) [METRIC_##symbol] = {.name = (name_), .type = (type_), .help = (help_)},
#include "api/metrics.def"
#undef TS_METRIC
};

enum ts_err ts_metrics_create(struct ts_metrics **out, struct ts_error *error)
{
	struct ts_metrics *metrics = ts_calloc(1, sizeof *metrics);

	if (!metrics)
		return ts_fail_nomem(error);
	*out = metrics;
	return TS_OK;
}

void ts_metrics_destroy(struct ts_metrics *metrics)
{
	ts_free(metrics);
}

void ts_metrics_begin(struct ts_metrics *metrics)
{
	atomic_fetch_add_explicit(&metrics->in_flight, 1, memory_order_relaxed);
}

static void add(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

static size_t route_slot(const struct ts_route *route)
{
	return route ? (size_t)(route - ts_route_at((enum ts_route_id)0)) : (size_t)TS_ROUTE_COUNT;
}

void ts_metrics_end(struct ts_metrics *metrics, enum ts_method method, const struct ts_route *route, unsigned status,
                    double seconds)
{
	size_t slot = route_slot(route), code = 0, bucket = 0;

	for (size_t i = 1; i < STATUS_COUNT; i++) {
		if (statuses[i] == status)
			code = i;
	}
	while (bucket < BOUND_COUNT && seconds > bounds[bucket])
		bucket++;
	add(&metrics->requests[method][slot][code], 1);
	add(&metrics->bucket[slot][bucket], 1);
	add(&metrics->sum_us[slot], (uint64_t)(seconds * 1e6));
	atomic_fetch_sub_explicit(&metrics->in_flight, 1, memory_order_relaxed);
}

int64_t ts_metrics_in_flight(const struct ts_metrics *metrics)
{
	return atomic_load(&metrics->in_flight);
}

void ts_metrics_uploaded(struct ts_metrics *metrics, uint64_t bytes)
{
	add(&metrics->uploaded, bytes);
}

void ts_metrics_published(struct ts_metrics *metrics, uint64_t messages, uint64_t failures)
{
	add(&metrics->published, messages);
	add(&metrics->publish_failures, failures);
}

static void head(struct ts_buf *out, enum metric metric)
{
	ts_buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", metrics_table[metric].name, metrics_table[metric].help,
	              metrics_table[metric].name, metrics_table[metric].type);
}

static void single(struct ts_buf *out, enum metric metric, int64_t value)
{
	head(out, metric);
	ts_buf_printf(out, "%s %" PRId64 "\n", metrics_table[metric].name, value);
}

static const char *slot_path(size_t slot)
{
	return slot < TS_ROUTE_COUNT ? ts_route_at((enum ts_route_id)slot)->path : "none";
}

static void write_requests(const struct ts_metrics *metrics, struct ts_buf *out)
{
	head(out, METRIC_REQUESTS);
	for (size_t slot = 0; slot < ROUTE_SLOTS; slot++) {
		for (int method = 0; method < TS_METHOD_COUNT; method++) {
			for (size_t code = 0; code < STATUS_COUNT; code++) {
				uint64_t n = atomic_load_explicit(&metrics->requests[method][slot][code], memory_order_relaxed);
				if (n)
					ts_buf_printf(out, "%s{method=\"%s\",route=\"%s\",status=\"%u\"} %" PRIu64 "\n",
					              metrics_table[METRIC_REQUESTS].name, ts_method_name((enum ts_method)method),
					              slot_path(slot), statuses[code], n);
			}
		}
	}
}

static void write_durations(const struct ts_metrics *metrics, struct ts_buf *out)
{
	const char *name = metrics_table[METRIC_DURATION].name;
	char labels[160];

	head(out, METRIC_DURATION);
	for (size_t slot = 0; slot < ROUTE_SLOTS; slot++) {
		uint64_t bucket[BOUND_COUNT + 1], total = 0;
		for (size_t i = 0; i <= BOUND_COUNT; i++) {
			bucket[i] = atomic_load_explicit(&metrics->bucket[slot][i], memory_order_relaxed);
			total += bucket[i];
		}
		if (!total)
			continue;
		bool matched = slot < TS_ROUTE_COUNT;
		snprintf(labels, sizeof labels, "method=\"%s\",route=\"%s\"",
		         matched ? ts_method_name(ts_route_at((enum ts_route_id)slot)->method) : "other", slot_path(slot));
		uint64_t sum = 0;
		for (size_t i = 0; i < BOUND_COUNT; i++) {
			sum += bucket[i];
			ts_buf_printf(out, "%s_bucket{%s,le=\"%g\"} %" PRIu64 "\n", name, labels, bounds[i], sum);
		}
		ts_buf_printf(out, "%s_bucket{%s,le=\"+Inf\"} %" PRIu64 "\n", name, labels, total);
		ts_buf_printf(out, "%s_sum{%s} %.6f\n", name, labels, (double)atomic_load(&metrics->sum_us[slot]) / 1e6);
		ts_buf_printf(out, "%s_count{%s} %" PRIu64 "\n", name, labels, total);
	}
}

static void write_store(const struct ts_metrics_scrape *scrape, struct ts_buf *out)
{
	const struct ts_store_counts *counts = scrape->counts;

	head(out, METRIC_JOBS);
	for (int state = 0; state < TS_JOB_STATE_COUNT; state++)
		ts_buf_printf(out, "%s{status=\"%s\"} %" PRId64 "\n", metrics_table[METRIC_JOBS].name,
		              ts_job_state_name((enum ts_job_state)state), counts->jobs[state]);
	int64_t age = counts->oldest_queued_at ? scrape->now_ms - counts->oldest_queued_at : 0;
	head(out, METRIC_OLDEST);
	ts_buf_printf(out, "%s %.3f\n", metrics_table[METRIC_OLDEST].name, age > 0 ? (double)age / 1000 : 0.0);
	single(out, METRIC_OUTBOX, counts->outbox);
	head(out, METRIC_DELIVERIES);
	ts_buf_printf(out, "%s{status=\"pending\"} %" PRId64 "\n", metrics_table[METRIC_DELIVERIES].name,
	              counts->deliveries_pending);
	ts_buf_printf(out, "%s{status=\"failed\"} %" PRId64 "\n", metrics_table[METRIC_DELIVERIES].name,
	              counts->deliveries_failed);
}

void ts_metrics_write(const struct ts_metrics *metrics, const struct ts_metrics_scrape *scrape, struct ts_buf *out)
{
	head(out, METRIC_BUILD_INFO);
	ts_buf_printf(out, "%s{version=\"%s\"} 1\n", metrics_table[METRIC_BUILD_INFO].name, TS_VERSION);
	write_requests(metrics, out);
	write_durations(metrics, out);
	single(out, METRIC_IN_FLIGHT, atomic_load(&metrics->in_flight));
	single(out, METRIC_CONNECTIONS, scrape->connections);
	single(out, METRIC_WAITING, scrape->waiting);
	single(out, METRIC_UPLOAD_BYTES, (int64_t)atomic_load(&metrics->uploaded));
	single(out, METRIC_PUBLISHED, (int64_t)atomic_load(&metrics->published));
	single(out, METRIC_PUBLISH_FAILURES, (int64_t)atomic_load(&metrics->publish_failures));
	single(out, METRIC_STORE_UP, scrape->counts != NULL);
	if (scrape->counts)
		write_store(scrape, out);
	single(out, METRIC_QUEUE_UP, scrape->queue_depth != NULL);
	if (scrape->queue_depth)
		single(out, METRIC_QUEUE_DEPTH, *scrape->queue_depth);
	single(out, METRIC_DRAINING, scrape->draining);
}
