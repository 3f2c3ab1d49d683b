/** What the routes of sessions answer, as the OpenAPI document describes it. */
import { Type } from 'typebox';
import { ID, orNull } from '../../http/describe-route.js';
import { history } from '../histories/replies.js';

export const login = Type.Object({ id: ID }, { title: 'LoggedIn', examples: [{ id: 'adb5f5c93f827949' }] });
/** Goes out as text. */
export const currentHistory = Type.Unsafe<string>(orNull(history));
