import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/{unit,contract,integration,hostile,field,fuzz,faults,browser}/**/*.test.ts'],
    globalSetup: ['test/support/global-setup.ts'],
    pool: 'forks',
    // Two cores, shared with a real PostgreSQL and a real RabbitMQ.
    maxWorkers: 2,
    // Many tests hold the product to bounds in seconds. A machine that others use too can miss one; in CI such a test is
    // run once more, and the report says so. A defect fails twice.
    retry: process.env.CI ? 1 : 0,
    testTimeout: 30_000,
    hookTimeout: 60_000,
  },
});
