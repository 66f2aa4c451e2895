// A daemon on a thread of ours: it serves, stops listening when told, listens again when it was at its limit, and ends
// with connections open.
#include "unit.h"

#include "net/httpd.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

struct fixture {
	struct ts_httpd *httpd;
	uint16_t port;
	atomic_uint open;
};

static enum MHD_Result serve(void *ctx, struct MHD_Connection *connection, const char *url, const char *method,
                             const char *version, const char *data, size_t *data_size, void **slot)
{
	static char body[] = "served";

	(void)ctx, (void)url, (void)method, (void)version, (void)data, (void)data_size;
	if (!*slot) { // an answer here would close the connection
		*slot = body;
		return MHD_YES;
	}
	*slot = NULL;
	struct MHD_Response *response = MHD_create_response_from_buffer(sizeof body - 1, body, MHD_RESPMEM_PERSISTENT);
	assert_non_null(response);
	enum MHD_Result queued = MHD_queue_response(connection, 200, response);
	MHD_destroy_response(response);
	return queued;
}

static void count(void *ctx, struct MHD_Connection *connection, void **slot, enum MHD_ConnectionNotificationCode what)
{
	struct fixture *f = ctx;

	(void)connection, (void)slot;
	if (what == MHD_CONNECTION_NOTIFY_STARTED)
		atomic_fetch_add(&f->open, 1);
	else
		atomic_fetch_sub(&f->open, 1);
}

static void start(struct fixture *f, unsigned limit)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct ts_error error = {0};
	struct MHD_Daemon *daemon =
	    MHD_start_daemon(TS_HTTPD_FLAGS, 0, NULL, NULL, serve, NULL, MHD_OPTION_SOCK_ADDR, (struct sockaddr *)&address,
	                     MHD_OPTION_CONNECTION_LIMIT, limit, MHD_OPTION_NOTIFY_CONNECTION, count, f, MHD_OPTION_END);

	assert_non_null(daemon);
	atomic_init(&f->open, 0);
	f->port = MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT)->port;
	assert_ok(ts_httpd_create(&f->httpd, &error), &error);
	assert_ok(ts_httpd_start(f->httpd, daemon, &error), &error);
}

// -1: refused.
static int dial(const struct fixture *f)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(f->port)};
	struct timeval limit = {.tv_sec = 30};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(0, setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit));
	if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
		return fd;
	assert_true(errno == ECONNREFUSED || errno == ECONNRESET); // reset: the listener was closed meanwhile
	close(fd);
	return -1;
}

static void ask(int fd)
{
	static const char request[] = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
	assert_int_equal(sizeof request - 1, send(fd, request, sizeof request - 1, MSG_NOSIGNAL));
}

static void expect_answer(int fd)
{
	char text[512];
	size_t used = 0;

	do {
		ssize_t got = recv(fd, text + used, sizeof text - 1 - used, 0);
		assert_true(got > 0);
		used += (size_t)got;
		text[used] = '\0';
	} while (!strstr(text, "served"));
	assert_memory_equal("HTTP/1.1 200", text, 12);
}

static void listens_again_below_its_limit(void **state)
{
	struct fixture f;
	int fds[3];

	(void)state;
	start(&f, 2);
	for (size_t i = 0; i < 3; i++) { // the third waits in the system's queue
		fds[i] = dial(&f);
		assert_true(fds[i] >= 0);
		ask(fds[i]);
	}
	expect_answer(fds[0]);
	expect_answer(fds[1]);
	close(fds[0]);
	expect_answer(fds[2]);
	ts_httpd_destroy(f.httpd);
	assert_int_equal(0, atomic_load(&f.open));
	close(fds[1]);
	close(fds[2]);
}

static void quiesced_serves_whom_it_has(void **state)
{
	struct fixture f;

	(void)state;
	start(&f, 8);
	int fd = dial(&f);
	ask(fd);
	expect_answer(fd);
	ts_httpd_quiesce(f.httpd);
	for (int late; (late = dial(&f)) >= 0; sched_yield())
		close(late);
	ask(fd);
	expect_answer(fd);
	ts_httpd_destroy(f.httpd);
	assert_int_equal(0, atomic_load(&f.open));
	char c;
	assert_int_equal(0, recv(fd, &c, 1, 0));
	close(fd);
}

static void stops_without_a_connection(void **state)
{
	struct fixture f;

	(void)state;
	start(&f, 8);
	ts_httpd_destroy(f.httpd);
	assert_int_equal(-1, dial(&f));
	ts_httpd_destroy(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(listens_again_below_its_limit),
	    cmocka_unit_test(quiesced_serves_whom_it_has),
	    cmocka_unit_test(stops_without_a_connection),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
