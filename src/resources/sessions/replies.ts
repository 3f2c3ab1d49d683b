/** Schemas of the replies about sessions, for the OpenAPI document. */
import { Type } from 'typebox';
import { ID, orNull } from '../../http/describe-route.js';
import { history } from '../histories/replies.js';

export const login = Type.Object({ id: ID }, { title: 'LoggedIn', examples: [{ id: 'adb5f5c93f827949' }] });
/** Sent as text. */
export const currentHistory = Type.Unsafe<string>(orNull(history));
