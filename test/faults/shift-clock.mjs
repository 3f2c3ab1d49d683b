// Preloaded into a process (`node --import`): its wall clock is off by CLOCK_SHIFT_MS.
const shift = Number(process.env.CLOCK_SHIFT_MS);
const RealDate = Date;
const { timeOrigin } = performance;

Object.defineProperty(performance, 'timeOrigin', { value: timeOrigin + shift });
globalThis.Date = class ShiftedDate extends RealDate {
  constructor(...args) {
    if (args.length === 0) super(RealDate.now() + shift);
    else super(...args);
  }
  static now() {
    return RealDate.now() + shift;
  }
};
