// The operations of the queue on RabbitMQ. Fetching is basic.get, one message for one call: what a consumer with a
// prefetch holds back while its worker is busy, no other worker can take. Only when all queues are empty are consumers
// set up to wait, and taken back as soon as the first message comes.
#include "queue/queue_amqp.h"

#include "base/mem.h"
#include "queue/amqp_conn.h"
#include "queue/queue_ops.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define PREFETCH 64
// A message that came beside the one that was waited for goes back when nobody asks for it.
#define HOLD_MS 500
#define DELAY_MAX_MS 3600000

// Messages of each priority in a round, when all have some.
static const unsigned shares[TS_PRIORITY_COUNT] = {
    [TS_PRIORITY_HIGH] = 8, [TS_PRIORITY_NORMAL] = 4, [TS_PRIORITY_LOW] = 1};

// A message that was handed out. Tags of the channel die with it; ours do not repeat.
struct held {
	uint64_t tag, delivery_tag;
	enum ts_job_priority priority;
};

struct queue_amqp {
	struct ts_queue queue; // first
	struct ts_amqp amqp;
	unsigned credit[TS_PRIORITY_COUNT]; // left of the shares
	struct held *held;
	size_t held_count, prefetch;
	uint64_t last_tag;
	int wake_fd; // eventfd

	// The keeper: heartbeats while no call runs.
	pthread_mutex_t lock; // of all of the above but wake_fd
	pthread_cond_t changed;
	pthread_t keeper;
	bool stop;
	int64_t last_receive;
};

static struct queue_amqp *queue_amqp_of(struct ts_queue *queue)
{
	return (struct queue_amqp *)queue;
}

static int64_t now_ms(void)
{
	return ts_mono_ms(ts_clock_system());
}

static void drop(struct queue_amqp *self, const struct ts_error *why)
{
	ts_amqp_drop(&self->amqp, why);
	self->held_count = 0;
}

// --- calls ---

typedef enum ts_err step(struct queue_amqp *self, void *ctx, struct ts_error *error);

// Whatever the queue's trouble is, to callers it is away.
static enum ts_err as_queue(enum ts_err err, struct ts_error *error)
{
	switch ((int)err) {
	case TS_OK:
	case TS_ERR_TIMEOUT:
	case TS_ERR_ABORTED:
	case TS_ERR_NOMEM: return err;
	default:
		if (error)
			error->code = TS_ERR_QUEUE;
		return TS_ERR_QUEUE;
	}
}

// Runs a step on a connection. One that broke unseen since the last call is no reason to fail: a second try has a new
// connection.
static enum ts_err call(struct queue_amqp *self, step *run, void *ctx, struct ts_error *error)
{
	struct ts_error why = {0};
	enum ts_err err;
	bool fresh;

	pthread_mutex_lock(&self->lock);
	do {
		fresh = !self->amqp.state;
		err = ts_amqp_connect(&self->amqp, &why);
		if (err != TS_OK)
			break;
		err = run(self, ctx, &why);
		if (err == TS_OK || err == TS_ERR_TIMEOUT || err == TS_ERR_ABORTED || err == TS_ERR_BUSY)
			break;
		drop(self, &why);
	} while (!fresh);
	pthread_mutex_unlock(&self->lock);
	if (err != TS_OK && error)
		*error = why;
	return as_queue(err, error);
}

// --- publishing ---

struct batch {
	const struct ts_queue_item *items;
	size_t count, done; // done: durable, from the first on
	int64_t delay_ms;   // 0: at once
};

static bool all_confirmed(const struct ts_amqp *amqp)
{
	unsigned count = (unsigned)(amqp->published - amqp->batch_first + 1);
	uint64_t all = count == TS_AMQP_BATCH ? UINT64_MAX : (UINT64_C(1) << count) - 1;

	return amqp->blocked || amqp->returned || amqp->nacked || (amqp->acked & all) == all;
}

static enum ts_err blocked(const struct ts_amqp *amqp, struct ts_error *error)
{
	return ts_fail(error, TS_ERR_BUSY, "the broker takes no messages for now: %s", amqp->blocked_reason);
}

static enum ts_err publish_one(struct queue_amqp *self, const struct ts_queue_item *item, int64_t delay_ms,
                               struct ts_error *error)
{
	struct ts_amqp *amqp = &self->amqp;
	amqp_bytes_t id = amqp_cstring_bytes(item->job_id);
	char expiration[24];
	amqp_basic_properties_t properties = {
	    ._flags = AMQP_BASIC_DELIVERY_MODE_FLAG | AMQP_BASIC_CONTENT_TYPE_FLAG | AMQP_BASIC_MESSAGE_ID_FLAG,
	    .delivery_mode = AMQP_DELIVERY_PERSISTENT,
	    .content_type = amqp_cstring_bytes("text/plain"),
	    .message_id = id,
	};

