// Arguments, the progress bar, and the programs' exit codes and messages as users meet them.
#include "bin/progress.h"
#include "bin/wiring.h"

#include "rig.h"
#include "unit.h"

#include <dirent.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

// --- arguments ---

static void arguments_are_sorted(void **state)
{
	char *argv[] = {
	    (char[]){"x"},  (char[]){"--port=1"}, (char[]){"a"},        (char[]){"--log-level"}, (char[]){"debug"},
	    (char[]){"-f"}, (char[]){"--"},       (char[]){"--port=2"}, (char[]){"--version"},   NULL};
	TS_AUTOARGS struct ts_args args = {0};
	struct ts_error error = {0};

	(void)state;
	assert_ok(ts_args_parse(9, argv, &args, &error), &error);
	assert_int_equal(args.override_count, 2);
	assert_string_equal(args.overrides[0], "--port=1");
	assert_string_equal(args.overrides[1], "--log-level=debug");
	assert_int_equal(args.rest_count, 5);
	assert_string_equal(args.rest[0], "a");
	assert_string_equal(args.rest[1], "-f");
	assert_string_equal(args.rest[2], "--");
	assert_string_equal(args.rest[3], "--port=2");
	assert_false(args.help);
	assert_false(args.version);
}

static void a_configuration_file_is_named_in_either_form(void **state)
{
	char *together[] = {(char[]){"x"}, (char[]){"--config=a b.conf"}, (char[]){"rest"}, NULL};
	char *apart[] = {(char[]){"x"}, (char[]){"--config"}, (char[]){"c.conf"}, NULL};
	char *after[] = {(char[]){"x"}, (char[]){"--"}, (char[]){"--config"}, (char[]){"c.conf"}, NULL};
	char *bare[] = {(char[]){"x"}, (char[]){"--config"}, NULL};
	char *empty[] = {(char[]){"x"}, (char[]){"--config="}, NULL};
	char *other[] = {(char[]){"x"}, (char[]){"--configure=1"}, NULL};
	struct ts_error error = {0};
	(void)state;

	TS_AUTOARGS struct ts_args first = {0};
	assert_ok(ts_args_parse(3, together, &first, &error), &error);
	assert_string_equal(first.config_file, "a b.conf");
	assert_int_equal(first.rest_count, 1);
	TS_AUTOARGS struct ts_args second = {0};
	assert_ok(ts_args_parse(3, apart, &second, &error), &error);
	assert_string_equal(second.config_file, "c.conf");
	assert_int_equal(second.rest_count, 0);
	TS_AUTOARGS struct ts_args third = {0};
	assert_ok(ts_args_parse(4, after, &third, &error), &error);
	assert_null(third.config_file);
	assert_int_equal(third.rest_count, 3);
	TS_AUTOARGS struct ts_args fourth = {0};
	assert_err(ts_args_parse(2, bare, &fourth, &error), TS_ERR_INVALID);
	assert_contains(error.message, "--config needs the path of a file");
	assert_err(ts_args_parse(2, empty, &fourth, &error), TS_ERR_INVALID);
	assert_ok(ts_args_parse(2, other, &fourth, &error), &error);
	assert_null(fourth.config_file);
	assert_int_equal(fourth.rest_count, 1);
}

static void a_missing_value_is_an_error(void **state)
{
	char *argv[] = {(char[]){"x"}, (char[]){"--port"}, NULL};
	TS_AUTOARGS struct ts_args args = {0};
	struct ts_error error = {0};

	(void)state;
	assert_err(ts_args_parse(2, argv, &args, &error), TS_ERR_INVALID);
	assert_contains(error.message, "--port");
}

// --- the progress bar ---

