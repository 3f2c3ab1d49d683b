import { describe } from 'vitest';
import { firefoxEngine } from '../support/firefox.js';
import { serverSuite } from './server-suite.js';

describe('firefox', () => serverSuite(firefoxEngine));
