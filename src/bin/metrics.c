// /health/live, /health/ready and /metrics of the worker on libmicrohttpd: one thread, GET and HEAD only.
#include "bin/metrics.h"

#include "base/buf.h"
#include "base/mem.h"

#include <inttypes.h>
#include <microhttpd.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>

#define CONNECTIONS_MAX 32
#define IDLE_TIMEOUT_S 10

struct ts_metrics {
	struct ts_metrics_options options;
	struct MHD_Daemon *daemon;
	atomic_bool draining;
};

static void counter(struct ts_buf *buf, const char *name, const char *help, uint64_t value)
{
	ts_buf_printf(buf, "# HELP %s %s\n# TYPE %s counter\n%s %" PRIu64 "\n", name, help, name, name, value);
}

static void write_metrics(const struct ts_metrics *metrics, struct ts_buf *buf)
{
	struct ts_worker_stats stats;

	ts_worker_stats(metrics->options.worker, &stats);
	ts_buf_printf(buf,
	              "# HELP transcription_worker_slots Jobs that this worker may run side by side.\n"
	              "# TYPE transcription_worker_slots gauge\ntranscription_worker_slots %u\n"
	              "# HELP transcription_worker_slots_busy Jobs running now.\n"
	              "# TYPE transcription_worker_slots_busy gauge\ntranscription_worker_slots_busy %u\n",
	              stats.slots, stats.busy);
	counter(buf, "transcription_worker_jobs_claimed_total", "Attempts of jobs begun.", stats.claimed);
	ts_buf_printf(buf, "# HELP transcription_worker_attempts_total Attempts of jobs ended, by outcome.\n"
	                   "# TYPE transcription_worker_attempts_total counter\n");
	const struct {
		const char *outcome;
		uint64_t value;
	} outcomes[] = {{"completed", stats.completed},
	                {"failed", stats.failed},
	                {"retried", stats.retried},
	                {"released", stats.released},
	                {"lost", stats.lost}};
	for (size_t i = 0; i < sizeof outcomes / sizeof outcomes[0]; i++)
		ts_buf_printf(buf, "transcription_worker_attempts_total{outcome=\"%s\"} %" PRIu64 "\n", outcomes[i].outcome,
		              outcomes[i].value);
	ts_buf_printf(buf,
	              "# HELP transcription_worker_callbacks_total Callbacks settled, by outcome.\n"
	              "# TYPE transcription_worker_callbacks_total counter\n"
	              "transcription_worker_callbacks_total{outcome=\"delivered\"} %" PRIu64 "\n"
	              "transcription_worker_callbacks_total{outcome=\"given_up\"} %" PRIu64 "\n",
	              stats.deliveries_ok, stats.deliveries_failed);
	ts_buf_printf(buf,
	              "# HELP transcription_worker_audio_seconds_total Audio transcribed.\n"
	              "# TYPE transcription_worker_audio_seconds_total counter\n"
	              "transcription_worker_audio_seconds_total %.3f\n"
	              "# HELP transcription_worker_recognition_seconds_total Time spent on decoding and recognition.\n"
	              "# TYPE transcription_worker_recognition_seconds_total counter\n"
	              "transcription_worker_recognition_seconds_total %.3f\n",
	              stats.audio_seconds, stats.recognition_seconds);
}

static enum MHD_Result answer(struct MHD_Connection *connection, unsigned status, const char *type, const char *text)
{
	TS_AUTOFREE char *copy = ts_strdup(text); // libmicrohttpd's parameter is not const

	if (!copy)
		return MHD_NO;
	struct MHD_Response *response = MHD_create_response_from_buffer(strlen(copy), copy, MHD_RESPMEM_MUST_COPY);
	if (!response)
		return MHD_NO;
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
	enum MHD_Result result = MHD_queue_response(connection, status, response);
	MHD_destroy_response(response);
	return result;
}

static enum MHD_Result answer_ready(const struct ts_metrics *metrics, struct MHD_Connection *connection)
{
	struct ts_error error = {0};

