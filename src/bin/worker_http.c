// /health/live, /health/ready and /metrics of the worker on libmicrohttpd: one thread, GET and HEAD only.
#include "bin/worker_http.h"

#include "base/buf.h"
#include "base/mem.h"
#include "net/httpd.h"

#include <microhttpd.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>

#define CONNECTIONS_MAX 32
#define IDLE_TIMEOUT_S 10

struct ts_worker_http {
	struct ts_worker_http_options options;
	struct ts_httpd *httpd;
	uint16_t port;
	atomic_bool draining;
};

static void write_metrics(const struct ts_worker_http *http, struct ts_buf *buf)
{
	struct ts_worker_stats stats;

	ts_worker_stats(http->options.worker, &stats);
	const struct {
		const char *name, *type, *labels, *help;
		double value;
	} rows[] = {
#define TS_WORKER_METRIC(name_, type_, labels_, value_, help_) \
	{.name = (name_), .type = (type_), .labels = (labels_), .help = (help_), .value = (double)(value_)},
#include "bin/worker_metrics.def"
#undef TS_WORKER_METRIC
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		if (i == 0 || strcmp(rows[i].name, rows[i - 1].name) != 0)
			ts_buf_printf(buf, "# HELP %s %s\n# TYPE %s %s\n", rows[i].name, rows[i].help, rows[i].name, rows[i].type);
		ts_buf_printf(buf, "%s%s %.15g\n", rows[i].name, rows[i].labels, rows[i].value);
	}
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

static enum MHD_Result answer_ready(const struct ts_worker_http *http, struct MHD_Connection *connection)
{
	struct ts_error error = {0};

	if (atomic_load(&http->draining))
		return answer(connection, MHD_HTTP_SERVICE_UNAVAILABLE, "application/json", "{\"status\":\"draining\"}\n");
	if (ts_store_ping(http->options.store, &error) != TS_OK)
		return answer(connection, MHD_HTTP_SERVICE_UNAVAILABLE, "application/json",
		              "{\"status\":\"store unavailable\"}\n");
	return answer(connection, MHD_HTTP_OK, "application/json", "{\"status\":\"ready\"}\n");
}

static enum MHD_Result answer_metrics(const struct ts_worker_http *http, struct MHD_Connection *connection)
{
	TS_AUTOBUF struct ts_buf buf;

	ts_buf_init(&buf, 64 * 1024);
	write_metrics(http, &buf);
	if (ts_buf_status(&buf, NULL) != TS_OK)
		return MHD_NO;
	return answer(connection, MHD_HTTP_OK, "text/plain; version=0.0.4; charset=utf-8", ts_buf_str(&buf));
}

static enum MHD_Result handle(void *ctx, struct MHD_Connection *connection, const char *url, const char *method,
                              const char *version, const char *data, size_t *data_size, void **state)
{
	static int seen;
	const struct ts_worker_http *http = ctx;

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
		return answer_ready(http, connection);
	if (strcmp(url, "/metrics") == 0)
		return answer_metrics(http, connection);
	return answer(connection, MHD_HTTP_NOT_FOUND, "text/plain", "only /metrics, /health/live and /health/ready\n");
}

static enum ts_err listen_on(struct ts_worker_http *http, struct ts_error *error)
{
	struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
	struct addrinfo *address = NULL;
	char port[8];

	snprintf(port, sizeof port, "%u", (unsigned)http->options.port);
	int failed = getaddrinfo(http->options.host, port, &hints, &address);
	if (failed)
		return ts_fail_field(error, TS_ERR_INVALID, "HOST", "HOST %s: %s", http->options.host, gai_strerror(failed));
	unsigned flags = TS_HTTPD_FLAGS;
	if (address->ai_family == AF_INET6)
		flags |= MHD_USE_IPv6;
	struct MHD_Daemon *daemon = MHD_start_daemon(
	    flags, 0, NULL, NULL, handle, http, MHD_OPTION_SOCK_ADDR, address->ai_addr, MHD_OPTION_CONNECTION_LIMIT,
	    (unsigned)CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_TIMEOUT_S, MHD_OPTION_END);
	freeaddrinfo(address);
	if (!daemon)
		return ts_fail_field(error, TS_ERR_IO, "METRICS_PORT", "can't listen on %s port %u (METRICS_PORT)",
		                     http->options.host, (unsigned)http->options.port);
	http->port = MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT)->port;
	enum ts_err err = ts_httpd_create(&http->httpd, error);
	if (err != TS_OK)
		MHD_stop_daemon(daemon);
	else
		err = ts_httpd_start(http->httpd, daemon, error);
	return err;
}

enum ts_err ts_worker_http_start(const struct ts_worker_http_options *options, struct ts_worker_http **out,
                                 struct ts_error *error)
{
	struct ts_worker_http *http = ts_calloc(1, sizeof *http);

	if (!http)
		return ts_fail_nomem(error);
	http->options = *options;
	enum ts_err err = listen_on(http, error);
	if (err != TS_OK) {
		ts_worker_http_stop(http);
		return err;
	}
	*out = http;
	return TS_OK;
}

void ts_worker_http_drain(struct ts_worker_http *http)
{
	if (http)
		atomic_store(&http->draining, true);
}

void ts_worker_http_stop(struct ts_worker_http *http)
{
	if (!http)
		return;
	ts_httpd_destroy(http->httpd);
	ts_free(http);
}

uint16_t ts_worker_http_port(const struct ts_worker_http *http)
{
	return http->port;
}
