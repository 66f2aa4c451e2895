// Parser and writer of the frames between parent and decoder child; see frames.h for what may come when.
#include "media/frames.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

#define DURATION_MAX_MS (INT64_C(10) * 366 * 24 * 3600 * 1000) // what a file may declare: ten years
#define CHANNELS_MAX 1024
#define SAMPLE_RATE_MAX 10000000

static_assert(sizeof(struct ts_media_info) == 112, "no padding travels between the processes");

void ts_frames_init(struct ts_frames *frames, uint64_t samples_max)
{
	frames->state = TS_FRAMES_BEGIN;
	frames->filled = 0;
	frames->samples = 0;
	frames->samples_max = samples_max;
	frames->warnings = 0;
}

static enum ts_err violation(struct ts_frames *frames, struct ts_error *error, const char *what)
{
	frames->state = TS_FRAMES_DONE;
	return ts_fail(error, TS_ERR_MEDIA_CRASHED, "the media decoder broke its protocol: %s", what);
}

void *ts_frames_room(struct ts_frames *frames, size_t *out_size)
{
	const size_t head = sizeof frames->header;

	if (frames->filled < head) {
		*out_size = head - frames->filled;
		return (char *)&frames->header + frames->filled;
	}
	*out_size = head + frames->header.length - frames->filled;
	return (char *)&frames->payload + (frames->filled - head);
}

static enum ts_err check_header(struct ts_frames *frames, struct ts_error *error)
{
	const uint32_t length = frames->header.length;
	const bool began = frames->state == TS_FRAMES_STREAM;
	bool good;

	switch (frames->header.kind) {
	case TS_FRAME_INFO:
		if (began)
			return violation(frames, error, "INFO twice");
		good = length == sizeof(struct ts_media_info);
		break;
	case TS_FRAME_PCM:
		if (!began)
			return violation(frames, error, "PCM before INFO");
		good = length > 0 && length <= TS_FRAME_PAYLOAD_MAX && length % sizeof(float) == 0;
		break;
	case TS_FRAME_WARN:
		if (++frames->warnings > TS_FRAME_WARNINGS_MAX)
			return violation(frames, error, "too many warnings");
		good = length > 0 && length <= TS_FRAME_TEXT_MAX;
		break;
	case TS_FRAME_ERROR: good = length >= sizeof(uint32_t) && length <= sizeof(uint32_t) + TS_FRAME_TEXT_MAX; break;
	case TS_FRAME_END:
		if (!began)
			return violation(frames, error, "END before INFO");
		good = length == sizeof(uint64_t);
		break;
	default: return violation(frames, error, "unknown frame");
	}
	return good ? TS_OK : violation(frames, error, "frame of a wrong length");
}

static void make_printable(char *text, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if (text[i] < ' ' || text[i] > '~')
			text[i] = '?';
	text[length] = '\0';
}

static bool is_printable(const char *text, size_t size)
{
	const size_t length = strnlen(text, size);

	if (length == size)
		return false;
	for (size_t i = 0; i < length; i++)
		if (text[i] < ' ' || text[i] > '~')
			return false;
	return true;
}

static bool info_is_sane(const struct ts_media_info *info)
{
	return is_printable(info->container, sizeof info->container) && is_printable(info->codec, sizeof info->codec) &&
	       info->duration_ms >= 0 && info->duration_ms <= DURATION_MAX_MS && info->channels >= 1 &&
	       info->channels <= CHANNELS_MAX && info->sample_rate >= 1 && info->sample_rate <= SAMPLE_RATE_MAX;
}

static bool may_report(uint32_t code)
{
	switch (code) {
	case TS_ERR_IO:
	case TS_ERR_INTERNAL:
	case TS_ERR_MEDIA_TOO_LARGE:
	case TS_ERR_MEDIA_NOT_MEDIA:
	case TS_ERR_MEDIA_NO_AUDIO:
	case TS_ERR_MEDIA_TRUNCATED:
	case TS_ERR_MEDIA_ENCRYPTED:
	case TS_ERR_MEDIA_UNSUPPORTED:
	case TS_ERR_MEDIA_CRASHED: return true;
	default: return false;
	}
}

