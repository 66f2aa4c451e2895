// Sends callbacks. Several threads follow one leader: the leader waits for the next due row, then leaves to send it
// while another takes the lead; a slow receiver so holds up nobody else's callback, and one waiter asks the store.
#include "worker/deliver.h"

#include "base/buf.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "net/webhook.h"
#include "worker/worker_priv.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define RESPONSE_KEPT 1024
#define RESPONSE_MAX (64 * 1024)
#define RETRY_AFTER_MAX_MS (24 * 3600 * INT64_C(1000))
#define JITTER 0.2
#define LEASE_MARGIN_MS 30000
#define WAIT_MAX_MS 30000
#define RECORD_TRIES 5
#define RECORD_PAUSE_MS 300
#define DEFAULT_TIMEOUT_MS 15000

// --- one try ---

void ts_deliver_result_finish(struct ts_deliver_result *result)
{
	if (!result)
		return;
	ts_free(result->attempt.error);
	ts_free(result->attempt.response);
	*result = (struct ts_deliver_result){0};
}

struct kept {
	char text[RESPONSE_KEPT];
	size_t length;
};

static enum ts_err keep(void *ctx, const void *bytes, size_t length, struct ts_error *error)
{
	struct kept *kept = ctx;
	size_t room = sizeof kept->text - kept->length;
	size_t take = length < room ? length : room;

	(void)error;
	memcpy(kept->text + kept->length, bytes, take);
	kept->length += take;
	return TS_OK;
}

// The beginning of a response as storable text: other bytes than UTF-8's become "?".
static char *printable(const char *text, size_t length)
{
	TS_AUTOBUF struct ts_buf buf;
	uint32_t code;
	char *result = NULL;

	ts_buf_init(&buf, RESPONSE_KEPT + 1);
	length = length < RESPONSE_KEPT ? length : RESPONSE_KEPT;
	for (size_t i = 0; i < length;) {
		size_t size = ts_utf8_decode(text + i, length - i, &code);
		if (size && code)
			ts_buf_add(&buf, text + i, size);
		else
			ts_buf_add_char(&buf, '?');
		i += size ? size : 1;
	}
	return ts_buf_take(&buf, &result, NULL) == TS_OK ? result : NULL;
}

struct headers {
	char id[TS_UUID_SIZE + 16];
	char timestamp[48];
	char *signature;
	char *signature_line;
	char *trace_line;
	const char *lines[8];
};

static void headers_finish(struct headers *headers)
{
	ts_free(headers->signature);
	ts_free(headers->signature_line);
	ts_free(headers->trace_line);
}

static enum ts_err headers_fill(const struct ts_deliver_options *options, const struct ts_delivery *delivery,
                                struct headers *headers, struct ts_error *error)
{
	int64_t now_s = ts_wall_ms(options->clock) / 1000;
	size_t count = 0;

	headers->lines[count++] = "Content-Type: application/json";
	headers->lines[count++] = "User-Agent: transcription-service/" TS_VERSION;
	snprintf(headers->id, sizeof headers->id, "webhook-id: %s", delivery->event_id);
	headers->lines[count++] = headers->id;
	snprintf(headers->timestamp, sizeof headers->timestamp, "webhook-timestamp: %" PRId64, now_s);
	headers->lines[count++] = headers->timestamp;
	if (options->secret && *options->secret) {
		TS_TRY(ts_webhook_sign(options->secret, delivery->event_id, now_s, delivery->body, strlen(delivery->body),
		                       &headers->signature, error));
		headers->signature_line = ts_asprintf("webhook-signature: %s", headers->signature);
		if (!headers->signature_line)
			return ts_fail_nomem(error);
		headers->lines[count++] = headers->signature_line;
	}
	if (delivery->traceparent) {
		headers->trace_line = ts_asprintf("traceparent: %s", delivery->traceparent);
		if (!headers->trace_line)
			return ts_fail_nomem(error);
		headers->lines[count++] = headers->trace_line;
	}
	headers->lines[count] = NULL;
	return TS_OK;
}

static int64_t next_time(const struct ts_deliver_options *options, int32_t made, long status, int64_t retry_after_ms)
{
	struct ts_rng rng = ts_rng_system();
	int64_t delay = 0;

	if (options->schedule_count) {
		size_t index = (size_t)made < options->schedule_count ? (size_t)made : options->schedule_count - 1;
		delay = options->schedule_ms[index];
	}
	delay += (int64_t)(ts_rng_unit(&rng) * JITTER * (double)delay);
	if ((status == 429 || status == 502 || status == 503 || status == 504) && retry_after_ms > delay)
		delay = retry_after_ms < RETRY_AFTER_MAX_MS ? retry_after_ms : RETRY_AFTER_MAX_MS;
	return ts_wall_ms(options->clock) + delay;
}

