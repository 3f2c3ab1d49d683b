import { describe } from 'vitest';
import { webkitEngine } from '../support/webkit.js';
import { basicSuite } from './basic-suite.js';

// Its driver ends the whole session with the process of a page.
describe('webkit', () => basicSuite(webkitEngine, { discards: false }));
