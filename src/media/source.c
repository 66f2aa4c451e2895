// Opening media with FFmpeg inside the jailed child; see source.h. All of it runs single threaded: the jail has no
// clone(2), so every decoder is told to use one thread and video decoders are never opened.
#include "media/source.h"

#include "base/mem.h"
#include "media/child.h"
#include "media/frames.h"

#include <errno.h>
#include <iconv.h>
#include <libavutil/avstring.h>
#include <libavutil/intreadwrite.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define IO_BUFFER_SIZE (64 * 1024)
#define PROBE_BYTES (INT64_C(8) << 20)
#define PRIMING_MAX_US (INT64_C(10) * AV_TIME_BASE)
#define LATE_START_MAX_US (INT64_C(3600) * AV_TIME_BASE)
#define ANALYZE_US (INT64_C(15) * AV_TIME_BASE)

// Demuxers that follow references to other files or to the network, that run scripts or read devices.
static const char *const blocked_formats[] = {
    "concat", "hls", "applehttp", "dash",     "imf",         "sdp",        "rtsp",
    "rtp",    "sap", "image2",    "avisynth", "vapoursynth", "ffmetadata",
};

static unsigned hints; // process-wide like FFmpeg's log callback; the child decodes one file in its life
static unsigned warnings;

unsigned ts_source_hints(void)
{
	return hints;
}

static void on_log(void *context, int level, const char *format, va_list args)
{
	char line[TS_FRAME_TEXT_MAX + 1];
	const AVClass *class = context ? *(const AVClass *const *)context : NULL;

	if (level > AV_LOG_WARNING)
		return;
	int head = class ? snprintf(line, sizeof line, "%s: ", class->class_name) : 0;
	if (head < 0 || (size_t)head >= sizeof line)
		head = 0;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	vsnprintf(line + head, sizeof line - (size_t)head, format, args);
#pragma GCC diagnostic pop
	line[strcspn(line, "\n")] = '\0';
	if (strstr(line, "moov atom not found"))
		hints |= TS_HINT_NO_INDEX;
	if (strstr(line, "File ended prematurely") || strstr(line, "partial file"))
		hints |= TS_HINT_CUT_SHORT;
	if (strstr(line, "not on whitelist") || strstr(line, "Failed to open codec in avformat_find_stream_info"))
		return; // video, which we do not let it open
	// A few are enough to understand a file; a broken one makes thousands.
	if (warnings < TS_FRAME_WARNINGS_MAX && line[0] != '\0') {
		warnings++;
		if (!ts_frames_write(TS_CHILD_OUTPUT_FD, TS_FRAME_WARN, line, strlen(line)))
			_exit(1);
	}
}

void ts_source_preload(void)
{
	// Character sets of broadcast text (EN 300 468, table A.3): glibc loads a module for each.
	static const char *const charsets[] = {
	    "ISO6937",    "ISO8859-1",  "ISO8859-2", "ISO8859-3",  "ISO8859-4",  "ISO8859-5",  "ISO8859-6",
	    "ISO8859-7",  "ISO8859-8",  "ISO8859-9", "ISO8859-10", "ISO8859-11", "ISO8859-12", "ISO8859-13",
	    "ISO8859-14", "ISO8859-15", "UCS-2BE",   "KSC_5601",   "GB2312",     "UTF-8",
	};

	setenv("TZ", "UTC0", 1); // no /etc/localtime later on
	tzset();
	for (size_t i = 0; i < sizeof charsets / sizeof charsets[0]; i++) {
		iconv_t open = iconv_open("UTF-8", charsets[i]); // never closed: that would unload the module
		(void)open;
	}
	av_log_set_callback(on_log);
}

static int read_packet(void *opaque, uint8_t *buffer, int size)
{
	struct ts_source *source = opaque;

	for (;;) {
		const ssize_t n = pread(source->fd, buffer, (size_t)size, source->offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			source->read_failed = true;
			return AVERROR(errno);
		}
		source->offset += n;
		return n == 0 ? AVERROR_EOF : (int)n;
	}
}

