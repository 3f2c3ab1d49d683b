import { describe } from 'vitest';
import { webkitEngine } from '../support/webkit.js';
import { basicSuite } from './basic-suite.js';

describe('webkit', () => basicSuite(webkitEngine));
