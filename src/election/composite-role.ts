import type { Role } from './tenure.js';

/** Several roles of one leader: gained one after the other, lost together. */
export class CompositeRole implements Role {
  constructor(private readonly roles: readonly Role[]) {}

  async gain(): Promise<void> {
    for (const role of this.roles) await role.gain();
  }

  /** All lose it at once, so that each stops publishing before any waits for another. */
  async lose(reason: string): Promise<void> {
    await Promise.all(this.roles.map((role) => role.lose(reason)));
  }
}
