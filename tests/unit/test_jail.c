// The jail really holds: each forbidden thing is tried by a process inside it, and how that process dies is looked at.
// What decoding needs still works.
#include "unit.h"

#include "media/jail.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { INPUT = 3, OUTPUT = 4 };

// Runs `inside` in a jailed process; returns how it ended (waitpid's status). Its result is the exit status.
static int jailed(int (*inside)(void), uint64_t memory_bytes, uint64_t cpu_seconds)
{
	const pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		struct ts_error error = {0};
		const struct ts_jail_options options = {
		    .memory_bytes = memory_bytes, .cpu_seconds = cpu_seconds, .input_fd = INPUT, .output_fd = OUTPUT};
		const int null = open("/dev/null", O_WRONLY);
		const int self = open("/proc/self/exe", O_RDONLY);
		if (null < 0 || self < 0 || dup2(null, OUTPUT + 10) < 0 || dup2(self, INPUT) < 0 ||
		    dup2(OUTPUT + 10, OUTPUT) < 0)
			_exit(101);
		if (ts_jail_enter(&options, &error) != TS_OK)
			_exit(100);
		_exit(inside());
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void assert_killed(int (*inside)(void), int number, const char *what)
{
	const int status = jailed(inside, 0, 0);

	if (!WIFSIGNALED(status) || WTERMSIG(status) != number)
		fail_msg("%s: status %#x instead of signal %d", what, (unsigned)status, number);
}

static void assert_works(int (*inside)(void), const char *what)
{
	const int status = jailed(inside, 0, 0);

	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		fail_msg("%s: status %#x", what, (unsigned)status);
}

// The result does not matter: the call must not return.
#define FORBIDDEN(name, call)      \
	static int try_##name(void)    \
	{                              \
		return (call) < 0 ? 1 : 2; \
	}

FORBIDDEN(open, open("/etc/passwd", O_RDONLY))
FORBIDDEN(openat, (int)syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDONLY))
FORBIDDEN(socket, socket(AF_INET, SOCK_STREAM, 0))
FORBIDDEN(socket_unix, socket(AF_UNIX, SOCK_STREAM, 0))
FORBIDDEN(execve, execl("/bin/true", "true", (char *)NULL))
FORBIDDEN(fork, (int)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0))
FORBIDDEN(kill_parent, kill(getppid(), 0))
FORBIDDEN(unlink, unlink("/nonexistent"))
FORBIDDEN(stat, (int)syscall(SYS_newfstatat, AT_FDCWD, "/etc", NULL, 0))
FORBIDDEN(ptrace, (int)ptrace(PTRACE_TRACEME, 0, NULL, NULL))
FORBIDDEN(prctl, prctl(PR_SET_DUMPABLE, 1, 0, 0, 0))
FORBIDDEN(setrlimit, (int)syscall(SYS_prlimit64, 0, RLIMIT_AS, NULL, NULL))
FORBIDDEN(dup, dup(INPUT))
FORBIDDEN(ioctl, (int)syscall(SYS_ioctl, INPUT, 0, 0))
FORBIDDEN(io_uring, (int)syscall(SYS_io_uring_setup, 1, NULL))
FORBIDDEN(x32_getpid, (int)syscall(0x40000000 + SYS_getpid))

static int try_write_elsewhere(void)
{
	return (int)write(1, "x", 1);
}

static int try_read_elsewhere(void)
{
	char byte;

	return (int)pread(OUTPUT + 10, &byte, 1, 0);
}

static int try_write_input(void)
{
	return (int)pwrite(INPUT, "x", 1, 0);
}

static int try_tgkill(void)
{
	return (int)syscall(SYS_tgkill, 1, 1, 0);
}

static int try_map_code(void)
{
	return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED;
}

static int try_map_file(void)
{
	return mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, INPUT, 0) == MAP_FAILED;
}

static int try_make_code(void)
{
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return mprotect(page, 4096, PROT_READ | PROT_EXEC);
}

static void test_forbidden_calls_kill(void **state)
{
	(void)state;
	static const struct {
		const char *name;
		int (*inside)(void);
	} rows[] = {
	    {"open", try_open},
	    {"openat", try_openat},
	    {"socket", try_socket},
	    {"socket_unix", try_socket_unix},
	    {"execve", try_execve},
	    {"fork", try_fork},
	    {"kill", try_kill_parent},
	    {"tgkill of another process", try_tgkill},
	    {"unlink", try_unlink},
	    {"stat", try_stat},
	    {"ptrace", try_ptrace},
	    {"prctl", try_prctl},
	    {"setrlimit", try_setrlimit},
	    {"dup", try_dup},
	    {"ioctl", try_ioctl},
	    {"io_uring", try_io_uring},
	    {"a call of the x32 interface", try_x32_getpid},
	    {"write to another descriptor", try_write_elsewhere},
	    {"read of another descriptor", try_read_elsewhere},
	    {"write to the input", try_write_input},
	    {"executable mapping", try_map_code},
	    {"mapping of a file", try_map_file},
	    {"making memory executable", try_make_code},
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		assert_killed(rows[i].inside, SIGSYS, rows[i].name);
}

static int need_input_and_output(void)
{
	char magic[4];

	if (pread(INPUT, magic, 4, 0) != 4 || memcmp(magic, "\177ELF", 4) != 0)
		return 1;
	return write(OUTPUT, magic, 4) == 4 ? 0 : 2;
}

static int compare_bytes(const void *a, const void *b)
{
	return memcmp(a, b, 64);
}

static int need_memory(void)
{
	for (size_t size = 1; size < (size_t)64 << 20; size = size * 2 + 1) {
		char *volatile block = malloc(size);
		if (!block)
			return 1;
		memset(block, 7, size);
		char *larger = realloc(block, size * 2);
		if (!larger)
			return 2;
		qsort(larger, size * 2 / 64, 64, compare_bytes);
		free(larger);
	}
	return 0;
}

static int need_abort(void)
{
	abort();
}

static void test_what_decoding_needs_works(void **state)
{
	(void)state;
	assert_works(need_input_and_output, "input and output");
	assert_works(need_memory, "memory");
	if (!ts_jail_is_loose()) // a sanitizer takes the signal
		assert_killed(need_abort, SIGABRT, "abort");
}

static int allocate_much(void)
{
	for (int i = 0; i < 64; i++) {
		char *volatile block = malloc((size_t)16 << 20);
		if (!block)
			return errno == ENOMEM ? 33 : 34;
		memset(block, 1, (size_t)16 << 20);
	}
	return 0;
}

static void test_memory_limit(void **state)
{
	(void)state;
	if (ts_jail_is_loose())
		return; // see jail.h
	const int status = jailed(allocate_much, (uint64_t)512 << 20, 0);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 33);
	assert_works(allocate_much, "a gigabyte without limit");
}

static int spin(void)
{
	volatile unsigned n = 1;

	while (n)
		n |= 1;
	return 0;
}

static void test_cpu_limit(void **state)
{
	(void)state;
	const int status = jailed(spin, 0, 1);
	assert_true(WIFSIGNALED(status));
	assert_true(WTERMSIG(status) == SIGXCPU || WTERMSIG(status) == SIGKILL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_forbidden_calls_kill),
	    cmocka_unit_test(test_what_decoding_needs_works),
	    cmocka_unit_test(test_memory_limit),
	    cmocka_unit_test(test_cpu_limit),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
