// Answers as JSON: a job and its links, the log of its callbacks.
#include "api/wire.h"

#include "base/clock.h"
#include "core/json.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static bool put(json_t *object, const char *key, json_t *value)
{
	return json_object_set_new(object, key, value) == 0; // NULL value: memory is out, or it was not UTF-8
}

static bool put_text(json_t *object, const char *key, const char *text)
{
	return put(object, key, ts_json_text(text));
}

static bool put_time(json_t *object, const char *key, int64_t wall_ms)
{
	char text[TS_RFC3339_SIZE];
	return put_text(object, key, wall_ms ? ts_time_format(wall_ms, text) : NULL);
}

static json_t *link_to(const char *base, const char *job_id, const char *tail)
{
	return json_sprintf("%s/api/v1/transcriptions/%s%s", base, job_id, tail);
}

static json_t *links(const struct ts_job *job, const char *base)
{
	json_t *object = json_object();

	if (!object || !put(object, "self", link_to(base, job->id, "")) ||
	    !put(object, "transcript", link_to(base, job->id, "/transcript")) ||
	    !put(object, "cancel", link_to(base, job->id, "/cancel")) ||
	    !put(object, "retry", link_to(base, job->id, "/retry")) ||
	    !put(object, "deliveries", link_to(base, job->id, "/deliveries"))) {
		json_decref(object);
		return NULL;
	}
	return object;
}

static json_t *failure(const struct ts_job *job)
{
	if (!job->error_code)
		return json_null();
	return json_pack("{s:s, s:s}", "code", job->error_code, "message", job->error_message ? job->error_message : "");
}

static json_t *metadata_of(const struct ts_job *job)
{
	json_t *metadata = NULL;

	if (!job->metadata)
		return json_null();
	return ts_json_parse(job->metadata, strlen(job->metadata), &metadata, NULL) == TS_OK ? metadata : NULL;
}

static json_t *number(double value)
{
	// Three digits are what a progress bar and a clock need; more would only be noise of the binary fraction.
	return json_real(round(value * 1000) / 1000);
}

json_t *ts_wire_job(const struct ts_job *job, const char *base)
{
	json_t *object = json_object();

	if (object && put_text(object, "id", job->id) && put_text(object, "video_id", job->video_id) &&
	    put_text(object, "user_id", job->user_id) && put_text(object, "status", ts_job_state_name(job->state)) &&
	    put(object, "progress", number(job->progress)) && put_text(object, "stage", job->stage) &&
	    put(object, "attempts", json_integer(job->attempt)) &&
	    put(object, "max_attempts", json_integer(job->max_attempts)) &&
	    put_text(object, "priority", ts_job_priority_name(job->priority)) &&
	    put_text(object, "language", job->language) && put_text(object, "media_url", job->media_url) &&
	    put_text(object, "upload_id", job->upload_id) && put_text(object, "callback_url", job->callback_url) &&
	    put(object, "duration", job->media_duration_ms ? number((double)job->media_duration_ms / 1000) : json_null()) &&
	    put(object, "metadata", metadata_of(job)) && put(object, "error", failure(job)) &&
	    put_text(object, "request_id", job->request_id) && put_time(object, "created_at", job->created_at) &&
	    put_time(object, "updated_at", job->updated_at) && put_time(object, "started_at", job->started_at) &&
	    put_time(object, "finished_at", job->finished_at) && put(object, "links", links(job, base)))
		return object;
	json_decref(object);
	return NULL;
}

static json_t *attempt_json(const struct ts_delivery_attempt *attempt)
{
	json_t *object = json_object();

	if (object && put(object, "number", json_integer(attempt->number)) &&
	    put_time(object, "started_at", attempt->started_at) &&
	    put(object, "duration_ms", json_integer(attempt->duration_ms)) &&
	    put(object, "status", attempt->status ? json_integer(attempt->status) : json_null()) &&
	    put(object, "error", ts_json_text(attempt->error)) && put(object, "response", ts_json_text(attempt->response)))
		return object;
	json_decref(object);
	return NULL;
}

static json_t *delivery_json(const struct ts_delivery_log *log, const char *job_id, const char *base)
{
	const struct ts_delivery *delivery = &log->delivery;
	char tail[64];
	json_t *attempts = json_array();

	for (size_t i = 0; attempts && i < log->attempt_count; i++) {
		if (json_array_append_new(attempts, attempt_json(&log->attempts[i])) != 0) {
			json_decref(attempts);
			attempts = NULL;
		}
	}
	snprintf(tail, sizeof tail, "/deliveries/%lld/redeliver", (long long)delivery->number);
	json_t *object = json_object();
	bool taken = object && put(object, "attempts", attempts); // takes attempts over, also when it fails
	if (!object)
		json_decref(attempts);
	if (taken && put(object, "number", json_integer(delivery->number)) &&
	    put_text(object, "event_id", delivery->event_id) && put_text(object, "type", delivery->event_type) &&
	    put_text(object, "url", delivery->url) && put_text(object, "status", delivery->state) &&
	    put_time(object, "created_at", delivery->created_at) &&
	    put_time(object, "next_attempt_at", delivery->next_attempt_at) &&
	    put_time(object, "delivered_at", delivery->delivered_at) &&
	    put(object, "links", json_pack("{s:o}", "redeliver", link_to(base, job_id, tail))))
		return object;
	json_decref(object);
	return NULL;
}

json_t *ts_wire_deliveries(const struct ts_delivery_list *list, const char *job_id, const char *base)
{
	json_auto_t *data = json_array();

	for (size_t i = 0; data && i < list->count; i++) {
		if (json_array_append_new(data, delivery_json(&list->items[i], job_id, base)) != 0)
			return NULL;
	}
	return data ? json_pack("{s:O}", "data", data) : NULL;
}
