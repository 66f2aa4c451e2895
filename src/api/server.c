// libmicrohttpd's callbacks: the life of a request from its head to its answer. Judged on the head: route, key, size,
// media type. A request that is refused there is answered at once when the client waits for "100 Continue"; otherwise
// its body is thrown away first, because an answer written while the client still sends is lost with the reset that
// closing a socket with unread data causes. A body that never ends is answered past libmicrohttpd (ts_conn_answer).
#include "api/api_priv.h"

#include "api/header.h"
#include "base/mem.h"
#include "base/num.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define FORM_OVERHEAD (UINT64_C(1) << 20) // bytes of a form besides its file
#define DISCARD_MAX (UINT64_C(1) << 20)   // of a refused body before the answer is sent ahead of its end
#define LINGER_MS 2000

static int64_t now_ms(const struct ts_api *api)
{
	return ts_mono_ms(api->options.clock);
}

const char *ts_request_header(const struct ts_request *request, const char *name)
{
	return MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, name);
}

enum ts_err ts_request_query(const struct ts_request *request, const char *const *known, struct ts_query *out,
                             struct ts_problem *problem)
{
	return ts_query_parse(ts_conn_query(request->conn), known, out, problem);
}

int64_t ts_request_now(const struct ts_request *request)
{
	return ts_wall_ms(request->api->options.clock);
}

// --- answering ---

static enum MHD_Result send_reply(struct ts_request *request, struct ts_reply *reply)
{
	struct ts_api *api = request->api;
	// Not const only because libmicrohttpd's parameter is not.
	static char oom[] = "{\"type\":\"/problems/overloaded\",\"title\":\"The service is short of memory\","
	                    "\"status\":503,\"detail\":\"memory is short now\"}";

	if (!ts_conn_enter(api->conns, request->conn, TS_CONN_BUSY, 0)) {
		request->status = MHD_HTTP_REQUEST_TIMEOUT;
		return MHD_NO;
	}
	struct MHD_Response *response;
	bool short_of_memory = reply->failed != TS_OK;
	if (short_of_memory) {
		reply->status = MHD_HTTP_SERVICE_UNAVAILABLE;
		reply->content_type = "application/problem+json";
		response = MHD_create_response_from_buffer(sizeof oom - 1, oom, MHD_RESPMEM_PERSISTENT);
	} else {
		response = MHD_create_response_from_buffer_with_free_callback(reply->length, reply->body, ts_free);
		if (response)
			reply->body = NULL; // the response's now
	}
	if (!response)
		return MHD_NO;
	if (reply->content_type && (reply->length || short_of_memory))
		MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, reply->content_type);
	MHD_add_response_header(response, "X-Request-Id", request->request_id);
	MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
	MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
	for (size_t i = 0; !short_of_memory && i < reply->header_count; i++)
		MHD_add_response_header(response, reply->header[i].name, reply->header[i].value);
	if (atomic_load(&api->draining))
		MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
	enum MHD_Result queued = MHD_queue_response(request->connection, reply->status, response);
	MHD_destroy_response(response);
	if (queued != MHD_YES)
		return queued;
	request->status = reply->status;
	// A client that takes its answer by drops is not served for ever either.
	ts_conn_enter(api->conns, request->conn, TS_CONN_LINGER, api->options.upload_timeout_ms);
	return MHD_YES;
}

static enum MHD_Result send_problem(struct ts_request *request, const struct ts_problem *problem)
{
	struct ts_reply reply = {0};

	ts_reply_problem(&reply, problem, request->path, request->request_id);
	if (problem->kind == TS_PROBLEM_METHOD_NOT_ALLOWED)
		ts_reply_header(&reply, MHD_HTTP_HEADER_ALLOW, "%s", request->match.allow);
	enum MHD_Result sent = send_reply(request, &reply);
	ts_reply_finish(&reply);
	return sent;
}

// The client keeps sending a body that is refused: tells it and closes that direction.
static void tell_ahead(struct ts_request *request)
{
	unsigned status = ts_problem_status(request->problem.kind);
	TS_AUTOFREE char *body = ts_problem_json(&request->problem, request->path, request->request_id);
	TS_AUTOFREE char *response = body ? ts_conn_response(status, MHD_get_reason_phrase_for(status),
	                                                     "application/problem+json", request->request_id, body)
	                                  : NULL;

	request->told = true;
	request->status = status;
	ts_conn_answer(request->api->conns, request->conn, response ? response : "", response ? strlen(response) : 0,
	               LINGER_MS);
}

