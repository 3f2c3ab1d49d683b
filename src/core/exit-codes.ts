/** Exit codes, from which a service manager decides whether to restart the process (`deploy/`). */
export const EXIT = {
  /** Any other failure: an internal error, or a database or broker that a command waited for in vain. */
  failed: 1,
  /** Invalid settings or command line. A restart would fail in the same way. */
  invalidUsage: 2,
  /**
   * EX_TEMPFAIL: the address is taken, does not exist yet or does not resolve yet, or another process has the SQLite
   * file.
   */
  notNow: 75,
} as const;
