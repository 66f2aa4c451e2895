// The parent's side of decoding: starts the jailed child, reads its frames, watches the clock and the abort flag,
// and always kills and reaps. It never touches the media itself and believes nothing the child says (frames.h).
#include "media/media.h"

#include "base/clock.h"
#include "base/mem.h"
#include "media/child.h"
#include "media/frames.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEFAULT_MEMORY_BYTES (UINT64_C(1) << 30)
#define DEFAULT_STALL_MS (INT64_C(60) * 1000)
#define DEFAULT_DURATION_MS (INT64_C(24) * 3600 * 1000)
#define LONGEST_DURATION_MS (INT64_C(366) * 24 * 3600 * 1000)
#define POLL_MS 200

struct ts_media {
	struct ts_media_options options; // defaults filled in
	pid_t pid;                       // 0: reaped
	int pipe;                        // read end, non-blocking; -1: closed
	const float *samples;            // of the present PCM frame, not yet read
	size_t count;
	int64_t read; // samples handed out
	bool ended;
	struct ts_error failure; // sticky
	struct ts_frames frames;
};

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}
#define AUTOFD TS_CLEANUP(close_fd)

static int64_t now_ms(void)
{
	return ts_mono_ms(ts_clock_system());
}

// A pipe whose ends lie above the descriptors that the child gets, so that moving them there overwrites nothing.
static enum ts_err make_pipe(int *out_read, int *out_write, struct ts_error *error)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) != 0)
		return ts_fail_errno(error, TS_ERR_IO, errno, "cannot make a pipe for the media decoder");
	*out_read = ends[0];
	*out_write = fcntl(ends[1], F_DUPFD_CLOEXEC, TS_CHILD_OUTPUT_FD + 1);
	const int reason = errno;
	close(ends[1]);
	if (*out_write < 0 || fcntl(*out_read, F_SETFL, O_NONBLOCK) != 0) {
		close_fd(out_read);
		return ts_fail_errno(error, TS_ERR_IO, reason, "cannot make a pipe for the media decoder");
	}
	return TS_OK;
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define KEEP_STDERR 1 // reports of the sanitizer
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define KEEP_STDERR 1
#endif
#endif
#ifndef KEEP_STDERR
#define KEEP_STDERR 0
#endif

static int add_actions(posix_spawn_file_actions_t *actions, int input, int output)
{
	int rc = posix_spawn_file_actions_adddup2(actions, input, TS_CHILD_INPUT_FD);

	if (rc == 0)
		rc = posix_spawn_file_actions_adddup2(actions, output, TS_CHILD_OUTPUT_FD);
	if (rc == 0)
		rc = posix_spawn_file_actions_addopen(actions, 0, "/dev/null", O_RDONLY, 0);
	if (rc == 0)
		rc = posix_spawn_file_actions_adddup2(actions, 0, 1);
	if (rc == 0 && !KEEP_STDERR)
		rc = posix_spawn_file_actions_adddup2(actions, 0, 2);
	if (rc == 0)
		rc = posix_spawn_file_actions_addclosefrom_np(actions, TS_CHILD_OUTPUT_FD + 1);
	return rc;
}

// The child starts with default signals, nothing blocked: a program that ignores or blocks some must not pass that on.
static int set_signals(posix_spawnattr_t *attributes)
{
	sigset_t none;
	sigset_t all;

	sigemptyset(&none);
	sigfillset(&all);
	int rc = posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	if (rc == 0)
		rc = posix_spawnattr_setsigmask(attributes, &none);
	if (rc == 0)
		rc = posix_spawnattr_setsigdefault(attributes, &all);
	return rc;
}

