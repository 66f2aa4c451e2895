// queue_amqp while the broker dies, the network breaks, hangs or is slow, and queues vanish: calls end in bounded time,
// nothing that was confirmed is lost, and the handle recovers by itself.
#include "rabbitmq.h"
#include "tcp_proxy.h"

#include <pthread.h>
#include <stdatomic.h>

#define LASTING_QUEUE "lasting"

static struct tcp_proxy *proxy;

static int proxied_setup(void **state)
{
	proxy = tcp_proxy_start(rabbitmq_server_port(broker));
	return fixture_setup(state);
}

static int proxied_teardown(void **state)
{
	tcp_proxy_stop(proxy);
	return fixture_teardown(state);
}

#define proxied_test(function) cmocka_unit_test_setup_teardown(function, proxied_setup, proxied_teardown)

static struct ts_queue *open_with(struct fixture *f, const struct ts_queue_amqp_options *options)
{
	struct ts_queue *queue = NULL;

	ok(ts_queue_amqp_open(options, &queue, &f->error));
	return queue;
}

static struct ts_queue_amqp_options proxied_options(const struct fixture *f)
{
	struct ts_queue_amqp_options options = broker_options(f);

	options.port = tcp_proxy_port(proxy);
	return options;
}

static const char *id_of(int number, char out[TS_UUID_SIZE])
{
	snprintf(out, TS_UUID_SIZE, "01935d7e-0000-7000-8000-%012d", number);
	return out;
}

static int number_of(const struct ts_message *message)
{
	return atoi(message->job_id + 24);
}

static enum ts_err publish_number(struct ts_queue *queue, int number, struct ts_error *error)
{
	char id[TS_UUID_SIZE];

	return ts_queue_publish(queue, id_of(number, id), (enum ts_job_priority)(number % TS_PRIORITY_COUNT), error);
}

// Until the broker is there again: each failed call is bounded and says what is wrong.
static void publish_at_last(struct fixture *f, struct ts_queue *queue, int number)
{
	int64_t end = ts_mono_ms(ts_clock_system()) + PATIENCE_MS;
	enum ts_err err;

	while ((err = publish_number(queue, number, &f->error)) != TS_OK) {
		assert_int_equal(err, TS_ERR_QUEUE);
		assert_true(f->error.message[0]);
		assert_true(ts_mono_ms(ts_clock_system()) < end);
	}
}

static void receive_at_last(struct fixture *f, struct ts_queue *queue, struct ts_message *out)
{
	int64_t end = ts_mono_ms(ts_clock_system()) + PATIENCE_MS;
	enum ts_err err;

	while ((err = ts_queue_receive(queue, PATIENCE_MS, NULL, out, &f->error)) != TS_OK) {
		assert_int_equal(err, TS_ERR_QUEUE);
		assert_true(ts_mono_ms(ts_clock_system()) < end);
	}
}

// --- the broker dies ---

struct traffic {
	const struct ts_queue_amqp_options *options;
	pthread_t publisher, receiver;
	pthread_mutex_t lock;
	pthread_cond_t stopped;
	atomic_bool stop;
	atomic_int confirmed; // numbers below this have been confirmed
	atomic_int received;  // messages
	unsigned char *acked; // by number
	bool went_wrong;
};

#define TRAFFIC_MAX 100000

// After a failure: until the traffic stops, or a moment.
static void rest(struct traffic *traffic)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += 50000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	pthread_mutex_lock(&traffic->lock);
	while (!atomic_load(&traffic->stop) && pthread_cond_timedwait(&traffic->stopped, &traffic->lock, &until) == 0)
		;
	pthread_mutex_unlock(&traffic->lock);
}

static void *publish_on(void *arg)
{
	struct traffic *traffic = arg;
	struct ts_error error;
	struct ts_queue *queue;

	if (ts_queue_amqp_open(traffic->options, &queue, &error) != TS_OK) {
		traffic->went_wrong = true;
		return NULL;
	}
	for (int number = 0; number < TRAFFIC_MAX && !atomic_load(&traffic->stop);) {
		if (publish_number(queue, number, &error) == TS_OK)
			atomic_store(&traffic->confirmed, ++number);
		else
			rest(traffic);
	}
	ts_queue_close(queue);
	return NULL;
}

