// The supervisor with real children: this program itself, told by its arguments how to behave. Each child writes its
// process id to a pipe that it inherits and holds open, so the test sees births, and by the pipe's end that all are gone.
#include "bin/supervise.h"
#include "bin/wiring.h"

#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define BIRTHS_FD 200
#define PATIENCE_MS 30000

static char self[] = "/proc/self/exe";

// --- the child ---

static bool is_pending(pid_t pid, int number)
{
	char path[64], line[256];
	unsigned long long pending = 0;

	snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
	FILE *file = fopen(path, "r");
	while (file && fgets(line, sizeof line, file)) {
		if (strncmp(line, "ShdPnd:", 7) == 0)
			pending = strtoull(line + 7, NULL, 16);
	}
	if (file)
		fclose(file);
	return pending >> (number - 1) & 1;
}

// Until it has taken the signal.
static void tell_and_wait(pid_t pid, int number)
{
	kill(pid, number);
	while (is_pending(pid, number))
		sched_yield();
}

static int be_child(const char *mode)
{
	pid_t pid = getpid();
	const char *ready = getenv(TS_READY_FD_NAME);
	sigset_t set;
	int number;

	if (strcmp(mode, "refuse") == 0)
		return 7;
	if (strcmp(mode, "starting") == 0) {
		if (write(BIRTHS_FD, &pid, sizeof pid) != sizeof pid)
			return 1;
		for (;;)
			pause();
	}
	// Before the birth is told: the test may send signals from then on.
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	if (write(BIRTHS_FD, &pid, sizeof pid) != sizeof pid || !ready)
		return 1;
	if (write(atoi(ready), "here I am\nand more", 18) != 18)
		return 1;
	if (strcmp(mode, "polite") == 0) {
		sigwait(&set, &number);
		return 0;
	}
	if (strcmp(mode, "echo") == 0) {
		sigwait(&set, &number);
		tell_and_wait(getppid(), SIGTERM);
		tell_and_wait(getppid(), SIGCHLD); // taken after the other: by now that one has had its effect
		return 0;
	}
	for (;;) // deaf
		pause();
}

// --- the supervisor, in a process of its own ---

struct supervised {
	pid_t pid;
	int births; // read end
	int said;   // read end: what the ready callback heard
};

static void on_ready(void *ctx, const char *const *lines)
{
	const int *said = ctx;

	if (write(*said, lines[0], strlen(lines[0])) < 0)
		_exit(99);
}

static TS_NORETURN void supervise(const char *mode, size_t count, int64_t stop_ms, int said)
{
	char *const arguments[] = {strdup("--child"), strdup(mode)};
	const char *const programs[] = {self, self};
	struct ts_supervise_options options = {
	    .programs = programs,
	    .count = count,
	    .arguments = arguments,
	    .argument_count = 2,
	    .stop_ms = stop_ms,
	    .clock = ts_clock_system(),
	    .ready = on_ready,
	    .ctx = &said,
	};
	struct ts_clock_manual clock;
	int code = 98;

	ts_clock_manual_init(&clock, 1000);
	if (strcmp(mode, "echo") == 0)
		options.clock = &clock.clock;
	ts_signals_block();
	if (ts_supervise(&options, &code, NULL) != TS_OK)
		_exit(97);
	_exit(code);
}

static struct supervised start(const char *mode, size_t count, int64_t stop_ms)
{
	struct supervised result;
	int births[2], said[2];

	assert_int_equal(pipe(births), 0);
	assert_int_equal(pipe(said), 0);
	result.pid = fork();
	assert_true(result.pid >= 0);
	if (result.pid == 0) {
		close(births[0]);
		close(said[0]);
		fcntl(said[1], F_SETFD, FD_CLOEXEC);
		if (dup2(births[1], BIRTHS_FD) < 0)
			_exit(96);
		close(births[1]);
		supervise(mode, count, stop_ms, said[1]);
	}
	close(births[1]);
	close(said[1]);
	result.births = births[0];
	result.said = said[0];
	return result;
}

static bool readable(int fd)
{
	struct pollfd wait = {.fd = fd, .events = POLLIN};
	int got;

	while ((got = poll(&wait, 1, PATIENCE_MS)) < 0 && errno == EINTR)
		;
	return got == 1;
}

static pid_t next_birth(const struct supervised *supervised)
{
	pid_t pid = 0;

	assert_true(readable(supervised->births));
	assert_int_equal(read(supervised->births, &pid, sizeof pid), sizeof pid);
	return pid;
}

