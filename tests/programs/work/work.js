// Purpose: JavaScript work with the same output in every run, most of it outside V8's own heap. Run by cases/node.py.
'use strict';
const crypto = require('crypto');
const zlib = require('zlib');
const { execFile } = require('child_process');
const { promisify } = require('util');
const { Worker, isMainThread, parentPort, workerData } = require('worker_threads');

const hash = (data) => crypto.createHash('sha256').update(data).digest('hex').slice(0, 16);

// Buffers live in malloc's memory.
function churn(seed) {
  const kept = [];
  for (let i = 1; i < 20000; i++) {
    kept.push(Buffer.alloc((i * seed * 7919) % 20000, i & 255));
    if (kept.length > 200) kept.splice(0, 150);
  }
  return hash(Buffer.concat(kept));
}

function worker(seed) {
  return new Promise((resolve, reject) => {
    const thread = new Worker(__filename, { workerData: seed });
    let answer;
    thread.on('message', (message) => { answer = message; });
    thread.on('error', reject);
    thread.on('exit', (code) => resolve(`${code} ${answer.text} ${hash(Buffer.from(answer.data))}`));
  });
}

async function main() {
  console.log('churn', churn(1), churn(2));
  const tree = (depth) => (depth ? { a: tree(depth - 1), b: [depth, tree(depth - 1)], c: 'x'.repeat(depth * 3) } : null);
  const text = JSON.stringify(tree(13));
  console.log('json', text.length, hash(JSON.stringify(JSON.parse(text), null, 1)));
  console.log('workers', await Promise.all([1, 2, 3, 4].map(worker)));
  const deflate = promisify(zlib.deflate), inflate = promisify(zlib.inflate), brotli = promisify(zlib.brotliCompress);
  const packed = await Promise.all([...Array(24).keys()].map((i) => deflate(Buffer.from(text.slice(i * 1000)))));
  console.log('zlib', hash(Buffer.concat(await Promise.all(packed.map((data) => inflate(data))))));
  console.log('brotli', hash(await brotli(Buffer.from(text.slice(0, 200000)), { params: { [zlib.constants.BROTLI_PARAM_QUALITY]: 5 } })));
  const keys = await Promise.all([1, 2, 3, 4].map((i) => promisify(crypto.scrypt)('theseus', `salt${i}`, 64, { N: 4096 })));
  console.log('scrypt', hash(Buffer.concat(keys)));
  const child = ['-e', 'console.log(Buffer.alloc(3e6, "ab").toString("base64").length)'];
  console.log('child', (await promisify(execFile)(process.execPath, child)).stdout.trim());
}

if (isMainThread) {
  main().catch((error) => { console.error(error); process.exit(1); });
} else {
  const data = new ArrayBuffer(300000); // handed over, not copied: freed by another thread than allocated it
  new Uint8Array(data).fill(workerData);
  parentPort.postMessage({ text: churn(workerData), data }, [data]);
}
