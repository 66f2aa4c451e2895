// Decoding in the jailed child: what comes out is what went in, on the media's timeline, and every kind of bad
// input is its own clear error. The program is its own decoder child. Inputs are made by ffmpeg and flite.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include "media/jail.h"
#include "media/media.h"
#include "media_files.h"

#include <dirent.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define RATE TS_MEDIA_SAMPLE_RATE
#define VIDEO "-f lavfi -i testsrc2=size=160x120:rate=10:duration="

static float *speech; // the reference, 16 kHz mono
static size_t speech_count;
static char child_script[600];

struct decoded {
	enum ts_err err;
	struct ts_error error;
	struct ts_media_info info;
	bool opened;
	float *samples;
	size_t count;
	int64_t position_ms;
};

static struct decoded decode_with(const char *name, const struct ts_media_options *options)
{
	struct decoded d = {0};
	struct ts_media *media = NULL;
	size_t capacity = 0;
	float chunk[5000];
	size_t n;
	const int fd = media_fd(name);

	d.err = ts_media_open(fd, options, &media, &d.info, &d.error);
	d.opened = d.err == TS_OK;
	while (d.err == TS_OK && (d.err = ts_media_read(media, chunk, 5000, &n, &d.error)) == TS_OK && n > 0) {
		if (d.count + n > capacity) {
			capacity = (d.count + n) * 2;
			d.samples = realloc(d.samples, capacity * sizeof(float));
			assert_non_null(d.samples);
		}
		memcpy(d.samples + d.count, chunk, n * sizeof(float));
		d.count += n;
	}
	if (d.opened) {
		d.position_ms = ts_media_position_ms(media);
		if (d.err != TS_OK) { // a failure stays
			struct ts_error again = {0};
			assert_int_equal(ts_media_read(media, chunk, 5000, &n, &again), d.err);
			assert_string_equal(again.message, d.error.message);
		}
	}
	ts_media_close(media);
	close(fd);
	return d;
}

static struct decoded decode(const char *name)
{
	const struct ts_media_options options = {0};
	return decode_with(name, &options);
}

static double seconds(const struct decoded *d)
{
	return (double)d->count / RATE;
}

static void assert_near(double value, double expected, double tolerance, const char *what)
{
	if (fabs(value - expected) > tolerance)
		fail_msg("%s: %.3f is not within %.3f of %.3f", what, value, tolerance, expected);
}

// That the reference's seconds [from, from + 1.5) are heard at `delay` seconds later, +- 40 ms (bare AAC does not say how much priming it has).
static void assert_speech_at(const struct decoded *d, double from, double delay, double least, const char *what)
{
	const size_t start = (size_t)(from * RATE);
	const size_t length = (size_t)(1.5 * RATE);
	const int margin = RATE / 25;
	const size_t at = (size_t)((from + delay) * RATE) - (size_t)margin;
	int lag = 0;

	assert_true(start + length <= speech_count);
	if (at + length + 2 * (size_t)margin > d->count)
		fail_msg("%s: only %.3f s", what, seconds(d));
	const double r =
	    media_correlation(speech + start, length, d->samples + at, length + 2 * (size_t)margin, 2 * margin, &lag);
	if (r < least)
		fail_msg("%s: correlation %.3f at %.3f s is below %.2f", what, r, from + delay, least);
}

// ---------------------------------------------------------------- what decodes

