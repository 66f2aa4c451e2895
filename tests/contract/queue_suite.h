// The contract of the queue, run by one program for each back end (test_queue.c, test_queue_amqp.c): order, duplicates,
// what is not acknowledged, waiting, several receivers, other processes.
#ifndef TS_TESTS_QUEUE_SUITE_H
#define TS_TESTS_QUEUE_SUITE_H

#include "process.h"

#include "queue/queue.h"

#include <pthread.h>

struct queue_backend {
	const char *name;
	// A handle for the calling thread.
	enum ts_err (*open)(struct fixture *f, struct ts_queue **out, struct ts_error *error);
	// Makes what this handle received and did not acknowledge come again, whatever that takes; it may close the
	// handle. NULL: of a receiver that has died.
	void (*lapse)(struct fixture *f, struct ts_queue **queue);
	// How long a message may be on its way.
	int64_t patience_ms;
};

// The program's.
static const struct queue_backend backend;

static struct ts_queue *open_queue(struct fixture *f)
{
	struct ts_queue *queue = NULL;

	ok(backend.open(f, &queue, &f->error));
	return queue;
}

// Identifiers of jobs the store need not know.
static const char *name(int i)
{
	static const char *const names[] = {"01935d7e-0000-7000-8000-000000000000", "01935d7e-0000-7000-8000-000000000001",
	                                    "01935d7e-0000-7000-8000-000000000002", "01935d7e-0000-7000-8000-000000000003",
	                                    "01935d7e-0000-7000-8000-000000000004", "01935d7e-0000-7000-8000-000000000005",
	                                    "01935d7e-0000-7000-8000-000000000006", "01935d7e-0000-7000-8000-000000000007"};

	assert_in_range(i, 0, 7);
	return names[i];
}

static void publish(struct fixture *f, struct ts_queue *queue, int i, enum ts_job_priority priority)
{
	ok(ts_queue_publish(queue, name(i), priority, &f->error));
}

static void expect(struct fixture *f, struct ts_queue *queue, int i, struct ts_message *out)
{
	ok(ts_queue_receive(queue, backend.patience_ms, NULL, out, &f->error));
	assert_string_equal(out->job_id, name(i));
}

static void expect_none(struct fixture *f, struct ts_queue *queue)
{
	struct ts_message message;

	fails(TS_ERR_TIMEOUT, ts_queue_receive(queue, 0, NULL, &message, &f->error));
}

static int64_t depth_of(struct fixture *f, struct ts_queue *queue)
{
	int64_t depth;

	ok(ts_queue_depth(queue, &depth, &f->error));
	return depth;
}

static void priority_then_arrival(void **state)
{
	struct fixture *f = *state;
	struct ts_queue *queue = open_queue(f);
	struct ts_message message;
	static const int expected[] = {1, 4, 0, 3, 2};

	publish(f, queue, 0, TS_PRIORITY_NORMAL);
	publish(f, queue, 1, TS_PRIORITY_HIGH);
	publish(f, queue, 2, TS_PRIORITY_LOW);
	publish(f, queue, 3, TS_PRIORITY_NORMAL);
	publish(f, queue, 4, TS_PRIORITY_HIGH);
	assert_int_equal(depth_of(f, queue), 5);
	for (int i = 0; i < 5; i++) {
		expect(f, queue, expected[i], &message);
		assert_int_equal(depth_of(f, queue), 5 - i);
		ok(ts_queue_ack(queue, &message, &f->error));
	}
	expect_none(f, queue);
	ok(ts_queue_ack(queue, &message, &f->error)); // once more does no harm
	assert_int_equal(depth_of(f, queue), 0);
	ok(ts_queue_ping(queue, &f->error));
	ts_queue_close(queue);
}

static void message_carries_its_priority(void **state)
{
	struct fixture *f = *state;
	struct ts_queue *queue = open_queue(f);
	struct ts_message message;

	publish(f, queue, 0, TS_PRIORITY_LOW);
	expect(f, queue, 0, &message);
	assert_int_equal(message.priority, TS_PRIORITY_LOW);
	ts_queue_close(queue);
}

static void unacked_message_comes_again(void **state)
{
	struct fixture *f = *state;
	struct ts_queue *queue = open_queue(f), *other = open_queue(f);
	struct ts_message message;

	publish(f, queue, 0, TS_PRIORITY_HIGH);
	expect(f, queue, 0, &message);
	expect_none(f, other);
	backend.lapse(f, &queue);
	expect(f, other, 0, &message);
	assert_int_equal(message.priority, TS_PRIORITY_HIGH);
	ok(ts_queue_ack(other, &message, &f->error));
	expect_none(f, other);
	assert_int_equal(depth_of(f, other), 0);
	ts_queue_close(other);
	ts_queue_close(queue);
}

