/** What a process ends with, so that whoever starts it knows whether to try again (`deploy/`). */
export const EXIT = {
  /** Anything that is not below: an error inside, a neighbour that a command waited for in vain. */
  failed: 1,
  /** Settings or command line are wrong: trying again would say it again. */
  wronglyAsked: 2,
  /** EX_TEMPFAIL: the address is taken or not there yet, its name is not known yet, another process has the SQLite file. */
  notNow: 75,
} as const;
