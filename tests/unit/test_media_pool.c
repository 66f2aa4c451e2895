// A decoder started ahead: taken when it fits, replaced when it is dead or does not, and gone with its pool.
#include "media/media.h"

#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define SAMPLES 16000

static int wav = -1;

static void put(FILE *file, uint32_t value, int bytes)
{
	for (int i = 0; i < bytes; i++)
		fputc((int)(value >> (8 * i) & 0xff), file);
}

static int set_up(void **state)
{
	char path[] = "/tmp/ts-pool-XXXXXX";
	FILE *file;

	(void)state;
	wav = mkstemp(path);
	if (wav < 0 || unlink(path) != 0 || !(file = fdopen(dup(wav), "wb")))
		return -1;
	fputs("RIFF", file);
	put(file, 36 + 2 * SAMPLES, 4);
	fputs("WAVEfmt ", file);
	put(file, 16, 4);
	put(file, 1, 2);
	put(file, 1, 2);
	put(file, 16000, 4);
	put(file, 32000, 4);
	put(file, 2, 2);
	put(file, 16, 2);
	fputs("data", file);
	put(file, 2 * SAMPLES, 4);
	for (int i = 0; i < SAMPLES; i++)
		put(file, (uint32_t)(i % 100) * 100, 2);
	return fclose(file);
}

static int tear_down(void **state)
{
	(void)state;
	close(wav);
	// Every child has been reaped.
	return waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD ? 0 : -1;
}

// The child of this thread, the only one there may be; 0: none.
static pid_t only_child(void)
{
	char path[64], text[64] = "";

	snprintf(path, sizeof path, "/proc/self/task/%ld/children", syscall(SYS_gettid));
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_true(read(fd, text, sizeof text - 1) >= 0);
	close(fd);
	char *end;
	long pid = strtol(text, &end, 10);
	assert_true(*end == '\0' || strcmp(end, " ") == 0);
	return (pid_t)pid;
}

static struct ts_media *open_with(struct ts_media_pool *pool, int64_t max_duration_ms)
{
	struct ts_media_options options = {.pool = pool, .max_duration_ms = max_duration_ms};
	struct ts_media_info info;
	struct ts_media *media;
	struct ts_error error = {0};

	assert_ok(ts_media_open(wav, &options, &media, &info, &error), &error);
	assert_int_equal(info.duration_ms, 1000);
	return media;
}

static void decode(struct ts_media *media)
{
	static float samples[SAMPLES];
	struct ts_error error = {0};
	size_t count, all = 0;

	do {
		assert_ok(ts_media_read(media, samples, SAMPLES, &count, &error), &error);
		all += count;
	} while (count);
	assert_int_equal(all, SAMPLES);
	ts_media_close(media);
}

static struct ts_media_pool *make_pool(void)
{
	struct ts_media_options options = {0};
	struct ts_media_pool *pool;
	struct ts_error error = {0};

	assert_ok(ts_media_pool_create(&options, &pool, &error), &error);
	return pool;
}

static void the_waiting_child_is_taken(void **state)
{
	struct ts_media_pool *pool = make_pool();
	pid_t waiting = only_child();

	(void)state;
	assert_true(waiting > 0);
	struct ts_media *media = open_with(pool, 0);
	assert_int_equal(only_child(), waiting); // no other was started
	decode(media);
	assert_int_equal(only_child(), 0);
	// Nobody waits now: it starts its own.
	decode(open_with(pool, 0));
	ts_media_pool_refill(pool);
	waiting = only_child();
	assert_true(waiting > 0);
	ts_media_pool_refill(pool); // one is enough
	assert_int_equal(only_child(), waiting);
	decode(open_with(pool, 0));
	ts_media_pool_destroy(pool);
}

static void a_child_with_other_limits_is_not_taken(void **state)
{
	struct ts_media_pool *pool = make_pool();
	pid_t waiting = only_child();

	(void)state;
	decode(open_with(pool, 5000));
	assert_int_equal(only_child(), waiting);
	ts_media_pool_destroy(pool);
}

static void a_dead_child_is_not_missed(void **state)
{
	struct ts_media_pool *pool = make_pool();
	pid_t waiting = only_child();
	siginfo_t info;

	(void)state;
	assert_int_equal(kill(waiting, SIGKILL), 0);
	assert_int_equal(waitid(P_PID, (id_t)waiting, &info, WEXITED | WNOWAIT), 0); // dead, and not reaped
	decode(open_with(pool, 0));
	ts_media_pool_destroy(pool);
}

static void an_unused_child_goes_with_its_pool(void **state)
{
	(void)state;
	ts_media_pool_destroy(make_pool());
	ts_media_pool_destroy(NULL);
	ts_media_pool_refill(NULL);
}

static void limits_hold_in_a_waiting_child(void **state)
{
	struct ts_media_options options = {.max_duration_ms = 500};
	struct ts_media_pool *pool;
	struct ts_error error = {0};
	float samples[SAMPLES];
	size_t count;
	enum ts_err err;

	(void)state;
	assert_ok(ts_media_pool_create(&options, &pool, &error), &error);
	pid_t waiting = only_child();
	options.pool = pool;
	struct ts_media_info info;
	struct ts_media *media = NULL;
	err = ts_media_open(wav, &options, &media, &info, &error);
	if (err == TS_OK)
		assert_int_equal(only_child(), waiting);
	while (err == TS_OK) {
		err = ts_media_read(media, samples, SAMPLES, &count, &error);
		assert_true(err != TS_OK || count > 0);
	}
	assert_err(err, TS_ERR_MEDIA_TOO_LARGE);
	ts_media_close(media);
	ts_media_pool_destroy(pool);
}

int main(int argc, char **argv)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    CASE(the_waiting_child_is_taken),     CASE(a_child_with_other_limits_is_not_taken),
	    CASE(a_dead_child_is_not_missed),     CASE(an_unused_child_goes_with_its_pool),
	    CASE(limits_hold_in_a_waiting_child),
	};
	int status;

	if (ts_media_child_main(argc, argv, &status))
		return status;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
