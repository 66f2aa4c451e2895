// Engines by name, and `auto`.
#include "asr/engines.h"

#include <string.h>

#define OPENAI_BASE_URL "https://api.openai.com/v1"

static bool is_openais_own(const char *base_url)
{
	size_t length = strlen(base_url);

	while (length > 0 && base_url[length - 1] == '/')
		length--;
	return length == strlen(OPENAI_BASE_URL) && memcmp(base_url, OPENAI_BASE_URL, length) == 0;
}

static enum ts_err create_remote(const struct ts_asr_choice *choice, struct ts_asr **out, struct ts_error *error)
{
	struct ts_asr *remote = NULL, *local = NULL;
	struct ts_error why = {0};

	TS_TRY(ts_asr_openai_create(&choice->openai, &remote, error));
	if (!choice->fallback || !choice->rewind) {
		*out = remote;
		return TS_OK;
	}
	if (ts_asr_pocketsphinx_create(&choice->pocketsphinx, &local, &why) != TS_OK) {
		if (choice->log)
			ts_log_warn(choice->log, "no engine to fall back to", TS_STR("reason", why.message));
		*out = remote;
		return TS_OK;
	}
	return ts_asr_fallback_create(remote, local, choice->rewind, out, error);
}

enum ts_err ts_asr_create(const struct ts_asr_choice *choice, struct ts_asr **out, struct ts_error *error)
{
	bool has_key = choice->openai.api_key && choice->openai.api_key[0];
	bool has_own_url =
	    choice->openai.base_url && choice->openai.base_url[0] && !is_openais_own(choice->openai.base_url);
	const char *name = choice->name, *why = "asked for";
	struct ts_asr_info info;

	if (strcmp(name, "auto") == 0) {
		name = has_key || has_own_url ? "openai" : "pocketsphinx";
		why = has_key       ? "there is an API key"
		      : has_own_url ? "there is a base URL other than OpenAI's"
		                    : "no remote endpoint is configured";
	}
	if (strcmp(name, "openai") == 0)
		TS_TRY(create_remote(choice, out, error));
	else if (strcmp(name, "pocketsphinx") == 0)
		TS_TRY(ts_asr_pocketsphinx_create(&choice->pocketsphinx, out, error));
	else
		return ts_fail_field(error, TS_ERR_INVALID, "engine",
		                     "there is no engine \"%.64s\": auto, pocketsphinx and openai are allowed", name);
	if (choice->log) {
		ts_asr_info(*out, &info);
		ts_log_info(choice->log, "recognition engine", TS_STR("engine", info.engine), TS_STR("model", info.model),
		            TS_STR("version", info.version), TS_BOOL("local", info.local), TS_STR("why", why));
	}
	return TS_OK;
}
