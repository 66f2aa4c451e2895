// What Linux tells of processes in /proc: children, peak memory, what they wait for.
#ifndef BENCH_PROCESSES_H
#define BENCH_PROCESSES_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

// Fills `pids` with processes whose ancestor is `parent` (children of children too); returns how many there are.
size_t bench_descendants(pid_t parent, pid_t *pids, size_t capacity);

// Peak resident memory of a process's present program, KiB (VmHWM: the ru_maxrss of wait4 also counts what the
// program was forked from). 0: it has ended.
long bench_peak_kib(pid_t pid);

// Whether the process sleeps in recvmsg: how the decoders' template waits for a request.
bool bench_waits_for_message(pid_t pid);

#endif
