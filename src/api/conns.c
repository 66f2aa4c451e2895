// A list under one mutex. Descriptors are safe to use while it is held: libmicrohttpd says goodbye
// (MHD_CONNECTION_NOTIFY_CLOSED) before it closes one.
#include "api/conns.h"

#include "api/problem.h"
#include "base/mem.h"

#include <pthread.h>
#include <string.h>
#include <sys/socket.h>

struct ts_conn {
	int fd;
	enum ts_conn_state state;
	int64_t deadline; // monotonic
	char *query;      // the connection's thread's
	struct ts_conn *next, *prev;
};

struct ts_conns {
	pthread_mutex_t mutex;
	const struct ts_clock *clock;
	int64_t head_timeout_ms;
	struct ts_conn *first;
	unsigned count;
};

enum ts_err ts_conns_create(const struct ts_clock *clock, int64_t head_timeout_ms, struct ts_conns **out,
                            struct ts_error *error)
{
	struct ts_conns *conns = ts_calloc(1, sizeof *conns);

	if (!conns)
		return ts_fail_nomem(error);
	pthread_mutex_init(&conns->mutex, NULL);
	conns->clock = clock;
	conns->head_timeout_ms = head_timeout_ms;
	*out = conns;
	return TS_OK;
}

void ts_conns_destroy(struct ts_conns *conns)
{
	if (!conns)
		return;
	pthread_mutex_destroy(&conns->mutex);
	ts_free(conns);
}

struct ts_conn *ts_conns_add(struct ts_conns *conns, int fd)
{
	struct ts_conn *conn = ts_calloc(1, sizeof *conn);

	if (!conn)
		return NULL;
	conn->fd = fd;
	conn->state = TS_CONN_IDLE;
	conn->deadline = ts_mono_ms(conns->clock) + conns->head_timeout_ms;
	pthread_mutex_lock(&conns->mutex);
	conn->next = conns->first;
	if (conns->first)
		conns->first->prev = conn;
	conns->first = conn;
	conns->count++;
	pthread_mutex_unlock(&conns->mutex);
	return conn;
}

void ts_conns_remove(struct ts_conns *conns, struct ts_conn *conn)
{
	if (!conn)
		return;
	pthread_mutex_lock(&conns->mutex);
	if (conn->prev)
		conn->prev->next = conn->next;
	else
		conns->first = conn->next;
	if (conn->next)
		conn->next->prev = conn->prev;
	conns->count--;
	pthread_mutex_unlock(&conns->mutex);
	ts_free(conn->query);
	ts_free(conn);
}

bool ts_conn_enter(struct ts_conns *conns, struct ts_conn *conn, enum ts_conn_state state, int64_t timeout_ms)
{
	int64_t deadline = ts_mono_ms(conns->clock) + timeout_ms;

	pthread_mutex_lock(&conns->mutex);
	bool alive = conn->state != TS_CONN_CUT;
	if (alive) {
		conn->state = state;
		conn->deadline = deadline;
	}
	pthread_mutex_unlock(&conns->mutex);
	return alive;
}

const char *ts_conn_query(const struct ts_conn *conn)
{
	return conn->query;
}

void ts_conn_begins(struct ts_conns *conns, struct ts_conn *conn, const char *target)
{
	const char *mark = strchr(target, '?');

	ts_free(conn->query);
	conn->query = ts_strdup(mark ? mark + 1 : "");
	ts_conn_enter(conns, conn, TS_CONN_HEAD, conns->head_timeout_ms);
}

bool ts_conn_is_cut(struct ts_conns *conns, struct ts_conn *conn)
{
	pthread_mutex_lock(&conns->mutex);
	bool cut = conn->state == TS_CONN_CUT;
	pthread_mutex_unlock(&conns->mutex);
	return cut;
}

// Best effort: the response fits the socket's buffer unless the client stopped reading, and then it wants no answer.
static void send_all(int fd, const char *text, size_t length)
{
	while (length > 0) {
		ssize_t sent = send(fd, text, length, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (sent <= 0)
			return;
		text += sent;
		length -= (size_t)sent;
	}
}

void ts_conn_answer(struct ts_conns *conns, struct ts_conn *conn, const char *response, size_t length,
                    int64_t timeout_ms)
{
	int64_t deadline = ts_mono_ms(conns->clock) + timeout_ms;

	pthread_mutex_lock(&conns->mutex);
	if (conn->state != TS_CONN_CUT) {
		send_all(conn->fd, response, length);
		shutdown(conn->fd, SHUT_WR);
		conn->state = TS_CONN_LINGER;
		conn->deadline = deadline;
	}
	pthread_mutex_unlock(&conns->mutex);
}

static void cut(struct ts_conn *conn)
{
	bool owes_answer = conn->state == TS_CONN_HEAD || conn->state == TS_CONN_BODY;

	if (owes_answer) {
		struct ts_problem problem;
		ts_problem_set(&problem, TS_PROBLEM_REQUEST_TIMEOUT, NULL, "the %s did not arrive in time",
		               conn->state == TS_CONN_HEAD ? "header" : "body");
		TS_AUTOFREE char *body = ts_problem_json(&problem, NULL, NULL);
		TS_AUTOFREE char *response =
		    body ? ts_conn_response(408, "Request Timeout", "application/problem+json", NULL, body) : NULL;
		if (response)
			send_all(conn->fd, response, strlen(response));
	}
	conn->state = TS_CONN_CUT;
	shutdown(conn->fd, SHUT_RDWR);
}

unsigned ts_conns_sweep(struct ts_conns *conns)
{
	int64_t now = ts_mono_ms(conns->clock);

	pthread_mutex_lock(&conns->mutex);
	for (struct ts_conn *conn = conns->first; conn; conn = conn->next) {
		if (conn->state != TS_CONN_BUSY && conn->state != TS_CONN_CUT && conn->deadline <= now)
			cut(conn);
	}
	unsigned count = conns->count;
	pthread_mutex_unlock(&conns->mutex);
	return count;
}

unsigned ts_conns_count(struct ts_conns *conns)
{
	pthread_mutex_lock(&conns->mutex);
	unsigned count = conns->count;
	pthread_mutex_unlock(&conns->mutex);
	return count;
}

char *ts_conn_response(unsigned status, const char *reason, const char *type, const char *request_id, const char *body)
{
	return ts_asprintf("HTTP/1.1 %u %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n%s%s%sConnection: close\r\n\r\n%s",
	                   status, reason, type, strlen(body), request_id ? "X-Request-Id: " : "",
	                   request_id ? request_id : "", request_id ? "\r\n" : "", body);
}
