// The store that the configuration asks for.
#ifndef TS_BIN_WIRING_STORE_H
#define TS_BIN_WIRING_STORE_H

#include "bin/wiring.h"
#include "store/store.h"

enum ts_err ts_wiring_store(const struct ts_program *program, const struct ts_paths *paths, struct ts_store **out,
                            struct ts_error *error) TS_MUST_USE;
// Brings its schema up to date.
enum ts_err ts_wiring_migrate(const struct ts_program *program, const struct ts_paths *paths, int *out_from,
                              int *out_to, struct ts_error *error) TS_MUST_USE;
// For people: the file, or where the database is, without its password. Owned by the caller.
enum ts_err ts_wiring_store_name(const struct ts_program *program, const struct ts_paths *paths, char **out,
                                 struct ts_error *error) TS_MUST_USE;

#endif
