// Submitting, reading, listing, cancelling, retrying and deleting jobs.
#include "api/handlers.h"

#include "api/api_priv.h"
#include "base/mem.h"
#include "base/num.h"

#include <stdio.h>
#include <string.h>

#define RETRY_AFTER_S 2 // how soon it is worth asking again
#define LIST_DEFAULT 50
#define IDEMPOTENCY_KEY_MAX 255

static enum ts_err failed(struct ts_request *request, struct ts_problem *problem, const struct ts_error *error)
{
	ts_problem_from(problem, error);
	if (ts_problem_status(problem->kind) >= 500)
		ts_log_error(&request->log, "request failed", TS_STR("error", ts_err_name(error->code)),
		             TS_STR("reason", error->message));
	return error->code;
}

// The id of the path, which only a UUID can be. Also notes it for the log.
static enum ts_err path_id(struct ts_request *request, struct ts_problem *problem)
{
	const char *id = request->match.param[0];

	if (!ts_uuid_is_valid(id)) {
		ts_problem_set(problem, TS_PROBLEM_NOT_FOUND, "id", "there is no job with this id");
		ts_problem_hint(problem, "ids are lower-case UUIDs, as the answer to a submit gives them");
		return TS_ERR_NOT_FOUND;
	}
	memcpy(request->job_id, id, TS_UUID_SIZE);
	return TS_OK;
}

static enum ts_err no_job(struct ts_request *request, struct ts_problem *problem, const struct ts_error *error)
{
	if (error->code != TS_ERR_NOT_FOUND)
		return failed(request, problem, error);
	return ts_problem_set(problem, TS_PROBLEM_NOT_FOUND, "id", "there is no job with this id");
}

static enum ts_err no_query(struct ts_request *request, struct ts_problem *problem)
{
	static const char *const none[] = {NULL};
	struct ts_query query;

	return ts_request_query(request, none, &query, problem);
}

static void reply_job(struct ts_request *request, struct ts_reply *reply, unsigned status, const struct ts_job *job)
{
	ts_reply_json(reply, status, ts_wire_job(job, request->api->options.public_url));
	if (!ts_job_state_is_final(job->state))
		ts_reply_header(reply, "Retry-After", "%d", RETRY_AFTER_S);
}

// --- submit ---

static enum ts_err idempotency_key(struct ts_request *request, char **out, struct ts_problem *problem)
{
	const char *key = ts_request_header(request, "Idempotency-Key");
	size_t length = key ? strlen(key) : 0;

	*out = NULL;
	if (!key)
		return TS_OK;
	bool printable = true;
	for (size_t i = 0; i < length; i++)
		printable = printable && key[i] >= ' ' && key[i] <= '~';
	if (length < 1 || length > IDEMPOTENCY_KEY_MAX || !printable)
		return ts_problem_set(problem, TS_PROBLEM_INVALID_HEADER, "Idempotency-Key",
		                      "Idempotency-Key must be 1 to %d printable ASCII characters", IDEMPOTENCY_KEY_MAX);
	*out = ts_asprintf("%s:%s", request->caller, key);
	if (!*out) {
		struct ts_error error;
		ts_fail_nomem(&error);
		return ts_problem_from(problem, &error);
	}
	return TS_OK;
}

static enum ts_err submit_failed(struct ts_request *request, struct ts_problem *problem, const struct ts_error *error)
{
	if (error->code == TS_ERR_CONFLICT && strcmp(error->field, "Idempotency-Key") == 0) {
		ts_problem_set(problem, TS_PROBLEM_IDEMPOTENCY_CONFLICT, "Idempotency-Key",
		               "this Idempotency-Key was used for a request with another body");
		ts_problem_hint(problem, "use a new key for every new request, and the same key only to repeat one");
		return error->code;
	}
	if (strcmp(error->field, "upload_id") == 0) {
		if (error->code == TS_ERR_NOT_FOUND)
			return ts_problem_set(problem, TS_PROBLEM_INVALID_FIELD, "upload_id", "there is no upload with this id");
		if (error->code == TS_ERR_CONFLICT)
			return ts_problem_set(problem, TS_PROBLEM_UPLOAD_IN_USE, "upload_id", "the upload belongs to another job");
	}
	return failed(request, problem, error);
}

