// Prints "N passed, N failed" from vitest's JSON report. A file that broke before its tests ran counts as one failure.
import { readFileSync } from 'node:fs';

const text = readFileSync(process.argv[2], 'utf8');
if (text === '') {
  console.log('0 passed, 1 failed');
  process.exit(1);
}
const { numPassedTests, numFailedTests, testResults } = JSON.parse(text);
const broken = testResults.filter(
  ({ status, assertionResults }) =>
    status === 'failed' && !assertionResults.some((test) => test.status === 'failed'),
).length;
console.log(`${numPassedTests} passed, ${numFailedTests + broken} failed`);
