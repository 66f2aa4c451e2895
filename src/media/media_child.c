// The decoder child: jails itself, then decodes descriptor 3 and writes frames to descriptor 4. What it sends lies
// on the media's timeline: silence where the file has gaps or its audio starts late, nothing from before its start.
// Refuses threads, files and network; memory does not depend on the length of the media.
#include "media/child.h"
#include "media/frames.h"
#include "media/jail.h"
#include "media/media.h"
#include "media/source.h"

#include "base/num.h"

#include <inttypes.h>
#include <libavutil/channel_layout.h>
#include <libswresample/swresample.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

// Timestamps are rounded and jitter; below this they do not move audio.
#define TOLERANCE_SAMPLES (TS_MEDIA_SAMPLE_RATE / 20)
// A step back further than this starts a new timeline (files joined, clocks reset).
#define STEP_BACK_SAMPLES (INT64_C(10) * TS_MEDIA_SAMPLE_RATE)
#define STEP_PAST_END_SAMPLES (INT64_C(60) * TS_MEDIA_SAMPLE_RATE)
// A gap longer than this in media that declares no length is such a step too.
#define STEP_FORWARD_SAMPLES (INT64_C(3600) * TS_MEDIA_SAMPLE_RATE)
// Timestamps outside are nonsense and ignored; inside, sums of a few cannot overflow.
#define TIMESTAMP_LIMIT (INT64_C(1) << 50)

struct decode {
	struct ts_source source;
	struct SwrContext *resampler; // NULL before the first frame
	AVChannelLayout layout;       // what the resampler was made for
	int sample_rate;
	int sample_format;
	int64_t max_samples;
	int64_t sent;      // samples on the wire
	int64_t queued;    // samples of the timeline so far: sent + filled
	int64_t stamp;     // timestamp of the last frame that had one
	int64_t shift;     // added to timestamps after a step of the clock
	int64_t skip;      // samples to drop because they lie before the place reached
	uint64_t frames;   // decoded
	uint64_t failures; // packets that did not decode
	size_t filled;
	float out[TS_FRAME_SAMPLES_MAX];
};

static enum ts_err parent_gone(struct ts_error *error)
{
	return ts_fail(error, TS_ERR_ABORTED, "the parent is gone");
}

static enum ts_err flush_out(struct decode *d, struct ts_error *error)
{
	if (d->filled == 0)
		return TS_OK;
	if (!ts_frames_write(TS_CHILD_OUTPUT_FD, TS_FRAME_PCM, d->out, d->filled * sizeof(float)))
		return parent_gone(error);
	d->sent += (int64_t)d->filled;
	d->filled = 0;
	return TS_OK;
}

static enum ts_err fail_too_long(const struct decode *d, struct ts_error *error)
{
	return ts_fail(error, TS_ERR_MEDIA_TOO_LARGE, "the audio is longer than the limit of %" PRId64 " s",
	               d->max_samples / TS_MEDIA_SAMPLE_RATE);
}

// Appends samples [count], or silence when samples is NULL.
static enum ts_err put(struct decode *d, const float *samples, int64_t count, struct ts_error *error)
{
	if (samples && d->skip > 0) {
		const int64_t drop = d->skip < count ? d->skip : count;
		d->skip -= drop;
		samples += drop;
		count -= drop;
	}
	if (count > d->max_samples - d->queued) {
		TS_TRY(flush_out(d, error));
		return fail_too_long(d, error);
	}
	d->queued += count;
	while (count > 0) {
		const int64_t room = TS_FRAME_SAMPLES_MAX - (int64_t)d->filled;
		const int64_t n = count < room ? count : room;
		if (samples) {
			memcpy(d->out + d->filled, samples, (size_t)n * sizeof(float));
			samples += n;
		} else {
			memset(d->out + d->filled, 0, (size_t)n * sizeof(float));
		}
		d->filled += (size_t)n;
		count -= n;
		if (d->filled == TS_FRAME_SAMPLES_MAX)
			TS_TRY(flush_out(d, error));
	}
	return TS_OK;
}

// Runs a frame through the resampler; NULL gets what is left inside it.
static enum ts_err resample(struct decode *d, const AVFrame *frame, struct ts_error *error)
{
	float chunk[4096];
	uint8_t *planes[1] = {(uint8_t *)chunk};
	const int capacity = (int)(sizeof chunk / sizeof chunk[0]);
	const uint8_t **input = NULL;
	int count = 0;

