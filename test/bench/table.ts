export interface Results {
  date: string;
  machine: string;
  tabs: number;
  seconds: number;
  /** Medians, by measurement and name; the unit is part of the name. */
  figures: Record<string, Record<string, number>>;
}

/** One line per figure; with earlier results, the change in per cent. */
export function printTable(results: Results, before?: Results): void {
  console.log(`${results.date}  ${results.machine}`);
  console.log(`${results.tabs} tabs, phases of ${results.seconds} s`);
  for (const [measurement, figures] of Object.entries(results.figures)) {
    console.log(`\n${measurement}`);
    for (const [name, value] of Object.entries(figures)) {
      const earlier = before?.figures[measurement]?.[name];
      const line = `  ${name.replaceAll('_', ' ').padEnd(38)} ${String(value).padStart(12)}`;
      console.log(earlier === undefined ? line : `${line}  was ${earlier}${change(earlier, value)}`);
    }
  }
}

const change = (from: number, to: number): string =>
  from === 0 ? '' : ` (${to >= from ? '+' : ''}${Math.round(((to - from) / from) * 100)} %)`;
