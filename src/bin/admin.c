// transcription config, transcription migrate.
#include "base/mem.h"
#include "bin/commands.h"
#include "bin/wiring_store.h"

#include <stdio.h>
#include <string.h>

static const char config_usage[] =
    "Usage: transcription config [--check] [--markdown] [--name=value]...\n"
    "Prints the configuration in force: each value with its source; secrets are masked.\n"
    "  --check     also check what the service demands, as at its start\n"
    "  --markdown  print the reference of all values instead (docs/configuration.md)\n";

static const char migrate_usage[] = "Usage: transcription migrate [--name=value]...\n"
                                    "Brings the database up to date. The programs do so themselves when they start.\n";

static int print_buffer(struct ts_program *program, void (*write)(const struct ts_config *, struct ts_buf *))
{
	TS_AUTOBUF struct ts_buf buf;
	struct ts_error error = {0};

	ts_buf_init(&buf, 4 << 20);
	if (write)
		write(&program->config, &buf);
	else
		ts_config_markdown(&buf);
	if (ts_buf_status(&buf, &error) != TS_OK)
		return ts_program_fail(program, &error);
	return ts_program_print("%s", ts_buf_str(&buf));
}

int ts_command_config(int argc, char **argv)
{
	struct ts_program program = {.name = "transcription config", .component = "cli", .ready_fd = -1};
	TS_AUTOARGS struct ts_args args = {0};
	struct ts_error error = {0};
	bool check = false, markdown = false;

	if (ts_args_parse(argc, argv, &args, &error) != TS_OK)
		return ts_program_usage(&program, "%s", error.message);
	if (args.help)
		return ts_program_help(config_usage);
	for (size_t i = 0; i < args.rest_count; i++) {
		if (strcmp(args.rest[i], "--check") == 0)
			check = true;
		else if (strcmp(args.rest[i], "--markdown") == 0)
			markdown = true;
		else
			return ts_program_usage(&program, "unknown argument '%s'", args.rest[i]);
	}
	if (markdown)
		return print_buffer(&program, NULL);
	int code = ts_program_start(&program, &args);
	if (code == TS_EXIT_OK)
		code = print_buffer(&program, ts_config_print);
	if (code == TS_EXIT_OK && check)
		code = ts_program_check_service(&program, TS_WARN_NOTHING);
	ts_program_finish(&program);
	return code;
}

static int migrate(struct ts_program *program, const struct ts_args *args)
{
	TS_AUTOPATHS struct ts_paths paths = {0};
	TS_AUTOFREE char *name = NULL;
	struct ts_error error = {0};
	int from, to;

	(void)args;
	ts_signals_release(); // a migration is one transaction: it may be interrupted
	if (ts_paths_load(&program->config, &paths, &error) != TS_OK ||
	    ts_paths_make(&program->config, &paths, &error) != TS_OK ||
	    ts_wiring_store_name(program, &paths, &name, &error) != TS_OK ||
	    ts_wiring_migrate(program, &paths, &from, &to, &error) != TS_OK)
		return ts_program_fail(program, &error);
	if (from == to)
		return ts_program_print("%s: schema %d, up to date\n", name, to);
	return ts_program_print("%s: schema %d brought to %d\n", name, from, to);
}

int ts_command_migrate(int argc, char **argv)
{
	const struct ts_program_spec spec = {
	    .name = "transcription migrate", .component = "cli", .usage = migrate_usage, .run = migrate};

	return ts_program_main(&spec, argc, argv);
}
