// Encoding for remote engines: what is encoded is a file that our own decoder reads back as the same sound, its size is
// below the promised bound, and the ceiling holds. The program is its own decoder child.
#include "unit.h"

#include "base/mem.h"
#include "base/rng.h"
#include "fault.h"
#include "media/encode.h"
#include "media/media.h"
#include "media_files.h"

#include <pthread.h>
#include <sys/mman.h>

#define RATE TS_MEDIA_SAMPLE_RATE

static float *speech;
static size_t speech_count;

static size_t decode(const struct ts_encoded *encoded, float *samples, size_t capacity, struct ts_media_info *info)
{
	const struct ts_media_options options = {0};
	struct ts_error error = {0};
	struct ts_media *media;
	size_t count = 0;
	size_t n;
	const int fd = memfd_create("encoded", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, encoded->data, encoded->length), encoded->length);
	assert_ok(ts_media_open(fd, &options, &media, info, &error), &error);
	do {
		assert_true(count < capacity);
		assert_ok(ts_media_read(media, samples + count, capacity - count, &n, &error), &error);
		count += n;
	} while (n > 0);
	ts_media_close(media);
	close(fd);
	return count;
}

static void test_round_trip(void **state)
{
	(void)state;
	TS_AUTOENCODED struct ts_encoded encoded = {0};
	struct ts_error error = {0};
	struct ts_media_info info;
	float *back = calloc(speech_count + RATE, sizeof(float));
	int lag = 0;

	assert_non_null(back);
	assert_ok(ts_encode(speech, speech_count, 1 << 20, &encoded, &error), &error);
	const size_t count = decode(&encoded, back, speech_count + RATE, &info);
	if (strcmp(encoded.filename, "audio.ogg") == 0) {
		assert_string_equal(encoded.media_type, "audio/ogg");
		assert_string_equal(info.codec, "opus");
		assert_true(encoded.length < speech_count * 2 / 5); // it compresses
	} else {
		assert_string_equal(encoded.filename, "audio.flac");
		assert_string_equal(encoded.media_type, "audio/flac");
	}
	assert_true(llabs((long long)count - (long long)speech_count) <= RATE / 20);
	assert_true(media_correlation(speech, 2 * RATE, back, 2 * RATE, 100, &lag) > 0.9);
	free(back);
}

static void test_lengths(void **state)
{
	(void)state;
	static const size_t lengths[] = {1, 2, 319, 320, 321, 16000, 16001};

	for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
		TS_AUTOENCODED struct ts_encoded encoded = {0};
		struct ts_error error = {0};
		struct ts_media_info info;
		static float back[2 * RATE];
		assert_ok(ts_encode(speech, lengths[i], 1 << 20, &encoded, &error), &error);
		const size_t count = decode(&encoded, back, 2 * RATE, &info);
		if (count + 2 < lengths[i] || count > lengths[i] + 640) // a sample may fall to rounding at 48 kHz
			fail_msg("%zu samples came back as %zu", lengths[i], count);
	}
}

// Sounds that are hard to compress still fit the bytes that their seconds were promised for.
static void test_promised_seconds_fit(void **state)
{
	(void)state;
	struct ts_rng rng = ts_rng_seeded(1);
	static const size_t sizes[] = {10000, 60000, 400000};

	for (size_t i = 0; i < 2 * sizeof sizes / sizeof sizes[0]; i++) {
		TS_AUTOENCODED struct ts_encoded encoded = {0};
		struct ts_error error = {0};
		const size_t size = sizes[i / 2];
		const size_t count = (size_t)(ts_encode_seconds_within(size) * RATE);
		float *sound = malloc(count * sizeof(float));
		assert_non_null(sound);
		assert_true(count > RATE);
		for (size_t s = 0; s < count; s++)
			sound[s] = i % 2 ? 4 * speech[s % speech_count] : (float)(ts_rng_unit(&rng) * 2 - 1);
		assert_ok(ts_encode(sound, count, size, &encoded, &error), &error);
		if (size >= 60000 && encoded.length < size * 2 / 3) // and the promise is not a wild guess
			fail_msg("%zu bytes of %zu", encoded.length, size);
		free(sound);
	}
	assert_true(ts_encode_seconds_within(0) == 0);
	assert_true(ts_encode_seconds_within(100) == 0);
}

