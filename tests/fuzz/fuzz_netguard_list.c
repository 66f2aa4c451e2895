// Any text as an allow list. A list without "*" and without networks never opens what it does not name: an
// address that no item could mean stays shut.
#include "base/err.h"
#include "net/netguard.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ts_netguard *guard = NULL;
	struct ts_addresses addresses;
	struct ts_error error = {0};
	char *text = malloc(size + 1);

	if (!text)
		abort();
	if (size)
		memcpy(text, data, size);
	text[size] = '\0';
	enum ts_err err = ts_netguard_create(text, &guard, &error);
	if (err != TS_OK && (err != TS_ERR_INVALID || !error.message[0] || guard))
		abort();
	if (guard) {
		// Public addresses pass whatever the list says; an unnamed private one only by "*" or a network.
		if (ts_netguard_resolve(guard, "8.8.8.8", 80, &addresses, NULL) != TS_OK)
			abort();
		err = ts_netguard_resolve(guard, "172.29.41.7", 80, &addresses, NULL);
		if (err == TS_OK && !strchr(text, '*') && !strchr(text, '/') && !strstr(text, "172.29.41.7"))
			abort();
		err = ts_netguard_resolve(guard, "fd5a:17::9", 80, &addresses, NULL);
		if (err == TS_OK && !strchr(text, '*') && !strchr(text, '/') && !strchr(text, ':'))
			abort();
	}
	ts_netguard_destroy(guard);
	free(text);
	return 0;
}
