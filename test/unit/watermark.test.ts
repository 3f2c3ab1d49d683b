import { describe, expect, it } from 'vitest';
import { DatabaseClock } from '../../src/connections/resume/database-clock.js';
import { Watermark } from '../../src/connections/resume/watermark.js';

const SECOND = 1_000_000;

function setUp(trailSeconds?: number) {
  const clock = { ms: 5_000 };
  const real = { now: () => 0, monotonic: () => clock.ms };
  /** The database's own clock, less that of this process. */
  const database = { ahead: 95 * SECOND, asked: 0 };
  const ask = async () => {
    database.asked += 1;
    return clock.ms * 1000 + database.ahead;
  };
  const databaseClock = new DatabaseClock(real, ask, 100 * SECOND);
  const watermark = new Watermark(real, databaseClock, 90 * SECOND, trailSeconds);
  return { watermark, clock, database, databaseClock };
}

describe('the watermark', () => {
  it('moves with ticks, and never back', () => {
    const { watermark } = setUp();
    expect(watermark.cursor).toBe(90 * SECOND);
    watermark.advance(101 * SECOND);
    watermark.advance(99 * SECOND);
    expect(watermark.cursor).toBe(101 * SECOND);
    expect(watermark.eventId.text).toBe('1970-01-01T00:01:41');
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
    watermark.advance(103 * SECOND);
    clock.ms += 250;
    expect(watermark.estimateNow()).toBe(103.25 * SECOND);
  });

  it('knows the clock as well when it hears ticks that have waited for a while (RabbitMQ hands on what piled up)', () => {
    const { watermark, clock } = setUp();
    clock.ms += 25_000;
    for (let second = 101; second <= 125; second += 1) watermark.advance(second * SECOND);
    expect(watermark.estimateNow()).toBe(125 * SECOND);
    watermark.advance(101 * SECOND);
    expect(watermark.estimateNow()).toBe(125 * SECOND);
  });

  it.each([
    ['a year ahead', 31_536_100],
    ['six seconds ahead', 106.1],
  ])('does not believe a tick that is %s, and stays where it is', (_what, until) => {
    const { watermark } = setUp();
    expect(watermark.advance(until * SECOND)).toBe(false);
    expect(watermark.cursor).toBe(90 * SECOND);
    expect(watermark.estimateNow()).toBe(100 * SECOND);
    expect(watermark.advance(101 * SECOND)).toBe(true);
    expect(watermark.cursor).toBe(101 * SECOND);
  });

  it('asks the database when a tick is ahead, so that a clock that was set forward is believed from the next tick on', async () => {
    const { watermark, clock, database } = setUp();
    clock.ms += 10_000;
    database.ahead += 60 * SECOND;
    expect(watermark.advance(170 * SECOND)).toBe(false);
    await Promise.resolve();
    await new Promise(setImmediate);
    expect(database.asked).toBe(1);
    expect(watermark.advance(170 * SECOND)).toBe(true);
    expect(watermark.cursor).toBe(170 * SECOND);
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

describe("a database's clock that is set back by 60 s", () => {
  /** Ticks agree until 110 s; then the clock steps, and 4 s later somebody asks. */
  async function steppedBack() {
    const all = setUp();
    const { watermark, clock, database, databaseClock } = all;
    for (let second = 101; second <= 110; second += 1) {
      clock.ms += 1_000;
      watermark.advance(second * SECOND);
    }
    database.ahead -= 60 * SECOND;
    clock.ms += 4_000;
    await databaseClock.check();
    return all;
  }

  it('takes the watermark back to before the step, so that a gap is read from there', async () => {
    const { watermark } = await steppedBack();
    expect(watermark.estimateNow()).toBe(54 * SECOND);
    // 50 s was the moment of the step; the tick before it may have been 3 s old.
    expect(watermark.cursor).toBe(47 * SECOND);
  });

  it('takes ids that may be from before the step for the moment of the step, for as long as they may come', async () => {
    const { databaseClock, watermark, clock } = await steppedBack();
    expect(databaseClock.judge(46 * SECOND)).toBe(46 * SECOND);
    for (const id of [48, 55, 109, 110, 114]) expect(databaseClock.judge(id * SECOND)).toBe(47 * SECOND);
    clock.ms += 600_000;
    watermark.advance(650 * SECOND);
    expect(databaseClock.judge(109 * SECOND)).toBe(47 * SECOND);
    expect(databaseClock.judge(600 * SECOND)).toBe(600 * SECOND);
  });

  it('is noticed by itself when the ticks stay behind', async () => {
    const { watermark, clock, database, databaseClock } = setUp();
    database.ahead -= 60 * SECOND;
    for (let second = 0; second < 12; second += 1) {
      clock.ms += 1_000;
      watermark.advance(40 * SECOND + second * SECOND);
      databaseClock.look();
      await new Promise(setImmediate);
    }
    expect(database.asked).toBe(1);
    expect(watermark.estimateNow()).toBe(52 * SECOND);
  });

  it('is not taken for one where the answer was only slow', async () => {
    const { watermark, clock, databaseClock } = setUp();
    const checked = databaseClock.check();
    clock.ms += 4_000; // read before this
    await checked;
    expect(watermark.estimateNow()).toBe(104 * SECOND);
  });
});
