// The parent's side of decoding: starts the jailed child, reads its frames, watches the clock and the abort flag,
// and always kills and reaps. It never touches the media itself and believes nothing the child says (frames.h).
#include "media/media.h"

#include "base/clock.h"
#include "base/mem.h"
#include "media/child.h"
#include "media/frames.h"
#include "media/launch.h"
#include "media/pool.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
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
	*out_write = ts_launch_above(ends[1]);
	const int reason = errno;
	close(ends[1]);
	if (*out_write < 0 || fcntl(*out_read, F_SETFL, O_NONBLOCK) != 0) {
		close_fd(out_read);
		return ts_fail_errno(error, TS_ERR_IO, reason, "cannot make a pipe for the media decoder");
	}
	return TS_OK;
}

// Decoding runs at a hundred times real time and more; a tenth of it is a runaway.
static struct ts_child_limits limits_of(const struct ts_media *media)
{
	return (struct ts_child_limits){.memory_bytes = media->options.memory_bytes,
	                                .cpu_seconds = 60 + (uint64_t)media->options.max_duration_ms / 10000,
	                                .samples_max = media->frames.samples_max};
}

static enum ts_err start(struct ts_media *media, int fd, struct ts_error *error)
{
	const struct ts_child_limits limits = limits_of(media);
	AUTOFD int output = -1;

	TS_TRY(make_pipe(&media->pipe, &output, error));
	if (media->options.pool) {
		if (ts_media_pool_start(media->options.pool, &limits, fd, output, &media->pid))
			return TS_OK;
		// A template that died while it was asked may have made a copy: nothing of it may come over our pipe.
		close_fd(&media->pipe);
		close_fd(&output);
		TS_TRY(make_pipe(&media->pipe, &output, error));
	}
	AUTOFD int input = ts_launch_above(fd);
	if (input < 0)
		return ts_fail_errno(error, TS_ERR_IO, errno, "cannot pass the media to its decoder");
	return ts_launch_child(media->options.child_path, &limits, input, output, &media->pid, error);
}

static int reap(struct ts_media *media)
{
	const int status = media->pid > 0 ? ts_launch_end(media->pid, false) : -1;

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

enum ts_err ts_media_open(int fd, const struct ts_media_options *options, struct ts_media **out,
                          struct ts_media_info *out_info, struct ts_error *error)
{
	struct ts_media *media;
	struct ts_frame frame;
	enum ts_err err;

	TS_TRY(check_input(fd, options, error));
	TS_TRY(make(options, &media, error));
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
	if (n > 0) {
		memcpy(samples, media->samples, n * sizeof *samples);
		media->samples += n;
	}
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
		ts_launch_end(media->pid, true);
	close_fd(&media->pipe);
	ts_free(media);
}