static void test_formats(void **state)
{
	(void)state;
	static const struct {
		const char *file, *arguments, *container, *codec;
		int channels, rate;
		double least;
	} rows[] = {
	    {"a.mp4", "-ar 44100 -ac 2 -c:a aac -b:a 96k -c:v libx264 -preset ultrafast -shortest",
	     "mov,mp4,m4a,3gp,3g2,mj2", "aac", 2, 44100, 0.9},
	    {"a.webm", "-ar 48000 -c:a libopus -b:a 32k -vn", "matroska,webm", "opus", 1, 48000, 0.9},
	    {"a.mkv", "-ar 44100 -c:a libvorbis -c:v libx264 -preset ultrafast -shortest", "matroska,webm", "vorbis", 1,
	     44100, 0.9},
	    {"a.mp3", "-ar 22050 -c:a libmp3lame -vn", "mp3", "mp3", 1, 22050, 0.9},
	    {"a.flac", "-ar 96000 -ac 2 -vn", "flac", "flac", 2, 96000, 0.99},
	    {"a8.wav", "-ar 8000 -ac 1 -vn", "wav", "pcm_s16le", 1, 8000, 0.9},
	    {"a51.wav", "-ar 48000 -ac 6 -c:a pcm_s24le -vn", "wav", "pcm_s24le", 6, 48000, 0.99},
	    {"a.ogg", "-ar 16000 -c:a libvorbis -vn", "ogg", "vorbis", 1, 16000, 0.9},
	    {"a.ts", "-ar 48000 -c:a ac3 -c:v mpeg2video -shortest", "mpegts", "ac3", 1, 48000, 0.9},
	    {"a.avi", "-ar 16000 -c:a pcm_s16le -c:v mpeg4 -shortest", "avi", "pcm_s16le", 1, 16000, 0.99},
	    {"a.adpcm", "-ar 16000 -c:a adpcm_ima_wav -f wav -vn", "wav", "adpcm_ima_wav", 1, 16000, 0.9},
	    {"a.aac", "-ar 32000 -c:a aac -f adts -vn", "aac", "aac", 1, 32000, 0.9},
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		media_run(FFMPEG "-i speech.wav " VIDEO "6 -map 0:a -map 1:v %s %s", rows[i].arguments, rows[i].file);
		struct decoded d = decode(rows[i].file);
		if (d.err != TS_OK)
			fail_msg("%s: %s: %s", rows[i].file, ts_err_name(d.err), d.error.message);
		assert_string_equal(d.info.container, rows[i].container);
		assert_string_equal(d.info.codec, rows[i].codec);
		assert_int_equal(d.info.sample_rate, rows[i].rate);
		assert_int_equal(d.info.channels, rows[i].channels);
		assert_near(seconds(&d), (double)speech_count / RATE, 0.12, rows[i].file);
		assert_near((double)d.info.duration_ms / 1000, (double)speech_count / RATE, 0.5, "declared");
		assert_int_equal(d.position_ms, (int64_t)d.count / (RATE / 1000));
		assert_speech_at(&d, 0.5, 0, rows[i].least, rows[i].file);
		assert_speech_at(&d, 2.5, 0, rows[i].least, rows[i].file);
		for (size_t s = 0; s < d.count; s++)
			assert_true(d.samples[s] >= -1 && d.samples[s] <= 1);
		free(d.samples);
	}
}

static void test_stereo_mix_keeps_level(void **state)
{
	(void)state;
	media_run(FFMPEG "-f lavfi -i sine=frequency=440:sample_rate=44100:duration=2 -ac 2 -c:a pcm_f32le tone.wav");
	struct decoded d = decode("tone.wav");
	assert_int_equal(d.err, TS_OK);
	assert_near(seconds(&d), 2, 0.01, "length");
	// The sine source has amplitude 1/8; crossings of zero tell its frequency.
	assert_near(media_energy(d.samples, d.count), 0.125 / sqrt(2), 0.01, "energy");
	int crossings = 0;
	for (size_t i = 1; i < d.count; i++)
		crossings += d.samples[i - 1] < 0 && d.samples[i] >= 0;
	assert_near(crossings / seconds(&d), 440, 2, "frequency");
	free(d.samples);
}

static void test_sample_of_the_repository(void **state)
{
	(void)state;
	const char *root = getenv("TS_SOURCE_ROOT");

	assert_non_null(root); // meson test sets it
	media_run("cp '%s/samples/hello.mp4' hello.mp4", root);
	struct decoded d = decode("hello.mp4");
	assert_int_equal(d.err, TS_OK);
	assert_near(seconds(&d), 21.455, 0.05, "hello.mp4");
	assert_true(media_energy(d.samples, d.count) > 0.02);
	free(d.samples);
}

static void test_small_reads(void **state)
{
	(void)state;
	struct ts_media *media;
	struct ts_media_info info;
	struct ts_error error = {0};
	const struct ts_media_options options = {0};
	const int fd = media_fd("speech.wav");
	float samples[7];
	size_t n;
	size_t at = 0;

	assert_int_equal(ts_media_open(fd, &options, &media, &info, &error), TS_OK);
	for (;;) {
		assert_int_equal(ts_media_read(media, samples, 1 + at % 7, &n, &error), TS_OK);
		if (n == 0)
			break;
		assert_true(n <= 1 + at % 7);
		assert_true(at + n <= speech_count);
		for (size_t i = 0; i < n; i++)
			assert_true(fabsf(samples[i] - speech[at + i]) < 1e-6F);
		at += n;
	}
	assert_int_equal(at, speech_count);
	assert_int_equal(ts_media_read(media, samples, 7, &n, &error), TS_OK); // the end stays the end
	assert_int_equal(n, 0);
	ts_media_close(media);
	close(fd);
}

