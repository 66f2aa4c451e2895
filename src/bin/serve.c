// transcription serve: the supervisor. Brings the database up to date, starts the API and a worker (the programs beside
// this one) as children over one store and one log stream, restarts one that dies, and stops both on a signal. One
// thread, one poll loop. A child dies with its supervisor, however that dies (PR_SET_PDEATHSIG).
#include "base/mem.h"
#include "bin/commands.h"
#include "bin/supervise.h"
#include "bin/wiring_store.h"

#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

// On top of the grace that the children give their jobs.
#define STOP_MARGIN_MS 15000

static const char usage[] =
    "Usage: transcription serve [--name=value]...\n"
    "Runs the whole service on this machine: HTTP API and worker over an embedded database.\n"
    "A child that dies is started again. SIGTERM, SIGINT: clean stop, exit code 0. Again: end at once.\n";

static enum ts_err sibling(const char *name, char **out_path, struct ts_error *error)
{
	char self[PATH_MAX];
	ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);

	if (length < 0)
		return ts_fail(error, TS_ERR_IO, "can't find this program's own folder");
	self[length] = '\0';
	TS_AUTOFREE char *path = ts_asprintf("%s/%s", dirname(self), name);
	if (!path)
		return ts_fail_nomem(error);
	if (access(path, X_OK) != 0)
		return ts_fail(error, TS_ERR_NOT_FOUND, "%s is not installed beside transcription (%s)", name, path);
	*out_path = path;
	path = NULL;
	return TS_OK;
}

struct announcement {
	struct ts_program *program;
	const char *database;
};

// Children's ready lines: the API's is its port, the worker's its engine.
static void announce(void *ctx, const char *const *lines)
{
	const struct announcement *about = ctx;
	const struct ts_config *config = &about->program->config;
	bool anywhere = strcmp(config->host, "0.0.0.0") == 0 || strcmp(config->host, "::") == 0;
	const char *host = anywhere ? "localhost" : config->host;
	bool six = strchr(host, ':') != NULL;
	char url[400];

	snprintf(url, sizeof url, "http://%s%s%s:%s", six ? "[" : "", host, six ? "]" : "", lines[0]);
	ts_log_info(&about->program->log, "service ready", TS_STR("url", url), TS_STR("engine", lines[1]),
	            TS_STR("store", about->database));
	if (isatty(STDERR_FILENO) != 1)
		return;
	fprintf(stderr,
	        "\n  Transcription %s is running.\n\n"
	        "    API       %s\n"
	        "    Engine    %s\n"
	        "    Store     %s\n"
	        "    Keys      %s\n"
	        "    Stop      Ctrl+C\n\n",
	        TS_VERSION, url, lines[1], about->database,
	        *config->service_api_key ? "asked for (SERVICE_API_KEY)" : "none: anybody may use it");
}

static int supervise(struct ts_program *program, const struct ts_args *args, const struct ts_paths *paths)
{
	TS_AUTOFREE char *api = NULL, *worker = NULL, *database = NULL;
	struct announcement about = {.program = program};
	struct ts_error error = {0};

	if (ts_wiring_store_name(program, paths, &database, &error) != TS_OK ||
	    sibling("transcription-api", &api, &error) != TS_OK ||
	    sibling("transcription-worker", &worker, &error) != TS_OK)
		return ts_program_fail(program, &error);
	about.database = database;
	const char *const programs[] = {api, worker};
	struct ts_supervise_options options = {
	    .programs = programs,
	    .count = 2,
	    .arguments = args->overrides,
	    .argument_count = args->override_count,
	    .stop_ms = program->config.shutdown_grace_ms + STOP_MARGIN_MS,
	    .log = &program->log,
	    .clock = ts_clock_system(),
	    .ready = announce,
	    .ctx = &about,
	};
	int code = TS_EXIT_OK;
	if (ts_supervise(&options, &code, &error) != TS_OK)
		return ts_program_fail(program, &error);
	return code;
}

static int run(struct ts_program *program, const struct ts_args *args)
{
	TS_AUTOPATHS struct ts_paths paths = {0};
	struct ts_error error = {0};
	int from, to;

	int code = ts_program_check_service(program, TS_WARN_NOTHING); // the children warn, each of its own
	if (code != TS_EXIT_OK)
		return code;
	if (ts_paths_load(&program->config, &paths, &error) != TS_OK ||
	    ts_paths_make(&program->config, &paths, &error) != TS_OK ||
	    ts_wiring_migrate(program, &paths, &from, &to, &error) != TS_OK)
		return ts_program_fail(program, &error);
	if (from != to)
		ts_log_info(&program->log, "database brought up to date", TS_INT("from", from), TS_INT("to", to));
	return supervise(program, args, &paths);
}

int ts_command_serve(int argc, char **argv)
{
	const struct ts_program_spec spec = {
	    .name = "transcription serve", .component = "serve", .usage = usage, .run = run};

	return ts_program_main(&spec, argc, argv);
}
