// A private RabbitMQ node for the system tests: own folder, ports, name service; ended with the world that uses it.
import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { alive, freePort, SLOW, until } from './harness.mjs';

const BIN = '/usr/lib/rabbitmq/bin';

export class RabbitMq {
  static async start() {
    const broker = new RabbitMq();
    broker.folder = fs.mkdtempSync(path.join(os.tmpdir(), 'ts-rabbitmq-'));
    broker.port = await freePort();
    const epmd = await freePort();
    const tool = await freePort();
    const at = (name) => path.join(broker.folder, name);
    broker.environment = {
      PATH: process.env.PATH,
      HOME: broker.folder,
      LANG: 'C.UTF-8',
      ERL_EPMD_PORT: String(epmd),
      ERL_EPMD_ADDRESS: '127.0.0.1',
      RABBITMQ_NODENAME: `test${broker.port}@localhost`,
      RABBITMQ_PID_FILE: at('pid'),
      RABBITMQ_NODE_IP_ADDRESS: '127.0.0.1',
      RABBITMQ_NODE_PORT: String(broker.port),
      RABBITMQ_DIST_PORT: String(await freePort()),
      RABBITMQ_CTL_DIST_PORT_MIN: String(tool),
      RABBITMQ_CTL_DIST_PORT_MAX: String(tool),
      RABBITMQ_MNESIA_BASE: at('mnesia'),
      RABBITMQ_LOG_BASE: at('log'),
      RABBITMQ_CONFIG_FILE: at('rabbitmq.conf'),
      RABBITMQ_ENABLED_PLUGINS_FILE: at('plugins'),
      RABBITMQ_CONF_ENV_FILE: '/dev/null',
      RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: '-kernel inet_dist_use_interface {127,0,0,1} +S 2:2 +sbwt none',
    };
    fs.writeFileSync(at('plugins'), '[].');
    fs.writeFileSync(at('rabbitmq.conf'), [
      `listeners.tcp.1 = 127.0.0.1:${broker.port}`,
      'default_user = app',
      'default_pass = apppw',
      'loopback_users = none',
      'disk_free_limit.absolute = 10MB',
      'vm_memory_high_watermark.absolute = 512MB',
      'log.console = false',
      '',
    ].join('\n'));
    await broker.up();
    return broker;
  }

  // Configuration of the programs that use it.
  env() {
    return {
      RABBITMQ_HOST: '127.0.0.1',
      RABBITMQ_PORT: String(this.port),
      RABBITMQ_USER: 'app',
      RABBITMQ_PASSWORD: 'apppw',
      RABBITMQ_QUEUE: 'system_test',
    };
  }

  async up() {
    const file = path.join(this.folder, 'pid');
    fs.rmSync(file, { force: true });
    const out = fs.openSync(path.join(this.folder, 'out'), 'a');
    spawn(`${BIN}/rabbitmq-server`, [], { env: this.environment, stdio: ['ignore', out, out] });
    fs.closeSync(out);
    const waiting = spawn(`${BIN}/rabbitmqctl`, ['-q', 'wait', '--timeout', String(100 * SLOW), file], {
      env: this.environment, stdio: 'ignore',
    });
    const code = await new Promise((resolve) => waiting.on('exit', resolve));
    if (code !== 0) {
      throw new Error(`RabbitMQ did not start: ${fs.readFileSync(path.join(this.folder, 'out'), 'utf8').slice(-2000)}`);
    }
    this.pid = Number(fs.readFileSync(file, 'utf8'));
  }

  // As a crash: the data stay.
  async kill() {
    process.kill(this.pid, 'SIGKILL');
    await until('RabbitMQ is gone', () => !alive(this.pid));
    this.pid = undefined;
  }

  finish() {
    if (this.pid) process.kill(this.pid, 'SIGKILL');
    const epmd = (order) =>
      spawnSync('epmd', ['-port', this.environment.ERL_EPMD_PORT, order], { env: this.environment, stdio: 'ignore' }).status;
    // It refuses while it believes that the node lives.
    for (let i = 0; i < 500 && epmd('-names') === 0; i += 1) epmd('-kill');
    fs.rmSync(this.folder, { recursive: true, force: true, maxRetries: 10 });
  }
}
