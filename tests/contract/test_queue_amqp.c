// The contract on a real RabbitMQ, and what this back end alone promises: priorities that don't starve each other, dead
// letters, TLS, clear words about what is wrong.
#include "queue_suite.h"
#include "rabbitmq.h"

static enum ts_err open_on_broker(struct fixture *f, struct ts_queue **out, struct ts_error *error)
{
	const struct ts_queue_amqp_options options = broker_options(f);

	return ts_queue_amqp_open(&options, out, error);
}

static void lapse(struct fixture *f, struct ts_queue **queue)
{
	(void)f;
	if (!queue)
		return;
	ts_queue_close(*queue);
	*queue = NULL;
}

static const struct queue_backend backend = {"queue_amqp", open_on_broker, lapse, PATIENCE_MS};

static void priorities_do_not_starve_each_other(void **state)
{
	enum { EACH = 60 };
	struct fixture *f = *state;
	struct ts_queue *queue = open_queue(f);
	struct ts_rng rng = ts_rng_seeded(20261124);
	struct ts_queue_item items[3 * EACH];
	int left[] = {EACH, EACH, EACH}, of[TS_PRIORITY_COUNT] = {0};
	struct ts_message message;
	size_t published;

	for (int i = 0; i < 3 * EACH;) {
		int priority = (int)(ts_rng_u64(&rng) % 3);
		if (!left[priority])
			continue;
		left[priority]--;
		items[i++] = (struct ts_queue_item){.job_id = name(priority), .priority = (enum ts_job_priority)priority};
	}
	ok(ts_queue_publish_many(queue, items, 3 * EACH, &published, &f->error));
	// While there are messages of each, a round of 13 has 8, 4 and 1.
	for (int i = 0; i < 13 * 7; i++) {
		ok(ts_queue_receive(queue, PATIENCE_MS, NULL, &message, &f->error));
		assert_string_equal(message.job_id, name((int)message.priority));
		of[message.priority]++;
		ok(ts_queue_ack(queue, &message, &f->error));
		if (i % 13 == 12) {
			assert_int_equal(of[TS_PRIORITY_HIGH], 8 * (i / 13 + 1));
			assert_int_equal(of[TS_PRIORITY_NORMAL], 4 * (i / 13 + 1));
			assert_int_equal(of[TS_PRIORITY_LOW], i / 13 + 1);
		}
	}
	// What is left of them loses nothing.
	for (int i = 13 * 7; i < 3 * EACH; i++) {
		ok(ts_queue_receive(queue, PATIENCE_MS, NULL, &message, &f->error));
		of[message.priority]++;
		ok(ts_queue_ack(queue, &message, &f->error));
	}
	for (int i = 0; i < TS_PRIORITY_COUNT; i++)
		assert_int_equal(of[i], EACH);
	expect_none(f, queue);
	ts_queue_close(queue);
}

static void a_message_that_always_kills_becomes_a_dead_letter(void **state)
{
	struct fixture *f = *state;
	struct ts_queue_amqp_options options = broker_options(f);
	struct ts_queue *queue;
	struct ts_message message;

	options.delivery_limit = 2;
	for (int i = 0; i <= 2; i++) {
		ok(ts_queue_amqp_open(&options, &queue, &f->error));
		if (i == 0)
			publish(f, queue, 0, TS_PRIORITY_NORMAL);
		expect(f, queue, 0, &message);
		ts_queue_close(queue); // without an ack
	}
	expect_dead(f, name(0));
	ok(ts_queue_amqp_open(&options, &queue, &f->error));
	expect_none(f, queue);
	ts_queue_close(queue);
}

static void rejected_messages_are_dead_letters(void **state)
{
	struct fixture *f = *state;
	struct ts_queue *queue = open_queue(f);
	struct ts_message message;

	publish(f, queue, 3, TS_PRIORITY_LOW);
	expect(f, queue, 3, &message);
	ok(ts_queue_reject(queue, &message, &f->error));
	expect_dead(f, name(3));
	ts_queue_close(queue);
}

static void foreign_messages_are_dead_letters(void **state)
{
	static const char *const texts[] = {"", "01935d7e-0000-7000-8000-00000000000", "{\"job\": 1}",
	                                    "01935d7e-0000-7000-8000-0000000000011"};
	struct fixture *f = *state;
	struct ts_queue *queue = open_queue(f);
	struct ts_message message;

	ok(ts_queue_ping(queue, &f->error)); // the queues are there
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
		raw_publish(f, texts[i]);
	publish(f, queue, 2, TS_PRIORITY_NORMAL);
	expect(f, queue, 2, &message);
	ok(ts_queue_ack(queue, &message, &f->error));
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
		expect_dead(f, texts[i]);
	ts_queue_close(queue);
}

