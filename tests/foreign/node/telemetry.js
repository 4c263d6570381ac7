// OpenTelemetry for a Node service, loaded by `node --require ./telemetry.js`: everything that is known, by environment
// variables, and the correlation ID taken from the headers of requests, which has no variable in Node.

'use strict';

const { NodeSDK } = require('@opentelemetry/sdk-node');
const { getNodeAutoInstrumentations } = require('@opentelemetry/auto-instrumentations-node');

const captured = ['x-correlation-id'];

const sdk = new NodeSDK({
  instrumentations: getNodeAutoInstrumentations({
    '@opentelemetry/instrumentation-http': {
      headersToSpanAttributes: { server: { requestHeaders: captured }, client: { requestHeaders: captured } },
    },
    '@opentelemetry/instrumentation-undici': { headersToSpanAttributes: { requestHeaders: captured } },
  }),
});

sdk.start();
process.on('SIGTERM', () => sdk.shutdown().finally(() => process.exit(0)));