	if (delay_ms > 0) {
		snprintf(expiration, sizeof expiration, "%lld", (long long)(delay_ms < DELAY_MAX_MS ? delay_ms : DELAY_MAX_MS));
		properties._flags |= AMQP_BASIC_EXPIRATION_FLAG;
		properties.expiration = amqp_cstring_bytes(expiration);
	}
	TS_TRY(ts_amqp_status(amqp_basic_publish(amqp->state, TS_AMQP_CHANNEL,
	                                         delay_ms > 0 ? amqp_cstring_bytes(amqp->retry) : amqp_empty_bytes,
	                                         amqp_cstring_bytes(amqp->queues[item->priority]), 1, 0, &properties, id),
	                      "publishing", error));
	amqp->published++;
	return TS_OK;
}

// At most TS_AMQP_BATCH.
static enum ts_err publish_some(struct queue_amqp *self, const struct ts_queue_item *items, size_t count,
                                int64_t delay_ms, size_t *out_done, struct ts_error *error)
{
	struct ts_amqp *amqp = &self->amqp;
	bool any = true;

	while (any) // the news: perhaps we are blocked, or not any more
		TS_TRY(ts_amqp_pump(amqp, 0, &any, error));
	if (amqp->blocked)
		return blocked(amqp, error);
	amqp->batch_first = amqp->published + 1;
	amqp->acked = amqp->nacked = 0;
	amqp->returned = false;
	for (size_t i = 0; i < count; i++)
		TS_TRY(publish_one(self, &items[i], delay_ms, error));
	enum ts_err err = ts_amqp_await(amqp, all_confirmed, "waiting for the confirms of messages", error);
	for (*out_done = 0; *out_done < count && amqp->acked & (UINT64_C(1) << *out_done) && !amqp->returned;)
		++*out_done;
	TS_TRY(err);
	if (*out_done == count)
		return TS_OK;
	if (amqp->returned) // a new connection declares the queues again
		return ts_fail(error, TS_ERR_QUEUE, "publishing: no queue takes the messages; it was deleted at the broker");
	return amqp->blocked ? blocked(amqp, error)
	                     : ts_fail(error, TS_ERR_QUEUE, "publishing: the broker could not store a message");
}

static enum ts_err publish_step(struct queue_amqp *self, void *ctx, struct ts_error *error)
{
	struct batch *batch = ctx;

	while (batch->done < batch->count) {
		size_t left = batch->count - batch->done, done = 0;
		enum ts_err err = publish_some(self, batch->items + batch->done, left < TS_AMQP_BATCH ? left : TS_AMQP_BATCH,
		                               batch->delay_ms, &done, error);
		batch->done += done;
		TS_TRY(err);
	}
	return TS_OK;
}

static enum ts_err publish_many(struct ts_queue *queue, const struct ts_queue_item *items, size_t count,
                                size_t *out_published, struct ts_error *error)
{
	struct batch batch = {.items = items, .count = count};
	enum ts_err err = call(queue_amqp_of(queue), publish_step, &batch, error);

	*out_published = batch.done;
	return err;
}

static enum ts_err publish(struct ts_queue *queue, const char *job_id, enum ts_job_priority priority,
                           struct ts_error *error)
{
	const struct ts_queue_item item = {.job_id = job_id, .priority = priority};
	size_t published;

	return publish_many(queue, &item, 1, &published, error);
}

// --- receiving ---

struct wait {
	int64_t end;
	const atomic_bool *stop;
	struct ts_message *out;
};

static bool got(const struct ts_amqp *amqp)
{
	return amqp->get_done;
}

// Asks one queue. *out_any: it had a message, be it a useless one.
static enum ts_err get(struct queue_amqp *self, enum ts_job_priority priority, bool *out_any, struct ts_error *error)
{
	struct ts_amqp *amqp = &self->amqp;
	amqp_basic_get_t m = {.queue = amqp_cstring_bytes(amqp->queues[priority])};

