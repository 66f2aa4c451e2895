// Frames from the broker, one at a time: deliveries, confirms, what was returned, warnings and farewells. The messages
// are identifiers of jobs; one that is not is nobody's work and goes to the dead letters.
#include "queue/amqp_conn.h"

#include <stdio.h>
#include <string.h>
#include <sys/time.h>

// How long a receive that is told to stop waits for the broker.
#define STOPPED_MS 100

static int64_t now_ms(void)
{
	return ts_mono_ms(ts_clock_system());
}

static struct timeval timeval_of(int64_t ms)
{
	return (struct timeval){.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
}

// --- errors ---

enum ts_err ts_amqp_status(int status, const char *what, struct ts_error *error)
{
	if (status == AMQP_STATUS_OK)
		return TS_OK;
	if (status == AMQP_STATUS_NO_MEMORY)
		return ts_fail_nomem(error);
	return ts_fail(error, TS_ERR_QUEUE, "%s: %s", what, amqp_error_string2(status));
}

// The broker's words; they come from the other side and are cut.
static enum ts_err closed(int code, amqp_bytes_t text, const char *what, struct ts_error *error)
{
	int length = text.len < 250 ? (int)text.len : 250;

	switch (code) {
	case AMQP_PRECONDITION_FAILED:
		return ts_fail(error, TS_ERR_SCHEMA, "%s: %.*s", what, length, (const char *)text.bytes);
	case AMQP_ACCESS_REFUSED:
		return ts_fail_field(error, TS_ERR_INVALID, "RABBITMQ_USER", "%s: %.*s", what, length,
		                     (const char *)text.bytes);
	case AMQP_NOT_ALLOWED:
		return ts_fail_field(error, TS_ERR_INVALID, "RABBITMQ_VHOST", "%s: %.*s", what, length,
		                     (const char *)text.bytes);
	default: return ts_fail(error, TS_ERR_QUEUE, "%s: %.*s", what, length, (const char *)text.bytes);
	}
}

static enum ts_err closing_method(const amqp_method_t *method, const char *what, struct ts_error *error)
{
	if (method->id == AMQP_CONNECTION_CLOSE_METHOD) {
		const amqp_connection_close_t *m = method->decoded;
		return closed(m->reply_code, m->reply_text, what, error);
	}
	if (method->id == AMQP_CHANNEL_CLOSE_METHOD) {
		const amqp_channel_close_t *m = method->decoded;
		return closed(m->reply_code, m->reply_text, what, error);
	}
	return ts_fail(error, TS_ERR_QUEUE, "%s: the broker answered with method 0x%08x", what, (unsigned)method->id);
}

enum ts_err ts_amqp_reply(amqp_rpc_reply_t reply, const char *what, struct ts_error *error)
{
	switch (reply.reply_type) {
	case AMQP_RESPONSE_NORMAL: return TS_OK;
	case AMQP_RESPONSE_LIBRARY_EXCEPTION: return ts_amqp_status(reply.library_error, what, error);
	case AMQP_RESPONSE_SERVER_EXCEPTION: return closing_method(&reply.reply, what, error);
	case AMQP_RESPONSE_NONE:
	default: return ts_fail(error, TS_ERR_QUEUE, "%s: the connection was closed", what);
	}
}

enum ts_err ts_amqp_last(const struct ts_amqp *amqp, const char *what, struct ts_error *error)
{
	return ts_amqp_reply(amqp_get_rpc_reply(amqp->state), what, error);
}

// --- content ---

static void begin_content(struct ts_amqp *amqp, enum ts_amqp_content content)
{
	amqp->content = content;
	amqp->has_header = false;
	amqp->content_left = 0;
	amqp->body_length = 0;
}

static enum ts_err end_content(struct ts_amqp *amqp, struct ts_error *error)
{
	enum ts_amqp_content content = amqp->content;

