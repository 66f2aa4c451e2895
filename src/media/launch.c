// posix_spawn(3) of the decoder child.
#include "media/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

int ts_launch_above(int fd)
{
	return fcntl(fd, F_DUPFD_CLOEXEC, TS_CHILD_OUTPUT_FD + 1);
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

	if (rc == 0 && output >= 0)
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
static int spawn(const char *path, const struct ts_child_limits *limits, int input, int output, pid_t *out_pid)
{
	char name[] = "transcription-decoder";
	char argument[] = TS_CHILD_ARGUMENT;
	char numbers[TS_CHILD_ARGC - 2][24];
	char *argv[] = {name, argument, numbers[0], numbers[1], numbers[2], numbers[3], NULL};
	char *environment[] = {NULL};
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;

	snprintf(numbers[0], sizeof numbers[0], "%" PRIu64, limits->memory_bytes);
	snprintf(numbers[1], sizeof numbers[1], "%" PRIu64, limits->cpu_seconds);
	snprintf(numbers[2], sizeof numbers[2], "%" PRIu64, limits->samples_max);
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
			rc = posix_spawn(out_pid, path, &actions, &attributes, argv, environment);
		posix_spawnattr_destroy(&attributes);
	}
	posix_spawn_file_actions_destroy(&actions);
	return rc;
}

enum ts_err ts_launch_child(const char *path, const struct ts_child_limits *limits, int input, int output,
                            pid_t *out_pid, struct ts_error *error)
{
	if (!path)
		path = "/proc/self/exe";
	pid_t pid;
	const int rc = spawn(path, limits, input, output, &pid);
	if (rc != 0)
		return ts_fail_errno(error, rc == ENOMEM ? TS_ERR_NOMEM : TS_ERR_IO, rc, "cannot start the media decoder %s",
		                     path);
	*out_pid = pid;
	return TS_OK;
}

int ts_launch_end(pid_t pid, _Bool kill_first)
{
	int status = 0;

	if (kill_first)
		kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return -1;
	}
	return status;
}
