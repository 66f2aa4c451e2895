// The stream of frames from the decoder child to its parent: INFO, then PCM and WARN in any order, then END or
// ERROR. The child may have been taken over by the media it decodes, so the parser believes nothing: every length,
// text, number and the order itself are checked, and what is wrong is TS_ERR_MEDIA_CRASHED.
#ifndef TS_MEDIA_FRAMES_H
#define TS_MEDIA_FRAMES_H

#include "base/err.h"
#include "media/media.h"

#include <stddef.h>
#include <stdint.h>

enum ts_frame_kind {
	TS_FRAME_NONE, // not on the wire: no whole frame yet
	TS_FRAME_INFO,
	TS_FRAME_PCM,
	TS_FRAME_WARN,
	TS_FRAME_ERROR,
	TS_FRAME_END,
};

// On the wire, in the machine's byte order (both ends are the same program).
struct ts_frame_header {
	uint32_t kind;
	uint32_t length; // bytes of payload that follow
};
// PCM: float[length / 4]. WARN: text. INFO: struct ts_media_info. END: uint64_t, the samples sent.
// ERROR: uint32_t enum ts_err, then text.

#define TS_FRAME_SAMPLES_MAX 8192
#define TS_FRAME_TEXT_MAX 400
#define TS_FRAME_WARNINGS_MAX 64
#define TS_FRAME_PAYLOAD_MAX (TS_FRAME_SAMPLES_MAX * sizeof(float))

// What the parent makes of a frame. Pointers are valid until the next ts_frames_room.
struct ts_frame {
	enum ts_frame_kind kind;
	const float *samples; // PCM: finite, in [-1, 1]
	size_t count;
	const struct ts_media_info *info;
	const char *text; // WARN, ERROR: printable ASCII
	enum ts_err code; // ERROR: one that a decoder may report
};

struct ts_frames {
	enum { TS_FRAMES_BEGIN, TS_FRAMES_STREAM, TS_FRAMES_DONE } state;
	struct ts_frame_header header;
	size_t filled;        // bytes of the present frame, header included
	uint64_t samples;     // seen so far
	uint64_t samples_max; // more is TS_ERR_MEDIA_TOO_LARGE
	unsigned warnings;
	union {
		float samples[TS_FRAME_SAMPLES_MAX];
		char text[TS_FRAME_PAYLOAD_MAX + 1]; // one more for the terminator
		struct ts_media_info info;
		struct {
			uint32_t code;
			char text[TS_FRAME_TEXT_MAX + 1];
		} error;
		uint64_t total;
	} payload;
};

void ts_frames_init(struct ts_frames *frames, uint64_t samples_max);

// Where the next bytes of the stream go; *out_size (> 0) is how many at most.
void *ts_frames_room(struct ts_frames *frames, size_t *out_size);

// Tells that `count` bytes (<= what room said) lie there now. out->kind is TS_FRAME_NONE until the frame is whole.
// After an error, END or ERROR the stream is over: more bytes are TS_ERR_MEDIA_CRASHED.
enum ts_err ts_frames_advance(struct ts_frames *frames, size_t count, struct ts_frame *out,
                              struct ts_error *error) TS_MUST_USE;

// The child's side: writes one frame whole to fd (blocking). False when the parent is gone.
_Bool ts_frames_write(int fd, enum ts_frame_kind kind, const void *payload, size_t length) TS_MUST_USE;

#endif
