// One poll loop over a signalfd and the children's ready pipes.
#include "bin/supervise.h"

#include "base/mem.h"
#include "bin/wiring.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAUSE_FIRST_MS 200
#define PAUSE_MAX_MS 5000
// A child that lived so long is well: the next pause is the first again.
#define WELL_AFTER_MS 10000
#define TWIN_MS 500

struct child {
	const char *path, *name;
	pid_t pid;                      // 0: not running
	int ready_fd;                   // -1: none
	unsigned starts;                // so far
	unsigned crashes;               // in a row
	int64_t started_ms, restart_at; // monotonic; 0: no restart planned
	bool has_line;
	char line[TS_SUPERVISE_LINE];
	size_t line_length;
};

struct supervisor {
	const struct ts_supervise_options *options;
	struct child children[TS_SUPERVISE_MAX];
	int signal_fd;
	bool announced, stopping;
	uint32_t stop_signal;        // what began it; 0: no signal
	int64_t stopped_at, kill_at; // monotonic, once stopping
	bool killed;
	int code;
};

// --- starting ---

// In the child: never returns. Only calls that are safe after fork of a single-threaded process.
static TS_NORETURN void become(const struct supervisor *supervisor, const struct child *child, pid_t parent,
                               int ready_fd, char **argv)
{
	sigset_t none;
	char number[16];

	(void)supervisor;
	// Its own process group: Ctrl+C on the terminal reaches the supervisor only, which then stops us in order.
	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(TS_EXIT_FAILURE); // it died before prctl
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	int null_fd = open("/dev/null", O_RDONLY);
	if (null_fd >= 0)
		dup2(null_fd, STDIN_FILENO);
	fcntl(ready_fd, F_SETFD, 0);
	snprintf(number, sizeof number, "%d", ready_fd);
	setenv(TS_READY_FD_NAME, number, 1);
	execv(child->path, argv);
	fprintf(stderr, "transcription serve: can't run %s: %s\n", child->path, strerror(errno));
	_exit(TS_EXIT_FAILURE);
}

static enum ts_err start_child(struct supervisor *supervisor, struct child *child, struct ts_error *error)
{
	const struct ts_supervise_options *options = supervisor->options;
	TS_AUTOFREE char **argv = ts_calloc(options->argument_count + 2, sizeof *argv);
	TS_AUTOFREE char *name = ts_strdup(child->name);
	pid_t parent = getpid();
	int pipe_fds[2];

	if (!argv || !name)
		return ts_fail_nomem(error);
	argv[0] = name;
	memcpy(argv + 1, options->arguments, options->argument_count * sizeof *argv);
	if (pipe2(pipe_fds, O_CLOEXEC) != 0)
		return ts_fail_errno(error, TS_ERR_IO, errno, "can't make a pipe");
	pid_t pid = fork();
	if (pid < 0) {
		close(pipe_fds[0]);
		close(pipe_fds[1]);
		return ts_fail_errno(error, TS_ERR_IO, errno, "can't start %s", child->name);
	}
	if (pid == 0)
		become(supervisor, child, parent, pipe_fds[1], argv);
	close(pipe_fds[1]);
	child->pid = pid;
	child->ready_fd = pipe_fds[0];
	child->line_length = 0;
	child->starts++;
	child->started_ms = ts_mono_ms(options->clock);
	child->restart_at = 0;
	return TS_OK;
}

static void plan_restart(struct supervisor *supervisor, struct child *child)
{
	int64_t pause = PAUSE_FIRST_MS;

	for (unsigned i = 0; i < child->crashes && pause < PAUSE_MAX_MS; i++)
		pause *= 2;
	child->crashes++;
	pause = pause < PAUSE_MAX_MS ? pause : PAUSE_MAX_MS;
	child->restart_at = ts_mono_ms(supervisor->options->clock) + pause;
}

static void start_due(struct supervisor *supervisor)
{
	for (size_t i = 0; i < supervisor->options->count && !supervisor->stopping; i++) {
		struct child *child = &supervisor->children[i];
		struct ts_error error = {0};
		if (child->pid || !child->restart_at || ts_mono_ms(supervisor->options->clock) < child->restart_at)
			continue;
		if (start_child(supervisor, child, &error) != TS_OK) {
			ts_log_error(supervisor->options->log, "child not started", TS_STR("child", child->name),
			             TS_STR("error", error.message));
			plan_restart(supervisor, child);
		}
	}
}

