// Allocation failure, tried everywhere: runs a piece of work with its first allocation failing, then its second,
// and so on until it goes through. Under AddressSanitizer this also finds what a failed call leaks.
// Only allocations made through base/mem.h count; call ts_json_use_mem() first in main so that jansson's do.
#ifndef TS_TESTS_FAULT_H
#define TS_TESTS_FAULT_H

#include "base/err.h"
#include "base/mem.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

// The work: builds what it needs, frees all of it, and returns what the function under test returned.
typedef enum ts_err ts_fault_work(void *ctx, struct ts_error *error);

#define TS_FAULT_LIMIT 100000

// Fails the running cmocka test unless every failed allocation ended in TS_ERR_NOMEM with a message, and the work
// succeeded in the end. Returns how many allocations were made to fail; at least `least` are expected, so that a
// test notices when the work no longer allocates.
static inline size_t ts_fault_each(ts_fault_work *work, void *ctx, size_t least)
{
	for (size_t n = 1; n < TS_FAULT_LIMIT; n++) {
		struct ts_error error = {0};
		ts_mem_fail_after(n);
		enum ts_err err = work(ctx, &error);
		ts_mem_fail_after(0);
		if (err == TS_OK) {
			if (n - 1 < least)
				fail_msg("only %zu allocations were seen, expected at least %zu", n - 1, least);
			return n - 1;
		}
		if (err != TS_ERR_NOMEM || error.code != TS_ERR_NOMEM || !error.message[0])
			fail_msg("allocation %zu failed, and the work returned %s (%s: %s)", n, ts_err_name(err),
			         ts_err_name(error.code), error.message);
	}
	fail_msg("the work still fails when allocation %d does", TS_FAULT_LIMIT);
	return 0;
}

#endif
