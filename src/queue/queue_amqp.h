// The queue on RabbitMQ (AMQP 0-9-1): durable quorum queues, publisher confirms, manual acks. Each priority has a queue
// of its own; a receiver takes 8 high, 4 normal and 1 low when all of them have messages, so none starves another.
// Messages are fetched one for one, when asked for: a busy worker holds none back from others. Connects by itself when
// first used and again after a failure, with growing pauses. docs/architecture.md tells the names and why.
#ifndef TS_QUEUE_QUEUE_AMQP_H
#define TS_QUEUE_QUEUE_AMQP_H

#include "base/log.h"
#include "queue/queue.h"

#include <stdbool.h>
#include <stdint.h>

#define TS_QUEUE_AMQP_NAME_MAX 200

struct ts_queue_amqp_options {
	const char *host;
	uint16_t port; // 0: 5672, with tls 5671
	const char *user, *password;
	const char *vhost;          // NULL: "/"
	const char *queue;          // NULL: "transcription_jobs"; at most TS_QUEUE_AMQP_NAME_MAX bytes
	bool tls;                   // the broker's certificate and name are always checked
	const char *ca_file;        // PEM; NULL or "": the system's authorities
	const char *client_name;    // what the broker's tools show for the connection; NULL: nothing
	int64_t heartbeat_ms;       // whole seconds count; a peer silent for twice that is gone; 0: 30 s
	int64_t connect_timeout_ms; // 0: 5 s
	int64_t timeout_ms;         // of an answer and of a confirm; 0: 10 s
	unsigned prefetch;          // messages that one handle may hold without an ack; 0: 64
	unsigned delivery_limit;    // deliveries before a message is dead; 0: 20; part of the queue's properties
	struct ts_log log;          // its sink outlives the handle
};

// Does not connect: a broker that is away shows in the calls, as TS_ERR_QUEUE. The strings are copied.
enum ts_err ts_queue_amqp_open(const struct ts_queue_amqp_options *options, struct ts_queue **out,
                               struct ts_error *error) TS_MUST_USE;

// Connects, declares the queues, closes. TS_ERR_QUEUE: the broker is away. What waiting doesn't mend: TS_ERR_SCHEMA,
// queues of these names exist with other properties; TS_ERR_INVALID, user, password, virtual host or certificate are
// refused.
enum ts_err ts_queue_amqp_check(const struct ts_queue_amqp_options *options, struct ts_error *error) TS_MUST_USE;

#endif
