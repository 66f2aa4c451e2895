// Speech for tests: synthesised by flite when the test runs, read from WAV; a source that hands it out; words compared.
// 16 kHz mono only: what flite's voices slt, rms and awb give.
#ifndef TS_TESTS_SPEECH_H
#define TS_TESTS_SPEECH_H

#include "asr/asr.h"
#include "base/mem.h"

#include <ctype.h>
#include <math.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define TS_SPEECH_RATE 16000

extern char **environ;

struct ts_speech {
	float *samples; // owned
	size_t count;
};

static inline void ts_speech_finish(struct ts_speech *speech)
{
	ts_free(speech->samples);
	*speech = (struct ts_speech){0};
}

// Appends `count` samples (zeros for NULL). Aborts when memory is out: these are tests.
static inline void ts_speech_add(struct ts_speech *speech, const float *samples, size_t count)
{
	float *larger = ts_realloc(speech->samples, speech->count + count + 1, sizeof *larger);
	if (!larger)
		abort();
	if (samples && count)
		memcpy(larger + speech->count, samples, count * sizeof *larger);
	else
		memset(larger + speech->count, 0, count * sizeof *larger);
	speech->samples = larger;
	speech->count += count;
}

static inline void ts_speech_silence(struct ts_speech *speech, int64_t ms)
{
	ts_speech_add(speech, NULL, (size_t)ms * TS_SPEECH_RATE / 1000);
}

// Appends the samples of a 16-bit mono 16 kHz WAV file; false when it is not one.
static inline _Bool ts_speech_add_wav(struct ts_speech *speech, const char *path)
{
	unsigned char head[12], chunk[8], format[16];
	FILE *file = fopen(path, "rbe");
	_Bool found = 0;

	if (!file)
		return 0;
	if (fread(head, 1, sizeof head, file) != sizeof head || memcmp(head, "RIFF", 4) || memcmp(head + 8, "WAVE", 4)) {
		fclose(file);
		return 0;
	}
	while (!found && fread(chunk, 1, sizeof chunk, file) == sizeof chunk) {
		size_t size = chunk[4] | (size_t)chunk[5] << 8 | (size_t)chunk[6] << 16 | (size_t)chunk[7] << 24;
		if (memcmp(chunk, "fmt ", 4) == 0 && size >= sizeof format) {
			if (fread(format, 1, sizeof format, file) != sizeof format || format[0] != 1 || format[2] != 1 ||
			    format[4] != (TS_SPEECH_RATE & 255) || format[5] != TS_SPEECH_RATE >> 8 || format[14] != 16)
				break;
			size -= sizeof format;
		}
		if (memcmp(chunk, "data", 4) != 0) {
			fseek(file, (long)(size + (size & 1)), SEEK_CUR);
			continue;
		}
		int16_t pcm[512];
		float samples[512];
		size_t count;
		while ((count = fread(pcm, 2, size / 2 < 512 ? size / 2 : 512, file)) > 0) {
			for (size_t i = 0; i < count; i++)
				samples[i] = (float)pcm[i] / 32768.0F;
			ts_speech_add(speech, samples, count);
			size -= count * 2;
		}
		found = 1;
	}
	fclose(file);
	return found;
}

// Appends `text` spoken by one of flite's voices; false when flite fails.
static inline _Bool ts_speech_say(struct ts_speech *speech, const char *voice, const char *text)
{
	char path[] = "/tmp/speech-XXXXXX";
	char program[] = "flite", option_voice[] = "-voice", option_text[] = "-t", option_out[] = "-o";
	int fd = mkstemp(path), status = -1;
	pid_t pid;

	if (fd < 0)
		return 0;
	close(fd);
	char *voice_copy = ts_strdup(voice), *text_copy = ts_strdup(text);
	char *arguments[] = {program, option_voice, voice_copy, option_text, text_copy, option_out, path, NULL};
	_Bool ok = voice_copy && text_copy && posix_spawnp(&pid, "flite", NULL, NULL, arguments, environ) == 0 &&
	           waitpid(pid, &status, 0) == pid && status == 0 && ts_speech_add_wav(speech, path);
	ts_free(voice_copy);
	ts_free(text_copy);
	unlink(path);
	return ok;
}

// A source over speech. Hands out at most `chunk` samples a call (0: as many as asked for).
struct ts_speech_source {
	const struct ts_speech *speech;
	size_t at;
	size_t chunk;
	size_t fail_at;        // a read that begins at or after it fails; 0: never
	enum ts_err fail_with; // with that; TS_OK: TS_ERR_IO
	size_t abort_at;       // the flag is set once so many samples are read; 0: never
	atomic_bool *abort;    // that flag
};

static inline enum ts_err ts_speech_read(void *ctx, float *samples, size_t capacity, size_t *out_count,
                                         struct ts_error *error)
{
	struct ts_speech_source *source = ctx;
	size_t left = source->speech->count - source->at;
	size_t count = left < capacity ? left : capacity;

	if (source->chunk && count > source->chunk)
		count = source->chunk;
	if (source->fail_at && source->at >= source->fail_at)
		return ts_fail(error, source->fail_with ? source->fail_with : TS_ERR_IO, "the test's source broke");
	if (count)
		memcpy(samples, source->speech->samples + source->at, count * sizeof *samples);
	source->at += count;
	if (source->abort_at && source->at >= source->abort_at)
		atomic_store(source->abort, 1);
	*out_count = count;
	return TS_OK;
}

// Next word of *text (letters, digits, apostrophes), lower-cased; false at the end.
static inline _Bool ts_speech_word(const char **text, char out[64])
{
	size_t length = 0;

	while (**text && !isalnum((unsigned char)**text))
		(*text)++;
	while (**text && (isalnum((unsigned char)**text) || **text == '\'')) {
		if (length < 63)
			out[length++] = (char)tolower((unsigned char)**text);
		(*text)++;
	}
	out[length] = '\0';
	return length > 0;
}

#define TS_SPEECH_WORDS_MAX 2000
// Fraction of the reference's words that are wrong, missing or too many (word error rate).
static inline double ts_speech_word_errors(const char *reference, const char *heard)
{
	static char a[TS_SPEECH_WORDS_MAX][64], b[TS_SPEECH_WORDS_MAX][64];
	static int row[TS_SPEECH_WORDS_MAX + 1];
	int n = 0, m = 0;

	while (n < TS_SPEECH_WORDS_MAX && ts_speech_word(&reference, a[n]))
		n++;
	while (m < TS_SPEECH_WORDS_MAX && ts_speech_word(&heard, b[m]))
		m++;
	for (int j = 0; j <= m; j++)
		row[j] = j;
	for (int i = 1; i <= n; i++) {
		int diagonal = row[0];
		row[0] = i;
		for (int j = 1; j <= m; j++) {
			int above = row[j];
			int best = diagonal + (strcmp(a[i - 1], b[j - 1]) != 0);
			if (above + 1 < best)
				best = above + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			row[j] = best;
			diagonal = above;
		}
	}
	return n ? (double)row[m] / n : (double)m;
}

#endif
