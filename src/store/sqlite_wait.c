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
#include <unistd.h>

#define POLL_MS 250
#define POLL_WITHOUT_INOTIFY_MS 20
// By path: closing a descriptor of the database would drop the locks SQLite holds on it.
void ts_sqlite_notify(struct ts_sqlite *sqlite)
{
	if (utimensat(AT_FDCWD, sqlite->path, NULL, 0) != 0)
		ts_sql_wait_seen(&sqlite->sql);
}

static enum ts_err read_version(struct ts_sqlite_conn *conn, int64_t *out, struct ts_error *error)
{
	// Not begun: a pragma needs none.
	struct ts_sql_tx look = {.driver = &ts_sqlite_driver, .conn = conn, .mode = TS_TX_READ};

	return ts_sql_run(&look, TS_SQL_DATA_VERSION, NULL, 0, ts_sql_row_int, out, NULL, error);
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
			ts_sql_wait_seen(&sqlite->sql);
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

// What changes after it returned wakes waiters.
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
		ts_log_warn(&sqlite->sql.log, "no inotify for the store: polling instead",
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
}

enum ts_err ts_sqlite_watch(struct ts_sql *sql, struct ts_error *error)
{
	struct ts_sqlite *sqlite = ts_sqlite_of(sql);

	return sqlite->watching ? TS_OK : start_watching(sqlite, error);
}
