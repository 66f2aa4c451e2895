// A private RabbitMQ node. It stays in the test's process group, so that whoever ends the test ends it too.
#include "rabbitmq_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <netinet/in.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define BIN "/usr/lib/rabbitmq/bin/"
#define ENV_MAX 24
#define WORDS_MAX 16

struct rabbitmq_server {
	char dir[96], ca_file[128];
	uint16_t port, tls_port, dist_port, epmd_port, ctl_port;
	char *env[ENV_MAX + 1];
	size_t env_count;
	pid_t script, node; // the start script and the node that it runs
};

__attribute__((noreturn)) static void die(const char *what)
{
	fprintf(stderr, "rabbitmq_server: %s: %s\n", what, strerror(errno));
	abort();
}

// Ports that were free a moment ago, all different: their sockets are open at the same time.
static void take_ports(uint16_t *const *ports, size_t count)
{
	int fds[8];

	for (size_t i = 0; i < count; i++) {
		struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
		socklen_t size = sizeof address;
		fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (fds[i] < 0 || bind(fds[i], (struct sockaddr *)&address, sizeof address) != 0 ||
		    getsockname(fds[i], (struct sockaddr *)&address, &size) != 0)
			die("no free port");
		*ports[i] = ntohs(address.sin_port);
	}
	for (size_t i = 0; i < count; i++)
		close(fds[i]);
}

__attribute__((format(printf, 2, 3))) static void set(struct rabbitmq_server *server, const char *format, ...)
{
	va_list args;
	char *text;

	va_start(args, format);
	if (server->env_count == ENV_MAX || vasprintf(&text, format, args) < 0)
		die("environment");
	va_end(args);
	server->env[server->env_count++] = text;
}

static void set_environment(struct rabbitmq_server *server)
{
	const char *path = getenv("PATH");

	set(server, "PATH=%s", path ? path : "/usr/sbin:/usr/bin:/sbin:/bin");
	set(server, "HOME=%s", server->dir);
	set(server, "LANG=C.UTF-8");
	set(server, "ERL_EPMD_PORT=%u", server->epmd_port);
	set(server, "ERL_EPMD_ADDRESS=127.0.0.1");
	set(server, "RABBITMQ_NODENAME=test%u@localhost", server->port);
	set(server, "RABBITMQ_PID_FILE=%s/pid", server->dir);
	set(server, "RABBITMQ_NODE_IP_ADDRESS=127.0.0.1");
	set(server, "RABBITMQ_NODE_PORT=%u", server->port);
	set(server, "RABBITMQ_DIST_PORT=%u", server->dist_port);
	set(server, "RABBITMQ_CTL_DIST_PORT_MIN=%u", server->ctl_port);
	set(server, "RABBITMQ_CTL_DIST_PORT_MAX=%u", server->ctl_port);
	set(server, "RABBITMQ_MNESIA_BASE=%s/mnesia", server->dir);
	set(server, "RABBITMQ_LOG_BASE=%s/log", server->dir);
	set(server, "RABBITMQ_CONFIG_FILE=%s/rabbitmq.conf", server->dir);
	set(server, "RABBITMQ_ENABLED_PLUGINS_FILE=%s/plugins", server->dir);
	set(server, "RABBITMQ_CONF_ENV_FILE=/dev/null");
	set(server, "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-kernel inet_dist_use_interface {127,0,0,1} +S 2:2 +sbwt none");
}

static void write_file(const struct rabbitmq_server *server, const char *name, const char *text)
{
	char path[256];

	snprintf(path, sizeof path, "%s/%s", server->dir, name);
	FILE *file = fopen(path, "we");
	if (!file || fputs(text, file) < 0 || fclose(file) != 0)
		die(path);
}

static void write_settings(const struct rabbitmq_server *server)
{
	char text[1024];

	snprintf(text, sizeof text,
	         "listeners.tcp.1 = 127.0.0.1:%u\n"
	         "listeners.ssl.1 = 127.0.0.1:%u\n"
	         "ssl_options.cacertfile = %s\n"
	         "ssl_options.certfile = %s\n"
	         "ssl_options.keyfile = %s/key.pem\n"
	         "default_user = " RABBITMQ_USER "\n"
	         "default_pass = " RABBITMQ_PASSWORD "\n"
	         "loopback_users = none\n"
	         "disk_free_limit.absolute = 10MB\n"
	         "vm_memory_high_watermark.absolute = 512MB\n"
	         "log.console = false\n",
	         server->port, server->tls_port, server->ca_file, server->ca_file, server->dir);
	write_file(server, "rabbitmq.conf", text);
	write_file(server, "plugins", "[].");
}

// --- processes ---

static pid_t spawn(const struct rabbitmq_server *server, const char *program, const char *const *words)
{
	posix_spawn_file_actions_t actions;
	char *argv[WORDS_MAX + 2], out[128];
	size_t count = 0;
	pid_t pid;

	argv[count++] = strdup(program);
	for (; words[count - 1] && count <= WORDS_MAX; count++)
		argv[count] = strdup(words[count - 1]);
	argv[count] = NULL;
	snprintf(out, sizeof out, "%s/out", server->dir);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&actions, 1, out, O_WRONLY | O_CREAT | O_APPEND, 0600);
	posix_spawn_file_actions_adddup2(&actions, 1, 2);
	errno = posix_spawnp(&pid, program, &actions, NULL, argv, server->env);
	if (errno)
		die(program);
	posix_spawn_file_actions_destroy(&actions);
	for (size_t i = 0; i < count; i++)
		free(argv[i]);
	return pid;
}