	amqp->getting = priority;
	amqp->get_done = false;
	amqp->incoming.tag = 0;
	TS_TRY(ts_amqp_status(amqp_send_method(amqp->state, TS_AMQP_CHANNEL, AMQP_BASIC_GET_METHOD, &m),
	                      "asking for a message", error));
	TS_TRY(ts_amqp_await(amqp, got, "asking for a message", error));
	*out_any = amqp->incoming.tag != 0;
	return TS_OK;
}

// Asks the queues in order of their priority as far as they have credit, then, with new credit, those that had none.
static enum ts_err get_fairly(struct queue_amqp *self, bool *out_any, struct ts_error *error)
{
	bool empty[TS_PRIORITY_COUNT] = {false};

	for (int pass = 0; pass < 2; pass++) {
		for (int i = 0; i < TS_PRIORITY_COUNT; i++) {
			if (empty[i] || !self->credit[i])
				continue;
			TS_TRY(get(self, (enum ts_job_priority)i, out_any, error));
			if (*out_any)
				return TS_OK;
			empty[i] = true;
		}
		memcpy(self->credit, shares, sizeof shares);
	}
	*out_any = false;
	return TS_OK;
}

static bool any_arrived(const struct queue_amqp *self)
{
	return self->amqp.arrived_count > 0;
}

// Hands out the most urgent message that has arrived.
static void hand_out(struct queue_amqp *self, struct ts_message *out)
{
	struct ts_amqp *amqp = &self->amqp;
	size_t best = 0;

	for (size_t i = 1; i < amqp->arrived_count; i++) {
		if (amqp->arrived[i].priority < amqp->arrived[best].priority)
			best = i;
	}
	const struct ts_amqp_delivery *delivery = &amqp->arrived[best];
	if (self->credit[delivery->priority])
		self->credit[delivery->priority]--;
	self->held[self->held_count++] =
	    (struct held){.tag = ++self->last_tag, .delivery_tag = delivery->tag, .priority = delivery->priority};
	*out = (struct ts_message){.tag = self->last_tag, .priority = delivery->priority};
	memcpy(out->job_id, delivery->job_id, sizeof out->job_id);
	amqp->arrived[best] = amqp->arrived[--amqp->arrived_count];
}

static bool all_consume(const struct ts_amqp *amqp)
{
	return amqp->consume_oks == TS_PRIORITY_COUNT;
}

static bool all_cancelled(const struct ts_amqp *amqp)
{
	return amqp->cancel_oks == TS_PRIORITY_COUNT;
}

static const char *const consumer_tags[TS_PRIORITY_COUNT] = {"0", "1", "2"};

static enum ts_err consume(struct queue_amqp *self, struct ts_error *error)
{
	struct ts_amqp *amqp = &self->amqp;

	amqp->consume_oks = 0;
	for (int i = 0; i < TS_PRIORITY_COUNT; i++) {
		amqp_basic_consume_t m = {.queue = amqp_cstring_bytes(amqp->queues[i]),
		                          .consumer_tag = amqp_cstring_bytes(consumer_tags[i])};
		TS_TRY(ts_amqp_status(amqp_send_method(amqp->state, TS_AMQP_CHANNEL, AMQP_BASIC_CONSUME_METHOD, &m),
		                      "waiting for messages", error));
	}
	return ts_amqp_await(amqp, all_consume, "waiting for messages", error);
}

// What is delivered before the broker's answer is in `arrived` afterwards.
static enum ts_err cancel(struct queue_amqp *self, struct ts_error *error)
{
	struct ts_amqp *amqp = &self->amqp;

	amqp->cancel_oks = 0;
	for (int i = 0; i < TS_PRIORITY_COUNT; i++) {
		amqp_basic_cancel_t m = {.consumer_tag = amqp_cstring_bytes(consumer_tags[i])};
		TS_TRY(ts_amqp_status(amqp_send_method(amqp->state, TS_AMQP_CHANNEL, AMQP_BASIC_CANCEL_METHOD, &m),
		                      "ending the wait for messages", error));
	}
	return ts_amqp_await(amqp, all_cancelled, "ending the wait for messages", error);
}

static bool stopped(const struct wait *wait)
{
	return wait->stop && atomic_load(wait->stop);
}

// A quarter of the heartbeat, so that none is late.
static int64_t tick_ms(const struct queue_amqp *self)
{
	return self->amqp.heartbeat_s * INT64_C(250);
}

// Waits for bytes from the broker or for a wake.
static enum ts_err await_bytes(struct queue_amqp *self, int64_t end, struct ts_error *error)
{
	struct pollfd fds[2] = {{.fd = amqp_get_sockfd(self->amqp.state), .events = POLLIN},
	                        {.fd = self->wake_fd, .events = POLLIN}};
	int64_t left = end - now_ms();
	uint64_t wakes;

