// Waiting for changes of the PostgreSQL store. One thread a handle listens on a connection of its own; it also tells
// the other processes, once for all commits since the last time: a NOTIFY inside each transaction would make commits
// wait for each other. What nobody announced (a process killed right after its commit, a pgbouncer that swallows
// notifications) is found by comparing the server's snapshot every POLL_MS.
#include "base/mem.h"
#include "store/store_pg_internal.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define POLL_MS 250
#define CONNECT_MAX_MS 10000
#define CHANNEL "transcription_changed"

struct watcher {
	struct ts_pg *pg;
	PGconn *conn; // NULL: not connected
	unsigned failures;
	char snapshot[256];    // beginning of the text; "": not known
	uint64_t snapshot_sum; // of the whole of it
	int64_t look_at;       // monotonic ms: when the snapshot is compared next
};

// --- the thread's signals ---

static void signal_watcher(struct ts_pg *pg)
{
	uint64_t one = 1;
	ssize_t written;

	do
		written = write(pg->watch_event, &one, sizeof one);
	while (written < 0 && errno == EINTR);
}

// Waits for the socket (if `events`), the handle's wish or the time. *out_socket: the socket is ready.
static void pause_for(struct watcher *watcher, short events, int64_t ms, bool *out_socket)
{
	struct pollfd fds[] = {{.fd = watcher->pg->watch_event, .events = POLLIN},
	                       {.fd = events ? PQsocket(watcher->conn) : -1, .events = events}};
	uint64_t drained;

	int ready = poll(fds, 2, ms > 0 ? (int)ms : 0);
	if (ready > 0 && (fds[0].revents & POLLIN) && read(watcher->pg->watch_event, &drained, sizeof drained) < 0)
		ready = 0; // somebody's signal is a hint only
	*out_socket = ready > 0 && fds[1].revents != 0;
}

static bool is_stopped(struct ts_pg *pg)
{
	pthread_mutex_lock(&pg->sql.wait.mutex);
	bool stop = pg->watch_stop;
	pthread_mutex_unlock(&pg->sql.wait.mutex);
	return stop;
}

static bool take_announcement(struct ts_pg *pg)
{
	pthread_mutex_lock(&pg->sql.wait.mutex);
	bool announce = pg->to_announce;
	pg->to_announce = false;
	pthread_mutex_unlock(&pg->sql.wait.mutex);
	return announce;
}

// --- its connection ---

static void disconnect(struct watcher *watcher)
{
	PQfinish(watcher->conn);
	watcher->conn = NULL;
	watcher->snapshot[0] = '\0';
}

// As PQconnectdb, but ends when the handle is closed.
static bool connect_patiently(struct watcher *watcher)
{
	const struct ts_pg_conninfo *info = &watcher->pg->conninfo;
	int64_t end = ts_mono_ms(ts_clock_system()) + CONNECT_MAX_MS;
	PostgresPollingStatusType status = PGRES_POLLING_WRITING;

	watcher->conn = PQconnectStartParams(info->names, (const char *const *)info->values, 1);
	if (!watcher->conn || PQstatus(watcher->conn) == CONNECTION_BAD)
		return false;
	while (status != PGRES_POLLING_OK) {
		bool socket;
		int64_t left = end - ts_mono_ms(ts_clock_system());
		if (status == PGRES_POLLING_FAILED || left <= 0 || is_stopped(watcher->pg))
			return false;
		pause_for(watcher, status == PGRES_POLLING_READING ? POLLIN : POLLOUT, left, &socket);
		if (socket)
			status = PQconnectPoll(watcher->conn);
	}
	PQsetNoticeReceiver(watcher->conn, ts_pg_ignore_notice, NULL);
	return true;
}

static uint64_t sum_of(const char *text)
{
	uint64_t sum = 14695981039346656037u; // FNV-1a

	for (; *text; text++)
		sum = (sum ^ (unsigned char)*text) * 1099511628211u;
	return sum;
}

// *out_changed: something was committed since the look before.
static bool look(struct watcher *watcher, bool *out_changed)
{
	PGresult *result = PQexec(watcher->conn, ts_pg_statements[TS_SQL_DATA_VERSION]);
	bool good = PQresultStatus(result) == PGRES_TUPLES_OK;

	*out_changed = false;
	if (good) {
		const char *text = PQgetvalue(result, 0, 0);
		char beginning[sizeof watcher->snapshot];
		snprintf(beginning, sizeof beginning, "%s", text);
		*out_changed = watcher->snapshot_sum != sum_of(text) || strcmp(beginning, watcher->snapshot) != 0;
		memcpy(watcher->snapshot, beginning, sizeof beginning);
		watcher->snapshot_sum = sum_of(text);
	}
	PQclear(result);
	watcher->look_at = ts_mono_ms(ts_clock_system()) + POLL_MS;
	return good;
}

