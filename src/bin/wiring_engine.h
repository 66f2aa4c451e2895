// The recognition engine that the configuration asks for.
#ifndef TS_BIN_WIRING_ENGINE_H
#define TS_BIN_WIRING_ENGINE_H

#include "asr/asr.h"
#include "bin/wiring.h"

// How many jobs this process runs side by side.
unsigned ts_wiring_slots(const struct ts_config *config);

enum ts_err ts_wiring_engine(const struct ts_program *program, unsigned slots, struct ts_asr **out,
                             struct ts_error *error) TS_MUST_USE;

#endif
