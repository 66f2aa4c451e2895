// The queue's contract in front of its back ends: checks arguments, then dispatches.
#include "queue/queue.h"

#include "queue/queue_ops.h"

#include <assert.h>

void ts_queue_init(struct ts_queue *queue, const struct ts_queue_ops *ops)
{
	assert(ops->name && ops->publish && ops->receive && ops->wake && ops->ack && ops->nack && ops->depth);
	assert(ops->ping && ops->close);
	queue->ops = ops;
}

enum ts_err ts_queue_publish(struct ts_queue *queue, const char *job_id, enum ts_job_priority priority,
                             struct ts_error *error)
{
	assert((unsigned)priority < TS_PRIORITY_COUNT);
	return queue->ops->publish(queue, job_id, priority, error);
}

enum ts_err ts_queue_publish_many(struct ts_queue *queue, const struct ts_queue_item *items, size_t count,
                                  size_t *out_published, struct ts_error *error)
{
	if (queue->ops->publish_many)
		return queue->ops->publish_many(queue, items, count, out_published, error);
	for (*out_published = 0; *out_published < count; ++*out_published) {
		const struct ts_queue_item *item = &items[*out_published];
		TS_TRY(ts_queue_publish(queue, item->job_id, item->priority, error));
	}
	return TS_OK;
}

enum ts_err ts_queue_receive(struct ts_queue *queue, int64_t timeout_ms, const atomic_bool *stop,
                             struct ts_message *out, struct ts_error *error)
{
	return queue->ops->receive(queue, timeout_ms, stop, out, error);
}

void ts_queue_wake(struct ts_queue *queue)
{
	queue->ops->wake(queue);
}

enum ts_err ts_queue_ack(struct ts_queue *queue, const struct ts_message *message, struct ts_error *error)
{
	return queue->ops->ack(queue, message, error);
}

enum ts_err ts_queue_reject(struct ts_queue *queue, const struct ts_message *message, struct ts_error *error)
{
	if (queue->ops->reject)
		return queue->ops->reject(queue, message, error);
	return ts_queue_ack(queue, message, error);
}

enum ts_err ts_queue_nack(struct ts_queue *queue, const struct ts_message *message, int64_t delay_ms,
                          struct ts_error *error)
{
	assert(delay_ms >= 0);
	return queue->ops->nack(queue, message, delay_ms, error);
}

enum ts_err ts_queue_depth(struct ts_queue *queue, int64_t *out_depth, struct ts_error *error)
{
	return queue->ops->depth(queue, out_depth, error);
}

enum ts_err ts_queue_ping(struct ts_queue *queue, struct ts_error *error)
{
	return queue->ops->ping(queue, error);
}

void ts_queue_close(struct ts_queue *queue)
{
	if (queue)
		queue->ops->close(queue);
}
