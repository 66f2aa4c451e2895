// Arguments, configuration, log, folders and signals of the programs.
#include "bin/wiring.h"

#include "base/mem.h"
#include "base/num.h"
#include "net/webhook.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

// How long the twin of a signal may take.
#define TWIN_NS 50000000

extern char **environ;

// --- arguments ---

void ts_args_finish(struct ts_args *args)
{
	if (!args)
		return;
	for (size_t i = 0; i < args->override_count; i++)
		ts_free(args->overrides[i]);
	ts_free(args->overrides);
	ts_free(args->rest);
	*args = (struct ts_args){0};
}

// Takes argv[*index] as a configuration option when it is one.
static enum ts_err take_override(struct ts_args *args, int argc, char **argv, int *index, bool *out_taken,
                                 struct ts_error *error)
{
	bool has_value;
	char *text;

	*out_taken = ts_config_is_option(argv[*index], NULL, &has_value);
	if (!*out_taken)
		return TS_OK;
	if (has_value) {
		text = ts_strdup(argv[*index]);
	} else {
		if (*index + 1 >= argc)
			return ts_fail(error, TS_ERR_INVALID, "%s needs a value", argv[*index]);
		text = ts_asprintf("%s=%s", argv[*index], argv[*index + 1]);
		(*index)++;
	}
	if (!text)
		return ts_fail_nomem(error);
	args->overrides[args->override_count++] = text;
	return TS_OK;
}

// --config PATH, --config=PATH.
static enum ts_err take_config_file(struct ts_args *args, int argc, char **argv, int *index, bool *out_taken,
                                    struct ts_error *error)
{
	static const char name[] = "--config";
	const char *text = argv[*index], *value = NULL;

	if (strncmp(text, name, strlen(name)) != 0 || (text[strlen(name)] != '=' && text[strlen(name)] != '\0'))
		return TS_OK;
	if (text[strlen(name)] == '=')
		value = text + strlen(name) + 1;
	else if (*index + 1 < argc)
		value = argv[++*index];
	if (!value || !*value)
		return ts_fail(error, TS_ERR_INVALID, "%s needs the path of a file", name);
	args->config_file = value;
	*out_taken = true;
	return TS_OK;
}

static enum ts_err sort_arguments(struct ts_args *args, int argc, char **argv, struct ts_error *error)
{
	bool options = true;

	for (int i = 1; i < argc; i++) {
		bool taken = false;
		if (options && (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)) {
			args->help = true;
			continue;
		}
		if (options && (strcmp(argv[i], "--version") == 0 || strcmp(argv[i], "-V") == 0)) {
			args->version = true;
			continue;
		}
		if (strcmp(argv[i], "--") == 0)
			options = false;
		if (options)
			TS_TRY(take_config_file(args, argc, argv, &i, &taken, error));
		if (options && !taken)
			TS_TRY(take_override(args, argc, argv, &i, &taken, error));
		if (!taken)
			args->rest[args->rest_count++] = argv[i];
	}
	return TS_OK;
}

enum ts_err ts_args_parse(int argc, char **argv, struct ts_args *out, struct ts_error *error)
{
	TS_AUTOARGS struct ts_args args = {0};

	args.overrides = ts_calloc((size_t)argc + 1, sizeof *args.overrides);
	args.rest = ts_calloc((size_t)argc + 1, sizeof *args.rest);
	if (!args.overrides || !args.rest)
		return ts_fail_nomem(error);
	TS_TRY(sort_arguments(&args, argc, argv, error));
	*out = args;
	args = (struct ts_args){0};
	return TS_OK;
}

// --- messages ---

int ts_program_usage(const struct ts_program *program, const char *format, ...)
{
	va_list list;

	fprintf(stderr, "%s: ", program->name);
	va_start(list, format);
	vfprintf(stderr, format, list);
	va_end(list);
	fprintf(stderr, "\nTry '%s --help'.\n", program->name);
	return TS_EXIT_USAGE;
}

int ts_program_fail(const struct ts_program *program, const struct ts_error *error)
{
	fprintf(stderr, "%s: %s\n", program->name, error->message);
	return error->code == TS_ERR_INVALID ? TS_EXIT_USAGE : TS_EXIT_FAILURE;
}

