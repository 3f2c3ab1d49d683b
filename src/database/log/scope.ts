import type { ChangeScope, Sql, SqlValue } from '../port.js';

/** A condition on the audit table `a`; its values start at `$position`. */
export function scopeCondition(
  db: Sql,
  scope: ChangeScope,
  position: number,
): { condition: string; params: SqlValue[] } {
  switch (scope.kind) {
    case 'all':
      return { condition: 'true', params: [] };
    case 'user':
      return {
        condition: `a.history_id IN (SELECT id FROM history WHERE user_id = $${position})`,
        params: [scope.userId],
      };
    case 'session':
      return {
        condition: `a.history_id IN (
          SELECT o.id FROM galaxy_session_to_history x JOIN history o ON o.id = x.history_id
           WHERE x.session_id = $${position} AND o.user_id IS NULL)`,
        params: [scope.sessionId],
      };
    case 'histories':
      return {
        condition: db.isOneOf('a.history_id', position),
        params: [db.list(scope.historyIds)],
      };
  }
}