static bool listen_to_others(struct watcher *watcher)
{
	bool ignored;

	if (!connect_patiently(watcher) || ts_pg_simple(watcher->conn, "LISTEN " CHANNEL, "listen", NULL) != TS_OK)
		return false;
	return look(watcher, &ignored);
}

// --- its work ---

static bool take_notifications(struct watcher *watcher, bool *out_changed)
{
	PGnotify *notification;

	if (PQconsumeInput(watcher->conn) != 1)
		return false;
	while ((notification = PQnotifies(watcher->conn)) != NULL) {
		if (notification->be_pid != PQbackendPID(watcher->conn)) // ours was seen when it was committed
			*out_changed = true;
		PQfreemem(notification);
	}
	return PQstatus(watcher->conn) == CONNECTION_OK;
}

static bool work(struct watcher *watcher)
{
	bool socket, changed = false, seen = false;

	pause_for(watcher, POLLIN, watcher->look_at - ts_mono_ms(ts_clock_system()), &socket);
	if (take_announcement(watcher->pg) && ts_pg_simple(watcher->conn, "NOTIFY " CHANNEL, "notify", NULL) != TS_OK)
		return false;
	if (!take_notifications(watcher, &changed))
		return false;
	if (ts_mono_ms(ts_clock_system()) >= watcher->look_at && !look(watcher, &seen))
		return false;
	if (changed || seen)
		ts_sql_wait_seen(&watcher->pg->sql);
	return true;
}

static void connection_is_tried(struct ts_pg *pg)
{
	pthread_mutex_lock(&pg->sql.wait.mutex);
	pg->watch_tried = true;
	pg->sql.wait.generation++; // what happened before is nobody's to tell
	pthread_cond_broadcast(&pg->sql.wait.cond);
	pthread_mutex_unlock(&pg->sql.wait.mutex);
}

static void *watch(void *arg)
{
	struct ts_pg *pg = arg;
	struct watcher watcher = {.pg = pg};

	while (!is_stopped(pg)) {
		if (watcher.conn) {
			if (work(&watcher))
				continue;
			ts_log_warn(&pg->sql.log, "the connection that hears of changes is lost");
			disconnect(&watcher);
			connection_is_tried(pg); // who waits finds out for himself what is wrong
		} else if (listen_to_others(&watcher)) {
			watcher.failures = 0;
			connection_is_tried(pg);
		} else {
			bool ignored;
			disconnect(&watcher);
			if (!pg->watch_tried)
				connection_is_tried(pg);
			pause_for(&watcher, 0, ts_pg_backoff_ms(pg, ++watcher.failures), &ignored);
		}
	}
	disconnect(&watcher);
	return NULL;
}

// --- the handle's side ---

// Under wait.mutex.
static enum ts_err start(struct ts_pg *pg, struct ts_error *error)
{
	sigset_t all, before;

	pg->watch_event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (pg->watch_event < 0)
		return ts_fail_errno(error, TS_ERR_STORE, errno, "cannot watch the store");
	// The program's signals are its main thread's business.
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int rc = pthread_create(&pg->watch_thread, NULL, watch, pg);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (rc != 0) {
		close(pg->watch_event);
		return ts_fail_errno(error, TS_ERR_STORE, rc, "cannot start the store's watcher");
	}
	pg->watching = true;
	return TS_OK;
}

enum ts_err ts_pg_watch(struct ts_sql *sql, struct ts_error *error)
{
	struct ts_pg *pg = ts_pg_of(sql);

	if (!pg->watching)
		TS_TRY(start(pg, error));
	while (!pg->watch_tried)
		pthread_cond_wait(&sql->wait.cond, &sql->wait.mutex);
	return TS_OK;
}

void ts_pg_notify(struct ts_pg *pg)
{
	pthread_mutex_lock(&pg->sql.wait.mutex);
	pg->sql.wait.generation++;
	pthread_cond_broadcast(&pg->sql.wait.cond);
	pg->to_announce = true;
	bool started = pg->watching || start(pg, NULL) == TS_OK; // without it others look by themselves
	pthread_mutex_unlock(&pg->sql.wait.mutex);
	if (started)
		signal_watcher(pg);
}

void ts_pg_wait_finish(struct ts_pg *pg)
{
	if (!pg->watching)
		return;
	pthread_mutex_lock(&pg->sql.wait.mutex);
	pg->watch_stop = true;
	pthread_mutex_unlock(&pg->sql.wait.mutex);
	signal_watcher(pg);
	pthread_join(pg->watch_thread, NULL);
	close(pg->watch_event);
}
