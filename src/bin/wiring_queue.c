// The queue of the configuration.
#include "bin/wiring_queue.h"

#include "queue/queue_amqp.h"
#include "queue/queue_store.h"

#include <stdio.h>
#include <unistd.h>

#define ORPHAN_AFTER_MS (30 * 60 * INT64_C(1000))

void ts_queue_wiring_init(struct ts_queue_wiring *wiring, const struct ts_program *program, struct ts_store *store,
                          unsigned prefetch)
{
	char host[65] = "localhost";

	if (gethostname(host, sizeof host - 1) != 0)
		snprintf(host, sizeof host, "localhost");
	host[sizeof host - 1] = '\0';
	*wiring = (struct ts_queue_wiring){.program = program, .store = store, .prefetch = prefetch};
	snprintf(wiring->client_name, sizeof wiring->client_name, "%.40s %s:%ld", program->name, host, (long)getpid());
}

static struct ts_queue_amqp_options amqp_options(const struct ts_queue_wiring *wiring)
{
	const struct ts_config *config = &wiring->program->config;

	return (struct ts_queue_amqp_options){
	    .host = config->rabbitmq_host,
	    .port = (uint16_t)config->rabbitmq_port,
	    .user = config->rabbitmq_user,
	    .password = config->rabbitmq_password,
	    .vhost = config->rabbitmq_vhost,
	    .queue = config->rabbitmq_queue,
	    .tls = config->rabbitmq_tls,
	    .ca_file = config->rabbitmq_ca_file,
	    .client_name = wiring->client_name,
	    .heartbeat_ms = config->rabbitmq_heartbeat_ms,
	    .connect_timeout_ms = config->rabbitmq_connect_timeout_ms,
	    .timeout_ms = config->rabbitmq_timeout_ms,
	    .prefetch = wiring->prefetch,
	    .log = wiring->program->log,
	};
}

static bool has_broker(const struct ts_config *config)
{
	return *config->rabbitmq_host != '\0';
}

enum ts_err ts_wiring_queue(void *ctx, struct ts_queue **out, struct ts_error *error)
{
	const struct ts_queue_wiring *wiring = ctx;

	if (has_broker(&wiring->program->config)) {
		const struct ts_queue_amqp_options options = amqp_options(wiring);
		return ts_queue_amqp_open(&options, out, error);
	}
	const struct ts_queue_store_options options = {.store = wiring->store};
	return ts_queue_store_open(&options, out, error);
}

enum ts_err ts_wiring_queue_check(const struct ts_queue_wiring *wiring, struct ts_error *error)
{
	struct ts_error why = {0};

	if (!has_broker(&wiring->program->config))
		return TS_OK;
	const struct ts_queue_amqp_options options = amqp_options(wiring);
	enum ts_err err = ts_queue_amqp_check(&options, &why);
	if (err == TS_ERR_QUEUE) {
		ts_log_warn(&wiring->program->log, "the queue is not available yet", TS_STR("reason", why.message));
		return TS_OK;
	}
	if (err != TS_OK && why.field[0])
		return ts_fail_field(error, err, why.field, "%s: %s", why.field, why.message);
	if (err != TS_OK)
		*error = why;
	return err;
}

int64_t ts_wiring_orphan_after_ms(const struct ts_config *config)
{
	return has_broker(config) ? ORPHAN_AFTER_MS : 0;
}
