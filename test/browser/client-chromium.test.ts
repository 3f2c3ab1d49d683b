import { describe } from 'vitest';
import { chromiumEngine } from '../support/chromium.js';
import { basicSuite } from './basic-suite.js';

describe('chromium', () => basicSuite(chromiumEngine));