	if (!d->resampler)
		return TS_OK;
	if (frame) {
		void *frame_planes = frame->extended_data; // swr_convert asks for one more const than C converts to
		input = frame_planes;
		count = frame->nb_samples;
	}
	for (;;) {
		const int n = swr_convert(d->resampler, planes, capacity, input, count);
		if (n < 0)
			return ts_fail(error, n == AVERROR(ENOMEM) ? TS_ERR_NOMEM : TS_ERR_MEDIA_UNSUPPORTED,
			               "cannot convert the audio to 16 kHz mono");
		TS_TRY(put(d, chunk, n, error));
		if (n < capacity && frame)
			return TS_OK;
		if (n == 0)
			return TS_OK;
		count = 0; // what the resampler kept of a long frame; not NULL, which would end its stream
	}
}

// Makes the resampler for this frame's format, first time or when it changed in the middle of the stream.
static enum ts_err fit_resampler(struct decode *d, const AVFrame *frame, struct ts_error *error)
{
	AVChannelLayout mono = AV_CHANNEL_LAYOUT_MONO;

	if (d->resampler && frame->sample_rate == d->sample_rate && frame->format == d->sample_format &&
	    av_channel_layout_compare(&frame->ch_layout, &d->layout) == 0)
		return TS_OK;
	TS_TRY(resample(d, NULL, error));
	swr_free(&d->resampler);
	av_channel_layout_uninit(&d->layout);
	if (frame->sample_rate < 1 || frame->ch_layout.nb_channels < 1)
		return ts_fail(error, TS_ERR_MEDIA_UNSUPPORTED, "the audio has no sample rate or no channels");
	// Without an order of channels (ORDER_UNSPEC) there is no matrix for mixing: take the usual order.
	if (frame->ch_layout.order == AV_CHANNEL_ORDER_UNSPEC)
		av_channel_layout_default(&d->layout, frame->ch_layout.nb_channels);
	else if (av_channel_layout_copy(&d->layout, &frame->ch_layout) < 0)
		return ts_fail_nomem(error);
	int rc = swr_alloc_set_opts2(&d->resampler, &mono, AV_SAMPLE_FMT_FLT, TS_MEDIA_SAMPLE_RATE, &d->layout,
	                             (enum AVSampleFormat)frame->format, frame->sample_rate, 0, NULL);
	if (rc >= 0)
		rc = swr_init(d->resampler);
	if (rc < 0) {
		swr_free(&d->resampler);
		return ts_fail(error, rc == AVERROR(ENOMEM) ? TS_ERR_NOMEM : TS_ERR_MEDIA_UNSUPPORTED,
		               "cannot convert %d channels at %d Hz to 16 kHz mono", frame->ch_layout.nb_channels,
		               frame->sample_rate);
	}
	d->sample_rate = frame->sample_rate;
	d->sample_format = frame->format;
	if (frame->ch_layout.order == AV_CHANNEL_ORDER_UNSPEC) {
		av_channel_layout_uninit(&d->layout);
		if (av_channel_layout_copy(&d->layout, &frame->ch_layout) < 0)
			return ts_fail_nomem(error);
	}
	return TS_OK;
}

// Whether a jump of the timestamps by drift samples, to `at`, is a new clock rather than a gap or an overlap.
static bool clock_stepped(const struct decode *d, int64_t at, int64_t drift)
{
	const int64_t declared = d->source.declared_us / 1000 * (TS_MEDIA_SAMPLE_RATE / 1000);

	if (drift < -STEP_BACK_SAMPLES)
		return true;
	if (declared > 0)
		return drift > STEP_PAST_END_SAMPLES && at > declared + STEP_PAST_END_SAMPLES;
	return drift > STEP_FORWARD_SAMPLES;
}

// Brings the output to the place on the timeline where the frame belongs.
static enum ts_err align(struct decode *d, const AVFrame *frame, struct ts_error *error)
{
	const int64_t stamp = frame->best_effort_timestamp;
	// A clock that stands still (some writers know only 0) tells nothing.
	if (d->source.bare || stamp == AV_NOPTS_VALUE || (d->frames > 0 && stamp == d->stamp))
		return TS_OK;
	d->stamp = stamp;
	const AVRational samples = {1, TS_MEDIA_SAMPLE_RATE};
	const int64_t start = av_rescale_q(d->source.start_us, AV_TIME_BASE_Q, samples);
	int64_t at = av_rescale_q(stamp, d->source.stream->time_base, samples);
	if (at < -TIMESTAMP_LIMIT || at > TIMESTAMP_LIMIT)
		return TS_OK;
	at += d->shift - start;
	// Where the frame would land: what the resampler holds back comes first, what is to be dropped does not count.
	const int64_t held = d->resampler ? swr_get_delay(d->resampler, TS_MEDIA_SAMPLE_RATE) : 0;
	const int64_t drift = at - (d->queued + held - d->skip);
	if (drift > -TOLERANCE_SAMPLES && drift < TOLERANCE_SAMPLES)
		return TS_OK;
	if (d->frames > 0 && clock_stepped(d, at, drift)) {
		d->shift -= drift; // go on where we are
		return TS_OK;
	}
	TS_TRY(resample(d, NULL, error));
	swr_free(&d->resampler);
	d->skip = at < d->queued ? d->queued - at : 0;
	return at > d->queued ? put(d, NULL, at - d->queued, error) : TS_OK;
}