static void nack_gives_it_to_another(void **state)
{
	struct fixture *f = *state;
	struct ts_queue *queue = open_queue(f), *other = open_queue(f);
	struct ts_message message;

	publish(f, queue, 0, TS_PRIORITY_LOW);
	publish(f, queue, 1, TS_PRIORITY_LOW);
	expect(f, queue, 0, &message);
	ok(ts_queue_nack(queue, &message, 0, &f->error));
	expect(f, other, 0, &message); // at its old place
	ok(ts_queue_ack(other, &message, &f->error));
	expect(f, other, 1, &message);
	ok(ts_queue_ack(other, &message, &f->error));
	expect_none(f, queue);
	ts_queue_close(other);
	ts_queue_close(queue);
}

static void publishing_ends_a_delay(void **state)
{
	struct fixture *f = *state;
	struct ts_queue *queue = open_queue(f);
	struct ts_message message;

	publish(f, queue, 0, TS_PRIORITY_NORMAL);
	expect(f, queue, 0, &message);
	ok(ts_queue_nack(queue, &message, 60000, &f->error));
	publish(f, queue, 0, TS_PRIORITY_NORMAL);
	expect(f, queue, 0, &message);
	ts_queue_close(queue);
}

static void many_are_published_at_once(void **state)
{
	enum { COUNT = 150 };
	struct fixture *f = *state;
	struct ts_queue *queue = open_queue(f);
	struct ts_queue_item items[COUNT];
	char ids[COUNT][TS_UUID_SIZE];
	struct ts_message message;
	size_t published = 77;

	for (int i = 0; i < COUNT; i++) {
		snprintf(ids[i], sizeof ids[i], "01935d7e-0000-7000-8000-%012d", i);
		items[i] = (struct ts_queue_item){.job_id = ids[i], .priority = TS_PRIORITY_NORMAL};
	}
	ok(ts_queue_publish_many(queue, items, 0, &published, &f->error));
	assert_int_equal(published, 0);
	ok(ts_queue_publish_many(queue, items, COUNT, &published, &f->error));
	assert_int_equal(published, COUNT);
	assert_int_equal(depth_of(f, queue), COUNT);
	for (int i = 0; i < COUNT; i++) {
		ok(ts_queue_receive(queue, backend.patience_ms, NULL, &message, &f->error));
		assert_string_equal(message.job_id, ids[i]); // in order
		ok(ts_queue_ack(queue, &message, &f->error));
	}
	expect_none(f, queue);
	ts_queue_close(queue);
}

static void rejected_message_does_not_come_again(void **state)
{
	struct fixture *f = *state;
	struct ts_queue *queue = open_queue(f);
	struct ts_message message;

	publish(f, queue, 0, TS_PRIORITY_NORMAL);
	expect(f, queue, 0, &message);
	ok(ts_queue_reject(queue, &message, &f->error));
	ok(ts_queue_reject(queue, &message, &f->error)); // once more does no harm
	expect_none(f, queue);
	assert_int_equal(depth_of(f, queue), 0);
	ts_queue_close(queue);
}

// --- waiting ---

struct receiver {
	struct fixture *f;
	const atomic_bool *stop;
	pthread_t thread;
	struct ts_queue *queue;
	struct ts_message message;
	enum ts_err err;
	int count;
};

static void *receive_one(void *arg)
{
	struct receiver *me = arg;
	struct ts_error error;

	me->err = ts_queue_receive(me->queue, 60000, me->stop, &me->message, &error);
	if (me->err == TS_OK)
		me->err = ts_queue_ack(me->queue, &me->message, &error);
	return NULL;
}

static void start_receiver(struct fixture *f, struct receiver *receiver, const atomic_bool *stop)
{
	*receiver = (struct receiver){.f = f, .stop = stop, .queue = open_queue(f)};
	assert_int_equal(pthread_create(&receiver->thread, NULL, receive_one, receiver), 0);
}

// The waits below are longer than the test may run: only a wake ends them.
static void publish_wakes_a_receiver(void **state)
{
	struct fixture *f = *state;
	struct ts_queue *queue = open_queue(f);
	struct receiver receiver;

	for (int i = 0; i < 5; i++) {
		start_receiver(f, &receiver, NULL);
		publish(f, queue, i, TS_PRIORITY_NORMAL);
		pthread_join(receiver.thread, NULL);
		assert_int_equal(receiver.err, TS_OK);
		assert_string_equal(receiver.message.job_id, name(i));
		ts_queue_close(receiver.queue);
	}
	ts_queue_close(queue);
}

static void stop_ends_the_wait(void **state)
{
	struct fixture *f = *state;
	atomic_bool stop = false;
	struct receiver receiver;
	struct ts_message message;

	start_receiver(f, &receiver, &stop);
	atomic_store(&stop, true);
	ts_queue_wake(receiver.queue);
	pthread_join(receiver.thread, NULL);
	assert_int_equal(receiver.err, TS_ERR_ABORTED);
	fails(TS_ERR_ABORTED, ts_queue_receive(receiver.queue, 60000, &stop, &message, &f->error));
	ts_queue_close(receiver.queue);
}

static void quiet_receive_times_out(void **state)
{
	struct fixture *f = *state;
	struct ts_queue *queue = open_queue(f);
	struct ts_message message = {.tag = 77};

	fails(TS_ERR_TIMEOUT, ts_queue_receive(queue, 20, NULL, &message, &f->error));
	assert_int_equal(message.tag, 77); // untouched
	ts_queue_close(queue);
}

