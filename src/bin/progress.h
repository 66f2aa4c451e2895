// A progress bar on a terminal, redrawn in place: share done and time left. Silent when the descriptor is no terminal.
#ifndef TS_BIN_PROGRESS_H
#define TS_BIN_PROGRESS_H

#include "base/clock.h"

#include <stdbool.h>

struct ts_progress_bar {
	const char *name; // borrowed
	int fd;           // -1: silent
	const struct ts_clock *clock;
	int64_t started_ms, drawn_ms;
	bool drawn;
};

#define TS_PROGRESS_LINE 160
// The text of the bar. duration_ms 0: unknown. Pure; returns out.
char *ts_progress_format(const char *name, int64_t audio_ms, int64_t duration_ms, int64_t elapsed_ms,
                         char out[TS_PROGRESS_LINE]);

void ts_progress_begin(struct ts_progress_bar *bar, const char *name, int fd, const struct ts_clock *clock);
void ts_progress_show(struct ts_progress_bar *bar, int64_t audio_ms, int64_t duration_ms);
void ts_progress_end(struct ts_progress_bar *bar); // wipes the line

#endif
