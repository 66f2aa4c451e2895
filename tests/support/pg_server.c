// Starts Debian's PostgreSQL (initdb, postgres) and pgbouncer as children that die with the test.
#include "pg_server.h"

#include "unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <grp.h>
#include <libpq-fe.h>
#include <netinet/in.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PG_BIN "/usr/lib/postgresql/15/bin/"
#define BOUNCER "/usr/sbin/pgbouncer"
#define START_MS 60000

static struct {
	char dir[160], data[200];
	int port, bouncer_port;
	pid_t owner, server, bouncer;
	int databases;
} pg;

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int free_port(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof address;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
	close(fd);
	return ntohs(address.sin_port);
}

// Neither program runs as root.
static void become_user(int log)
{
	const struct passwd *user = getpwnam("postgres");

	if (geteuid() == 0 && (!user || setgroups(0, NULL) != 0 || setgid(user->pw_gid) != 0 || setuid(user->pw_uid) != 0))
		_exit(126);
	prctl(PR_SET_PDEATHSIG, SIGQUIT); // after setuid, which clears it
	dup2(log, STDOUT_FILENO);
	dup2(log, STDERR_FILENO);
	if (chdir("/") != 0)
		_exit(126);
}

static pid_t spawn(const char *const *argv)
{
	char path[240];

	snprintf(path, sizeof path, "%s/log", pg.dir);
	int log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	assert_true(log >= 0);
	fflush(NULL);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		sigset_t none;
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		become_user(log);
		execv(argv[0], (char *const *)(const void *)argv);
		_exit(127);
	}
	close(log);
	return pid;
}

static int wait_for(pid_t pid)
{
	int status = -1;

	while (waitpid(pid, &status, 0) < 0)
		assert_int_equal(errno, EINTR);
	return status;
}

static void show_log(void)
{
	char path[240], line[400];

	snprintf(path, sizeof path, "%s/log", pg.dir);
	FILE *file = fopen(path, "r");
	while (file && fgets(line, sizeof line, file))
		fprintf(stderr, "# %s", line);
	if (file)
		fclose(file);
}

static void await(int port)
{
	char conninfo[120];
	int64_t end = now_ms() + START_MS;

	snprintf(conninfo, sizeof conninfo, "host=127.0.0.1 port=%d user=app dbname=postgres connect_timeout=5", port);
	while (PQping(conninfo) != PQPING_OK) {
		if (now_ms() > end) {
			show_log();
			fail_msg("PostgreSQL did not start on port %d", port);
		}
		poll(NULL, 0, 5);
	}
}

static void start_server(void)
{
	char port[16];

	snprintf(port, sizeof port, "%d", pg.port);
	const char *const argv[] = {PG_BIN "postgres",
	                            "-D",
	                            pg.data,
	                            "-p",
	                            port,
	                            "-clisten_addresses=127.0.0.1",
	                            "-cunix_socket_directories=",
	                            "-cfsync=off",
	                            "-cfull_page_writes=off",
	                            "-cshared_buffers=32MB",
	                            "-cmax_connections=100",
	                            "-cautovacuum=off",
	                            "-clog_min_messages=fatal",
	                            NULL};
	pg.server = spawn(argv);
	await(pg.port);
}

static void start_bouncer(void)
{
	char path[240];

	pg.bouncer_port = free_port();
	snprintf(path, sizeof path, "%s/bouncer.ini", pg.dir);
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	fprintf(file,
	        "[databases]\n* = host=127.0.0.1 port=%d user=app\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
	        "listen_port = %d\nunix_socket_dir =\nauth_type = any\npool_mode = transaction\nmax_client_conn = 200\n"
	        "default_pool_size = 20\n",
	        pg.port, pg.bouncer_port);
	fclose(file);
	chmod(path, 0644);
	const char *const argv[] = {BOUNCER, "-q", path, NULL};
	pg.bouncer = spawn(argv);
	await(pg.bouncer_port);
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *walk)
{
	(void)st;
	(void)flag;
	(void)walk;
	return remove(path);
}