static void no_message_is_held_back(void **state)
{
	struct fixture *f = *state;
	struct ts_queue *queue = open_queue(f);
	const struct ts_queue_item items[] = {
	    {name(0), TS_PRIORITY_HIGH}, {name(1), TS_PRIORITY_NORMAL}, {name(2), TS_PRIORITY_LOW}};
	struct receiver receiver;
	struct ts_message messages[2];
	size_t published;

	// The receiver waits at all three queues and takes one message; it comes back for no other.
	start_receiver(f, &receiver, NULL);
	ok(ts_queue_publish_many(queue, items, 3, &published, &f->error));
	pthread_join(receiver.thread, NULL);
	assert_int_equal(receiver.err, TS_OK);
	for (int i = 0; i < 2; i++) {
		ok(ts_queue_receive(queue, PATIENCE_MS, NULL, &messages[i], &f->error));
		assert_string_not_equal(messages[i].job_id, receiver.message.job_id);
		ok(ts_queue_ack(queue, &messages[i], &f->error));
	}
	assert_string_not_equal(messages[0].job_id, messages[1].job_id);
	ts_queue_close(receiver.queue);
	ts_queue_close(queue);
}

static void prefetch_bounds_what_is_held(void **state)
{
	struct fixture *f = *state;
	struct ts_queue_amqp_options options = broker_options(f);
	struct ts_message first, second, third;
	struct ts_queue *queue;

	options.prefetch = 2;
	ok(ts_queue_amqp_open(&options, &queue, &f->error));
	for (int i = 0; i < 3; i++)
		publish(f, queue, i, TS_PRIORITY_NORMAL);
	expect(f, queue, 0, &first);
	expect(f, queue, 1, &second);
	fails(TS_ERR_QUEUE, ts_queue_receive(queue, 0, NULL, &third, &f->error));
	ok(ts_queue_ack(queue, &first, &f->error));
	expect(f, queue, 2, &third);
	assert_int_equal(depth_of(f, queue), 2);
	ts_queue_close(queue);
}

static void a_delay_survives_the_receiver(void **state)
{
	struct fixture *f = *state;
	struct ts_queue *queue = open_queue(f), *other = open_queue(f);
	struct ts_message message;

	publish(f, queue, 5, TS_PRIORITY_HIGH);
	expect(f, queue, 5, &message);
	ok(ts_queue_nack(queue, &message, 300, &f->error));
	ok(ts_queue_nack(queue, &message, 300, &f->error)); // once more does no harm
	assert_int_equal(depth_of(f, other), 1);
	ts_queue_close(queue);
	expect(f, other, 5, &message);
	assert_int_equal(message.priority, TS_PRIORITY_HIGH);
	ok(ts_queue_ack(other, &message, &f->error));
	assert_int_equal(depth_of(f, other), 0);
	ts_queue_close(other);
}

// --- what is wrong is said ---

static void expect_refusal(struct fixture *f, const struct ts_queue_amqp_options *options, enum ts_err code,
                           const char *field, const char *part)
{
	struct ts_queue *queue;

	memset(&f->error, 0, sizeof f->error);
	fails(code, ts_queue_amqp_check(options, &f->error));
	assert_string_equal(f->error.field, field);
	if (!strstr(f->error.message, part))
		fail_msg("\"%s\" does not contain \"%s\"", f->error.message, part);
	assert_null(strstr(f->error.message, "swordfish"));
	// Calls say the same, as a queue that is away.
	ok(ts_queue_amqp_open(options, &queue, &f->error));
	for (int i = 0; i < 2; i++) {
		fails(TS_ERR_QUEUE, ts_queue_ping(queue, &f->error));
		assert_int_equal(f->error.code, TS_ERR_QUEUE);
		assert_non_null(strstr(f->error.message, part));
	}
	ts_queue_close(queue);
}

static void refused_logins_are_explained(void **state)
{
	struct fixture *f = *state;
	struct ts_queue_amqp_options options = broker_options(f);

	options.password = "swordfish";
	expect_refusal(f, &options, TS_ERR_INVALID, "RABBITMQ_USER", "ACCESS_REFUSED");
	options = broker_options(f);
	options.vhost = "elsewhere";
	expect_refusal(f, &options, TS_ERR_INVALID, "RABBITMQ_VHOST", "elsewhere");
}

