// One connection to a broker with one channel: connecting, frames in, errors, and what has arrived. Private to
// queue_amqp. One thread at a time. After any error but TS_ERR_BUSY the connection is of no use: ts_amqp_drop it.
#ifndef TS_QUEUE_AMQP_CONN_H
#define TS_QUEUE_AMQP_CONN_H

#include "queue/queue_amqp.h"

#include <amqp.h>

#define TS_AMQP_CHANNEL 1
#define TS_AMQP_NAME_SIZE (TS_QUEUE_AMQP_NAME_MAX + 16)
// Messages published before their confirms are awaited: bits of one word.
#define TS_AMQP_BATCH 64
// One delivery for each consumer's prefetch of one, and one that was asked for.
#define TS_AMQP_ARRIVED_MAX (TS_PRIORITY_COUNT + 1)

struct ts_amqp_delivery {
	uint64_t tag; // of the channel
	char job_id[TS_UUID_SIZE];
	enum ts_job_priority priority;
};

struct ts_amqp {
	// Settings; the strings are owned.
	char *host, *user, *password, *vhost, *ca_file, *client_name;
	uint16_t port;
	bool tls;
	int heartbeat_s;
	int64_t connect_timeout_ms, timeout_ms;
	unsigned delivery_limit;
	struct ts_log log;
	char queues[TS_PRIORITY_COUNT][TS_AMQP_NAME_SIZE]; // by priority
	char dead[TS_AMQP_NAME_SIZE], retry[TS_AMQP_NAME_SIZE];

	amqp_connection_state_t state; // NULL: not connected
	const atomic_bool *stop;       // of the receive that runs: once it is set, answers are not awaited for long

	// After failures: when the next try may begin, and why the last one failed.
	unsigned failures;
	int64_t next_try;
	struct ts_error reason;

	// The message whose frames are being read.
	enum ts_amqp_content { TS_AMQP_NO_CONTENT, TS_AMQP_MESSAGE, TS_AMQP_RETURNED } content;
	struct ts_amqp_delivery incoming;
	bool has_header;
	uint64_t content_left;
	char body[TS_UUID_SIZE];
	size_t body_length; // of what fits

	// What came.
	struct ts_amqp_delivery arrived[TS_AMQP_ARRIVED_MAX];
	size_t arrived_count;
	enum ts_job_priority getting; // of the basic.get under way
	bool get_done;
	unsigned consume_oks, cancel_oks;
	uint64_t published;                  // messages so far: the broker numbers its confirms so
	uint64_t batch_first, acked, nacked; // bits from batch_first on
	bool returned;
	bool blocked;
	char blocked_reason[128];
};

// Copies what the options say. ts_amqp_finish frees also what a failed init left.
enum ts_err ts_amqp_init(struct ts_amqp *amqp, const struct ts_queue_amqp_options *options,
                         struct ts_error *error) TS_MUST_USE;
void ts_amqp_finish(struct ts_amqp *amqp); // says goodbye when connected

// No-op when connected. Fails at once while the pause after a failure lasts.
enum ts_err ts_amqp_connect(struct ts_amqp *amqp, struct ts_error *error) TS_MUST_USE;
// Breaks the connection without a word; why (NULL: unsaid) is logged.
void ts_amqp_drop(struct ts_amqp *amqp, const struct ts_error *why);

// Handles one frame, waiting that long for it, and sends heartbeats that are due. *out_any: there was one.
enum ts_err ts_amqp_pump(struct ts_amqp *amqp, int64_t timeout_ms, bool *out_any, struct ts_error *error) TS_MUST_USE;
// Pumps until done says so. TS_ERR_QUEUE when that takes longer than timeout_ms, or stop is set; `what` was awaited.
enum ts_err ts_amqp_await(struct ts_amqp *amqp, bool (*done)(const struct ts_amqp *), const char *what,
                          struct ts_error *error) TS_MUST_USE;

// What an answer of the broker or the library says. `what` was tried.
enum ts_err ts_amqp_reply(amqp_rpc_reply_t reply, const char *what, struct ts_error *error) TS_MUST_USE;
enum ts_err ts_amqp_status(int status, const char *what, struct ts_error *error) TS_MUST_USE;
// Of the last call that returns a pointer.
enum ts_err ts_amqp_last(const struct ts_amqp *amqp, const char *what, struct ts_error *error) TS_MUST_USE;

// amqp_topology.c: declares queues and exchanges. TS_ERR_SCHEMA when they exist with other properties.
void ts_amqp_name(struct ts_amqp *amqp, const char *queue);
enum ts_err ts_amqp_declare(struct ts_amqp *amqp, struct ts_error *error) TS_MUST_USE;

#endif