// The row of the uploaded file, then the file's final name: a crash in between leaves a row without a file, which
// expires, and never a file that nothing knows.
static enum ts_err keep_file(struct ts_request *request, const struct ts_job *job, struct ts_problem *problem)
{
	struct ts_upload_file *file = ts_form_file(request->form);
	struct ts_upload upload = {.size = (int64_t)ts_upload_file_size(file),
	                           .created_at = ts_request_now(request),
	                           .expires_at = ts_request_now(request) + request->api->options.upload_ttl_ms};
	struct ts_error error = {0};

	memcpy(upload.id, ts_upload_file_id(file), TS_UUID_SIZE);
	enum ts_err err = TS_OK;
	if (!ts_str_set(&upload.path, upload.id) || !ts_str_set(&upload.filename, ts_form_filename(request->form)) ||
	    !ts_str_set(&upload.user_id, job->user_id))
		err = ts_fail_nomem(&error);
	if (err == TS_OK)
		err = ts_store_upload_create(request->api->options.store, &upload, &error);
	bool rowed = err == TS_OK;
	if (err == TS_OK)
		err = ts_upload_file_keep(file, &error);
	if (err != TS_OK && rowed)
		(void)!ts_store_upload_forget(request->api->options.store, upload.id, NULL);
	ts_upload_finish(&upload);
	return err == TS_OK ? TS_OK : failed(request, problem, &error);
}

static enum ts_err store_job(struct ts_request *request, struct ts_job *job, const json_t *fields,
                             struct ts_job *out_job, bool *out_replayed, struct ts_problem *problem)
{
	const struct ts_api_options *options = &request->api->options;
	struct ts_upload_file *file = request->form ? ts_form_file(request->form) : NULL;
	char digest[TS_SHA256_HEX_SIZE];
	struct ts_error error = {0};
	TS_AUTOFREE char *key = NULL;

	TS_TRY(idempotency_key(request, &key, problem));
	enum ts_err err = ts_wire_digest(fields, file ? ts_upload_file_sha256(file) : NULL, digest, &error);
	if (err != TS_OK)
		return failed(request, problem, &error);
	job->max_attempts = options->job_max_attempts;
	if (!ts_str_set(&job->request_id, request->request_id) ||
	    (request->traceparent[0] && !ts_str_set(&job->traceparent, request->traceparent)) ||
	    (file && !ts_str_set(&job->upload_id, ts_upload_file_id(file)))) {
		ts_fail_nomem(&error);
		return failed(request, problem, &error);
	}
	if (file)
		TS_TRY(keep_file(request, job, problem));
	const struct ts_submit submit = {.job = job,
	                                 .max_queued = options->max_queued,
	                                 .idempotency_key = key,
	                                 .request_digest = key ? digest : NULL,
	                                 .idempotency_ttl_ms = options->idempotency_ttl_ms};
	err = ts_store_submit(options->store, &submit, out_job, out_replayed, &error);
	if (file && (err != TS_OK || *out_replayed))
		(void)!ts_store_upload_forget(options->store, ts_upload_file_id(file), NULL);
	else if (file)
		ts_upload_file_release(file);
	return err == TS_OK ? TS_OK : submit_failed(request, problem, &error);
}

enum ts_err ts_handle_submit(struct ts_request *request, struct ts_reply *reply, struct ts_problem *problem)
{
	TS_AUTOJOB struct ts_job job;
	TS_AUTOJOB struct ts_job stored;
	json_auto_t *parsed = NULL;
	const json_t *fields = NULL;
	bool replayed = false;

	ts_job_init(&job);
	ts_job_init(&stored);
	TS_TRY(no_query(request, problem));
	if (request->form) {
		TS_TRY(ts_form_finish(request->form, problem));
		fields = ts_form_fields(request->form);
	} else {
		TS_TRY(ts_wire_parse(ts_buf_str(&request->body), request->body.length, &parsed, problem));
		fields = parsed;
	}
	bool has_file = request->form && ts_form_file(request->form);
	TS_TRY(ts_wire_submit(fields, &request->api->rules, has_file, &job, problem));
	TS_TRY(store_job(request, &job, fields, &stored, &replayed, problem));
	if (!replayed)
		ts_relay_kick(request->api->relay);
	memcpy(request->job_id, stored.id, TS_UUID_SIZE);
	reply_job(request, reply, 202, &stored);
	ts_reply_header(reply, "Location", "%s/api/v1/transcriptions/%s", request->api->options.public_url, stored.id);
	if (replayed)
		ts_reply_header(reply, "Idempotent-Replayed", "true");
	return TS_OK;
}

// --- read ---

static enum ts_err wait_ms(struct ts_request *request, const struct ts_query *query, int64_t *out,
                           struct ts_problem *problem)
{
	const char *text = ts_query_get(query, "wait");
	double seconds = 0;
	struct ts_error error = {0};

