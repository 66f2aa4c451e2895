// A decoder template: gives a child for each decoding, with its limits; is not missed when it is dead; is gone with
// its pool.
#include "media/media.h"

#include "unit.h"

#include "base/attr.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
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

static void write_wav(int fd, uint32_t samples)
{
	FILE *file = fdopen(dup(fd), "wb");

	assert_non_null(file);
	fputs("RIFF", file);
	put(file, 36 + 2 * samples, 4);
	fputs("WAVEfmt ", file);
	put(file, 16, 4);
	put(file, 1, 2);
	put(file, 1, 2);
	put(file, 16000, 4);
	put(file, 32000, 4);
	put(file, 2, 2);
	put(file, 16, 2);
	fputs("data", file);
	put(file, 2 * samples, 4);
	for (uint32_t i = 0; i < samples; i++)
		put(file, i % 100 * 100, 2);
	assert_int_equal(fclose(file), 0);
}

static int set_up(void **state)
{
	char path[] = "/tmp/ts-pool-XXXXXX";

	(void)state;
	wav = mkstemp(path);
	if (wav < 0 || unlink(path) != 0)
		return -1;
	write_wav(wav, SAMPLES);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	close(wav);
	// Every child has been reaped.
	return waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD ? 0 : -1;
}

// Children that this thread started, or that templates which it started have made. Returns how many.
static size_t children(pid_t pids[8])
{
	char path[64], text[128] = "";
	size_t count = 0;

	snprintf(path, sizeof path, "/proc/self/task/%ld/children", syscall(SYS_gettid));
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_true(read(fd, text, sizeof text - 1) >= 0);
	close(fd);
	for (char *at = text; *at && *at != '\n';) {
		assert_true(count < 8);
		pids[count++] = (pid_t)strtol(at, &at, 10);
		at += strspn(at, " ");
	}
	return count;
}

static pid_t only_child(void)
{
	pid_t pids[8];

	assert_int_equal(children(pids), 1);
	return pids[0];
}