// posix_spawn shares our memory until exec, so it costs the same from a small and from a large process, and runs
// nothing of ours in between.
static int spawn(struct ts_media *media, int input, int output)
{
	const struct ts_media_options *options = &media->options;
	const char *path = options->child_path ? options->child_path : "/proc/self/exe";
	char name[] = "transcription-decoder";
	char argument[] = TS_CHILD_ARGUMENT;
	char numbers[TS_CHILD_ARGC - 2][24];
	char *argv[] = {name, argument, numbers[0], numbers[1], numbers[2], numbers[3], NULL};
	char *environment[] = {NULL};
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;

	snprintf(numbers[0], sizeof numbers[0], "%" PRIu64, options->memory_bytes);
	// Decoding runs at a hundred times real time and more; a tenth of it is a runaway.
	snprintf(numbers[1], sizeof numbers[1], "%" PRId64, 60 + options->max_duration_ms / 10000);
	snprintf(numbers[2], sizeof numbers[2], "%" PRIu64, media->frames.samples_max);
	snprintf(numbers[3], sizeof numbers[3], "%d", (int)getpid());
	int rc = posix_spawn_file_actions_init(&actions);
	if (rc != 0)
		return rc;
	rc = posix_spawnattr_init(&attributes);
	if (rc == 0) {
		rc = add_actions(&actions, input, output);
		if (rc == 0)
			rc = set_signals(&attributes);
		if (rc == 0)
			rc = posix_spawn(&media->pid, path, &actions, &attributes, argv, environment);
		if (rc != 0)
			media->pid = 0;
		posix_spawnattr_destroy(&attributes);
	}
	posix_spawn_file_actions_destroy(&actions);
	return rc;
}

static enum ts_err start(struct ts_media *media, int fd, struct ts_error *error)
{
	AUTOFD int output = -1;
	// Above the child's numbers for the same reason as the pipe.
	AUTOFD int input = fcntl(fd, F_DUPFD_CLOEXEC, TS_CHILD_OUTPUT_FD + 1);

	if (input < 0)
		return ts_fail_errno(error, TS_ERR_IO, errno, "cannot pass the media to its decoder");
	TS_TRY(make_pipe(&media->pipe, &output, error));
	const int rc = spawn(media, input, output);
	if (rc != 0)
		return ts_fail_errno(error, rc == ENOMEM ? TS_ERR_NOMEM : TS_ERR_IO, rc, "cannot start the media decoder %s",
		                     media->options.child_path ? media->options.child_path : "/proc/self/exe");
	return TS_OK;
}

static int reap(struct ts_media *media)
{
	int status = 0;

	if (media->pid <= 0)
		return -1;
	while (waitpid(media->pid, &status, 0) < 0) {
		if (errno == EINTR)
			continue;
		status = -1;
		break;
	}
	media->pid = 0;
	return status;
}

static enum ts_err died(struct ts_media *media, struct ts_error *error)
{
	const int status = reap(media);

	if (status == -1)
		return ts_fail(error, TS_ERR_MEDIA_CRASHED, "the media decoder is gone");
	if (WIFEXITED(status))
		return ts_fail(error, TS_ERR_MEDIA_CRASHED, "the media decoder ended early with status %d",
		               WEXITSTATUS(status));
	const int number = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
	const char *name = sigabbrev_np(number);
	const char *why = "";
	if (number == SIGSYS)
		why = ": it made a system call that its jail forbids";
	else if (number == SIGXCPU)
		why = ": it used more CPU time than its limit";
	else if (number == SIGKILL)
		why = ": killed from outside, or out of memory";
	return ts_fail(error, TS_ERR_MEDIA_CRASHED, "the media decoder crashed (SIG%s)%s", name ? name : "?", why);
}

static bool is_aborted(const struct ts_media *media)
{
	return media->options.abort && atomic_load_explicit(media->options.abort, memory_order_relaxed);
}

// Waits until the pipe has bytes or is closed.
static enum ts_err wait_readable(const struct ts_media *media, int64_t deadline, struct ts_error *error)
{
	for (;;) {
		if (is_aborted(media))
			return ts_fail(error, TS_ERR_ABORTED, "decoding was stopped");
		const int64_t left = deadline - now_ms();
		if (left <= 0)
			return ts_fail(error, TS_ERR_TIMEOUT, "the media decoder made no progress for %" PRId64 " ms",
			               media->options.stall_timeout_ms);
		struct pollfd poller = {.fd = media->pipe, .events = POLLIN};
		const int rc = poll(&poller, 1, left < POLL_MS ? (int)left : POLL_MS);
		if (rc > 0)
			return TS_OK;
		if (rc < 0 && errno != EINTR)
			return ts_fail_errno(error, TS_ERR_IO, errno, "cannot wait for the media decoder");
	}
}

// The next whole frame.
static enum ts_err next_frame(struct ts_media *media, struct ts_frame *out, struct ts_error *error)
{
	const int64_t deadline = now_ms() + media->options.stall_timeout_ms;

