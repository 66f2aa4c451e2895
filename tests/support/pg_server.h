// A private PostgreSQL for one test program: its own folder and port of loopback, durability off, gone when the program
// ends however it does. Fails the running test when it cannot be started.
#ifndef TS_TESTS_PG_SERVER_H
#define TS_TESTS_PG_SERVER_H

#include <stddef.h>

// Address of a fresh, empty database on the program's server, which is started at the first call. In TS_PG_BOUNCER's
// presence the address is that of a pgbouncer in transaction mode before it.
void pg_server_database(char *url, size_t size);
// Another address of the same database: past any pgbouncer.
void pg_server_direct(const char *url, char *direct, size_t size);
// Turns TLS on with a certificate of its own for the name localhost, and gives its path: what clients must trust.
void pg_server_tls(char *certificate, size_t size);
// Ends it as a crash would; connections break without a word of their own.
void pg_server_crash(void);
// Starts it again with the same data and port; returns when it answers.
void pg_server_restart(void);

#endif
