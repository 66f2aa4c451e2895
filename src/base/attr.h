// Compiler attributes under one spelling, and the cleanup attribute for owned pointers.
// Refuses anything that changes behaviour by build type.
#ifndef TS_BASE_ATTR_H
#define TS_BASE_ATTR_H

#define TS_MUST_USE __attribute__((warn_unused_result))
#define TS_PRINTF(fmt_index, args_index) __attribute__((format(printf, fmt_index, args_index)))
#define TS_NORETURN __attribute__((noreturn))
#define TS_UNUSED __attribute__((unused))

// Runs `fn(&variable)` when the variable leaves its scope.
#define TS_CLEANUP(fn) __attribute__((cleanup(fn)))

// Defines `name`, a cleanup function for a variable of type `type *` that calls the NULL-safe `destroy`.
#define TS_DEFINE_CLEANUP(name, type, destroy)  \
	static inline TS_UNUSED void name(type **p) \
	{                                           \
		destroy(*p);                            \
	}

#endif
