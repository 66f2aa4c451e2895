// A list under one mutex. Descriptors are safe to use while it is held: libmicrohttpd says goodbye
// (MHD_CONNECTION_NOTIFY_CLOSED) before it closes one.
#include "api/conns.h"

#include "api/problem.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <pthread.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define LINGERERS_MAX 64
#define DISCARD_READS 64 // of one lingerer in one sweep
// No head that is merely slow is larger, and none that fills a connection's memory is smaller.
#define LARGE_HEAD 8192

struct ts_conn {
	int fd;
	enum ts_conn_state state;
	bool answered;    // by ts_conn_answer or ts_conn_refuse
	unsigned refused; // status of ts_conn_refuse
	int64_t deadline; // monotonic
	char *query;      // the connection's thread's
	pthread_t thread; // libmicrohttpd's, which reads it
	uint64_t taken;   // bytes that were read when the last request ended
	uint64_t moved;   // when it last changed its state, counted by ts_conns.moves
	struct ts_conn *next, *prev;
};

struct lingerer {
	int fd;
	int64_t deadline;
};

struct ts_conns {
	pthread_mutex_t mutex;
	const struct ts_clock *clock;
	int64_t head_timeout_ms;
	struct ts_conn *first;
	unsigned count;
	uint64_t moves;
	struct lingerer lingerers[LINGERERS_MAX];
	unsigned lingerer_count;
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
	for (unsigned i = 0; i < conns->lingerer_count; i++)
		close(conns->lingerers[i].fd);
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
	conn->thread = pthread_self();
	pthread_mutex_lock(&conns->mutex);
	conn->moved = ++conns->moves;
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

// What libmicrohttpd has read from the connection since it came.
static uint64_t bytes_read(int fd)
{
	struct tcp_info info = {0};
	socklen_t length = sizeof info;
	int waiting = 0;

	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) != 0 || ioctl(fd, FIONREAD, &waiting) != 0)
		return 0;
	return info.tcpi_bytes_received > (__u64)waiting ? info.tcpi_bytes_received - (__u64)waiting : 0;
}