int ts_program_print(const char *format, ...)
{
	va_list list;

	va_start(list, format);
	int wrote = vprintf(format, list);
	va_end(list);
	return wrote < 0 || fflush(stdout) != 0 ? TS_EXIT_FAILURE : TS_EXIT_OK;
}

int ts_program_help(const char *usage)
{
	TS_AUTOBUF struct ts_buf buf;

	ts_buf_init(&buf, 1 << 20);
	ts_config_help(&buf);
	if (ts_buf_status(&buf, NULL) != TS_OK)
		return TS_EXIT_FAILURE;
	return ts_program_print("%s\n"
	                        "%s\n"
	                        "Exit codes: 0 success, 1 failure, 2 wrong usage or configuration.\n",
	                        usage, ts_buf_str(&buf));
}

int ts_program_version(const char *name)
{
	return ts_program_print("%s %s\n", name, TS_VERSION);
}

// --- start ---

static void open_log(struct ts_program *program)
{
	const char *no_colour = getenv("NO_COLOR"), *term = getenv("TERM");
	bool terminal = isatty(STDERR_FILENO) == 1;
	bool json = ts_config_log_is_json(&program->config, terminal);

	program->sink = (struct ts_log_sink){
	    .fd = STDERR_FILENO,
	    .format = json ? TS_LOG_JSON : TS_LOG_TEXT,
	    .level = (enum ts_log_level)program->config.log_level,
	    .colour = terminal && !(no_colour && *no_colour) && !(term && strcmp(term, "dumb") == 0),
	    .component = program->component,
	    .clock = ts_clock_system(),
	};
	program->log = ts_log_to(&program->sink);
}

static int take_ready_fd(void)
{
	const char *text = getenv(TS_READY_FD_NAME);
	int64_t fd;

	if (!text || ts_num_parse_i64(text, 3, 1 << 20, &fd, NULL) != TS_OK)
		return -1;
	unsetenv(TS_READY_FD_NAME);
	return fcntl((int)fd, F_SETFD, FD_CLOEXEC) == 0 ? (int)fd : -1;
}

int ts_program_start(struct ts_program *program, const struct ts_args *args)
{
	struct ts_config_sources sources = {
	    .overrides = (const char *const *)args->overrides,
	    .override_count = args->override_count,
	};
	struct ts_error error = {0};

	signal(SIGXFSZ, SIG_IGN); // a limit on the size of files is the write's error (EFBIG), not the program's end
	ts_config_init(&program->config);
	program->ready_fd = take_ready_fd();
	// In the environment, so that the children of serve read the same file.
	if (args->config_file && setenv("CONFIG_FILE", args->config_file, 1) != 0) {
		ts_fail_errno(&error, TS_ERR_IO, errno, "can't set CONFIG_FILE");
		return ts_program_fail(program, &error);
	}
	sources.environment = environ;
	if (ts_config_load(&sources, &program->config, &error) != TS_OK)
		return ts_program_fail(program, &error);
	open_log(program);
	return TS_EXIT_OK;
}

int ts_program_main(const struct ts_program_spec *spec, int argc, char **argv)
{
	struct ts_program program = {.name = spec->name, .component = spec->component, .ready_fd = -1};
	TS_AUTOARGS struct ts_args args = {0};
	struct ts_error error = {0};

	if (ts_args_parse(argc, argv, &args, &error) != TS_OK)
		return ts_program_usage(&program, "%s", error.message);
	if (args.help)
		return ts_program_help(spec->usage);
	if (args.version)
		return ts_program_version(program.name);
	if (args.rest_count)
		return ts_program_usage(&program, "unknown argument '%s'", args.rest[0]);
	umask(0077);
	ts_signals_block();
	int code = ts_program_start(&program, &args);
	if (code == TS_EXIT_OK)
		code = spec->run(&program, &args);
	ts_program_finish(&program);
	return code;
}

void ts_program_finish(struct ts_program *program)
{
	if (program->ready_fd >= 0)
		close(program->ready_fd);
	program->ready_fd = -1;
	ts_config_finish(&program->config);
}

