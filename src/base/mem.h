// Heap allocation under one roof, so that tests can fail the Nth allocation of anything.
// Refuses zero-size surprises: every function returns NULL only when memory is out.
#ifndef TS_BASE_MEM_H
#define TS_BASE_MEM_H

#include "base/attr.h"

#include <stddef.h>

void *ts_alloc(size_t size) TS_MUST_USE;
void *ts_calloc(size_t count, size_t size) TS_MUST_USE;           // zeroed, overflow-checked
void *ts_realloc(void *p, size_t count, size_t size) TS_MUST_USE; // overflow-checked
char *ts_strdup(const char *text) TS_MUST_USE;                    // NULL in, NULL out
char *ts_strndup(const char *text, size_t length) TS_MUST_USE;
char *ts_asprintf(const char *format, ...) TS_PRINTF(1, 2) TS_MUST_USE;
void ts_free(void *p); // NULL-safe

// Replaces *slot (owned) by a copy of text (NULL clears it). False when memory is out: *slot is unchanged.
_Bool ts_str_set(char **slot, const char *text) TS_MUST_USE;

// Tests only: the allocation `countdown` calls from now (1 = the next) and all later ones fail;
// 0 switches it off. Process-wide. Returns how many allocations were made since the last call.
size_t ts_mem_fail_after(size_t countdown);

static inline TS_UNUSED void ts_free_ptr(void *slot)
{
	ts_free(*(void **)slot);
}
#define TS_AUTOFREE TS_CLEANUP(ts_free_ptr)

#endif
