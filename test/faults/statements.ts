/** Counts the statements of each database user in the log of a server that logs them all. */
export class StatementCounter {
  static readonly settings = ['log_statement=all', 'log_line_prefix=%u|'];
  private counts = new Map<string, number>();

  readonly onLog = (line: string): void => {
    const match = /^([^|]*)\|LOG: {2}(?:statement|execute [^:]*): /.exec(line);
    if (match) this.counts.set(match[1]!, this.of(match[1]!) + 1);
  };

  reset(): void {
    this.counts = new Map();
  }

  of(databaseUser: string): number {
    return this.counts.get(databaseUser) ?? 0;
  }
}
