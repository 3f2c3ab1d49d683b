import { describe, expect, it } from 'vitest';
import { probeNodeInternals } from '../../src/node-internals/probe.js';

describe('the shortcuts into Node.js', () => {
  it('are there on the Node.js that this repository is at home on', () => {
    expect(probeNodeInternals(true)).toEqual({
      takeOver: expect.any(Function),
      createDirectWrites: expect.any(Function),
    });
  });

  it('are all off where node_internals is false', () => {
    expect(probeNodeInternals(false)).toEqual({ takeOver: undefined, createDirectWrites: undefined });
  });
});
