// core/format: exact texts of a small transcript, cues brought into order, hostile text made safe, and the
// subtitles read back by FFmpeg's parsers, which are not ours.
#include "unit.h"

#include "base/mem.h"
#include "core/format.h"
#include "core/json.h"
#include "fault.h"
#include "format_laws.h"
#include "transcripts.h"

#include <libavcodec/packet.h>
#include <libavformat/avformat.h>
#include <unistd.h>

#define CEILING ((size_t)1 << 24)

static char *format_text(const struct ts_transcript *transcript, enum ts_format format)
{
	struct ts_buf buf;
	struct ts_error error;
	char *text = NULL;

	ts_buf_init(&buf, CEILING);
	assert_ok(ts_format_write(transcript, format, &buf, &error), &error);
	assert_ok(ts_buf_take(&buf, &text, &error), &error);
	return text;
}

static void check_format(const struct ts_transcript *transcript, enum ts_format format, const char *expected)
{
	TS_AUTOFREE char *text = format_text(transcript, format);
	assert_string_equal(text, expected);
}

static void names_endings_and_types(void **state)
{
	struct ts_error error;
	enum ts_format back;
	(void)state;

	for (unsigned i = 0; i < TS_FORMAT_COUNT; i++) {
		enum ts_format format = (enum ts_format)i;
		assert_ok(ts_format_parse(ts_format_name(format), &back, &error), &error);
		assert_int_equal(back, format);
		assert_non_null(strchr(ts_format_media_type(format), '/'));
		assert_true(ts_format_ending(format)[0] != '.');
	}
	assert_err(ts_format_parse("SRT", &back, &error), TS_ERR_INVALID);
	for (unsigned i = 0; i < TS_FORMAT_COUNT; i++)
		assert_contains(error.message, ts_format_name((enum ts_format)i));
	assert_string_equal(ts_format_ending(TS_FORMAT_VTT), "vtt");
}

static void the_small_transcript_in_every_format(void **state)
{
	TS_AUTOTRANSCRIPT struct ts_transcript transcript;
	(void)state;

	ts_transcript_init(&transcript);
	assert_ok(ts_fill_small_transcript(&transcript, NULL), NULL);
	check_format(&transcript, TS_FORMAT_SRT,
	             "1\n00:00:00,000 --> 00:00:01,500\nhello world\n\n"
	             "2\n00:00:01,500 --> 00:00:05,250\nsalt & <pepper> \xe2\x86\x92 now\n\n");
	check_format(&transcript, TS_FORMAT_VTT,
	             "WEBVTT\n\n00:00:00.000 --> 00:00:01.500\nhello world\n\n"
	             "00:00:01.500 --> 00:00:05.250\nsalt &amp; &lt;pepper&gt; --&gt; now\n\n");
	check_format(&transcript, TS_FORMAT_TXT, "hello world\nsalt & <pepper> --> now\n");
	check_format(&transcript, TS_FORMAT_TSV,
	             "start\tend\ttext\n0\t1500\thello world\n1500\t5250\tsalt & <pepper> --> now\n");
	check_format(
	    &transcript, TS_FORMAT_JSON,
	    "{\"language\":\"en\",\"duration\":5.25,\"text\":\"hello world salt & <pepper> --> now\",\"segments\":["
	    "{\"id\":0,\"start\":0.0,\"end\":1.5,\"text\":\"hello world\"},"
	    "{\"id\":1,\"start\":1.5,\"end\":5.25,\"text\":\"salt & <pepper> --> now\"}]}\n");
}

static void verbose_json_has_openais_shape(void **state)
{
	TS_AUTOTRANSCRIPT struct ts_transcript transcript;
	(void)state;

	ts_transcript_init(&transcript);
	assert_ok(ts_fill_small_transcript(&transcript, NULL), NULL);
	transcript.segments[1].flags = TS_SEGMENT_REPAIRED_LOOP | TS_SEGMENT_REPAIRED_SILENCE;
	transcript.segments[1].words[0].probability = NAN;
	TS_AUTOFREE char *text = format_text(&transcript, TS_FORMAT_VERBOSE_JSON);
	assert_contains(text, "{\"task\":\"transcribe\",\"language\":\"en\",\"duration\":5.25,\"text\":\"hello");
	assert_contains(text, "{\"id\":0,\"seek\":0,\"start\":0.0,\"end\":1.5,\"text\":\"hello world\",\"tokens\":[],"
	                      "\"temperature\":0.0,\"avg_logprob\":-0.25,\"compression_ratio\":0.0,\"no_speech_prob\":0.01,"
	                      "\"not_measured\":[\"compression_ratio\"],\"words\":["
	                      "{\"word\":\"hello\",\"start\":0.0,\"end\":0.75,\"probability\":0.9},"
	                      "{\"word\":\"world\",\"start\":0.75,\"end\":1.5,\"probability\":0.9}]}");
	assert_contains(text, "\"seek\":150,\"start\":1.5");
	assert_contains(text, "\"repaired\":[\"loop\",\"silence\"]");
	assert_contains(text, "{\"word\":\"salt\",\"start\":1.5,\"end\":2.25,\"probability\":null}");
	assert_contains(text, "],\"words\":[{\"word\":\"hello\"");
	assert_contains(text, "\"usage\":{\"type\":\"duration\",\"seconds\":6}");
	assert_contains(text,
	                "\"receipt\":{\"engine\":\"pocketsphinx\",\"engine_version\":null,\"model\":\"en-us\","
	                "\"model_digest\":null,\"compute_type\":null,\"parameters\":{\"beam\":1e-48,\"vad\":true},"
	                "\"audio_seconds\":5.25,\"processing_seconds\":1.313,\"real_time_factor\":0.25,\"attempts\":1}");
}