	if (left > tick_ms(self))
		left = tick_ms(self);
	if (poll(fds, 2, left > 0 ? (int)left : 0) < 0 && errno != EINTR)
		return ts_fail_errno(error, TS_ERR_QUEUE, errno, "waiting for messages");
	if (fds[1].revents && read(self->wake_fd, &wakes, sizeof wakes) < 0 && errno != EAGAIN)
		return ts_fail_errno(error, TS_ERR_QUEUE, errno, "waiting for messages");
	return TS_OK;
}

static enum ts_err wait_for_delivery(struct queue_amqp *self, const struct wait *wait, struct ts_error *error)
{
	TS_TRY(consume(self, error));
	while (!any_arrived(self) && !stopped(wait) && now_ms() < wait->end) {
		bool any = true;
		while (any && !any_arrived(self))
			TS_TRY(ts_amqp_pump(&self->amqp, 0, &any, error));
		if (!any_arrived(self))
			TS_TRY(await_bytes(self, wait->end, error));
	}
	return cancel(self, error);
}

static enum ts_err receive_now(struct queue_amqp *self, const struct wait *wait, struct ts_error *error)
{
	bool any = false;

	if (self->held_count == self->prefetch)
		return ts_fail(error, TS_ERR_BUSY, "%zu messages of this handle are not acknowledged yet", self->prefetch);
	if (stopped(wait))
		return ts_fail(error, TS_ERR_ABORTED, "stopped waiting for a message");
	do { // past messages that are of no use
		if (!any_arrived(self))
			TS_TRY(get_fairly(self, &any, error));
	} while (any && !any_arrived(self));
	if (!any_arrived(self) && now_ms() < wait->end)
		TS_TRY(wait_for_delivery(self, wait, error));
	self->last_receive = now_ms();
	if (any_arrived(self)) {
		hand_out(self, wait->out);
		if (any_arrived(self))
			pthread_cond_signal(&self->changed); // the keeper watches what is left
		return TS_OK;
	}
	if (stopped(wait))
		return ts_fail(error, TS_ERR_ABORTED, "stopped waiting for a message");
	return ts_fail(error, TS_ERR_TIMEOUT, "no message came");
}

static enum ts_err receive_step(struct queue_amqp *self, void *ctx, struct ts_error *error)
{
	const struct wait *wait = ctx;

	self->amqp.stop = wait->stop;
	enum ts_err err = receive_now(self, wait, error);
	self->amqp.stop = NULL;
	if (err != TS_ERR_QUEUE || !stopped(wait))
		return err;
	drop(self, error);
	return ts_fail(error, TS_ERR_ABORTED, "stopped waiting for a message");
}

static enum ts_err receive(struct ts_queue *queue, int64_t timeout_ms, const atomic_bool *stop, struct ts_message *out,
                           struct ts_error *error)
{
	struct wait wait = {.end = now_ms() + (timeout_ms > 0 ? timeout_ms : 0), .stop = stop, .out = out};

	return call(queue_amqp_of(queue), receive_step, &wait, error);
}

static void wake(struct ts_queue *queue)
{
	uint64_t one = 1;
	ssize_t written = write(queue_amqp_of(queue)->wake_fd, &one, sizeof one);

	(void)written; // fails only when a wake is pending already
}

// --- after receiving ---

// NULL: settled already, or its connection is gone and the broker delivers it again.
static struct held *find_held(struct queue_amqp *self, uint64_t tag)
{
	for (size_t i = 0; i < self->held_count; i++) {
		if (self->held[i].tag == tag)
			return &self->held[i];
	}
	return NULL;
}

enum settle { SETTLE_ACK, SETTLE_REQUEUE, SETTLE_DEAD };

static int send_settle(struct queue_amqp *self, uint64_t delivery_tag, enum settle how)
{
	amqp_connection_state_t state = self->amqp.state;

	return how == SETTLE_ACK ? amqp_basic_ack(state, TS_AMQP_CHANNEL, delivery_tag, 0)
	                         : amqp_basic_reject(state, TS_AMQP_CHANNEL, delivery_tag, how == SETTLE_REQUEUE);
}

// The broker does not answer these. When the connection breaks, the message comes again; no second try could help.
static enum ts_err settle(struct ts_queue *queue, const struct ts_message *message, enum settle how,
                          struct ts_error *error)
{
	struct queue_amqp *self = queue_amqp_of(queue);
	struct ts_error why = {0};
	enum ts_err err = TS_OK;