	for (;;) {
		size_t size;
		void *room = ts_frames_room(&media->frames, &size);
		const ssize_t n = read(media->pipe, room, size);
		if (n == 0)
			return died(media, error);
		if (n < 0 && errno == EAGAIN) {
			TS_TRY(wait_readable(media, deadline, error));
			continue;
		}
		if (n < 0 && errno != EINTR)
			return ts_fail_errno(error, TS_ERR_IO, errno, "cannot read from the media decoder");
		if (n < 0)
			continue;
		TS_TRY(ts_frames_advance(&media->frames, (size_t)n, out, error));
		if (out->kind != TS_FRAME_NONE)
			return TS_OK;
		// A child that never lets the pipe run dry would keep us from looking at the flag.
		if (is_aborted(media))
			return ts_fail(error, TS_ERR_ABORTED, "decoding was stopped");
	}
}

// Reads frames until one that matters to the caller: INFO, PCM or END.
static enum ts_err pump(struct ts_media *media, struct ts_frame *out, struct ts_error *error)
{
	for (;;) {
		if (is_aborted(media))
			return ts_fail(error, TS_ERR_ABORTED, "decoding was stopped");
		TS_TRY(next_frame(media, out, error));
		if (out->kind == TS_FRAME_ERROR)
			return ts_fail(error, out->code, "%s", out->text);
		if (out->kind != TS_FRAME_WARN)
			return TS_OK;
		if (media->options.log)
			ts_log_debug(media->options.log, "media decoder", TS_STR("warning", out->text));
	}
}

static enum ts_err check_input(int fd, const struct ts_media_options *options, struct ts_error *error)
{
	struct stat status;

	if (options->stall_timeout_ms < 0 || options->max_duration_ms < 0 || options->max_duration_ms > LONGEST_DURATION_MS)
		return ts_fail(error, TS_ERR_INVALID, "media options out of range");
	if (fstat(fd, &status) != 0)
		return ts_fail_errno(error, TS_ERR_IO, errno, "cannot read the media file");
	if (!S_ISREG(status.st_mode))
		return ts_fail(error, TS_ERR_INVALID, "the media is not a regular file");
	if (status.st_size == 0)
		return ts_fail(error, TS_ERR_MEDIA_NOT_MEDIA, "the file is empty");
	return TS_OK;
}

static enum ts_err make(const struct ts_media_options *options, struct ts_media **out, struct ts_error *error)
{
	struct ts_media *media = ts_calloc(1, sizeof *media);

	if (!media)
		return ts_fail_nomem(error);
	media->options = *options;
	media->pipe = -1;
	if (!media->options.memory_bytes)
		media->options.memory_bytes = DEFAULT_MEMORY_BYTES;
	if (!media->options.stall_timeout_ms)
		media->options.stall_timeout_ms = DEFAULT_STALL_MS;
	if (!media->options.max_duration_ms)
		media->options.max_duration_ms = DEFAULT_DURATION_MS;
	ts_frames_init(&media->frames, (uint64_t)media->options.max_duration_ms * (TS_MEDIA_SAMPLE_RATE / 1000));
	*out = media;
	return TS_OK;
}

// --- a child started ahead ---

struct ts_media_pool {
	pthread_mutex_t lock;
	struct ts_media_options options;
	struct ts_media *spare; // its child waits for the media; NULL: none
	int socket;             // to that child; -1: none
};

// The child's end of the socket stands where the media would be.
static enum ts_err start_spare(struct ts_media_pool *pool, struct ts_error *error)
{
	AUTOFD int theirs = -1;
	AUTOFD int ours = -1;
	struct ts_media *media;
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
		return ts_fail_errno(error, TS_ERR_IO, errno, "cannot make a socket for the media decoder");
	ours = ends[0];
	theirs = ends[1];
	TS_TRY(make(&pool->options, &media, error));
	const enum ts_err err = start(media, theirs, error);
	if (err != TS_OK) {
		ts_media_close(media);
		return err;
	}
	pool->spare = media;
	pool->socket = ours;
	ours = -1;
	return TS_OK;
}

static bool send_media(int socket, int fd)
{
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof fd)];
	} control = {0};
	char byte = 0;
	struct iovec data = {.iov_base = &byte, .iov_len = 1};
	struct msghdr message = {
	    .msg_iov = &data, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);

	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof fd);
	memcpy(CMSG_DATA(header), &fd, sizeof fd);
	return sendmsg(socket, &message, MSG_NOSIGNAL) == 1;
}

