// Waiting for changes of the embedded store. Every committing process touches the database file's times after its
// commit; one watcher thread a handle hears that through inotify, compares PRAGMA data_version and wakes the waiters.
// A change nobody announced (another program's, a process killed between commit and touch) is found by the same
// comparison every POLL_MS.
#include "base/mem.h"
#include "store/store_sqlite_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define POLL_MS 250
#define POLL_WITHOUT_INOTIFY_MS 20
// A waiter looks at its stop flag this often: the flag may be set without a wake.
#define STOP_LOOK_MS 50

enum ts_err ts_sqlite_wait_init(struct ts_sqlite *sqlite, struct ts_error *error)
{
	pthread_condattr_t attr;

	sqlite->generation = 1;
	sqlite->watch_fd = -1;
	sqlite->watch_event = -1;
	if (pthread_condattr_init(&attr) != 0)
		return ts_fail_nomem(error);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	int rc = pthread_cond_init(&sqlite->wait_cond, &attr);
	pthread_condattr_destroy(&attr);
	if (rc != 0)
		return ts_fail_errno(error, TS_ERR_STORE, rc, "cannot make a condition");
	pthread_mutex_init(&sqlite->wait_mutex, NULL);
	return TS_OK;
}

static void change_seen(struct ts_sqlite *sqlite)
{
	pthread_mutex_lock(&sqlite->wait_mutex);
	sqlite->generation++;
	pthread_cond_broadcast(&sqlite->wait_cond);
	pthread_mutex_unlock(&sqlite->wait_mutex);
}

void ts_sqlite_wake(struct ts_store *store)
{
	change_seen(ts_sqlite_of(store));
}

// By path: closing a descriptor of the database would drop the locks SQLite holds on it.
void ts_sqlite_notify(struct ts_sqlite *sqlite)
{
	if (utimensat(AT_FDCWD, sqlite->path, NULL, 0) != 0)
		change_seen(sqlite);
}

static enum ts_err read_version(struct ts_sqlite_conn *conn, int64_t *out, struct ts_error *error)
{
	struct ts_sqlite_tx look = {.conn = conn, .mode = TS_SQLITE_READ}; // not begun: a pragma needs none

	return ts_sqlite_run(&look, TS_SQL_DATA_VERSION, NULL, 0, ts_sqlite_row_int, out, NULL, error);
}

static void drain(int fd)
{
	char events[4096] __attribute__((aligned(8)));

	while (read(fd, events, sizeof events) > 0)
		;
}

static void *watch(void *arg)
{
	struct ts_sqlite *sqlite = arg;
	struct pollfd fds[] = {{.fd = sqlite->watch_event, .events = POLLIN}, {.fd = sqlite->watch_fd, .events = POLLIN}};
	int period = sqlite->watch_fd >= 0 ? POLL_MS : POLL_WITHOUT_INOTIFY_MS;

	for (;;) {
		int ready = poll(fds, 2, period);
		if (ready > 0 && (fds[0].revents & POLLIN))
			return NULL;
		// Drained before the look: a change after it leaves an event behind.
		if (ready > 0 && (fds[1].revents & POLLIN))
			drain(sqlite->watch_fd);
		int64_t version;
		if (read_version(sqlite->watch_conn, &version, NULL) != TS_OK)
			continue; // the next call of the store says what is wrong
		if (version != sqlite->watch_version) {
			sqlite->watch_version = version;
			change_seen(sqlite);
		}
	}
}

static void watch_undo(struct ts_sqlite *sqlite)
{
	if (sqlite->watch_fd >= 0)
		close(sqlite->watch_fd);
	if (sqlite->watch_event >= 0)
		close(sqlite->watch_event);
	sqlite->watch_fd = sqlite->watch_event = -1;
	ts_sqlite_conn_close(sqlite->watch_conn);
	sqlite->watch_conn = NULL;
}

// Under wait_mutex. What changes after it returned wakes waiters.
static enum ts_err start_watching(struct ts_sqlite *sqlite, struct ts_error *error)
{
	sigset_t all, before;
	enum ts_err err;

	TS_TRY(ts_sqlite_conn_open(sqlite->path, sqlite->busy_timeout_ms, false, &sqlite->watch_conn, error));
	sqlite->watch_event = eventfd(0, EFD_CLOEXEC);
	if (sqlite->watch_event < 0) {
		err = ts_fail_errno(error, TS_ERR_STORE, errno, "cannot watch the store");
		goto fail;
	}
	sqlite->watch_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (sqlite->watch_fd >= 0 && inotify_add_watch(sqlite->watch_fd, sqlite->path, IN_ATTRIB) < 0) {
		close(sqlite->watch_fd);
		sqlite->watch_fd = -1;
	}
	if (sqlite->watch_fd < 0)
		ts_log_warn(&sqlite->log, "no inotify for the store: polling instead",
		            TS_INT("every_ms", POLL_WITHOUT_INOTIFY_MS));
	err = read_version(sqlite->watch_conn, &sqlite->watch_version, error);
	if (err != TS_OK)
		goto fail;
	// The program's signals are its main thread's business.
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int rc = pthread_create(&sqlite->watch_thread, NULL, watch, sqlite);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (rc != 0) {
		err = ts_fail_errno(error, TS_ERR_STORE, rc, "cannot start the store's watcher");
		goto fail;
	}
	sqlite->watching = true;
	return TS_OK;
fail:
	watch_undo(sqlite);
	return err;
}

void ts_sqlite_wait_finish(struct ts_sqlite *sqlite)
{
	if (sqlite->watching) {
		uint64_t one = 1;
		ssize_t written;
		do
			written = write(sqlite->watch_event, &one, sizeof one);
		while (written < 0 && errno == EINTR);
		pthread_join(sqlite->watch_thread, NULL);
	}
	watch_undo(sqlite);
	pthread_cond_destroy(&sqlite->wait_cond);
	pthread_mutex_destroy(&sqlite->wait_mutex);
}

static struct timespec deadline_after(const struct timespec *now, int64_t ms)
{
	struct timespec at = *now;

	at.tv_sec += (time_t)(ms / 1000);
	at.tv_nsec += (long)(ms % 1000) * 1000000L;
	if (at.tv_nsec >= 1000000000L) {
		at.tv_sec++;
		at.tv_nsec -= 1000000000L;
	}
	return at;
}

// Machine time on purpose: a caller's patience is real whatever the store's clock says.
enum ts_err ts_sqlite_wait_change(struct ts_store *store, uint64_t *seen, int64_t timeout_ms, const atomic_bool *stop,
                                  struct ts_error *error)
{
	struct ts_sqlite *sqlite = ts_sqlite_of(store);
	int64_t end = ts_mono_ms(ts_clock_system()) + (timeout_ms > 0 ? timeout_ms : 0);
	enum ts_err err = TS_OK;

	pthread_mutex_lock(&sqlite->wait_mutex);
	if (!sqlite->watching)
		err = start_watching(sqlite, error);
	while (err == TS_OK && *seen == sqlite->generation && !(stop && atomic_load(stop))) {
		struct timespec now;
		int64_t left = end - ts_mono_ms(ts_clock_system());
		if (left <= 0)
			break;
		if (stop && left > STOP_LOOK_MS)
			left = STOP_LOOK_MS;
		clock_gettime(CLOCK_MONOTONIC, &now);
		struct timespec at = deadline_after(&now, left);
		pthread_cond_timedwait(&sqlite->wait_cond, &sqlite->wait_mutex, &at);
	}
	if (err == TS_OK)
		*seen = sqlite->generation;
	pthread_mutex_unlock(&sqlite->wait_mutex);
	return err;
}
