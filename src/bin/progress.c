// The progress bar of the command line.
#include "bin/progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define REDRAW_MS 100
#define CELLS 24
// Below that share the speed is a guess.
#define GUESS_SHARE 0.02

static void clock_text(int64_t ms, char out[16])
{
	int64_t s = ms / 1000;

	if (s >= 3600)
		snprintf(out, 16, "%" PRId64 ":%02d:%02d", s / 3600 % 1000, (int)(s / 60 % 60), (int)(s % 60));
	else
		snprintf(out, 16, "%d:%02d", (int)(s / 60), (int)(s % 60));
}

char *ts_progress_format(const char *name, int64_t audio_ms, int64_t duration_ms, int64_t elapsed_ms,
                         char out[TS_PROGRESS_LINE])
{
	char cells[CELLS + 1], done[16], left[16] = "";

	clock_text(audio_ms, done);
	if (duration_ms <= 0) {
		snprintf(out, TS_PROGRESS_LINE, "%.60s  %s done", name, done);
		return out;
	}
	double share = (double)audio_ms / (double)duration_ms;
	share = share < 0 ? 0 : share > 1 ? 1 : share;
	int full = (int)(share * CELLS);
	memset(cells, '.', CELLS);
	memset(cells, '#', (size_t)full);
	cells[CELLS] = '\0';
	if (share >= GUESS_SHARE)
		clock_text((int64_t)((double)elapsed_ms * (1 - share) / share), left);
	snprintf(out, TS_PROGRESS_LINE, "[%s] %3d %%  %s%s%.60s", cells, (int)(share * 100), left, *left ? " left  " : "",
	         name);
	return out;
}

static void put(const struct ts_progress_bar *bar, const char *text)
{
	if (write(bar->fd, text, strlen(text)) < 0)
		return; // nobody looks
}

void ts_progress_begin(struct ts_progress_bar *bar, const char *name, int fd, const struct ts_clock *clock)
{
	*bar = (struct ts_progress_bar){.name = name, .fd = fd >= 0 && isatty(fd) == 1 ? fd : -1, .clock = clock};
	bar->started_ms = ts_mono_ms(clock);
	ts_progress_show(bar, 0, 0);
}

void ts_progress_show(struct ts_progress_bar *bar, int64_t audio_ms, int64_t duration_ms)
{
	char text[TS_PROGRESS_LINE], line[TS_PROGRESS_LINE + 16];
	int64_t now = ts_mono_ms(bar->clock);

	if (bar->fd < 0 || (bar->drawn && now - bar->drawn_ms < REDRAW_MS))
		return;
	ts_progress_format(bar->name, audio_ms, duration_ms, now - bar->started_ms, text);
	snprintf(line, sizeof line, "\r%s\033[K", text);
	put(bar, line);
	bar->drawn = true;
	bar->drawn_ms = now;
}

void ts_progress_end(struct ts_progress_bar *bar)
{
	if (bar->fd >= 0 && bar->drawn)
		put(bar, "\r\033[K");
	bar->fd = -1;
}
