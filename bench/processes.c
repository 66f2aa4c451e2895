#include "processes.h"

#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

// Reads /proc/PID/NAME; false when the process has ended.
static bool read_file(pid_t pid, const char *name, char *out, size_t size)
{
	char path[64];

	snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
	FILE *file = fopen(path, "re");
	if (!file)
		return false;
	const size_t length = fread(out, 1, size - 1, file);
	fclose(file);
	out[length] = '\0';
	return length > 0;
}

static pid_t parent_of(pid_t pid)
{
	char text[1024];
	int parent = 0;

	if (!read_file(pid, "stat", text, sizeof text))
		return 0;
	const char *after = strrchr(text, ')'); // the name may hold anything
	if (!after || sscanf(after, ") %*c %d", &parent) != 1)
		return 0;
	return parent;
}

size_t bench_descendants(pid_t parent, pid_t *pids, size_t capacity)
{
	DIR *folder = opendir("/proc");
	const struct dirent *entry;
	size_t count = 0;

	while (folder && (entry = readdir(folder)) != NULL) {
		if (!isdigit((unsigned char)entry->d_name[0]))
			continue;
		const pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
		pid_t above = parent_of(pid);
		while (above > 1 && above != parent)
			above = parent_of(above);
		if (above == parent && count < capacity)
			pids[count++] = pid;
	}
	if (folder)
		closedir(folder);
	return count;
}

long bench_peak_kib(pid_t pid)
{
	char text[4096];
	long peak = 0;

	if (!read_file(pid, "status", text, sizeof text))
		return 0;
	const char *line = strstr(text, "VmHWM:");
	return line && sscanf(line, "VmHWM: %ld kB", &peak) == 1 ? peak : 0;
}

bool bench_waits_for_message(pid_t pid)
{
	char text[1024];

	if (read_file(pid, "syscall", text, sizeof text))
		return isdigit((unsigned char)text[0]) && strtol(text, NULL, 10) == SYS_recvmsg;
	// Where tracing is restricted that file is closed; that it sleeps at all is nearly as good.
	const char *after = read_file(pid, "stat", text, sizeof text) ? strrchr(text, ')') : NULL;
	return after && strncmp(after, ") S", 3) == 0;
}