	if (atomic_load(&metrics->draining))
		return answer(connection, MHD_HTTP_SERVICE_UNAVAILABLE, "application/json", "{\"status\":\"draining\"}\n");
	if (ts_store_ping(metrics->options.store, &error) != TS_OK)
		return answer(connection, MHD_HTTP_SERVICE_UNAVAILABLE, "application/json",
		              "{\"status\":\"store unavailable\"}\n");
	return answer(connection, MHD_HTTP_OK, "application/json", "{\"status\":\"ok\"}\n");
}

static enum MHD_Result answer_metrics(const struct ts_metrics *metrics, struct MHD_Connection *connection)
{
	TS_AUTOBUF struct ts_buf buf;

	ts_buf_init(&buf, 64 * 1024);
	write_metrics(metrics, &buf);
	if (ts_buf_status(&buf, NULL) != TS_OK)
		return MHD_NO;
	return answer(connection, MHD_HTTP_OK, "text/plain; version=0.0.4; charset=utf-8", ts_buf_str(&buf));
}

static enum MHD_Result handle(void *ctx, struct MHD_Connection *connection, const char *url, const char *method,
                              const char *version, const char *data, size_t *data_size, void **state)
{
	static int seen;
	const struct ts_metrics *metrics = ctx;

	(void)version;
	(void)data;
	if (!*state) { // headers only: answer when the (ignored) body is through
		*state = &seen;
		return MHD_YES;
	}
	if (*data_size) {
		*data_size = 0;
		return MHD_YES;
	}
	if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
		return answer(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "text/plain", "only GET and HEAD\n");
	if (strcmp(url, "/health/live") == 0)
		return answer(connection, MHD_HTTP_OK, "application/json", "{\"status\":\"ok\"}\n");
	if (strcmp(url, "/health/ready") == 0)
		return answer_ready(metrics, connection);
	if (strcmp(url, "/metrics") == 0)
		return answer_metrics(metrics, connection);
	return answer(connection, MHD_HTTP_NOT_FOUND, "text/plain", "only /metrics, /health/live and /health/ready\n");
}

static enum ts_err listen_on(struct ts_metrics *metrics, struct ts_error *error)
{
	struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
	struct addrinfo *address = NULL;
	char port[8];

	snprintf(port, sizeof port, "%u", (unsigned)metrics->options.port);
	int failed = getaddrinfo(metrics->options.host, port, &hints, &address);
	if (failed)
		return ts_fail_field(error, TS_ERR_INVALID, "HOST", "HOST %s: %s", metrics->options.host, gai_strerror(failed));
	unsigned flags = MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL;
	if (address->ai_family == AF_INET6)
		flags |= MHD_USE_IPv6;
	metrics->daemon = MHD_start_daemon(flags, 0, NULL, NULL, handle, metrics, MHD_OPTION_SOCK_ADDR, address->ai_addr,
	                                   MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX,
	                                   MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_TIMEOUT_S, MHD_OPTION_END);
	freeaddrinfo(address);
	if (!metrics->daemon)
		return ts_fail_field(error, TS_ERR_IO, "METRICS_PORT", "can't listen on %s port %u (METRICS_PORT)",
		                     metrics->options.host, (unsigned)metrics->options.port);
	return TS_OK;
}

enum ts_err ts_metrics_start(const struct ts_metrics_options *options, struct ts_metrics **out, struct ts_error *error)
{
	struct ts_metrics *metrics = ts_calloc(1, sizeof *metrics);

	if (!metrics)
		return ts_fail_nomem(error);
	metrics->options = *options;
	enum ts_err err = listen_on(metrics, error);
	if (err != TS_OK) {
		ts_free(metrics);
		return err;
	}
	*out = metrics;
	return TS_OK;
}

void ts_metrics_drain(struct ts_metrics *metrics)
{
	if (metrics)
		atomic_store(&metrics->draining, true);
}

void ts_metrics_stop(struct ts_metrics *metrics)
{
	if (!metrics)
		return;
	MHD_stop_daemon(metrics->daemon);
	ts_free(metrics);
}
