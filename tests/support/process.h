// Other processes of a test: forked before the parent opens anything (SQLite's locks must not cross a fork), told to go
// on through a pipe, answering through another.
#ifndef TS_TESTS_PROCESS_H
#define TS_TESTS_PROCESS_H

#include "store_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

struct process {
	pid_t pid;
	int to;   // the parent's end of the child's orders
	int from; // and of its answers
};

// What a child runs; 0 is success.
typedef int process_main(struct fixture *f, int orders, int answers);

static inline bool read_all(int fd, void *bytes, size_t length)
{
	char *at = bytes;

	while (length > 0) {
		ssize_t n = read(fd, at, length);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		at += n;
		length -= (size_t)n;
	}
	return true;
}

static inline bool write_all(int fd, const void *bytes, size_t length)
{
	return write(fd, bytes, length) == (ssize_t)length; // pipes take small writes whole
}

// The fixture's store must be closed; the child opens its own if it wants one.
static inline struct process process_fork(struct fixture *f, process_main *run)
{
	int orders[2], answers[2];

	assert_null(f->store);
	assert_int_equal(pipe2(orders, O_CLOEXEC), 0);
	assert_int_equal(pipe2(answers, O_CLOEXEC), 0);
	fflush(NULL);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		close(orders[1]);
		close(answers[0]);
		int status = run(f, orders[0], answers[1]);
		ts_store_close(f->store);
		_exit(status);
	}
	close(orders[0]);
	close(answers[1]);
	return (struct process){.pid = pid, .to = orders[1], .from = answers[0]};
}

static inline void process_go(struct process *process)
{
	assert_true(write_all(process->to, "g", 1));
}

// No more orders: the child's next wait for one ends.
static inline void process_close_orders(struct process *process)
{
	close(process->to);
	process->to = -1;
}

static inline bool process_await_go(int orders)
{
	char c;

	return read_all(orders, &c, 1);
}

// Of the parent after its close, or first thing in a child.
static inline void reopen_store(struct fixture *f)
{
	ok(f->backend->open(f, &f->store, &f->error));
}

// The exit status, or -signal.
static inline int process_end(struct process *process)
{
	int status;

	while (waitpid(process->pid, &status, 0) < 0)
		assert_int_equal(errno, EINTR);
	if (process->to >= 0)
		close(process->to);
	close(process->from);
	return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

static inline void close_store_of(struct fixture *f)
{
	ts_store_close(f->store);
	f->store = NULL;
}

#endif