// --- the head ---

struct head_sums {
	unsigned lines;
	size_t bytes;
	unsigned lengths, encodings; // Content-Length and Transfer-Encoding lines
	unsigned hosts;
	bool broken;  // text that cannot be taken as a header value
	bool unnamed; // a name with a blank or the like: "Content-Length : 5" is another header to others
};

static enum MHD_Result sum_header(void *ctx, enum MHD_ValueKind kind, const char *name, size_t name_length,
                                  const char *value, size_t value_length)
{
	struct head_sums *sums = ctx;

	(void)kind;
	sums->lines++;
	sums->bytes += name_length + value_length + 4;
	sums->hosts += strcasecmp(name, MHD_HTTP_HEADER_HOST) == 0;
	sums->lengths += strcasecmp(name, MHD_HTTP_HEADER_CONTENT_LENGTH) == 0;
	sums->encodings += strcasecmp(name, MHD_HTTP_HEADER_TRANSFER_ENCODING) == 0;
	sums->unnamed = sums->unnamed || !ts_header_is_name(name, name_length);
	sums->broken = sums->broken || strlen(name) != name_length || (value && strlen(value) != value_length);
	return MHD_YES;
}

// What could make two readers see two different requests (request smuggling) is refused.
static enum ts_err check_head(struct ts_request *request, struct ts_problem *problem)
{
	const struct ts_api_options *options = &request->api->options;
	struct head_sums sums = {0};
	size_t target = strlen(request->path) + strlen(ts_conn_query(request->conn)) + 1;

	if (target > options->max_header_bytes)
		return ts_problem_set(problem, TS_PROBLEM_URI_TOO_LONG, NULL,
		                      "the target is %zu bytes long, at most %zu are allowed", target,
		                      options->max_header_bytes);
	MHD_get_connection_values_n(request->connection, MHD_HEADER_KIND, sum_header, &sums);
	if (sums.lines > options->max_headers)
		return ts_problem_set(problem, TS_PROBLEM_HEADERS_TOO_LARGE, NULL,
		                      "the request has %u header lines, at most %u are allowed", sums.lines,
		                      options->max_headers);
	if (sums.bytes > options->max_header_bytes)
		return ts_problem_set(problem, TS_PROBLEM_HEADERS_TOO_LARGE, NULL,
		                      "the header is %zu bytes long, at most %zu are allowed", sums.bytes,
		                      options->max_header_bytes);
	if (sums.broken)
		return ts_problem_set(problem, TS_PROBLEM_INVALID_HEADER, NULL, "a header contains a zero byte");
	if (sums.unnamed)
		return ts_problem_set(problem, TS_PROBLEM_INVALID_HEADER, NULL,
		                      "the name of a header may have letters, digits and !#$%%&'*+-.^_`|~ only");
	if (sums.hosts > 1)
		return ts_problem_set(problem, TS_PROBLEM_INVALID_HEADER, "Host", "a request must have one Host");
	if (sums.lengths > 1 || sums.encodings > 1 || (sums.lengths && sums.encodings))
		return ts_problem_set(problem, TS_PROBLEM_INVALID_HEADER, "Content-Length",
		                      "a request must have one Content-Length or one Transfer-Encoding");
	const char *encoding = ts_request_header(request, MHD_HTTP_HEADER_TRANSFER_ENCODING);
	request->endless = encoding && strcasecmp(encoding, "chunked") != 0;
	if (request->endless)
		return ts_problem_set(problem, TS_PROBLEM_INVALID_HEADER, "Transfer-Encoding",
		                      "the only Transfer-Encoding is chunked");
	return TS_OK;
}

static void take_ids(struct ts_request *request)
{
	const char *id = ts_request_header(request, "X-Request-Id");
	const char *trace = ts_request_header(request, "traceparent");

	if (id && ts_header_is_token(id, TS_REQUEST_ID_MAX))
		snprintf(request->request_id, sizeof request->request_id, "%s", id);
	else
		ts_uuid7(&request->api->rng, ts_request_now(request), request->request_id);
	if (trace && ts_header_is_traceparent(trace))
		snprintf(request->traceparent, sizeof request->traceparent, "%s", trace);
	request->log = ts_log_with(&request->api->options.log, TS_STR("request_id", request->request_id));
}