	*out = 0;
	if (text && ts_num_parse_f64(text, 0, (double)request->api->options.max_wait_ms / 1000, &seconds, &error) != TS_OK)
		return ts_problem_set(problem, TS_PROBLEM_INVALID_PARAMETER, "wait", "wait %s (seconds)", error.message);
	*out = (int64_t)(seconds * 1000);
	return TS_OK;
}

enum ts_err ts_handle_get(struct ts_request *request, struct ts_reply *reply, struct ts_problem *problem)
{
	static const char *const known[] = {"wait", NULL};
	struct ts_api *api = request->api;
	TS_AUTOJOB struct ts_job job;
	struct ts_error error = {0};
	struct ts_query query;
	int64_t wait = 0;

	ts_job_init(&job);
	TS_TRY(ts_request_query(request, known, &query, problem));
	TS_TRY(wait_ms(request, &query, &wait, problem));
	TS_TRY(path_id(request, problem));
	if (ts_store_get(api->options.store, request->job_id, &job, &error) != TS_OK)
		return no_job(request, problem, &error);
	if (wait > 0 && !ts_job_state_is_final(job.state) && !request->waiter.waited &&
	    ts_waiters_add(api->waiters, &request->waiter, request->connection, request->httpd, request->job_id, wait))
		return TS_OK; // runs again when there is something to say
	reply_job(request, reply, 200, &job);
	return TS_OK;
}

// --- list ---

static enum ts_err take_time(const struct ts_query *query, const char *name, int64_t *out, struct ts_problem *problem)
{
	const char *text = ts_query_get(query, name);
	struct ts_error error = {0};

	if (text && ts_time_parse(text, out, &error) != TS_OK)
		return ts_problem_set(problem, TS_PROBLEM_INVALID_PARAMETER, name,
		                      "%s must be a time such as 2026-11-23T21:09:09Z (RFC 3339)", name);
	return TS_OK;
}

static enum ts_err take_filter(const struct ts_query *query, struct ts_job_filter *out, struct ts_problem *problem)
{
	const char *status = ts_query_get(query, "status"), *limit = ts_query_get(query, "limit");
	struct ts_error error = {0};
	int64_t number = LIST_DEFAULT;

	*out = (struct ts_job_filter){.user_id = ts_query_get(query, "user_id"),
	                              .video_id = ts_query_get(query, "video_id"),
	                              .words = ts_query_get(query, "q"),
	                              .cursor = ts_query_get(query, "cursor")};
	if (status && ts_job_state_parse(status, &out->state, NULL) != TS_OK)
		return ts_problem_set(problem, TS_PROBLEM_INVALID_PARAMETER, "status",
		                      "status must be queued, processing, completed, failed or cancelled");
	out->has_state = status != NULL;
	if (limit && ts_num_parse_i64(limit, 1, TS_STORE_PAGE_MAX, &number, &error) != TS_OK)
		return ts_problem_set(problem, TS_PROBLEM_INVALID_PARAMETER, "limit", "limit %s", error.message);
	out->limit = (unsigned)number;
	TS_TRY(take_time(query, "created_after", &out->created_after, problem));
	return take_time(query, "created_before", &out->created_before, problem);
}

static json_t *page_json(const struct ts_job_page *page, const char *base)
{
	json_auto_t *data = json_array();

	for (size_t i = 0; data && i < page->count; i++) {
		if (json_array_append_new(data, ts_wire_job(&page->jobs[i], base)) != 0)
			return NULL;
	}
	return data ? json_pack("{s:O, s:s?, s:b}", "data", data, "next_cursor", page->next_cursor, "has_more",
	                        page->next_cursor != NULL)
	            : NULL;
}

enum ts_err ts_handle_list(struct ts_request *request, struct ts_reply *reply, struct ts_problem *problem)
{
	static const char *const known[] = {"status", "user_id", "video_id", "created_after", "created_before", "limit",
	                                    "cursor", "q",       NULL};
	struct ts_job_filter filter;
	struct ts_job_page page = {0};
	struct ts_error error = {0};
	struct ts_query query;