static void test_broadcast_names_in_other_alphabets(void **state)
{
	(void)state;
	// FFmpeg asks iconv for a character set here, which must not load anything inside the jail.
	media_run(FFMPEG "-i speech.wav -c:a ac3 -ar 48000 -metadata service_name='Z\303\274rich' names.ts");
	struct decoded d = decode("names.ts");
	assert_int_equal(d.err, TS_OK);
	assert_near(seconds(&d), (double)speech_count / RATE, 0.12, "names.ts");
	free(d.samples);
}

static void test_best_stream(void **state)
{
	(void)state;
	media_run(FFMPEG "-f lavfi -i sine=frequency=300:duration=6 -i speech.wav -map 0 -map 1 -c:a libvorbis "
	                 "-disposition:a:0 0 -disposition:a:1 default two.mkv");
	struct decoded d = decode("two.mkv");
	assert_int_equal(d.err, TS_OK);
	assert_speech_at(&d, 1, 0, 0.9, "two.mkv");
	free(d.samples);
}

// ---------------------------------------------------------------- the timeline

static void test_late_start(void **state)
{
	(void)state;
	static const struct {
		const char *file, *arguments;
	} rows[] = {
	    {"late.mkv", "-c:a libvorbis -c:v libx264 -preset ultrafast"},
	    {"late.mp4", "-c:a aac -c:v libx264 -preset ultrafast"},
	    {"late.ts", "-ar 48000 -c:a ac3 -c:v mpeg2video"},
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		media_run(FFMPEG VIDEO "8 -itsoffset 2 -i speech.wav -map 0:v -map 1:a %s %s", rows[i].arguments, rows[i].file);
		struct decoded d = decode(rows[i].file);
		if (d.err != TS_OK)
			fail_msg("%s: %s", rows[i].file, d.error.message);
		assert_near(seconds(&d), 2 + (double)speech_count / RATE, 0.15, rows[i].file);
		assert_true(media_energy(d.samples, (size_t)(1.9 * RATE)) < 0.001);
		assert_speech_at(&d, 1, 2, 0.85, rows[i].file);
		free(d.samples);
	}
}

static void test_gap_is_silence(void **state)
{
	(void)state;
	media_run(FFMPEG "-i speech.wav -af \"aselect='not(between(t,1,3))'\" -c:a pcm_s16le gap.mkv");
	struct decoded d = decode("gap.mkv");
	assert_int_equal(d.err, TS_OK);
	assert_near(seconds(&d), (double)speech_count / RATE, 0.1, "gap.mkv");
	assert_true(media_energy(d.samples + (size_t)(1.2 * RATE), (size_t)(1.6 * RATE)) < 1e-4);
	assert_speech_at(&d, 3.2, 0, 0.98, "after the gap");
	free(d.samples);
}

static void test_clock_that_steps_back(void **state)
{
	(void)state;
	// Two recordings joined byte by byte: the second one's clock begins anew.
	media_run(FFMPEG "-stream_loop 3 -i speech.wav -ar 48000 -c:a ac3 part.ts && cat part.ts part.ts >joined.ts");
	struct decoded one = decode("part.ts");
	struct decoded d = decode("joined.ts");
	assert_int_equal(one.err, TS_OK);
	assert_int_equal(d.err, TS_OK);
	assert_near(seconds(&d), 2 * seconds(&one), 0.3, "joined.ts");
	free(one.samples);
	free(d.samples);
}

static void test_clock_that_stands_still(void **state)
{
	(void)state;
	media_run(FFMPEG "-i speech.wav -c:a real_144 -ar 8000 still.rm"); // every packet's time is 0
	struct decoded d = decode("still.rm");
	assert_int_equal(d.err, TS_OK);
	assert_near(seconds(&d), (double)speech_count / RATE, 0.1, "still.rm");
	free(d.samples);
}

