import { describe, expect, it } from 'vitest';
import { Watermark } from '../../src/connections/watermark.js';

const SECOND = 1_000_000;

function setUp(trailSeconds?: number) {
  const clock = { ms: 5_000 };
  const watermark = new Watermark(
    { now: () => 0, monotonic: () => clock.ms },
    100 * SECOND,
    90 * SECOND,
    trailSeconds,
  );
  return { watermark, clock };
}

describe('the watermark', () => {
  it('moves with ticks, and never back', () => {
    const { watermark } = setUp();
    expect(watermark.cursor).toBe(90 * SECOND);
    watermark.advance(101 * SECOND);
    watermark.advance(99 * SECOND);
    expect(watermark.cursor).toBe(101 * SECOND);
    expect(watermark.position.text).toBe('1970-01-01T00:01:41');
  });

  it('stands still while a gap is repaired, then takes the last tick that came meanwhile', () => {
    const { watermark } = setUp();
    const [release, releaseOther] = [watermark.hold(), watermark.hold()];
    watermark.advance(102 * SECOND);
    watermark.advance(103 * SECOND);
    release();
    release();
    expect(watermark.cursor).toBe(90 * SECOND);
    releaseOther();
    expect(watermark.cursor).toBe(103 * SECOND);
  });

  it('knows the database clock from the last tick and its own running', () => {
    const { watermark, clock } = setUp();
    expect(watermark.estimateNow()).toBe(100 * SECOND);
    clock.ms += 1500;
    expect(watermark.estimateNow()).toBe(101.5 * SECOND);
    watermark.advance(110 * SECOND);
    clock.ms += 250;
    expect(watermark.estimateNow()).toBe(110.25 * SECOND);
  });

  it('dates a change by its audit time where that is later than what it knows of the clock, unless it is absurd', () => {
    const { watermark } = setUp();
    expect(watermark.latestFor(undefined)).toBe(100 * SECOND);
    expect(watermark.latestFor(99 * SECOND)).toBe(100 * SECOND);
    // The last tick before a gap was stale, and other workers have given out 101 s since.
    expect(watermark.latestFor(102 * SECOND)).toBe(102 * SECOND);
    expect(watermark.latestFor(9_000 * SECOND)).toBe(160 * SECOND);
  });

  it('waits for ticks for ever where a leader of ours is expected', () => {
    const { watermark, clock } = setUp();
    clock.ms += 3_600_000;
    watermark.trail();
    expect(watermark.cursor).toBe(90 * SECOND);
  });

  it("trails the clock by the life of a message where only Galaxy's monitor is heard", () => {
    const { watermark, clock } = setUp(10);
    clock.ms += 19_000;
    watermark.trail();
    expect(watermark.cursor).toBe(90 * SECOND);
    clock.ms += 2_000;
    watermark.trail();
    expect(watermark.cursor).toBe(111 * SECOND);
    const release = watermark.hold();
    clock.ms += 2_000;
    watermark.trail();
    expect(watermark.cursor).toBe(111 * SECOND);
    release();
  });
});
