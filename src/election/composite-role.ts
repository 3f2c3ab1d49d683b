import type { Role } from './tenure.js';

/** Several duties of one leader: begun one after the other, ended together. */
export class CompositeRole implements Role {
  constructor(private readonly roles: readonly Role[]) {}

  async gain(): Promise<void> {
    for (const role of this.roles) await role.gain();
  }

  /** Each is told at once, so that each stops publishing before anybody waits for another. */
  async lose(reason: string): Promise<void> {
    await Promise.all(this.roles.map((role) => role.lose(reason)));
  }
}
