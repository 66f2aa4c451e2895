// The parent's side of a template (child.h): one process that has the libraries loaded and gives a child for each
// decoding. When it is dead or silent, decodings start their own children until a refill. Should it die between making
// a child and telling, nobody knows that child: it ends when it writes to its closed pipe, and stays a zombie until
// we end.
#include "media/pool.h"

#include "base/mem.h"
#include "media/launch.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

// Far longer than loading the libraries takes.
#define ANSWER_MS 10000

struct ts_media_pool {
	pthread_mutex_t lock; // everything below
	char *child_path;     // NULL: the program itself
	pid_t pid;            // of the template; 0: none
	int socket;           // to it; -1: none
};

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}
#define AUTOFD TS_CLEANUP(close_fd)

static void end_template(struct ts_media_pool *pool)
{
	close_fd(&pool->socket);
	if (pool->pid > 0)
		ts_launch_end(pool->pid, true);
	pool->pid = 0;
}

static enum ts_err start_template(struct ts_media_pool *pool, struct ts_error *error)
{
	static const struct ts_child_limits none = {.samples_max = 1}; // each request brings its own
	AUTOFD int theirs = -1;
	AUTOFD int ours = -1;
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
		return ts_fail_errno(error, TS_ERR_IO, errno, "cannot make a socket for the media decoder");
	ours = ends[0];
	theirs = ts_launch_above(ends[1]);
	const int reason = errno;
	close(ends[1]);
	if (theirs < 0)
		return ts_fail_errno(error, TS_ERR_IO, reason, "cannot make a socket for the media decoder");
	TS_TRY(ts_launch_child(pool->child_path, &none, theirs, -1, &pool->pid, error));
	pool->socket = ours;
	ours = -1;
	return TS_OK;
}

static bool send_request(int socket, const struct ts_child_limits *limits, const int fds[TS_CHILD_REQUEST_FDS])
{
	const size_t size = TS_CHILD_REQUEST_FDS * sizeof(int);
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(TS_CHILD_REQUEST_FDS * sizeof(int))];
	} control = {0};
	struct ts_child_limits copy = *limits;
	struct iovec data = {.iov_base = &copy, .iov_len = sizeof copy};
	struct msghdr message = {
	    .msg_iov = &data, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);

	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(size);
	memcpy(CMSG_DATA(header), fds, size);
	return sendmsg(socket, &message, MSG_NOSIGNAL) == (ssize_t)sizeof copy;
}

// False: the template is dead, or silent for too long.
static bool receive_answer(int socket, int32_t *out)
{
	struct pollfd poller = {.fd = socket, .events = POLLIN};
	int rc;

	while ((rc = poll(&poller, 1, ANSWER_MS)) < 0 && errno == EINTR)
		;
	return rc == 1 && recv(socket, out, sizeof *out, MSG_DONTWAIT) == (ssize_t)sizeof *out;
}

bool ts_media_pool_start(struct ts_media_pool *pool, const struct ts_child_limits *limits, int media, int frames,
                         pid_t *out_pid)
{
	const int fds[TS_CHILD_REQUEST_FDS] = {media, frames};
	int32_t answer = -1;

	pthread_mutex_lock(&pool->lock);
	if (pool->pid > 0 && (!send_request(pool->socket, limits, fds) || !receive_answer(pool->socket, &answer)))
		end_template(pool);
	pthread_mutex_unlock(&pool->lock);
	if (answer <= 0)
		return false;
	*out_pid = (pid_t)answer;
	return true;
}

enum ts_err ts_media_pool_create(const struct ts_media_options *options, struct ts_media_pool **out,
                                 struct ts_error *error)
{
	struct ts_media_pool *pool = ts_calloc(1, sizeof *pool);

	if (!pool)
		return ts_fail_nomem(error);
	pthread_mutex_init(&pool->lock, NULL);
	pool->socket = -1;
	enum ts_err err = ts_str_set(&pool->child_path, options->child_path) ? TS_OK : ts_fail_nomem(error);
	if (err == TS_OK)
		err = start_template(pool, error);
	if (err != TS_OK) {
		ts_media_pool_destroy(pool);
		return err;
	}
	*out = pool;
	return TS_OK;
}

void ts_media_pool_refill(struct ts_media_pool *pool)
{
	if (!pool)
		return;
	pthread_mutex_lock(&pool->lock);
	// Reaps it when it has died by itself.
	if (pool->pid > 0 && waitpid(pool->pid, NULL, WNOHANG) != 0) {
		pool->pid = 0;
		end_template(pool);
	}
	if (pool->pid == 0 && start_template(pool, NULL) != TS_OK)
		pool->pid = 0;
	pthread_mutex_unlock(&pool->lock);
}

void ts_media_pool_destroy(struct ts_media_pool *pool)
{
	if (!pool)
		return;
	end_template(pool);
	pthread_mutex_destroy(&pool->lock);
	ts_free(pool->child_path);
	ts_free(pool);
}
