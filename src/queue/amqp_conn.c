// Connecting to the broker: TCP or TLS, login, channel, topology, and the pauses between tries that fail. Refuses to
// talk TLS without checking whom it talks to.
#include "queue/amqp_conn.h"

#include "base/mem.h"
#include "base/rng.h"

#include <amqp_ssl_socket.h>
#include <amqp_tcp_socket.h>
#include <openssl/ssl.h>

#include <stdio.h>
#include <string.h>
#include <sys/time.h>

#define PORT_PLAIN 5672
#define PORT_TLS 5671
#define HEARTBEAT_MS 30000
#define CONNECT_TIMEOUT_MS 5000
#define TIMEOUT_MS 10000
#define DELIVERY_LIMIT 20
#define BACKOFF_BASE_MS 200
#define BACKOFF_MAX_MS 15000
#define FAREWELL_MS 2000
#define FRAME_MAX 131072

static int64_t now_ms(void)
{
	return ts_mono_ms(ts_clock_system());
}

static struct timeval timeval_of(int64_t ms)
{
	return (struct timeval){.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
}

static int64_t or_default(int64_t value, int64_t fallback)
{
	return value > 0 ? value : fallback;
}

enum ts_err ts_amqp_init(struct ts_amqp *amqp, const struct ts_queue_amqp_options *options, struct ts_error *error)
{
	const char *queue = options->queue ? options->queue : "transcription_jobs";

	if (!*queue || strlen(queue) > TS_QUEUE_AMQP_NAME_MAX)
		return ts_fail_field(error, TS_ERR_INVALID, "RABBITMQ_QUEUE", "the queue's name must have 1 to %d bytes",
		                     TS_QUEUE_AMQP_NAME_MAX);
	if (!ts_str_set(&amqp->host, options->host) || !ts_str_set(&amqp->user, options->user) ||
	    !ts_str_set(&amqp->password, options->password) ||
	    !ts_str_set(&amqp->vhost, options->vhost ? options->vhost : "/") ||
	    !ts_str_set(&amqp->ca_file, options->ca_file) || !ts_str_set(&amqp->client_name, options->client_name))
		return ts_fail_nomem(error);
	amqp->tls = options->tls;
	amqp->port = options->port ? options->port : options->tls ? PORT_TLS : PORT_PLAIN;
	int64_t heartbeat_ms = or_default(options->heartbeat_ms, HEARTBEAT_MS);
	amqp->heartbeat_s = heartbeat_ms < 1000 ? 1 : (int)(heartbeat_ms / 1000);
	amqp->connect_timeout_ms = or_default(options->connect_timeout_ms, CONNECT_TIMEOUT_MS);
	amqp->timeout_ms = or_default(options->timeout_ms, TIMEOUT_MS);
	amqp->delivery_limit = options->delivery_limit ? options->delivery_limit : DELIVERY_LIMIT;
	amqp->log = options->log;
	ts_amqp_name(amqp, queue);
	return TS_OK;
}

static void forget_connection(struct ts_amqp *amqp)
{
	// Closes the socket. Its status says nothing that helps.
	amqp_destroy_connection(amqp->state);
	amqp->state = NULL;
	amqp->content = TS_AMQP_NO_CONTENT;
	amqp->arrived_count = 0;
	amqp->get_done = amqp->returned = amqp->blocked = false;
	amqp->consume_oks = amqp->cancel_oks = 0;
	amqp->published = amqp->batch_first = amqp->acked = amqp->nacked = 0;
}

void ts_amqp_drop(struct ts_amqp *amqp, const struct ts_error *why)
{
	if (!amqp->state)
		return;
	if (why)
		ts_log_warn(&amqp->log, "connection to the queue lost", TS_STR("host", amqp->host), TS_INT("port", amqp->port),
		            TS_STR("reason", why->message));
	forget_connection(amqp);
}

void ts_amqp_finish(struct ts_amqp *amqp)
{
	if (amqp->state) {
		struct timeval farewell = timeval_of(FAREWELL_MS);
		if (amqp_set_rpc_timeout(amqp->state, &farewell) == AMQP_STATUS_OK && !amqp->blocked)
			amqp_connection_close(amqp->state, AMQP_REPLY_SUCCESS);
		forget_connection(amqp);
	}
	ts_free(amqp->host);
	ts_free(amqp->user);
	ts_free(amqp->password);
	ts_free(amqp->vhost);
	ts_free(amqp->ca_file);
	ts_free(amqp->client_name);
}

// --- connecting ---

static enum ts_err make_tls(struct ts_amqp *amqp, amqp_socket_t **out, struct ts_error *error)
{
	amqp_socket_t *socket = amqp_ssl_socket_new(amqp->state);