static int64_t seek(void *opaque, int64_t offset, int whence)
{
	struct ts_source *source = opaque;
	int64_t target;

	switch (whence & ~AVSEEK_FORCE) {
	case AVSEEK_SIZE: return source->size;
	case SEEK_SET: target = offset; break;
	case SEEK_CUR:
		if (__builtin_add_overflow(source->offset, offset, &target))
			return AVERROR(EINVAL);
		break;
	case SEEK_END:
		if (__builtin_add_overflow(source->size, offset, &target))
			return AVERROR(EINVAL);
		break;
	default: return AVERROR(EINVAL);
	}
	if (target < 0)
		return AVERROR(EINVAL);
	source->offset = target;
	return target;
}

static int refuse_open(AVFormatContext *format, AVIOContext **io, const char *url, int flags, AVDictionary **options)
{
	(void)format;
	(void)url;
	(void)flags;
	(void)options;
	*io = NULL;
	return AVERROR(EACCES);
}

// Bare streams of one codec carry no timestamps; FFmpeg makes some up from the first header, wrong once that changes.
static bool is_bare(const AVInputFormat *format)
{
	return av_match_name(format->name, "aac,loas,mp3,ac3,eac3,dts,mlp,truehd,amrnb,amrwb,gsm,sbc,flac") != 0;
}

static bool is_blocked(const AVInputFormat *format)
{
	if (format->flags & AVFMT_NOFILE)
		return true;
	for (size_t i = 0; i < sizeof blocked_formats / sizeof blocked_formats[0]; i++)
		if (av_match_name(blocked_formats[i], format->name))
			return true;
	return false;
}

// A comma-separated list of every audio decoder: FFmpeg then opens no other, so video is never decoded.
static char *audio_decoders(void)
{
	char *list = NULL;
	size_t length = 0;
	void *state = NULL;
	const AVCodec *codec;

	while ((codec = av_codec_iterate(&state)) != NULL) {
		if (!av_codec_is_decoder(codec) || codec->type != AVMEDIA_TYPE_AUDIO)
			continue;
		const size_t name = strlen(codec->name);
		char *longer = av_realloc(list, length + name + 2);
		if (!longer) {
			av_free(list);
			return NULL;
		}
		list = longer;
		if (length > 0)
			list[length++] = ',';
		memcpy(list + length, codec->name, name + 1);
		length += name;
	}
	return list;
}

// FFmpeg's return code, in our words. `what` completes "cannot ... the media".
static enum ts_err fail_av(const struct ts_source *source, int rc, const char *what, struct ts_error *error)
{
	char text[AV_ERROR_MAX_STRING_SIZE];

	av_strerror(rc, text, sizeof text);
	if (source->read_failed)
		return ts_fail(error, TS_ERR_IO, "cannot read the media file: %s", text);
	if (rc == AVERROR(ENOMEM))
		return ts_fail(error, TS_ERR_MEDIA_CRASHED,
		               "the media decoder ran out of memory: the file asks for more "
		               "than its limit");
	if (hints & TS_HINT_NO_INDEX)
		return ts_fail(error, TS_ERR_MEDIA_TRUNCATED,
		               "the file's index (moov) is missing: the recording, upload or download was cut short");
	if (source->weak_probe)
		return ts_fail(error, TS_ERR_MEDIA_NOT_MEDIA, "the file is not audio or video of any known format");
	if (hints & TS_HINT_CUT_SHORT)
		return ts_fail(error, TS_ERR_MEDIA_TRUNCATED, "the file ends too early: it was cut short");
	if (rc == AVERROR_PATCHWELCOME || rc == AVERROR_DECODER_NOT_FOUND)
		return ts_fail(error, TS_ERR_MEDIA_UNSUPPORTED, "cannot %s the media: %s", what, text);
	if (rc == AVERROR_EOF || rc == AVERROR_INVALIDDATA)
		return ts_fail(error, TS_ERR_MEDIA_TRUNCATED, "cannot %s the media: it is damaged or was cut short (%s)", what,
		               text);
	return ts_fail(error, TS_ERR_MEDIA_UNSUPPORTED, "cannot %s the media: %s", what, text);
}

