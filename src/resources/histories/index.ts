import type { App } from '../../http/app.js';
import { type ContentsRouteDeps, registerContents } from './contents-routes.js';
import { HistorySerializer } from './forms.js';
import { type HistoryRouteDeps, registerHistories } from './routes.js';
import { registerSharing } from './sharing-routes.js';

/** Routes of histories, their sharing and their contents. */
export function registerHistoryRoutes(
  app: App,
  deps: Omit<HistoryRouteDeps, 'forms'> & Omit<ContentsRouteDeps, 'forms'>,
): void {
  const { histories, idCodec } = deps;
  const forms = new HistorySerializer(histories, (id) => idCodec.encodeId(id), app.prefix);
  registerHistories(app, { ...deps, forms });
  registerSharing(app, { ...deps, forms });
  registerContents(app, deps);
}
