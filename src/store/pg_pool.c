// Connections of the PostgreSQL store: how one is made, a bounded pool of them, and the server's errors as the store's.
// A server that cannot be reached is not asked again before a pause that grows; until then calls fail at once.
#include "base/mem.h"
#include "store/store_pg_internal.h"

#include <ctype.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONNECT_TIMEOUT_MS 5000
#define BACKOFF_FIRST_MS 20
#define BACKOFF_MAX_MS 1000

// --- what a connection is made with ---

static bool add(struct ts_pg_conninfo *conninfo, const char *name, const char *value)
{
	if (!value || !*value)
		return true;
	if (conninfo->count == TS_PG_PARAMETERS)
		abort(); // our own list is longer than the array
	conninfo->names[conninfo->count] = name;
	conninfo->values[conninfo->count] = ts_strdup(value);
	return conninfo->values[conninfo->count++] != NULL;
}

// libpq's own words about a bad URL repeat it, with its password.
static enum ts_err check_url(const struct ts_pg_address *address, struct ts_error *error)
{
	if (!address->url || !*address->url)
		return TS_OK;
	PQconninfoOption *options = PQconninfoParse(address->url, NULL);
	if (!options)
		return ts_fail_field(
		    error, TS_ERR_INVALID, "DATABASE_URL",
		    "DATABASE_URL: must be postgresql://USER:PASSWORD@HOST:PORT/DATABASE with libpq's parameters");
	PQconninfoFree(options);
	return TS_OK;
}

// libpq takes the last value of a name, and those of the URL count where it stands.
enum ts_err ts_pg_conninfo_init(struct ts_pg_conninfo *conninfo, const struct ts_pg_address *address,
                                struct ts_error *error)
{
	int64_t timeout_ms = address->connect_timeout_ms > 0 ? address->connect_timeout_ms : CONNECT_TIMEOUT_MS;
	char timeout[24];

	*conninfo = (struct ts_pg_conninfo){0};
	TS_TRY(check_url(address, error));
	snprintf(timeout, sizeof timeout, "%lld", (long long)((timeout_ms + 999) / 1000));
	bool added = add(conninfo, "fallback_application_name", "transcription") && add(conninfo, "host", address->host) &&
	             add(conninfo, "port", address->port) && add(conninfo, "user", address->user) &&
	             add(conninfo, "password", address->password) && add(conninfo, "sslmode", address->sslmode) &&
	             add(conninfo, "connect_timeout", timeout) &&
	             // A server that vanished without a word is noticed within half a minute.
	             add(conninfo, "keepalives", "1") && add(conninfo, "keepalives_idle", "10") &&
	             add(conninfo, "keepalives_interval", "5") && add(conninfo, "keepalives_count", "3") &&
	             add(conninfo, "tcp_user_timeout", "25000") &&
	             add(conninfo, "dbname", address->url && *address->url ? address->url : address->database) &&
	             add(conninfo, "client_encoding", "UTF8");
	if (!added) {
		ts_pg_conninfo_finish(conninfo);
		return ts_fail_nomem(error);
	}
	return TS_OK;
}

void ts_pg_conninfo_finish(struct ts_pg_conninfo *conninfo)
{
	for (int i = 0; i < conninfo->count; i++) {
		if (conninfo->values[i])
			explicit_bzero(conninfo->values[i], strlen(conninfo->values[i]));
		ts_free(conninfo->values[i]);
	}
	*conninfo = (struct ts_pg_conninfo){0};
}

static const char *said(const PQconninfoOption *options, const char *name, const char *otherwise)
{
	for (const PQconninfoOption *o = options; o && o->keyword; o++)
		if (strcmp(o->keyword, name) == 0 && o->val && *o->val)
			return o->val;
	return otherwise && *otherwise ? otherwise : "";
}