	if (!socket)
		return ts_fail(error, TS_ERR_QUEUE, "cannot set up TLS");
	amqp_ssl_socket_set_verify_peer(socket, 1);
	amqp_ssl_socket_set_verify_hostname(socket, 1);
	if (amqp_ssl_socket_set_ssl_versions(socket, AMQP_TLSv1_2, AMQP_TLSvLATEST) != AMQP_STATUS_OK)
		return ts_fail(error, TS_ERR_QUEUE, "cannot set up TLS 1.2 or later");
	if (amqp->ca_file && *amqp->ca_file) {
		if (amqp_ssl_socket_set_cacert(socket, amqp->ca_file) != AMQP_STATUS_OK)
			return ts_fail_field(error, TS_ERR_INVALID, "RABBITMQ_CA_FILE",
			                     "cannot read certificates (PEM) from \"%.300s\"", amqp->ca_file);
	} else if (SSL_CTX_set_default_verify_paths(amqp_ssl_socket_get_context(socket)) != 1) {
		return ts_fail(error, TS_ERR_QUEUE, "cannot find the system's certificate authorities");
	}
	*out = socket;
	return TS_OK;
}

static enum ts_err open_socket(struct ts_amqp *amqp, struct ts_error *error)
{
	struct timeval timeout = timeval_of(amqp->connect_timeout_ms);
	amqp_socket_t *socket;

	if (amqp->tls) {
		TS_TRY(make_tls(amqp, &socket, error));
	} else {
		socket = amqp_tcp_socket_new(amqp->state);
		if (!socket)
			return ts_fail_nomem(error);
	}
	int status = amqp_socket_open_noblock(socket, amqp->host, amqp->port, &timeout);
	if (status == AMQP_STATUS_SSL_PEER_VERIFY_FAILED || status == AMQP_STATUS_SSL_HOSTNAME_VERIFY_FAILED)
		return ts_fail_field(error, TS_ERR_INVALID, "RABBITMQ_CA_FILE",
		                     "the certificate of the queue at %.200s:%u is not trusted: %s", amqp->host, amqp->port,
		                     amqp_error_string2(status));
	return ts_amqp_status(status, "connecting", error);
}

static amqp_table_entry_t can(const char *what)
{
	amqp_table_entry_t entry = {.key = amqp_cstring_bytes(what)};

	entry.value.kind = AMQP_FIELD_KIND_BOOLEAN;
	entry.value.value.boolean = 1;
	return entry;
}

static enum ts_err login(struct ts_amqp *amqp, struct ts_error *error)
{
	// The broker tells of these only to who says that it understands.
	amqp_table_entry_t abilities[] = {can("connection.blocked"), can("consumer_cancel_notify"), can("basic.nack")};
	amqp_table_entry_t entries[2] = {{.key = amqp_cstring_bytes("capabilities")},
	                                 {.key = amqp_cstring_bytes("connection_name")}};
	amqp_table_t properties = {.num_entries = amqp->client_name ? 2 : 1, .entries = entries};

