// The whole way with the recogniser that needs no download: what was said comes back, in every format.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { World, until } from './harness.mjs';
import { clips, ffprobe, rightWords, sample } from './media.mjs';

let world, service, receiver;

before(async () => {
  world = await World.create();
  receiver = await world.receiver();
  service = await world.serve();
});
after(() => world.finish());

// Submits a file and waits for the end.
async function transcribe(file, expected = 'completed') {
  const job = await world.submit(service, { callback_url: receiver.url }, { file: fs.readFileSync(file) });
  return world.final(service, job.id, expected, 600);
}

test('the sample comes back with its words, times, subtitles and a signed callback', { timeout: 900_000 }, async (t) => {
  const job = await transcribe(sample.file);
  assert.equal(job.progress, 1);
  assert.equal(job.error, null);
  assert.ok(Math.abs(job.duration - sample.seconds) < 0.5, `duration ${job.duration} of ${sample.seconds}`);

  await t.test('at least 80 % of the words are right', async () => {
    const { text } = await world.transcript(service, job.id);
    const { right, total } = rightWords(sample.text, text);
    assert.ok(right / total >= 0.8, `${right} of ${total} words: ${text}`);
  });

  await t.test('words and segments lie inside the file, in order', async () => {
    const transcript = await world.transcript(service, job.id, 'verbose_json');
    assert.ok(transcript.segments.length > 1);
    assert.ok(transcript.words.length > 10);
    for (const list of [transcript.segments, transcript.words]) {
      let last = 0;
      for (const one of list) {
        assert.ok(one.start >= last, JSON.stringify(one));
        assert.ok(one.end > one.start && one.end <= sample.seconds + 0.05, JSON.stringify(one));
        last = one.start;
      }
    }
    assert.equal(transcript.language, 'en');
    assert.equal(transcript.receipt.engine, 'pocketsphinx');
  });

  for (const [format, codec] of [['srt', 'subrip'], ['vtt', 'webvtt']]) {
    await t.test(`FFmpeg reads the ${format} and finds each cue`, async () => {
      const { segments } = await world.transcript(service, job.id);
      const file = path.join(world.folder, `sample.${format}`);
      fs.writeFileSync(file, await world.transcript(service, job.id, format));
      const { streams, packets } = ffprobe(file, '-show_streams', '-show_packets');
      assert.equal(streams[0].codec_name, codec);
      assert.equal(packets.length, segments.length);
      packets.forEach((packet, i) => {
        assert.ok(Math.abs(Number(packet.pts_time) - segments[i].start) < 0.002, JSON.stringify(packet));
        assert.ok(Number(packet.duration_time) > 0);
      });
    });
  }

  await t.test('txt has the text, tsv a row a segment', async () => {
    const { text, segments } = await world.transcript(service, job.id);
    const txt = await world.transcript(service, job.id, 'txt');
    assert.equal(txt.trim().split('\n').join(' '), text);
    const rows = (await world.transcript(service, job.id, 'tsv')).trim().split('\n');
    assert.equal(rows[0], 'start\tend\ttext');
    assert.equal(rows.length, segments.length + 1);
  });

  await t.test('the callback is signed and says what the job says', async () => {
    const [{ event, headers }] = await receiver.of(job.id);
    assert.equal(event.type, 'transcription.completed');
    assert.match(event.timestamp, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    assert.match(headers['content-type'], /^application\/json/);
    const { text } = await world.transcript(service, job.id);
    const { data } = event;
    assert.equal(data.id, job.id);
    assert.equal(data.video_id, 'video 1');
    assert.equal(data.user_id, 'user-1');
    assert.equal(data.status, 'completed');
    assert.equal(data.language, 'en');
    assert.equal(data.text, text);
    assert.equal(data.error, null);
    assert.equal(data.attempts, 1);
    for (const name of ['self', 'transcript', 'srt', 'vtt']) assert.match(data.links[name], /\/api\/v1\/transcriptions\//);
  });
});

test('several jobs run at once, and each gets its own transcript', { timeout: 900_000 }, async () => {
  const bytes = sample.bytes;
  const jobs = await Promise.all(
    [1, 2, 3].map((n) => world.submit(service, { video_id: `video-${n}` }, { file: bytes })),
  );
  const done = await Promise.all(jobs.map((job) => world.final(service, job.id, 'completed', 600)));
  assert.deepEqual(done.map((job) => job.video_id), ['video-1', 'video-2', 'video-3']);
  const texts = await Promise.all(jobs.map(async (job) => (await world.transcript(service, job.id)).text));
  for (const text of texts) assert.ok(rightWords(sample.text, text).right / rightWords(sample.text, text).total >= 0.8);
});

test('a video without speech completes with an empty transcript', { timeout: 700_000 }, async () => {
  const job = await transcribe(clips.silent());
  const transcript = await world.transcript(service, job.id);
  assert.equal(transcript.text, '');
  assert.deepEqual(transcript.segments, []);
  assert.equal(await world.transcript(service, job.id, 'srt'), '');
  assert.match(await world.transcript(service, job.id, 'vtt'), /^WEBVTT\n/);
  const [{ event }] = await receiver.of(job.id);
  assert.equal(event.data.text, '');
});

const broken = [
  ['a video without a sound track', clips.noAudio, 'media_no_audio'],
  ['a file that is not media', clips.notMedia, 'media_not_recognised'],
  ['a file whose end is missing', clips.truncated, 'media_truncated'],
];
for (const [what, make, code] of broken) {
  test(`${what} fails the job at once with ${code}`, { timeout: 700_000 }, async () => {
    const job = await transcribe(make(), 'failed');
    assert.equal(job.error.code, code);
    assert.ok(job.error.message.length > 10);
    assert.equal(job.attempts, 1);
    const [{ event }] = await receiver.of(job.id);
    assert.equal(event.type, 'transcription.failed');
    assert.equal(event.data.error.code, code);
    assert.equal(event.data.text, null);
  });
}

for (const [what, make] of [['8 kHz WAV', clips.wav], ['Opus in WebM', clips.webm]]) {
  test(`${what} is read`, { timeout: 700_000 }, async () => {
    const job = await transcribe(make());
    assert.ok(Math.abs(job.duration - 2) < 0.2, String(job.duration));
  });
}

test('nothing is left in the work folder', { timeout: 60_000 }, async () => {
  await until('the work folder is empty', () => world.tempFiles().length === 0);
});