static void nothing_said_is_no_cue(void **state)
{
	TS_AUTOTRANSCRIPT struct ts_transcript transcript;
	(void)state;

	ts_transcript_init(&transcript);
	for (int round = 0; round < 2; round++) {
		check_format(&transcript, TS_FORMAT_SRT, "");
		check_format(&transcript, TS_FORMAT_VTT, "WEBVTT\n\n");
		check_format(&transcript, TS_FORMAT_TXT, "");
		check_format(&transcript, TS_FORMAT_TSV, "start\tend\ttext\n");
		// A segment of blanks only is none either.
		assert_ok(ts_add_plain_segment(&transcript, " \xc2\xa0\n\xe3\x80\x80", 0, 100, NULL), NULL);
	}
	transcript.segment_count = 0;
	check_format(&transcript, TS_FORMAT_JSON, "{\"language\":null,\"duration\":0.0,\"text\":\"\",\"segments\":[]}\n");
	transcript.segment_count = 2;
	TS_AUTOFREE char *text = format_text(&transcript, TS_FORMAT_VERBOSE_JSON);
	assert_contains(text, "\"language\":\"und\"");
	assert_contains(text, "\"parameters\":null");
	assert_contains(text, "\"real_time_factor\":null");
}

static void cues_are_brought_into_order(void **state)
{
	TS_AUTOTRANSCRIPT struct ts_transcript transcript;
	(void)state;

	ts_transcript_init(&transcript);
	assert_ok(ts_add_plain_segment(&transcript, "negative", -50, -10, NULL), NULL);
	assert_ok(ts_add_plain_segment(&transcript, "long", 100, 9000, NULL), NULL);
	assert_ok(ts_add_plain_segment(&transcript, "inside", 200, 300, NULL), NULL);
	assert_ok(ts_add_plain_segment(&transcript, "before", 150, 400, NULL), NULL);
	assert_ok(ts_add_plain_segment(&transcript, "no length", 500, 500, NULL), NULL);
	assert_ok(ts_add_plain_segment(&transcript, "backwards", 700, 600, NULL), NULL);
	assert_ok(ts_add_plain_segment(&transcript, "far", INT64_MAX - 8, INT64_MAX, NULL), NULL);
	check_format(&transcript, TS_FORMAT_TSV,
	             "start\tend\ttext\n0\t1\tnegative\n100\t200\tlong\n200\t201\tinside\n201\t400\tbefore\n"
	             "500\t501\tno length\n700\t701\tbackwards\n3596400000\t3596400001\tfar\n");
}

static void hostile_text_stays_inside_its_cue(void **state)
{
	TS_AUTOTRANSCRIPT struct ts_transcript transcript;
	(void)state;

	ts_transcript_init(&transcript);
	assert_ok(ts_add_plain_segment(&transcript, "\n\n  a\n\n2\r\n00:00:09,000 --> 00:00:10,000\tb\x01\xff---> </v>\n",
	                               0, 1000, NULL),
	          NULL);
	check_format(&transcript, TS_FORMAT_SRT,
	             "1\n00:00:00,000 --> 00:00:01,000\n"
	             "a 2 00:00:09,000 \xe2\x86\x92 00:00:10,000 b \xef\xbf\xbd-\xe2\x86\x92 </v>\n\n");
	check_format(&transcript, TS_FORMAT_VTT,
	             "WEBVTT\n\n00:00:00.000 --> 00:00:01.000\n"
	             "a 2 00:00:09,000 --&gt; 00:00:10,000 b \xef\xbf\xbd---&gt; &lt;/v&gt;\n\n");
}