// The child beside this one, the only other there may be.
static pid_t child_beside(pid_t one)
{
	pid_t pids[8];

	assert_int_equal(children(pids), 2);
	assert_true(pids[0] == one || pids[1] == one);
	return pids[0] == one ? pids[1] : pids[0];
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

static void the_template_gives_a_child_for_each(void **state)
{
	struct ts_media_pool *pool = make_pool();
	const pid_t template = only_child();

	(void)state;
	struct ts_media *first = open_with(pool, 0);
	const pid_t copy = child_beside(template);
	struct ts_media *second = open_with(pool, 5000); // limits are each one's own
	pid_t pids[8];
	assert_int_equal(children(pids), 3);
	decode(second);
	assert_int_equal(child_beside(template), copy);
	decode(first);
	assert_int_equal(only_child(), template);
	ts_media_pool_refill(pool); // it lives: nothing to do
	assert_int_equal(only_child(), template);
	decode(open_with(pool, 0));
	ts_media_pool_destroy(pool);
}

// What tells a copy of the template from a program executed for this media: its start.
static void copies_are_not_executed_anew(void **state)
{
	struct ts_media_options options = {0};
	char log[] = "/tmp/ts-pool-log-XXXXXX";
	char script[] = "/tmp/ts-pool-sh-XXXXXX";
	struct ts_media_pool *pool;
	struct ts_error error = {0};
	char self[4096], text[64] = "";

	(void)state;
	const ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
	assert_true(length > 0);
	self[length] = '\0';
	const int starts = mkstemp(log);
	const int fd = mkostemp(script, O_CLOEXEC);
	assert_true(starts >= 0 && fd >= 0);
	assert_int_equal(fchmod(fd, 0700), 0);
	assert_true(dprintf(fd, "#!/bin/sh\necho start >>%s\nexec '%s' \"$@\"\n", log, self) > 0);
	close(fd);
	options.child_path = script;
	assert_ok(ts_media_pool_create(&options, &pool, &error), &error);
	for (int i = 0; i < 3; i++)
		decode(open_with(pool, 0));
	assert_int_equal(read(starts, text, sizeof text - 1), 6);
	assert_string_equal(text, "start\n");
	ts_media_pool_destroy(pool);
	close(starts);
	unlink(script);
	unlink(log);
}

static void assert_reading_crashes(struct ts_media *media)
{
	static float samples[SAMPLES];
	struct ts_error error = {0};
	enum ts_err err;
	size_t count;

	do {
		err = ts_media_read(media, samples, SAMPLES, &count, &error);
	} while (err == TS_OK && count > 0);
	assert_err(err, TS_ERR_MEDIA_CRASHED);
	assert_non_null(strstr(error.message, "KILL"));
	ts_media_close(media);
}

static void a_crash_of_a_child_is_its_own(void **state)
{
	struct ts_media_pool *pool = make_pool();
	const pid_t template = only_child();
	char path[] = "/tmp/ts-pool-long-XXXXXX";
	const int small = wav;

	(void)state;
	// More than the pipe holds, so that it cannot end by itself before it is hit.
	wav = mkstemp(path);
	assert_true(wav >= 0);
	write_wav(wav, 100 * SAMPLES);
	unlink(path);
	struct ts_media_options options = {.pool = pool};
	struct ts_media_info info;
	struct ts_media *media;
	struct ts_error error = {0};
	assert_ok(ts_media_open(wav, &options, &media, &info, &error), &error);
	assert_int_equal(kill(child_beside(template), SIGKILL), 0);
	assert_reading_crashes(media);
	close(wav);
	wav = small;
	assert_int_equal(only_child(), template);
	decode(open_with(pool, 0));
	ts_media_pool_destroy(pool);
}

static void a_dead_template_is_not_missed(void **state)
{
	struct ts_media_pool *pool = make_pool();
	siginfo_t info;

	(void)state;
	for (int round = 0; round < 2; round++) {
		pid_t template = only_child();
		assert_int_equal(kill(template, SIGKILL), 0);
		assert_int_equal(waitid(P_PID, (id_t) template, &info, WEXITED | WNOWAIT), 0); // dead, and not reaped
		// Noticed by an open in the first round, by the refill in the second.
		if (round == 0)
			decode(open_with(pool, 0));
		ts_media_pool_refill(pool);
		assert_true(only_child() != template);
		decode(open_with(pool, 0));
	}
	ts_media_pool_destroy(pool);
}

static void copies_outlive_a_dead_template(void **state)
{
	struct ts_media_pool *pool = make_pool();
	const pid_t template = only_child();
	siginfo_t info;

	(void)state;
	struct ts_media *media = open_with(pool, 0);
	assert_int_equal(kill(template, SIGKILL), 0);
	assert_int_equal(waitid(P_PID, (id_t) template, &info, WEXITED | WNOWAIT), 0);
	decode(media);
	ts_media_pool_destroy(pool);
}

// In a process of its own: pids of its template and of a copy that decodes are written to the pipe.
static TS_NORETURN void decode_until_killed(int pipe)
{
	struct ts_media_pool *pool = make_pool();
	pid_t pids[8];

	write_wav(wav, 100 * SAMPLES);
	struct ts_media_options options = {.pool = pool};
	struct ts_media_info info;
	struct ts_media *media;
	if (ts_media_open(wav, &options, &media, &info, NULL) != TS_OK || children(pids) != 2 ||
	    write(pipe, pids, 2 * sizeof *pids) != (ssize_t)(2 * sizeof *pids))
		_exit(1);
	for (;;)
		pause();
}

static void nothing_outlives_a_killed_program(void **state)
{
	pid_t pids[2];
	int ends[2], handles[2];

	(void)state;
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	const pid_t program = fork();
	assert_true(program >= 0);
	if (program == 0)
		decode_until_killed(ends[1]);
	close(ends[1]);
	assert_int_equal(read(ends[0], pids, sizeof pids), sizeof pids);
	close(ends[0]);
	for (int i = 0; i < 2; i++) {
		handles[i] = (int)syscall(SYS_pidfd_open, pids[i], 0);
		assert_true(handles[i] >= 0);
	}
	assert_int_equal(kill(program, SIGKILL), 0);
	assert_int_equal(waitpid(program, NULL, 0), program);
	for (int i = 0; i < 2; i++) {
		struct pollfd ended = {.fd = handles[i], .events = POLLIN};
		assert_int_equal(poll(&ended, 1, 30000), 1);
		close(handles[i]);
	}
}

static void an_unused_template_goes_with_its_pool(void **state)
{
	(void)state;
	ts_media_pool_destroy(make_pool());
	ts_media_pool_destroy(NULL);
	ts_media_pool_refill(NULL);
}

static void limits_hold_in_a_copy(void **state)
{
	struct ts_media_options options = {.max_duration_ms = 500};
	struct ts_media_pool *pool;
	struct ts_error error = {0};
	float samples[SAMPLES];
	size_t count;
	enum ts_err err;

	(void)state;
	assert_ok(ts_media_pool_create(&options, &pool, &error), &error);
	const pid_t template = only_child();
	options.pool = pool;
	struct ts_media_info info;
	struct ts_media *media = NULL;
	err = ts_media_open(wav, &options, &media, &info, &error);
	if (err == TS_OK)
		child_beside(template);
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
	    CASE(the_template_gives_a_child_for_each),   CASE(copies_are_not_executed_anew),
	    CASE(a_crash_of_a_child_is_its_own),         CASE(a_dead_template_is_not_missed),
	    CASE(copies_outlive_a_dead_template),        CASE(nothing_outlives_a_killed_program),
	    CASE(an_unused_template_goes_with_its_pool), CASE(limits_hold_in_a_copy),
	};
	int status;

	if (ts_media_child_main(argc, argv, &status))
		return status;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