static enum ts_err too_large(const struct ts_request *request, bool is_form, struct ts_problem *problem)
{
	const struct ts_api_options *options = &request->api->options;

	ts_problem_set(problem, TS_PROBLEM_BODY_TOO_LARGE, is_form ? "file" : NULL,
	               "the body is larger than the %llu bytes allowed here",
	               (unsigned long long)(is_form ? options->max_upload_bytes : options->max_body_bytes));
	ts_problem_hint(problem, is_form ? "the limit is MAX_UPLOAD_MB; larger files can be fetched from a media_url"
	                                 : "the limit is MAX_BODY_BYTES; files go as multipart/form-data");
	return TS_ERR_LIMIT;
}

static enum ts_err open_body(struct ts_request *request, struct ts_problem *problem)
{
	const struct ts_api_options *options = &request->api->options;
	const char *type = ts_request_header(request, MHD_HTTP_HEADER_CONTENT_TYPE);
	const char *coding = ts_request_header(request, MHD_HTTP_HEADER_CONTENT_ENCODING);
	struct ts_header_params params;

	if (coding && strcasecmp(coding, "identity") != 0)
		return ts_problem_set(problem, TS_PROBLEM_UNSUPPORTED_MEDIA_TYPE, "Content-Encoding",
		                      "the body must not be encoded (Content-Encoding)");
	bool parsed = type && ts_header_parse(type, &params);
	if (parsed && strcasecmp(params.value, "multipart/form-data") == 0) {
		const struct ts_form_options form = {.upload_dir = options->upload_dir,
		                                     .max_file_bytes = options->max_upload_bytes,
		                                     .now_ms = ts_request_now(request)};
		return ts_form_create(type, &form, &request->form, problem);
	}
	bool utf8 = true;
	for (size_t i = 0; parsed && i < params.count; i++)
		utf8 =
		    utf8 && (strcasecmp(params.item[i].name, "charset") != 0 || strcasecmp(params.item[i].value, "utf-8") == 0);
	if (!parsed || strcasecmp(params.value, "application/json") != 0 || !utf8)
		return ts_problem_set(problem, TS_PROBLEM_UNSUPPORTED_MEDIA_TYPE, "Content-Type",
		                      "Content-Type must be application/json (in UTF-8) or multipart/form-data");
	ts_buf_init(&request->body, (size_t)options->max_body_bytes);
	return TS_OK;
}

static enum ts_err check_length(struct ts_request *request, struct ts_problem *problem)
{
	const struct ts_api_options *options = &request->api->options;
	const char *text = ts_request_header(request, MHD_HTTP_HEADER_CONTENT_LENGTH);
	int64_t length = 0;

	// libmicrohttpd has refused what is not a number.
	if (!text || ts_num_parse_i64(text, 0, INT64_MAX, &length, NULL) != TS_OK)
		return TS_OK;
	uint64_t limit = request->form ? options->max_upload_bytes + FORM_OVERHEAD : options->max_body_bytes;
	return (uint64_t)length > limit ? too_large(request, request->form != NULL, problem) : TS_OK;
}

static enum ts_err judge_head(struct ts_request *request, const char *url, struct ts_problem *problem)
{
	const char *authorization = ts_request_header(request, MHD_HTTP_HEADER_AUTHORIZATION);

	TS_TRY(check_head(request, problem));
	ts_router_match(request->method, url, &request->match);
	if (!request->match.path_known)
		return ts_problem_set(problem, TS_PROBLEM_UNKNOWN_PATH, NULL, "there is nothing at this path");
	if (!request->match.route)
		return ts_problem_set(problem, TS_PROBLEM_METHOD_NOT_ALLOWED, NULL, "the methods allowed here are %s",
		                      request->match.allow);
	if (request->match.route->needs_key)
		TS_TRY(ts_auth_check(request->api->auth, authorization, request->caller, problem));
	if (request->match.route->body != TS_BODY_SUBMIT)
		return TS_OK;
	TS_TRY(open_body(request, problem));
	return check_length(request, problem);
}

