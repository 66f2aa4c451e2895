// The subcommands of `transcription`. Each gets its own arguments (after its name) and returns the exit code.
#ifndef TS_BIN_COMMANDS_H
#define TS_BIN_COMMANDS_H

#include "bin/wiring.h"

// TS_COMMAND(name, function, summary)
#define TS_COMMANDS(TS_COMMAND)                                                                \
	TS_COMMAND("serve", ts_command_serve, "run the whole service: API and worker, supervised") \
	TS_COMMAND("transcribe", ts_command_transcribe, "transcribe files, without the service")   \
	TS_COMMAND("config", ts_command_config, "print the configuration in force")                \
	TS_COMMAND("migrate", ts_command_migrate, "bring the database up to date")

#define TS_COMMAND(name, function, summary) int function(int argc, char **argv);
TS_COMMANDS(TS_COMMAND)
#undef TS_COMMAND

#endif