// --- ready lines ---

static void announce_when_ready(struct supervisor *supervisor)
{
	const char *lines[TS_SUPERVISE_MAX];

	if (supervisor->announced || supervisor->stopping)
		return;
	for (size_t i = 0; i < supervisor->options->count; i++) {
		if (!supervisor->children[i].has_line)
			return;
		lines[i] = supervisor->children[i].line;
	}
	supervisor->announced = true;
	if (supervisor->options->ready)
		supervisor->options->ready(supervisor->options->ctx, lines);
}

static void close_ready(struct child *child)
{
	if (child->ready_fd >= 0)
		close(child->ready_fd);
	child->ready_fd = -1;
}

static void read_ready(struct supervisor *supervisor, struct child *child)
{
	size_t room = sizeof child->line - 1 - child->line_length;
	ssize_t got = read(child->ready_fd, child->line + child->line_length, room);

	if (got < 0 && errno == EINTR)
		return;
	if (got > 0)
		child->line_length += (size_t)got;
	child->line[child->line_length] = '\0';
	char *newline = strchr(child->line, '\n');
	if (newline)
		*newline = '\0';
	if (newline)
		child->has_line = true;
	if (newline || got <= 0 || child->line_length >= sizeof child->line - 1)
		close_ready(child);
	announce_when_ready(supervisor);
}

// --- stopping ---

static void signal_all(struct supervisor *supervisor, int number)
{
	for (size_t i = 0; i < supervisor->options->count; i++) {
		if (supervisor->children[i].pid)
			kill(supervisor->children[i].pid, number);
	}
}

static void kill_all(struct supervisor *supervisor)
{
	supervisor->killed = true;
	signal_all(supervisor, SIGKILL);
}

static void begin_stop(struct supervisor *supervisor, uint32_t number)
{
	supervisor->stopping = true;
	supervisor->stop_signal = number;
	supervisor->stopped_at = ts_mono_ms(supervisor->options->clock);
	supervisor->kill_at = supervisor->stopped_at + supervisor->options->stop_ms;
	signal_all(supervisor, SIGTERM);
}

// timeout(1), npm and others send a signal to their child and to its group at once: that is one decision, not two.
static bool is_twin(const struct supervisor *supervisor, uint32_t number)
{
	return number == supervisor->stop_signal &&
	       ts_mono_ms(supervisor->options->clock) - supervisor->stopped_at < TWIN_MS;
}

// --- what happened ---

static void on_exit_of(struct supervisor *supervisor, struct child *child, int status)
{
	const struct ts_log *log = supervisor->options->log;
	bool by_signal = WIFSIGNALED(status);
	int code = by_signal ? WTERMSIG(status) : WEXITSTATUS(status);

	child->pid = 0;
	if (child->ready_fd >= 0) // it may have told, and died since
		read_ready(supervisor, child);
	close_ready(child);
	if (supervisor->stopping) {
		bool had_not_begun = by_signal && code == SIGTERM && !child->has_line;
		if ((by_signal || code) && !had_not_begun) {
			ts_log_warn(log, "child did not end cleanly", TS_STR("child", child->name),
			            TS_INT(by_signal ? "signal" : "exit_code", code));
			supervisor->code = supervisor->code ? supervisor->code : TS_EXIT_FAILURE;
		}
		return;
	}
	if (child->starts == 1 && !child->has_line && !by_signal && code) {
		ts_log_error(log, "child could not start; stopping", TS_STR("child", child->name), TS_INT("exit_code", code));
		supervisor->code = code;
		begin_stop(supervisor, 0);
		return;
	}
	if (ts_mono_ms(supervisor->options->clock) - child->started_ms >= WELL_AFTER_MS)
		child->crashes = 0;
	plan_restart(supervisor, child);
	ts_log_error(log, "child died; starting it again", TS_STR("child", child->name),
	             TS_INT(by_signal ? "signal" : "exit_code", code),
	             TS_INT("in_ms", child->restart_at - ts_mono_ms(supervisor->options->clock)));
}

