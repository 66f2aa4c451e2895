// Contract of the queue: order, leases, duplicates, waiting, several receivers, other processes.
#include "process.h"

#include "queue/queue_store.h"
#include "store/store_ops.h"

#include <pthread.h>

#define QUEUE_LEASE INT64_C(10000)

struct queue_backend {
	const char *name;
	// A handle for the calling thread.
	enum ts_err (*open)(struct fixture *f, struct ts_queue **out, struct ts_error *error);
};

static enum ts_err open_on_store(struct fixture *f, struct ts_queue **out, struct ts_error *error)
{
	struct ts_queue_store_options options = {.store = f->store, .lease_ms = QUEUE_LEASE};

	return ts_queue_store_open(&options, out, error);
}

static const struct queue_backend backends[] = {{"queue_store", open_on_store}};
static const struct queue_backend *backend;

static struct ts_queue *open_queue(struct fixture *f)
{
	struct ts_queue *queue = NULL;

	ok(backend->open(f, &queue, &f->error));
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
	ok(ts_queue_receive(queue, 0, NULL, out, &f->error));
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

	publish(f, queue, 0, TS_PRIORITY_NORMAL);
	expect(f, queue, 0, &message);
	expect_none(f, other);
	advance(f, QUEUE_LEASE - 1);
	expect_none(f, other);
	advance(f, 1);
	expect(f, other, 0, &message);
	ok(ts_queue_ack(other, &message, &f->error));
	advance(f, QUEUE_LEASE);
	expect_none(f, queue);
	ts_queue_close(other);
	ts_queue_close(queue);
}

static void nack_gives_it_to_another_later(void **state)
{
	struct fixture *f = *state;
	struct ts_queue *queue = open_queue(f);
	struct ts_message message;

	publish(f, queue, 0, TS_PRIORITY_NORMAL);
	publish(f, queue, 1, TS_PRIORITY_NORMAL);
	expect(f, queue, 0, &message);
	ok(ts_queue_nack(queue, &message, 0, &f->error));
	expect(f, queue, 0, &message); // at once, at its old place
	ok(ts_queue_nack(queue, &message, 500, &f->error));
	expect(f, queue, 1, &message);
	ok(ts_queue_ack(queue, &message, &f->error));
	expect_none(f, queue);
	advance(f, 499);
	expect_none(f, queue);
	advance(f, 1);
	expect(f, queue, 0, &message);
	ts_queue_close(queue);
}

static void publishing_twice_is_harmless(void **state)
{
	struct fixture *f = *state;
	struct ts_queue *queue = open_queue(f);
	struct ts_message first, second;

	publish(f, queue, 0, TS_PRIORITY_NORMAL);
	publish(f, queue, 1, TS_PRIORITY_NORMAL);
	publish(f, queue, 0, TS_PRIORITY_NORMAL);
	expect(f, queue, 0, &first); // it keeps its place
	// Mentioned anew while in flight: the ack of the old message does not remove the new one.
	publish(f, queue, 0, TS_PRIORITY_NORMAL);
	ok(ts_queue_ack(queue, &first, &f->error));
	expect(f, queue, 1, &second);
	ok(ts_queue_ack(queue, &second, &f->error));
	expect(f, queue, 0, &second);
	ok(ts_queue_ack(queue, &second, &f->error));
	expect_none(f, queue);
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

static void messages_of_gone_jobs_go_too(void **state)
{
	struct fixture *f = *state;
	struct ts_queue *queue = open_queue(f);
	TS_AUTOJOB struct ts_job job;
	char id[TS_UUID_SIZE], other[TS_UUID_SIZE];

	ts_job_init(&job);
	submit_id(f, id);
	submit_id(f, other);
	ok(ts_queue_publish(queue, id, TS_PRIORITY_NORMAL, &f->error));
	ok(ts_queue_publish(queue, other, TS_PRIORITY_NORMAL, &f->error));
	ok(ts_store_delete(f->store, id, &f->error));
	assert_int_equal(depth_of(f, queue), 1);
	ok(ts_store_cancel(f->store, other, &job, &f->error));
	expect_none(f, queue);
	ts_queue_close(queue);
}

static void reap_leaves_mentioned_jobs_alone(void **state)
{
	struct fixture *f = *state;
	struct ts_queue *queue = open_queue(f);
	struct ts_outbox_item items[2];
	struct ts_message message;
	struct ts_reaped reaped;
	char id[TS_UUID_SIZE];
	size_t count;

	submit_id(f, id);
	ok(ts_store_outbox_claim(f->store, 1000, items, 2, &count, &f->error));
	assert_int_equal(count, 1);
	ok(ts_queue_publish(queue, items[0].job_id, items[0].priority, &f->error));
	ok(ts_store_outbox_done(f->store, items, count, &f->error));
	advance(f, 100000);
	ok(ts_store_reap(f->store, 1000, &reaped, &f->error));
	assert_int_equal(reaped.republished, 0); // a long backlog is no reason to say it twice
	ok(ts_queue_receive(queue, 0, NULL, &message, &f->error));
	ok(ts_queue_ack(queue, &message, &f->error)); // by a receiver that died before its claim
	ok(ts_store_reap(f->store, 1000, &reaped, &f->error));
	assert_int_equal(reaped.republished, 1);
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
	expect_none(f, queue);
	advance(f, QUEUE_LEASE);
	expect(f, queue, 0, &message);
	ts_queue_close(queue);
}

static void other_stores_are_refused(void **state)
{
	struct fixture *f = *state;
	struct ts_store foreign = {0};
	struct ts_queue_store_options options = {.store = &foreign};
	struct ts_queue *queue;

	fails(TS_ERR_UNSUPPORTED, ts_queue_store_open(&options, &queue, &f->error));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    store_test(priority_then_arrival),
	    store_test(message_carries_its_priority),
	    store_test(unacked_message_comes_again),
	    store_test(nack_gives_it_to_another_later),
	    store_test(publishing_twice_is_harmless),
	    store_test(publishing_ends_a_delay),
	    store_test(messages_of_gone_jobs_go_too),
	    store_test(reap_leaves_mentioned_jobs_alone),
	    store_test(publish_wakes_a_receiver),
	    store_test(stop_ends_the_wait),
	    store_test(quiet_receive_times_out),
	    store_test(delayed_message_ends_the_wait_when_due),
	    store_test(each_message_goes_to_one_receiver),
	    store_test(another_process_wakes_a_receiver),
	    store_test(message_of_a_killed_receiver_comes_again),
	    store_test(other_stores_are_refused),
	};
	int failures = 0;

	for (size_t i = 0; i < sizeof backends / sizeof backends[0]; i++) {
		backend = &backends[i];
		failures += cmocka_run_group_tests_name(backend->name, tests, NULL, NULL);
	}
	return failures;
}
