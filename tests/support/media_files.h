// Media for tests, made when they run: a temporary folder, commands run in it, and reference samples.
// Everything fails the process loudly: a test without its input proves nothing.
#ifndef TS_TEST_MEDIA_FILES_H
#define TS_TEST_MEDIA_FILES_H

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MEDIA_UNUSED __attribute__((unused))

static char media_folder[512];

static MEDIA_UNUSED void media_die(const char *what)
{
	fprintf(stderr, "media_files: %s: %s\n", what, strerror(errno));
	abort();
}

// Runs a shell command in the temporary folder; with output only when it fails.
static MEDIA_UNUSED __attribute__((format(printf, 1, 2))) void media_run(const char *format, ...)
{
	char command[4096];
	char line[8192];
	va_list args;

	va_start(args, format);
	vsnprintf(command, sizeof command, format, args);
	va_end(args);
	snprintf(line, sizeof line, "cd '%s' && { %s; } </dev/null >.output 2>&1 || { cat .output >&2; exit 1; }",
	         media_folder, command);
	if (system(line) != 0)
		media_die(command);
}

#define FFMPEG "ffmpeg -nostdin -v error -y "

static MEDIA_UNUSED void media_folder_make(void)
{
	const char *base = getenv("TMPDIR");

	snprintf(media_folder, sizeof media_folder, "%s/ts-media-XXXXXX", base && *base ? base : "/tmp");
	if (!mkdtemp(media_folder))
		media_die("mkdtemp");
}

static MEDIA_UNUSED void media_folder_remove(void)
{
	char line[1024];

	snprintf(line, sizeof line, "rm -rf '%s'", media_folder);
	if (system(line) != 0)
		media_die(line);
}

// Opens a file of the folder for reading.
static MEDIA_UNUSED int media_fd(const char *name)
{
	char path[1024];

	snprintf(path, sizeof path, "%s/%s", media_folder, name);
	const int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		media_die(path);
	return fd;
}

// Reads raw 16-bit little-endian mono samples of the folder; free() them.
static MEDIA_UNUSED float *media_samples(const char *name, size_t *out_count)
{
	const int fd = media_fd(name);
	const off_t size = lseek(fd, 0, SEEK_END);
	const size_t count = (size_t)size / sizeof(int16_t);
	int16_t *raw = malloc((size_t)size + 1);
	float *samples = malloc(count * sizeof *samples + 1);

	if (!raw || !samples || pread(fd, raw, (size_t)size, 0) != size)
		media_die(name);
	for (size_t i = 0; i < count; i++)
		samples[i] = (float)raw[i] / 32768.0F;
	free(raw);
	close(fd);
	*out_count = count;
	return samples;
}

// Samples [start, start + count) of a file of ours as raw samples (16 kHz mono s16): speech by flite.
static MEDIA_UNUSED void media_make_speech(const char *voice, const char *text, const char *wav, const char *raw)
{
	media_run("flite -voice %s -t '%s' -o '%s'", voice, text, wav);
	media_run(FFMPEG "-i '%s' -ar 16000 -ac 1 -f s16le '%s'", wav, raw);
}

static MEDIA_UNUSED double media_energy(const float *samples, size_t count)
{
	double sum = 0;

	for (size_t i = 0; i < count; i++)
		sum += (double)samples[i] * (double)samples[i];
	return count ? sqrt(sum / (double)count) : 0;
}

// Normalised correlation of the two at the best lag within +-max_lag; *out_lag: how much later b is.
static MEDIA_UNUSED double media_correlation(const float *a, size_t a_count, const float *b, size_t b_count,
                                             int max_lag, int *out_lag)
{
	double best = -1;

	for (int lag = -max_lag; lag <= max_lag; lag++) {
		double ab = 0;
		double aa = 0;
		double bb = 0;
		for (size_t i = 0; i < a_count; i++) {
			const long at = (long)i + lag;
			if (at < 0 || (size_t)at >= b_count)
				continue;
			ab += (double)a[i] * (double)b[at];
			aa += (double)a[i] * (double)a[i];
			bb += (double)b[at] * (double)b[at];
		}
		const double r = aa > 0 && bb > 0 ? ab / sqrt(aa * bb) : 0;
		if (r > best) {
			best = r;
			*out_lag = lag;
		}
	}
	return best;
}

#endif
