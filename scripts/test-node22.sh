#!/usr/bin/env bash
# What runs on the oldest Node.js that Lightcone supports, too. `npm run test:node22` puts it first on PATH.
set -euo pipefail
case $(node --version) in v22.*) ;; *) echo "this is $(node --version), not Node.js 22" >&2; exit 1 ;; esac
RESUME_RUNS=100 exec vitest run test/unit test/contract test/soak \
  test/integration/{embedded,stream,old-node,package}.test.ts "$@"