static void judge(const struct ts_deliver_options *options, enum ts_err err, const struct ts_http_response *response,
                  struct ts_deliver_result *result)
{
	// A receiver that talks too much has nonetheless taken the event.
	bool answered = err == TS_OK || (err == TS_ERR_MEDIA_TOO_LARGE && response->status);
	bool hopeless = err == TS_ERR_NET_FORBIDDEN || err == TS_ERR_INVALID || err == TS_ERR_UNSUPPORTED;

	if (answered && response->status >= 200 && response->status < 300) {
		result->outcome = TS_DELIVERY_DONE;
		return;
	}
	if (hopeless || (answered && response->status == 410) ||
	    (options->max_attempts && result->attempt.number >= (int32_t)options->max_attempts)) {
		result->outcome = TS_DELIVERY_GIVE_UP;
		return;
	}
	result->outcome = TS_DELIVERY_RETRY;
	if (err == TS_ERR_ABORTED) // our own shutdown: it is due at once
		result->next_attempt_at = ts_wall_ms(options->clock);
	else
		result->next_attempt_at =
		    next_time(options, result->attempt.number, answered ? response->status : 0, response->retry_after_ms);
}

static enum ts_err describe(enum ts_err err, const struct ts_error *failure, const struct ts_http_response *response,
                            const struct kept *kept, struct ts_deliver_result *result, struct ts_error *error)
{
	bool success = response->status >= 200 && response->status < 300;
	const char *body = success ? kept->text : response->error_body;
	size_t length = success ? kept->length : strlen(response->error_body);

	if (result->outcome != TS_DELIVERY_DONE) {
		result->attempt.error =
		    err == TS_OK ? ts_asprintf("the receiver answered %ld", response->status) : ts_strdup(failure->message);
		if (!result->attempt.error)
			return ts_fail_nomem(error);
	}
	if (length) {
		result->attempt.response = printable(body, length);
		if (!result->attempt.response)
			return ts_fail_nomem(error);
	}
	return TS_OK;
}

enum ts_err ts_deliver_once(const struct ts_deliver_options *options, const struct ts_delivery *delivery,
                            struct ts_deliver_result *out, struct ts_error *error)
{
	TS_CLEANUP(headers_finish) struct headers headers = {0};
	TS_CLEANUP(ts_deliver_result_finish) struct ts_deliver_result result = {0};
	struct ts_http_response response = {.retry_after_ms = -1};
	struct ts_error failure = {0};
	struct kept kept = {.length = 0};
	int64_t started = ts_mono_ms(options->clock);

	TS_TRY(headers_fill(options, delivery, &headers, error));
	int64_t timeout_ms = options->timeout_ms > 0 ? options->timeout_ms : DEFAULT_TIMEOUT_MS;
	struct ts_http_request request = {
	    .method = "POST",
	    .url = delivery->url,
	    .headers = headers.lines,
	    .body = delivery->body,
	    .body_length = strlen(delivery->body),
	    .guard = options->guard,
	    .connect_timeout_ms = timeout_ms < 10000 ? timeout_ms : 10000,
	    .deadline_ms = timeout_ms,
	    .stall_timeout_ms = timeout_ms,
	    .max_bytes = RESPONSE_MAX,
	    .max_redirects = 0,
	    .abort = options->abort,
	    .write = keep,
	    .ctx = &kept,
	};
	result.attempt.number = delivery->attempts + 1;
	result.attempt.started_at = ts_wall_ms(options->clock);
	result.err = ts_http_perform(&request, &response, &failure);
	result.attempt.duration_ms = ts_mono_ms(options->clock) - started;
	result.attempt.status = (int32_t)response.status;
	judge(options, result.err, &response, &result);
	TS_TRY(describe(result.err, &failure, &response, &kept, &result, error));
	*out = result;
	result = (struct ts_deliver_result){0};
	return TS_OK;
}

// --- the threads ---

// Waits for the next due delivery and claims it. False: the worker quits. The lead is held.
static bool claim_next(struct ts_worker *worker, int64_t lease_ms, uint64_t *seen, struct ts_delivery *out)
{
	struct ts_store *store = worker->options.store;
	unsigned failures = 0;

	while (!atomic_load(&worker->quit)) {
		struct ts_error error = {0};
		int64_t next_at = 0;
		pthread_mutex_lock(&worker->lock);
		uint64_t finals = worker->finals_written;
		pthread_mutex_unlock(&worker->lock);
		enum ts_err err = ts_store_delivery_claim(store, lease_ms, out, &next_at, &error);
		if (err == TS_OK) {
			pthread_mutex_lock(&worker->lock);
			worker->deliveries_in_flight++;
			pthread_mutex_unlock(&worker->lock);
			return true;
		}
		int64_t wait = WAIT_MAX_MS;
		if (err == TS_ERR_NOT_FOUND) {
			pthread_mutex_lock(&worker->lock);
			worker->finals_settled = finals;
			pthread_cond_broadcast(&worker->changed);
			pthread_mutex_unlock(&worker->lock);
			int64_t until = next_at - ts_wall_ms(worker->options.clock);
			if (next_at > 0 && until < wait)
				wait = until > 0 ? until : 0;
			err = ts_store_wait_change(store, seen, wait, &worker->quit, &error);
		}
		if (err == TS_OK || err == TS_ERR_TIMEOUT || err == TS_ERR_ABORTED) {
			failures = 0;
			continue;
		}
		ts_log_warn(&worker->options.log, "can't look for callbacks", TS_STR("error_code", ts_err_name(err)),
		            TS_STR("error", error.message));
		ts_worker_pause(worker, ts_worker_backoff(500, 10000, failures++), &worker->quit);
	}
	return false;
}

