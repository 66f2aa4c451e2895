// What machines ask: liveness, readiness, metrics, the index and the explanation of problem types.
#include "api/handlers.h"

#include "api/api_priv.h"
#include "base/mem.h"

#include <stdio.h>

#define METRICS_MAX ((size_t)4 << 20)

enum ts_err ts_handle_index(struct ts_request *request, struct ts_reply *reply, struct ts_problem *problem)
{
	const char *base = request->api->options.public_url;

	(void)problem;
	ts_reply_json(reply, 200,
	              json_pack("{s:s, s:s, s:{s:o, s:o, s:o, s:o}}", "name", "transcription", "version", TS_VERSION,
	                        "links", "transcriptions", json_sprintf("%s/api/v1/transcriptions", base), "live",
	                        json_sprintf("%s/health/live", base), "ready", json_sprintf("%s/health/ready", base),
	                        "metrics", json_sprintf("%s/metrics", base)));
	return TS_OK;
}

enum ts_err ts_handle_live(struct ts_request *request, struct ts_reply *reply, struct ts_problem *problem)
{
	(void)request;
	(void)problem;
	ts_reply_json(reply, 200, json_pack("{s:s}", "status", "ok"));
	return TS_OK;
}

static enum ts_err ping(void *ctx, struct ts_queue *queue, struct ts_error *error)
{
	(void)ctx;
	return ts_queue_ping(queue, error);
}

// The code and not the message: this answer needs no key.
static json_t *check(enum ts_err err)
{
	return err == TS_OK ? json_pack("{s:s}", "status", "ok")
	                    : json_pack("{s:s, s:s}", "status", "failing", "error", ts_err_name(err));
}

enum ts_err ts_handle_ready(struct ts_request *request, struct ts_reply *reply, struct ts_problem *problem)
{
	struct ts_api *api = request->api;
	struct ts_error store_error = {0}, queue_error = {0};

	(void)problem;
	enum ts_err store = ts_store_ping(api->options.store, &store_error);
	enum ts_err queue = ts_api_with_queue(api, ping, NULL, &queue_error);
	bool draining = atomic_load(&api->draining);
	bool ready = store == TS_OK && queue == TS_OK && !draining;
	if (store != TS_OK || queue != TS_OK)
		ts_log_warn(&request->log, "not ready", TS_STR("store", store_error.message),
		            TS_STR("queue", queue_error.message));
	ts_reply_json(reply, ready ? 200 : 503,
	              json_pack("{s:s, s:{s:o, s:o, s:{s:s}}}", "status",
	                        ready      ? "ready"
	                        : draining ? "draining"
	                                   : "unavailable",
	                        "checks", "store", check(store), "queue", check(queue), "server", "status",
	                        draining ? "draining" : "ok"));
	if (!ready)
		ts_reply_header(reply, "Retry-After", "2");
	return TS_OK;
}

static enum ts_err depth(void *ctx, struct ts_queue *queue, struct ts_error *error)
{
	int64_t *out_depth = ctx;
	return ts_queue_depth(queue, out_depth, error);
}

enum ts_err ts_handle_metrics(struct ts_request *request, struct ts_reply *reply, struct ts_problem *problem)
{
	struct ts_api *api = request->api;
	struct ts_store_counts counts = {0};
	int64_t messages = 0;
	struct ts_error error = {0};
	TS_AUTOBUF struct ts_buf buf;
	char *text = NULL;

	ts_buf_init(&buf, METRICS_MAX);
	const struct ts_metrics_scrape scrape = {
	    .counts = ts_store_counts(api->options.store, &counts, NULL) == TS_OK ? &counts : NULL,
	    .queue_depth = ts_api_with_queue(api, depth, &messages, NULL) == TS_OK ? &messages : NULL,
	    .now_ms = ts_request_now(request),
	    .connections = ts_conns_count(api->conns),
	    .waiting = ts_waiters_count(api->waiters),
	    .draining = atomic_load(&api->draining),
	};
	ts_metrics_write(api->metrics, &scrape, &buf);
	if (ts_buf_take(&buf, &text, &error) != TS_OK)
		return ts_problem_from(problem, &error);
	ts_reply_text(reply, 200, "text/plain; version=0.0.4; charset=utf-8", text);
	return TS_OK;
}

enum ts_err ts_handle_problem(struct ts_request *request, struct ts_reply *reply, struct ts_problem *problem)
{
	enum ts_problem_kind kind = ts_problem_by_slug(request->match.param[0]);

	if (kind == TS_PROBLEM_NONE)
		return ts_problem_set(problem, TS_PROBLEM_NOT_FOUND, "type", "there is no such problem type");
	ts_reply_json(reply, 200,
	              json_pack("{s:s, s:s, s:i}", "type", request->path, "title", ts_problem_title(kind), "status",
	                        (int)ts_problem_status(kind)));
	return TS_OK;
}