static enum MHD_Result begin(const struct ts_server_thread *thread, struct MHD_Connection *connection, const char *url,
                             const char *method, void **out_request)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	struct ts_api *api = thread->api;
	struct ts_request *request = NULL;

	if (info && info->socket_context && ts_conn_query(info->socket_context))
		request = ts_calloc(1, sizeof *request);
	if (!request)
		return MHD_NO; // memory is out
	request->path = ts_strdup(url);
	if (!request->path) {
		ts_free(request);
		return MHD_NO;
	}
	request->api = api;
	request->httpd = thread->httpd;
	request->connection = connection;
	request->conn = info->socket_context;
	request->started_ms = now_ms(api);
	request->method = ts_method_parse(method);
	*out_request = request;
	ts_metrics_begin(api->metrics);
	take_ids(request);

	const char *expect = ts_request_header(request, MHD_HTTP_HEADER_EXPECT);
	request->expects_continue = expect && strcasecmp(expect, "100-continue") == 0;
	request->failed = judge_head(request, url, &request->problem) != TS_OK;
	int64_t timeout =
	    request->form && !request->failed ? api->options.upload_timeout_ms : api->options.request_timeout_ms;
	if (!ts_conn_enter(api->conns, request->conn, TS_CONN_BODY, timeout)) {
		request->status = MHD_HTTP_REQUEST_TIMEOUT;
		return MHD_NO;
	}
	if (request->failed && request->expects_continue)
		return send_problem(request, &request->problem);
	if (request->endless)
		tell_ahead(request);
	return MHD_YES;
}

// --- the body ---

// What was received is of no more use. A file that no job took is gone before the client is told.
static void drop_body(struct ts_request *request)
{
	ts_form_destroy(request->form);
	request->form = NULL;
	ts_buf_finish(&request->body);
}

static void take_body(struct ts_request *request, const char *bytes, size_t length)
{
	const struct ts_api_options *options = &request->api->options;
	struct ts_problem *problem = &request->problem;

	request->received += length;
	if (!request->failed) {
		if (request->form) {
			if (request->received > options->max_upload_bytes + FORM_OVERHEAD)
				request->failed = too_large(request, true, problem) != TS_OK;
			else
				request->failed = ts_form_feed(request->form, bytes, length, problem) != TS_OK;
			ts_metrics_uploaded(request->api->metrics, length);
		} else if (request->match.route->body == TS_BODY_NONE) {
			request->failed = ts_problem_set(problem, TS_PROBLEM_UNEXPECTED_BODY, NULL, "%s %s takes no body",
			                                 ts_method_name(request->method), request->match.route->path) != TS_OK;
		} else {
			ts_buf_add(&request->body, bytes, length);
			struct ts_error error = {0};
			enum ts_err err = ts_buf_status(&request->body, &error);
			if (err == TS_ERR_LIMIT)
				request->failed = too_large(request, false, problem) != TS_OK;
			else if (err != TS_OK)
				request->failed = ts_problem_from(problem, &error) != TS_OK;
		}
		if (request->failed) {
			drop_body(request);
			ts_conn_enter(request->api->conns, request->conn, TS_CONN_BODY, options->request_timeout_ms);
		}
		return;
	}
	request->discarded += length;
	if (!request->told && request->discarded > DISCARD_MAX)
		tell_ahead(request);
}

// --- the whole request ---

static enum MHD_Result run(struct ts_request *request)
{
	struct ts_problem problem = {0};
	struct ts_reply reply = {0};

	if (request->told)
		return MHD_NO; // answered already: close
	if (request->failed)
		return send_problem(request, &request->problem);
	if (request->waiter.waited)
		request->waited_ms = now_ms(request->api) - request->waiter.since;
	if (!ts_conn_enter(request->api->conns, request->conn, TS_CONN_BUSY, 0)) {
		request->status = MHD_HTTP_REQUEST_TIMEOUT;
		return MHD_NO;
	}
	enum MHD_Result sent = MHD_YES;
	enum ts_err err = request->match.route->handler(request, &reply, &problem);
	if (err != TS_OK || reply.status)
		drop_body(request);
	if (err != TS_OK)
		sent = send_problem(request, &problem);
	else if (reply.status)
		sent = send_reply(request, &reply);
	ts_reply_finish(&reply);
	return sent;
}

