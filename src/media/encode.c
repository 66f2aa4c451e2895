// Ogg Opus (RFC 6716, RFC 7845) for speech over FFmpeg's libopus, or FLAC where it is missing, into memory.
// The muxer writes through a growing buffer with a ceiling; it may seek back to complete a header.
#include "media/encode.h"

#include "base/buf.h"
#include "base/mem.h"
#include "media/media.h"

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/opt.h>
#include <math.h>
#include <pthread.h>
#include <string.h>

#define OPUS_BIT_RATE 24000
#define IO_BUFFER_SIZE 4096
#define FLAC_FRAME 4096

struct encoder {
	const AVCodec *codec;
	bool opus;
	AVCodecContext *context;
	AVFormatContext *format;
	AVIOContext *io;
	AVFrame *frame;
	AVPacket *packet;
	struct ts_buf *out;
	size_t position;
	const atomic_bool *abort; // NULL: none
};

static void silence(void)
{
	av_log_set_level(AV_LOG_QUIET);
}

static const AVCodec *choose(bool *out_opus)
{
	const AVCodec *codec = avcodec_find_encoder_by_name("libopus");

	*out_opus = codec != NULL;
	return codec ? codec : avcodec_find_encoder(AV_CODEC_ID_FLAC);
}

void ts_encoded_finish(struct ts_encoded *encoded)
{
	if (!encoded)
		return;
	ts_free(encoded->data);
	*encoded = (struct ts_encoded){0};
}

double ts_encode_seconds_within(size_t max_bytes)
{
	bool opus;

	choose(&opus);
	// Opus: constrained variable bit rate stays near its mean; an eighth more covers the worst, 100 bytes the framing.
	// FLAC: speech never needs more than the samples themselves.
	const double per_second = opus ? OPUS_BIT_RATE / 8.0 * 9 / 8 + 100 : TS_MEDIA_SAMPLE_RATE * 2 * 1.02;
	const double head = 4096;
	return (double)max_bytes > head ? ((double)max_bytes - head) / per_second : 0;
}

static int write_packet(void *opaque, uint8_t *bytes, int size)
{
	struct encoder *e = opaque;
	const size_t length = (size_t)size;
	const size_t over = e->position < e->out->length ? e->out->length - e->position : 0;
	const size_t replaced = length < over ? length : over;

	if (replaced > 0)
		memcpy(e->out->data + e->position, bytes, replaced);
	ts_buf_add(e->out, bytes + replaced, length - replaced);
	e->position += length;
	return e->out->status == TS_OK ? size : AVERROR(ENOSPC);
}

static int64_t seek(void *opaque, int64_t offset, int whence)
{
	struct encoder *e = opaque;

	if (whence == AVSEEK_SIZE)
		return (int64_t)e->out->length;
	if (whence == SEEK_CUR)
		offset += (int64_t)e->position;
	else if (whence == SEEK_END)
		offset += (int64_t)e->out->length;
	if (offset < 0 || (uint64_t)offset > e->out->length)
		return AVERROR(EINVAL);
	e->position = (size_t)offset;
	return offset;
}

static int open_encoder(struct encoder *e)
{
	AVChannelLayout mono = AV_CHANNEL_LAYOUT_MONO;

	if (!e->codec)
		return AVERROR_ENCODER_NOT_FOUND;
	e->context = avcodec_alloc_context3(e->codec);
	e->frame = av_frame_alloc();
	e->packet = av_packet_alloc();
	if (!e->context || !e->frame || !e->packet)
		return AVERROR(ENOMEM);
	AVCodecContext *context = e->context;
	context->sample_rate = TS_MEDIA_SAMPLE_RATE;
	context->sample_fmt = AV_SAMPLE_FMT_S16;
	context->time_base = (AVRational){1, TS_MEDIA_SAMPLE_RATE};
	context->ch_layout = mono;
	context->thread_count = 1;
	AVDictionary *options = NULL;
	if (e->opus) {
		context->bit_rate = OPUS_BIT_RATE;
		av_dict_set(&options, "application", "voip", 0);
		av_dict_set(&options, "vbr", "constrained", 0);
		// Half the CPU time of the default 10, for a difference that speech at this rate does not show.
		av_dict_set(&options, "compression_level", "5", 0);
	}
	int rc = avformat_alloc_output_context2(&e->format, NULL, e->opus ? "ogg" : "flac", NULL);
	if (rc >= 0 && (e->format->oformat->flags & AVFMT_GLOBALHEADER))
		context->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
	if (rc >= 0)
		rc = avcodec_open2(context, e->codec, &options);
	av_dict_free(&options);
	return rc;
}

