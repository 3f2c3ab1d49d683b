/**
 * The first thing that an executable does. It imports nothing and is written for the oldest Node.js that knows modules:
 * on one that is too old, everything else would end in a syntax error, or in a crash of the database driver.
 */
const FLOOR = [22, 12];

/** @returns what to tell the administrator; undefined if this Node.js is new enough */
export function nodeComplaint(): string | undefined {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  if (major > FLOOR[0]! || (major === FLOOR[0] && minor >= FLOOR[1]!)) return undefined;
  const floor = major < FLOOR[0]! ? FLOOR[0] : FLOOR.join('.');
  return `Lightcone needs Node.js ${floor} or newer, this is ${process.versions.node}: install Node.js 24 and start it with that; in a clone, "npx lightcone" does so.`;
}

/** @returns true if there is nothing to complain of; otherwise it has told the administrator */
export function isNodeNewEnough(): boolean {
  const complaint = nodeComplaint();
  if (complaint === undefined) return true;
  process.stderr.write(`${complaint}\n`);
  process.exitCode = 2;
  return false;
}
