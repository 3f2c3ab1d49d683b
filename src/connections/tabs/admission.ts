/**
 * Decides whether there is room for one more stream: on this worker, for this user, and for strangers and their
 * address.
 */
import type { SseConfig } from '../../config/config.js';
import { type ErrorCode, LightconeError } from '../../core/errors.js';
import type { Principal } from '../../core/events.js';
import { LIMITS } from '../../core/limits.js';
import type { Metrics } from '../../telemetry/metrics.js';
import type { TabRegistry } from './registry.js';

type LimitCode = ErrorCode & `TOO_MANY_CONNECTIONS${string}`;
type Refusal = [code: LimitCode, message: string, retryAfterSeconds: number];

export class Admission {
  constructor(
    private readonly limits: Pick<
      SseConfig,
      'maxConnections' | 'maxConnectionsPerUser' | 'maxConnectionsPerAddress'
    >,
    private readonly registry: TabRegistry,
    private readonly metrics: Metrics,
  ) {}

  /** Whether `admit` would accept the caller. It counts nothing. */
  hasRoomFor(principal: Principal, address?: string): boolean {
    return this.problemOf(principal, address) === undefined;
  }

  /** @throws LightconeError TOO_MANY_CONNECTIONS, TOO_MANY_CONNECTIONS_OF_USER, TOO_MANY_CONNECTIONS_OF_ADDRESS */
  admit(principal: Principal, address?: string): void {
    const problem = this.problemOf(principal, address);
    if (problem !== undefined) throw this.refusal(...problem);
  }

  /** Whether the address of a caller without a user is needed. */
  get countsAddresses(): boolean {
    return this.limits.maxConnectionsPerAddress > 0;
  }

  private problemOf({ userId }: Principal, address: string | undefined): Refusal | undefined {
    const { maxConnections, maxConnectionsPerUser, maxConnectionsPerAddress } = this.limits;
    const { all, userTabCount } = this.registry;
    if (all.length >= maxConnections) {
      return [
        'TOO_MANY_CONNECTIONS',
        `This worker has ${maxConnections} open streams, the maximum (max_connections).`,
        10,
      ];
    }
    if (userId !== undefined) {
      if (this.registry.countOfUser(userId) < maxConnectionsPerUser) return undefined;
      return [
        'TOO_MANY_CONNECTIONS_OF_USER',
        `You have ${maxConnectionsPerUser} open streams here, the maximum (max_connections_per_user). Close some tabs.`,
        30,
      ];
    }
    const kept = Math.ceil((maxConnections * LIMITS.placesForUsers.value) / 100);
    if (all.length - userTabCount >= maxConnections - kept) {
      return [
        'TOO_MANY_CONNECTIONS',
        `The last ${kept} of ${maxConnections} streams (max_connections) are reserved for signed-in users.`,
        10,
      ];
    }
    if (address === undefined || !this.countsAddresses) return undefined;
    if (this.registry.countOfAddress(address) < maxConnectionsPerAddress) return undefined;
    return [
      'TOO_MANY_CONNECTIONS_OF_ADDRESS',
      `Your address has ${maxConnectionsPerAddress} open streams without a login here, the maximum (max_connections_per_address).`,
      30,
    ];
  }

  private refusal(code: LimitCode, message: string, retryAfterSeconds: number): LightconeError {
    this.metrics.increment('galaxy.sse.connections.refused', 1, {
      reason: code.toLowerCase() as Lowercase<LimitCode>,
    });
    return new LightconeError(code, message, { retryAfterSeconds });
  }
}