static void wait_all_gone(const struct supervised *supervised)
{
	char byte;

	assert_true(readable(supervised->births));
	assert_int_equal(read(supervised->births, &byte, 1), 0);
}

static void wait_ready(const struct supervised *supervised)
{
	char text[64] = "";

	assert_true(readable(supervised->said));
	assert_true(read(supervised->said, text, sizeof text - 1) > 0);
	assert_string_equal(text, "here I am");
}

static int end_of(const struct supervised *supervised)
{
	int status;

	assert_int_equal(waitpid(supervised->pid, &status, 0), supervised->pid);
	close(supervised->births);
	close(supervised->said);
	return status;
}

// --- the tests ---

static void clean_stop(void **state)
{
	struct supervised supervised = start("polite", 2, 20000);

	(void)state;
	next_birth(&supervised);
	next_birth(&supervised);
	wait_ready(&supervised);
	kill(supervised.pid, SIGTERM);
	wait_all_gone(&supervised);
	int status = end_of(&supervised);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void a_dead_child_is_started_again(void **state)
{
	struct supervised supervised = start("polite", 1, 20000);

	(void)state;
	pid_t first = next_birth(&supervised);
	wait_ready(&supervised);
	for (int i = 0; i < 2; i++) {
		kill(first, SIGKILL);
		pid_t second = next_birth(&supervised);
		assert_int_not_equal(first, second);
		first = second;
	}
	kill(supervised.pid, SIGINT);
	wait_all_gone(&supervised);
	assert_int_equal(end_of(&supervised), 0);
}

static void children_go_with_a_killed_supervisor(void **state)
{
	struct supervised supervised = start("deaf", 2, 20000);

	(void)state;
	next_birth(&supervised);
	next_birth(&supervised);
	kill(supervised.pid, SIGKILL);
	wait_all_gone(&supervised);
	assert_true(WIFSIGNALED(end_of(&supervised)));
}

static void a_first_start_that_fails_ends_all_with_its_code(void **state)
{
	struct supervised supervised = start("refuse", 2, 20000);

	(void)state;
	wait_all_gone(&supervised);
	int status = end_of(&supervised);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 7);
}

static void a_child_that_does_not_end_is_killed(void **state)
{
	struct supervised supervised = start("deaf", 1, 50);

	(void)state;
	next_birth(&supervised);
	wait_ready(&supervised);
	kill(supervised.pid, SIGTERM);
	wait_all_gone(&supervised);
	int status = end_of(&supervised);
	assert_int_equal(WEXITSTATUS(status), 1);
}

static void told_twice_ends_at_once(void **state)
{
	struct supervised supervised = start("deaf", 1, 3600000);

	(void)state;
	next_birth(&supervised);
	wait_ready(&supervised);
	kill(supervised.pid, SIGTERM);
	kill(supervised.pid, SIGINT); // another number: the same one could merge with it
	wait_all_gone(&supervised);
	int status = end_of(&supervised);
	assert_int_equal(WEXITSTATUS(status), 1);
}

// A program that is still loading dies of the signal: it had nothing to end.
static void a_stop_while_starting_is_clean(void **state)
{
	struct supervised supervised = start("starting", 2, 20000);

	(void)state;
	next_birth(&supervised);
	next_birth(&supervised);
	kill(supervised.pid, SIGTERM);
	wait_all_gone(&supervised);
	assert_int_equal(end_of(&supervised), 0);
}

// timeout(1) and npm tell their child and its group: the same signal again, at the same moment.
static void a_signal_and_its_twin_are_one_stop(void **state)
{
	struct supervised supervised = start("echo", 1, 20000);

	(void)state;
	next_birth(&supervised);
	wait_ready(&supervised);
	kill(supervised.pid, SIGTERM);
	wait_all_gone(&supervised);
	assert_int_equal(end_of(&supervised), 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(clean_stop),
	    cmocka_unit_test(a_dead_child_is_started_again),
	    cmocka_unit_test(children_go_with_a_killed_supervisor),
	    cmocka_unit_test(a_first_start_that_fails_ends_all_with_its_code),
	    cmocka_unit_test(a_child_that_does_not_end_is_killed),
	    cmocka_unit_test(told_twice_ends_at_once),
	    cmocka_unit_test(a_stop_while_starting_is_clean),
	    cmocka_unit_test(a_signal_and_its_twin_are_one_stop),
	};

	if (argc == 3 && strcmp(argv[1], "--child") == 0)
		return be_child(argv[2]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