static void *receive_on(void *arg)
{
	struct traffic *traffic = arg;
	struct ts_message message;
	struct ts_error error;
	struct ts_queue *queue;

	if (ts_queue_amqp_open(traffic->options, &queue, &error) != TS_OK) {
		traffic->went_wrong = true;
		return NULL;
	}
	while (!atomic_load(&traffic->stop)) {
		enum ts_err err = ts_queue_receive(queue, 1000, &traffic->stop, &message, &error);
		if (err == TS_ERR_QUEUE)
			rest(traffic);
		if (err != TS_OK)
			continue;
		if (ts_queue_ack(queue, &message, &error) == TS_OK)
			traffic->acked[number_of(&message)] = 1;
		atomic_fetch_add(&traffic->received, 1);
	}
	ts_queue_close(queue);
	return NULL;
}

// Waits for a number to grow: by a queue handle's own patience, so that nothing spins.
static void await_growth(struct fixture *f, atomic_int *number, int by)
{
	int from = atomic_load(number);
	int64_t end = ts_mono_ms(ts_clock_system()) + PATIENCE_MS;
	uint64_t seen = 0;

	while (atomic_load(number) < from + by) {
		assert_true(ts_mono_ms(ts_clock_system()) < end);
		ok(ts_store_wait_change(f->store, &seen, 20, NULL, &f->error));
	}
}

static void nothing_confirmed_is_lost_when_the_broker_dies(void **state)
{
	struct fixture *f = *state;
	struct ts_queue_amqp_options options = broker_options(f);
	struct traffic traffic = {.options = &options,
	                          .lock = PTHREAD_MUTEX_INITIALIZER,
	                          .stopped = PTHREAD_COND_INITIALIZER,
	                          .acked = calloc(TRAFFIC_MAX, 1)};
	struct ts_message message;

	assert_non_null(traffic.acked);
	options.queue = LASTING_QUEUE;
	options.timeout_ms = options.connect_timeout_ms = 5000; // a broker that has just come up may leave a question open
	assert_int_equal(pthread_create(&traffic.publisher, NULL, publish_on, &traffic), 0);
	assert_int_equal(pthread_create(&traffic.receiver, NULL, receive_on, &traffic), 0);
	await_growth(f, &traffic.confirmed, 20);
	await_growth(f, &traffic.received, 10);
	rabbitmq_server_kill(broker);
	rabbitmq_server_restart(broker);
	await_growth(f, &traffic.confirmed, 20);
	await_growth(f, &traffic.received, 10);
	pthread_mutex_lock(&traffic.lock);
	atomic_store(&traffic.stop, true);
	pthread_cond_broadcast(&traffic.stopped);
	pthread_mutex_unlock(&traffic.lock);
	pthread_join(traffic.publisher, NULL);
	pthread_join(traffic.receiver, NULL);
	assert_false(traffic.went_wrong);

	// What was not acknowledged is still there.
	struct ts_queue *queue = open_with(f, &options);
	while (ts_queue_receive(queue, 2000, NULL, &message, &f->error) == TS_OK) {
		traffic.acked[number_of(&message)] = 1;
		ok(ts_queue_ack(queue, &message, &f->error));
	}
	for (int i = 0; i < atomic_load(&traffic.confirmed); i++) {
		if (!traffic.acked[i])
			fail_msg("message %d of %d was confirmed and is lost", i, atomic_load(&traffic.confirmed));
	}
	ts_queue_close(queue);
	free(traffic.acked);
}

