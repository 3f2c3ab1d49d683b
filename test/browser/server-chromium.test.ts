import { describe } from 'vitest';
import { chromiumEngine } from '../support/chromium.js';
import { serverSuite } from './server-suite.js';

describe('chromium', () => serverSuite(chromiumEngine));