static void delayed_message_ends_the_wait_when_due(void **state)
{
	struct fixture *f = *state;
	struct ts_queue *queue;
	struct ts_message message;

	close_store_of(f);
	f->use_clock = ts_clock_system(); // the wait is real, so the delay must be
	reopen_store(f);
	queue = open_queue(f);
	publish(f, queue, 0, TS_PRIORITY_NORMAL);
	expect(f, queue, 0, &message);
	ok(ts_queue_nack(queue, &message, 20, &f->error));
	ok(ts_queue_receive(queue, 60000, NULL, &message, &f->error));
	ts_queue_close(queue);
}

static void *receive_many(void *arg)
{
	struct receiver *me = arg;
	struct ts_message message;
	struct ts_error error;

	while ((me->err = ts_queue_receive(me->queue, 0, NULL, &message, &error)) == TS_OK) {
		me->count++;
		if (ts_queue_ack(me->queue, &message, &error) != TS_OK)
			return NULL;
	}
	return NULL;
}

static void each_message_goes_to_one_receiver(void **state)
{
	struct fixture *f = *state;
	struct ts_queue *queue = open_queue(f);
	struct receiver receivers[6];
	char id[TS_UUID_SIZE];
	int total = 0;

	for (int i = 0; i < 120; i++) {
		snprintf(id, sizeof id, "01935d7e-0000-7000-8000-%012d", i);
		ok(ts_queue_publish(queue, id, TS_PRIORITY_NORMAL, &f->error));
	}
	for (int i = 0; i < 6; i++) {
		receivers[i] = (struct receiver){.f = f, .queue = open_queue(f)};
		assert_int_equal(pthread_create(&receivers[i].thread, NULL, receive_many, &receivers[i]), 0);
	}
	for (int i = 0; i < 6; i++) {
		pthread_join(receivers[i].thread, NULL);
		assert_int_equal(receivers[i].err, TS_ERR_TIMEOUT);
		total += receivers[i].count;
		ts_queue_close(receivers[i].queue);
	}
	assert_int_equal(total, 120);
	assert_int_equal(depth_of(f, queue), 0);
	ts_queue_close(queue);
}

// --- another process ---

static int publish_when_told(struct fixture *f, int orders, int answers)
{
	struct ts_queue *queue;
	int i = 0;

	reopen_store(f);
	queue = open_queue(f);
	(void)answers;
	while (process_await_go(orders))
		publish(f, queue, i++, TS_PRIORITY_NORMAL);
	ts_queue_close(queue);
	return 0;
}

static void another_process_wakes_a_receiver(void **state)
{
	struct fixture *f = *state;
	struct receiver receiver;

	close_store_of(f);
	struct process process = process_fork(f, publish_when_told);
	reopen_store(f);
	for (int i = 0; i < 8; i++) {
		start_receiver(f, &receiver, NULL);
		process_go(&process);
		pthread_join(receiver.thread, NULL);
		assert_int_equal(receiver.err, TS_OK);
		assert_string_equal(receiver.message.job_id, name(i));
		ts_queue_close(receiver.queue);
	}
	process_close_orders(&process);
	assert_int_equal(process_end(&process), 0);
}

static int receive_and_hang(struct fixture *f, int orders, int answers)
{
	struct ts_queue *queue;
	struct ts_message message;

	reopen_store(f);
	queue = open_queue(f);
	expect(f, queue, 0, &message);
	if (!write_all(answers, "r", 1))
		return 1;
	process_await_go(orders); // until killed
	return 2;
}

static void message_of_a_killed_receiver_comes_again(void **state)
{
	struct fixture *f = *state;
	struct ts_queue *queue = open_queue(f);
	struct ts_message message;
	char c;

	publish(f, queue, 0, TS_PRIORITY_NORMAL);
	ts_queue_close(queue);
	close_store_of(f);
	struct process process = process_fork(f, receive_and_hang);
	assert_true(read_all(process.from, &c, 1));
	kill(process.pid, SIGKILL);
	assert_int_equal(process_end(&process), -SIGKILL);
	reopen_store(f);
	queue = open_queue(f);
	backend.lapse(f, NULL);
	expect(f, queue, 0, &message);
	ts_queue_close(queue);
}

#define QUEUE_SUITE                                                                                        \
	store_test(priority_then_arrival), store_test(message_carries_its_priority),                           \
	    store_test(unacked_message_comes_again), store_test(nack_gives_it_to_another),                     \
	    store_test(publishing_ends_a_delay), store_test(many_are_published_at_once),                       \
	    store_test(rejected_message_does_not_come_again), store_test(publish_wakes_a_receiver),            \
	    store_test(stop_ends_the_wait), store_test(quiet_receive_times_out),                               \
	    store_test(delayed_message_ends_the_wait_when_due), store_test(each_message_goes_to_one_receiver), \
	    store_test(another_process_wakes_a_receiver), store_test(message_of_a_killed_receiver_comes_again)

#endif
