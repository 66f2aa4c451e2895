// The contract on the embedded queue, and what it alone promises: leases to the millisecond, one message a job, messages
// that end with their job.
#include "queue_suite.h"

#include "queue/queue_store.h"
#include "store/store_ops.h"

#define QUEUE_LEASE INT64_C(10000)

static enum ts_err open_on_store(struct fixture *f, struct ts_queue **out, struct ts_error *error)
{
	struct ts_queue_store_options options = {.store = f->store, .lease_ms = QUEUE_LEASE};

	return ts_queue_store_open(&options, out, error);
}

static void lapse(struct fixture *f, struct ts_queue **queue)
{
	(void)queue;
	advance(f, QUEUE_LEASE);
}

static const struct queue_backend backend = {"queue_store", open_on_store, lapse, 0};

static void a_lease_holds_to_its_end(void **state)
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
	    QUEUE_SUITE,
	    store_test(a_lease_holds_to_its_end),
	    store_test(nack_gives_it_to_another_later),
	    store_test(publishing_twice_is_harmless),
	    store_test(messages_of_gone_jobs_go_too),
	    store_test(reap_leaves_mentioned_jobs_alone),
	    store_test(other_stores_are_refused),
	};

	return cmocka_run_group_tests_name(backend.name, tests, NULL, NULL);
}