static void stop(pid_t *pid)
{
	if (*pid > 0) {
		kill(*pid, SIGQUIT);
		while (waitpid(*pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	*pid = 0;
}

static void stop_all(void)
{
	if (getpid() != pg.owner)
		return;
	stop(&pg.bouncer);
	stop(&pg.server);
	nftw(pg.dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void make_server(void)
{
	const struct passwd *user = getpwnam("postgres");

	snprintf(pg.dir, sizeof pg.dir, "/tmp/ts-pg-XXXXXX"); // where user postgres gets at it
	assert_non_null(mkdtemp(pg.dir));
	snprintf(pg.data, sizeof pg.data, "%s/data", pg.dir);
	if (geteuid() == 0) {
		assert_non_null(user);
		assert_int_equal(chown(pg.dir, user->pw_uid, user->pw_gid), 0);
	}
	pg.owner = getpid();
	atexit(stop_all);
	const char *const argv[] = {PG_BIN "initdb",    "-D",        pg.data, "-U", "app", "-A", "trust", "-EUTF8",
	                            "--locale=C.UTF-8", "--no-sync", NULL};
	if (wait_for(spawn(argv)) != 0) {
		show_log();
		fail_msg("initdb failed (needs the package postgresql-15)");
	}
	pg.port = free_port();
	start_server();
	if (getenv("TS_PG_BOUNCER"))
		start_bouncer();
}

static void run_sql(const char *sql)
{
	char conninfo[120];

	snprintf(conninfo, sizeof conninfo, "host=127.0.0.1 port=%d user=app dbname=postgres", pg.port);
	PGconn *conn = PQconnectdb(conninfo);
	PGresult *result = PQexec(conn, sql);
	if (PQresultStatus(result) != PGRES_COMMAND_OK && PQresultStatus(result) != PGRES_TUPLES_OK)
		fail_msg("%s: %s", sql, PQerrorMessage(conn));
	PQclear(result);
	PQfinish(conn);
}

void pg_server_database(char *url, size_t size)
{
	char sql[80];

	if (!pg.owner)
		make_server();
	snprintf(sql, sizeof sql, "CREATE DATABASE t%d", ++pg.databases);
	run_sql(sql);
	snprintf(url, size, "postgresql://app@127.0.0.1:%d/t%d", pg.bouncer ? pg.bouncer_port : pg.port, pg.databases);
}

void pg_server_direct(const char *url, char *direct, size_t size)
{
	snprintf(direct, size, "postgresql://app@127.0.0.1:%d/%s", pg.port, strrchr(url, '/') + 1);
}

void pg_server_tls(char *certificate, size_t size)
{
	char key[240], sql[400];

	snprintf(certificate, size, "%s/tls.crt", pg.dir);
	snprintf(key, sizeof key, "%s/tls.key", pg.dir);
	const char *const argv[] = {"/usr/bin/openssl",
	                            "req",
	                            "-x509",
	                            "-newkey",
	                            "ec",
	                            "-pkeyopt",
	                            "ec_paramgen_curve:prime256v1",
	                            "-nodes",
	                            "-days",
	                            "2",
	                            "-keyout",
	                            key,
	                            "-out",
	                            certificate,
	                            "-subj",
	                            "/CN=localhost",
	                            "-addext",
	                            "subjectAltName=DNS:localhost",
	                            NULL};
	if (wait_for(spawn(argv)) != 0) {
		show_log();
		fail_msg("openssl made no certificate");
	}
	snprintf(sql, sizeof sql, "ALTER SYSTEM SET ssl_cert_file = '%s'", certificate);
	run_sql(sql);
	snprintf(sql, sizeof sql, "ALTER SYSTEM SET ssl_key_file = '%s'", key);
	run_sql(sql);
	run_sql("ALTER SYSTEM SET ssl = on");
	run_sql("SELECT pg_reload_conf()");
}

void pg_server_crash(void)
{
	stop(&pg.server);
}

void pg_server_restart(void)
{
	start_server();
}
