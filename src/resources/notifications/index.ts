import type { App } from '../../http/app.js';
import { switchedOff } from '../schemas.js';
import { registerBroadcasts } from './broadcast-routes.js';
import { registerPreferences } from './preference-routes.js';
import { type NotificationRouteDeps, registerNotifications } from './routes.js';

/** @param deps.notifications undefined with `enable_notification_system: false` */
export function registerNotificationSystem(
  app: App,
  {
    notifications,
    ...context
  }: Omit<NotificationRouteDeps, 'notifications'> & {
    notifications: NotificationRouteDeps['notifications'] | undefined;
  },
): void {
  if (notifications === undefined) {
    for (const url of ['/api/notifications', '/api/notifications/*']) {
      switchedOff(app, url, 'enable_notification_system');
    }
    return;
  }
  const deps = { ...context, notifications };
  registerNotifications(app, deps);
  registerBroadcasts(app, deps);
  registerPreferences(app, deps);
}