static void progress_tells_share_and_time_left(void **state)
{
	char line[TS_PROGRESS_LINE];

	(void)state;
	assert_string_equal(ts_progress_format("talk.mp4", 30000, 120000, 10000, line),
	                    "[######..................]  25 %  0:30 left  talk.mp4");
	assert_string_equal(ts_progress_format("talk.mp4", 120000, 120000, 10000, line),
	                    "[########################] 100 %  0:00 left  talk.mp4");
	// Too early to tell; longer than announced; unknown length; hours.
	assert_string_equal(ts_progress_format("a", 1000, 120000, 10000, line), "[........................]   0 %  a");
	assert_contains(ts_progress_format("a", 130000, 120000, 10000, line), "100 %");
	assert_string_equal(ts_progress_format("a", 61000, 0, 10000, line), "a  1:01 done");
	assert_contains(ts_progress_format("a", 1000000, 10000000, 1000000, line), "2:30:00 left");
}

// --- the programs ---

static char folder[64], wav[96], bin[512];

struct outcome {
	int code;
	char out[65536], err[65536];
};

static void read_back(const char *name, char *text, size_t size)
{
	char path[128];

	snprintf(path, sizeof path, "%s/%s", folder, name);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	ssize_t got = read(fd, text, size - 1);
	assert_true(got >= 0);
	text[got] = '\0';
	close(fd);
	unlink(path);
}

// Runs a program in the test's folder with this environment and nothing else.
static struct outcome *run_in(char *const *environment, const char *program, const char *const *arguments)
{
	static struct outcome outcome;
	posix_spawn_file_actions_t actions;
	char path[640], out[128], err[128];
	char *argv[16] = {path};
	pid_t pid;
	int status;

	snprintf(path, sizeof path, "%s/%s", bin, program);
	snprintf(out, sizeof out, "%s/out", folder);
	snprintf(err, sizeof err, "%s/err", folder);
	for (size_t i = 0; arguments[i]; i++)
		argv[i + 1] = strdup(arguments[i]);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&actions, 1, out, O_CREAT | O_TRUNC | O_WRONLY, 0600);
	posix_spawn_file_actions_addopen(&actions, 2, err, O_CREAT | O_TRUNC | O_WRONLY, 0600);
	posix_spawn_file_actions_addchdir_np(&actions, folder);
	assert_int_equal(posix_spawn(&pid, path, &actions, NULL, argv, environment), 0);
	posix_spawn_file_actions_destroy(&actions);
	for (size_t i = 1; argv[i]; i++)
		free(argv[i]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	outcome.code = WEXITSTATUS(status);
	read_back("out", outcome.out, sizeof outcome.out);
	read_back("err", outcome.err, sizeof outcome.err);
	return &outcome;
}

#define RUN(program, ...) run_in((char *const[]){NULL}, (program), (const char *const[]){__VA_ARGS__, NULL})
#define RUN_WITH(variable, program, ...) \
	run_in((char *const[]){(char[]){variable}, NULL}, (program), (const char *const[]){__VA_ARGS__, NULL})

static void help_everywhere(void **state)
{
	static const char *const programs[] = {"transcription", "transcription-api", "transcription-worker"};
	static const char *const commands[] = {"serve", "transcribe", "config", "migrate"};
	char usage[64];

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		const struct outcome *outcome = RUN(programs[i], "--help");
		assert_int_equal(outcome->code, 0);
		assert_string_equal(outcome->err, "");
		snprintf(usage, sizeof usage, "Usage: %s", programs[i]);
		assert_memory_equal(outcome->out, usage, strlen(usage));
		assert_contains(outcome->out, "Exit codes: 0");
		outcome = RUN(programs[i], "--version");
		assert_int_equal(outcome->code, 0);
		assert_contains(outcome->out, TS_VERSION);
	}
	for (size_t i = 0; i < 4; i++) {
		const struct outcome *outcome = RUN("transcription", commands[i], "--help");
		assert_int_equal(outcome->code, 0);
		snprintf(usage, sizeof usage, "Usage: transcription %s", commands[i]);
		assert_contains(outcome->out, usage);
		assert_contains(outcome->out, "LOCAL_STORAGE_PATH"); // from the table
		assert_int_equal(RUN("transcription", "help", commands[i])->code, 0);
	}
}