static enum ts_err take_frame(struct decode *d, const AVFrame *frame, struct ts_error *error)
{
	TS_TRY(align(d, frame, error));
	d->frames++;
	TS_TRY(fit_resampler(d, frame, error));
	return resample(d, frame, error);
}

// Sends one packet (NULL: the end) through the decoder. A packet that does not decode is counted and skipped.
static enum ts_err decode_packet(struct decode *d, const AVPacket *packet, AVFrame *frame, struct ts_error *error)
{
	int rc = avcodec_send_packet(d->source.decoder, packet);

	if (rc == AVERROR(ENOMEM))
		return ts_fail_nomem(error);
	if (rc < 0 && rc != AVERROR_EOF)
		d->failures++;
	for (;;) {
		rc = avcodec_receive_frame(d->source.decoder, frame);
		if (rc == AVERROR(EAGAIN) || rc == AVERROR_EOF)
			return TS_OK;
		if (rc == AVERROR(ENOMEM))
			return ts_fail_nomem(error);
		if (rc < 0) {
			d->failures++;
			return TS_OK;
		}
		const enum ts_err err = take_frame(d, frame, error);
		av_frame_unref(frame);
		TS_TRY(err);
	}
}

static enum ts_err decode_stream(struct decode *d, AVPacket *packet, AVFrame *frame, struct ts_error *error)
{
	int rc;

	while ((rc = av_read_frame(d->source.format, packet)) >= 0) {
		enum ts_err err = TS_OK;
		if (packet->stream_index == d->source.stream->index) {
			if (ts_source_is_encrypted(&d->source, packet))
				err = ts_fail(error, TS_ERR_MEDIA_ENCRYPTED,
				              "the audio is encrypted (DRM): it cannot be decoded without its key");
			else
				err = decode_packet(d, packet, frame, error);
		}
		av_packet_unref(packet);
		TS_TRY(err);
	}
	if (d->source.read_failed)
		return ts_fail(error, TS_ERR_IO, "cannot read the media file");
	if (rc == AVERROR(ENOMEM))
		return ts_fail_nomem(error);
	TS_TRY(decode_packet(d, NULL, frame, error));
	TS_TRY(resample(d, NULL, error));
	return flush_out(d, error);
}

// Whether what came out is what the file promised.
static enum ts_err judge(const struct decode *d, struct ts_error *error)
{
	const double got = (double)d->queued / TS_MEDIA_SAMPLE_RATE;
	const double declared = (double)d->source.declared_us / AV_TIME_BASE;

	if (d->source.weak_probe && (d->frames == 0 || d->failures > d->frames))
		return ts_fail(error, TS_ERR_MEDIA_NOT_MEDIA, "the file is not audio or video of any known format");
	if (d->frames == 0 && d->failures > 0)
		return ts_fail(error, TS_ERR_MEDIA_TRUNCATED, "none of the audio can be decoded: the file is damaged");
	if (declared > 0 && got < declared - 1.0 - declared / 100)
		return ts_fail(error, TS_ERR_MEDIA_TRUNCATED,
		               "the audio ends after %.1f s of the %.1f s that the file declares: it was cut short", got,
		               declared);
	const double container = (double)d->source.container_us / AV_TIME_BASE;
	if ((ts_source_hints() & TS_HINT_CUT_SHORT) && container > 0 && got < container - 1.0 - container / 100)
		return ts_fail(error, TS_ERR_MEDIA_TRUNCATED,
		               "the file ends in the middle of its data, after %.1f s of the %.1f s that it declares", got,
		               container);
	return TS_OK;
}

static enum ts_err run(struct decode *d, int64_t size, struct ts_error *error)
{
	struct ts_media_info info;

