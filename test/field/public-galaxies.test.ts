/** What large public servers write into their galaxy.yml, as their published playbooks have it. Beside them all of it is read as it stands. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { tlsOptions } from '../../src/bus/amqp/tls.js';
import { loadConfig } from '../../src/config/load.js';

let cwd: string;
beforeAll(() => {
  cwd = mkdtempSync(join(tmpdir(), 'lightcone-public-'));
});
afterAll(() => rmSync(cwd, { recursive: true }));

function read(galaxy: string) {
  writeFileSync(join(cwd, 'galaxy.yml'), `${galaxy}\nsse: {attach_to_galaxy: true}\n`);
  return loadConfig({ env: {}, flags: { config: 'galaxy.yml', sse: {} }, cwd });
}
const brokerOf = (config: ReturnType<typeof read>): string =>
  config.bus.kind === 'amqp' ? config.bus.url : '';

// usegalaxy-eu/infrastructure-playbook, group_vars/gxconfig.yml: settings by anchor and merge key, switched off, TLS by ?ssl=1.
it('usegalaxy.eu', () => {
  const config = read(`
base_app_main: &BASE_APP_MAIN
  database_connection: "postgresql://galaxy@sn11.example.org/galaxy?host=/var/run/postgresql"
  database_engine_option_pool_size: 30
  history_audit_table_prune_interval: 7200
  interactivetools_enable: true
  interactivetoolsproxy_map: "postgresql://galaxy@sn11.example.org/gxitproxy"
  galaxy_infrastructure_url: https://usegalaxy.eu
  log_level: INFO
  statsd_host: "127.0.0.1"
  statsd_prefix: "galaxy_page_timings"
  statsd_influxdb: true
  id_secret: "a secret"
  admin_users: "a@example.org,b@example.org"
  amqp_internal_connection: "pyamqp://galaxy:pass@mq.example.org:5671/galaxy?ssl=1"
  enable_sse_updates: false
  enable_notification_system: true
  enable_oidc: true
galaxy:
  <<: *BASE_APP_MAIN`);
  expect(config).toMatchObject({
    database: { kind: 'postgresql', poolSize: 30 },
    sse: { enabled: false },
    auth: { idSecret: 'a secret', adminUsers: ['a@example.org', 'b@example.org'] },
    features: { notifications: true, interactiveTools: true },
    statsd: { host: '127.0.0.1', port: 8125, prefix: 'galaxy_page_timings' },
  });
  expect(tlsOptions(brokerOf(config))).toMatchObject({ rejectUnauthorized: true });
});

// galaxyproject/usegalaxy-playbook, env/main/group_vars/all/galaxy_config_vars.yml: numbers as text, a virtual host with a slash.
it('usegalaxy.org', () => {
  const config = read(`
galaxy:
  database_connection: "postgresql://g2main:pass@galaxy-db.example.org/galaxy_main"
  install_database_connection: "sqlite:////cvmfs/main/galaxy_main_install.sqlite?isolation_level=IMMEDIATE"
  id_secret: 9117e436251
  admin_users: "a@example.org"
  amqp_internal_connection: "amqp://main:pass@mq.example.org:5671//main_internal?ssl=1"
  galaxy_infrastructure_url: https://usegalaxy.org
  interactivetools_enable: true
  interactivetools_proxy_host: usegalaxy.org
  interactivetools_prefix: interactivetool
  database_engine_option_pool_size: "10"
  statsd_host: "127.0.0.1"
  statsd_port: "8125"
  statsd_prefix: "main"
  slow_query_log_threshold: "2"
  enable_notification_system: true
  enable_sse_updates: true`);
  expect(config).toMatchObject({
    database: { kind: 'postgresql', poolSize: 10 },
    sse: { enabled: true },
    auth: { idSecret: '9117e436251' },
    features: { interactiveToolsProxyHost: 'usegalaxy.org' },
    statsd: { port: 8125, prefix: 'main' },
  });
  expect(decodeURIComponent(new URL(brokerOf(config)).pathname)).toBe('//main_internal');
});

// usegalaxy-au/infrastructure, host_vars and group_vars: an empty item among the administrators, a cookie for all subdomains.
it('usegalaxy.org.au', () => {
  const config = read(`
galaxy:
  database_connection: "postgresql://galaxy:pass@10.0.0.7:5432/galaxy"
  database_engine_option_pool_size: 20 # default is 5
  id_secret: "a secret" # must stay the same wherever production runs
  admin_users: "a@example.org,b@example.org,"
  amqp_internal_connection: "pyamqp://galaxy_queues:pass@10.0.0.8:5671//galaxy/galaxy_queues?ssl=1"
  interactivetools_enable: true
  interactivetools_map: "/mnt/galaxy/var/interactivetools_map.sqlite"
  cookie_domain: usegalaxy.org.au
  log_level: TRACE
  statsd_host: localhost
  statsd_port: 8125
  statsd_prefix: galaxy-aust
  enable_notification_system: true
  enable_sse_updates: true`);
  expect(config).toMatchObject({
    auth: { adminUsers: ['a@example.org', 'b@example.org'], cookieDomain: 'usegalaxy.org.au' },
    statsd: { host: 'localhost', prefix: 'galaxy-aust' },
    logLevel: 'info',
  });
  expect(decodeURIComponent(new URL(brokerOf(config)).pathname)).toBe('//galaxy/galaxy_queues');
});
