// The jail of the decoder child: resource limits, no new privileges, and a seccomp allow-list under which the
// process can read one descriptor, write another and use memory it has; any other system call kills it.
// It cannot be left. Refuses to go on without the filter: a kernel that cannot jail decodes nothing.
#ifndef TS_MEDIA_JAIL_H
#define TS_MEDIA_JAIL_H

#include "base/err.h"

#include <stdint.h>

struct ts_jail_options {
	uint64_t memory_bytes; // address space, what is mapped already included; 0: unlimited
	uint64_t cpu_seconds;  // 0: unlimited
	int input_fd;          // pread64 only
	int output_fd;         // write only; 2 (standard error) may be written too
};

// Jails the calling process, all its threads. TS_ERR_INTERNAL when any part of the jail cannot be had; the process
// should then exit. Under a sanitizer the memory limit is off (its shadow is terabytes of address space) and the
// few calls its runtime makes are allowed.
enum ts_err ts_jail_enter(const struct ts_jail_options *options, struct ts_error *error) TS_MUST_USE;

// Whether this build runs under a sanitizer, whose runtime loosens the jail.
_Bool ts_jail_is_loose(void);

#endif
