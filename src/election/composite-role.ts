import type { Role } from './tenure.js';

/** Combines several roles of one leader: it gains them one after the other and loses them together. */
export class CompositeRole implements Role {
  constructor(private readonly roles: readonly Role[]) {}

  async gain(): Promise<void> {
    for (const role of this.roles) await role.gain();
  }

  /** All roles lose at once, so that each stops publishing before any waits for another. */
  async lose(reason: string): Promise<void> {
    await Promise.all(this.roles.map((role) => role.lose(reason)));
  }
}
