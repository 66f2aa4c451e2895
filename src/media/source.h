// The child's FFmpeg input: demuxer over the one descriptor, the best audio stream, its decoder.
// Refuses to open anything else: playlists, references to other files and URLs in the media lead nowhere.
#ifndef TS_MEDIA_SOURCE_H
#define TS_MEDIA_SOURCE_H

#include "base/err.h"
#include "media/media.h"

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <stdbool.h>
#include <stdint.h>

struct ts_source {
	int fd;
	int64_t size;
	int64_t offset;
	bool read_failed; // the descriptor gave an I/O error
	AVIOContext *io;
	AVFormatContext *format;
	AVStream *stream;
	AVCodecContext *decoder;
	bool bare;            // no timestamps worth having
	bool weak_probe;      // the format is a guess
	int64_t start_us;     // of the media's timeline, AV_TIME_BASE units
	int64_t container_us; // length of the file as it declares it; 0: it does not
	int64_t declared_us;  // length of the audio as the file declares it, from start_us; 0: it does not
};

// Loads what FFmpeg would otherwise open on demand. Call before the jail closes.
void ts_source_preload(void);

// Probes and opens. size: of the file behind fd. On error call ts_source_close all the same.
enum ts_err ts_source_open(struct ts_source *source, int fd, int64_t size, struct ts_media_info *out_info,
                           struct ts_error *error) TS_MUST_USE;
void ts_source_close(struct ts_source *source);

// Whether a packet or stream says that it is encrypted.
bool ts_source_is_encrypted(const struct ts_source *source, const AVPacket *packet);

// What FFmpeg's log said so far that its return values do not.
enum ts_source_hint { TS_HINT_NO_INDEX = 1, TS_HINT_CUT_SHORT = 2 };
unsigned ts_source_hints(void);

#endif