static enum MHD_Result on_request(void *ctx, struct MHD_Connection *connection, const char *url, const char *method,
                                  const char *version, const char *upload_data, size_t *upload_data_size,
                                  void **request_slot)
{
	struct ts_request *request = *request_slot;

	(void)version;
	if (!request)
		return begin(ctx, connection, url, method, request_slot);
	if (*upload_data_size == 0)
		return run(request);
	if (!request->told)
		take_body(request, upload_data, *upload_data_size);
	*upload_data_size = 0;
	return MHD_YES;
}

static void on_completed(void *ctx, struct MHD_Connection *connection, void **request_slot,
                         enum MHD_RequestTerminationCode why)
{
	struct ts_api *api = ctx;
	struct ts_request *request = *request_slot;

	(void)connection;
	if (!request)
		return;
	*request_slot = NULL;
	ts_waiters_forget(api->waiters, &request->waiter);
	if (!request->status)
		request->status = ts_conn_refused(request->conn);
	bool complete = why == MHD_REQUEST_TERMINATED_COMPLETED_OK || request->told;
	if (!request->status)
		request->status = ts_conn_is_cut(api->conns, request->conn) ? MHD_HTTP_REQUEST_TIMEOUT : 499;
	int64_t ms = now_ms(api) - request->started_ms - request->waited_ms;
	ts_metrics_end(api->metrics, request->method, request->match.route, request->status, (double)ms / 1000);
	ts_log_info(&request->log, "request", TS_STR("method", ts_method_name(request->method)),
	            TS_STR("route", request->match.route ? request->match.route->path : request->path),
	            TS_INT("status", request->status), TS_INT("ms", ms),
	            request->waited_ms ? TS_INT("waited_ms", request->waited_ms) : TS_BOOL("complete", complete),
	            request->job_id[0] ? TS_STR("job_id", request->job_id) : TS_FIELDS_END);
	// Back to waiting for the next request's head.
	ts_conn_enter(api->conns, request->conn, TS_CONN_IDLE, api->options.request_timeout_ms);
	drop_body(request);
	ts_free(request->path);
	ts_free(request);
	ts_api_request_done(api);
}

static void on_connection(void *ctx, struct MHD_Connection *connection, void **conn_slot,
                          enum MHD_ConnectionNotificationCode what)
{
	struct ts_api *api = ctx;

	if (what == MHD_CONNECTION_NOTIFY_STARTED) {
		const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
		*conn_slot = info ? ts_conns_add(api->conns, info->connect_fd) : NULL;
		ts_api_wake_ticker(api);
	} else {
		ts_conns_remove(api->conns, *conn_slot);
		*conn_slot = NULL;
	}
}

// --- what never becomes a request ---

// Answers instead of libmicrohttpd, which closes the connection.
static void refuse(struct ts_api *api, struct ts_conn *conn, const struct ts_problem *problem)
{
	char request_id[TS_UUID_SIZE];
	unsigned status = ts_problem_status(problem->kind);

	ts_uuid7(&api->rng, ts_wall_ms(api->options.clock), request_id);
	TS_AUTOFREE char *body = ts_problem_json(problem, NULL, request_id);
	TS_AUTOFREE char *response =
	    body ? ts_conn_response(status, MHD_get_reason_phrase_for(status), "application/problem+json", request_id, body)
	         : NULL;
	if (!response)
		return; // libmicrohttpd's answer is better than none
	bool has_request = ts_conn_has_request(conn);
	ts_conn_refuse(api->conns, conn, status, response, LINGER_MS);
	if (has_request)
		return; // which is counted when it ends
	ts_metrics_begin(api->metrics);
	ts_metrics_end(api->metrics, TS_METHOD_OTHER, NULL, status, 0);
	ts_log_info(&api->options.log, "request refused", TS_STR("request_id", request_id), TS_INT("status", status),
	            TS_STR("problem", ts_problem_slug(problem->kind)));
}

