// What tests of queue_amqp share: the program's broker, a queue name of each test's own, and a bare client that does what
// the service would not.
#ifndef TESTS_SUPPORT_RABBITMQ_H
#define TESTS_SUPPORT_RABBITMQ_H

#include "rabbitmq_server.h"
#include "store_fixture.h"

#include "queue/queue_amqp.h"

#include <amqp.h>
#include <amqp_tcp_socket.h>
#include <libgen.h>

// How long a message may be on its way; far longer than it ever is.
#define PATIENCE_MS 60000

static struct rabbitmq_server *broker;

static inline int broker_up(void **state)
{
	(void)state;
	broker = rabbitmq_server_start();
	return 0;
}

static inline int broker_down(void **state)
{
	(void)state;
	rabbitmq_server_finish(broker);
	return 0;
}

// The fixture's folder has a name that no other test has.
static inline const char *queue_name(const struct fixture *f)
{
	return strrchr(f->dir, '/') + 1;
}

static inline struct ts_queue_amqp_options broker_options(const struct fixture *f)
{
	return (struct ts_queue_amqp_options){
	    .host = "127.0.0.1",
	    .port = rabbitmq_server_port(broker),
	    .user = RABBITMQ_USER,
	    .password = RABBITMQ_PASSWORD,
	    .queue = queue_name(f),
	    .client_name = "test",
	    .timeout_ms = 30000,
	    .connect_timeout_ms = 30000,
	};
}

// --- the bare client ---

static inline void raw_ok(amqp_connection_state_t state, const char *what)
{
	if (amqp_get_rpc_reply(state).reply_type != AMQP_RESPONSE_NORMAL)
		fail_msg("the bare client cannot %s", what);
}

static inline amqp_connection_state_t raw_open(void)
{
	amqp_connection_state_t state = amqp_new_connection();
	amqp_socket_t *socket = amqp_tcp_socket_new(state);

	assert_int_equal(AMQP_STATUS_OK, amqp_socket_open(socket, "127.0.0.1", rabbitmq_server_port(broker)));
	assert_int_equal(AMQP_RESPONSE_NORMAL, amqp_login(state, "/", 0, AMQP_DEFAULT_FRAME_SIZE, 0, AMQP_SASL_METHOD_PLAIN,
	                                                  RABBITMQ_USER, RABBITMQ_PASSWORD)
	                                           .reply_type);
	amqp_channel_open(state, 1);
	raw_ok(state, "open a channel");
	return state;
}

static inline void raw_close(amqp_connection_state_t state)
{
	amqp_connection_close(state, AMQP_REPLY_SUCCESS);
	amqp_destroy_connection(state);
}

// A queue of the test's name and a suffix, of another type.
static inline void raw_declare(const struct fixture *f, const char *type, const char *suffix)
{
	amqp_connection_state_t state = raw_open();
	amqp_table_entry_t entry = {.key = amqp_cstring_bytes("x-queue-type")};
	char full[160];

	entry.value.kind = AMQP_FIELD_KIND_UTF8;
	entry.value.value.bytes = amqp_cstring_bytes(type);
	snprintf(full, sizeof full, "%s%s", queue_name(f), suffix ? suffix : "");
	amqp_queue_declare(state, 1, amqp_cstring_bytes(full), 0, 1, 0, 0,
	                   (amqp_table_t){.num_entries = 1, .entries = &entry});
	raw_ok(state, "declare a queue");
	raw_close(state);
}

static inline void raw_delete(const struct fixture *f)
{
	amqp_connection_state_t state = raw_open();

	amqp_queue_delete(state, 1, amqp_cstring_bytes(queue_name(f)), 0, 0);
	raw_ok(state, "delete a queue");
	raw_close(state);
}

static inline void raw_publish(const struct fixture *f, const char *text)
{
	amqp_connection_state_t state = raw_open();

	assert_int_equal(AMQP_STATUS_OK, amqp_basic_publish(state, 1, amqp_empty_bytes, amqp_cstring_bytes(queue_name(f)),
	                                                    0, 0, NULL, amqp_cstring_bytes(text)));
	raw_close(state); // answered after the message has been taken
}

// Waits for the next dead letter, which must be this text.
static inline void expect_dead(const struct fixture *f, const char *text)
{
	amqp_connection_state_t state = raw_open();
	const struct timeval limit = {.tv_sec = PATIENCE_MS / 1000};
	amqp_envelope_t envelope;
	char full[160];

	snprintf(full, sizeof full, "%s.dead", queue_name(f));
	amqp_basic_qos(state, 1, 0, 1, 0);
	raw_ok(state, "set the prefetch");
	amqp_basic_consume(state, 1, amqp_cstring_bytes(full), amqp_empty_bytes, 0, 0, 0, amqp_empty_table);
	raw_ok(state, "consume dead letters");
	assert_int_equal(AMQP_RESPONSE_NORMAL, amqp_consume_message(state, &envelope, &limit, 0).reply_type);
	assert_int_equal(envelope.message.body.len, strlen(text));
	assert_memory_equal(envelope.message.body.bytes, text, strlen(text));
	assert_int_equal(AMQP_STATUS_OK, amqp_basic_ack(state, 1, envelope.delivery_tag, 0));
	amqp_destroy_envelope(&envelope);
	raw_close(state);
}

#endif