static int open_output(struct encoder *e)
{
	unsigned char *buffer = av_malloc(IO_BUFFER_SIZE);

	if (!buffer)
		return AVERROR(ENOMEM);
	e->io = avio_alloc_context(buffer, IO_BUFFER_SIZE, 1, e, NULL, write_packet, seek);
	if (!e->io) {
		av_free(buffer);
		return AVERROR(ENOMEM);
	}
	e->format->pb = e->io;
	e->format->flags |= AVFMT_FLAG_CUSTOM_IO | AVFMT_FLAG_BITEXACT;
	AVStream *stream = avformat_new_stream(e->format, NULL);
	if (!stream)
		return AVERROR(ENOMEM);
	stream->time_base = e->context->time_base;
	const int rc = avcodec_parameters_from_context(stream->codecpar, e->context);
	return rc < 0 ? rc : avformat_write_header(e->format, NULL);
}

// Hands a frame (NULL: the end) to the encoder and what comes out to the muxer.
static int encode_frame(struct encoder *e, const AVFrame *frame)
{
	int rc = avcodec_send_frame(e->context, frame);

	while (rc >= 0) {
		rc = avcodec_receive_packet(e->context, e->packet);
		if (rc == AVERROR(EAGAIN) || rc == AVERROR_EOF)
			return 0;
		if (rc < 0)
			return rc;
		e->packet->stream_index = 0;
		av_packet_rescale_ts(e->packet, e->context->time_base, e->format->streams[0]->time_base);
		rc = av_write_frame(e->format, e->packet);
		av_packet_unref(e->packet);
		if (rc >= 0 && e->out->status != TS_OK)
			return AVERROR(ENOSPC);
	}
	return rc;
}

static int encode_all(struct encoder *e, const float *samples, size_t count)
{
	AVFrame *frame = e->frame;
	const size_t step = e->context->frame_size > 0 ? (size_t)e->context->frame_size : FLAC_FRAME;

	frame->format = AV_SAMPLE_FMT_S16;
	frame->sample_rate = TS_MEDIA_SAMPLE_RATE;
	frame->ch_layout = e->context->ch_layout;
	frame->nb_samples = (int)step;
	int rc = av_frame_get_buffer(frame, 0);
	for (size_t at = 0; rc >= 0 && at < count; at += step) {
		if (e->abort && atomic_load_explicit(e->abort, memory_order_relaxed))
			return AVERROR_EXIT;
		rc = av_frame_make_writable(frame);
		if (rc < 0)
			return rc;
		const size_t n = count - at < step ? count - at : step;
		int16_t *out = (int16_t *)(void *)frame->data[0];
		for (size_t i = 0; i < n; i++) {
			const float sample = isnan(samples[at + i]) ? 0 : samples[at + i];
			out[i] = (int16_t)lrintf(fminf(fmaxf(sample, -1), 1) * 32767);
		}
		frame->nb_samples = (int)n;
		frame->pts = (int64_t)at;
		rc = encode_frame(e, frame);
	}
	if (rc >= 0)
		rc = encode_frame(e, NULL);
	return rc < 0 ? rc : av_write_trailer(e->format);
}

static void close_encoder(struct encoder *e)
{
	av_packet_free(&e->packet);
	av_frame_free(&e->frame);
	avcodec_free_context(&e->context);
	avformat_free_context(e->format);
	if (e->io)
		av_freep(&e->io->buffer);
	avio_context_free(&e->io);
}

enum ts_err ts_encode(const float *samples, size_t count, size_t max_bytes, struct ts_encoded *out,
                      struct ts_error *error)
{
	return ts_encode_abortable(samples, count, max_bytes, NULL, out, error);
}

enum ts_err ts_encode_abortable(const float *samples, size_t count, size_t max_bytes, const atomic_bool *abort,
                                struct ts_encoded *out, struct ts_error *error)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	TS_AUTOBUF struct ts_buf buffer;
	struct encoder e = {.out = &buffer, .abort = abort};

	ts_buf_init(&buffer, max_bytes);
	if (count == 0)
		return ts_fail(error, TS_ERR_INVALID, "there are no samples to encode");
	pthread_once(&once, silence);
	e.codec = choose(&e.opus);
	int rc = open_encoder(&e);
	if (rc >= 0)
		rc = open_output(&e);
	if (rc >= 0)
		rc = encode_all(&e, samples, count);
	close_encoder(&e);
	if (buffer.status == TS_ERR_LIMIT)
		return ts_fail(error, TS_ERR_LIMIT, "the encoded audio is larger than %zu bytes", max_bytes);
	if (buffer.status == TS_ERR_NOMEM || rc == AVERROR(ENOMEM))
		return ts_fail_nomem(error);
	if (rc == AVERROR_EXIT)
		return ts_fail(error, TS_ERR_ABORTED, "encoding was aborted");
	if (rc < 0) {
		char text[AV_ERROR_MAX_STRING_SIZE];
		av_strerror(rc, text, sizeof text);
		return ts_fail(error, TS_ERR_INTERNAL, "cannot encode audio: %s", text);
	}
	const size_t length = buffer.length;
	TS_TRY(ts_buf_take(&buffer, &out->data, error));
	out->length = length;
	out->filename = e.opus ? "audio.ogg" : "audio.flac";
	out->media_type = e.opus ? "audio/ogg" : "audio/flac";
	return TS_OK;
}