static enum ts_err probe(struct ts_source *source, const AVInputFormat **out, struct ts_error *error)
{
	unsigned char *buffer = av_malloc(IO_BUFFER_SIZE);

	if (!buffer)
		return ts_fail_nomem(error);
	source->io = avio_alloc_context(buffer, IO_BUFFER_SIZE, 0, source, read_packet, NULL, seek);
	if (!source->io) {
		av_free(buffer);
		return ts_fail_nomem(error);
	}
	const int score = av_probe_input_buffer2(source->io, out, "", NULL, 0, 0);
	if (score < 0 && source->read_failed)
		return ts_fail(error, TS_ERR_IO, "cannot read the media file");
	if (score < 0)
		return ts_fail(error, TS_ERR_MEDIA_NOT_MEDIA, "the file is not audio or video of any known format");
	if (av_match_name("tty", (*out)->name)) // draws any text as a picture
		return ts_fail(error, TS_ERR_MEDIA_NOT_MEDIA, "the file is text, not audio or video");
	source->weak_probe = score <= AVPROBE_SCORE_RETRY;
	if (is_blocked(*out))
		return ts_fail(error, TS_ERR_MEDIA_UNSUPPORTED,
		               "the file is a playlist or script (%s), not media: nothing it refers to is opened",
		               (*out)->name);
	return TS_OK;
}

static enum ts_err open_format(struct ts_source *source, const AVInputFormat *input, struct ts_error *error)
{
	source->format = avformat_alloc_context();
	if (!source->format)
		return ts_fail_nomem(error);
	AVFormatContext *format = source->format;
	format->pb = source->io;
	format->flags |= AVFMT_FLAG_CUSTOM_IO;
	format->io_open = refuse_open;
	format->probesize = PROBE_BYTES;
	format->max_analyze_duration = ANALYZE_US;
	format->max_streams = 256;
	format->codec_whitelist = audio_decoders();
	format->protocol_whitelist = av_strdup("none");
	if (!format->codec_whitelist || !format->protocol_whitelist)
		return ts_fail_nomem(error);
	int rc = avformat_open_input(&source->format, "", input, NULL);
	if (rc < 0)
		return fail_av(source, rc, "open", error);
	rc = avformat_find_stream_info(source->format, NULL);
	if (rc < 0)
		return fail_av(source, rc, "analyse", error);
	return TS_OK;
}

bool ts_source_is_encrypted(const struct ts_source *source, const AVPacket *packet)
{
	const AVStream *stream = source->stream;

	if (packet && av_packet_get_side_data(packet, AV_PKT_DATA_ENCRYPTION_INFO, NULL))
		return true;
	const uint32_t tag = stream->codecpar->codec_tag;
	if (tag == MKTAG('d', 'r', 'm', 's') || tag == MKTAG('a', 'a', 'v', 'd') || tag == MKTAG('e', 'n', 'c', 'a'))
		return true;
	return av_stream_get_side_data(stream, AV_PKT_DATA_ENCRYPTION_INIT_INFO, NULL) ||
	       av_dict_get(stream->metadata, "enc_key_id", NULL, 0) ||
	       av_dict_get(source->format->metadata, "asf_protection_type", NULL, 0);
}

static const char *codec_name(const AVStream *stream)
{
	return stream->codecpar->codec_id == AV_CODEC_ID_NONE ? "unknown" : avcodec_get_name(stream->codecpar->codec_id);
}

static enum ts_err fail_encrypted(struct ts_error *error)
{
	return ts_fail(error, TS_ERR_MEDIA_ENCRYPTED, "the audio is encrypted (DRM): it cannot be decoded without its key");
}