// What libmicrohttpd says in HTML, as a problem. False: not something a client did.
static bool translate(const struct ts_api_options *options, unsigned status, const char *text,
                      struct ts_problem *problem)
{
	switch (status) {
	case MHD_HTTP_REQUEST_HEADER_FIELDS_TOO_LARGE:
		ts_problem_set(problem, TS_PROBLEM_HEADERS_TOO_LARGE, NULL,
		               "the header is far beyond the %u lines and %zu bytes that are allowed", options->max_headers,
		               options->max_header_bytes);
		return true;
	case MHD_HTTP_URI_TOO_LONG:
		ts_problem_set(problem, TS_PROBLEM_URI_TOO_LONG, NULL,
		               "the request line is longer than the %zu bytes that a whole header may have",
		               options->max_header_bytes);
		return true;
	case MHD_HTTP_CONTENT_TOO_LARGE:
		ts_problem_set(problem, TS_PROBLEM_BODY_TOO_LARGE, strstr(text, "Content-Length") ? "Content-Length" : NULL,
		               "the length of the body or of a chunk is beyond any limit");
		return true;
	case MHD_HTTP_HTTP_VERSION_NOT_SUPPORTED:
		ts_problem_set(problem, TS_PROBLEM_VERSION_NOT_SUPPORTED, NULL, "HTTP/1.1 and HTTP/1.0 are spoken here");
		return true;
	case MHD_HTTP_BAD_REQUEST:
		if (strstr(text, "Host:"))
			ts_problem_set(problem, TS_PROBLEM_MALFORMED_REQUEST, "Host",
			               "an HTTP/1.1 request must have a Host header");
		else if (strstr(text, "Content-Length"))
			ts_problem_set(problem, TS_PROBLEM_MALFORMED_REQUEST, "Content-Length",
			               "Content-Length must be a whole number of bytes");
		else if (strstr(text, "chunked"))
			ts_problem_set(problem, TS_PROBLEM_MALFORMED_REQUEST, "Transfer-Encoding",
			               "a chunk of the body is malformed");
		else
			ts_problem_set(problem, TS_PROBLEM_MALFORMED_REQUEST, NULL,
			               "the request line or a header line is not HTTP/1.1");
		return true;
	default: return false;
	}
}

static void *on_request_line(void *ctx, const char *uri, struct MHD_Connection *connection)
{
	struct ts_api *api = ctx;
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

	if (!info || !info->socket_context)
		return NULL;
	ts_conn_begins(api->conns, info->socket_context, uri);
	// libmicrohttpd would take the query apart too, into the connection's memory, and goes on with memory that it has
	// given up when that is full. It gets to see an empty one; the text is its own buffer.
	char *mark = strchr(uri, '?');
	if (mark)
		mark[1] = '\0';
	return NULL;
}

// Paths and queries are decoded by the router and by query.c, strictly and after splitting.
static size_t leave_escaped(void *ctx, struct MHD_Connection *connection, char *text)
{
	(void)ctx;
	(void)connection;
	return strlen(text);
}

static void on_unusable(struct ts_api *api, unsigned status, const char *text)
{
	bool large = status == MHD_HTTP_REQUEST_HEADER_FIELDS_TOO_LARGE || status == MHD_HTTP_URI_TOO_LONG;
	struct ts_problem problem;
	struct ts_conn *conn = ts_conns_at_fault(api->conns, large);

	if (conn && translate(&api->options, status, text, &problem))
		refuse(api, conn, &problem);
}

static void on_log(void *ctx, const char *format, va_list args) TS_PRINTF(2, 0);
static void on_log(void *ctx, const char *format, va_list args)
{
	// What it says right before it answers a request by itself: "... %u ('%s') ...", status and body.
	static const char answers[] = "Error processing request";
	struct ts_api *api = ctx;
	char line[512];

	if (strncmp(format, answers, sizeof answers - 1) == 0) {
		va_list copy;
		va_copy(copy, args);
		unsigned status = va_arg(copy, unsigned);
		on_unusable(api, status, va_arg(copy, const char *));
		va_end(copy);
	}
	vsnprintf(line, sizeof line, format, args);
	line[strcspn(line, "\n")] = '\0';
	ts_log_debug(&api->options.log, "http", TS_STR("note", line));
}

// --- the daemons ---

static enum ts_err resolve(const struct ts_api_options *options, struct sockaddr_storage *out, struct ts_error *error)
{
	struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
	struct addrinfo *found = NULL;
	char port[8];

	snprintf(port, sizeof port, "%u", (unsigned)options->port);
	int failed = getaddrinfo(options->host, port, &hints, &found);
	if (failed)
		return ts_fail_field(error, TS_ERR_INVALID, "HOST", "cannot listen on \"%s\": %s", options->host,
		                     gai_strerror(failed));
	memcpy(out, found->ai_addr, found->ai_addrlen);
	freeaddrinfo(found);
	return TS_OK;
}

