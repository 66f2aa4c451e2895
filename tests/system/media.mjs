// Media for the tests: the sample of the repository, and small files that FFmpeg makes once per run.
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { ROOT } from './harness.mjs';

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'transcription media '));
process.on('exit', () => fs.rmSync(folder, { recursive: true, force: true }));

export function ffmpeg(...args) {
  return execFileSync('ffmpeg', ['-hide_banner', '-loglevel', 'error', '-nostdin', '-y', ...args], { cwd: folder });
}

export function ffprobe(file, ...args) {
  const text = execFileSync('ffprobe', ['-hide_banner', '-loglevel', 'error', '-of', 'json', ...args, file]);
  return JSON.parse(text.toString('utf8'));
}

function sampleFile() {
  const name = fs.readdirSync(path.join(ROOT, 'samples')).find((one) => one.endsWith('.mp4'));
  return path.join(ROOT, 'samples', name);
}

export const sample = {
  get file() {
    return sampleFile();
  },
  get bytes() {
    return fs.readFileSync(sampleFile());
  },
  get text() {
    return fs.readFileSync(sampleFile().replace(/\.mp4$/, '.txt'), 'utf8');
  },
  get seconds() {
    return Number(ffprobe(sampleFile(), '-show_format').format.duration);
  },
};

const made = new Map();
// A file made by FFmpeg from these arguments, once.
function make(name, ...args) {
  if (!made.has(name)) {
    ffmpeg(...args, name);
    made.set(name, path.join(folder, name));
  }
  return made.get(name);
}

const picture = ['-f', 'lavfi', '-i', 'testsrc=size=64x64:rate=5'];

export const clips = {
  // Two seconds that sound like speech to a voice detector: a tone that comes and goes.
  short: () =>
    make('short.mp4', ...picture, '-f', 'lavfi', '-i', 'aevalsrc=0.4*sin(2*PI*220*t)*(0.5+0.5*sin(2*PI*3*t)):s=16000',
      '-t', '2', '-c:v', 'libx264', '-c:a', 'aac'),
  silent: () =>
    make('silent.mp4', ...picture, '-f', 'lavfi', '-i', 'anullsrc=r=44100:cl=stereo', '-t', '3', '-c:v', 'libx264',
      '-c:a', 'aac'),
  noAudio: () => make('no audio.mp4', ...picture, '-t', '2', '-c:v', 'libx264'),
  wav: () => make('tone.wav', '-f', 'lavfi', '-i', 'sine=frequency=300:duration=2', '-ar', '8000'),
  webm: () => make('tone.webm', '-f', 'lavfi', '-i', 'sine=frequency=300:duration=2', '-c:a', 'libopus'),
  // Minutes of the sample's speech.
  long: (times) => make(`long-${times}.mp4`, '-stream_loop', String(times - 1), '-i', sampleFile(), '-c', 'copy'),
  notMedia: () => {
    const file = path.join(folder, 'not media.mp4');
    fs.writeFileSync(file, 'This is a letter, not a film.\n'.repeat(200));
    return file;
  },
  // The index stands at the end of this one, and the end is missing.
  truncated: () => {
    const file = path.join(folder, 'truncated.mp4');
    const whole = fs.readFileSync(clips.short());
    fs.writeFileSync(file, whole.subarray(0, Math.floor(whole.length / 2)));
    return file;
  },
};

const clean = (text) => text.toLowerCase().match(/[a-z0-9']+/g) ?? [];

// How many words of `said` stand in `heard`, in order: the longest common subsequence.
export function rightWords(said, heard) {
  const a = clean(said);
  const b = clean(heard);
  let row = new Array(b.length + 1).fill(0);
  for (const word of a) {
    const next = [0];
    for (let j = 0; j < b.length; j++) next.push(word === b[j] ? row[j] + 1 : Math.max(row[j + 1], next[j]));
    row = next;
  }
  return { right: row[b.length], total: a.length };
}
