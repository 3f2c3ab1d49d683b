/**
 * The first check of an executable. This file imports nothing and runs on every Node.js with modules: on a version that
 * is too old, any other file would cause a syntax error or a crash of the database driver.
 */
const FLOOR = [22, 12];

/** @returns an error message for the administrator; undefined if this Node.js is new enough */
export function nodeVersionError(): string | undefined {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  if (major > FLOOR[0]! || (major === FLOOR[0] && minor >= FLOOR[1]!)) return undefined;
  const floor = major < FLOOR[0]! ? FLOOR[0] : FLOOR.join('.');
  return `Lightcone needs Node.js ${floor} or newer, this is ${process.versions.node}: install Node.js 24 and start Lightcone with it; in a clone, "npx lightcone" does so.`;
}

/** @returns true if this Node.js is new enough; otherwise it has printed the error */
export function isNodeNewEnough(): boolean {
  const error = nodeVersionError();
  if (error === undefined) return true;
  process.stderr.write(`${error}\n`);
  process.exitCode = 2;
  return false;
}
