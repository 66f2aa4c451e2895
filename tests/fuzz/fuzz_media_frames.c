// Any bytes as what a taken-over decoder child sends: the parser stays inside its buffer, hands out only what is in
// range and in order, and says the same however the bytes arrive. The first byte of the input is the step size.
#include "media/frames.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define SAMPLES_MAX 20000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(_Bool holds)
{
	if (!holds)
		abort();
}

struct summary {
	enum ts_err err;
	unsigned frames;
	uint64_t samples;
	uint64_t hash; // of everything handed out
	_Bool over;
};

static void mix(struct summary *s, const void *bytes, size_t length)
{
	const unsigned char *p = bytes;

	for (size_t i = 0; i < length; i++)
		s->hash = (s->hash ^ p[i]) * UINT64_C(1099511628211);
}

static void check_text(const char *text, size_t max)
{
	check(strlen(text) <= max);
	for (; *text; text++)
		check(*text >= ' ' && *text <= '~');
}

static void take(struct summary *s, const struct ts_frame *frame, _Bool *began)
{
	check(!s->over);
	s->frames++;
	mix(s, &frame->kind, sizeof frame->kind);
	switch (frame->kind) {
	case TS_FRAME_NONE: abort();
	case TS_FRAME_INFO:
		check(!*began);
		*began = 1;
		check(frame->info->channels > 0 && frame->info->sample_rate > 0 && frame->info->duration_ms >= 0);
		check_text(frame->info->container, sizeof frame->info->container - 1);
		check_text(frame->info->codec, sizeof frame->info->codec - 1);
		break;
	case TS_FRAME_PCM:
		check(*began && frame->count > 0 && frame->count <= TS_FRAME_SAMPLES_MAX);
		for (size_t i = 0; i < frame->count; i++)
			check(frame->samples[i] >= -1 && frame->samples[i] <= 1);
		mix(s, frame->samples, frame->count * sizeof *frame->samples);
		s->samples += frame->count;
		check(s->samples <= SAMPLES_MAX);
		break;
	case TS_FRAME_WARN:
		check_text(frame->text, TS_FRAME_TEXT_MAX);
		mix(s, frame->text, strlen(frame->text));
		break;
	case TS_FRAME_ERROR:
		check_text(frame->text, TS_FRAME_TEXT_MAX);
		check(frame->code != TS_OK && frame->code < TS_ERR_COUNT);
		mix(s, frame->text, strlen(frame->text));
		s->over = 1;
		break;
	case TS_FRAME_END:
		check(*began);
		s->over = 1;
		break;
	}
}

static struct summary parse(struct ts_frames *frames, const uint8_t *data, size_t size, size_t step)
{
	struct summary s = {.hash = UINT64_C(14695981039346656037)};
	struct ts_error error = {0};
	_Bool began = 0;

	ts_frames_init(frames, SAMPLES_MAX);
	while (size > 0) {
		struct ts_frame frame;
		size_t room;
		void *to = ts_frames_room(frames, &room);
		check(room > 0 && room <= TS_FRAME_PAYLOAD_MAX);
		size_t n = room < step ? room : step;
		n = n < size ? n : size;
		memcpy(to, data, n);
		data += n;
		size -= n;
		s.err = ts_frames_advance(frames, n, &frame, &error);
		if (s.err != TS_OK) {
			check(s.err == TS_ERR_MEDIA_CRASHED || s.err == TS_ERR_MEDIA_TOO_LARGE);
			check(error.message[0] != '\0');
			return s;
		}
		if (frame.kind != TS_FRAME_NONE)
			take(&s, &frame, &began);
	}
	return s;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	// On the heap, so that the sanitizer guards both sides of it.
	struct ts_frames *frames = malloc(sizeof *frames);
	check(frames != NULL);
	const struct summary a = parse(frames, data + 1, size - 1, (size_t)data[0] + 1);
	const struct summary b = parse(frames, data + 1, size - 1, SIZE_MAX);
	check(a.err == b.err && a.frames == b.frames && a.samples == b.samples && a.hash == b.hash);
	free(frames);
	return 0;
}