	TS_TRY(ts_source_open(&d->source, TS_CHILD_INPUT_FD, size, &info, error));
	if (d->source.declared_us / 1000 > d->max_samples / (TS_MEDIA_SAMPLE_RATE / 1000))
		return fail_too_long(d, error);
	AVPacket *packet = av_packet_alloc();
	AVFrame *frame = av_frame_alloc();
	enum ts_err err = packet && frame ? TS_OK : ts_fail_nomem(error);
	if (err == TS_OK && !ts_frames_write(TS_CHILD_OUTPUT_FD, TS_FRAME_INFO, &info, sizeof info))
		err = parent_gone(error);
	if (err == TS_OK)
		err = decode_stream(d, packet, frame, error);
	if (err == TS_OK)
		err = judge(d, error);
	const uint64_t total = (uint64_t)d->sent;
	if (err == TS_OK && !ts_frames_write(TS_CHILD_OUTPUT_FD, TS_FRAME_END, &total, sizeof total))
		err = parent_gone(error);
	av_packet_free(&packet);
	av_frame_free(&frame);
	return err;
}

static void report(const struct ts_error *error)
{
	struct {
		uint32_t code;
		char text[TS_FRAME_TEXT_MAX];
	} payload = {.code = error->code};
	const char *text = error->message;

	if (error->code == TS_ERR_NOMEM) {
		payload.code = TS_ERR_MEDIA_CRASHED;
		text = "the media decoder ran out of memory: the file asks for more than its limit";
	}
	const size_t length = strnlen(text, sizeof payload.text);
	memcpy(payload.text, text, length);
	(void)!ts_frames_write(TS_CHILD_OUTPUT_FD, TS_FRAME_ERROR, &payload, sizeof payload.code + length);
}

// The kernel kills us with the parent's thread that started us, or our template.
static enum ts_err die_with_parent(int64_t parent, struct ts_error *error)
{
	// It may have died before the first call took effect.
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0 || getppid() != (pid_t)parent)
		return parent_gone(error);
	return TS_OK;
}

static enum ts_err parse(char **argv, struct ts_child_limits *out_limits, int64_t *out_parent, struct ts_error *error)
{
	int64_t memory;
	int64_t cpu;
	int64_t samples;

	TS_TRY(ts_num_parse_i64(argv[2], 0, INT64_MAX, &memory, error));
	TS_TRY(ts_num_parse_i64(argv[3], 0, INT64_MAX, &cpu, error));
	TS_TRY(ts_num_parse_i64(argv[4], 1, INT64_MAX, &samples, error));
	TS_TRY(ts_num_parse_i64(argv[5], 1, INT64_MAX, out_parent, error));
	*out_limits = (struct ts_child_limits){
	    .memory_bytes = (uint64_t)memory, .cpu_seconds = (uint64_t)cpu, .samples_max = (uint64_t)samples};
	return TS_OK;
}

static enum ts_err child(char **argv, struct ts_error *error)
{
	static struct decode d; // too large for the stack, and the one decoding of this process
	struct ts_child_limits limits;
	int64_t parent;
	struct stat status;

	TS_TRY(parse(argv, &limits, &parent, error));
	TS_TRY(die_with_parent(parent, error));
	ts_source_preload();
	if (fstat(TS_CHILD_INPUT_FD, &status) == 0 && S_ISSOCK(status.st_mode)) {
		TS_TRY(ts_child_template(&limits, error));
		TS_TRY(die_with_parent(parent, error)); // a copy starts without
	}
	if (fstat(TS_CHILD_INPUT_FD, &status) != 0)
		return ts_fail(error, TS_ERR_IO, "the media file is not open");
	const struct ts_jail_options jail = {.memory_bytes = limits.memory_bytes,
	                                     .cpu_seconds = limits.cpu_seconds,
	                                     .input_fd = TS_CHILD_INPUT_FD,
	                                     .output_fd = TS_CHILD_OUTPUT_FD};
	TS_TRY(ts_jail_enter(&jail, error));
	d.max_samples = (int64_t)limits.samples_max;
	return run(&d, status.st_size, error);
}

bool ts_media_child_main(int argc, char **argv, int *out_status)
{
	struct ts_error error = {0};

	if (argc < 2 || strcmp(argv[1], TS_CHILD_ARGUMENT) != 0)
		return false;
	if (argc != TS_CHILD_ARGC) {
		*out_status = 2;
		return true;
	}
	const enum ts_err err = child(argv, &error);
	if (err != TS_OK)
		report(&error);
	// What the process owns goes with it: no exit handler runs on memory that the media may have broken.
	_exit(err == TS_OK ? 0 : 1);
}
