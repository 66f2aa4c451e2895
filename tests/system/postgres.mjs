// A private PostgreSQL 15 (Debian's) in one folder, on a port of loopback, with a password.
import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { freePort, until } from './harness.mjs';

const BIN = '/usr/lib/postgresql/15/bin';
const PASSWORD = 'the-database-password';

// The server does not run as root.
const root = process.getuid() === 0;
function identity() {
  if (!root) return {};
  const [, , uid, gid] = fs
    .readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .map((line) => line.split(':'))
    .find(([name]) => name === 'postgres');
  return { uid: Number(uid), gid: Number(gid) };
}

export class Postgres {
  static async start() {
    const server = new Postgres();
    const who = identity();
    server.folder = fs.mkdtempSync('/tmp/ts-pg-');
    server.data = path.join(server.folder, 'data');
    const secret = path.join(server.folder, 'password');
    fs.writeFileSync(secret, PASSWORD, { mode: 0o600 });
    if (root) for (const one of [server.folder, secret]) fs.chownSync(one, who.uid, who.gid);
    const made = spawnSync(
      path.join(BIN, 'initdb'),
      ['-D', server.data, '-U', 'app', `--pwfile=${secret}`, '-A', 'scram-sha-256', '-EUTF8', '--locale=C.UTF-8', '--no-sync'],
      { cwd: '/', encoding: 'utf8', ...who },
    );
    if (made.status !== 0) throw new Error(`initdb (package postgresql-15): ${made.error ?? made.stderr}`);
    server.port = await freePort();
    await server.restart();
    return server;
  }

  // What the programs are told.
  get env() {
    return {
      POSTGRES_SERVER: '127.0.0.1',
      POSTGRES_PORT: String(this.port),
      POSTGRES_USER: 'app',
      POSTGRES_PASSWORD: PASSWORD,
      POSTGRES_DB: 'postgres',
      POSTGRES_POOL_SIZE: '4',
    };
  }

  // One value of SQL's.
  query(sql) {
    const { status, stdout, stderr } = spawnSync(path.join(BIN, 'psql'), ['-XAtqc', sql], {
      encoding: 'utf8',
      env: { PGHOST: '127.0.0.1', PGPORT: String(this.port), PGUSER: 'app', PGPASSWORD: PASSWORD, PGDATABASE: 'postgres' },
    });
    if (status !== 0) throw new Error(stderr);
    return stdout.trim();
  }

  async restart() {
    const options = ['-cfsync=off', '-clisten_addresses=127.0.0.1', '-cunix_socket_directories='];
    this.child = spawn(path.join(BIN, 'postgres'), ['-D', this.data, '-p', String(this.port), ...options], {
      cwd: '/',
      stdio: 'ignore',
      ...identity(),
    });
    this.gone = new Promise((resolve) => this.child.on('exit', resolve));
    await until('PostgreSQL answers', () => this.query('SELECT 1') === '1');
  }

  // As a crash.
  async crash() {
    this.child.kill('SIGQUIT');
    await this.gone;
  }

  async finish() {
    await this.crash();
    fs.rmSync(this.folder, { recursive: true, force: true });
  }
}