	TS_TRY(ts_request_query(request, known, &query, problem));
	TS_TRY(take_filter(&query, &filter, problem));
	enum ts_err err = ts_store_list(request->api->options.store, &filter, &page, &error);
	if (err == TS_ERR_INVALID && strcmp(error.field, "q") == 0)
		return ts_problem_set(problem, TS_PROBLEM_INVALID_PARAMETER, "q", "q %s", error.message);
	if (err == TS_ERR_INVALID)
		return ts_problem_set(problem, TS_PROBLEM_INVALID_PARAMETER, "cursor",
		                      "cursor must be the next_cursor of the page before");
	if (err != TS_OK)
		return failed(request, problem, &error);
	ts_reply_json(reply, 200, page_json(&page, request->api->options.public_url));
	ts_job_page_finish(&page);
	return TS_OK;
}

// --- a user's decisions ---

enum ts_err ts_handle_cancel(struct ts_request *request, struct ts_reply *reply, struct ts_problem *problem)
{
	TS_AUTOJOB struct ts_job job;
	struct ts_error error = {0};

	ts_job_init(&job);
	TS_TRY(no_query(request, problem));
	TS_TRY(path_id(request, problem));
	enum ts_err err = ts_store_cancel(request->api->options.store, request->job_id, &job, &error);
	if (err == TS_ERR_CONFLICT) {
		ts_problem_set(problem, TS_PROBLEM_JOB_IS_FINAL, NULL, "the job is %s and cannot be cancelled",
		               ts_job_state_name(job.state));
		problem->job_status = ts_job_state_name(job.state);
		return err;
	}
	if (err != TS_OK)
		return no_job(request, problem, &error);
	reply_job(request, reply, 200, &job);
	return TS_OK;
}

enum ts_err ts_handle_retry(struct ts_request *request, struct ts_reply *reply, struct ts_problem *problem)
{
	TS_AUTOJOB struct ts_job job;
	struct ts_error error = {0};

	ts_job_init(&job);
	TS_TRY(no_query(request, problem));
	TS_TRY(path_id(request, problem));
	enum ts_err err = ts_store_retry(request->api->options.store, request->job_id, &job, &error);
	if (err == TS_ERR_CONFLICT) {
		ts_problem_set(problem, TS_PROBLEM_JOB_NOT_RETRYABLE, NULL, "%s", error.message);
		return err;
	}
	if (err != TS_OK)
		return no_job(request, problem, &error);
	ts_relay_kick(request->api->relay);
	reply_job(request, reply, 202, &job);
	return TS_OK;
}

enum ts_err ts_handle_delete(struct ts_request *request, struct ts_reply *reply, struct ts_problem *problem)
{
	struct ts_error error = {0};

	TS_TRY(no_query(request, problem));
	TS_TRY(path_id(request, problem));
	if (ts_store_delete(request->api->options.store, request->job_id, &error) != TS_OK)
		return no_job(request, problem, &error);
	reply->status = 204;
	return TS_OK;
}

// --- callbacks ---

enum ts_err ts_handle_deliveries(struct ts_request *request, struct ts_reply *reply, struct ts_problem *problem)
{
	struct ts_delivery_list list = {0};
	struct ts_error error = {0};

	TS_TRY(no_query(request, problem));
	TS_TRY(path_id(request, problem));
	if (ts_store_deliveries(request->api->options.store, request->job_id, &list, &error) != TS_OK)
		return no_job(request, problem, &error);
	ts_reply_json(reply, 200, ts_wire_deliveries(&list, request->job_id, request->api->options.public_url));
	ts_delivery_list_finish(&list);
	return TS_OK;
}

enum ts_err ts_handle_redeliver(struct ts_request *request, struct ts_reply *reply, struct ts_problem *problem)
{
	struct ts_delivery_list list = {0};
	struct ts_error error = {0};
	int64_t number = 0;

	TS_TRY(no_query(request, problem));
	TS_TRY(path_id(request, problem));
	enum ts_err err = ts_num_parse_i64(request->match.param[1], 1, INT64_MAX, &number, NULL);
	if (err == TS_OK)
		err = ts_store_redeliver(request->api->options.store, request->job_id, number, &error);
	else
		err = ts_fail_field(&error, TS_ERR_NOT_FOUND, "delivery", "not a number");
	if (err == TS_ERR_NOT_FOUND && strcmp(error.field, "delivery") == 0)
		return ts_problem_set(problem, TS_PROBLEM_NOT_FOUND, "number", "the job has no delivery with this number");
	if (err != TS_OK)
		return no_job(request, problem, &error);
	if (ts_store_deliveries(request->api->options.store, request->job_id, &list, &error) != TS_OK)
		return no_job(request, problem, &error);
	ts_reply_json(reply, 202, ts_wire_deliveries(&list, request->job_id, request->api->options.public_url));
	ts_delivery_list_finish(&list);
	return TS_OK;
}
