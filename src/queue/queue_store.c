// The queue beside the jobs: one row a job in the store's own database. A message in flight carries a lease; publishing its job
// again makes a new message, so that the end of the old one's handling does not remove the new mention.
#include "queue/queue_store.h"

#include "base/mem.h"
#include "queue/queue_ops.h"
#include "store/store_sql.h"

#define LEASE_MS 60000

struct queue_store {
	struct ts_queue queue; // first
	struct ts_store *store;
	struct ts_sql *sql;
	int64_t lease_ms;
};

static struct queue_store *queue_store_of(struct ts_queue *queue)
{
	return (struct queue_store *)queue;
}

// The store's troubles are the queue's.
static enum ts_err as_queue(enum ts_err err, struct ts_error *error)
{
	if (err != TS_ERR_STORE)
		return err;
	if (error)
		error->code = TS_ERR_QUEUE;
	return TS_ERR_QUEUE;
}

static enum ts_err publish_in(struct queue_store *self, const char *job_id, enum ts_job_priority priority,
                              struct ts_error *error)
{
	TS_AUTOTX struct ts_sql_tx tx = {0};

	TS_TRY(ts_sql_begin(self->sql, TS_TX_DURABLE, &tx, error));
	TS_TRY(TS_SQL(&tx, QUEUE_SUPERSEDE, NULL, NULL, NULL, error, TS_T(job_id), TS_I(tx.now)));
	TS_TRY(TS_SQL(&tx, QUEUE_PUBLISH, NULL, NULL, NULL, error, TS_T(job_id), TS_I(priority), TS_I(tx.now)));
	return ts_sql_commit(&tx, error);
}

static enum ts_err publish(struct ts_queue *queue, const char *job_id, enum ts_job_priority priority,
                           struct ts_error *error)
{
	return as_queue(publish_in(queue_store_of(queue), job_id, priority, error), error);
}

// --- receiving ---

static enum ts_err read_message(const struct ts_sql_row *row, void *ctx, struct ts_error *error)
{
	struct ts_message *message = ctx;

	(void)error;
	message->tag = (uint64_t)ts_sql_int(row, 0);
	ts_sql_uuid(row, 1, message->job_id);
	message->priority = (enum ts_job_priority)ts_sql_int(row, 2);
	return TS_OK;
}

// Without the write lock: whether a message is ready, else how long until one may be (0: none at all).
static enum ts_err look(struct queue_store *self, bool *out_ready, int64_t *out_in_ms, struct ts_error *error)
{
	TS_AUTOTX struct ts_sql_tx tx = {0};
	int64_t rows, next = 0;

	TS_TRY(ts_sql_begin(self->sql, TS_TX_READ, &tx, error));
	TS_TRY(TS_SQL(&tx, QUEUE_ANY, ts_sql_row_any, NULL, &rows, error, TS_I(tx.now)));
	*out_ready = rows > 0;
	if (rows == 0)
		TS_TRY(TS_SQL(&tx, QUEUE_NEXT, ts_sql_row_int, &next, NULL, error, TS_I(tx.now)));
	*out_in_ms = next > tx.now ? next - tx.now : 0;
	return ts_sql_commit(&tx, error);
}

static enum ts_err take(struct queue_store *self, struct ts_message *out, bool *out_taken, struct ts_error *error)
{
	TS_AUTOTX struct ts_sql_tx tx = {0};
	int64_t rows;

	TS_TRY(ts_sql_begin(self->sql, TS_TX_HINT, &tx, error));
	TS_TRY(TS_SQL(&tx, QUEUE_RECEIVE, read_message, out, &rows, error, TS_I(tx.now), TS_I(tx.now + self->lease_ms)));
	TS_TRY(ts_sql_commit(&tx, error));
	*out_taken = rows > 0;
	return TS_OK;
}

static enum ts_err receive_in(struct queue_store *self, int64_t timeout_ms, const atomic_bool *stop,
                              struct ts_message *out, struct ts_error *error)
{
	int64_t end = ts_mono_ms(ts_clock_system()) + (timeout_ms > 0 ? timeout_ms : 0);
	struct ts_message message = {0};
	uint64_t seen = 0;