static void calls_fail_while_nobody_answers(void **state)
{
	struct fixture *f = *state;
	struct ts_queue_amqp_options options = proxied_options(f);
	struct ts_queue *queue = open_with(f, &options);
	struct ts_message message;
	int64_t depth = 77;

	tcp_proxy_set(proxy, TCP_PROXY_REFUSE);
	int64_t begun = ts_mono_ms(ts_clock_system());
	fails(TS_ERR_QUEUE, ts_queue_amqp_check(&options, &f->error));
	fails(TS_ERR_QUEUE, publish_number(queue, 1, &f->error));
	fails(TS_ERR_QUEUE, ts_queue_receive(queue, PATIENCE_MS, NULL, &message, &f->error));
	fails(TS_ERR_QUEUE, ts_queue_depth(queue, &depth, &f->error));
	fails(TS_ERR_QUEUE, ts_queue_ping(queue, &f->error));
	assert_int_equal(depth, 77);
	assert_true(ts_mono_ms(ts_clock_system()) - begun < PATIENCE_MS / 2);
	// A pause lies between tries: a thousand calls are not a thousand connections.
	unsigned before = tcp_proxy_connections(proxy);
	for (int i = 0; i < 1000; i++)
		fails(TS_ERR_QUEUE, ts_queue_ping(queue, &f->error));
	assert_in_range(tcp_proxy_connections(proxy) - before, 0, 20);
	tcp_proxy_set(proxy, TCP_PROXY_PASS);
	publish_at_last(f, queue, 1);
	receive_at_last(f, queue, &message);
	ts_queue_close(queue);
}

// --- the network breaks ---

static void a_cut_between_calls_is_not_noticed(void **state)
{
	struct fixture *f = *state;
	struct ts_queue_amqp_options options = proxied_options(f);
	struct ts_queue *queue = open_with(f, &options);
	struct ts_message message;
	int64_t depth;

	ok(publish_number(queue, 1, &f->error));
	tcp_proxy_cut(proxy);
	ok(publish_number(queue, 2, &f->error));
	tcp_proxy_cut(proxy);
	ok(ts_queue_ping(queue, &f->error));
	tcp_proxy_cut(proxy);
	ok(ts_queue_depth(queue, &depth, &f->error));
	assert_int_equal(depth, 2);
	tcp_proxy_cut(proxy);
	ok(ts_queue_receive(queue, PATIENCE_MS, NULL, &message, &f->error));
	// Cut before the ack: the message is the broker's again, and the ack harms no other.
	tcp_proxy_cut(proxy);
	enum ts_err err = ts_queue_ack(queue, &message, &f->error);
	assert_true(err == TS_OK || err == TS_ERR_QUEUE);
	for (int i = 0; i < 2; i++) {
		receive_at_last(f, queue, &message);
		ok(ts_queue_ack(queue, &message, &f->error));
	}
	assert_int_equal(tcp_proxy_connections(proxy), 6);
	ts_queue_close(queue);
}

struct receiver {
	pthread_t thread;
	struct ts_queue *queue;
	struct ts_message message;
	atomic_bool stop;
	enum ts_err err;
	struct ts_error error;
};

static void *receive_one(void *arg)
{
	struct receiver *me = arg;

	me->err = ts_queue_receive(me->queue, PATIENCE_MS, &me->stop, &me->message, &me->error);
	return NULL;
}

static void a_wait_goes_on_after_a_cut(void **state)
{
	struct fixture *f = *state;
	struct ts_queue_amqp_options options = proxied_options(f), direct = broker_options(f);
	struct ts_queue *publisher = open_with(f, &direct);
	struct receiver receiver = {.queue = open_with(f, &options)};

	ok(ts_queue_ping(receiver.queue, &f->error));
	assert_int_equal(pthread_create(&receiver.thread, NULL, receive_one, &receiver), 0);
	for (int i = 0; i < 3; i++)
		tcp_proxy_cut(proxy);
	ok(publish_number(publisher, 4, &f->error));
	pthread_join(receiver.thread, NULL);
	// Cut while connecting is a failure; the next call finds the message.
	if (receiver.err != TS_OK) {
		assert_int_equal(receiver.err, TS_ERR_QUEUE);
		receive_at_last(f, receiver.queue, &receiver.message);
	}
	assert_int_equal(number_of(&receiver.message), 4);
	ts_queue_close(receiver.queue);
	ts_queue_close(publisher);
}