bool ts_conn_enter(struct ts_conns *conns, struct ts_conn *conn, enum ts_conn_state state, int64_t timeout_ms)
{
	int64_t deadline = ts_mono_ms(conns->clock) + timeout_ms;
	uint64_t taken = state == TS_CONN_IDLE ? bytes_read(conn->fd) : conn->taken;

	pthread_mutex_lock(&conns->mutex);
	bool alive = conn->state != TS_CONN_CUT && !conn->answered;
	if (alive) {
		conn->state = state;
		conn->deadline = deadline;
		conn->moved = ++conns->moves;
		conn->taken = taken;
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

// The mutex is held.
static void answer(struct ts_conn *conn, const char *response, size_t length, int64_t deadline)
{
	send_all(conn->fd, response, length);
	shutdown(conn->fd, SHUT_WR);
	conn->answered = true;
	conn->state = TS_CONN_LINGER;
	conn->deadline = deadline;
}

void ts_conn_answer(struct ts_conns *conns, struct ts_conn *conn, const char *response, size_t length,
                    int64_t timeout_ms)
{
	int64_t deadline = ts_mono_ms(conns->clock) + timeout_ms;

	pthread_mutex_lock(&conns->mutex);
	if (conn->state != TS_CONN_CUT)
		answer(conn, response, length, deadline);
	pthread_mutex_unlock(&conns->mutex);
}

void ts_conn_refuse(struct ts_conns *conns, struct ts_conn *conn, unsigned status, const char *response,
                    int64_t linger_ms)
{
	int64_t deadline = ts_mono_ms(conns->clock) + linger_ms;

	pthread_mutex_lock(&conns->mutex);
	if (conn->state != TS_CONN_CUT && !conn->answered) {
		answer(conn, response, strlen(response), deadline);
		conn->refused = status;
		int fd = conns->lingerer_count < LINGERERS_MAX ? fcntl(conn->fd, F_DUPFD_CLOEXEC, 0) : -1;
		if (fd >= 0)
			conns->lingerers[conns->lingerer_count++] = (struct lingerer){.fd = fd, .deadline = deadline};
	}
	pthread_mutex_unlock(&conns->mutex);
}

unsigned ts_conn_refused(const struct ts_conn *conn)
{
	return conn->refused;
}

bool ts_conn_has_request(const struct ts_conn *conn)
{
	return conn->state == TS_CONN_BODY;
}

// --- whose request it is ---

// Connections of this thread that libmicrohttpd may be reading a request from.
struct suspects {
	struct ts_conn *only, *only_large;
	unsigned count, large;
};

static void suspect(struct suspects *suspects, struct ts_conn *conn, bool moved_last)
{
	// In the handler, or its answer is being sent: nothing is read from it.
	if (!conn->answered && (conn->state == TS_CONN_BUSY || conn->state == TS_CONN_LINGER))
		return;
	// Those may be meant too, but have had their answer.
	bool told = conn->answered || conn->state == TS_CONN_CUT;
	uint64_t read = told ? 0 : bytes_read(conn->fd);
	bool begun = told || conn->state != TS_CONN_IDLE || read > conn->taken;
	// What stood behind the end of a request was read with it, and is looked at as soon as that is answered.
	if (!begun && !moved_last)
		return;
	suspects->count++;
	suspects->only = told ? NULL : conn;
	if (!told && conn->state != TS_CONN_BODY && read - conn->taken > LARGE_HEAD) {
		suspects->large++;
		suspects->only_large = conn;
	}
}

struct ts_conn *ts_conns_at_fault(struct ts_conns *conns, bool large)
{
	struct suspects suspects = {0};
	const struct ts_conn *last = NULL;

	pthread_mutex_lock(&conns->mutex);
	for (const struct ts_conn *conn = conns->first; conn; conn = conn->next) {
		if (pthread_equal(conn->thread, pthread_self()) && (!last || conn->moved > last->moved))
			last = conn;
	}
	for (struct ts_conn *conn = conns->first; conn; conn = conn->next) {
		if (pthread_equal(conn->thread, pthread_self()))
			suspect(&suspects, conn, conn == last);
	}
	pthread_mutex_unlock(&conns->mutex);
	if (large && suspects.large == 1)
		return suspects.only_large;
	return suspects.count == 1 ? suspects.only : NULL;
}

// --- who is late ---

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

// Takes what the client still sends; false: it has ended, or there was enough patience.
static bool linger(const struct lingerer *lingerer, int64_t now)
{
	char scrap[16384];

	for (int i = 0; i < DISCARD_READS; i++) {
		ssize_t got = recv(lingerer->fd, scrap, sizeof scrap, MSG_DONTWAIT);
		if (got < 0 && (errno == EAGAIN || errno == EINTR))
			break;
		if (got <= 0)
			return false;
	}
	return now < lingerer->deadline;
}

static void sweep_lingerers(struct ts_conns *conns, int64_t now)
{
	for (unsigned i = conns->lingerer_count; i-- > 0;) {
		if (linger(&conns->lingerers[i], now))
			continue;
		close(conns->lingerers[i].fd);
		conns->lingerers[i] = conns->lingerers[--conns->lingerer_count];
	}
}

unsigned ts_conns_sweep(struct ts_conns *conns)
{
	int64_t now = ts_mono_ms(conns->clock);

	pthread_mutex_lock(&conns->mutex);
	for (struct ts_conn *conn = conns->first; conn; conn = conn->next) {
		if (conn->state != TS_CONN_BUSY && conn->state != TS_CONN_CUT && conn->deadline <= now)
			cut(conn);
	}
	sweep_lingerers(conns, now);
	unsigned count = conns->count + conns->lingerer_count;
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
