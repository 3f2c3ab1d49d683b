export interface Percentiles {
  p50: number;
  p90: number;
  p99: number;
  max: number;
}

export function percentiles(values: readonly number[] | undefined): Percentiles | undefined {
  if (values === undefined || values.length === 0) return undefined;
  const sorted = Float64Array.from(values).sort();
  const at = (share: number): number =>
    sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]!;
  return { p50: at(0.5), p90: at(0.9), p99: at(0.99), max: at(1) };
}

export const median = (values: readonly number[]): number => percentiles(values)?.p50 ?? Number.NaN;

export const rounded = (value: number, digits = 2): number => Number(value.toFixed(digits));