static void heartbeats_find_a_silent_network(void **state)
{
	struct fixture *f = *state;
	struct ts_queue_amqp_options options = proxied_options(f);
	struct receiver receiver = {0};

	options.heartbeat_ms = 1000;
	options.connect_timeout_ms = 1000;
	receiver.queue = open_with(f, &options);
	ok(ts_queue_ping(receiver.queue, &f->error));
	tcp_proxy_set(proxy, TCP_PROXY_HOLD);
	int64_t begun = ts_mono_ms(ts_clock_system());
	receive_one(&receiver);
	assert_int_equal(receiver.err, TS_ERR_QUEUE);
	assert_true(ts_mono_ms(ts_clock_system()) - begun < PATIENCE_MS / 2);
	tcp_proxy_set(proxy, TCP_PROXY_PASS);
	publish_at_last(f, receiver.queue, 3);
	receive_at_last(f, receiver.queue, &receiver.message);
	assert_int_equal(number_of(&receiver.message), 3);
	ts_queue_close(receiver.queue);
}

static void an_unused_handle_keeps_its_connection(void **state)
{
	struct fixture *f = *state;
	struct ts_queue_amqp_options options = proxied_options(f), direct = broker_options(f);
	struct ts_queue *queue, *other = open_with(f, &direct);
	struct ts_message message;

	options.heartbeat_ms = 1000;
	queue = open_with(f, &options);
	ok(ts_queue_ping(queue, &f->error));
	// Longer than the broker would bear silence.
	fails(TS_ERR_TIMEOUT, ts_queue_receive(other, 5000, NULL, &message, &f->error));
	ok(publish_number(queue, 1, &f->error));
	assert_int_equal(tcp_proxy_connections(proxy), 1);
	ts_queue_close(other);
	ts_queue_close(queue);
}

static void a_confirm_that_does_not_come_is_a_failure(void **state)
{
	struct fixture *f = *state;
	struct ts_queue_amqp_options options = proxied_options(f);
	struct ts_queue *queue;
	struct ts_message message;

	options.timeout_ms = 1000;
	options.connect_timeout_ms = 1000;
	queue = open_with(f, &options);
	ok(ts_queue_ping(queue, &f->error));
	tcp_proxy_set(proxy, TCP_PROXY_HOLD_ANSWERS);
	int64_t begun = ts_mono_ms(ts_clock_system());
	fails(TS_ERR_QUEUE, publish_number(queue, 9, &f->error));
	assert_true(ts_mono_ms(ts_clock_system()) - begun < PATIENCE_MS / 2);
	tcp_proxy_set(proxy, TCP_PROXY_PASS);
	// The broker may well have it: told twice is harmless, not told is not.
	publish_at_last(f, queue, 9);
	receive_at_last(f, queue, &message);
	assert_int_equal(number_of(&message), 9);
	ts_queue_close(queue);
}

static void a_slow_network_is_only_slow(void **state)
{
	struct fixture *f = *state;
	struct ts_queue_amqp_options options = proxied_options(f);
	struct ts_queue *queue = open_with(f, &options);
	struct ts_message message;

	tcp_proxy_delay(proxy, 15);
	for (int i = 0; i < 3; i++)
		ok(publish_number(queue, i * TS_PRIORITY_COUNT, &f->error));
	for (int i = 0; i < 3; i++) {
		ok(ts_queue_receive(queue, PATIENCE_MS, NULL, &message, &f->error));
		assert_int_equal(number_of(&message), i * TS_PRIORITY_COUNT);
		ok(ts_queue_ack(queue, &message, &f->error));
	}
	fails(TS_ERR_TIMEOUT, ts_queue_receive(queue, 100, NULL, &message, &f->error));
	assert_int_equal(tcp_proxy_connections(proxy), 1);
	ts_queue_close(queue);
}

static void stop_ends_a_wait_on_a_silent_network(void **state)
{
	struct fixture *f = *state;
	struct ts_queue_amqp_options options = proxied_options(f);
	struct receiver receiver = {0};

	receiver.queue = open_with(f, &options);
	ok(ts_queue_ping(receiver.queue, &f->error));
	assert_int_equal(pthread_create(&receiver.thread, NULL, receive_one, &receiver), 0);
	tcp_proxy_set(proxy, TCP_PROXY_HOLD);
	int64_t begun = ts_mono_ms(ts_clock_system());
	atomic_store(&receiver.stop, true);
	ts_queue_wake(receiver.queue);
	pthread_join(receiver.thread, NULL);
	assert_int_equal(receiver.err, TS_ERR_ABORTED);
	assert_true(ts_mono_ms(ts_clock_system()) - begun < 10000); // and not the 30 s of the options
	ts_queue_close(receiver.queue);
}

