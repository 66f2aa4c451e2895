// Frames between decoder child and parent: what the writer writes the parser reads, and every rule of the order and
// of the ranges is enforced.
#include "unit.h"

#include "media/frames.h"

#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

static struct ts_frames frames;
static struct ts_media_info info = {
    .container = "ogg", .codec = "opus", .duration_ms = 1500, .channels = 2, .sample_rate = 48000};

static int begin(void **state)
{
	(void)state;
	ts_frames_init(&frames, 10000);
	return 0;
}

// Puts bytes in as fast as the parser takes them; stops at the first whole frame or error.
static enum ts_err put(const void *bytes, size_t length, struct ts_frame *out, struct ts_error *error)
{
	const char *from = bytes;

	*out = (struct ts_frame){0};
	while (length > 0) {
		size_t room;
		void *to = ts_frames_room(&frames, &room);
		const size_t n = room < length ? room : length;
		memcpy(to, from, n);
		from += n;
		length -= n;
		TS_TRY(ts_frames_advance(&frames, n, out, error));
	}
	return TS_OK;
}

static enum ts_err put_frame(uint32_t kind, const void *payload, size_t length, struct ts_frame *out,
                             struct ts_error *error)
{
	const struct ts_frame_header header = {.kind = kind, .length = (uint32_t)length};

	TS_TRY(put(&header, sizeof header, out, error));
	return put(payload, length, out, error);
}

static void put_info(void)
{
	struct ts_frame frame;
	struct ts_error error = {0};

	assert_ok(put_frame(TS_FRAME_INFO, &info, sizeof info, &frame, &error), &error);
	assert_int_equal(frame.kind, TS_FRAME_INFO);
}

static void test_writer_and_parser_agree(void **state)
{
	(void)state;
	const float samples[3] = {0.25F, -1, 1};
	const uint64_t total = 3;
	int ends[2];
	char bytes[4096];
	size_t at = 0;
	enum ts_frame_kind kinds[8];
	size_t count = 0;

	assert_int_equal(pipe(ends), 0);
	assert_true(ts_frames_write(ends[1], TS_FRAME_INFO, &info, sizeof info));
	assert_true(ts_frames_write(ends[1], TS_FRAME_PCM, samples, sizeof samples));
	assert_true(ts_frames_write(ends[1], TS_FRAME_WARN, "odd", 3));
	assert_true(ts_frames_write(ends[1], TS_FRAME_END, &total, sizeof total));
	close(ends[1]);
	const ssize_t length = read(ends[0], bytes, sizeof bytes);
	close(ends[0]);
	assert_true(length > 0);
	while (at < (size_t)length) { // a byte at a time
		struct ts_frame frame;
		struct ts_error error = {0};
		assert_ok(put(bytes + at++, 1, &frame, &error), &error);
		if (frame.kind == TS_FRAME_NONE)
			continue;
		kinds[count++] = frame.kind;
		if (frame.kind == TS_FRAME_INFO)
			assert_memory_equal(frame.info, &info, sizeof info);
		if (frame.kind == TS_FRAME_PCM)
			assert_memory_equal(frame.samples, samples, sizeof samples);
		if (frame.kind == TS_FRAME_WARN)
			assert_string_equal(frame.text, "odd");
	}
	const enum ts_frame_kind expected[] = {TS_FRAME_INFO, TS_FRAME_PCM, TS_FRAME_WARN, TS_FRAME_END};
	assert_int_equal(count, 4);
	assert_memory_equal(kinds, expected, sizeof expected);
}

static void test_writer_notices_a_gone_parent(void **state)
{
	(void)state;
	int ends[2];

	signal(SIGPIPE, SIG_IGN);
	assert_int_equal(pipe(ends), 0);
	close(ends[0]);
	assert_false(ts_frames_write(ends[1], TS_FRAME_WARN, "x", 1));
	close(ends[1]);
}

static void test_samples_are_made_sane(void **state)
{
	(void)state;
	const float wild[] = {3, -3, INFINITY, -INFINITY, NAN, 0.5F};
	const float tame[] = {1, -1, 1, -1, 0, 0.5F};
	struct ts_frame frame;
	struct ts_error error = {0};

	put_info();
	assert_ok(put_frame(TS_FRAME_PCM, wild, sizeof wild, &frame, &error), &error);
	assert_int_equal(frame.count, 6);
	assert_memory_equal(frame.samples, tame, sizeof tame);
}

static void assert_broken(enum ts_err err, const struct ts_error *error, const char *word)
{
	assert_err(err, TS_ERR_MEDIA_CRASHED);
	assert_contains(error->message, word);
}

