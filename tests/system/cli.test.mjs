// The command line: `transcription transcribe`, `config`, `--help`; exit codes and where output goes.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { assertProblem, request, World } from './harness.mjs';
import { clips, ffprobe, rightWords, sample } from './media.mjs';
import { OpenAiServer } from './openai-server.mjs';

let world, engine, remote;

before(async () => {
  engine = await OpenAiServer.start();
  world = await World.create({ ENVIRONMENT: undefined, LOG_LEVEL: undefined });
  world.use(engine);
  remote = { env: engine.env() };
  fs.copyFileSync(sample.file, path.join(world.folder, 'a film.mp4'));
  fs.copyFileSync(sample.file, path.join(world.folder, 'second.mp4'));
});
after(() => world.finish());

const cli = (...args) => world.command('transcription', args, remote);
const read = (name) => fs.readFileSync(path.join(world.folder, name), 'utf8');

test('a file is transcribed by the local engine', { timeout: 300_000 }, async () => {
  const { code, stdout, stderr } = await world.command('transcription', ['transcribe', 'a film.mp4', '-f', 'txt']);
  assert.equal(code, 0, stderr);
  const { right, total } = rightWords(sample.text, stdout);
  assert.ok(right / total >= 0.8, `${right} of ${total}`);
});

test('several files, several formats, a folder of their own', { timeout: 120_000 }, async () => {
  for (const format of ['srt', 'vtt', 'txt', 'json', 'tsv']) {
    const { code, stderr } = await cli('transcribe', 'a film.mp4', 'second.mp4', '-f', format, '-o', 'out folder');
    assert.equal(code, 0, stderr);
    for (const name of ['a film', 'second']) assert.ok(read(`out folder/${name}.${format}`).length > 0);
  }
  assert.equal(ffprobe(path.join(world.folder, 'out folder/a film.srt'), '-show_streams').streams[0].codec_name, 'subrip');
  assert.match(JSON.parse(read('out folder/second.json')).text, /the remote engine heard this/);
});

test('no file is written over what another gave', { timeout: 120_000 }, async () => {
  for (const name of ['one', 'two']) fs.mkdirSync(path.join(world.folder, name));
  for (const name of ['one/talk.mp4', 'two/talk.mp4', 'two/talk.mkv', 'two/talk.mp4.mkv', 'two/talk.verbose.mp4'])
    fs.copyFileSync(sample.file, path.join(world.folder, name));
  const refused = [
    [['one/talk.mp4', 'two/talk.mp4'], 'talk.mp4.txt', []],
    [['one/talk.mp4', './one/talk.mp4'], 'talk.mp4.txt', []],
    [['one/talk.mp4', 'two/talk.mkv', 'two/talk.mp4.mkv'], 'talk.mp4.txt', []],
    [['one/talk.mp4', 'two/talk.verbose.mp4'], 'talk.verbose.json', ['-f', 'json,verbose_json']],
  ];
  for (const [files, name, options] of refused) {
    const { code, stderr } = await cli('transcribe', ...files, ...options, '-o', 'lost');
    assert.equal(code, 2, stderr);
    assert.ok(stderr.includes(`would both be written to lost/${name}`), stderr);
    assert.ok(stderr.includes(files[0]) && stderr.includes(files.at(-1)), stderr);
  }
  assert.ok(!fs.existsSync(path.join(world.folder, 'lost')));
  const { code, stderr } = await cli('transcribe', 'one/talk.mp4', 'two/talk.mkv', 'second.mp4', '-o', 'kept');
  assert.equal(code, 0, stderr);
  assert.deepEqual(fs.readdirSync(path.join(world.folder, 'kept')).sort(), ['second.txt', 'talk.mkv.txt', 'talk.mp4.txt']);
});

test('a bad file does not keep the good ones from being done', { timeout: 120_000 }, async () => {
  const { code, stderr } = await cli('transcribe', clips.notMedia(), 'second.mp4', 'missing.mp4', '-f', 'srt', '-o', 'mixed');
  assert.equal(code, 1);
  assert.match(stderr, /not media\.mp4/);
  assert.match(stderr, /missing\.mp4/);
  assert.ok(read('mixed/second.srt').length > 0);
  assert.deepEqual(fs.readdirSync(path.join(world.folder, 'mixed')), ['second.srt']);
});

const misuse = [
  [['transcribe'], /FILE|file/],
  [['transcribe', 'a film.mp4', '-f', 'doc'], /srt/],
  [['transcribe', '--colour', 'a film.mp4'], /--colour/],
  [['transcribe', 'a film.mp4', '-o'], /-o/],
  [['dance'], /dance/],
  [[], /Usage|usage/],
];
for (const [args, message] of misuse) {
  test(`misuse: transcription ${args.join(' ')}`, { timeout: 60_000 }, async () => {
    const { code, stdout, stderr } = await cli(...args);
    assert.equal(code, 2, stdout + stderr);
    assert.match(stderr, message);
    assert.equal(stdout, '');
  });
}

