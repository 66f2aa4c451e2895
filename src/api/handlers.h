// The handlers that routes.def names. Each runs on a connection's own thread once the request is whole.
#ifndef TS_API_HANDLERS_H
#define TS_API_HANDLERS_H

#include "api/router.h"

#define TS_ROUTE(symbol, method, path, handler, auth, body) ts_handler handler;
#include "api/routes.def"
#undef TS_ROUTE

#endif