	amqp->content = TS_AMQP_NO_CONTENT;
	if (content == TS_AMQP_RETURNED) {
		amqp->returned = true;
		return TS_OK;
	}
	memcpy(amqp->incoming.job_id, amqp->body, TS_UUID_SIZE - 1);
	amqp->incoming.job_id[TS_UUID_SIZE - 1] = '\0';
	amqp->get_done = true;
	if (amqp->body_length != TS_UUID_SIZE - 1 || !ts_uuid_is_valid(amqp->incoming.job_id)) {
		ts_log_warn(&amqp->log, "a message in the queue is not the id of a job; it goes to the dead letters",
		            TS_STR("queue", amqp->queues[amqp->incoming.priority]));
		return ts_amqp_status(amqp_basic_reject(amqp->state, TS_AMQP_CHANNEL, amqp->incoming.tag, 0),
		                      "rejecting a message", error);
	}
	if (amqp->arrived_count == TS_AMQP_ARRIVED_MAX)
		return ts_fail(error, TS_ERR_QUEUE, "the broker delivers more than was asked for");
	amqp->arrived[amqp->arrived_count++] = amqp->incoming;
	return TS_OK;
}

static enum ts_err on_header(struct ts_amqp *amqp, uint64_t size, struct ts_error *error)
{
	if (amqp->content == TS_AMQP_NO_CONTENT || amqp->has_header)
		return ts_fail(error, TS_ERR_QUEUE, "the broker sent a header without a message");
	amqp->has_header = true;
	amqp->content_left = size;
	return size == 0 ? end_content(amqp, error) : TS_OK;
}

static enum ts_err on_body(struct ts_amqp *amqp, amqp_bytes_t part, struct ts_error *error)
{
	if (!amqp->has_header || part.len > amqp->content_left)
		return ts_fail(error, TS_ERR_QUEUE, "the broker sent a body without a message");
	// One byte more than an identifier tells that it is none.
	size_t room = sizeof amqp->body - amqp->body_length;
	size_t taken = part.len < room ? part.len : room;
	memcpy(amqp->body + amqp->body_length, part.bytes, taken);
	amqp->body_length += taken;
	amqp->content_left -= part.len;
	return amqp->content_left == 0 ? end_content(amqp, error) : TS_OK;
}

// --- methods ---

// Consumer tags are "0", "1" and "2": the priority.
static enum ts_err on_deliver(struct ts_amqp *amqp, const amqp_basic_deliver_t *m, struct ts_error *error)
{
	const char *tag = m->consumer_tag.bytes;