// Why FFmpeg found no audio stream that it can decode.
static enum ts_err fail_no_stream(struct ts_source *source, struct ts_error *error)
{
	const AVFormatContext *format = source->format;

	for (unsigned i = 0; i < format->nb_streams; i++) {
		if (format->streams[i]->codecpar->codec_type != AVMEDIA_TYPE_AUDIO)
			continue;
		source->stream = format->streams[i];
		if (ts_source_is_encrypted(source, NULL))
			return fail_encrypted(error);
		if (source->weak_probe)
			return ts_fail(error, TS_ERR_MEDIA_NOT_MEDIA, "the file is not audio or video of any known format");
		if (!avcodec_find_decoder(source->stream->codecpar->codec_id))
			return ts_fail(error, TS_ERR_MEDIA_UNSUPPORTED, "the audio codec (%s) is not supported",
			               codec_name(source->stream));
		return ts_fail(error, TS_ERR_MEDIA_TRUNCATED,
		               "the audio stream (%s) holds no audio: the file is damaged or was cut short",
		               codec_name(source->stream));
	}
	if (source->weak_probe || format->nb_streams == 0)
		return ts_fail(error, TS_ERR_MEDIA_NOT_MEDIA, "the file is not audio or video of any known format");
	return ts_fail(error, TS_ERR_MEDIA_NO_AUDIO, "the file (%s) has no audio stream", format->iformat->name);
}

static enum ts_err open_decoder(struct ts_source *source, const AVCodec *codec, struct ts_error *error)
{
	source->decoder = avcodec_alloc_context3(codec);
	if (!source->decoder)
		return ts_fail_nomem(error);
	int rc = avcodec_parameters_to_context(source->decoder, source->stream->codecpar);
	if (rc >= 0) {
		source->decoder->thread_count = 1;
		source->decoder->pkt_timebase = source->stream->time_base;
		rc = avcodec_open2(source->decoder, codec, NULL);
	}
	return rc < 0 ? fail_av(source, rc, "decode", error) : TS_OK;
}

// Bytes that a RIFF file says it has and does not; writers that cannot seek leave a huge or no number there.
static int64_t riff_missing_bytes(const struct ts_source *source)
{
	unsigned char head[8];

	if (strcmp(source->format->iformat->name, "wav") != 0 || pread(source->fd, head, sizeof head, 0) != sizeof head ||
	    memcmp(head, "RIFF", 4) != 0)
		return 0;
	const int64_t size = (int64_t)AV_RL32(head + 4);
	return size >= 0x7ffff000 || size + 8 <= source->size ? 0 : size + 8 - source->size;
}

// Length of the audio that the file itself declares (a number guessed from bit rates is none).
static int64_t declared_length(const struct ts_source *source)
{
	const AVFormatContext *format = source->format;
	const AVStream *stream = source->stream;

	if (format->duration_estimation_method == AVFMT_DURATION_FROM_BITRATE)
		return 0;
	if (format->duration_estimation_method == AVFMT_DURATION_FROM_STREAM && stream->duration != AV_NOPTS_VALUE) {
		const int64_t length = av_rescale_q(stream->duration, stream->time_base, AV_TIME_BASE_Q);
		const int64_t start = stream->start_time == AV_NOPTS_VALUE
		                          ? source->start_us
		                          : av_rescale_q(stream->start_time, stream->time_base, AV_TIME_BASE_Q);
		if (length > 0 && start >= source->start_us)
			return length + start - source->start_us;
		return length > 0 ? length : 0;
	}
	// Matroska's statistics tags; the container's own duration may be that of a longer video.
	const AVDictionaryEntry *tag = av_dict_get(stream->metadata, "DURATION", NULL, 0);
	int hours;
	int minutes;
	double seconds;
	if (tag && sscanf(tag->value, "%6d:%2d:%lf", &hours, &minutes, &seconds) == 3 && hours >= 0 && hours < 100000 &&
	    minutes >= 0 && minutes < 60 && seconds >= 0 && seconds < 61)
		return (hours * INT64_C(3600) + minutes * INT64_C(60)) * AV_TIME_BASE + (int64_t)(seconds * AV_TIME_BASE);
	return format->nb_streams == 1 && format->duration > 0 ? format->duration : 0;
}