static bool same_limits(const struct ts_media *a, const struct ts_media *b)
{
	const char *path = a->options.child_path ? a->options.child_path : "";

	return a->options.memory_bytes == b->options.memory_bytes &&
	       a->options.max_duration_ms == b->options.max_duration_ms &&
	       strcmp(path, b->options.child_path ? b->options.child_path : "") == 0;
}

// Gives media the child that waits, with fd; false: none fits, or it is dead.
static bool take_spare(struct ts_media_pool *pool, struct ts_media *media, int fd)
{
	pthread_mutex_lock(&pool->lock);
	struct ts_media *spare = pool->spare && same_limits(pool->spare, media) ? pool->spare : NULL;
	AUTOFD int socket = -1;
	if (spare) {
		socket = pool->socket;
		pool->spare = NULL;
		pool->socket = -1;
	}
	pthread_mutex_unlock(&pool->lock);
	if (!spare)
		return false;
	const bool sent = send_media(socket, fd);
	if (sent) {
		media->pid = spare->pid;
		media->pipe = spare->pipe;
		spare->pid = 0;
		spare->pipe = -1;
	}
	ts_media_close(spare);
	return sent;
}

enum ts_err ts_media_pool_create(const struct ts_media_options *options, struct ts_media_pool **out,
                                 struct ts_error *error)
{
	struct ts_media_pool *pool = ts_calloc(1, sizeof *pool);

	if (!pool)
		return ts_fail_nomem(error);
	pthread_mutex_init(&pool->lock, NULL);
	pool->options = *options;
	pool->options.pool = NULL;
	pool->options.abort = NULL;
	pool->options.log = NULL;
	pool->socket = -1;
	const enum ts_err err = start_spare(pool, error);
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
	if (!pool->spare && start_spare(pool, NULL) != TS_OK)
		pool->spare = NULL;
	pthread_mutex_unlock(&pool->lock);
}

void ts_media_pool_destroy(struct ts_media_pool *pool)
{
	if (!pool)
		return;
	ts_media_close(pool->spare);
	close_fd(&pool->socket);
	pthread_mutex_destroy(&pool->lock);
	ts_free(pool);
}

// --- decoding ---

enum ts_err ts_media_open(int fd, const struct ts_media_options *options, struct ts_media **out,
                          struct ts_media_info *out_info, struct ts_error *error)
{
	struct ts_media *media;
	struct ts_frame frame;
	enum ts_err err = TS_OK;

	TS_TRY(check_input(fd, options, error));
	TS_TRY(make(options, &media, error));
	if (!options->pool || !take_spare(options->pool, media, fd))
		err = start(media, fd, error);
	if (err == TS_OK)
		err = pump(media, &frame, error); // the parser lets nothing but INFO come first
	if (err != TS_OK) {
		ts_media_close(media);
		return err;
	}
	*out_info = *frame.info;
	*out = media;
	return TS_OK;
}

enum ts_err ts_media_read(struct ts_media *media, float *samples, size_t capacity, size_t *out_count,
                          struct ts_error *error)
{
	if (media->failure.code != TS_OK)
		return ts_fail(error, media->failure.code, "%s", media->failure.message);
	if (is_aborted(media))
		return ts_fail(error, TS_ERR_ABORTED, "decoding was stopped");
	if (media->count == 0 && !media->ended) {
		struct ts_frame frame;
		const enum ts_err err = pump(media, &frame, &media->failure);
		if (err != TS_OK)
			return ts_fail(error, err, "%s", media->failure.message);
		media->ended = frame.kind == TS_FRAME_END;
		media->samples = frame.samples;
		media->count = frame.count;
	}
	const size_t n = media->count < capacity ? media->count : capacity;
	if (n > 0)
		memcpy(samples, media->samples, n * sizeof *samples);
	media->samples += n;
	media->count -= n;
	media->read += (int64_t)n;
	*out_count = n;
	return TS_OK;
}

int64_t ts_media_position_ms(const struct ts_media *media)
{
	return media->read / (TS_MEDIA_SAMPLE_RATE / 1000);
}

void ts_media_close(struct ts_media *media)
{
	if (!media)
		return;
	if (media->pid > 0)
		kill(media->pid, SIGKILL);
	reap(media);
	close_fd(&media->pipe);
	ts_free(media);
}
