// The shared part of the SQL back ends' handle: made before anything of the database is opened, finished last.
#include "store/store_sql.h"

#include "base/mem.h"

enum ts_err ts_sql_init(struct ts_sql *sql, const struct ts_store_ops *ops, const struct ts_sql_driver *driver,
                        const struct ts_clock *clock, struct ts_rng *rng, const char *public_url,
                        const struct ts_log *log, struct ts_error *error)
{
	ts_store_init(&sql->store, ops);
	sql->driver = driver;
	sql->clock = clock;
	sql->system_rng = ts_rng_system();
	sql->rng = rng ? rng : &sql->system_rng;
	if (log)
		sql->log = *log;
	sql->wait.generation = 1;
	if (!ts_str_set(&sql->public_url, public_url ? public_url : ""))
		return ts_fail_nomem(error);
	enum ts_err err = ts_sql_cond_init(&sql->wait.cond, error);
	if (err != TS_OK) {
		ts_free(sql->public_url);
		return err;
	}
	pthread_mutex_init(&sql->wait.mutex, NULL);
	pthread_mutex_init(&sql->backlog.mutex, NULL);
	return TS_OK;
}

void ts_sql_close(struct ts_sql *sql)
{
	pthread_cond_destroy(&sql->wait.cond);
	pthread_mutex_destroy(&sql->wait.mutex);
	pthread_mutex_destroy(&sql->backlog.mutex);
	ts_free(sql->public_url);
}

// Every back end there is speaks SQL, and shares these.
struct ts_sql *ts_sql_check(struct ts_store *store)
{
	return store->ops && store->ops->submit == ts_sql_submit ? ts_sql_of(store) : NULL;
}
