import { expect, it } from 'vitest';
import { notifyFault } from '../../src/app/commands/doctor/notify.js';

it.each([
  [130_023, 'newer major version'],
  [140_020, '14.21'],
  [150_015, '15.16'],
  [160_011, '16.12'],
  [170_007, '17.8'],
  [180_001, '18.2'],
])(
  'names server version %i, whose VACUUM may take what unread notifications need, and what to update to',
  (version, to) => {
    expect(notifyFault(version)).toContain(`update to a ${to}`.replace(/a (?=\d)/, ''));
  },
);

it.each([140_021, 150_016, 150_018, 160_012, 170_008, 180_002, 190_000])(
  'finds nothing wrong with %i',
  (version) => {
    expect(notifyFault(version)).toBeUndefined();
  },
);