	if (m->consumer_tag.len != 1 || *tag < '0' || *tag >= '0' + TS_PRIORITY_COUNT)
		return ts_fail(error, TS_ERR_QUEUE, "the broker delivers to an unknown consumer");
	amqp->incoming.tag = m->delivery_tag;
	amqp->incoming.priority = (enum ts_job_priority)(*tag - '0');
	begin_content(amqp, TS_AMQP_MESSAGE);
	return TS_OK;
}

static void on_get_ok(struct ts_amqp *amqp, const amqp_basic_get_ok_t *m)
{
	amqp->incoming.tag = m->delivery_tag;
	amqp->incoming.priority = amqp->getting;
	begin_content(amqp, TS_AMQP_MESSAGE);
}

// Confirms of this batch; those of an earlier one that was given up find no bit.
static void on_confirm(struct ts_amqp *amqp, uint64_t number, bool multiple, uint64_t *bits)
{
	uint64_t first = multiple ? amqp->batch_first : number;

	for (uint64_t i = first; i <= number && i <= amqp->published; i++) {
		if (i >= amqp->batch_first && i - amqp->batch_first < TS_AMQP_BATCH)
			*bits |= UINT64_C(1) << (i - amqp->batch_first);
	}
}

static void on_blocked(struct ts_amqp *amqp, const amqp_connection_blocked_t *m)
{
	int length = m->reason.len < 120 ? (int)m->reason.len : 120;

	amqp->blocked = true;
	snprintf(amqp->blocked_reason, sizeof amqp->blocked_reason, "%.*s", length, (const char *)m->reason.bytes);
	ts_log_warn(&amqp->log, "the broker takes no messages for now", TS_STR("reason", amqp->blocked_reason));
}

static enum ts_err on_method(struct ts_amqp *amqp, const amqp_method_t *method, struct ts_error *error)
{
	switch (method->id) {
	case AMQP_BASIC_DELIVER_METHOD: return on_deliver(amqp, method->decoded, error);
	case AMQP_BASIC_GET_OK_METHOD: on_get_ok(amqp, method->decoded); return TS_OK;
	case AMQP_BASIC_GET_EMPTY_METHOD: amqp->get_done = true; return TS_OK;
	case AMQP_BASIC_CONSUME_OK_METHOD: amqp->consume_oks++; return TS_OK;
	case AMQP_BASIC_CANCEL_OK_METHOD: amqp->cancel_oks++; return TS_OK;
	case AMQP_BASIC_ACK_METHOD: {
		const amqp_basic_ack_t *m = method->decoded;
		on_confirm(amqp, m->delivery_tag, m->multiple, &amqp->acked);
		return TS_OK;
	}
	case AMQP_BASIC_NACK_METHOD: {
		const amqp_basic_nack_t *m = method->decoded;
		on_confirm(amqp, m->delivery_tag, m->multiple, &amqp->nacked);
		return TS_OK;
	}
	case AMQP_BASIC_RETURN_METHOD: begin_content(amqp, TS_AMQP_RETURNED); return TS_OK;
	case AMQP_BASIC_CANCEL_METHOD: return ts_fail(error, TS_ERR_QUEUE, "the queue was deleted or moved at the broker");
	case AMQP_CONNECTION_BLOCKED_METHOD: on_blocked(amqp, method->decoded); return TS_OK;
	case AMQP_CONNECTION_UNBLOCKED_METHOD:
		amqp->blocked = false;
		ts_log_info(&amqp->log, "the broker takes messages again");
		return TS_OK;
	default: return closing_method(method, "the broker ended the connection", error);
	}
}

enum ts_err ts_amqp_pump(struct ts_amqp *amqp, int64_t timeout_ms, bool *out_any, struct ts_error *error)
{
	struct timeval timeout = timeval_of(timeout_ms > 0 ? timeout_ms : 0);
	amqp_frame_t frame;

	*out_any = false;
	amqp_maybe_release_buffers(amqp->state);
	int status = amqp_simple_wait_frame_noblock(amqp->state, &frame, &timeout);
	if (status == AMQP_STATUS_TIMEOUT)
		return TS_OK;
	TS_TRY(ts_amqp_status(status, "waiting for the broker", error));
	*out_any = true;
	switch (frame.frame_type) {
	case AMQP_FRAME_METHOD: return on_method(amqp, &frame.payload.method, error);
	case AMQP_FRAME_HEADER: return on_header(amqp, frame.payload.properties.body_size, error);
	case AMQP_FRAME_BODY: return on_body(amqp, frame.payload.body_fragment, error);
	default: return TS_OK; // a heartbeat
	}
}

static bool is_stopped(const struct ts_amqp *amqp)
{
	return amqp->stop && atomic_load(amqp->stop);
}

enum ts_err ts_amqp_await(struct ts_amqp *amqp, bool (*done)(const struct ts_amqp *), const char *what,
                          struct ts_error *error)
{
	int64_t begun = now_ms();

	while (!done(amqp)) {
		int64_t left = begun + (is_stopped(amqp) ? STOPPED_MS : amqp->timeout_ms) - now_ms();
		bool any;
		if (left <= 0)
			return ts_fail(error, TS_ERR_QUEUE, "%s: the broker did not answer within %lld ms", what,
			               (long long)(now_ms() - begun));
		// A wake does not reach the library's wait.
		if (amqp->stop && left > STOPPED_MS / 4)
			left = STOPPED_MS / 4;
		TS_TRY(ts_amqp_pump(amqp, left, &any, error));
	}
	return TS_OK;
}