static enum ts_err open_listener(struct ts_api *api, struct ts_error *error)
{
	const struct ts_api_options *options = &api->options;
	struct sockaddr_storage address = {0};
	socklen_t size = sizeof address;

	TS_TRY(resolve(options, &address, error));
	const bool v6 = address.ss_family == AF_INET6;
	const int on = 1, off = 0;
	int fd = api->listener = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
	    (v6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) != 0) ||
	    bind(fd, (struct sockaddr *)&address, v6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in)) != 0 ||
	    listen(fd, SOMAXCONN) != 0 || getsockname(fd, (struct sockaddr *)&address, &size) != 0)
		return ts_fail_errno(error, TS_ERR_IO, errno, "cannot listen on %s port %u", options->host,
		                     (unsigned)options->port);
	api->port = ntohs(v6 ? ((struct sockaddr_in6 *)&address)->sin6_port : ((struct sockaddr_in *)&address)->sin_port);
	return TS_OK;
}

static enum ts_err start_thread(struct ts_server_thread *thread, unsigned max_connections, struct ts_error *error)
{
	struct ts_api *api = thread->api;
	const struct ts_api_options *options = &api->options;
	// Room for a header a good deal beyond the limits, so that it can be answered with a problem; and for reading
	// uploads in pieces of tens of kilobytes.
	size_t memory = 2 * options->max_header_bytes + (size_t)options->max_headers * 160 + 32768;
	// Silence is the ticker's matter; this only frees connections whose client stopped reading its answer.
	unsigned silence = (unsigned)(options->request_timeout_ms / 1000) + 5;

	TS_TRY(ts_httpd_create(&thread->httpd, error));
	int listener = fcntl(api->listener, F_DUPFD_CLOEXEC, 0);
	if (listener < 0)
		return ts_fail_errno(error, TS_ERR_IO, errno, "cannot share the listening socket");
	errno = 0;
	struct MHD_Daemon *daemon = MHD_start_daemon(
	    TS_HTTPD_FLAGS | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, NULL, NULL, on_request, thread,
	    MHD_OPTION_EXTERNAL_LOGGER, on_log, api, MHD_OPTION_LISTEN_SOCKET, listener, MHD_OPTION_CONNECTION_LIMIT,
	    max_connections, MHD_OPTION_CONNECTION_MEMORY_LIMIT, memory, MHD_OPTION_CONNECTION_TIMEOUT, silence,
	    MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_NOTIFY_COMPLETED, on_completed, api, MHD_OPTION_NOTIFY_CONNECTION,
	    on_connection, api, MHD_OPTION_URI_LOG_CALLBACK, on_request_line, api, MHD_OPTION_UNESCAPE_CALLBACK,
	    leave_escaped, NULL, MHD_OPTION_END);
	if (!daemon) // it may have closed the listener, or not
		return ts_fail_errno(error, TS_ERR_IO, errno, "cannot start the HTTP server");
	return ts_httpd_start(thread->httpd, daemon, error);
}

enum ts_err ts_server_start(struct ts_api *api, struct ts_error *error)
{
	const unsigned threads = api->options.threads, all = api->options.max_connections;

	api->threads = ts_calloc(threads, sizeof *api->threads);
	if (!api->threads)
		return ts_fail_nomem(error);
	TS_TRY(open_listener(api, error));
	while (api->thread_count < threads) {
		unsigned i = api->thread_count++;
		api->threads[i].api = api;
		TS_TRY(start_thread(&api->threads[i], all > threads ? (all + i) / threads : 1, error));
	}
	return TS_OK;
}

void ts_server_quiesce(struct ts_api *api)
{
	// At once: the threads close their shares of it when they come to it.
	if (api->listener >= 0)
		shutdown(api->listener, SHUT_RDWR);
	for (unsigned i = 0; i < api->thread_count; i++) {
		if (api->threads[i].httpd)
			ts_httpd_quiesce(api->threads[i].httpd);
	}
}

void ts_server_stop(struct ts_api *api)
{
	for (unsigned i = 0; i < api->thread_count; i++)
		ts_httpd_destroy(api->threads[i].httpd);
	api->thread_count = 0;
	ts_free(api->threads);
	api->threads = NULL;
	if (api->listener >= 0)
		close(api->listener);
	api->listener = -1;
}
