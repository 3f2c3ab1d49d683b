// https://www.postgresql.org/, git, commit 8eeb4a0f7c06 of 12 November 2025: "Fix bug where we truncated CLOG that was still needed by LISTEN/NOTIFY".
import { expect, it } from 'vitest';
import { hasListenFault } from '../../src/app/commands/doctor/database.js';

it.each([
  [130_023, true],
  [140_020, true],
  [140_021, false],
  [150_015, true],
  [150_016, false],
  [160_011, true],
  [170_007, true],
  [170_008, false],
  [180_001, true],
  [180_002, false],
  [190_000, false],
])('LISTEN of server version %i has the fault of the truncated log: %s', (version, faulty) => {
  expect(hasListenFault(version)).toBe(faulty);
});
