// What the programs share: arguments, configuration, log, folders, signals, and the filling of option structs.
// The only place of the service that reads the environment, prints and decides on exit codes.
#ifndef TS_BIN_WIRING_H
#define TS_BIN_WIRING_H

#include "base/buf.h"
#include "base/log.h"
#include "config/config.h"

#include <stdbool.h>
#include <stddef.h>

enum ts_exit { TS_EXIT_OK = 0, TS_EXIT_FAILURE = 1, TS_EXIT_USAGE = 2 };

// argv sorted into configuration ("--name=value", "--name value") and the rest, in order. After "--" (kept in the
// rest) nothing is an option.
struct ts_args {
	char **overrides; // owned
	size_t override_count;
	const char **rest; // borrowed from argv; owned array
	size_t rest_count;
	const char *config_file; // --config PATH; borrowed from argv; NULL: none given
	bool help, version;      // --help -h, --version -V
};
enum ts_err ts_args_parse(int argc, char **argv, struct ts_args *out, struct ts_error *error) TS_MUST_USE;
void ts_args_finish(struct ts_args *args);
#define TS_AUTOARGS TS_CLEANUP(ts_args_finish)

struct ts_program {
	const char *name;      // as the user typed it: "transcription-api"
	const char *component; // of its log lines
	struct ts_config config;
	struct ts_log_sink sink;
	struct ts_log log; // refers to sink: a program does not move
	int ready_fd;      // -1: nobody waits to hear that we are ready
};

// Loads the configuration and opens the log. A bad value prints one line; returns the exit code then, else TS_EXIT_OK.
int ts_program_start(struct ts_program *program, const struct ts_args *args);
void ts_program_finish(struct ts_program *program);

// main() of a program of the service: --help, --version and wrong arguments are answered, otherwise `run` is called
// with the configuration loaded, signals waiting for ts_signals_wait and new files private. Returns the exit code.
struct ts_program_spec {
	const char *name, *component, *usage;
	int (*run)(struct ts_program *program, const struct ts_args *args);
};
int ts_program_main(const struct ts_program_spec *spec, int argc, char **argv);

// One line on stderr, "NAME: message"; returns TS_EXIT_USAGE or TS_EXIT_FAILURE, as said.
int ts_program_usage(const struct ts_program *program, const char *format, ...) TS_PRINTF(2, 3);
int ts_program_fail(const struct ts_program *program, const struct ts_error *error);

// What the service demands besides: ts_config_check, CALLBACK_SECRET's form. Warns of what development lets pass.
enum ts_warn { TS_WARN_NOTHING = 0, TS_WARN_OPEN = 1, TS_WARN_UNSIGNED = 2 };
int ts_program_check_service(const struct ts_program *program, unsigned warn);

// --help's text (usage lines given) with the configuration and the exit codes, on stdout.
int ts_program_help(const char *usage);
int ts_program_print(const char *format, ...) TS_PRINTF(1, 2); // to stdout; TS_EXIT_FAILURE when that fails
int ts_program_version(const char *name);

// Paths of the storage folders. ts_paths_make creates what is missing (0700).
struct ts_paths {
	char *database, *uploads, *temp; // owned
};
enum ts_err ts_paths_load(const struct ts_config *config, struct ts_paths *out, struct ts_error *error) TS_MUST_USE;
enum ts_err ts_paths_make(const struct ts_config *config, const struct ts_paths *paths,
                          struct ts_error *error) TS_MUST_USE;
void ts_paths_finish(struct ts_paths *paths);
#define TS_AUTOPATHS TS_CLEANUP(ts_paths_finish)

// Before threads start: SIGTERM, SIGINT and SIGHUP wait for ts_signals_wait; SIGPIPE is ignored.
void ts_signals_block(void);
int ts_signals_wait(void); // the signal
// A further signal ends the process at once.
void ts_signals_release(void);

// Tells a supervisor (environment TRANSCRIPTION_READY_FD) one line, once.
#define TS_READY_FD_NAME "TRANSCRIPTION_READY_FD"
void ts_program_ready(struct ts_program *program, const char *line);

#endif
