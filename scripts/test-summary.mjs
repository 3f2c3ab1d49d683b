// Prints "N passed, N failed" from vitest's JSON reports. A file that broke before its tests ran counts as one failure, and
// so does a run without a report.
import { existsSync, readFileSync } from 'node:fs';

let passed = 0;
let failed = 0;
for (const file of process.argv.slice(2)) {
  const text = existsSync(file) ? readFileSync(file, 'utf8') : '';
  const { numPassedTests, numFailedTests, testResults } = text
    ? JSON.parse(text)
    : { numPassedTests: 0, numFailedTests: 1, testResults: [] };
  const broken = testResults.filter(
    ({ status, assertionResults }) =>
      status === 'failed' && !assertionResults.some((test) => test.status === 'failed'),
  ).length;
  passed += numPassedTests;
  failed += numFailedTests + broken;
}
console.log(`${passed} passed, ${failed} failed`);
if (passed === 0) process.exit(1);