// --- the broker is there, but ---

static void a_broker_without_memory_is_told_from_a_dead_one(void **state)
{
	struct fixture *f = *state;
	struct ts_queue_amqp_options options = broker_options(f);
	struct ts_queue *queue = open_with(f, &options), *reader = open_with(f, &options);
	struct ts_message message;

	ok(publish_number(queue, 1, &f->error));
	ok(ts_queue_ping(reader, &f->error));
	rabbitmq_server_ctl(broker, "set_vm_memory_high_watermark", "absolute", "1MB", NULL);
	// The alarm rings a little later.
	enum ts_err err, again;
	int number = 2;
	while ((err = publish_number(queue, number, &f->error)) == TS_OK)
		number++;
	struct ts_error error = f->error;
	again = publish_number(queue, number, &f->error);
	enum ts_err received = ts_queue_receive(reader, PATIENCE_MS, NULL, &message, NULL); // work goes on
	rabbitmq_server_ctl(broker, "set_vm_memory_high_watermark", "absolute", "512MB", NULL);
	assert_int_equal(err, TS_ERR_QUEUE);
	assert_non_null(strstr(error.message, "takes no messages"));
	assert_int_equal(again, TS_ERR_QUEUE);
	assert_non_null(strstr(f->error.message, "takes no messages"));
	assert_int_equal(received, TS_OK);
	ok(ts_queue_ack(reader, &message, &f->error));
	publish_at_last(f, queue, number);
	ts_queue_close(reader);
	ts_queue_close(queue);
}

static void a_deleted_queue_is_declared_again(void **state)
{
	struct fixture *f = *state;
	struct ts_queue_amqp_options options = broker_options(f);
	struct ts_queue *queue = open_with(f, &options), *other = open_with(f, &options);
	struct receiver receiver = {.queue = other};
	struct ts_message message;

	ok(publish_number(queue, 1, &f->error)); // 1: normal
	raw_delete(f);
	publish_at_last(f, queue, 4); // a queue that has no leader yet may refuse
	ok(ts_queue_receive(queue, PATIENCE_MS, NULL, &message, &f->error));
	assert_int_equal(number_of(&message), 4);
	ok(ts_queue_ack(queue, &message, &f->error));
	// And under a waiting receiver.
	assert_int_equal(pthread_create(&receiver.thread, NULL, receive_one, &receiver), 0);
	raw_delete(f);
	publish_at_last(f, queue, 7);
	pthread_join(receiver.thread, NULL);
	if (receiver.err != TS_OK)
		receive_at_last(f, other, &receiver.message);
	assert_int_equal(number_of(&receiver.message), 7);
	ts_queue_close(other);
	ts_queue_close(queue);
}

// The queues that survive the broker are declared first and used last: what RabbitMQ 3.10 knows of a queue that is only
// moments old may not be on the disk yet when it is killed, and such a queue never answers again.
static int broker_with_queues_up(void **state)
{
	const struct fixture none = {.dir = "/"};
	struct ts_error error = {0};

	broker_up(state);
	struct ts_queue_amqp_options options = broker_options(&none);
	options.queue = LASTING_QUEUE;
	if (ts_queue_amqp_check(&options, &error) != TS_OK)
		fail_msg("the queues cannot be declared: %s", error.message);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    proxied_test(calls_fail_while_nobody_answers),
	    proxied_test(a_cut_between_calls_is_not_noticed),
	    proxied_test(a_wait_goes_on_after_a_cut),
	    proxied_test(heartbeats_find_a_silent_network),
	    proxied_test(an_unused_handle_keeps_its_connection),
	    proxied_test(a_confirm_that_does_not_come_is_a_failure),
	    proxied_test(a_slow_network_is_only_slow),
	    proxied_test(stop_ends_a_wait_on_a_silent_network),
	    proxied_test(a_broker_without_memory_is_told_from_a_dead_one),
	    proxied_test(a_deleted_queue_is_declared_again),
	    proxied_test(nothing_confirmed_is_lost_when_the_broker_dies),
	};

	return cmocka_run_group_tests_name("queue_amqp, faults", tests, broker_with_queues_up, broker_down);
}
