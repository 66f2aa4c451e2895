// An operator who says where the media come from has allowed that place; the list is for others.
#include "bin/wiring_guard.h"

#include "base/mem.h"
#include "net/url.h"

#include <string.h>

static enum ts_err parse_with(const char *own, const char *video_id, struct ts_url *out, struct ts_error *error)
{
	static const char *const schemes[] = {"http", "https", "file", NULL};
	TS_AUTOFREE char *url = NULL;

	if (!strstr(own, "{video_id}"))
		return ts_url_parse(own, schemes, out, error);
	TS_TRY(ts_url_expand(own, "video_id", video_id, &url, error));
	return ts_url_parse(url, schemes, out, error);
}

// "host:port" of a URL, NULL in *out_entry when there is none to allow.
static enum ts_err entry_of(const char *own, char **out_entry, struct ts_error *error)
{
	TS_AUTOURL struct ts_url a = {0}, b = {0};

	*out_entry = NULL;
	if (!*own)
		return TS_OK;
	TS_TRY(parse_with(own, "a", &a, error));
	TS_TRY(parse_with(own, "b", &b, error));
	if (!*a.host || strcmp(a.host, b.host) != 0 || a.port != b.port)
		return TS_OK;
	*out_entry = ts_asprintf(strchr(a.host, ':') ? "[%s]:%u" : "%s:%u", a.host, (unsigned)a.port);
	return *out_entry ? TS_OK : ts_fail_nomem(error);
}

enum ts_err ts_wiring_guard(const char *name, const char *allowed, const char *own, struct ts_netguard **out,
                            struct ts_error *error)
{
	TS_AUTOFREE char *entry = NULL;
	struct ts_error inner = {0};

	TS_TRY(entry_of(own, &entry, error));
	TS_AUTOFREE char *list = entry ? ts_asprintf("%s%s%s", allowed, *allowed ? "," : "", entry) : ts_strdup(allowed);
	if (!list)
		return ts_fail_nomem(error);
	enum ts_err err = ts_netguard_create(list, out, &inner);
	return err == TS_OK ? TS_OK : ts_fail_field(error, err, name, "%s: %.400s", name, inner.message);
}