static void test_ceiling(void **state)
{
	(void)state;
	struct ts_encoded encoded = {0};
	struct ts_error error = {0};

	assert_err(ts_encode(speech, speech_count, 2000, &encoded, &error), TS_ERR_LIMIT);
	assert_contains(error.message, "2000 bytes");
	assert_err(ts_encode(speech, speech_count, 10, &encoded, &error), TS_ERR_LIMIT);
	assert_err(ts_encode(speech, 0, 2000, &encoded, &error), TS_ERR_INVALID);
	assert_null(encoded.data);
	ts_encoded_finish(&encoded);
	ts_encoded_finish(NULL);
}

static void test_abort(void **state)
{
	(void)state;
	struct ts_encoded encoded = {0};
	struct ts_error error = {0};
	atomic_bool flag = true;

	assert_err(ts_encode_abortable(speech, speech_count, 1 << 20, &flag, &encoded, &error), TS_ERR_ABORTED);
	assert_null(encoded.data);
	flag = false;
	assert_ok(ts_encode_abortable(speech, speech_count, 1 << 20, &flag, &encoded, &error), &error);
	ts_encoded_finish(&encoded);
}

static void test_wild_samples(void **state)
{
	(void)state;
	TS_AUTOENCODED struct ts_encoded encoded = {0};
	struct ts_error error = {0};
	float wild[1000];

	for (size_t i = 0; i < 1000; i++)
		wild[i] = i % 4 == 0 ? NAN : i % 4 == 1 ? INFINITY : i % 4 == 2 ? -INFINITY : 1e30F;
	assert_ok(ts_encode(wild, 1000, 1 << 20, &encoded, &error), &error);
	assert_true(encoded.length > 0);
}

static enum ts_err encode_once(void *ctx, struct ts_error *error)
{
	(void)ctx;
	TS_AUTOENCODED struct ts_encoded encoded = {0};

	return ts_encode(speech, 16000, 1 << 20, &encoded, error);
}

static void test_allocation_failure(void **state)
{
	(void)state;
	ts_fault_each(encode_once, NULL, 1);
}

static void *encode_in_thread(void *out)
{
	struct ts_error error = {0};

	assert_ok(ts_encode(speech, speech_count, 1 << 20, out, &error), &error);
	return NULL;
}

static void test_side_by_side(void **state)
{
	(void)state;
	enum { THREADS = 4 };
	pthread_t threads[THREADS];
	struct ts_encoded results[THREADS] = {0};

	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, encode_in_thread, &results[i]), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	for (int i = 0; i < THREADS; i++) {
		assert_int_equal(results[i].length, results[0].length);
		if (i > 0) {
			assert_memory_equal(results[i].data, results[0].data, results[0].length);
			ts_encoded_finish(&results[i]);
		}
	}
	ts_encoded_finish(&results[0]);
}

static int make_speech(void **state)
{
	(void)state;
	media_folder_make();
	media_make_speech("slt", "The quick brown fox jumps over the lazy dog.", "speech.wav", "speech.raw");
	speech = media_samples("speech.raw", &speech_count);
	assert_true(speech_count > 2 * RATE);
	return 0;
}

static int free_speech(void **state)
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
	    cmocka_unit_test(test_round_trip),
	    cmocka_unit_test(test_lengths),
	    cmocka_unit_test(test_promised_seconds_fit),
	    cmocka_unit_test(test_ceiling),
	    cmocka_unit_test(test_abort),
	    cmocka_unit_test(test_wild_samples),
	    cmocka_unit_test(test_allocation_failure),
	    cmocka_unit_test(test_side_by_side),
	};
	return cmocka_run_group_tests(tests, make_speech, free_speech);
}