enum ts_err ts_pg_describe(const struct ts_pg_address *address, char **out, struct ts_error *error)
{
	TS_TRY(check_url(address, error));
	PQconninfoOption *options = address->url && *address->url ? PQconninfoParse(address->url, NULL) : NULL;
	const char *user = said(options, "user", address->user), *host = said(options, "host", address->host);
	const char *port = said(options, "port", address->port);
	*out = ts_asprintf("postgresql://%s%s%s%s%s/%s", user, *user ? "@" : "", host, *port ? ":" : "", port,
	                   said(options, "dbname", address->database));
	PQconninfoFree(options);
	return *out ? TS_OK : ts_fail_nomem(error);
}

// --- errors ---

void ts_pg_message(const char *message, char *out, size_t size)
{
	size_t n = 0;

	for (const char *c = message; *c && n + 1 < size; c++) {
		char next = isspace((unsigned char)*c) ? ' ' : *c;
		if (next != ' ' || (n > 0 && out[n - 1] != ' '))
			out[n++] = next;
	}
	while (n > 0 && out[n - 1] == ' ')
		n--;
	out[n] = '\0';
}

enum ts_err ts_pg_fail(PGconn *conn, const PGresult *result, const char *doing, struct ts_error *error)
{
	const char *state = result ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
	const char *primary = result ? PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY) : NULL;
	char message[TS_PG_MESSAGE_MAX];

	if (!result && PQstatus(conn) == CONNECTION_OK)
		return ts_fail_nomem(error);
	ts_pg_message(primary ? primary : PQerrorMessage(conn), message, sizeof message);
	// Undefined table, column, function or object: the schema is another one.
	if (state && (strcmp(state, "42P01") == 0 || strcmp(state, "42703") == 0 || strcmp(state, "42883") == 0))
		return ts_fail(error, TS_ERR_SCHEMA, "the store's schema does not fit this program (%s): %s", doing, message);
	if (state && strcmp(state, "55P03") == 0)
		return ts_fail(error, TS_ERR_STORE, "the store is locked by another process (%s): %s", doing, message);
	return ts_fail(error, TS_ERR_STORE, "the store failed (%s): %s", doing, message);
}

// --- the pool ---

// What the server has to say besides (a word too long for the index) is nobody's matter.
void ts_pg_ignore_notice(void *ctx, const PGresult *result)
{
	(void)ctx;
	(void)result;
}

enum ts_err ts_pg_conn_open(const struct ts_pg_conninfo *conninfo, struct ts_pg_conn **out, struct ts_error *error)
{
	struct ts_pg_conn *conn = ts_calloc(1, sizeof *conn);

	if (!conn)
		return ts_fail_nomem(error);
	conn->pg = PQconnectdbParams(conninfo->names, (const char *const *)conninfo->values, 1);
	if (!conn->pg) {
		ts_free(conn);
		return ts_fail_nomem(error);
	}
	if (PQstatus(conn->pg) != CONNECTION_OK) {
		char message[TS_PG_MESSAGE_MAX];
		ts_pg_message(PQerrorMessage(conn->pg), message, sizeof message);
		ts_pg_conn_close(conn);
		return ts_fail(error, TS_ERR_STORE, "cannot open the store: %s", message);
	}
	PQsetNoticeReceiver(conn->pg, ts_pg_ignore_notice, NULL);
	*out = conn;
	return TS_OK;
}

void ts_pg_conn_close(struct ts_pg_conn *conn)
{
	if (!conn)
		return;
	PQfinish(conn->pg);
	ts_free(conn);
}

// The server says goodbye on connections that nobody reads; a look tells without asking it.
static bool seems_alive(PGconn *conn)
{
	struct pollfd fd = {.fd = PQsocket(conn), .events = POLLIN};

	if (PQstatus(conn) != CONNECTION_OK || fd.fd < 0)
		return false;
	if (poll(&fd, 1, 0) == 0)
		return true;
	return PQconsumeInput(conn) == 1 && PQstatus(conn) == CONNECTION_OK && poll(&fd, 1, 0) == 0;
}

int64_t ts_pg_backoff_ms(struct ts_pg *pg, unsigned failures)
{
	int64_t pause = BACKOFF_FIRST_MS;

	for (unsigned i = 1; i < failures && pause < BACKOFF_MAX_MS; i++)
		pause *= 2;
	if (pause > BACKOFF_MAX_MS)
		pause = BACKOFF_MAX_MS;
	return pause / 2 + (int64_t)(ts_rng_u64(pg->sql.rng) % (uint64_t)(pause / 2 + 1));
}