int ts_program_check_service(const struct ts_program *program, unsigned warn)
{
	const struct ts_config *config = &program->config;
	struct ts_error error = {0};

	if (ts_config_check(config, &error) != TS_OK)
		return ts_program_fail(program, &error);
	if (*config->callback_secret && ts_webhook_secret_check(config->callback_secret, &error) != TS_OK) {
		fprintf(stderr, "%s: CALLBACK_SECRET (%s): %s\n", program->name,
		        ts_config_source_name(config->source[TS_CONFIG_ID_callback_secret]), error.message);
		return TS_EXIT_USAGE;
	}
	if ((warn & TS_WARN_OPEN) && !*config->service_api_key)
		ts_log_warn(&program->log, "SERVICE_API_KEY is empty: anybody who reaches this address may use the service");
	if ((warn & TS_WARN_UNSIGNED) && !*config->callback_secret)
		ts_log_warn(&program->log, "CALLBACK_SECRET is empty: callbacks are not signed");
	return TS_EXIT_OK;
}

void ts_program_ready(struct ts_program *program, const char *line)
{
	if (program->ready_fd < 0)
		return;
	size_t length = strlen(line);
	// The supervisor only shows it; not being heard is no failure.
	if (write(program->ready_fd, line, length) != (ssize_t)length)
		ts_log_debug(&program->log, "nobody hears that we are ready");
	close(program->ready_fd);
	program->ready_fd = -1;
}

// --- folders ---

static enum ts_err make_folder(const char *path, struct ts_error *error)
{
	TS_AUTOFREE char *copy = ts_strdup(path);
	struct stat info;

	if (!copy)
		return ts_fail_nomem(error);
	for (char *slash = copy + 1; *copy && (slash = strchr(slash, '/')) != NULL; slash++) {
		*slash = '\0';
		mkdir(copy, 0700); // judged by the last one
		*slash = '/';
	}
	if (mkdir(copy, 0700) != 0 && errno != EEXIST)
		return ts_fail_errno(error, TS_ERR_IO, errno, "can't make the folder %s", path);
	if (stat(copy, &info) != 0 || !S_ISDIR(info.st_mode))
		return ts_fail(error, TS_ERR_IO, "%s is not a folder", path);
	if (access(copy, W_OK | X_OK) != 0)
		return ts_fail_errno(error, TS_ERR_IO, errno, "can't write into the folder %s", path);
	return TS_OK;
}

enum ts_err ts_paths_load(const struct ts_config *config, struct ts_paths *out, struct ts_error *error)
{
	TS_AUTOPATHS struct ts_paths paths = {0};

	TS_TRY(ts_config_database_path(config, &paths.database, error));
	TS_TRY(ts_config_uploads_dir(config, &paths.uploads, error));
	TS_TRY(ts_config_temp_dir(config, &paths.temp, error));
	*out = paths;
	paths = (struct ts_paths){0};
	return TS_OK;
}

enum ts_err ts_paths_make(const struct ts_config *config, const struct ts_paths *paths, struct ts_error *error)
{
	TS_AUTOFREE char *folder = ts_strdup(paths->database);

	if (!folder)
		return ts_fail_nomem(error);
	char *slash = strrchr(folder, '/');
	if (slash && slash != folder) {
		*slash = '\0';
		TS_TRY(make_folder(folder, error));
	}
	TS_TRY(make_folder(config->local_storage_path, error));
	TS_TRY(make_folder(paths->uploads, error));
	return make_folder(paths->temp, error);
}

void ts_paths_finish(struct ts_paths *paths)
{
	ts_free(paths->database);
	ts_free(paths->uploads);
	ts_free(paths->temp);
	*paths = (struct ts_paths){0};
}

// --- signals ---

static sigset_t stop_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	return set;
}

void ts_signals_block(void)
{
	sigset_t set = stop_signals();

	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
}

int ts_signals_wait(void)
{
	sigset_t set = stop_signals();
	int taken;

	while ((taken = sigwaitinfo(&set, NULL)) < 0 && errno == EINTR)
		;
	// timeout(1) and others tell a process and then its group: the same signal right after is the same decision.
	sigemptyset(&set);
	sigaddset(&set, taken);
	sigtimedwait(&set, NULL, &(const struct timespec){.tv_nsec = TWIN_NS});
	return taken;
}

void ts_signals_release(void)
{
	sigset_t set = stop_signals();

	sigprocmask(SIG_UNBLOCK, &set, NULL);
}
