// What a back end of the queue implements. Only queue.c and the back ends include this.
#ifndef TS_QUEUE_QUEUE_OPS_H
#define TS_QUEUE_QUEUE_OPS_H

#include "queue/queue.h"

// Every member is mandatory (ts_queue_init asserts it) but the two that say so.
struct ts_queue_ops {
	const char *name;
	enum ts_err (*publish)(struct ts_queue *, const char *, enum ts_job_priority, struct ts_error *);
	// NULL: publish, one by one.
	enum ts_err (*publish_many)(struct ts_queue *, const struct ts_queue_item *, size_t, size_t *, struct ts_error *);
	enum ts_err (*receive)(struct ts_queue *, int64_t, const atomic_bool *, struct ts_message *, struct ts_error *);
	void (*wake)(struct ts_queue *);
	enum ts_err (*ack)(struct ts_queue *, const struct ts_message *, struct ts_error *);
	enum ts_err (*reject)(struct ts_queue *, const struct ts_message *, struct ts_error *); // NULL: ack
	enum ts_err (*nack)(struct ts_queue *, const struct ts_message *, int64_t, struct ts_error *);
	enum ts_err (*depth)(struct ts_queue *, int64_t *, struct ts_error *);
	enum ts_err (*ping)(struct ts_queue *, struct ts_error *);
	void (*close)(struct ts_queue *);
};

// First member of every back end's handle.
struct ts_queue {
	const struct ts_queue_ops *ops;
};

void ts_queue_init(struct ts_queue *queue, const struct ts_queue_ops *ops);

#endif