static void the_buffers_ceiling_counts(void **state)
{
	TS_AUTOTRANSCRIPT struct ts_transcript transcript;
	(void)state;

	ts_transcript_init(&transcript);
	assert_ok(ts_fill_small_transcript(&transcript, NULL), NULL);
	for (unsigned i = 0; i < TS_FORMAT_COUNT; i++) {
		TS_AUTOBUF struct ts_buf buf;
		ts_buf_init(&buf, 20);
		assert_err(ts_format_write(&transcript, (enum ts_format)i, &buf, NULL), TS_ERR_LIMIT);
	}
}

static enum ts_err write_all(void *ctx, struct ts_error *error)
{
	TS_AUTOTRANSCRIPT struct ts_transcript transcript;

	(void)ctx;
	ts_transcript_init(&transcript);
	TS_TRY(ts_fill_small_transcript(&transcript, error));
	for (unsigned i = 0; i < TS_FORMAT_COUNT; i++) {
		TS_AUTOBUF struct ts_buf buf;
		ts_buf_init(&buf, CEILING);
		TS_TRY(ts_format_write(&transcript, (enum ts_format)i, &buf, error));
	}
	return TS_OK;
}

static void survives_failed_allocations(void **state)
{
	(void)state;
	ts_fault_each(write_all, NULL, 200);
}

// Reads the subtitles with FFmpeg and compares times and number of cues with the transcript's segments.
static void check_with_ffmpeg(const struct ts_transcript *transcript, enum ts_format format)
{
	TS_AUTOFREE char *text = format_text(transcript, format);
	char path[] = "/tmp/ts-format-XXXXXX";
	AVFormatContext *context = NULL;
	AVPacket *packet = av_packet_alloc();
	size_t count = 0;

	int fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
	int opened =
	    avformat_open_input(&context, path, av_find_input_format(format == TS_FORMAT_SRT ? "srt" : "webvtt"), NULL);
	unlink(path);
	assert_int_equal(opened, 0);
	while (av_read_frame(context, packet) == 0) {
		const struct ts_segment *segment = &transcript->segments[count];
		AVRational base = context->streams[packet->stream_index]->time_base;
		assert_true(count < transcript->segment_count);
		assert_int_equal(av_rescale_q(packet->pts, base, (AVRational){1, 1000}), segment->start_ms);
		assert_int_equal(av_rescale_q(packet->pts + packet->duration, base, (AVRational){1, 1000}), segment->end_ms);
		if (!strpbrk(segment->text, "<>&")) {
			assert_int_equal(packet->size, strlen(segment->text));
			assert_memory_equal(packet->data, segment->text, strlen(segment->text));
		}
		count++;
		av_packet_unref(packet);
	}
	assert_int_equal(count, transcript->segment_count);
	av_packet_free(&packet);
	avformat_close_input(&context);
}

static void ffmpeg_reads_the_subtitles(void **state)
{
	static const char *const texts[] = {"plain words",
	                                    "42",
	                                    "caf\xc3\xa9 \xe6\xbc\xa2\xe5\xad\x97",
	                                    "salt & <pepper> --> now",
	                                    "1 00:00:01,000",
	                                    "WEBVTT",
	                                    "NOTE this",
	                                    "- dash",
	                                    "{\\an8}up"};
	TS_AUTOTRANSCRIPT struct ts_transcript transcript;
	struct ts_rng rng = ts_rng_seeded(12);
	int64_t now = 0;
	(void)state;

	ts_transcript_init(&transcript);
	for (int i = 0; i < 300; i++) {
		int64_t start = now + (int64_t)(ts_rng_u64(&rng) % 60000);
		now = start + 1 + (int64_t)(ts_rng_u64(&rng) % 90000); // some hours in all
		assert_ok(ts_add_plain_segment(&transcript, texts[i % 9], start, now, NULL), NULL);
	}
	check_with_ffmpeg(&transcript, TS_FORMAT_SRT);
	check_with_ffmpeg(&transcript, TS_FORMAT_VTT);
}

int main(void)
{
	ts_json_use_mem();
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(names_endings_and_types),        cmocka_unit_test(the_small_transcript_in_every_format),
	    cmocka_unit_test(verbose_json_has_openais_shape), cmocka_unit_test(nothing_said_is_no_cue),
	    cmocka_unit_test(cues_are_brought_into_order),    cmocka_unit_test(hostile_text_stays_inside_its_cue),
	    cmocka_unit_test(the_buffers_ceiling_counts),     cmocka_unit_test(survives_failed_allocations),
	    cmocka_unit_test(ffmpeg_reads_the_subtitles),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