static void misuse(void **state)
{
	const struct outcome *outcome;

	(void)state;
	outcome = run_in((char *const[]){NULL}, "transcription", (const char *const[]){NULL});
	assert_int_equal(outcome->code, 2);
	assert_string_equal(outcome->out, "");
	assert_contains(outcome->err, "Usage");
	static const char *const wrong[][4] = {
	    {"dance"},
	    {"help", "dance"},
	    {"transcribe"},
	    {"transcribe", "-f", "doc", "a"},
	    {"transcribe", "a", "-o"},
	    {"transcribe", "--colour", "a"},
	    {"transcribe", "-f", "srt,vtt", "a"},                // two formats to one output
	    {"transcribe", "-oout", "a/talk.mp4", "b/talk.mp4"}, // two files to one output
	    {"transcribe", "-oout", "a", "a"},
	    {"transcribe", "--port"},
	    {"config", "--bogus"},
	    {"migrate", "now"},
	    {"serve", "now"},
	};
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		const char *arguments[5] = {wrong[i][0], wrong[i][1], wrong[i][2], wrong[i][3], NULL};
		outcome = run_in((char *const[]){NULL}, "transcription", arguments);
		assert_int_equal(outcome->code, 2);
		assert_string_equal(outcome->out, "");
		assert_true(*outcome->err != '\0');
	}
	assert_int_equal(RUN("transcription-api", "extra")->code, 2);
	assert_int_equal(RUN("transcription-worker", "extra")->code, 2);
}

static void one_line(const struct outcome *outcome, const char *name)
{
	assert_int_equal(outcome->code, 2);
	assert_contains(outcome->err, name);
	assert_ptr_equal(strchr(outcome->err, '\n'), outcome->err + strlen(outcome->err) - 1);
}

static void a_bad_value_stops_the_start_with_one_line(void **state)
{
	static const char *const programs[][2] = {
	    {"transcription", "serve"}, {"transcription-api", NULL}, {"transcription-worker", NULL}};
	static char port[] = "PORT=eight", engine[] = "ENGINE=magic", secret[] = "CALLBACK_SECRET=whsec_short",
	            production[] = "ENVIRONMENT=production", lease[] = "LEASE_SECONDS=-1";
	static char *const values[] = {port, engine, secret, production, lease};
	static const char *const names[] = {"PORT", "ENGINE", "CALLBACK_SECRET", "SERVICE_API_KEY", "LEASE_SECONDS"};

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		for (size_t v = 0; v < 5; v++) {
			char *const environment[] = {values[v], NULL};
			const char *const arguments[] = {programs[i][1], NULL};
			one_line(run_in(environment, programs[i][0], arguments), names[v]);
		}
	}
	one_line(RUN_WITH("MEDIA_ALLOWED_HOSTS=bad host!", "transcription-worker", "--log-level=error"),
	         "MEDIA_ALLOWED_HOSTS");
}

static void config_shows_what_is_in_force(void **state)
{
	const struct outcome *outcome;

	(void)state;
	outcome = RUN_WITH("SERVICE_API_KEY=very-secret-key", "transcription", "config", "--port=8123");
	assert_int_equal(outcome->code, 0);
	assert_contains(outcome->out, "PORT=8123");
	assert_null(strstr(outcome->out, "very-secret-key"));
	assert_int_equal(RUN_WITH("ENVIRONMENT=production", "transcription", "config")->code, 0);
	assert_int_equal(RUN_WITH("ENVIRONMENT=production", "transcription", "config", "--check")->code, 2);
	assert_contains(RUN("transcription", "config", "--markdown")->out, "MAX_UPLOAD_MB");
}