static void reap(struct supervisor *supervisor)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		for (size_t i = 0; i < supervisor->options->count; i++) {
			if (supervisor->children[i].pid == pid)
				on_exit_of(supervisor, &supervisor->children[i], status);
		}
	}
}

static void on_signals(struct supervisor *supervisor)
{
	struct signalfd_siginfo info;

	while (read(supervisor->signal_fd, &info, sizeof info) == (ssize_t)sizeof info) {
		if (info.ssi_signo == SIGCHLD)
			continue; // reaped each round
		if (supervisor->stopping && is_twin(supervisor, info.ssi_signo))
			continue;
		if (supervisor->stopping) {
			ts_log_warn(supervisor->options->log, "told twice: ending at once");
			kill_all(supervisor);
			continue;
		}
		ts_log_info(supervisor->options->log, "stopping", TS_INT("signal", info.ssi_signo));
		begin_stop(supervisor, info.ssi_signo);
	}
}

static bool any_running(const struct supervisor *supervisor)
{
	for (size_t i = 0; i < supervisor->options->count; i++) {
		if (supervisor->children[i].pid)
			return true;
	}
	return false;
}

static int poll_timeout(const struct supervisor *supervisor)
{
	int64_t now = ts_mono_ms(supervisor->options->clock), until = now + 60000;

	if (supervisor->stopping && !supervisor->killed)
		until = supervisor->kill_at;
	for (size_t i = 0; i < supervisor->options->count && !supervisor->stopping; i++) {
		const struct child *child = &supervisor->children[i];
		if (!child->pid && child->restart_at && child->restart_at < until)
			until = child->restart_at;
	}
	return until > now ? (int)(until - now) : 0;
}

static void wait_for_events(struct supervisor *supervisor)
{
	struct pollfd fds[TS_SUPERVISE_MAX + 1] = {{.fd = supervisor->signal_fd, .events = POLLIN}};
	size_t count = supervisor->options->count;

	for (size_t i = 0; i < count; i++) // poll(2) skips negative descriptors
		fds[i + 1] = (struct pollfd){.fd = supervisor->children[i].ready_fd, .events = POLLIN};
	if (poll(fds, (nfds_t)count + 1, poll_timeout(supervisor)) < 0)
		return;
	for (size_t i = 0; i < count; i++) {
		if (fds[i + 1].revents && supervisor->children[i].ready_fd >= 0)
			read_ready(supervisor, &supervisor->children[i]);
	}
	if (fds[0].revents)
		on_signals(supervisor);
}

static void loop(struct supervisor *supervisor)
{
	while (!supervisor->stopping || any_running(supervisor)) {
		start_due(supervisor);
		wait_for_events(supervisor);
		reap(supervisor);
		if (supervisor->stopping && !supervisor->killed &&
		    ts_mono_ms(supervisor->options->clock) >= supervisor->kill_at) {
			ts_log_error(supervisor->options->log, "children do not end: killing them");
			kill_all(supervisor);
		}
	}
	if (supervisor->killed && !supervisor->code)
		supervisor->code = TS_EXIT_FAILURE;
}

static enum ts_err open_signals(struct supervisor *supervisor, struct ts_error *error)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	supervisor->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (supervisor->signal_fd < 0)
		return ts_fail_errno(error, TS_ERR_IO, errno, "can't watch signals");
	return TS_OK;
}

enum ts_err ts_supervise(const struct ts_supervise_options *options, int *out_code, struct ts_error *error)
{
	struct supervisor supervisor = {.options = options, .signal_fd = -1};

	TS_TRY(open_signals(&supervisor, error));
	for (size_t i = 0; i < options->count; i++) {
		const char *slash = strrchr(options->programs[i], '/');
		supervisor.children[i] = (struct child){
		    .path = options->programs[i],
		    .name = slash ? slash + 1 : options->programs[i],
		    .ready_fd = -1,
		};
	}
	enum ts_err err = TS_OK;
	for (size_t i = 0; i < options->count && err == TS_OK; i++)
		err = start_child(&supervisor, &supervisor.children[i], error);
	if (err != TS_OK)
		begin_stop(&supervisor, 0);
	loop(&supervisor);
	for (size_t i = 0; i < options->count; i++)
		close_ready(&supervisor.children[i]);
	close(supervisor.signal_fd);
	*out_code = supervisor.code;
	return err;
}
