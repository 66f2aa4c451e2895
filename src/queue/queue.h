// Work hints from the API to the workers: messages that name a job. A message is a hint, the store's row is the truth:
// duplicates and losses are harmless. Contract of queue_store (rows with leases) and queue_amqp (RabbitMQ).
#ifndef TS_QUEUE_QUEUE_H
#define TS_QUEUE_QUEUE_H

#include "base/clock.h"
#include "core/job.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

// One handle is used by one thread at a time; each thread opens its own.
struct ts_queue;

struct ts_message {
	char job_id[TS_UUID_SIZE];
	enum ts_job_priority priority;
	uint64_t tag; // the back end's
};

// Durable (or confirmed) when it returns. TS_ERR_QUEUE.
enum ts_err ts_queue_publish(struct ts_queue *queue, const char *job_id, enum ts_job_priority priority,
                             struct ts_error *error) TS_MUST_USE;
struct ts_queue_item {
	const char *job_id;
	enum ts_job_priority priority;
};
// Many at once, which costs some back ends hardly more than one. *out_published is set in any case: so many, from the
// first on, are durable. TS_ERR_QUEUE.
enum ts_err ts_queue_publish_many(struct ts_queue *queue, const struct ts_queue_item *items, size_t count,
                                  size_t *out_published, struct ts_error *error) TS_MUST_USE;
// Waits for a message. TS_ERR_TIMEOUT: none came; TS_ERR_ABORTED: *stop was set (NULL: none; see ts_queue_wake);
// TS_ERR_QUEUE. Messages received and not acked come again: after their lease, or when the connection has ended.
enum ts_err ts_queue_receive(struct ts_queue *queue, int64_t timeout_ms, const atomic_bool *stop,
                             struct ts_message *out, struct ts_error *error) TS_MUST_USE;
// Ends a receive that another thread runs on this handle as its timeout would, once *stop is set. Not
// async-signal-safe; the only call that may run beside another on one handle. Spurious wake-ups of others are harmless.
void ts_queue_wake(struct ts_queue *queue);
// Done with it: never again.
enum ts_err ts_queue_ack(struct ts_queue *queue, const struct ts_message *message, struct ts_error *error) TS_MUST_USE;
// Done with it as ts_queue_ack, and people should look at it: a dead letter where the back end keeps such.
enum ts_err ts_queue_reject(struct ts_queue *queue, const struct ts_message *message,
                            struct ts_error *error) TS_MUST_USE;
// Give it to somebody else, delay_ms from now.
enum ts_err ts_queue_nack(struct ts_queue *queue, const struct ts_message *message, int64_t delay_ms,
                          struct ts_error *error) TS_MUST_USE;
// Messages ready or in flight (of those in flight, RabbitMQ lets us know our own).
enum ts_err ts_queue_depth(struct ts_queue *queue, int64_t *out_depth, struct ts_error *error) TS_MUST_USE;
enum ts_err ts_queue_ping(struct ts_queue *queue, struct ts_error *error) TS_MUST_USE;
void ts_queue_close(struct ts_queue *queue); // NULL-safe

#endif