static void migrate_twice(void **state)
{
	struct stat info;
	char path[128];

	(void)state;
	assert_int_equal(RUN("transcription", "migrate", "--local-storage-path=store")->code, 0);
	assert_contains(RUN("transcription", "migrate", "--local-storage-path", "store")->out, "up to date");
	snprintf(path, sizeof path, "%s/store", folder);
	assert_int_equal(stat(path, &info), 0);
	assert_int_equal(info.st_mode & 0777, 0700); // nobody else reads people's words
	snprintf(path, sizeof path, "%s/store/transcription.db", folder);
	assert_int_equal(stat(path, &info), 0);
	assert_int_equal(info.st_mode & 0077, 0);
}

static bool there(const char *name)
{
	char path[128];

	snprintf(path, sizeof path, "%s/%s", folder, name);
	return access(path, F_OK) == 0;
}

static void transcribe_prints_or_writes(void **state)
{
	const struct outcome *outcome;

	(void)state;
	outcome = RUN("transcription", "transcribe", "--engine=pocketsphinx", "-f", "json", "tone.wav");
	assert_int_equal(outcome->code, 0);
	assert_contains(outcome->out, "\"text\"");
	assert_string_equal(outcome->err, "");
	outcome = RUN("transcription", "transcribe", "--engine=pocketsphinx", "-fsrt,vtt", "--format=json", "-f",
	              "verbose_json", "-o", "texts", "--", "tone.wav");
	assert_int_equal(outcome->code, 0);
	assert_string_equal(outcome->out, "");
	assert_true(there("texts/tone.srt") && there("texts/tone.vtt") && there("texts/tone.json"));
	assert_true(there("texts/tone.verbose.json"));
}

static void a_bad_file_is_named_and_stops_nothing(void **state)
{
	const struct outcome *outcome;

	(void)state;
	outcome = RUN("transcription", "transcribe", "--engine=pocketsphinx", "missing.mp4", ".", "tone.wav", "-o", "some");
	assert_int_equal(outcome->code, 1);
	assert_contains(outcome->err, "missing.mp4: ");
	assert_contains(outcome->err, ".: is not a regular file");
	assert_true(there("some/tone.txt"));
	assert_int_equal(RUN("transcription", "transcribe", "--engine=pocketsphinx", "-l", "xx", "tone.wav")->code, 2);
	assert_int_equal(RUN("transcription", "transcribe", "--pocketsphinx-model-dir=/nowhere", "tone.wav")->code, 1);
}

static int set_up(void **state)
{
	const char *from = getenv("TS_BIN_DIR");

	(void)state;
	snprintf(folder, sizeof folder, "/tmp/ts-cli-XXXXXX");
	if (!from || !mkdtemp(folder))
		return -1;
	snprintf(bin, sizeof bin, "%s", from);
	snprintf(wav, sizeof wav, "%s/tone.wav", folder);
	rig_write_wav(wav, 16000);
	return 0;
}

static void remove_all(const char *path)
{
	DIR *entries = opendir(path);
	const struct dirent *entry;
	char inner[512];

	while (entries && (entry = readdir(entries)) != NULL) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		snprintf(inner, sizeof inner, "%s/%s", path, entry->d_name);
		if (unlink(inner) != 0)
			remove_all(inner);
	}
	if (entries)
		closedir(entries);
	rmdir(path);
}

static int tear_down(void **state)
{
	(void)state;
	remove_all(folder);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(arguments_are_sorted),
	    cmocka_unit_test(a_configuration_file_is_named_in_either_form),
	    cmocka_unit_test(a_missing_value_is_an_error),
	    cmocka_unit_test(progress_tells_share_and_time_left),
	    cmocka_unit_test(help_everywhere),
	    cmocka_unit_test(misuse),
	    cmocka_unit_test(a_bad_value_stops_the_start_with_one_line),
	    cmocka_unit_test(config_shows_what_is_in_force),
	    cmocka_unit_test(migrate_twice),
	    cmocka_unit_test(transcribe_prints_or_writes),
	    cmocka_unit_test(a_bad_file_is_named_and_stops_nothing),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