static void a_different_queue_is_explained(void **state)
{
	struct fixture *f = *state;
	struct ts_queue_amqp_options options = broker_options(f);

	raw_declare(f, "classic", NULL);
	expect_refusal(f, &options, TS_ERR_SCHEMA, "RABBITMQ_QUEUE", "inequivalent arg 'x-dead-letter-exchange'");
	options = broker_options(f);
	options.queue = "ts-limits";
	ok(ts_queue_amqp_check(&options, &f->error));
	ok(ts_queue_amqp_check(&options, &f->error)); // again is fine
	options.delivery_limit = 7;
	expect_refusal(f, &options, TS_ERR_SCHEMA, "RABBITMQ_QUEUE", "x-delivery-limit");
}

static void names_have_a_ceiling(void **state)
{
	struct fixture *f = *state;
	struct ts_queue_amqp_options options = broker_options(f);
	char name_of[TS_QUEUE_AMQP_NAME_MAX + 2];
	struct ts_queue *queue;

	memset(name_of, 'n', sizeof name_of);
	name_of[TS_QUEUE_AMQP_NAME_MAX + 1] = '\0';
	options.queue = name_of;
	fails(TS_ERR_INVALID, ts_queue_amqp_open(&options, &queue, &f->error));
	options.queue = "";
	fails(TS_ERR_INVALID, ts_queue_amqp_open(&options, &queue, &f->error));
	name_of[TS_QUEUE_AMQP_NAME_MAX] = '\0';
	options.queue = name_of;
	ok(ts_queue_amqp_open(&options, &queue, &f->error));
	ok(ts_queue_ping(queue, &f->error));
	ts_queue_close(queue);
}

// --- TLS ---

static void tls_checks_whom_it_talks_to(void **state)
{
	struct fixture *f = *state;
	struct ts_queue_amqp_options options = broker_options(f);
	struct ts_queue *queue;
	struct ts_message message;
	struct receiver receiver;

	options.tls = true;
	options.host = "localhost";
	options.port = rabbitmq_server_tls_port(broker);
	options.ca_file = rabbitmq_server_ca_file(broker);
	ok(ts_queue_amqp_open(&options, &queue, &f->error));
	publish(f, queue, 1, TS_PRIORITY_NORMAL);
	expect(f, queue, 1, &message);
	ok(ts_queue_ack(queue, &message, &f->error));
	// Waiting sees what comes.
	receiver = (struct receiver){.f = f, .queue = queue};
	assert_int_equal(pthread_create(&receiver.thread, NULL, receive_one, &receiver), 0);
	struct ts_queue *plain = open_queue(f);
	publish(f, plain, 2, TS_PRIORITY_LOW);
	pthread_join(receiver.thread, NULL);
	assert_int_equal(receiver.err, TS_OK);
	assert_string_equal(receiver.message.job_id, name(2));
	ts_queue_close(plain);
	ts_queue_close(queue);

	options.ca_file = NULL; // the system's authorities don't know it
	expect_refusal(f, &options, TS_ERR_INVALID, "RABBITMQ_CA_FILE", "not trusted");
	options.ca_file = rabbitmq_server_ca_file(broker);
	options.host = "127.0.0.1"; // the library looks at names only, and this is none
	expect_refusal(f, &options, TS_ERR_INVALID, "RABBITMQ_CA_FILE", "not trusted");
	options.host = "localhost";
	options.ca_file = "/nonexistent/ca.pem";
	expect_refusal(f, &options, TS_ERR_INVALID, "RABBITMQ_CA_FILE", "/nonexistent/ca.pem");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    QUEUE_SUITE,
	    store_test(priorities_do_not_starve_each_other),
	    store_test(a_message_that_always_kills_becomes_a_dead_letter),
	    store_test(rejected_messages_are_dead_letters),
	    store_test(foreign_messages_are_dead_letters),
	    store_test(no_message_is_held_back),
	    store_test(prefetch_bounds_what_is_held),
	    store_test(a_delay_survives_the_receiver),
	    store_test(refused_logins_are_explained),
	    store_test(a_different_queue_is_explained),
	    store_test(names_have_a_ceiling),
	    store_test(tls_checks_whom_it_talks_to),
	};

	return cmocka_run_group_tests_name(backend.name, tests, broker_up, broker_down);
}
