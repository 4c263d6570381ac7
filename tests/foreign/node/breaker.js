// A payment service as a Node team would write it: express, pino, and opossum around the calls of a card processor. What
// opossum says is bridged to OpenTelemetry's metrics under the names of opossum's Prometheus plugin, since it has none of
// its own. The processor is in the same process, so that a test can break it.
//
//   GET /charge            asks the processor; 503 where the breaker turns it away
//   POST /processor/:mode  `down` or `up`
//
// Prints the port that it listens on.

'use strict';

const { metrics, trace } = require('@opentelemetry/api');
const CircuitBreaker = require('opossum');
const express = require('express');
const pino = require('pino');

const log = pino({ level: 'info' }, pino.destination(2));
const app = express();
let down = false;

const charge = async url => {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`the processor answered ${answer.status}`);
  return answer.json();
};
const breaker = new CircuitBreaker(charge, {
  name: 'card-processor',
  timeout: 2000,
  errorThresholdPercentage: 50,
  resetTimeout: Number(process.env.RESET_TIMEOUT || 4000),
  volumeThreshold: 3,
});

const counter = metrics.getMeter('opossum-metrics').createCounter('circuit');
for (const event of ['fire', 'success', 'failure', 'timeout', 'reject', 'open', 'halfOpen', 'close']) {
  breaker.on(event, () => counter.add(1, { name: breaker.name, event }));
}

app.get('/processor', (request, response) => response.status(down ? 500 : 200).json({ charged: !down }));
app.post('/processor/:mode', (request, response) => {
  down = request.params.mode === 'down';
  response.json({ down });
});

app.get('/charge', async (request, response) => {
  try {
    response.json(await breaker.fire(`http://127.0.0.1:${server.address().port}/processor`));
  } catch (error) {
    trace.getActiveSpan()?.recordException(error);
    log.warn({ code: error.code, correlation_id: request.get('x-correlation-id') }, error.message);
    response.status(error.code === 'EOPENBREAKER' ? 503 : 502).json({ error: error.message });
  }
});

const server = app.listen(0, '127.0.0.1', () => {
  console.log(`listening on ${server.address().port}`);
});