static void test_format_changes_midway(void **state)
{
	(void)state;
	media_run(FFMPEG "-i speech.wav -ar 44100 -ac 2 -c:a aac -f adts 1.aac && " FFMPEG
	                 "-i speech.wav -ar 22050 -ac 1 -c:a aac -f adts 2.aac && cat 1.aac 2.aac >mixed.aac");
	struct decoded d = decode("mixed.aac");
	assert_int_equal(d.err, TS_OK);
	assert_near(seconds(&d), 2 * (double)speech_count / RATE, 0.4, "mixed.aac");
	assert_speech_at(&d, 1, 0, 0.85, "first part");
	free(d.samples);
}

// ---------------------------------------------------------------- bad input

static void assert_fails(const char *file, enum ts_err expected, const char *word)
{
	struct decoded d = decode(file);

	if (d.err != expected)
		fail_msg("%s: %s (%s) instead of %s", file, ts_err_name(d.err), d.error.message, ts_err_name(expected));
	if (!strstr(d.error.message, word))
		fail_msg("%s: the message does not say \"%s\": %s", file, word, d.error.message);
	free(d.samples);
}

static void write_random(const char *name, size_t size, uint64_t seed)
{
	struct ts_rng rng = ts_rng_seeded(seed);
	char path[1024];
	char block[1000];

	snprintf(path, sizeof path, "%s/%s", media_folder, name);
	FILE *file = fopen(path, "wb");
	assert_non_null(file);
	for (size_t done = 0; done < size; done += sizeof block) {
		rng.fill(&rng, block, sizeof block);
		assert_int_equal(fwrite(block, sizeof block, 1, file), 1);
	}
	assert_int_equal(fclose(file), 0);
}

static void test_not_media(void **state)
{
	(void)state;
	media_run(": >empty && printf 'Dear all,\\nplease find the minutes below.\\n' >letter.txt && "
	          "yes 'int main(void) { return 0; }' | head -c 300000 >code.c && head -c 7 /bin/sh >tiny");
	assert_fails("empty", TS_ERR_MEDIA_NOT_MEDIA, "empty");
	assert_fails("letter.txt", TS_ERR_MEDIA_NOT_MEDIA, "not audio or video");
	assert_fails("code.c", TS_ERR_MEDIA_NOT_MEDIA, "not audio or video");
	assert_fails("tiny", TS_ERR_MEDIA_NOT_MEDIA, "not audio or video");
	for (uint64_t seed = 1; seed <= 12; seed++) {
		write_random("random", 200000, seed);
		assert_fails("random", TS_ERR_MEDIA_NOT_MEDIA, "not audio or video");
	}
}

static void test_no_audio(void **state)
{
	(void)state;
	media_run(FFMPEG VIDEO "1 -c:v libx264 mute.mp4 && " FFMPEG VIDEO "1 -frames:v 1 picture.png && " FFMPEG VIDEO
	                       "1 -c:v libvpx mute.webm");
	assert_fails("mute.mp4", TS_ERR_MEDIA_NO_AUDIO, "no audio stream");
	assert_fails("mute.webm", TS_ERR_MEDIA_NO_AUDIO, "no audio stream");
	assert_fails("picture.png", TS_ERR_MEDIA_NO_AUDIO, "no audio stream");
}

static void test_encrypted(void **state)
{
	(void)state;
	media_run(FFMPEG
	          "-i speech.wav " VIDEO "4 -c:a aac -c:v libx264 -encryption_scheme cenc-aes-ctr "
	          "-encryption_key 76a6c65c5ea762046bd749a2e632ccbb -encryption_kid a7e61c373e219033c21091fa607bf3b8 "
	          "drm.mp4");
	assert_fails("drm.mp4", TS_ERR_MEDIA_ENCRYPTED, "encrypted");
}

static void test_truncated(void **state)
{
	(void)state;
	media_run(FFMPEG "-stream_loop 4 -i speech.wav " VIDEO
	                 "20 -c:a aac -c:v libx264 -preset ultrafast -shortest -movflags +faststart fast.mp4 && "
	                 "head -c $(($(stat -c %%s fast.mp4) / 2)) fast.mp4 >half.mp4");
	assert_fails("half.mp4", TS_ERR_MEDIA_TRUNCATED, "cut short");
	media_run(FFMPEG "-i fast.mp4 -c copy slow.mp4 && head -c $(($(stat -c %%s slow.mp4) / 2)) slow.mp4 >noindex.mp4");
	assert_fails("noindex.mp4", TS_ERR_MEDIA_TRUNCATED, "index");
	media_run("head -c 60000 speech.wav >short.wav");
	assert_fails("short.wav", TS_ERR_MEDIA_TRUNCATED, "cut short");
	media_run(
	    FFMPEG
	    "-i fast.mp4 -c:v copy -c:a libopus full.mkv && head -c $(($(stat -c %%s full.mkv) / 2)) full.mkv >half.mkv");
	assert_fails("half.mkv", TS_ERR_MEDIA_TRUNCATED, "cut short");
	media_run(FFMPEG "-i speech.wav full.flac && head -c $(($(stat -c %%s full.flac) / 2)) full.flac >half.flac");
	assert_fails("half.flac", TS_ERR_MEDIA_TRUNCATED, "cut short");
}

