// The decoder child's jail on Linux: prctl(2), setrlimit(2), seccomp(2) through libseccomp.
// What is on the list is what FFmpeg, glibc's allocator and exiting need, with arguments pinned where it matters:
// no descriptor but the two, no executable or file-backed mapping, no signal to anyone else.
#include "media/jail.h"

#include <errno.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define LOOSE 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define LOOSE 1
#endif
#endif
#ifndef LOOSE
#define LOOSE 0
#endif

#if LOOSE
#include <sanitizer/common_interface_defs.h>
#endif

_Bool ts_jail_is_loose(void)
{
	return LOOSE;
}

static enum ts_err limit(__rlimit_resource_t resource, rlim_t value, const char *name, struct ts_error *error)
{
	struct rlimit old;

	if (getrlimit(resource, &old) != 0)
		return ts_fail_errno(error, TS_ERR_INTERNAL, errno, "jail: cannot read the limit %s", name);
	if (old.rlim_max < value)
		value = old.rlim_max; // a stricter limit from outside stands
	const struct rlimit tight = {.rlim_cur = value, .rlim_max = value};
	if (setrlimit(resource, &tight) != 0)
		return ts_fail_errno(error, TS_ERR_INTERNAL, errno, "jail: cannot set the limit %s", name);
	return TS_OK;
}

static enum ts_err set_limits(const struct ts_jail_options *options, struct ts_error *error)
{
	if (options->memory_bytes && !LOOSE)
		TS_TRY(limit(RLIMIT_AS, options->memory_bytes, "AS", error));
	if (options->cpu_seconds)
		TS_TRY(limit(RLIMIT_CPU, options->cpu_seconds, "CPU", error));
	const int top = options->input_fd > options->output_fd ? options->input_fd : options->output_fd;
	TS_TRY(limit(RLIMIT_NOFILE, (rlim_t)top + 1, "NOFILE", error));
	TS_TRY(limit(RLIMIT_FSIZE, 0, "FSIZE", error));
	TS_TRY(limit(RLIMIT_CORE, 0, "CORE", error));
	return limit(RLIMIT_NPROC, 0, "NPROC", error);
}

// Calls that touch nothing outside the process, whatever their arguments.
static const int harmless[] = {
    SCMP_SYS(brk),
    SCMP_SYS(munmap),
    SCMP_SYS(mremap),
    SCMP_SYS(madvise),
    SCMP_SYS(futex),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(rt_sigprocmask), // abort(3)
    SCMP_SYS(getpid),
    SCMP_SYS(gettid),
    SCMP_SYS(clock_gettime), // where the vDSO cannot answer
    SCMP_SYS(gettimeofday),
    SCMP_SYS(getrandom),
    SCMP_SYS(sched_yield),
    SCMP_SYS(sched_getaffinity), // FFmpeg counts CPUs
    SCMP_SYS(sysinfo),           // glibc's qsort asks how much memory there is
#if LOOSE
    SCMP_SYS(sigaltstack),
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(getrusage),
    SCMP_SYS(clock_nanosleep),
    SCMP_SYS(nanosleep),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(mincore),
    SCMP_SYS(msync),
#endif
};

#define ALLOW(call, ...)                                                                      \
	do {                                                                                      \
		int allow_rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(call), __VA_ARGS__); \
		if (allow_rc != 0)                                                                    \
			return allow_rc;                                                                  \
	} while (0)

// libseccomp's own macro for this passes an empty variadic argument, which clang refuses.
static struct scmp_arg_cmp first_is(uint32_t value)
{
	return (struct scmp_arg_cmp){.arg = 0, .op = SCMP_CMP_EQ, .datum_a = value};
}

static int add_rules(scmp_filter_ctx filter, const struct ts_jail_options *options)
{
	for (size_t i = 0; i < sizeof harmless / sizeof harmless[0]; i++) {
		const int rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, harmless[i], 0);
		if (rc != 0)
			return rc;
	}
	ALLOW(pread64, 1, first_is((uint32_t)options->input_fd));
	ALLOW(write, 1, first_is((uint32_t)options->output_fd));
	ALLOW(write, 1, first_is(STDERR_FILENO));
	ALLOW(mmap, 2, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0),
	      SCMP_A3(SCMP_CMP_MASKED_EQ, MAP_ANONYMOUS, MAP_ANONYMOUS));
	ALLOW(mprotect, 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	ALLOW(tgkill, 1, first_is((uint32_t)getpid())); // abort(3)
	return 0;
}

static enum ts_err set_filter(const struct ts_jail_options *options, struct ts_error *error)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
	if (!filter)
		return ts_fail(error, TS_ERR_INTERNAL, "jail: cannot make a seccomp filter");
	// Threads that a library's constructor may have started are caught too; a sanitizer's own stay outside.
	int rc = LOOSE ? 0 : seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
	// Calls of another architecture (x32, i386) kill one thread unless told otherwise.
	if (rc == 0)
		rc = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	if (rc == 0)
		rc = add_rules(filter, options);
	if (rc == 0)
		rc = seccomp_load(filter);
	seccomp_release(filter);
	if (rc != 0)
		return ts_fail_errno(error, TS_ERR_INTERNAL, -rc, "jail: the kernel refuses the seccomp filter");
	return TS_OK;
}

enum ts_err ts_jail_enter(const struct ts_jail_options *options, struct ts_error *error)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
		return ts_fail_errno(error, TS_ERR_INTERNAL, errno, "jail: cannot give up privileges");
#if LOOSE
	// Lets the runtime read /proc/self/maps now, while it can, so that its reports work inside.
	__sanitizer_sandbox_arguments sandbox = {0};
	__sanitizer_sandbox_on_notify(&sandbox);
#endif
	TS_TRY(set_limits(options, error));
	return set_filter(options, error);
}