// Where the media's timeline begins. Most containers count from 0, and a later first timestamp means that this
// stream starts late; broadcast streams count from anywhere, and so do pieces cut out of a live stream.
static int64_t timeline_start(const struct ts_source *source)
{
	const AVFormatContext *format = source->format;
	const int64_t first = format->start_time;

	if (first == AV_NOPTS_VALUE || (first < 0 && first > -PRIMING_MAX_US))
		return 0; // priming samples make a start slightly negative; what players show begins at 0
	const int64_t latest = source->container_us > 0 ? source->container_us : LATE_START_MAX_US;
	const bool anywhere = format->iformat->flags & AVFMT_TS_DISCONT;
	return anywhere || first < 0 || first >= latest ? first : 0;
}

static void describe(struct ts_source *source, struct ts_media_info *info)
{
	const AVFormatContext *format = source->format;
	const AVCodecParameters *parameters = source->stream->codecpar;
	const int64_t longest_us = INT64_C(10) * 365 * 24 * 3600 * AV_TIME_BASE;

	snprintf(info->container, sizeof info->container, "%s", format->iformat->name);
	snprintf(info->codec, sizeof info->codec, "%s", codec_name(source->stream));
	source->bare = is_bare(format->iformat);
	info->channels = parameters->ch_layout.nb_channels;
	info->sample_rate = parameters->sample_rate;
	if (format->duration_estimation_method != AVFMT_DURATION_FROM_BITRATE && format->duration > 0 &&
	    format->duration < longest_us)
		source->container_us = format->duration;
	source->start_us = timeline_start(source);
	source->declared_us = declared_length(source);
	const int64_t missing = riff_missing_bytes(source);
	if (missing > 0 && parameters->bit_rate >= 8 && format->duration > 0) // FFmpeg counts what is there only
		source->declared_us = format->duration + av_rescale(missing, AV_TIME_BASE, parameters->bit_rate / 8);
	if (source->declared_us > longest_us)
		source->declared_us = 0;
	const int64_t duration = format->duration > source->declared_us ? format->duration : source->declared_us;
	if (duration > 0 && duration < longest_us)
		info->duration_ms = duration / 1000;
}

enum ts_err ts_source_open(struct ts_source *source, int fd, int64_t size, struct ts_media_info *out_info,
                           struct ts_error *error)
{
	*source = (struct ts_source){.fd = fd, .size = size};
	const AVInputFormat *input = NULL;
	const AVCodec *codec = NULL;

	if (size == 0)
		return ts_fail(error, TS_ERR_MEDIA_NOT_MEDIA, "the file is empty");
	TS_TRY(probe(source, &input, error));
	TS_TRY(open_format(source, input, error));
	AVFormatContext *format = source->format;
	const int index = av_find_best_stream(format, AVMEDIA_TYPE_AUDIO, -1, -1, &codec, 0);
	if (index < 0)
		return fail_no_stream(source, error);
	source->stream = format->streams[index];
	for (unsigned i = 0; i < format->nb_streams; i++)
		if ((int)i != index)
			format->streams[i]->discard = AVDISCARD_ALL;
	if (ts_source_is_encrypted(source, NULL))
		return fail_encrypted(error);
	TS_TRY(open_decoder(source, codec, error));
	struct ts_media_info info = {0};
	describe(source, &info);
	*out_info = info;
	return TS_OK;
}

void ts_source_close(struct ts_source *source)
{
	avcodec_free_context(&source->decoder);
	avformat_close_input(&source->format);
	if (source->io)
		av_freep(&source->io->buffer);
	avio_context_free(&source->io);
}