static void test_samples_before_a_truncation_are_given(void **state)
{
	(void)state;
	media_run("head -c 60000 speech.wav >short.wav");
	struct decoded d = decode("short.wav");
	assert_int_equal(d.err, TS_ERR_MEDIA_TRUNCATED);
	assert_near(seconds(&d), (60000 - 44) / 2.0 / RATE, 0.01, "short.wav");
	free(d.samples);
}

static void test_damaged(void **state)
{
	(void)state;
	// The index is whole, the samples are noise: noise or damage may come out, never a crash.
	write_random("noise", 20000, 99);
	media_run(FFMPEG "-i speech.wav -c:a aac -movflags +faststart good.m4a && cp good.m4a bad.m4a && "
	                 "dd if=noise of=bad.m4a bs=1 seek=$(($(stat -c %%s good.m4a) - 20000)) conv=notrunc status=none");
	struct decoded d = decode("bad.m4a");
	if (d.err != TS_OK && d.err != TS_ERR_MEDIA_TRUNCATED)
		fail_msg("%s: %s", ts_err_name(d.err), d.error.message);
	free(d.samples);
}

static void test_unsupported_codec(void **state)
{
	(void)state;
	// A codec tag nobody knows.
	media_run("cp speech.wav odd.wav && printf '\\376\\312' | dd of=odd.wav bs=1 seek=20 conv=notrunc status=none");
	assert_fails("odd.wav", TS_ERR_MEDIA_UNSUPPORTED, "codec");
}

static void test_playlists_lead_nowhere(void **state)
{
	(void)state;
	media_run("printf '#EXTM3U\\n#EXT-X-TARGETDURATION:10\\n#EXTINF:4,\\n%%s/speech.wav\\n#EXT-X-ENDLIST\\n' \"$PWD\" "
	          ">list.m3u8 && "
	          "printf 'ffconcat version 1.0\\nfile %%s/speech.wav\\n' \"$PWD\" >list.ffconcat && "
	          "printf 'v=0\\no=- 0 0 IN IP4 127.0.0.1\\ns=x\\nc=IN IP4 127.0.0.1\\nt=0 0\\nm=audio 5004 RTP/AVP 0\\n' "
	          ">session.sdp && "
	          "printf '<?xml version=\"1.0\"?><MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" "
	          "profiles=\"urn:mpeg:dash:profile:isoff-live:2011\" type=\"static\"><Period/></MPD>' >list.mpd");
	assert_fails("list.m3u8", TS_ERR_MEDIA_UNSUPPORTED, "playlist");
	assert_fails("list.ffconcat", TS_ERR_MEDIA_UNSUPPORTED, "playlist");
	assert_fails("session.sdp", TS_ERR_MEDIA_UNSUPPORTED, "playlist");
	struct decoded d = decode("list.mpd");
	assert_true(d.err == TS_ERR_MEDIA_UNSUPPORTED || d.err == TS_ERR_MEDIA_NOT_MEDIA);
}

static void test_too_long(void **state)
{
	(void)state;
	const struct ts_media_options options = {.max_duration_ms = 2000};
	struct decoded d = decode_with("speech.wav", &options);
	assert_int_equal(d.err, TS_ERR_MEDIA_TOO_LARGE);
	assert_false(d.opened); // what the file declares is enough to know
	media_run(FFMPEG "-i speech.wav -c:a aac -f adts long.aac");
	d = decode_with("long.aac", &options);
	assert_int_equal(d.err, TS_ERR_MEDIA_TOO_LARGE);
	assert_non_null(strstr(d.error.message, "2 s"));
	assert_true(d.opened);
	assert_true(d.count <= 2 * RATE);
	free(d.samples);
}

