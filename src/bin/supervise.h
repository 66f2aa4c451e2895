// Runs programs as children until a signal says stop: restarts one that dies, with growing pauses.
#ifndef TS_BIN_SUPERVISE_H
#define TS_BIN_SUPERVISE_H

#include "base/log.h"

#include <stddef.h>

#define TS_SUPERVISE_MAX 4
#define TS_SUPERVISE_LINE 256

struct ts_supervise_options {
	const char *const *programs; // paths, up to TS_SUPERVISE_MAX
	size_t count;
	char *const *arguments; // given to each
	size_t argument_count;
	int64_t stop_ms; // after a stop signal, before children are killed
	const struct ts_log *log;
	const struct ts_clock *clock;
	// Called once, when each child has told its ready line (without its newline). NULL: not wanted.
	void (*ready)(void *ctx, const char *const *lines);
	void *ctx;
};

// SIGTERM, SIGINT and SIGHUP must be blocked. *out_code: 0 after a clean stop; 1 when a child had to be killed or
// failed while stopping; the child's own code when its very first start failed (there is no use in trying again).
enum ts_err ts_supervise(const struct ts_supervise_options *options, int *out_code, struct ts_error *error) TS_MUST_USE;

#endif
