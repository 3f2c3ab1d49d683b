/** Whether there is room for one more stream: on this worker, and for this user. */
import type { SseConfig } from '../config/config.js';
import { type ErrorCode, LightconeError } from '../core/errors.js';
import type { Principal } from '../core/events.js';
import type { Metrics } from '../telemetry/metrics.js';
import type { TabRegistry } from './registry.js';

export class Admission {
  constructor(
    private readonly limits: Pick<SseConfig, 'maxConnections' | 'maxConnectionsPerUser'>,
    private readonly registry: TabRegistry,
    private readonly metrics: Metrics,
  ) {}

  /** Whether `admit` would let the caller in; counts nothing. */
  hasRoomFor(principal: Principal): boolean {
    return this.isRoomLeft() && this.isRoomLeftFor(principal);
  }

  /** @throws LightconeError TOO_MANY_CONNECTIONS, TOO_MANY_CONNECTIONS_OF_USER */
  admit(principal: Principal): void {
    const { maxConnections, maxConnectionsPerUser } = this.limits;
    if (!this.isRoomLeft()) {
      throw this.refusal(
        'TOO_MANY_CONNECTIONS',
        `This worker holds ${maxConnections} streams, as many as max_connections allows.`,
        10,
      );
    }
    if (!this.isRoomLeftFor(principal)) {
      throw this.refusal(
        'TOO_MANY_CONNECTIONS_OF_USER',
        `You have ${maxConnectionsPerUser} open streams here, as many as max_connections_per_user allows. Close some tabs.`,
        30,
      );
    }
  }

  private isRoomLeft(): boolean {
    return this.registry.all.length < this.limits.maxConnections;
  }

  private isRoomLeftFor({ userId }: Principal): boolean {
    return userId === undefined || this.registry.countOfUser(userId) < this.limits.maxConnectionsPerUser;
  }

  private refusal(code: ErrorCode, message: string, retryAfterSeconds: number): LightconeError {
    this.metrics.increment('galaxy.sse.connections.refused', 1, { reason: code.toLowerCase() });
    return new LightconeError(code, message, { retryAfterSeconds });
  }
}