	pthread_mutex_lock(&self->lock);
	struct held *held = find_held(self, message->tag);
	if (held) {
		err = ts_amqp_status(send_settle(self, held->delivery_tag, how), "settling a message", &why);
		*held = self->held[--self->held_count];
		if (err != TS_OK)
			drop(self, &why);
	}
	pthread_mutex_unlock(&self->lock);
	if (err != TS_OK && error)
		*error = why;
	return as_queue(err, error);
}

static enum ts_err ack(struct ts_queue *queue, const struct ts_message *message, struct ts_error *error)
{
	return settle(queue, message, SETTLE_ACK, error);
}

static enum ts_err reject(struct ts_queue *queue, const struct ts_message *message, struct ts_error *error)
{
	return settle(queue, message, SETTLE_DEAD, error);
}

struct postponed {
	const struct ts_message *message;
	int64_t delay_ms;
};

// Confirmed in the waiting queue first, acknowledged then: a break between the two makes a duplicate, never a loss.
static enum ts_err postpone_step(struct queue_amqp *self, void *ctx, struct ts_error *error)
{
	const struct postponed *postponed = ctx;
	const struct ts_queue_item item = {.job_id = postponed->message->job_id, .priority = postponed->message->priority};
	struct held *held = find_held(self, postponed->message->tag);
	size_t done;

	if (!held)
		return TS_OK;
	TS_TRY(publish_some(self, &item, 1, postponed->delay_ms, &done, error));
	uint64_t delivery_tag = held->delivery_tag;
	*held = self->held[--self->held_count];
	return ts_amqp_status(send_settle(self, delivery_tag, SETTLE_ACK), "settling a message", error);
}

static enum ts_err nack(struct ts_queue *queue, const struct ts_message *message, int64_t delay_ms,
                        struct ts_error *error)
{
	struct postponed postponed = {.message = message, .delay_ms = delay_ms};

	return delay_ms > 0 ? call(queue_amqp_of(queue), postpone_step, &postponed, error)
	                    : settle(queue, message, SETTLE_REQUEUE, error);
}

// --- looking ---

static enum ts_err count_ready(struct queue_amqp *self, const char *name, int64_t *sum, struct ts_error *error)
{
	const amqp_queue_declare_ok_t *found =
	    amqp_queue_declare(self->amqp.state, TS_AMQP_CHANNEL, amqp_cstring_bytes(name), 1, 1, 0, 0, amqp_empty_table);

	TS_TRY(ts_amqp_last(&self->amqp, "asking for the number of messages", error));
	*sum += found->message_count;
	return TS_OK;
}

// The broker counts what is ready; of what is in flight we know our own.
static enum ts_err depth_step(struct queue_amqp *self, void *ctx, struct ts_error *error)
{
	int64_t sum = (int64_t)self->held_count + (int64_t)self->amqp.arrived_count;

	for (int i = 0; i < TS_PRIORITY_COUNT; i++)
		TS_TRY(count_ready(self, self->amqp.queues[i], &sum, error));
	TS_TRY(count_ready(self, self->amqp.retry, &sum, error));
	*(int64_t *)ctx = sum;
	return TS_OK;
}

static enum ts_err depth(struct ts_queue *queue, int64_t *out_depth, struct ts_error *error)
{
	return call(queue_amqp_of(queue), depth_step, out_depth, error);
}

static enum ts_err ping_step(struct queue_amqp *self, void *ctx, struct ts_error *error)
{
	int64_t sum = 0;

	(void)ctx;
	return count_ready(self, self->amqp.queues[TS_PRIORITY_NORMAL], &sum, error);
}

static enum ts_err ping(struct ts_queue *queue, struct ts_error *error)
{
	return call(queue_amqp_of(queue), ping_step, NULL, error);
}

// --- the keeper ---

// Gives back what came beside another message and was not asked for since.
static enum ts_err give_back(struct queue_amqp *self, struct ts_error *error)
{
	struct ts_amqp *amqp = &self->amqp;

	if (!any_arrived(self) || now_ms() - self->last_receive < HOLD_MS)
		return TS_OK;
	while (any_arrived(self)) {
		uint64_t tag = amqp->arrived[--amqp->arrived_count].tag;
		TS_TRY(ts_amqp_status(send_settle(self, tag, SETTLE_REQUEUE), "giving a message back", error));
	}
	return TS_OK;
}