// The caller counted it already.
static enum ts_err connect_one(struct ts_pg *pg, struct ts_pg_conn **out, struct ts_error *error)
{
	struct ts_error why = {0};

	enum ts_err err = ts_pg_conn_open(&pg->conninfo, out, &why);
	pthread_mutex_lock(&pg->pool_mutex);
	if (err == TS_OK) {
		pg->failures = 0;
	} else {
		pg->conn_count--;
		pthread_cond_signal(&pg->pool_cond);
		if (err == TS_ERR_STORE) {
			pg->failures++;
			pg->next_try_at = ts_mono_ms(ts_clock_system()) + ts_pg_backoff_ms(pg, pg->failures);
			snprintf(pg->last_failure, sizeof pg->last_failure, "%s", why.message);
		}
		if (error)
			*error = why;
	}
	pthread_mutex_unlock(&pg->pool_mutex);
	return err;
}

// Under pool_mutex: an idle connection (NULL: the caller makes a new one, which is counted), or why there is none.
static enum ts_err take_or_count(struct ts_pg *pg, struct ts_pg_conn **out, struct ts_error *error)
{
	int64_t end = ts_mono_ms(ts_clock_system()) + pg->pool_timeout_ms;

	while (!pg->idle && pg->conn_count == pg->pool_size) {
		int64_t left = end - ts_mono_ms(ts_clock_system());
		if (left <= 0)
			return ts_fail(error, TS_ERR_STORE, "all %u connections of the store were in use for %lld ms",
			               pg->pool_size, (long long)pg->pool_timeout_ms);
		ts_sql_cond_wait_ms(&pg->pool_cond, &pg->pool_mutex, left);
	}
	*out = pg->idle;
	if (*out) {
		pg->idle = (*out)->next;
		return TS_OK;
	}
	if (pg->failures > 0 && ts_mono_ms(ts_clock_system()) < pg->next_try_at)
		return ts_fail(error, TS_ERR_STORE, "%s", pg->last_failure);
	pg->conn_count++;
	return TS_OK;
}

enum ts_err ts_pg_take(struct ts_pg *pg, struct ts_pg_conn **out, bool *out_fresh, struct ts_error *error)
{
	struct ts_pg_conn *conn = NULL;

	for (;;) {
		pthread_mutex_lock(&pg->pool_mutex);
		enum ts_err err = take_or_count(pg, &conn, error);
		pthread_mutex_unlock(&pg->pool_mutex);
		TS_TRY(err);
		*out_fresh = conn == NULL;
		if (!conn)
			return connect_one(pg, out, error);
		if (seems_alive(conn->pg)) {
			*out = conn;
			return TS_OK;
		}
		ts_pg_give(pg, conn); // closes it
	}
}

void ts_pg_give(struct ts_pg *pg, struct ts_pg_conn *conn)
{
	bool good = PQstatus(conn->pg) == CONNECTION_OK && PQtransactionStatus(conn->pg) == PQTRANS_IDLE;

	if (!good)
		ts_pg_conn_close(conn);
	pthread_mutex_lock(&pg->pool_mutex);
	if (good) {
		conn->next = pg->idle;
		pg->idle = conn;
	} else {
		pg->conn_count--;
	}
	pthread_cond_signal(&pg->pool_cond);
	pthread_mutex_unlock(&pg->pool_mutex);
}

void ts_pg_drop_idle(struct ts_pg *pg)
{
	pthread_mutex_lock(&pg->pool_mutex);
	struct ts_pg_conn *dropped = pg->idle;
	pg->idle = NULL;
	for (struct ts_pg_conn *conn = dropped; conn; conn = conn->next)
		pg->conn_count--;
	pthread_cond_broadcast(&pg->pool_cond);
	pthread_mutex_unlock(&pg->pool_mutex);
	for (struct ts_pg_conn *next; dropped; dropped = next) {
		next = dropped->next;
		ts_pg_conn_close(dropped);
	}
}