static void test_order(void **state)
{
	(void)state;
	const float sample = 0;
	uint64_t total = 0;
	struct ts_frame frame;
	struct ts_error error = {0};

	assert_broken(put_frame(TS_FRAME_PCM, &sample, 4, &frame, &error), &error, "PCM before INFO");
	begin(NULL);
	assert_broken(put_frame(TS_FRAME_END, &total, 8, &frame, &error), &error, "END before INFO");
	begin(NULL);
	put_info();
	assert_broken(put_frame(TS_FRAME_INFO, &info, sizeof info, &frame, &error), &error, "INFO twice");
	begin(NULL);
	put_info();
	assert_ok(put_frame(TS_FRAME_END, &total, 8, &frame, &error), &error);
	assert_broken(put_frame(TS_FRAME_PCM, &sample, 4, &frame, &error), &error, "after the end");
	begin(NULL);
	put_info();
	total = 1;
	assert_broken(put_frame(TS_FRAME_END, &total, 8, &frame, &error), &error, "another number");
	// A broken stream stays broken.
	assert_broken(put_frame(TS_FRAME_PCM, &sample, 4, &frame, &error), &error, "after the end");
}

static void test_lengths(void **state)
{
	(void)state;
	static const struct {
		uint32_t kind, length;
	} rows[] = {
	    {TS_FRAME_PCM, 0},
	    {TS_FRAME_PCM, 3},
	    {TS_FRAME_PCM, TS_FRAME_PAYLOAD_MAX + 4},
	    {TS_FRAME_PCM, UINT32_MAX},
	    {TS_FRAME_WARN, 0},
	    {TS_FRAME_WARN, TS_FRAME_TEXT_MAX + 1},
	    {TS_FRAME_ERROR, 3},
	    {TS_FRAME_ERROR, 4 + TS_FRAME_TEXT_MAX + 1},
	    {TS_FRAME_END, 7},
	    {0, 4},
	    {TS_FRAME_END + 1, 4},
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		const struct ts_frame_header header = {.kind = rows[i].kind, .length = rows[i].length};
		struct ts_frame frame;
		struct ts_error error = {0};
		begin(NULL);
		put_info();
		assert_broken(put(&header, sizeof header, &frame, &error), &error, "frame");
	}
}

static void test_info_ranges(void **state)
{
	(void)state;
	struct ts_media_info bad[6];
	struct ts_frame frame;
	struct ts_error error = {0};

	for (size_t i = 0; i < 6; i++)
		bad[i] = info;
	memset(bad[0].container, 'x', sizeof bad[0].container);
	memcpy(bad[1].codec, "a\nb", 4);
	bad[2].channels = 0;
	bad[3].sample_rate = -1;
	bad[4].duration_ms = -1;
	bad[5].duration_ms = INT64_MAX;
	for (size_t i = 0; i < 6; i++) {
		begin(NULL);
		assert_broken(put_frame(TS_FRAME_INFO, &bad[i], sizeof info, &frame, &error), &error, "out of range");
	}
}

static void test_errors(void **state)
{
	(void)state;
	struct {
		uint32_t code;
		char text[8];
	} payload = {TS_ERR_MEDIA_NO_AUDIO, "a\x1b[2Jb\xff"};
	struct ts_frame frame;
	struct ts_error error = {0};

	assert_ok(put_frame(TS_FRAME_ERROR, &payload, 4 + 7, &frame, &error), &error);
	assert_int_equal(frame.kind, TS_FRAME_ERROR);
	assert_err(frame.code, TS_ERR_MEDIA_NO_AUDIO);
	assert_string_equal(frame.text, "a?[2Jb?");
	const uint32_t forbidden[] = {TS_OK, TS_ERR_FENCED, TS_ERR_NET_FORBIDDEN, TS_ERR_COUNT, UINT32_MAX};
	for (size_t i = 0; i < sizeof forbidden / sizeof forbidden[0]; i++) {
		begin(NULL);
		payload.code = forbidden[i];
		assert_broken(put_frame(TS_FRAME_ERROR, &payload, 8, &frame, &error), &error, "unknown error code");
	}
}

static void test_ceilings(void **state)
{
	(void)state;
	static const float samples[TS_FRAME_SAMPLES_MAX];
	struct ts_frame frame;
	struct ts_error error = {0};

	put_info();
	assert_ok(put_frame(TS_FRAME_PCM, samples, sizeof samples, &frame, &error), &error);
	assert_err(put_frame(TS_FRAME_PCM, samples, sizeof samples, &frame, &error), TS_ERR_MEDIA_TOO_LARGE);
	begin(NULL);
	for (int i = 0; i < TS_FRAME_WARNINGS_MAX; i++)
		assert_ok(put_frame(TS_FRAME_WARN, "w", 1, &frame, &error), &error);
	assert_broken(put_frame(TS_FRAME_WARN, "w", 1, &frame, &error), &error, "too many warnings");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(test_writer_and_parser_agree, begin),
	    cmocka_unit_test_setup(test_writer_notices_a_gone_parent, begin),
	    cmocka_unit_test_setup(test_samples_are_made_sane, begin),
	    cmocka_unit_test_setup(test_order, begin),
	    cmocka_unit_test_setup(test_lengths, begin),
	    cmocka_unit_test_setup(test_info_ranges, begin),
	    cmocka_unit_test_setup(test_errors, begin),
	    cmocka_unit_test_setup(test_ceilings, begin),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