static int wait_for(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return -1; // reaped already
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int run(const struct rabbitmq_server *server, const char *program, const char *const *words)
{
	return wait_for(spawn(server, program, words));
}

static void show_output(const struct rabbitmq_server *server)
{
	char path[128], line[512];

	snprintf(path, sizeof path, "%s/out", server->dir);
	FILE *file = fopen(path, "re");
	while (file && fgets(line, sizeof line, file))
		fputs(line, stderr);
	if (file)
		fclose(file);
}

static void must(const struct rabbitmq_server *server, const char *program, const char *const *words)
{
	if (run(server, program, words) != 0) {
		show_output(server);
		errno = 0;
		die(program);
	}
}

void rabbitmq_server_restart(struct rabbitmq_server *server)
{
	const char *const none[] = {NULL};
	char path[128];
	int pid = 0;

	snprintf(path, sizeof path, "%s/pid", server->dir);
	unlink(path);
	server->script = spawn(server, BIN "rabbitmq-server", none);
	const char *const words[] = {"-q", "wait", "--timeout", "100", path, NULL};
	must(server, BIN "rabbitmqctl", words);
	FILE *file = fopen(path, "re");
	if (!file || fscanf(file, "%d", &pid) != 1 || pid <= 1)
		die(path);
	fclose(file);
	server->node = (pid_t)pid;
}

void rabbitmq_server_kill(struct rabbitmq_server *server)
{
	if (!server->node)
		return;
	kill(server->node, SIGKILL);
	wait_for(server->script);
	wait_for(server->node); // ours since its script is gone
	server->node = 0;
}

void rabbitmq_server_ctl(struct rabbitmq_server *server, ...)
{
	const char *words[WORDS_MAX + 1] = {"-q"};
	size_t count = 1;
	va_list args;

	va_start(args, server);
	while (count < WORDS_MAX && (words[count] = va_arg(args, const char *)) != NULL)
		count++;
	va_end(args);
	words[count] = NULL;
	must(server, BIN "rabbitmqctl", words);
}

// --- life ---

static void make_certificate(struct rabbitmq_server *server)
{
	char key[128];

	snprintf(key, sizeof key, "%s/key.pem", server->dir);
	const char *const words[] = {"req",
	                             "-x509",
	                             "-newkey",
	                             "ec",
	                             "-pkeyopt",
	                             "ec_paramgen_curve:prime256v1",
	                             "-nodes",
	                             "-keyout",
	                             key,
	                             "-out",
	                             server->ca_file,
	                             "-subj",
	                             "/CN=localhost",
	                             "-addext",
	                             "subjectAltName=DNS:localhost,IP:127.0.0.1",
	                             NULL};
	must(server, "openssl", words);
}

struct rabbitmq_server *rabbitmq_server_start(void)
{
	struct rabbitmq_server *server = calloc(1, sizeof *server);
	const char *tmp = getenv("TMPDIR");

	if (!server)
		die("memory");
	snprintf(server->dir, sizeof server->dir, "%.60s/ts-rabbitmq-XXXXXX", tmp ? tmp : "/tmp");
	if (!mkdtemp(server->dir))
		die(server->dir);
	snprintf(server->ca_file, sizeof server->ca_file, "%s/cert.pem", server->dir);
	uint16_t *const ports[] = {&server->port, &server->tls_port, &server->dist_port, &server->epmd_port,
	                           &server->ctl_port};
	take_ports(ports, sizeof ports / sizeof ports[0]);
	// The node outlives its start script when that is killed; it should come to us then.
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	set_environment(server);
	make_certificate(server);
	write_settings(server);
	rabbitmq_server_restart(server);
	return server;
}

static int remove_entry(const char *path, const struct stat *st, int flag, struct FTW *walk)
{
	(void)st;
	(void)flag;
	(void)walk;
	return remove(path);
}

void rabbitmq_server_finish(struct rabbitmq_server *server)
{
	char port[16];

	rabbitmq_server_kill(server);
	snprintf(port, sizeof port, "%u", server->epmd_port);
	const char *const names[] = {"-port", port, "-names", NULL}, *const kill_it[] = {"-port", port, "-kill", NULL};
	// It refuses while it believes that the node lives.
	for (int i = 0; i < 500 && run(server, "epmd", names) == 0; i++)
		run(server, "epmd", kill_it);
	nftw(server->dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
	for (size_t i = 0; i < server->env_count; i++)
		free(server->env[i]);
	free(server);
}

uint16_t rabbitmq_server_port(const struct rabbitmq_server *server)
{
	return server->port;
}

uint16_t rabbitmq_server_tls_port(const struct rabbitmq_server *server)
{
	return server->tls_port;
}

const char *rabbitmq_server_ca_file(const struct rabbitmq_server *server)
{
	return server->ca_file;
}
