// A real RabbitMQ for one test program: its own node, folder, ports (loopback, AMQP and AMQPS) and name service, so that
// nothing of the machine's is touched and programs run side by side. One thread.
#ifndef TESTS_SUPPORT_RABBITMQ_SERVER_H
#define TESTS_SUPPORT_RABBITMQ_SERVER_H

#include <stdint.h>

#define RABBITMQ_USER "app"
#define RABBITMQ_PASSWORD "apppw"

struct rabbitmq_server;

// Returns when it is ready. Aborts the program when it does not start: nothing could be tested then.
struct rabbitmq_server *rabbitmq_server_start(void);
// Ends it and its name service, removes the folder.
void rabbitmq_server_finish(struct rabbitmq_server *server);

// kill -9; returns when the process has gone. The data stay.
void rabbitmq_server_kill(struct rabbitmq_server *server);
// Starts it again on the same data and ports; returns when it is ready.
void rabbitmq_server_restart(struct rabbitmq_server *server);

uint16_t rabbitmq_server_port(const struct rabbitmq_server *server);
uint16_t rabbitmq_server_tls_port(const struct rabbitmq_server *server);
const char *
rabbitmq_server_ca_file(const struct rabbitmq_server *server); // signs its certificate (localhost, 127.0.0.1)

// Runs `rabbitmqctl` with these words, the last one NULL. Aborts when it fails.
void rabbitmq_server_ctl(struct rabbitmq_server *server, ...) __attribute__((sentinel));

#endif