	entries[0].value.kind = AMQP_FIELD_KIND_TABLE;
	entries[0].value.value.table = (amqp_table_t){.num_entries = 3, .entries = abilities};
	entries[1].value.kind = AMQP_FIELD_KIND_UTF8;
	entries[1].value.value.bytes = amqp_cstring_bytes(amqp->client_name ? amqp->client_name : "");
	amqp_rpc_reply_t reply = amqp_login_with_properties(
	    amqp->state, amqp->vhost, 0, FRAME_MAX, amqp->heartbeat_s, &properties, AMQP_SASL_METHOD_PLAIN,
	    amqp->user ? amqp->user : "", amqp->password ? amqp->password : "");
	return ts_amqp_reply(reply, "logging in", error);
}

static enum ts_err open_channel(struct ts_amqp *amqp, struct ts_error *error)
{
	amqp_channel_open(amqp->state, TS_AMQP_CHANNEL);
	TS_TRY(ts_amqp_last(amqp, "opening a channel", error));
	TS_TRY(ts_amqp_declare(amqp, error));
	// Of each waiting consumer; what is fetched otherwise is asked for one by one.
	amqp_basic_qos(amqp->state, TS_AMQP_CHANNEL, 0, 1, 0);
	TS_TRY(ts_amqp_last(amqp, "setting the prefetch", error));
	amqp_confirm_select(amqp->state, TS_AMQP_CHANNEL);
	return ts_amqp_last(amqp, "asking for confirms", error);
}

static enum ts_err try_connect(struct ts_amqp *amqp, struct ts_error *error)
{
	struct timeval handshake = timeval_of(amqp->connect_timeout_ms), rpc = timeval_of(amqp->timeout_ms);

	amqp->state = amqp_new_connection();
	if (!amqp->state)
		return ts_fail_nomem(error);
	if (amqp_set_handshake_timeout(amqp->state, &handshake) != AMQP_STATUS_OK ||
	    amqp_set_rpc_timeout(amqp->state, &rpc) != AMQP_STATUS_OK)
		return ts_fail(error, TS_ERR_INTERNAL, "cannot set the timeouts of the connection");
	TS_TRY(open_socket(amqp, error));
	TS_TRY(login(amqp, error));
	return open_channel(amqp, error);
}

// Half of the pause is left to chance, so that many clients of one broker do not come back all at once.
static int64_t pause_ms(unsigned failures)
{
	struct ts_rng rng = ts_rng_system();
	int64_t pause = BACKOFF_BASE_MS;

	for (unsigned i = 1; i < failures && pause < BACKOFF_MAX_MS; i++)
		pause *= 2;
	if (pause > BACKOFF_MAX_MS)
		pause = BACKOFF_MAX_MS;
	int64_t half = pause / 2;
	return half + (int64_t)(ts_rng_unit(&rng) * (double)half);
}

enum ts_err ts_amqp_connect(struct ts_amqp *amqp, struct ts_error *error)
{
	struct ts_error why = {0};

	if (amqp->state)
		return TS_OK;
	if (amqp->failures && now_ms() < amqp->next_try) {
		if (error)
			*error = amqp->reason;
		return amqp->reason.code;
	}
	enum ts_err err = try_connect(amqp, &why);
	if (err == TS_OK) {
		if (amqp->failures)
			ts_log_info(&amqp->log, "connected to the queue again", TS_STR("host", amqp->host),
			            TS_INT("port", amqp->port));
		amqp->failures = 0;
		return TS_OK;
	}
	ts_amqp_drop(amqp, NULL);
	amqp->failures++;
	amqp->next_try = now_ms() + pause_ms(amqp->failures);
	ts_fail(&amqp->reason, err, "the queue at %.200s:%u: %s", amqp->host, amqp->port, why.message);
	memcpy(amqp->reason.field, why.field, sizeof why.field);
	if (error)
		*error = amqp->reason;
	return err;
}
