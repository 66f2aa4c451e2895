// transcription: the command line. Finds the subcommand; everything else is theirs.
#include "bin/commands.h"
#include "media/media.h"

#include <stdio.h>
#include <string.h>

static const struct command {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *summary;
} commands[] = {
#define TS_COMMAND(name, function, summary) {name, function, summary},
    TS_COMMANDS(TS_COMMAND)
#undef TS_COMMAND
};
#define COMMAND_COUNT (sizeof commands / sizeof commands[0])

static const struct command *find(const char *name)
{
	for (size_t i = 0; i < COMMAND_COUNT; i++) {
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	}
	return NULL;
}

static int print_help(FILE *out)
{
	fprintf(out, "Usage: transcription COMMAND [ARGUMENT]...\n"
	             "Turns the speech in videos and recordings into text, subtitles and word times.\n\nCommands:\n");
	for (size_t i = 0; i < COMMAND_COUNT; i++)
		fprintf(out, "  %-11s %s\n", commands[i].name, commands[i].summary);
	fprintf(out, "  %-11s %s\n  %-11s %s\n\n", "version", "print the version", "help",
	        "this text, or that of a command");
	fprintf(out, "'transcription COMMAND --help' tells more.\n"
	             "Exit codes: 0 success, 1 failure, 2 wrong usage or configuration.\n");
	return fflush(out) == 0 ? TS_EXIT_OK : TS_EXIT_FAILURE;
}

static int unknown(const char *name)
{
	fprintf(stderr, "transcription: unknown command '%s'\nTry 'transcription --help'.\n", name);
	return TS_EXIT_USAGE;
}

static int help_on(int argc, char **argv)
{
	char option[] = "--help";

	if (argc < 3)
		return print_help(stdout);
	const struct command *command = find(argv[2]);
	if (!command)
		return unknown(argv[2]);
	char *arguments[] = {argv[2], option, NULL};
	return command->run(2, arguments);
}

int main(int argc, char **argv)
{
	int status;

	if (ts_media_child_main(argc, argv, &status))
		return status;
	if (argc < 2) {
		print_help(stderr);
		return TS_EXIT_USAGE;
	}
	if (strcmp(argv[1], "version") == 0 || strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0)
		return ts_program_version("transcription");
	if (strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
		return help_on(argc, argv);
	const struct command *command = find(argv[1]);
	return command ? command->run(argc - 1, argv + 1) : unknown(argv[1]);
}