	// What changed so far; a message published after this wakes the wait below.
	TS_TRY(ts_store_wait_change(self->store, &seen, 0, NULL, error));
	for (;;) {
		bool ready = false, taken = false;
		int64_t in_ms = 0;

		if (stop && atomic_load(stop))
			return ts_fail(error, TS_ERR_ABORTED, "stopped waiting for a message");
		TS_TRY(look(self, &ready, &in_ms, error));
		if (ready) {
			TS_TRY(take(self, &message, &taken, error));
			if (taken) {
				*out = message;
				return TS_OK;
			}
			continue; // another receiver was faster
		}
		int64_t left = end - ts_mono_ms(ts_clock_system());
		if (left <= 0)
			return ts_fail(error, TS_ERR_TIMEOUT, "no message came");
		if (in_ms > 0 && in_ms < left)
			left = in_ms;
		TS_TRY(ts_store_wait_change(self->store, &seen, left, stop, error));
	}
}

static enum ts_err receive(struct ts_queue *queue, int64_t timeout_ms, const atomic_bool *stop, struct ts_message *out,
                           struct ts_error *error)
{
	return as_queue(receive_in(queue_store_of(queue), timeout_ms, stop, out, error), error);
}

static void wake(struct ts_queue *queue)
{
	ts_store_wake(queue_store_of(queue)->store);
}

// --- after receiving ---

static enum ts_err ack_in(struct queue_store *self, const struct ts_message *message, struct ts_error *error)
{
	TS_AUTOTX struct ts_sql_tx tx = {0};

	TS_TRY(ts_sql_begin(self->sql, TS_TX_HINT, &tx, error));
	TS_TRY(TS_SQL(&tx, QUEUE_ACK, NULL, NULL, NULL, error, TS_I((int64_t)message->tag)));
	return ts_sql_commit(&tx, error);
}

static enum ts_err ack(struct ts_queue *queue, const struct ts_message *message, struct ts_error *error)
{
	return as_queue(ack_in(queue_store_of(queue), message, error), error);
}

static enum ts_err nack_in(struct queue_store *self, const struct ts_message *message, int64_t delay_ms,
                           struct ts_error *error)
{
	TS_AUTOTX struct ts_sql_tx tx = {0};

	TS_TRY(ts_sql_begin(self->sql, TS_TX_HINT, &tx, error));
	TS_TRY(TS_SQL(&tx, QUEUE_NACK, NULL, NULL, NULL, error, TS_I((int64_t)message->tag), TS_I(tx.now + delay_ms)));
	return ts_sql_commit(&tx, error);
}

static enum ts_err nack(struct ts_queue *queue, const struct ts_message *message, int64_t delay_ms,
                        struct ts_error *error)
{
	return as_queue(nack_in(queue_store_of(queue), message, delay_ms, error), error);
}

static enum ts_err depth_in(struct queue_store *self, int64_t *out_depth, struct ts_error *error)
{
	TS_AUTOTX struct ts_sql_tx tx = {0};
	int64_t depth = 0;

	TS_TRY(ts_sql_begin(self->sql, TS_TX_READ, &tx, error));
	TS_TRY(ts_sql_run(&tx, TS_SQL_QUEUE_DEPTH, NULL, 0, ts_sql_row_int, &depth, NULL, error));
	TS_TRY(ts_sql_commit(&tx, error));
	*out_depth = depth;
	return TS_OK;
}

static enum ts_err depth(struct ts_queue *queue, int64_t *out_depth, struct ts_error *error)
{
	return as_queue(depth_in(queue_store_of(queue), out_depth, error), error);
}

static enum ts_err ping(struct ts_queue *queue, struct ts_error *error)
{
	return as_queue(ts_store_ping(queue_store_of(queue)->store, error), error);
}

static void close_queue(struct ts_queue *queue)
{
	ts_free(queue_store_of(queue));
}

static const struct ts_queue_ops ops = {
    .name = "store",
    .publish = publish,
    .receive = receive,
    .wake = wake,
    .ack = ack,
    .nack = nack,
    .depth = depth,
    .ping = ping,
    .close = close_queue,
};

enum ts_err ts_queue_store_open(const struct ts_queue_store_options *options, struct ts_queue **out,
                                struct ts_error *error)
{
	struct ts_sql *sql = ts_sql_check(options->store);

	if (!sql)
		return ts_fail(error, TS_ERR_UNSUPPORTED, "the queue of rows needs a store that keeps rows");
	struct queue_store *self = ts_calloc(1, sizeof *self);
	if (!self)
		return ts_fail_nomem(error);
	ts_queue_init(&self->queue, &ops);
	self->store = options->store;
	self->sql = sql;
	self->lease_ms = options->lease_ms > 0 ? options->lease_ms : LEASE_MS;
	*out = &self->queue;
	return TS_OK;
}
