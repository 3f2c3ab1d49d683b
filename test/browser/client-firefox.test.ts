import { describe } from 'vitest';
import { firefoxEngine } from '../support/firefox.js';
import { basicSuite } from './basic-suite.js';

describe('firefox', () => basicSuite(firefoxEngine));
