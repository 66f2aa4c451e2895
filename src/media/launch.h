// Starts the decoder child: the program itself, executed again with an empty environment, default signals and nothing
// but the descriptors it is given. Not for other rooms.
#ifndef TS_MEDIA_LAUNCH_H
#define TS_MEDIA_LAUNCH_H

#include "media/child.h"

#include <sys/types.h>

// The number of a copy of `fd` above those that the child gets, so that moving descriptors there overwrites nothing;
// close-on-exec. -1: errno.
int ts_launch_above(int fd);

// path NULL: /proc/self/exe. input and output come from ts_launch_above and stay the caller's; output -1: none.
// TS_ERR_NOMEM, TS_ERR_IO.
enum ts_err ts_launch_child(const char *path, const struct ts_child_limits *limits, int input, int output,
                            pid_t *out_pid, struct ts_error *error) TS_MUST_USE;

// Kills when it still runs, and reaps: waitpid's status, -1 when it is not ours to reap.
int ts_launch_end(pid_t pid, _Bool kill_first);

#endif