static void test_arguments(void **state)
{
	(void)state;
	struct ts_media *media = NULL;
	struct ts_media_info info;
	struct ts_error error = {0};
	struct ts_media_options options = {0};

	const int folder = open(media_folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(ts_media_open(folder, &options, &media, &info, &error), TS_ERR_INVALID);
	close(folder);
	assert_int_equal(ts_media_open(-1, &options, &media, &info, &error), TS_ERR_IO);
	const int fd = media_fd("speech.wav");
	options.stall_timeout_ms = -1;
	assert_int_equal(ts_media_open(fd, &options, &media, &info, &error), TS_ERR_INVALID);
	options.stall_timeout_ms = 0;
	options.child_path = "/nonexistent/decoder";
	assert_int_equal(ts_media_open(fd, &options, &media, &info, &error), TS_ERR_IO);
	assert_non_null(strstr(error.message, "/nonexistent/decoder"));
	close(fd);
	ts_media_close(NULL);
	assert_null(media);
}

// ---------------------------------------------------------------- a child that misbehaves

static struct decoded decode_by_script(const char *script, struct ts_media_options options)
{
	FILE *file = fopen(child_script, "w");

	assert_non_null(file);
	fprintf(file, "#!/bin/sh\n%s\n", script);
	assert_int_equal(fchmod(fileno(file), 0700), 0);
	assert_int_equal(fclose(file), 0);
	options.child_path = child_script;
	return decode_with("speech.wav", &options);
}

static void test_child_crashes(void **state)
{
	(void)state;
	const struct ts_media_options options = {0};
	static const struct {
		const char *script, *word;
	} rows[] = {
	    {"kill -SEGV $$", "SEGV"},
	    {"kill -SYS $$", "forbids"},
	    {"kill -XCPU $$", "CPU"},
	    {"kill -KILL $$", "killed"},
	    {"exit 3", "status 3"},
	    {"printf 'not a frame at all, just text' >&4", "protocol"},
	    {"printf '\\002\\000\\000\\000\\004\\000\\000\\000abcd' >&4", "PCM before INFO"},
	    {"printf '\\003\\000\\000' >&4", "status 0"},
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct decoded d = decode_by_script(rows[i].script, options);
		if (d.err != TS_ERR_MEDIA_CRASHED || !strstr(d.error.message, rows[i].word))
			fail_msg("%s: %s: %s", rows[i].script, ts_err_name(d.err), d.error.message);
	}
}

static void test_child_gets_nothing(void **state)
{
	(void)state;
	const struct ts_media_options options = {0};
	// It complains by an exit status when it finds more than its descriptors or a variable of ours. (sh sets PWD and
	// friends by itself; a descriptor of sh's own script is number 10.)
	setenv("TS_TEST_SECRET", "hunter2", 1);
	struct decoded d = decode_by_script("test -z \"$TS_TEST_SECRET\" || exit 11\n"
	                                    "for n in 5 6 7 8 9 11 12 13 14 15 16 17 18 19 20; do\n"
	                                    "test -e /proc/$$/fd/$n && exit 12\n"
	                                    "done\n"
	                                    "test -e /proc/$$/fd/3 && test -e /proc/$$/fd/4 && exit 42\n",
	                                    options);
	unsetenv("TS_TEST_SECRET");
	assert_int_equal(d.err, TS_ERR_MEDIA_CRASHED);
	assert_non_null(strstr(d.error.message, "status 42"));
}

static void test_child_stalls(void **state)
{
	(void)state;
	struct ts_media_options options = {.stall_timeout_ms = 300};
	struct decoded d = decode_by_script("exec tail -f /dev/null", options);
	assert_int_equal(d.err, TS_ERR_TIMEOUT);
	assert_non_null(strstr(d.error.message, "300 ms"));
}

static void *set_flag(void *flag)
{
	atomic_store((atomic_bool *)flag, true);
	return NULL;
}

static void test_abort(void **state)
{
	(void)state;
	atomic_bool flag = true;
	struct ts_media_options options = {.abort = &flag};
	struct decoded d = decode_with("speech.wav", &options);
	assert_int_equal(d.err, TS_ERR_ABORTED);
	assert_false(d.opened);

	// While waiting for a child that says nothing. The script tells that it runs by making a pipe's reader return.
	flag = false;
	pthread_t thread;
	const int64_t start = ts_mono_ms(ts_clock_system());
	assert_int_equal(pthread_create(&thread, NULL, set_flag, &flag), 0);
	d = decode_by_script("exec tail -f /dev/null", options);
	pthread_join(thread, NULL);
	assert_int_equal(d.err, TS_ERR_ABORTED);
	assert_true(ts_mono_ms(ts_clock_system()) - start < 10000); // not the stall timeout of 60 s

	// In the middle of reading.
	flag = false;
	struct ts_media *media;
	struct ts_media_info info;
	struct ts_error error = {0};
	float samples[100];
	size_t n;
	const int fd = media_fd("speech.wav");
	assert_int_equal(ts_media_open(fd, &options, &media, &info, &error), TS_OK);
	assert_int_equal(ts_media_read(media, samples, 100, &n, &error), TS_OK);
	flag = true;
	assert_int_equal(ts_media_read(media, samples, 100, &n, &error), TS_ERR_ABORTED);
	ts_media_close(media);
	close(fd);
}

static void test_memory_limit(void **state)
{
	(void)state;
	if (ts_jail_is_loose())
		return; // a sanitizer's shadow does not fit any address space limit
	const struct ts_media_options options = {.memory_bytes = 100 << 20}; // less than is mapped already
	struct decoded d = decode_with("speech.wav", &options);
	assert_int_equal(d.err, TS_ERR_MEDIA_CRASHED);
	assert_non_null(strstr(d.error.message, "memory"));
}

// ---------------------------------------------------------------- resources

static long child_peak_kb(void)
{
	char path[64];
	long pid = 0;
	long kb = -1;
	char line[256];

	snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)gettid());
	FILE *file = fopen(path, "r");
	if (!file)
		return -1; // a kernel without CONFIG_PROC_CHILDREN
	const int got = fscanf(file, "%ld", &pid);
	fclose(file);
	if (got != 1)
		return -1;
	snprintf(path, sizeof path, "/proc/%ld/status", pid);
	file = fopen(path, "r");
	while (file && fgets(line, sizeof line, file))
		if (sscanf(line, "VmHWM: %ld", &kb) == 1)
			break;
	if (file)
		fclose(file);
	return kb;
}