static enum ts_err take_pcm(struct ts_frames *frames, struct ts_frame *out, struct ts_error *error)
{
	const size_t count = frames->header.length / sizeof(float);

	if (count > frames->samples_max - frames->samples) {
		frames->state = TS_FRAMES_DONE;
		return ts_fail(error, TS_ERR_MEDIA_TOO_LARGE, "the audio is longer than the limit of %llu s",
		               (unsigned long long)(frames->samples_max / TS_MEDIA_SAMPLE_RATE));
	}
	for (size_t i = 0; i < count; i++) {
		const float sample = frames->payload.samples[i];
		frames->payload.samples[i] = isnan(sample) ? 0.0F : fminf(fmaxf(sample, -1.0F), 1.0F);
	}
	frames->samples += count;
	*out = (struct ts_frame){.kind = TS_FRAME_PCM, .samples = frames->payload.samples, .count = count};
	return TS_OK;
}

static enum ts_err take(struct ts_frames *frames, struct ts_frame *out, struct ts_error *error)
{
	const size_t length = frames->header.length;

	switch ((enum ts_frame_kind)frames->header.kind) {
	case TS_FRAME_INFO:
		if (!info_is_sane(&frames->payload.info))
			return violation(frames, error, "INFO out of range");
		frames->state = TS_FRAMES_STREAM;
		*out = (struct ts_frame){.kind = TS_FRAME_INFO, .info = &frames->payload.info};
		return TS_OK;
	case TS_FRAME_PCM: return take_pcm(frames, out, error);
	case TS_FRAME_WARN:
		make_printable(frames->payload.text, length);
		*out = (struct ts_frame){.kind = TS_FRAME_WARN, .text = frames->payload.text};
		return TS_OK;
	case TS_FRAME_ERROR:
		if (!may_report(frames->payload.error.code))
			return violation(frames, error, "unknown error code");
		make_printable(frames->payload.error.text, length - sizeof(uint32_t));
		frames->state = TS_FRAMES_DONE;
		*out = (struct ts_frame){.kind = TS_FRAME_ERROR,
		                         .text = frames->payload.error.text,
		                         .code = (enum ts_err)frames->payload.error.code};
		return TS_OK;
	case TS_FRAME_END:
		if (frames->payload.total != frames->samples)
			return violation(frames, error, "END with another number of samples");
		frames->state = TS_FRAMES_DONE;
		*out = (struct ts_frame){.kind = TS_FRAME_END};
		return TS_OK;
	case TS_FRAME_NONE: break;
	}
	return violation(frames, error, "unknown frame");
}

enum ts_err ts_frames_advance(struct ts_frames *frames, size_t count, struct ts_frame *out, struct ts_error *error)
{
	const size_t head = sizeof frames->header;

	if (frames->state == TS_FRAMES_DONE)
		return violation(frames, error, "bytes after the end");
	const bool in_header = frames->filled < head;
	frames->filled += count;
	if (in_header && frames->filled == head)
		TS_TRY(check_header(frames, error)); // no frame is empty: the payload comes with a later call
	if (frames->filled < head || frames->filled < head + frames->header.length) {
		*out = (struct ts_frame){.kind = TS_FRAME_NONE};
		return TS_OK;
	}
	frames->filled = 0;
	return take(frames, out, error);
}

_Bool ts_frames_write(int fd, enum ts_frame_kind kind, const void *payload, size_t length)
{
	char frame[sizeof(struct ts_frame_header) + TS_FRAME_PAYLOAD_MAX];
	const struct ts_frame_header header = {.kind = kind, .length = (uint32_t)length};
	size_t sent = 0;

	assert(length > 0 && length <= TS_FRAME_PAYLOAD_MAX);
	memcpy(frame, &header, sizeof header);
	memcpy(frame + sizeof header, payload, length);
	length += sizeof header;
	while (sent < length) {
		const ssize_t n = write(fd, frame + sent, length - sent);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		sent += (size_t)n;
	}
	return true;
}