static void keep(struct queue_amqp *self)
{
	struct ts_error why = {0};
	enum ts_err err = TS_OK;
	bool any = true;

	while (self->amqp.state && any && err == TS_OK)
		err = ts_amqp_pump(&self->amqp, 0, &any, &why);
	if (self->amqp.state && err == TS_OK)
		err = give_back(self, &why);
	if (err != TS_OK)
		drop(self, &why);
}

static void *keeper_main(void *arg)
{
	struct queue_amqp *self = arg;

	pthread_mutex_lock(&self->lock);
	while (!self->stop) {
		int64_t pause = any_arrived(self) && tick_ms(self) > HOLD_MS ? HOLD_MS : tick_ms(self);
		struct timespec until;
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_sec += pause / 1000;
		until.tv_nsec += pause % 1000 * 1000000;
		if (until.tv_nsec >= 1000000000) {
			until.tv_sec++;
			until.tv_nsec -= 1000000000;
		}
		if (pthread_cond_timedwait(&self->changed, &self->lock, &until) == ETIMEDOUT && !self->stop)
			keep(self);
	}
	pthread_mutex_unlock(&self->lock);
	return NULL;
}

// --- opening and closing ---

static void free_queue(struct queue_amqp *self)
{
	ts_amqp_finish(&self->amqp);
	if (self->wake_fd >= 0)
		close(self->wake_fd);
	ts_free(self->held);
	ts_free(self);
}

static void close_queue(struct ts_queue *queue)
{
	struct queue_amqp *self = queue_amqp_of(queue);

	pthread_mutex_lock(&self->lock);
	self->stop = true;
	pthread_cond_signal(&self->changed);
	pthread_mutex_unlock(&self->lock);
	pthread_join(self->keeper, NULL);
	pthread_cond_destroy(&self->changed);
	pthread_mutex_destroy(&self->lock);
	free_queue(self);
}

static const struct ts_queue_ops ops = {
    .name = "amqp",
    .publish = publish,
    .publish_many = publish_many,
    .receive = receive,
    .wake = wake,
    .ack = ack,
    .reject = reject,
    .nack = nack,
    .depth = depth,
    .ping = ping,
    .close = close_queue,
};

static enum ts_err start_keeper(struct queue_amqp *self, struct ts_error *error)
{
	pthread_condattr_t attributes;

	pthread_mutex_init(&self->lock, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&self->changed, &attributes);
	pthread_condattr_destroy(&attributes);
	int failed = pthread_create(&self->keeper, NULL, keeper_main, self);
	if (!failed)
		return TS_OK;
	pthread_cond_destroy(&self->changed);
	pthread_mutex_destroy(&self->lock);
	return ts_fail_errno(error, TS_ERR_INTERNAL, failed, "cannot start the thread of the queue's heartbeats");
}

static enum ts_err prepare(struct queue_amqp *self, const struct ts_queue_amqp_options *options, struct ts_error *error)
{
	TS_TRY(ts_amqp_init(&self->amqp, options, error));
	memcpy(self->credit, shares, sizeof shares);
	self->prefetch = options->prefetch ? options->prefetch : PREFETCH;
	self->held = ts_calloc(self->prefetch, sizeof *self->held);
	if (!self->held)
		return ts_fail_nomem(error);
	self->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (self->wake_fd < 0)
		return ts_fail_errno(error, TS_ERR_INTERNAL, errno, "cannot make an eventfd");
	return start_keeper(self, error);
}

enum ts_err ts_queue_amqp_open(const struct ts_queue_amqp_options *options, struct ts_queue **out,
                               struct ts_error *error)
{
	struct queue_amqp *self = ts_calloc(1, sizeof *self);

	if (!self)
		return ts_fail_nomem(error);
	ts_queue_init(&self->queue, &ops);
	self->wake_fd = -1;
	enum ts_err err = prepare(self, options, error);
	if (err != TS_OK) {
		free_queue(self);
		return err;
	}
	*out = &self->queue;
	return TS_OK;
}

enum ts_err ts_queue_amqp_check(const struct ts_queue_amqp_options *options, struct ts_error *error)
{
	struct ts_amqp *amqp = ts_calloc(1, sizeof *amqp);

	if (!amqp)
		return ts_fail_nomem(error);
	enum ts_err err = ts_amqp_init(amqp, options, error);
	if (err == TS_OK)
		err = ts_amqp_connect(amqp, error);
	ts_amqp_finish(amqp);
	ts_free(amqp);
	return err;
}
