import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** By path. Whoever begins last decides when the run ends, and on a fresh machine nothing tells how long a file takes. */
const SLOWEST = [
  '/soak/',
  '/faults/',
  'property.test',
  '/nginx.test',
  '/package.test',
  '/resume.test',
  '/amqp',
  '/field/',
  '/browser/',
];

class SlowestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification) => {
      const index = SLOWEST.findIndex((part) => moduleId.includes(part));
      return index < 0 ? SLOWEST.length : index;
    };
    return (await super.sort(files)).sort((a, b) => rank(a) - rank(b));
  }
}

/** With real servers: a bound in seconds may be missed on a machine that others use too. */
const services = {
  globalSetup: ['test/support/global-setup.ts'],
  testTimeout: 30_000,
  hookTimeout: 60_000,
};

export default defineConfig({
  test: {
    pool: 'forks',
    // Tests with servers wait more than they work, so there are more of them at once than cores.
    maxWorkers: 4,
    sequence: { sequencer: SlowestFirst },
    // Many tests hold the product to bounds in seconds. A machine that others use too can miss one; in CI such a test is
    // run once more, and the report says so. A defect fails twice.
    retry: process.env.CI ? 1 : 0,
    projects: [
      {
        extends: true,
        // Nothing in `src` keeps state in a module: the files share one.
        test: { name: 'unit', include: ['test/unit/**/*.test.ts'], isolate: false, testTimeout: 30_000 },
      },
      {
        extends: true,
        test: {
          name: 'services',
          include: ['test/*/**/*.test.ts'],
          exclude: ['test/{unit,soak}/**'],
          ...services,
        },
      },
      { extends: true, test: { name: 'soak', include: ['test/soak/**/*.test.ts'], ...services } },
    ],
  },
});
