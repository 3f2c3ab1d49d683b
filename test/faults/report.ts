/** The table that docs/reliability.md shows. */
import { appendFileSync } from 'node:fs';
import type { ScreensVerdict, Verdict } from './judge.js';

interface Entry extends Verdict, ScreensVerdict {
  fault: string;
  /** Milliseconds. */
  allowed: number;
  commits: number;
}

class Report {
  private readonly entries: Entry[] = [];

  add(entry: Entry): void {
    this.entries.push(entry);
    console.log(
      `${entry.fault}: ${entry.commits} commits, ${entry.pairs} deliveries, ${entry.missing.length} missing, longest ${Math.round(entry.longestMs)} ms (${entry.longest}; ${Math.round(entry.longestWithWaitMs)} ms with the wait of a tab before its return), median ${Math.round(entry.medianMs)} ms; ${entry.screens} screens, ${entry.wrong.length} wrong, right ${Math.round(entry.rightAfterMs)} ms after the last transaction`,
    );
  }

  /** One line per fault; also to the file named by LIGHTCONE_FAULTS_REPORT. */
  print(): void {
    const faults = [...new Set(this.entries.map(({ fault }) => fault))];
    const rows = faults.map((fault) => {
      const rounds = this.entries.filter((entry) => entry.fault === fault);
      const longest = rounds.map(({ longestMs }) => longestMs).sort((a, b) => a - b);
      const sum = (of: (entry: Entry) => number): number =>
        rounds.reduce((total, entry) => total + of(entry), 0);
      return `| ${fault} | ${seconds(rounds[0]!.allowed)} | ${rounds.length} | ${sum(({ pairs }) => pairs)} | ${sum(({ missing }) => missing.length)} | ${sum(({ wrong }) => wrong.length)} | ${seconds(longest[longest.length >> 1]!)} | ${seconds(longest.at(-1)!)} | ${seconds(Math.max(...rounds.map(({ longestWithWaitMs }) => longestWithWaitMs)))} |`;
    });
    const table = [
      '| fault | longest delay allowed | rounds | deliveries judged | missing | wrong screens | longest delay, median of the rounds | worst | worst, with the wait of a tab before its return |',
      '| --- | --- | --- | --- | --- | --- | --- | --- | --- |',
      ...rows,
      '',
    ].join('\n');
    console.log(table);
    if (process.env.LIGHTCONE_FAULTS_REPORT) appendFileSync(process.env.LIGHTCONE_FAULTS_REPORT, table);
  }
}

const seconds = (ms: number): string => `${(ms / 1000).toFixed(2)} s`;

export const report = new Report();