for (const program of ['transcription', 'transcription-api', 'transcription-worker']) {
  test(`${program} explains itself`, { timeout: 60_000 }, async () => {
    const help = await world.command(program, ['--help']);
    assert.equal(help.code, 0);
    assert.match(help.stdout, /^Usage: /);
    assert.equal(help.stderr, '');
  });
}

test('every command explains itself', { timeout: 60_000 }, async () => {
  for (const command of ['serve', 'transcribe', 'config', 'migrate']) {
    const { code, stdout } = await cli(command, '--help');
    assert.equal(code, 0, command);
    assert.match(stdout, new RegExp(`Usage: transcription ${command}`));
  }
});

test('transcribe asks for the key that its engine needs', { timeout: 60_000 }, async () => {
  const { code, stderr } = await world.command('transcription', ['transcribe', '--engine=openai', 'second.mp4']);
  assert.equal(code, 2);
  assert.match(stderr, /^transcription transcribe: OPENAI_API_KEY: must be set when ENGINE is openai/m);
});

test('version', { timeout: 60_000 }, async () => {
  const { code, stdout } = await cli('version');
  assert.equal(code, 0);
  assert.match(stdout, /\d+\.\d+\.\d+/);
});

test('migrate makes a store, and does it again without harm', { timeout: 60_000 }, async () => {
  assert.equal((await cli('migrate')).code, 0);
  assert.equal((await cli('migrate')).code, 0);
  assert.ok(fs.existsSync(path.join(world.data, 'transcription.db')));
});

test('config shows what is in force, secrets masked', { timeout: 60_000 }, async () => {
  const { code, stdout } = await world.command('transcription', ['config'], {
    env: { OPENAI_API_KEY: 'sk-very-secret', PORT: '8123' },
  });
  assert.equal(code, 0);
  assert.match(stdout, /^PORT=8123\b/m);
  for (const secret of ['sk-very-secret', world.secret, world.env.SERVICE_API_KEY]) assert.ok(!stdout.includes(secret));
  assert.match(stdout, /^OPENAI_API_KEY=/m);
});

test('a file of configuration is named on the command line, and read by the children of serve', { timeout: 60_000 }, async () => {
  const file = path.join(world.folder, 'my service.conf');
  fs.writeFileSync(file, 'MAX_WAIT_SECONDS="7"  # short\n');
  const config = await world.command('transcription', ['config', '--config', file]);
  assert.match(config.stdout, /^MAX_WAIT_SECONDS=7\b.*file/m, config.stderr);

  const service = await world.serve({}, 'transcription', ['serve', `--config=${file}`]);
  const answer = await request(service.url, 'GET', '/api/v1/transcriptions/01a20b66-4eac-7967-86e5-4a3331302fde?wait=8');
  assertProblem(answer, 400, 'invalid-parameter', 'wait');
  assert.equal((await service.stop()).code, 0);

  fs.writeFileSync(file, 'PORT=80a\n');
  const bad = await world.command('transcription', ['serve', '--config', file], { env: { PORT: undefined } });
  assert.equal(bad.code, 2);
  assert.match(bad.stderr, /^transcription serve: PORT=80a \(.*my service\.conf/m);
});

test('a secret is read from a file', { timeout: 60_000 }, async () => {
  fs.writeFileSync(path.join(world.folder, 'key file'), 'from-a-file-key\n');
  const { code, stdout } = await world.command('transcription', ['config'], {
    env: { SERVICE_API_KEY: undefined, SERVICE_API_KEY_FILE: path.join(world.folder, 'key file') },
  });
  assert.equal(code, 0);
  assert.match(stdout, /^SERVICE_API_KEY=\S/m);
  assert.ok(!stdout.includes('from-a-file-key'));
});

const bad = [
  ['PORT', 'eight', /PORT.*0.*65535/],
  ['PORT', '70000', /PORT.*65535/],
  ['ENGINE', 'magic', /ENGINE.*pocketsphinx/],
  ['LEASE_SECONDS', '-1', /LEASE_SECONDS/],
  ['CALLBACK_SECRET', 'whsec_short', /CALLBACK_SECRET.*whsec_/],
  ['DATABASE_URL', 'mysql://x', /DATABASE_URL.*sqlite/],
  ['MEDIA_URL_TEMPLATE', 'http://x/y', /MEDIA_URL_TEMPLATE.*video_id/],
];
for (const [name, value, message] of bad) {
  for (const program of [['transcription', ['serve']], ['transcription-api', []], ['transcription-worker', []]]) {
    test(`${program[0]} does not start with ${name}=${value}`, { timeout: 60_000 }, async () => {
      const { code, stderr } = await world.command(...program, { env: { [name]: value } });
      assert.equal(code, 2, stderr);
      const lines = stderr.trim().split('\n');
      assert.equal(lines.length, 1, stderr);
      assert.match(lines[0], message);
      if (name === 'CALLBACK_SECRET') assert.ok(!stderr.includes(value));
    });
  }
}
