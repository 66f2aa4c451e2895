// Folders of attempts: made, emptied, removed; a sweep takes what dead attempts left and nothing else.
#include "worker/tempdir.h"

#include "unit.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define JOB "01890a5d-ac96-774b-bcce-b302099a8057"

static char root[64];

static int set_up(void **state)
{
	(void)state;
	snprintf(root, sizeof root, "/tmp/ts-tempdir-XXXXXX");
	return mkdtemp(root) ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	return rmdir(root); // fails unless it is empty
}

static bool there(const char *name)
{
	char path[256];

	snprintf(path, sizeof path, "%s/%s", root, name);
	return access(path, F_OK) == 0;
}

static void touch(const char *name)
{
	char path[256];

	snprintf(path, sizeof path, "%s/%s", root, name);
	int fd = open(path, O_CREAT | O_WRONLY, 0600);
	assert_true(fd >= 0);
	close(fd);
}

static void make(const char *name)
{
	char path[256];

	snprintf(path, sizeof path, "%s/%s", root, name);
	assert_int_equal(mkdir(path, 0700), 0);
}

static void made_and_removed_with_its_content(void **state)
{
	struct ts_tempdir dir = TS_TEMPDIR_NONE;
	struct ts_error error = {0};
	struct stat info;

	(void)state;
	assert_ok(ts_tempdir_create(root, JOB, 2, &dir, &error), &error);
	assert_true(there(JOB ".2"));
	assert_int_equal(stat(dir.path, &info), 0);
	assert_int_equal(info.st_mode & 0777, 0700);
	touch(JOB ".2/media");
	make(JOB ".2/inner");
	touch(JOB ".2/inner/file");
	ts_tempdir_remove(&dir);
	assert_false(there(JOB ".2"));
	ts_tempdir_remove(&dir);
	ts_tempdir_remove(NULL);
}

static void a_dead_attempt_of_the_same_name_is_emptied(void **state)
{
	struct ts_tempdir dir = TS_TEMPDIR_NONE;
	struct ts_error error = {0};

	(void)state;
	make(JOB ".1");
	touch(JOB ".1/half");
	assert_ok(ts_tempdir_create(root, JOB, 1, &dir, &error), &error);
	assert_false(there(JOB ".1/half"));
	ts_tempdir_remove(&dir);
}

static void a_living_attempt_of_the_same_name_is_left_alone(void **state)
{
	struct ts_tempdir dir = TS_TEMPDIR_NONE, other = TS_TEMPDIR_NONE;
	struct ts_error error = {0};

	(void)state;
	assert_ok(ts_tempdir_create(root, JOB, 1, &dir, &error), &error);
	touch(JOB ".1/mine");
	assert_err(ts_tempdir_create(root, JOB, 1, &other, &error), TS_ERR_BUSY);
	assert_true(there(JOB ".1/mine"));
	ts_tempdir_remove(&dir);
}

static void sweep_takes_the_dead_only(void **state)
{
	struct ts_tempdir dir = TS_TEMPDIR_NONE;
	struct ts_error error = {0};
	unsigned removed = 0;
	char outside[128], link[256];

	(void)state;
	assert_ok(ts_tempdir_create(root, JOB, 1, &dir, &error), &error);
	make(JOB ".2");
	touch(JOB ".2/media");
	make("somebody-else");
	make(JOB);
	make(JOB ".x");
	touch(JOB ".7"); // a file, not a folder
	// A link inside a dead folder is removed, what it leads to is not.
	snprintf(outside, sizeof outside, "%s/somebody-else", root);
	snprintf(link, sizeof link, "%s/%s", root, JOB ".2/link");
	assert_int_equal(symlink(outside, link), 0);
	touch("somebody-else/precious");
	assert_ok(ts_tempdir_sweep(root, &removed, &error), &error);
	assert_int_equal(removed, 1);
	assert_true(there(JOB ".1"));
	assert_false(there(JOB ".2"));
	assert_true(there("somebody-else/precious"));
	assert_true(there(JOB ".7"));
	assert_true(there(JOB ".x"));
	ts_tempdir_remove(&dir);
	const char *const rest[] = {"somebody-else/precious", "somebody-else", JOB, JOB ".x", JOB ".7"};
	for (size_t i = 0; i < 5; i++) {
		snprintf(link, sizeof link, "%s/%s", root, rest[i]);
		assert_int_equal(remove(link), 0);
	}
}

// The lock goes with its process, however that dies.
static void a_killed_process_leaves_a_dead_folder(void **state)
{
	struct ts_error error = {0};
	unsigned removed = 0;
	int ready[2], status;
	char byte;

	(void)state;
	assert_int_equal(pipe(ready), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct ts_tempdir dir = TS_TEMPDIR_NONE;
		enum ts_err err = ts_tempdir_create(root, JOB, 1, &dir, NULL);
		if (write(ready[1], err == TS_OK ? "y" : "n", 1) != 1)
			_exit(1);
		pause();
		_exit(1);
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	assert_int_equal(byte, 'y');
	assert_ok(ts_tempdir_sweep(root, &removed, &error), &error);
	assert_int_equal(removed, 0);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_ok(ts_tempdir_sweep(root, &removed, &error), &error);
	assert_int_equal(removed, 1);
	close(ready[0]);
	close(ready[1]);
}

static void missing_parent_is_an_error(void **state)
{
	struct ts_tempdir dir = TS_TEMPDIR_NONE;
	struct ts_error error = {0};
	unsigned removed;

	(void)state;
	assert_err(ts_tempdir_create("/nonexistent/folder", JOB, 1, &dir, &error), TS_ERR_IO);
	assert_err(ts_tempdir_sweep("/nonexistent/folder", &removed, &error), TS_ERR_IO);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    CASE(made_and_removed_with_its_content),
	    CASE(a_dead_attempt_of_the_same_name_is_emptied),
	    CASE(a_living_attempt_of_the_same_name_is_left_alone),
	    CASE(sweep_takes_the_dead_only),
	    CASE(a_killed_process_leaves_a_dead_folder),
	    CASE(missing_parent_is_an_error),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
