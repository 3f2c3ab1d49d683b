// Loaded into the server before it begins: on SIGWINCH it collects all garbage and writes to MEMORY_FILE what is left, in MiB.
import { writeFileSync } from 'node:fs';

process.on('SIGWINCH', () => {
  globalThis.gc();
  globalThis.gc();
  const { heapUsed, external } = process.memoryUsage();
  writeFileSync(process.env.MEMORY_FILE, ((heapUsed + external) / 1024 / 1024).toFixed(2));
});