static void record(struct ts_worker *worker, const struct ts_log *log, const struct ts_delivery *delivery,
                   const struct ts_deliver_result *result)
{
	struct ts_error error = {0};

	for (int tries = 0; tries < RECORD_TRIES; tries++) {
		enum ts_err err = ts_store_delivery_record(worker->options.store, delivery, &result->attempt, result->outcome,
		                                           result->next_attempt_at, &error);
		if (err == TS_OK || err == TS_ERR_NOT_FOUND) // the job may have been deleted meanwhile
			return;
		ts_worker_pause(worker, RECORD_PAUSE_MS, &worker->quit);
	}
	// At least once: the row becomes due again when the claim's lease ends.
	ts_log_warn(log, "callback attempt not recorded", TS_STR("error", error.message));
}

static void report(struct ts_worker *worker, const struct ts_log *log, const struct ts_deliver_result *result)
{
	switch (result->outcome) {
	case TS_DELIVERY_DONE:
		atomic_fetch_add(&worker->deliveries_ok, 1);
		ts_log_info(log, "callback delivered", TS_INT("status", result->attempt.status),
		            TS_INT("duration_ms", result->attempt.duration_ms));
		return;
	case TS_DELIVERY_RETRY:
		ts_log_warn(log, "callback failed; it is tried again", TS_INT("status", result->attempt.status),
		            TS_STR("error", result->attempt.error),
		            TS_INT("retry_in_ms", result->next_attempt_at - ts_wall_ms(worker->options.clock)));
		return;
	case TS_DELIVERY_GIVE_UP:
	default:
		atomic_fetch_add(&worker->deliveries_failed, 1);
		ts_log_error(log, "callback given up", TS_INT("status", result->attempt.status),
		             TS_STR("error", result->attempt.error));
		return;
	}
}

static void send_one(struct ts_worker *worker, const struct ts_deliver_options *options,
                     const struct ts_delivery *delivery)
{
	TS_CLEANUP(ts_deliver_result_finish) struct ts_deliver_result result = {0};
	struct ts_log log = ts_log_with(&worker->options.log, TS_STR("job_id", delivery->job_id));
	TS_AUTOJOB struct ts_job job;
	struct ts_error error = {0};

	// For the log only: who asked for this.
	ts_job_init(&job);
	if (ts_store_get(worker->options.store, delivery->job_id, &job, NULL) == TS_OK && job.request_id)
		log = ts_log_with(&log, TS_STR("request_id", job.request_id));
	log = ts_log_with(&log, TS_STR("event_id", delivery->event_id));
	log = ts_log_with(&log, TS_INT("attempt", delivery->attempts + 1));
	if (ts_deliver_once(options, delivery, &result, &error) != TS_OK) {
		ts_log_error(&log, "callback not sent", TS_STR("error", error.message));
		return; // its lease ends, and it is due again
	}
	report(worker, &log, &result);
	record(worker, &log, delivery, &result);
}

void *ts_deliver_main(void *arg)
{
	struct ts_worker *worker = arg;
	struct ts_deliver_options options = {
	    .secret = worker->options.callback_secret,
	    .guard = worker->options.callback_guard,
	    .timeout_ms =
	        worker->options.callback_timeout_ms > 0 ? worker->options.callback_timeout_ms : DEFAULT_TIMEOUT_MS,
	    .schedule_ms = worker->options.callback_schedule_ms,
	    .schedule_count = worker->options.callback_schedule_count,
	    .max_attempts = worker->options.callback_max_attempts,
	    .clock = worker->options.clock,
	    .abort = &worker->deliver_abort,
	};
	uint64_t seen = 0;

	for (;;) {
		struct ts_delivery delivery = {0};
		pthread_mutex_lock(&worker->deliver_lead);
		bool claimed = claim_next(worker, options.timeout_ms + LEASE_MARGIN_MS, &seen, &delivery);
		pthread_mutex_unlock(&worker->deliver_lead);
		if (!claimed)
			return NULL;
		send_one(worker, &options, &delivery);
		ts_delivery_finish(&delivery);
		pthread_mutex_lock(&worker->lock);
		worker->deliveries_in_flight--;
		pthread_cond_broadcast(&worker->changed);
		pthread_mutex_unlock(&worker->lock);
	}
}
