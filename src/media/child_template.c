// The child's side of a template (child.h). It never reads the media: what is hostile is only ever touched by a copy,
// after the copy's jail has closed. Refuses to wait for its copies: they are not its children.
#include "media/child.h"

#include <errno.h>
#include <linux/close_range.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static enum ts_err parent_gone(struct ts_error *error)
{
	return ts_fail(error, TS_ERR_ABORTED, "the parent is gone");
}

static enum ts_err receive(struct ts_child_limits *limits, int fds[TS_CHILD_REQUEST_FDS], struct ts_error *error)
{
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(TS_CHILD_REQUEST_FDS * sizeof(int))];
	} control;
	struct iovec data = {.iov_base = limits, .iov_len = sizeof *limits};
	struct msghdr message = {
	    .msg_iov = &data, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
	ssize_t got;

	while ((got = recvmsg(TS_CHILD_INPUT_FD, &message, 0)) < 0 && errno == EINTR)
		;
	const struct cmsghdr *header = got == (ssize_t)sizeof *limits ? CMSG_FIRSTHDR(&message) : NULL;
	if (!header || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS ||
	    header->cmsg_len != CMSG_LEN(TS_CHILD_REQUEST_FDS * sizeof(int)))
		return parent_gone(error);
	memcpy(fds, CMSG_DATA(header), TS_CHILD_REQUEST_FDS * sizeof(int));
	return TS_OK;
}

// In the copy: the media takes the socket's place.
static enum ts_err take_place(const int fds[TS_CHILD_REQUEST_FDS], struct ts_error *error)
{
	if (dup2(fds[0], TS_CHILD_INPUT_FD) < 0 || dup2(fds[1], TS_CHILD_OUTPUT_FD) < 0 ||
	    close_range(TS_CHILD_OUTPUT_FD + 1, ~0U, 0) != 0)
		return ts_fail(error, TS_ERR_IO, "the media file cannot be taken over");
	return TS_OK;
}

enum ts_err ts_child_template(struct ts_child_limits *out_limits, struct ts_error *error)
{
	for (;;) {
		int fds[TS_CHILD_REQUEST_FDS];
		TS_TRY(receive(out_limits, fds, error));
		// glibc has no fork with CLONE_PARENT. What its own fork does beyond the call is for programs with threads;
		// this one has none, and its copies may not make any.
		const long pid = syscall(SYS_clone, CLONE_PARENT | SIGCHLD, NULL, NULL, NULL, NULL);
		if (pid == 0)
			return take_place(fds, error);
		const int32_t answer = pid > 0 ? (int32_t)pid : -errno;
		for (size_t i = 0; i < TS_CHILD_REQUEST_FDS; i++)
			close(fds[i]);
		if (send(TS_CHILD_INPUT_FD, &answer, sizeof answer, MSG_NOSIGNAL) != (ssize_t)sizeof answer)
			return parent_gone(error);
	}
}
