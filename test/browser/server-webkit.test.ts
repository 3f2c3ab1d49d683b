import { describe } from 'vitest';
import { webkitEngine } from '../support/webkit.js';
import { serverSuite } from './server-suite.js';

describe('webkit', () => serverSuite(webkitEngine));
