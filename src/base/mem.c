// Heap allocation with an allocation counter that tests use to make the Nth one fail (curl's
// "torture" idea). The counter costs one relaxed atomic add.
#include "base/mem.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static atomic_size_t made;
static atomic_size_t fail_from; // 0: never

static bool denied(void)
{
	size_t n = atomic_fetch_add_explicit(&made, 1, memory_order_relaxed) + 1;
	size_t from = atomic_load_explicit(&fail_from, memory_order_relaxed);
	return from != 0 && n >= from;
}

size_t ts_mem_fail_after(size_t countdown)
{
	atomic_store(&fail_from, 0);
	size_t before = atomic_exchange(&made, 0);
	atomic_store(&fail_from, countdown);
	return before;
}

void *ts_alloc(size_t size)
{
	return denied() ? NULL : malloc(size ? size : 1);
}

void *ts_calloc(size_t count, size_t size)
{
	size_t bytes;

	// calloc checks too, but under a sanitizer it aborts instead of returning.
	if (__builtin_mul_overflow(count, size, &bytes) || denied())
		return NULL;
	return calloc(bytes ? bytes : 1, 1);
}

void *ts_realloc(void *p, size_t count, size_t size)
{
	size_t bytes;

	if (__builtin_mul_overflow(count, size, &bytes) || denied())
		return NULL;
	return realloc(p, bytes ? bytes : 1);
}

char *ts_strndup(const char *text, size_t length)
{
	char *copy = ts_alloc(length + 1);

	if (!copy)
		return NULL;
	memcpy(copy, text, length);
	copy[length] = '\0';
	return copy;
}

char *ts_strdup(const char *text)
{
	return text ? ts_strndup(text, strlen(text)) : NULL;
}

char *ts_asprintf(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	int length = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (length < 0)
		return NULL;
	char *text = ts_alloc((size_t)length + 1);
	if (!text)
		return NULL;
	va_start(args, format);
	vsnprintf(text, (size_t)length + 1, format, args);
	va_end(args);
	return text;
}

void ts_free(void *p)
{
	free(p);
}

bool ts_str_set(char **slot, const char *text)
{
	char *copy = NULL;

	if (text) {
		copy = ts_strdup(text);
		if (!copy)
			return false;
	}
	ts_free(*slot);
	*slot = copy;
	return true;
}