static long peak_after(const char *name, double at_least_s)
{
	struct ts_media *media;
	struct ts_media_info info;
	struct ts_error error = {0};
	const struct ts_media_options options = {0};
	static float samples[16000];
	size_t n;
	long kb = 0;
	int64_t total = 0;
	const int fd = media_fd(name);

	assert_int_equal(ts_media_open(fd, &options, &media, &info, &error), TS_OK);
	do {
		const long now = child_peak_kb();
		kb = now > kb ? now : kb;
		assert_int_equal(ts_media_read(media, samples, 16000, &n, &error), TS_OK);
		total += (int64_t)n;
	} while (n > 0);
	assert_true((double)total / RATE >= at_least_s);
	ts_media_close(media);
	close(fd);
	return kb;
}

static void test_memory_is_flat(void **state)
{
	(void)state;
	if (ts_jail_is_loose())
		return; // a sanitizer keeps freed memory for a while
	media_run(FFMPEG "-f lavfi -i sine=frequency=300:duration=20:sample_rate=16000 -c:a flac brief.mkv && " FFMPEG
	                 "-f lavfi -i sine=frequency=300:duration=2400:sample_rate=16000 -c:a flac long.mkv");
	const long brief = peak_after("brief.mkv", 19.9);
	const long hours = peak_after("long.mkv", 2399);
	if (brief < 0)
		return;
	assert_true(brief > 0);
	if (hours > brief + 8 * 1024)
		fail_msg("20 s take %ld kB, 40 minutes %ld kB", brief, hours);
}

static int count_fds(void)
{
	DIR *folder = opendir("/proc/self/fd");
	int count = 0;

	assert_non_null(folder);
	while (readdir(folder))
		count++;
	closedir(folder);
	return count;
}

