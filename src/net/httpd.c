#include "net/httpd.h"

#include "base/mem.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct ts_httpd {
	struct MHD_Daemon *daemon; // NULL: not started
	int wake;                  // eventfd
	atomic_bool quiesce, stop;
	pthread_t thread;
	bool started;
};

static unsigned connections(struct MHD_Daemon *daemon)
{
	return MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_CURRENT_CONNECTIONS)->num_connections;
}

// As long as connections go: a daemon at its limit listens again only in the next round.
static void work(struct MHD_Daemon *daemon)
{
	unsigned before;

	do {
		before = connections(daemon);
		MHD_run(daemon);
	} while (connections(daemon) < before);
}

static void close_listener(struct MHD_Daemon *daemon)
{
	MHD_socket listener = MHD_quiesce_daemon(daemon);

	if (listener != MHD_INVALID_SOCKET)
		close(listener);
}

static int poll_timeout(struct MHD_Daemon *daemon)
{
	MHD_UNSIGNED_LONG_LONG ms;

	if (MHD_get_timeout(daemon, &ms) != MHD_YES)
		return -1;
	return ms < INT_MAX ? (int)ms : INT_MAX;
}

static void *run(void *arg)
{
	struct ts_httpd *httpd = arg;
	struct pollfd fds[] = {
	    {.fd = MHD_get_daemon_info(httpd->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd, .events = POLLIN},
	    {.fd = httpd->wake, .events = POLLIN},
	};
	bool quiesced = false;

	work(httpd->daemon);
	for (;;) {
		eventfd_t count;
		if (poll(fds, 2, poll_timeout(httpd->daemon)) > 0 && fds[1].revents)
			eventfd_read(httpd->wake, &count);
		if (atomic_load(&httpd->stop))
			return NULL;
		if (atomic_load(&httpd->quiesce) && !quiesced) {
			quiesced = true;
			close_listener(httpd->daemon);
		}
		work(httpd->daemon);
	}
}

enum ts_err ts_httpd_create(struct ts_httpd **out, struct ts_error *error)
{
	struct ts_httpd *httpd = ts_calloc(1, sizeof *httpd);

	if (!httpd)
		return ts_fail_nomem(error);
	httpd->wake = eventfd(0, EFD_CLOEXEC);
	if (httpd->wake < 0) {
		ts_free(httpd);
		return ts_fail_errno(error, TS_ERR_IO, errno, "cannot make an eventfd");
	}
	*out = httpd;
	return TS_OK;
}

enum ts_err ts_httpd_start(struct ts_httpd *httpd, struct MHD_Daemon *daemon, struct ts_error *error)
{
	httpd->daemon = daemon;
	int failed = pthread_create(&httpd->thread, NULL, run, httpd);
	if (failed)
		return ts_fail_errno(error, TS_ERR_INTERNAL, failed, "cannot start a thread of the HTTP server");
	httpd->started = true;
	return TS_OK;
}

void ts_httpd_wake(struct ts_httpd *httpd)
{
	eventfd_write(httpd->wake, 1);
}

void ts_httpd_quiesce(struct ts_httpd *httpd)
{
	atomic_store(&httpd->quiesce, true);
	ts_httpd_wake(httpd);
}

void ts_httpd_destroy(struct ts_httpd *httpd)
{
	if (!httpd)
		return;
	if (httpd->started) {
		atomic_store(&httpd->stop, true);
		ts_httpd_wake(httpd);
		pthread_join(httpd->thread, NULL);
	}
	MHD_stop_daemon(httpd->daemon); // NULL-safe
	close(httpd->wake);
	ts_free(httpd);
}
