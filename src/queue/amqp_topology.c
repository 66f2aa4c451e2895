// The broker's side of the queue: NAME.high, NAME and NAME.low hold the messages; NAME.dead keeps those that were
// delivered too often or given up, for people; NAME.retry holds those that wait for their time. All are quorum queues.
// Declaring is idempotent: whoever connects declares all of it.
#include "queue/amqp_conn.h"

#include <stdio.h>
#include <string.h>

// Dead letters are looked at by people; the oldest go when nobody does.
#define DEAD_MAX 10000

void ts_amqp_name(struct ts_amqp *amqp, const char *queue)
{
	static const char *const suffix[TS_PRIORITY_COUNT] = {
	    [TS_PRIORITY_HIGH] = ".high", [TS_PRIORITY_NORMAL] = "", [TS_PRIORITY_LOW] = ".low"};

	for (int i = 0; i < TS_PRIORITY_COUNT; i++)
		snprintf(amqp->queues[i], sizeof amqp->queues[i], "%.*s%s", TS_QUEUE_AMQP_NAME_MAX, queue, suffix[i]);
	snprintf(amqp->dead, sizeof amqp->dead, "%.*s.dead", TS_QUEUE_AMQP_NAME_MAX, queue);
	snprintf(amqp->retry, sizeof amqp->retry, "%.*s.retry", TS_QUEUE_AMQP_NAME_MAX, queue);
}

static amqp_table_entry_t text_entry(const char *key, const char *text)
{
	amqp_table_entry_t entry = {.key = amqp_cstring_bytes(key)};

	entry.value.kind = AMQP_FIELD_KIND_UTF8;
	entry.value.value.bytes = amqp_cstring_bytes(text);
	return entry;
}

static amqp_table_entry_t number_entry(const char *key, int64_t number)
{
	amqp_table_entry_t entry = {.key = amqp_cstring_bytes(key)};

	entry.value.kind = AMQP_FIELD_KIND_I64;
	entry.value.value.i64 = number;
	return entry;
}

// The broker's refusal names the property that differs, and both values.
static enum ts_err refused(enum ts_err err, const char *name, struct ts_error *error)
{
	struct ts_error why;

	if (err != TS_ERR_SCHEMA || !error)
		return err;
	why = *error;
	return ts_fail_field(
	    error, TS_ERR_SCHEMA, "RABBITMQ_QUEUE",
	    "\"%.200s\" exists at the broker with other properties than the service needs; remove it there "
	    "or take another name (%.250s)",
	    name, why.message);
}

static enum ts_err declare_exchange(struct ts_amqp *amqp, const char *name, struct ts_error *error)
{
	amqp_exchange_declare(amqp->state, TS_AMQP_CHANNEL, amqp_cstring_bytes(name), amqp_cstring_bytes("fanout"), 0, 1, 0,
	                      0, amqp_empty_table);
	return refused(ts_amqp_last(amqp, "declaring an exchange", error), name, error);
}

static enum ts_err declare_queue(struct ts_amqp *amqp, const char *name, amqp_table_entry_t *entries, int count,
                                 struct ts_error *error)
{
	amqp_table_t arguments = {.num_entries = count, .entries = entries};

	amqp_queue_declare(amqp->state, TS_AMQP_CHANNEL, amqp_cstring_bytes(name), 0, 1, 0, 0, arguments);
	return refused(ts_amqp_last(amqp, "declaring a queue", error), name, error);
}

// An exchange and a queue of one name, bound.
static enum ts_err declare_side(struct ts_amqp *amqp, const char *name, amqp_table_entry_t *entries, int count,
                                struct ts_error *error)
{
	TS_TRY(declare_exchange(amqp, name, error));
	TS_TRY(declare_queue(amqp, name, entries, count, error));
	amqp_queue_bind(amqp->state, TS_AMQP_CHANNEL, amqp_cstring_bytes(name), amqp_cstring_bytes(name), amqp_empty_bytes,
	                amqp_empty_table);
	return ts_amqp_last(amqp, "binding a queue", error);
}

enum ts_err ts_amqp_declare(struct ts_amqp *amqp, struct ts_error *error)
{
	amqp_table_entry_t dead[] = {text_entry("x-queue-type", "quorum"), number_entry("x-max-length", DEAD_MAX)};
	// To the default exchange, by the name of the queue that the message was published for.
	amqp_table_entry_t retry[] = {text_entry("x-queue-type", "quorum"), text_entry("x-dead-letter-exchange", "")};
	amqp_table_entry_t work[] = {text_entry("x-queue-type", "quorum"), text_entry("x-dead-letter-exchange", amqp->dead),
	                             number_entry("x-delivery-limit", amqp->delivery_limit)};

	TS_TRY(declare_side(amqp, amqp->dead, dead, 2, error));
	TS_TRY(declare_side(amqp, amqp->retry, retry, 2, error));
	for (int i = 0; i < TS_PRIORITY_COUNT; i++)
		TS_TRY(declare_queue(amqp, amqp->queues[i], work, 3, error));
	return TS_OK;
}