static void test_nothing_leaks(void **state)
{
	(void)state;
	const int before = count_fds();
	const struct ts_media_options options = {.stall_timeout_ms = 200};

	for (int i = 0; i < 3; i++) {
		struct decoded d = decode("speech.wav");
		assert_int_equal(d.err, TS_OK);
		free(d.samples);
		d = decode("letter.txt");
		assert_int_equal(d.err, TS_ERR_MEDIA_NOT_MEDIA);
		d = decode_by_script("kill -SEGV $$", options);
		assert_int_equal(d.err, TS_ERR_MEDIA_CRASHED);
		d = decode_by_script("exec tail -f /dev/null", options);
		assert_int_equal(d.err, TS_ERR_TIMEOUT);
		// Closed in the middle.
		struct ts_media *media;
		struct ts_media_info info;
		struct ts_error error = {0};
		const int fd = media_fd("speech.wav");
		assert_int_equal(ts_media_open(fd, &(struct ts_media_options){0}, &media, &info, &error), TS_OK);
		ts_media_close(media);
		close(fd);
	}
	assert_int_equal(count_fds(), before);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

static void test_allocation_failure(void **state)
{
	(void)state;
	struct ts_media *media;
	struct ts_media_info info;
	struct ts_error error = {0};
	const struct ts_media_options options = {0};
	const int fd = media_fd("speech.wav");

	ts_mem_fail_after(1);
	const enum ts_err err = ts_media_open(fd, &options, &media, &info, &error);
	ts_mem_fail_after(0);
	assert_int_equal(err, TS_ERR_NOMEM);
	close(fd);
}

static void *decode_in_thread(void *out)
{
	*(struct decoded *)out = decode("speech.wav");
	return NULL;
}

static void test_side_by_side(void **state)
{
	(void)state;
	enum { THREADS = 6 };
	pthread_t threads[THREADS];
	static struct decoded results[THREADS];
	const int before = count_fds();

	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, decode_in_thread, &results[i]), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	for (int i = 0; i < THREADS; i++) {
		assert_int_equal(results[i].err, TS_OK);
		assert_int_equal(results[i].count, speech_count);
		assert_memory_equal(results[i].samples, results[0].samples, speech_count * sizeof(float));
	}
	for (int i = 0; i < THREADS; i++)
		free(results[i].samples);
	assert_int_equal(count_fds(), before);
}

static int make_inputs(void **state)
{
	(void)state;
	media_folder_make();
	snprintf(child_script, sizeof child_script, "%s/child.sh", media_folder);
	media_make_speech("slt", "The quick brown fox jumps over the lazy dog. Then it sleeps all day, under a large tree.",
	                  "speech.wav", "speech.raw");
	speech = media_samples("speech.raw", &speech_count);
	assert_true(speech_count > (size_t)(4.8 * RATE));
	return 0;
}

static int remove_inputs(void **state)
{
	(void)state;
	free(speech);
	media_folder_remove();
	return 0;
}

int main(int argc, char **argv)
{
	int status;

	if (ts_media_child_main(argc, argv, &status))
		return status;
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_formats),
	    cmocka_unit_test(test_stereo_mix_keeps_level),
	    cmocka_unit_test(test_sample_of_the_repository),
	    cmocka_unit_test(test_small_reads),
	    cmocka_unit_test(test_broadcast_names_in_other_alphabets),
	    cmocka_unit_test(test_best_stream),
	    cmocka_unit_test(test_late_start),
	    cmocka_unit_test(test_gap_is_silence),
	    cmocka_unit_test(test_clock_that_steps_back),
	    cmocka_unit_test(test_clock_that_stands_still),
	    cmocka_unit_test(test_format_changes_midway),
	    cmocka_unit_test(test_not_media),
	    cmocka_unit_test(test_no_audio),
	    cmocka_unit_test(test_encrypted),
	    cmocka_unit_test(test_truncated),
	    cmocka_unit_test(test_samples_before_a_truncation_are_given),
	    cmocka_unit_test(test_damaged),
	    cmocka_unit_test(test_unsupported_codec),
	    cmocka_unit_test(test_playlists_lead_nowhere),
	    cmocka_unit_test(test_too_long),
	    cmocka_unit_test(test_arguments),
	    cmocka_unit_test(test_child_crashes),
	    cmocka_unit_test(test_child_gets_nothing),
	    cmocka_unit_test(test_child_stalls),
	    cmocka_unit_test(test_abort),
	    cmocka_unit_test(test_memory_limit),
	    cmocka_unit_test(test_memory_is_flat),
	    cmocka_unit_test(test_nothing_leaks),
	    cmocka_unit_test(test_allocation_failure),
	    cmocka_unit_test(test_side_by_side),
	};
	return cmocka_run_group_tests(tests, make_inputs, remove_inputs);
}
